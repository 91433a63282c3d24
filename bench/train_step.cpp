// One training step of the guide's network on the Host, on made-up pictures: images a second by batch and
// lanes.
#include <plimsoll/plimsoll.hpp>

#include <benchmark/benchmark.h>

using namespace plimsoll;

namespace {

using Net = Sequential<Image<150, 150, 3>, Conv2d<32, 3>, Relu, MaxPool<2>, Conv2d<64, 3>, Relu, MaxPool<2>,
                       Conv2d<128, 3>, Relu, MaxPool<2>, Conv2d<128, 3>, Relu, MaxPool<2>, Flatten,
                       Dropout<0.5_p>, Dense<512>, Relu, Dense<1>>;
using Job = Trainer<Net, InMemory<u8>, Float, Host>;

/// Arguments: batch, lanes, budget in MiB (0: what is free).
void train_step(benchmark::State& state) {
    const int batch = static_cast<int>(state.range(0));
    std::vector<u8> images(static_cast<std::size_t>(batch) *
                           static_cast<std::size_t>(Net::input.size())); // (N, 150, 150, 3)
    for (std::size_t i = 0; i < images.size(); ++i)
        images[i] = static_cast<u8>(philox({static_cast<std::uint32_t>(i), 0, 0, 0}, 1).x);
    std::vector<Label> labels(static_cast<std::size_t>(batch));
    for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<Label>(i % 2);
    const InMemory<u8> data(images, Net::input, labels);
    const Bytes budget = state.range(2) > 0 ? Bytes{state.range(2) << 20} : all_free_memory;
    Job job(data, {.batch = batch, .budget = budget, .lanes = static_cast<int>(state.range(1))});
    job.step(images, labels); // pages and threads
    for (auto _ : state) benchmark::DoNotOptimize(job.step(images, labels));
    state.counters["images/s"] = benchmark::Counter(
        static_cast<double>(batch) * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
    state.counters["arena MiB"] = static_cast<double>(job.peak().count) / (1 << 20);
}
BENCHMARK(train_step)
    ->ArgNames({"batch", "lanes", "MiB"})
    ->Args({32, 8, 0})
    ->Args({32, 2, 0})
    ->Args({128, 8, 0})
    ->Args({128, 8, 160})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

} // namespace
