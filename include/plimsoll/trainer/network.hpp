#pragma once
/// \file
/// What a network's types say, as values and functions: so that what trains it is compiled once for all
/// networks.

#include <plimsoll/device/executor.hpp>
#include <plimsoll/model/names.hpp>
#include <plimsoll/trainer/blueprint.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI::detail {

/// A plan that somebody owns, whatever its network's size.
struct OwnedPlan {
    std::shared_ptr<const void> owner;
    PlanView view;
};

/// A network under a precision on a device.
template <class Device>
struct Network {
    Shape input;       ///< of one image
    int outputs;       ///< of one image
    int classes;       ///< that its loss tells apart
    int nodes;         ///< the last is the loss
    int probabilities; ///< the value that the loss makes
    bool is_training;  ///< whether plans have gradients
    std::string_view precision;

    /// \throws argument_error naming the setting.
    void (*check)(const Settings&);
    /// See Blueprint::choose_plan.
    OwnedPlan (*choose_plan)(const Settings&, std::int64_t free, int layout_block, const Cut* fixed);
    std::vector<NodeRecord> (*make_kernels)(Device&, const PlanView&, std::uint64_t seed);
    std::vector<NamedParameter> (*parameters)();
    std::string_view (*precision_advice)(const Device&);
};

template <class Precision, class Device>
struct KernelCollector {
    static constexpr bool rewrites = true;
    Device& device;
    const std::vector<Site>& sites;
    std::vector<NodeRecord> records{};
    int parameters = 0;

    template <class Layer, Shape In>
    int visit(const Path&, int, int) {
        const Site& site = sites[records.size()];
        const int own = site.facts.parameters.size();
        records.push_back({.kernel = make<Kernel<Layer, Precision, Device>>(site),
                           .input_elements = In.size(),
                           .first_parameter = parameters,
                           .parameters = own});
        parameters += own;
        return 0;
    }
    /// A device may know how to make what many layers share. A kernel that inherits from such a one adds to
    /// it.
    template <class Made>
    std::unique_ptr<NodeKernel> make(const Site& site) {
        if constexpr (requires { requires std::same_as<typename Made::Shared, Made>; })
            return Made::make(site, device);
        else
            return std::make_unique<Made>(site, device);
    }
};

template <class Blueprint>
std::vector<NodeRecord> make_kernels(typename Blueprint::Device& device, const PlanView& plan,
                                     std::uint64_t seed) {
    const auto& graph = Blueprint::graph();
    std::vector<Site> sites;
    for (int n = 0; n < Blueprint::nodes; ++n)
        sites.push_back(site_of(graph, plan.shipment, plan.layouts.data(), n,
                                plan.node_slices[static_cast<std::size_t>(n)], Blueprint::is_training, seed));
    KernelCollector<typename Blueprint::Precision, typename Blueprint::Device> kernels{device, sites};
    walk_graph<typename Blueprint::Model, typename Blueprint::Pixel, typename Blueprint::Loss>(kernels);
    for (int n = 0; n < Blueprint::nodes; ++n) {
        const int input = graph.nodes[n].input, producer = graph.values[input].producer;
        if (!graph.nodes[n].facts.rectifies || producer < 0 || graph.readers(input) > 1) continue;
        kernels.records[static_cast<std::size_t>(n)].done_before =
            kernels.records[static_cast<std::size_t>(producer)].kernel->rectify();
    }
    return std::move(kernels.records);
}

template <class Blueprint>
OwnedPlan choose_plan(const Settings& settings, std::int64_t free, int layout_block, const Cut* fixed) {
    std::shared_ptr plan = Blueprint::choose_plan(settings, free, layout_block, fixed);
    return {plan, plan->view()};
}

/// The network of a blueprint.
template <class Blueprint>
inline constexpr Network<typename Blueprint::Device> network_of{
    .input = Blueprint::Model::input,
    .outputs = output_shape<typename Blueprint::Model>.channels,
    .classes = Blueprint::Loss::classes(output_shape<typename Blueprint::Model>),
    .nodes = Blueprint::nodes,
    .probabilities = Blueprint::graph().nodes[Blueprint::nodes - 1].output,
    .is_training = Blueprint::is_training,
    .precision = Blueprint::Precision::name,
    .check = [](const Settings& settings) { Blueprint::check(settings); },
    .choose_plan = detail::choose_plan<Blueprint>,
    .make_kernels = detail::make_kernels<Blueprint>,
    .parameters = [] { return named_parameters(Blueprint::graph()); },
    .precision_advice = [](const typename Blueprint::Device& device) -> std::string_view {
        return PrecisionAdvice<typename Blueprint::Precision, typename Blueprint::Device>::text(device);
    }};

} // namespace plimsoll::inline PLIMSOLL_ABI::detail
