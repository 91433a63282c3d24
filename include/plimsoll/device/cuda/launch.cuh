#pragma once
/// \file
/// The one place that starts device code.

#include <plimsoll/device/cuda/status.cuh>

#include <cub/block/block_reduce.cuh>
#include <cub/device/device_for.cuh>

#include <cstdint>
#include <string_view>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// Calls body(i) on the device for every i in [0, count).
template <class Body>
cudaError_t for_each_index(std::int64_t count, const Body& body, cudaStream_t stream) {
    return cub::DeviceFor::Bulk(count, body, stream);
}

/// A kernel whose threads work together; all else goes through `for_each_index`.
template <class... Parameters>
void launch(void (*kernel)(Parameters...), dim3 blocks, dim3 threads, cudaStream_t stream,
            std::string_view what, Parameters... arguments) {
    cudaLaunchConfig_t config{};
    config.gridDim = blocks;
    config.blockDim = threads;
    config.stream = stream;
    void* pointers[] = {&arguments...};
    check(cudaLaunchKernelExC(&config, reinterpret_cast<const void*>(kernel), pointers),
          text("launching ", what));
}

/// The sum of a block's values, in an order that never changes; right in thread 0.
template <int Threads, class Value>
__device__ Value block_sum(Value value) {
    using Reduce = cub::BlockReduce<Value, Threads>;
    __shared__ typename Reduce::TempStorage storage;
    __syncthreads(); // the storage may be in use for the sum before
    return Reduce(storage).Sum(value);
}

} // namespace detail

} // namespace plimsoll::inline PLIMSOLL_ABI
