#pragma once
/// \file
/// Makes a plan: slices, sizes and addresses for the stages of stages.hpp. The same code runs in constant
/// expressions and at run time.

#include <plimsoll/plan/placement.hpp>
#include <plimsoll/plan/stages.hpp>

#include <cstdint>
#include <limits>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

template <int Nodes>
class Planner : StageBuilder<Nodes> {
    using Base = StageBuilder<Nodes>;
    using Base::facts, Base::flow_, Base::forever_, Base::graph_, Base::local_head_, Base::needs,
        Base::needs_of_one_, Base::next_local_, Base::plan_, Base::request_;

  public:
    constexpr Planner(const Graph<Nodes>& graph, const Request& request, const NeedsFunction* functions)
        : Base(graph, request, functions) {}

    constexpr Plan<Nodes> make() {
        this->build_parameters();
        this->build_stages();
        choose_slices();
        size_parts();
        place_parts();
        return plan_;
    }

  private:
    constexpr void size_local(Part& part, int slice, const Needs* needs_of) const {
        if (part.role != Role::workspace || part.owner < 0)
            part.bytes = part.unit * slice;
        else
            part.bytes = needs_of == nullptr ? 0 : needs_of[part.owner].scratch;
    }
    /// Bytes of one worker's buffers in a stage. \param needs_of each node's; null: tensors only.
    constexpr std::int64_t place_region(int stage, int slice, const Needs* needs_of = nullptr) {
        std::int32_t count = 0;
        for (std::int32_t p = local_head_[stage]; p >= 0; p = next_local_[p]) {
            size_local(plan_.parts[p], slice, needs_of);
            order_[count++] = p;
        }
        const Stage& at = plan_.stages[stage];
        return placement_.place(plan_.parts.begin(), order_, count, at.first_step,
                                at.first_step + at.steps - 1, 0);
    }

    constexpr void choose_slices() {
        plan_.node_slices.count = graph_.nodes.size();
        const int most = request_.cut.micro_batch / request_.cut.lanes;
        for (int n = 0; n < graph_.nodes.size(); ++n) plan_.node_slices[n] = 0;
        for (int s = 0; s < plan_.stages.size(); ++s) {
            Stage& stage = plan_.stages[s];
            if (stage.slice == 0) continue;
            const std::int64_t bytes = place_region(s, 1);
            std::int64_t elements = 1; // of an image; libraries count those of a tensor in 32 bits
            for (int k = 0; k < stage.steps; ++k) {
                const Node& node = graph_.nodes[plan_.steps[stage.first_step + k].node];
                elements = larger(elements, larger(node.input_shape.size(), node.facts.output.size()));
            }
            while (stage.slice * 2 <= most && bytes * stage.slice * 2 <= request_.cut.slice_bytes &&
                   elements * stage.slice * 2 <= std::numeric_limits<std::int32_t>::max())
                stage.slice *= 2;
        }
        // A kernel with weights has one slice in all its stages: the one its hungriest stage allows.
        for (bool settled = false; !settled;) {
            settled = true;
            for (Stage& stage : plan_.stages) {
                if (stage.slice == 0) continue;
                const auto for_weights = [&](auto f) {
                    for (int k = 0; k < stage.steps; ++k) {
                        const std::int32_t node = plan_.steps[stage.first_step + k].node;
                        if (flow_.has_partial(node)) f(plan_.node_slices[node]);
                    }
                };
                for_weights([&](std::int32_t& fixed) {
                    if (fixed > 0 && fixed < stage.slice) stage.slice = fixed;
                });
                for_weights([&](std::int32_t& fixed) {
                    settled = settled && fixed == stage.slice;
                    fixed = stage.slice;
                });
            }
        }
        for (const Stage& stage : plan_.stages) {
            if (stage.slice > 0)
                plan_.shipment.room =
                    larger(plan_.shipment.room,
                           static_cast<std::int32_t>(round_up(request_.cut.micro_batch, stage.slice)));
            for (int k = 0; k < stage.steps; ++k) {
                std::int32_t& slice = plan_.node_slices[plan_.steps[stage.first_step + k].node];
                slice = larger(slice, stage.slice);
            }
        }
        for (int n = 0; n < graph_.nodes.size(); ++n) {
            if (facts(n).whole_batch) plan_.node_slices[n] = request_.cut.micro_batch;
            const Needs& one = needs_of_one_[n];
            needs_of_slice_[n] = one.packed + one.partial + one.scratch == 0 || plan_.node_slices[n] == 1
                                     ? one
                                     : needs(n, plan_.node_slices[n]);
        }
    }
    template <class T>
    static constexpr T larger(T a, T b) {
        return a > b ? a : b;
    }

    constexpr void size_parts() {
        for (int s = 0; s < plan_.stages.size(); ++s) {
            Stage& stage = plan_.stages[s];
            if (stage.slice == 0) continue;
            stage.worker_stride = place_region(s, stage.slice, needs_of_slice_);
            if (stage.worker_stride == 0) continue;
            plan_.parts.push({.role = Role::workspace,
                              .extent = Extent::once,
                              .owner = -1,
                              .unit = stage.worker_stride * request_.workers,
                              .first = s,
                              .last = s});
            stage.region = plan_.parts.size() - 1;
        }
        for (const Step& step : plan_.steps) {
            const Needs& asked = needs_of_slice_[step.node];
            if (step.packed >= 0) plan_.parts[step.packed].unit = asked.packed;
            if (step.partial >= 0) plan_.parts[step.partial].unit = asked.partial * request_.cut.lanes;
            if (step.scratch >= 0 && plan_.parts[step.scratch].extent == Extent::once)
                plan_.parts[step.scratch].unit =
                    asked.scratch * (facts(step.node).whole_batch ? request_.cut.lanes : 1);
        }
        for (Part& part : plan_.parts)
            if (part.extent != Extent::slice)
                part.bytes = part.extent == Extent::batch ? part.unit * plan_.shipment.room : part.unit;
        plan_.parts[plan_.pixels].bytes *= request_.ring_slots;
        plan_.parts[plan_.labels].bytes *= request_.ring_slots;
    }

    constexpr void place_parts() {
        std::int64_t end = guard_bytes;
        std::int32_t count = 0;
        std::int64_t weights_begin = -1;
        for (int p = 0; p < plan_.parts.size(); ++p) {
            Part& part = plan_.parts[p];
            if (part.extent == Extent::slice) continue;
            if (part.last != forever_ && part.role != Role::statistics) {
                order_[count++] = p;
                continue;
            }
            part.first = 0;
            part.last = plan_.stages.size() - 1;
            // Weights, gradients and states lie in the same order at the same distances, so that the
            // optimizer is one pass: no guards inside.
            const bool block = part.role <= Role::second_state;
            if (block && (p == 0 || plan_.parts[p - 1].role != part.role)) end += p == 0 ? 0 : guard_bytes;
            part.offset = end;
            end += aligned(part.bytes) + (block ? 0 : guard_bytes);
            if (part.role == Role::weight) {
                if (weights_begin < 0) weights_begin = part.offset;
                plan_.trainable_bytes = end - weights_begin;
            }
        }
        end += guard_bytes;
        plan_.shared = end;
        plan_.total = placement_.place(plan_.parts.begin(), order_, count, 0, plan_.stages.size() - 1, end);
    }

    Needs needs_of_slice_[Nodes]{}; ///< a node's, for its slice
    Placement<Plan<Nodes>::most_parts, Plan<Nodes>::most_stages> placement_{};
    std::int32_t order_[Plan<Nodes>::most_parts]{};
};

} // namespace detail

/// The plan for a graph. \param needs one function a node.
template <int Nodes>
constexpr Plan<Nodes> make_plan(const Graph<Nodes>& graph, const Request& request,
                                const NeedsFunction* needs) {
    return detail::Planner<Nodes>(graph, request, needs).make();
}

} // namespace plimsoll::inline PLIMSOLL_ABI
