#pragma once
/// \file
/// A plan's stages and parts in words.

#include <plimsoll/model/graph.hpp>
#include <plimsoll/trainer/plan_picture.hpp>

#include <span>
#include <string>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

inline constexpr std::string_view phase_names[] = {
    "packing",  "statistics",   "forward",           "gradient statistics",
    "backward", "sum of lanes", "running statistics"};

/// A plan in words.
class PlanNames {
  public:
    PlanNames(std::span<const Node> nodes, std::span<const Value> values, PlanView plan,
              std::vector<NamedParameter> parameters)
        : nodes_(nodes), values_(values), plan_(plan), parameters_(std::move(parameters)) {}

    [[nodiscard]] PlanStage stage(int index) const {
        const Stage& stage = plan_.stages[static_cast<std::size_t>(index)];
        const std::span<const Step> steps = steps_of(stage);
        const Step &first = steps.front(), &last = steps.back();
        const bool again = stage.training_only && last.phase == Phase::forward;
        const std::string phase = text(phase_names[static_cast<int>(last.phase)], again ? " again" : "");
        int known_by = first.node; // the layer with weights, of which a stage has one at most
        for (const Step& step : steps)
            if (!nodes_[static_cast<std::size_t>(step.node)].facts.parameters.empty()) known_by = step.node;
        return {first.node == last.node || stage.slice == 0
                    ? text(phase, " of ", layer(last.node))
                    : text(phase, ", ", layer(first.node), " to ", layer(last.node)),
                layer(known_by), last.phase, again};
    }

    [[nodiscard]] PlanBlock block(std::size_t index) const {
        const Part& part = plan_.parts[index];
        PlanBlock out{.role = part.role,
                      .offset = part.offset,
                      .bytes = part.bytes,
                      .first = part.first,
                      .last = part.last};
        name(part, out);
        if (part.role == Role::workspace && part.owner < 0 && part.extent == Extent::once)
            out.holds = slice_buffers(part.first);
        for (std::size_t p = 0; p < index; ++p) // a value that was dropped and is made again
            if (is_tensor(part) && plan_.parts[p].role == part.role && plan_.parts[p].owner == part.owner &&
                plan_.parts[p].extent == part.extent) {
                out.name += ", again";
                break;
            }
        return out;
    }

  private:
    static bool is_tensor(const Part& part) {
        return part.role == Role::activation || part.role == Role::activation_gradient ||
               part.role == Role::saved;
    }
    [[nodiscard]] std::span<const Step> steps_of(const Stage& stage) const {
        return plan_.steps.subspan(static_cast<std::size_t>(stage.first_step),
                                   static_cast<std::size_t>(stage.steps));
    }
    [[nodiscard]] std::string layer(int index) const {
        return layer_name(nodes_[static_cast<std::size_t>(index)]);
    }
    [[nodiscard]] std::string value(int index) const {
        const int producer = values_[static_cast<std::size_t>(index)].producer;
        return producer < 0 ? std::string("pixels") : layer(producer);
    }
    void name(const Part& part, PlanBlock& out) const {
        const auto set = [&](std::string_view what, std::string label) {
            out.name = text(what, label);
            out.label = std::move(label);
        };
        switch (part.role) {
        case Role::weight:
        case Role::running_statistic:
            return set("", parameter(part.owner));
        case Role::gradient:
            return set("gradient of ", parameter(part.owner));
        case Role::first_state:
            return set("first state of ", parameter(part.owner));
        case Role::second_state:
            return set("second state of ", parameter(part.owner));
        case Role::loss_scaling:
            return set("", "loss scaling");
        case Role::pass_state:
            return set("", "pass state");
        case Role::packed:
            return set("library copy of ", layer(part.owner));
        case Role::pixels:
            return set("", "pixels of the batch ring");
        case Role::labels:
            return set("", "labels of the batch ring");
        case Role::activation:
            return set("output of ", value(part.owner));
        case Role::activation_gradient:
            return set("gradient of the output of ", value(part.owner));
        case Role::saved:
            return set("saved by ", layer(part.owner));
        case Role::statistics:
            return set("statistics of ", layer(part.owner));
        case Role::partial_gradient:
            return set("partial gradients of ", layer(part.owner));
        case Role::workspace:
            break;
        }
        if (part.extent == Extent::slice) // its life is in steps
            return part.owner < 0 ? set("", "gradient to be added") : set("workspace of ", layer(part.owner));
        const PlanStage during = stage(part.first);
        out.name = text(part.owner >= 0                ? "workspace of "
                        : part.extent == Extent::batch ? "gradient to be added in "
                                                       : "slice buffers of ",
                        during.name);
        out.label = during.label;
    }
    [[nodiscard]] const std::string& parameter(int index) const {
        return parameters_[static_cast<std::size_t>(index)].name;
    }
    /// What lies in a stage's slice buffers.
    [[nodiscard]] std::string slice_buffers(int index) const {
        const Stage& stage = plan_.stages[static_cast<std::size_t>(index)];
        std::string out = text("\n", plan_.shipment.workers, " x ", grouped(stage.worker_stride),
                               " B, slices of ", stage.slice, ", each with");
        for (const Part& part : plan_.parts) {
            if (part.extent != Extent::slice || part.first < stage.first_step ||
                part.first >= stage.first_step + stage.steps)
                continue;
            PlanBlock inner;
            name(part, inner);
            out += text("\n  ", inner.name, ": ", grouped(part.bytes), " B");
        }
        return out;
    }

    std::span<const Node> nodes_;
    std::span<const Value> values_;
    PlanView plan_;
    std::vector<NamedParameter> parameters_;
};

} // namespace detail

} // namespace plimsoll::inline PLIMSOLL_ABI
