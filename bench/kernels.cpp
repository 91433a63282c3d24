// Every layer of the guide's network and of ResNet-18, forward and backward, on all threads: the kernels,
// slices and lanes that a plan has for batch 32, one layer after the other. Layers of arithmetic are told in
// GFLOP/s and in percent of the processor's peak, the others in GB/s and in percent of a copy of as many
// bytes; both are measured here (peak.hpp) and stand in the JSON's context. Usage: kernels [Google
// Benchmark's flags]
#include "peak.hpp"
#include "process.hpp"
#include "workload.hpp"

#include <benchmark/benchmark.h>

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace {

using namespace workload;

constexpr int batch = 32;

struct Peaks {
    double float_flops, bfloat16_flops;

    static const Peaks& of_this_machine() {
        static const Peaks peaks = measure();
        return peaks;
    }

  private:
    static Peaks measure() {
        const Team team(Host().workers());
        const auto billions = [](double number) { return std::to_string(number / 1e9); };
        const auto [bfloat16_flops, by] = peak::bfloat16_flops(team);
        const Peaks peaks{peak::float_flops(team), bfloat16_flops};
        benchmark::AddCustomContext("threads", std::to_string(team.threads()));
        benchmark::AddCustomContext("float_peak_GFLOP/s", billions(peaks.float_flops));
        benchmark::AddCustomContext("bfloat16_peak_GFLOP/s", billions(peaks.bfloat16_flops));
        benchmark::AddCustomContext("bfloat16_peak_by", by);
        benchmark::AddCustomContext("bfloat16_products_GFLOP/s", billions(peak::best_product_flops(team)));
        for (const int mebibytes : {1, 256})
            benchmark::AddCustomContext(text("copy_GB/s_of_", mebibytes, "_MiB_a_thread"),
                                        billions(peak::copy_bytes(team, std::int64_t{mebibytes} << 20)));
        return peaks;
    }
};

struct Made {
    std::unique_ptr<NodeKernel> kernel;
    Needs needs;
};

/// Makes each node's kernel for its site.
template <class Precision>
struct Collector {
    static constexpr bool rewrites = true;
    Host& host;
    const std::vector<Site>& sites;
    std::vector<Made> made{};

    template <class Layer, Shape In>
    int visit(const Path&, int, int) {
        using LayerKernel = Kernel<Layer, Precision, Host>;
        const Site& site = sites[made.size()];
        made.push_back({std::make_unique<LayerKernel>(site, host), LayerKernel::needs(site)});
        return 0;
    }
};

/// A network's plan, its sites and kernels.
template <class Model, class Precision>
class Network {
  public:
    using Blueprint = typename Trainer<Model, InMemory<u8>, Precision, Host>::Blueprint;
    using Storage = typename Precision::Storage;

    Network() {
        const Settings settings{.batch = batch, .threads = host.workers()};
        plan = std::make_unique<Plan<Blueprint::nodes>>(
            Blueprint::plan(settings, Blueprint::choose_cut(settings, all_free_memory), host.layout_block()));
        for (int n = 0; n < Blueprint::nodes; ++n)
            sites.push_back(site_of(Blueprint::graph(), plan->shipment, plan->layouts.begin(), n,
                                    plan->node_slices[n], true, settings.seed));
    }
    const Made& node(std::size_t number) {
        if (made.empty()) {
            Collector<Precision> collector{host, sites};
            walk_graph<Model, u8, typename Blueprint::Loss>(collector);
            made = std::move(collector.made);
        }
        return made[number];
    }

    Host host;
    std::unique_ptr<Plan<Blueprint::nodes>> plan;
    std::vector<Site> sites;

  private:
    std::vector<Made> made;
};

/// Bytes of an arena, filled with numbers in [-1, 1).
template <class T>
Host::Memory noise(std::int64_t elements, std::uint32_t stream) {
    Host::Memory memory = Host::allocate(elements * std::int64_t{sizeof(T)});
    auto* out = reinterpret_cast<T*>(memory.data());
    for (std::int64_t i = 0; i < elements; ++i) {
        const float value =
            2 * unit_float(philox({static_cast<std::uint32_t>(i), stream, 0, 0}, std::uint64_t{9}).x) - 1;
        if constexpr (std::same_as<T, u8>)
            out[i] = static_cast<u8>(127 * (value + 1));
        else
            out[i] = to<T>(value);
    }
    return memory;
}

/// One layer with all it touches. Slices lie in buffers of the workers, as within a plan's segments; whole
/// batches where the layer sees them.
template <class Storage>
class Bench {
  public:
    Bench(Host& host, const Shipment& shipment, const Site& site, const Made& made)
        : host_(host),
          site_(site),
          kernel_(*made.kernel),
          needs_(made.needs),
          images_(shipment.micro_batch),
          lanes_(shipment.lanes),
          wide_(site.facts.whole_batch || site.facts.couples_images) {
        const bool pixels = site.node == 0;
        places_ = wide_ ? 1 : host.workers();
        held_ = wide_ ? images_ : site.images;
        input_bytes_ = pixels ? 1 : sizeof(Storage);
        const std::int64_t in = site.input.size() * held_ * places_,
                           out = site.output.size() * held_ * places_;
        input_ = pixels ? noise<u8>(in, 1) : noise<Storage>(in, 1);
        second_ = noise<Storage>(in, 2);
        output_ = noise<float>(out, 3); // a loss writes floats
        output_gradient_ = noise<Storage>(out, 4);
        input_gradient_ = Host::allocate(in * 4);
        saved_ = Host::allocate(site.facts.saved_bytes * held_ * places_);
        statistics_ = Host::allocate(site.facts.statistics_bytes);
        packed_ = Host::allocate(needs_.packed);
        partial_ = Host::allocate(needs_.partial * lanes_);
        scratch_ = Host::allocate(needs_.scratch * std::max(lanes_, host.workers()));
        labels_.assign(static_cast<std::size_t>(images_), 0);
        base_ = {.count = images_,
                 .batch = batch,
                 .statistics = statistics_.data(),
                 .packed = packed_.data(),
                 .partial = partial_.data(),
                 .partial_stride = needs_.partial,
                 .scratch = scratch_.data(),
                 .labels = labels_.data()};
        for (const Parameter& parameter : site.facts.parameters) {
            const std::size_t p = parameters_.size();
            parameters_.push_back(noise<float>(parameter.size(), static_cast<std::uint32_t>(5 + p)));
            gradients_.push_back(Host::allocate(4 * parameter.size()));
            base_.parameters[p] = reinterpret_cast<float*>(parameters_[p].data());
            base_.gradients[p] =
                parameter.trainable ? reinterpret_cast<float*>(gradients_[p].data()) : nullptr;
        }
        kernel_.pack(base_);
    }

    void forward() {
        if (site_.facts.couples_images) kernel_.gather(at(base_, 0, 0));
        for_slices([&](const Call& call) { kernel_.forward(call); });
    }
    void backward() {
        if (site_.facts.couples_images) kernel_.gather_gradient(at(base_, 0, 0));
        for_slices([&](const Call& call) { kernel_.backward(call); });
        if (!site_.facts.whole_batch && !site_.facts.parameters.empty()) kernel_.reduce(base_, used_lanes());
    }

    /// Arithmetic: worth measuring by its operations, because there are many for each element.
    [[nodiscard]] bool is_arithmetic() const {
        return site_.facts.flops > 8 * static_cast<double>(site_.input.size() + site_.output.size());
    }
    [[nodiscard]] double flops(bool backward) const {
        return site_.facts.flops * images_ * (backward && site_.input_gradient ? 2 : 1);
    }
    /// Read and written, of operands.
    [[nodiscard]] double bytes(bool backward) const {
        const Facts& facts = site_.facts;
        const std::int64_t in = site_.input.size() * input_bytes_;
        const auto out = site_.output.size() * std::int64_t{sizeof(Storage)};
        std::int64_t one = in + out + facts.saved_bytes;  // both ways
        if (!backward && facts.couples_images) one += in; // gathered first
        if (!backward && facts.name == "Add") one += in;
        if (backward && facts.backward_reads_input) one += in;
        if (backward && facts.backward_reads_output) one += out;
        if (backward && facts.couples_images) one += in + out;
        return static_cast<double>(one * images_);
    }
    /// Of a call's operands, with what lies beside them in its worker's cache.
    [[nodiscard]] std::int64_t footprint(bool backward) const {
        return static_cast<std::int64_t>(bytes(backward)) / images_ * (wide_ ? images_ : site_.images) /
               places();
    }

  private:
    [[nodiscard]] int places() const { return wide_ ? host_.workers() : 1; }
    [[nodiscard]] int slices() const { return (images_ + site_.images - 1) / site_.images; }
    [[nodiscard]] int used_lanes() const { return std::min(lanes_, slices()); }

    /// A call whose operands begin at an image of the buffers.
    [[nodiscard]] Call at(Call call, int image, int place) const {
        const std::int64_t first = wide_ ? image : std::int64_t{place} * held_;
        const std::int64_t in = site_.input.size() * first, out = site_.output.size() * first;
        constexpr std::int64_t size = sizeof(Storage);
        call.input = input_.data() + in * input_bytes_;
        call.second = second_.data() + in * size;
        call.output = output_.data() + out * size;
        call.output_gradient = output_gradient_.data() + out * size;
        call.input_gradient = site_.input_gradient ? input_gradient_.data() + in * size : nullptr;
        call.saved = saved_.data() + site_.facts.saved_bytes * first;
        return call;
    }
    template <class F>
    void for_slices(F f) {
        if (site_.facts.whole_batch) return f(at(base_, 0, 0));
        const int lanes = used_lanes();
        host_.for_lanes(lanes, [&](int lane, int worker) {
            for (int slice = lane; slice < slices(); slice += lanes) {
                Call call = at(base_, slice * site_.images, worker);
                call.first = call.image = slice * site_.images;
                call.count = std::min(site_.images, images_ - call.image);
                call.lane = lane;
                call.worker = worker;
                call.accumulate = slice != lane;
                call.partial = partial_.data() + lane * needs_.partial;
                call.scratch = scratch_.data() + worker * needs_.scratch;
                f(call);
            }
        });
    }

    Host& host_;
    const Site& site_;
    NodeKernel& kernel_;
    Needs needs_;
    int images_, lanes_;
    bool wide_;
    int places_ = 1, held_ = 0;
    std::int64_t input_bytes_ = 0;
    Host::Memory input_, second_, output_, output_gradient_, input_gradient_, saved_, statistics_, packed_,
        partial_, scratch_;
    std::vector<Host::Memory> parameters_, gradients_;
    std::vector<Label> labels_;
    Call base_;
};

template <class Model, class Precision>
Network<Model, Precision>& network() {
    static Network<Model, Precision> made;
    return made;
}

template <class Model, class Precision>
void run(benchmark::State& state, std::size_t number, bool backward) {
    using Storage = typename Precision::Storage;
    auto& net = network<Model, Precision>();
    const Site& site = net.sites[number];
    Bench<Storage> bench(net.host, net.plan->shipment, site, net.node(number));
    bench.forward(); // leaves what backward reads
    const double began = process::seconds();
    for (auto _ : state) backward ? bench.backward() : bench.forward();
    const double speed = static_cast<double>(state.iterations()) / (process::seconds() - began);
    state.counters["slice"] = site.images;
    if (site.facts.reads_labels) return; // a few numbers
    if (bench.is_arithmetic()) {
        const Peaks& peaks = Peaks::of_this_machine();
        const double peak = std::same_as<Storage, float> ? peaks.float_flops : peaks.bfloat16_flops;
        const double flops = bench.flops(backward) * speed;
        state.counters["GFLOP/s"] = flops / 1e9;
        if (peak > 0) state.counters["% of peak"] = 100 * flops / peak;
    } else {
        const double bytes = bench.bytes(backward) * speed;
        state.counters["GB/s"] = bytes / 1e9;
        state.counters["% of copy"] =
            100 * bytes / peak::copy_bytes(net.host.team(), bench.footprint(backward));
    }
}

std::string name_of(const Site& site) {
    std::string window;
    if (site.facts.window.kernel > 1 || site.facts.window.stride > 1)
        window =
            text(" ", site.facts.window.kernel, "x", site.facts.window.kernel,
                 site.facts.window.stride > 1 ? text(" stride ", site.facts.window.stride) : std::string());
    return text(site.facts.name, window, " ", to_string(site.input), " to ", to_string(site.output));
}

/// One benchmark for each way through each layer; layers that are alike are measured once.
template <class Model, class Precision>
void add(const std::string& name) {
    const auto& sites = network<Model, Precision>().sites;
    std::set<std::string> known;
    for (std::size_t number = 0; number < sites.size(); ++number) {
        const Site& site = sites[number];
        if (!known.insert(name_of(site)).second) continue;
        bool learns = site.input_gradient && site.facts.name != "Add"; // its gradient is shared, not computed
        for (const Parameter& parameter : site.facts.parameters) learns = learns || parameter.trainable;
        for (const bool backward : {false, true}) {
            if (backward && !learns) continue;
            benchmark::RegisterBenchmark(
                text(name, "/", Precision::name, "/", name_of(site), backward ? "/backward" : "/forward")
                    .c_str(),
                [number, backward](benchmark::State& state) {
                    run<Model, Precision>(state, number, backward);
                })
                ->Unit(benchmark::kMicrosecond)
                ->UseRealTime();
        }
    }
}

[[maybe_unused]] const bool added = [] {
    Peaks::of_this_machine();
    add<Guide, Float>("guide");
    add<Guide, BFloat16>("guide");
    add<ResNet18, Float>("resnet18");
    add<ResNet18, BFloat16>("resnet18");
    return true;
}();

} // namespace
