// Elementwise kernels beside the device's own copy on the first GPU: gigabytes a second, read and written,
// over arrays of 64 MiB. Copy and kernel take turns. Prints a line of JSON for each precision. Usage:
// copy_cuda [rounds]
#include "device.cuh"

#include "../process.hpp"

#include <plimsoll/cuda.cuh>
#include <plimsoll/plimsoll.hpp>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <string>

namespace {

using namespace plimsoll;

constexpr std::int64_t array_bytes = std::int64_t{64} << 20;
constexpr int repeats = 10; // of what is timed at once, so that the events' own time does not count

/// Two arrays of the device.
class Arrays {
  public:
    Arrays() {
        gpu::check(cudaMalloc(&from_, array_bytes), "the first array");
        gpu::check(cudaMalloc(&to_, array_bytes), "the second array");
        gpu::check(cudaMemset(from_, 0x33, array_bytes), "filling it");
    }
    Arrays(const Arrays&) = delete;
    Arrays& operator=(const Arrays&) = delete;
    ~Arrays() {
        cudaFree(from_);
        cudaFree(to_);
    }
    [[nodiscard]] void* from() const { return from_; }
    [[nodiscard]] void* to() const { return to_; }

  private:
    void *from_ = nullptr, *to_ = nullptr;
};

/// Times work on a stream.
class Stopwatch {
  public:
    explicit Stopwatch(cudaStream_t stream) : stream_(stream) {
        gpu::check(cudaEventCreate(&began_), "an event");
        gpu::check(cudaEventCreate(&ended_), "an event");
    }
    Stopwatch(const Stopwatch&) = delete;
    Stopwatch& operator=(const Stopwatch&) = delete;
    ~Stopwatch() {
        cudaEventDestroy(began_);
        cudaEventDestroy(ended_);
    }
    /// Gigabytes a second of `work`, which reads one array and writes the other.
    template <class Work>
    double rate(Work work) {
        gpu::check(cudaEventRecord(began_, stream_), "an event");
        for (int i = 0; i < repeats; ++i) work();
        gpu::check(cudaEventRecord(ended_, stream_), "an event");
        gpu::check(cudaEventSynchronize(ended_), "the work");
        float milliseconds = 0;
        gpu::check(cudaEventElapsedTime(&milliseconds, began_, ended_), "the time between events");
        return 2.0 * static_cast<double>(array_bytes) * repeats / (milliseconds * 1e6);
    }

  private:
    cudaStream_t stream_;
    cudaEvent_t began_{}, ended_{};
};

template <class Precision>
void compare(const char* name, const gpu::Device& facts, const Arrays& arrays, int rounds) {
    constexpr Shape shape{64, 64, 64};
    const auto images = static_cast<int>(array_bytes / shape.size() /
                                         static_cast<std::int64_t>(sizeof(typename Precision::Storage)));
    const Site site{.facts = Relu::facts(shape),
                    .input = shape,
                    .output = shape,
                    .input_layout = Layout::channels_last(shape),
                    .output_layout = Layout::channels_last(shape),
                    .images = images,
                    .input_gradient = true};
    Cuda device;
    Kernel<Relu, Precision, Cuda> kernel(site, device);
    const Call call{.count = images, .batch = images, .input = arrays.from(), .output = arrays.to()};
    const cudaStream_t stream = device.stream();
    Stopwatch watch(stream);
    const auto copy = [&] {
        gpu::check(cudaMemcpyAsync(arrays.to(), arrays.from(), array_bytes, cudaMemcpyDeviceToDevice, stream),
                   "a copy");
    };
    const auto relu = [&] { kernel.forward(call); };
    watch.rate(copy);
    watch.rate(relu);
    std::vector<double> copies, kernels, shares;
    for (int round = 0; round < rounds; ++round) {
        copies.push_back(watch.rate(copy));
        kernels.push_back(watch.rate(relu));
        shares.push_back(100 * kernels.back() / copies.back());
    }
    gpu::JsonLine line;
    line.add("way", "plimsoll");
    line.add("kernel", "Relu");
    line.add("precision", name);
    line.add("array_bytes", array_bytes);
    line.add("rounds", rounds);
    line.add("copy_gigabytes_per_second", process::Spread(copies).median);
    line.add("kernel_gigabytes_per_second", process::Spread(kernels).median);
    line.add("percent_of_copy", process::Spread(shares).median);
    line.add("percent_of_copy_least", process::Spread(shares).least);
    line.add("percent_of_copy_most", process::Spread(shares).most);
    facts.describe(line);
    line.print();
}

} // namespace

int main(int count, char** arguments) try {
    if (count > 1 && std::string(arguments[1]) == "--help") {
        std::puts("copy_cuda [rounds]: elementwise kernels beside the device's own copy (50 rounds)");
        return 0;
    }
    const gpu::Device facts;
    const int rounds = count > 1 ? std::max(std::atoi(arguments[1]), 1) : 50;
    const Arrays arrays;
    compare<Float>("float", facts, arrays, rounds);
    compare<BFloat16>("bfloat16", facts, arrays, rounds);
    compare<Half>("half", facts, arrays, rounds);
} catch (const std::exception& problem) {
    std::cerr << "copy_cuda: " << problem.what() << '\n';
    return 1;
}
