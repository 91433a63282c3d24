#pragma once
/// \file
/// Makes a plan: slices, sizes and addresses for the stages of stages.hpp. The same code runs in constant
/// expressions and at run time.

#include <plimsoll/plan/placement.hpp>
#include <plimsoll/plan/stages.hpp>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

template <int Nodes>
class Planner : StageBuilder<Nodes> {
    using Base = StageBuilder<Nodes>;
    using Base::facts, Base::flow_, Base::forever_, Base::graph_, Base::local_head_, Base::needs_,
        Base::next_local_, Base::plan_, Base::request_;

  public:
    constexpr Planner(const Graph<Nodes>& graph, const Request& request, const NeedsFunction* needs)
        : Base(graph, request, needs) {}

    constexpr Plan<Nodes> make() {
        plan_.shipment = {.batch = request_.batch,
                          .micro_batch = request_.micro_batch,
                          .room = request_.micro_batch,
                          .lanes = request_.lanes,
                          .workers = request_.workers,
                          .ring_slots = request_.ring_slots};
        plan_.layouts = flow_.layouts;
        this->build_parameters();
        this->build_stages();
        choose_slices();
        size_parts();
        place_parts();
        return plan_;
    }

  private:
    constexpr Needs needs(int node, int images) const {
        return needs_[node](
            site_of(graph_, plan_.shipment, plan_.layouts.begin(), node, images, request_.seed));
    }
    constexpr void size_local(Part& part, int slice) const {
        part.bytes = part.role == Role::workspace && part.owner >= 0 ? needs(part.owner, slice).scratch
                                                                     : part.unit * slice;
    }
    /// Bytes of one worker's buffers in a stage.
    constexpr std::int64_t place_region(int stage, int slice) {
        std::int32_t count = 0;
        for (std::int32_t p = local_head_[stage]; p >= 0; p = next_local_[p]) {
            size_local(plan_.parts[p], slice);
            order_[count++] = p;
        }
        return place(plan_.parts.begin(), order_, count, 0);
    }

    constexpr void choose_slices() {
        plan_.node_slices.count = graph_.nodes.size();
        const int most = request_.micro_batch / request_.lanes;
        const auto largest = [&](std::int64_t bytes_an_image) {
            int slice = 1;
            while (slice * 2 <= most && bytes_an_image * slice * 2 <= request_.slice_bytes) slice *= 2;
            return slice;
        };
        // A kernel with weights has one slice in all its stages: the one its hungriest stage allows.
        for (int n = 0; n < graph_.nodes.size(); ++n)
            plan_.node_slices[n] = facts(n).whole_batch ? request_.micro_batch : 0;
        for (int round = 0; round < 2; ++round)
            for (int s = 0; s < plan_.stages.size(); ++s) {
                Stage& stage = plan_.stages[s];
                if (stage.slice == 0) continue;
                int weights = -1;
                for (int k = 0; k < stage.steps; ++k) {
                    const Step& step = plan_.steps[stage.first_step + k];
                    if (flow_.has_partial(step.node)) weights = step.node;
                }
                int slice = largest(place_region(s, 1));
                if (weights >= 0) {
                    std::int32_t& fixed = plan_.node_slices[weights];
                    if (fixed == 0 || slice < fixed) fixed = slice;
                    slice = fixed;
                }
                stage.slice = slice;
            }
        for (const Stage& stage : plan_.stages) {
            if (stage.slice > 0)
                plan_.shipment.room =
                    larger(plan_.shipment.room,
                           static_cast<std::int32_t>(round_up(request_.micro_batch, stage.slice)));
            for (int k = 0; k < stage.steps; ++k) {
                std::int32_t& slice = plan_.node_slices[plan_.steps[stage.first_step + k].node];
                slice = larger(slice, stage.slice);
            }
        }
    }
    static constexpr std::int32_t larger(std::int32_t a, std::int32_t b) { return a > b ? a : b; }

    constexpr void size_parts() {
        for (int s = 0; s < plan_.stages.size(); ++s) {
            Stage& stage = plan_.stages[s];
            if (stage.slice == 0) continue;
            stage.worker_stride = place_region(s, stage.slice);
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
            const int images =
                facts(step.node).whole_batch ? request_.micro_batch : plan_.node_slices[step.node];
            if (step.packed >= 0) plan_.parts[step.packed].unit = needs(step.node, images).packed;
            if (step.partial >= 0)
                plan_.parts[step.partial].unit = needs(step.node, images).partial * request_.lanes;
            if (step.scratch >= 0 && plan_.parts[step.scratch].extent == Extent::once)
                plan_.parts[step.scratch].unit =
                    needs(step.node, images).scratch * (facts(step.node).whole_batch ? request_.lanes : 1);
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
        plan_.total = place(plan_.parts.begin(), order_, count, end);
    }

    std::int32_t order_[Nodes * 20 + 8]{};
};

} // namespace detail

/// The plan for a graph. \param needs one function a node.
template <int Nodes>
constexpr Plan<Nodes> make_plan(const Graph<Nodes>& graph, const Request& request,
                                const NeedsFunction* needs) {
    return detail::Planner<Nodes>(graph, request, needs).make();
}

} // namespace plimsoll::inline PLIMSOLL_ABI
