#pragma once
/// \file
/// A plan for people: who owns every byte, as a table, a picture and a page.

#include <plimsoll/device/device.hpp>
#include <plimsoll/plan/site.hpp>
#include <plimsoll/trainer/blueprint.hpp>
#include <plimsoll/trainer/plan_picture.hpp>
#include <plimsoll/trainer/settings.hpp>

#include <concepts>
#include <span>
#include <string>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

/// One row: a part, or the memory that parts with separate lives share.
struct PlanRow {
    std::string name;
    std::int64_t bytes = 0;
    bool shared = false; ///< lies in the shared memory: not counted again in the sum
};

/// What `Trainer::plan` returns; prints as a table.
struct PlanReport {
    PlanPicture picture;
    std::string machine{};               ///< what a device says it is; empty where it says nothing
    std::vector<OutsideBytes> outside{}; ///< measured, not planned
    std::vector<std::string> choices{};  ///< ways that libraries were told to go, by layer

    /// Permanent parts add up with the shared memory and the padding to the total; below the shared memory
    /// stand the parts that take turns in it.
    [[nodiscard]] std::vector<PlanRow> rows() const;
    [[nodiscard]] std::string str() const;
    /// What each precision would take for this model, batch and optimizer.
    [[nodiscard]] std::string precision_table() const;
    /// The picture alone, for a page of your own. \throws io_error naming the path; nothing is half written.
    void write_svg(const std::string& path) const;
    /// One self-contained page: the picture and tables, no scripts. \throws io_error naming the path.
    void write_html(const std::string& path) const;

    template <class Stream>
    friend Stream& operator<<(Stream& stream, const PlanReport& report) {
        stream << report.str();
        return stream;
    }
};

namespace detail {

/// The graph of a network as it is written: without the rewrites that a plan begins with.
template <int Nodes>
struct WrittenGraph : GraphBuilder<Nodes> {
    static constexpr bool rewrites = false;
};

/// What a network needs that keeps everything for the whole batch, term by term; empty if it is not trained.
template <class Model, class Pixel, class Loss>
std::vector<KeptBytes> kept_bytes(const PlanView& plan) {
    std::int64_t owned[static_cast<int>(Role::workspace) + 1]{}; // bytes of parts by role
    for (const Part& part : plan.parts)
        if (part.extent == Extent::once) owned[static_cast<int>(part.role)] += part.bytes;
    const auto of = [&](Role role) { return owned[static_cast<int>(role)]; };
    if (of(Role::gradient) == 0) return {};
    WrittenGraph<node_count<Model>> written{};
    written.graph.values.push({.shape = Model::input});
    walk_graph<Model, Pixel, Loss>(written);
    std::int64_t outputs = 0, gradients = 0;
    for (int n = 1; n < written.graph.nodes.size(); ++n) { // 0 makes floats of the pixels
        const Node& node = written.graph.nodes[n];
        const bool view = node.facts.parameters.empty() && node.input_shape != node.facts.output &&
                          node.input_shape.size() == node.facts.output.size();
        if (view) continue;
        outputs += node.facts.output.size();
        if (written.graph.values[node.output].gradient) gradients += node.facts.output.size();
    }
    const std::int64_t floats = std::int64_t{4} * plan.shipment.batch;
    return {{Role::weight, "weights and running statistics", of(Role::weight) + of(Role::running_statistic)},
            {Role::gradient, "gradients of the weights", of(Role::gradient)},
            {Role::first_state, "optimizer state", of(Role::first_state) + of(Role::second_state)},
            {Role::pixels, "pixels of the batch as floats", floats * Model::input.size()},
            {Role::activation, "outputs of all layers", floats * outputs},
            {Role::activation_gradient, "gradients of these outputs", floats * gradients}};
}

template <class Blueprint, class Precision>
void add_precision(std::vector<PrecisionBytes>& precisions, const Settings& settings, const Cut& cut) {
    if constexpr (has_kernels<Blueprint, Precision>()) {
        using Other = typename Blueprint::template With<Precision>;
        precisions.push_back(
            {std::string(Precision::name), Other::plan(settings, cut).total, Other::least_bytes(settings)});
    }
}

/// The library's precisions, and the blueprint's own where it is another.
template <class Blueprint>
std::vector<PrecisionBytes> precision_bytes(const Settings& settings, const Cut& cut) {
    std::vector<PrecisionBytes> out;
    using Own = typename Blueprint::Precision;
    if constexpr (!std::same_as<Own, Float> && !std::same_as<Own, TF32> && !std::same_as<Own, BFloat16> &&
                  !std::same_as<Own, Half>)
        add_precision<Blueprint, Own>(out, settings, cut);
    add_precision<Blueprint, Float>(out, settings, cut);
    add_precision<Blueprint, BFloat16>(out, settings, cut);
    add_precision<Blueprint, Half>(out, settings, cut);
    return out;
}

/// Stages and blocks of a plan. \param used see plan_report
PLIMSOLL_DECLARED void add_plan(PlanPicture& picture, std::span<const Node> nodes,
                                std::span<const Value> values, const PlanView& plan,
                                const std::vector<Needs>& used);

} // namespace detail

/// \param used what the kernels took of their limits, where they have been built.
template <class Blueprint>
PlanReport plan_report(const PlanView& plan, const Settings& settings, const std::vector<Needs>& used = {}) {
    const Graph<Blueprint::nodes>& graph = Blueprint::graph();
    const Shipment& s = plan.shipment;
    const int passes = (s.batch + s.micro_batch - 1) / s.micro_batch;
    PlanPicture picture{.title =
                            text("Plimsoll plan: batch ", s.batch, " as ", passes, " micro-batch",
                                 passes == 1 ? "" : "es", " of ", s.micro_batch, ", ", s.lanes, " lanes, ",
                                 Blueprint::Precision::name, " on ", Blueprint::Device::name),
                        .unplanned = detail::kept_bytes<typename Blueprint::Model, typename Blueprint::Pixel,
                                                        typename Blueprint::Loss>(plan),
                        .precisions = detail::precision_bytes<Blueprint>(settings, plan.shipment.cut()),
                        .shared = plan.shared,
                        .total = plan.total,
                        .budget = settings.budget == all_free_memory ? 0 : settings.budget.count};
    detail::add_plan(picture, {graph.nodes.begin(), graph.nodes.end()},
                     {graph.values.begin(), graph.values.end()}, plan, used);
    return {.picture = std::move(picture)};
}

} // namespace plimsoll::inline PLIMSOLL_ABI

#if PLIMSOLL_DEFINITIONS
#include <plimsoll/trainer/plan_report_definitions.hpp>
#endif
