#pragma once
// In place of the library's header: see emulation.hpp.
#include "../../../emulation.hpp"

#include <plimsoll/device/cuda/status.cuh>

#undef __launch_bounds__
#define __launch_bounds__(...)
#undef __shared__
#define __shared__ static // blocks run one after another
#undef __global__
#define __global__
#undef __device__
#define __device__

namespace plimsoll::inline PLIMSOLL_ABI::detail {

inline thread_local uint3 threadIdx, blockIdx;
inline thread_local dim3 gridDim, blockDim;
inline void __syncthreads() {
    const uint3 own = threadIdx;
    emulation::barrier();
    threadIdx = own;
}
inline void __syncwarp() {
    const uint3 own = threadIdx;
    emulation::warp_barrier();
    threadIdx = own;
}

template <class Body>
cudaError_t for_each_index(std::int64_t count, const Body& body, cudaStream_t stream) {
    emulation::enqueue(stream, [=] {
        for (std::int64_t i = 0; i < count; ++i) body(i);
    });
    return cudaSuccess;
}

template <class... Parameters>
void launch(void (*kernel)(Parameters...), dim3 blocks, dim3 threads, cudaStream_t stream, std::string_view,
            Parameters... arguments) {
    emulation::enqueue(stream, [=] {
        gridDim = blocks;
        blockDim = threads;
        for (unsigned y = 0; y < blocks.y; ++y)
            for (unsigned x = 0; x < blocks.x; ++x)
                emulation::run_block(static_cast<int>(threads.x * threads.y), [&](int thread) {
                    blockIdx = {x, y, 0};
                    threadIdx = {static_cast<unsigned>(thread) % threads.x,
                                 static_cast<unsigned>(thread) / threads.x, 0};
                    kernel(arguments...);
                });
    });
}

template <int Threads, class Value>
Value block_sum(Value value) {
    const uint3 own = threadIdx;
    const auto sum = static_cast<Value>(emulation::sum_over_block(static_cast<double>(value)));
    threadIdx = own;
    return sum;
}

} // namespace plimsoll::inline PLIMSOLL_ABI::detail
