#pragma once
/// \file
/// What a way of cutting a step costs in time, estimated before any plan is made.

#include <plimsoll/core/list.hpp>
#include <plimsoll/plan/cut.hpp>
#include <plimsoll/plan/flow.hpp>

namespace plimsoll::inline PLIMSOLL_ABI {

/// Speeds of a lane; only their proportions matter. bench/cost_model sets what follows from them beside what
/// is measured.
struct Speeds {
    double flops = 130e9; ///< in convolutions and matrix products, a second
    double bytes = 16e9;  ///< of a slice's elements read and written, a second
    double memory = 6e9;  ///< of weights and partial gradients read and written, a second
    double call = 3e-6;   ///< seconds to begin a kernel on a slice
    double stage = 15e-6; ///< seconds until all lanes have come to a stage's end
};

/// What a device tells the planner: how fast it is and which ways of cutting a step are worth a plan there.
struct Cutting {
    Speeds speeds{};
    int most_lanes = 1 << 20;
    int ring_slots = 1; ///< at least, where the user does not say how many
    List<std::int64_t, 8> slice_bytes{Cut{}.slice_bytes, 0}; ///< see Cut
};

namespace detail {

/// The Host's cutting, or what a device says of its own.
template <class Device>
constexpr Cutting cutting_of() {
    if constexpr (requires { Device::cutting(); })
        return Device::cutting();
    else
        return {};
}

/// The work of a training step, summed over a graph's nodes for one level of recompute.
struct Work {
    double image = 0;         ///< seconds of a lane for an image
    double calls = 0;         ///< kernel calls of an image in slices of one
    double sliced_calls = 0;  ///< kernel calls of an image in the slices that `slice_bytes` allows
    double whole_flops = 0;   ///< of an image in layers over the whole micro-batch
    double weight_bytes = 0;  ///< that a micro-batch reads or writes, however small it is
    double partial_bytes = 0; ///< of a lane's partial gradients
    int stages = 0;

    template <int Nodes>
    constexpr Work(const Graph<Nodes>& graph, const Flow<Nodes>& flow, const Speeds& speeds,
                   std::int64_t slice_bytes) {
        for (int n = 0; n < graph.nodes.size(); ++n) {
            const Node& node = graph.nodes[n];
            std::int64_t weights = 0;
            for (const Parameter& parameter : node.facts.parameters) weights += 4 * parameter.size();
            const double backward = !flow.has_backward(n) ? 0 : weights > 0 ? 2 : 1;
            const double runs = 1 + backward + flow.runs_again[n];
            if (node.facts.whole_batch) {
                whole_flops += runs * node.facts.flops;
                weight_bytes += 4 * static_cast<double>(weights);
                stages += 2;
                continue;
            }
            const std::int64_t bytes = 4 * (node.input_shape.size() + node.facts.output.size());
            image += runs * (node.facts.flops / speeds.flops + static_cast<double>(bytes) / speeds.bytes);
            double slice = 1;
            while (2 * slice * static_cast<double>(bytes) <= static_cast<double>(slice_bytes)) slice *= 2;
            calls += runs;
            sliced_calls += runs / slice;
            if (!flow.has_partial(n)) continue;
            partial_bytes += static_cast<double>(weights);
            stages += 3 + flow.runs_again[n];
        }
    }

    /// Seconds of a step.
    [[nodiscard]] constexpr double seconds(const Cut& cut, int batch, const Speeds& speeds) const {
        const double passes = (batch + cut.micro_batch - 1) / cut.micro_batch;
        const double images = (cut.micro_batch + cut.lanes - 1) / cut.lanes; // a lane's
        const double least_calls = calls / images;                           // a lane's images in one slice
        const double sliced = cut.slice_bytes > 0 ? sliced_calls : calls;
        const double begin = (sliced > least_calls ? sliced : least_calls) * speeds.call;
        const double whole = whole_flops * cut.micro_batch / speeds.flops;
        const double memory = (weight_bytes + partial_bytes * (cut.lanes + 1)) / speeds.memory;
        return passes * (images * (image + begin) + (whole + memory) / cut.lanes + stages * speeds.stage);
    }
};

} // namespace detail

} // namespace plimsoll::inline PLIMSOLL_ABI
