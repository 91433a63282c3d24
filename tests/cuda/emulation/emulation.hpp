#pragma once
/// \file
/// Runs the Cuda device's own code on the processor, so that its arithmetic, its order and its recorded
/// passes can be tested where there is no GPU: device code one thread after another, cuDNN's and cuBLASLt's
/// products as plain loops. What it says of the GPU and of those libraries is nothing.
///
/// Work waits in its stream until the host waits for it, and streams that no event ties together run in an
/// order that a test chooses: what is not ordered by events shows.

#include <plimsoll/device/cuda/toolkit.cuh>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace emulation {

/// When streams that may run do so, while the host waits for another.
enum class Others { eager, late };
void set_order(Others others);

/// Adds work to a stream, or to what is being recorded there.
void enqueue(cudaStream_t stream, std::function<void()> work);

/// Device allocations and bytes of them, since the program began and now.
struct Allocations {
    int made = 0, live = 0;
    std::int64_t bytes = 0;
};
Allocations device_allocations();
/// Recorded passes that were launched again.
int launched_recordings();

/// A block of threads that work together: fibers, one after another from barrier to barrier.
void run_block(int threads, const std::function<void(int)>& thread);
void barrier();
/// For the 32 threads of a warp, which all come to it.
void warp_barrier();
/// What each thread of a warp has, of all of them, till the next such call or barrier.
const void* share_in_warp(const void* mine, std::size_t bytes);
/// Of a block's values, in the order of their threads, for every thread.
double sum_over_block(double value);

} // namespace emulation
