// How long a plan takes to make, and training steps of the guide's network and of ResNet-18 in Float and
// BFloat16. Usage: suite_steps [Google Benchmark's flags]
#include "process.hpp"
#include "workload.hpp"

#include <benchmark/benchmark.h>

namespace {

using namespace workload;

/// The search for a cut and the plan for it, as a job's constructor makes them. \tparam Budget in MiB; 0:
/// what is free
template <class Model, int Budget>
void plan_job(benchmark::State& state) {
    using Blueprint = typename Job<Model>::Blueprint;
    Settings settings{.batch = static_cast<int>(state.range(0)), .threads = 2};
    if (Budget > 0) settings.budget = Bytes{std::int64_t{Budget} << 20};
    std::int64_t arena = 0;
    for (auto _ : state) {
        const auto plan = Blueprint::choose_plan(settings, std::int64_t{1} << 40, 0);
        benchmark::DoNotOptimize(arena = plan->total);
    }
    state.counters["nodes"] = Blueprint::nodes;
    state.counters["arena MiB"] = process::mib({arena});
}
BENCHMARK_TEMPLATE(plan_job, Guide, 0)->ArgName("batch")->Arg(32)->Arg(128)->Unit(benchmark::kMillisecond);
BENCHMARK_TEMPLATE(plan_job, Guide, 64)->ArgName("batch")->Arg(128)->Unit(benchmark::kMillisecond);
BENCHMARK_TEMPLATE(plan_job, ResNet18, 0)->ArgName("batch")->Arg(32)->Arg(128)->Unit(benchmark::kMillisecond);
BENCHMARK_TEMPLATE(plan_job, ResNet18, 600)->ArgName("batch")->Arg(128)->Unit(benchmark::kMillisecond);

template <class Model, class Precision>
void step(benchmark::State& state) {
    const int batch = static_cast<int>(state.range(0));
    const Pictures<Model> pictures(batch);
    Trainer<Model, InMemory<u8>, Precision, Host> job(pictures.source, {.batch = batch, .seed = 1});
    job.step(pictures.images, pictures.labels); // pages and threads
    for (auto _ : state) benchmark::DoNotOptimize(job.step(pictures.images, pictures.labels));
    state.SetItemsProcessed(batch * state.iterations()); // pictures
    state.counters["arena MiB"] = process::mib(job.peak());
}
void batches(benchmark::internal::Benchmark* benchmark) {
    benchmark->ArgName("batch")->Arg(32)->Arg(128)->Unit(benchmark::kMillisecond)->UseRealTime();
}
BENCHMARK_TEMPLATE(step, Guide, Float)->Apply(batches);
BENCHMARK_TEMPLATE(step, Guide, BFloat16)->Apply(batches);
BENCHMARK_TEMPLATE(step, ResNet18, Float)->Apply(batches);
BENCHMARK_TEMPLATE(step, ResNet18, BFloat16)->Apply(batches);

} // namespace
