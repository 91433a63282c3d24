#pragma once
/// \file
/// What runs in which order and which parts it touches. See planner.hpp.

#include <plimsoll/plan/flow.hpp>
#include <plimsoll/plan/placement.hpp>
#include <plimsoll/plan/plan.hpp>
#include <plimsoll/plan/site.hpp>

namespace plimsoll::inline PLIMSOLL_ABI {

/// What a plan is asked for.
struct Request {
    int batch = 1;
    Cut cut{};
    int workers = 1; ///< lanes that do run at once: sets of slice buffers
    int ring_slots = 1;
    int pixel_bytes = 1;
    int storage_bytes = 4; ///< of an activation
    int scaling_bytes = 0; ///< of the state of loss scaling; 0: none
    int pass_bytes = 0;    ///< of the pass's state in the device's memory; 0: none
    bool training = true;  ///< false: forward only, no gradients
    int optimizer_states = 0;
    int layout_block = 0; ///< channels in oneDNN's blocked layout on this processor; 0: channels last
    std::uint64_t seed = 0;
};

/// What the kernel of a node needs beside its operands.
using NeedsFunction = Needs (*)(const Site&);

template <int Nodes>
constexpr Site site_of(const Graph<Nodes>& graph, const Shipment& shipment, const Layout* layouts, int node,
                       int images, bool training, std::uint64_t seed) {
    const Node& at = graph.nodes[node];
    return {.facts = at.facts,
            .input = at.input_shape,
            .output = at.facts.output,
            .input_layout = layouts[at.input],
            .output_layout = layouts[at.output],
            .images = images,
            .lanes = shipment.lanes,
            .input_gradient = graph.values[at.input].gradient,
            .training = training,
            .node = node,
            .seed = seed};
}

namespace detail {

/// First half of making a plan: parameters, parts and stages, with lives but without sizes.
template <int Nodes>
class StageBuilder {
  protected:
    constexpr StageBuilder(const Graph<Nodes>& graph, const Request& request, const NeedsFunction* functions)
        : graph_(graph),
          request_(request),
          functions_(functions),
          flow_(graph, request.layout_block, request.training, request.cut.recompute) {
        for (int v = 0; v < max_values; ++v)
            activation_part_[v] = again_part_[v] = gradient_part_[v] = local_activation_[v] =
                local_gradient_[v] = -1;
        plan_.shipment = {.batch = request.batch,
                          .micro_batch = request.cut.micro_batch,
                          .room = request.cut.micro_batch,
                          .lanes = request.cut.lanes,
                          .workers = request.workers,
                          .ring_slots = request.ring_slots,
                          .slice_bytes = request.cut.slice_bytes,
                          .recompute = request.cut.recompute};
        plan_.layouts = flow_.layouts;
        for (int n = 0; n < graph.nodes.size(); ++n) {
            saved_[n] = statistics_[n] = packed_[n] = partial_[n] = -1;
            needs_of_one_[n] = needs(n, 1);
        }
    }

    constexpr Needs needs(int node, int images) const {
        return functions_[node](site_of(graph_, plan_.shipment, plan_.layouts.begin(), node, images,
                                        request_.training, request_.seed));
    }

    static constexpr int max_values = Nodes + 1;

    constexpr const Facts& facts(int node) const { return graph_.nodes[node].facts; }

    constexpr std::int32_t add_part(Role role, Extent extent, int owner, std::int64_t unit, int first,
                                    int last) {
        plan_.parts.push(
            {.role = role, .extent = extent, .owner = owner, .unit = unit, .first = first, .last = last});
        return plan_.parts.size() - 1;
    }
    static constexpr std::int32_t forever_ = 1 << 30;

    constexpr void build_parameters() {
        const auto build = [&](Role role, bool trainable) {
            int index = 0;
            for (const Node& node : graph_.nodes)
                for (const Parameter& parameter : node.facts.parameters) {
                    if (parameter.trainable == trainable) {
                        const auto part =
                            add_part(role, Extent::once, index, parameter.size() * 4, 0, forever_);
                        if (role == Role::weight || role == Role::running_statistic)
                            plan_.weights[index] = part;
                        if (role == Role::gradient) plan_.gradients[index] = part;
                    }
                    ++index;
                }
        };
        plan_.weights.count = plan_.gradients.count = graph_.parameters;
        for (std::int32_t& gradient : plan_.gradients) gradient = -1;
        build(Role::weight, true);
        if (request_.training) build(Role::gradient, true);
        if (request_.optimizer_states > 0) build(Role::first_state, true);
        if (request_.optimizer_states > 1) build(Role::second_state, true);
        build(Role::running_statistic, false);
        if (request_.scaling_bytes > 0)
            plan_.scaling =
                add_part(Role::loss_scaling, Extent::once, 0, request_.scaling_bytes, 0, forever_);
        if (request_.pass_bytes > 0)
            plan_.pass_state = add_part(Role::pass_state, Extent::once, 0, request_.pass_bytes, 0, forever_);
        plan_.pixels = add_part(Role::pixels, Extent::batch, 0,
                                graph_.values[0].shape.size() * request_.pixel_bytes, 0, forever_);
        plan_.labels = add_part(Role::labels, Extent::batch, 0, 4, 0, forever_);
    }

    constexpr int stage_index() const { return plan_.stages.size() - 1; }

    constexpr void begin_stage(bool sliced, bool training_only) {
        plan_.stages.push(
            {.first_step = plan_.steps.size(), .slice = sliced ? 1 : 0, .training_only = training_only});
        local_head_[stage_index()] = -1;
    }
    constexpr bool sliced() const { return plan_.stages.back().slice > 0; }
    constexpr int step_index() const { return plan_.steps.size(); } // of the step being made

    constexpr void push_step(const Step& step) {
        plan_.steps.push(step);
        ++plan_.stages.back().steps;
    }
    constexpr void end_stage() {
        for (std::int32_t p = local_head_[stage_index()]; p >= 0; p = next_local_[p]) {
            const Part& part = plan_.parts[p];
            if (part.role == Role::activation) local_activation_[part.owner] = -1;
            if (part.role == Role::activation_gradient) local_gradient_[part.owner] = -1;
        }
    }
    constexpr std::int32_t touch(std::int32_t part) {
        Part& p = plan_.parts[part];
        const std::int32_t now = p.extent == Extent::slice ? step_index() : stage_index();
        if (now < p.first) p.first = now;
        if (now > p.last) p.last = now;
        return part;
    }
    constexpr std::int32_t local_part(Role role, int owner, std::int64_t unit) {
        const auto part = add_part(role, Extent::slice, owner, unit, step_index(), step_index());
        next_local_[part] = local_head_[stage_index()];
        local_head_[stage_index()] = part;
        return part;
    }
    /// Of an element of a value: what a loss returns is float32 under every precision.
    constexpr std::int64_t element_bytes(int value) const {
        const int producer = graph_.values[value].producer;
        return producer >= 0 && facts(producer).reads_labels ? 4 : request_.storage_bytes;
    }
    /// A tensor of the batch, or of the slice where nobody outside the stage needs it.
    constexpr std::int32_t tensor(Role role, int root, bool kept, std::int32_t* kept_part,
                                  std::int32_t* local) {
        std::int32_t& part = kept ? kept_part[root] : local[root];
        const std::int64_t unit = graph_.values[root].shape.size() * element_bytes(root);
        if (part < 0)
            part = kept ? add_part(role, Extent::batch, root, unit, stage_index(), stage_index())
                        : local_part(role, root, unit);
        return touch(part);
    }
    constexpr std::int32_t activation(int value) {
        if (value == 0) return plan_.pixels;
        const int root = flow_.activation_root(value);
        const Recall recall = flow_.recall[root];
        if (staged(root) && backward_)
            return tensor(Role::activation, root, true, again_part_, local_activation_);
        const bool kept = recall == Recall::kept || (flow_.forward_batch[root] && !backward_);
        return tensor(Role::activation, root, kept, activation_part_, local_activation_);
    }
    constexpr std::int32_t gradient(int value) {
        const int root = flow_.gradient_root(value);
        if (flow_.gradient_lies_in[root] >= 0) return activation(flow_.gradient_lies_in[root]);
        return tensor(Role::activation_gradient, root, flow_.gradient_kept[root], gradient_part_,
                      local_gradient_);
    }
    /// For backward: makes what is made again by the slice exist in this stage.
    constexpr std::int32_t recalled(int value) {
        const int root = flow_.activation_root(value);
        if (root != 0 && flow_.recall[root] == Recall::sliced && local_activation_[root] < 0) run_again(root);
        return activation(value);
    }
    constexpr void run_again(int root) {
        flow_.for_writers(root, [&](int n) {
            const Node& node = graph_.nodes[n];
            for (const int value : {node.input, node.second})
                if (value >= 0 && flow_.activation_root(value) != root) recalled(value);
            push_forward(n);
        });
    }
    constexpr bool staged(int root) const { return flow_.recall[root] == Recall::staged; }
    /// For backward: runs the stages, before the one that reads a root, which make it again.
    constexpr void prepare(int root) {
        if (root == 0 || flow_.recall[root] == Recall::kept || prepared_[root]) return;
        prepared_[root] = staged(root);
        flow_.for_writers(root, [&](int n) {
            const Node& node = graph_.nodes[n];
            for (const int value : {node.input, node.second})
                if (value >= 0 && flow_.activation_root(value) != root) prepare(flow_.activation_root(value));
        });
        if (!staged(root)) return;
        begin_stage(true, true);
        run_again(root);
        end_stage();
    }
    constexpr std::int32_t node_part(std::int32_t* parts, Role role, Extent extent, int node,
                                     std::int64_t unit) {
        if (unit == 0) return -1;
        if (parts[node] < 0) parts[node] = add_part(role, extent, node, unit, stage_index(), stage_index());
        return touch(parts[node]);
    }
    constexpr bool asks(int node, std::int64_t Needs::*what) const { return needs_of_one_[node].*what > 0; }
    constexpr void add_node_parts(Step& step) {
        const int n = step.node;
        const Facts& at = facts(n);
        if (staged(flow_.activation_root(graph_.nodes[n].output)) && !backward_ && at.saved_bytes > 0)
            step.saved =
                local_part(Role::saved, n, at.saved_bytes); // forward's is lost, backward has its own
        else
            step.saved = node_part(saved_, Role::saved, Extent::batch, n, at.saved_bytes);
        step.statistics = node_part(statistics_, Role::statistics, Extent::once, n, at.statistics_bytes);
        if (packed_[n] >= 0) step.packed = packed_[n];
        add_scratch(step);
    }
    constexpr void add_scratch(Step& step) {
        if (!asks(step.node, &Needs::scratch)) return;
        step.scratch =
            sliced() ? local_part(Role::workspace, step.node, 0)
                     : add_part(Role::workspace, Extent::once, step.node, 0, stage_index(), stage_index());
    }
    /// A batch phase outside the passes' order: copies of weights, sums of partials.
    constexpr void push_batch_phase(Step step, bool training_only) {
        begin_stage(false, training_only);
        if (step.partial >= 0) touch(step.partial);
        add_scratch(step);
        push_step(step);
        end_stage();
    }
    constexpr void push_forward(int n) {
        const Node& node = graph_.nodes[n];
        Step step{.phase = Phase::forward, .node = n};
        step.input = activation(node.input);
        if (node.second >= 0) step.second = activation(node.second);
        add_node_parts(step);
        step.output = activation(node.output);
        push_step(step);
    }
    constexpr void push_gather(int n, Phase phase) {
        begin_stage(false, true);
        Step step{.phase = phase, .node = n};
        step.input = activation(graph_.nodes[n].input);
        if (phase == Phase::gather_gradient) step.output_gradient = gradient(graph_.nodes[n].output);
        add_node_parts(step);
        if (asks(n, &Needs::partial))
            step.partial = add_part(Role::workspace, Extent::once, n, 1, stage_index(), stage_index());
        push_step(step);
        end_stage();
    }
    /// The gradient of an input: overwritten by its first writer, added to by the others.
    constexpr void write_gradient(int value, std::int32_t& target, std::int32_t& staging) {
        if (!graph_.values[value].gradient) return;
        const int root = flow_.gradient_root(value);
        const std::int64_t unit = graph_.values[root].shape.size() * request_.storage_bytes;
        if (gradient_written_[root])
            staging = sliced()
                          ? local_part(Role::workspace, -1, unit)
                          : add_part(Role::workspace, Extent::batch, -1, unit, stage_index(), stage_index());
        gradient_written_[root] = true;
        target = gradient(value);
    }
    constexpr void push_backward(int n) {
        const Node& node = graph_.nodes[n];
        Step step{.phase = Phase::backward, .node = n};
        if (node.facts.backward_reads_input) recalled(node.input);
        if (node.facts.backward_reads_output) recalled(node.output);
        if (node.facts.backward_reads_input) step.input = activation(node.input);
        if (node.facts.backward_reads_output) step.output = activation(node.output);
        if (graph_.values[node.output].gradient && !node.facts.reads_labels)
            step.output_gradient = gradient(node.output);
        add_node_parts(step);
        if (flow_.has_partial(n) && asks(n, &Needs::partial))
            step.partial = node_part(partial_, Role::partial_gradient, Extent::once, n, 1);
        if (flow_.gradient_root(node.input) == flow_.gradient_root(node.output) && node.input != 0 &&
            graph_.values[node.input].gradient) {
            step.input_gradient = gradient(node.input); // in place: the whole gradient is already here
        } else {
            write_gradient(node.input, step.input_gradient, step.input_staging);
        }
        if (node.second >= 0) write_gradient(node.second, step.second_gradient, step.second_staging);
        push_step(step);
    }

    constexpr void prepare_backward(int n) {
        const int root = flow_.activation_root(graph_.nodes[n].output);
        if (facts(n).backward_reads_input) prepare(flow_.activation_root(graph_.nodes[n].input));
        if (facts(n).backward_reads_output || (facts(n).saved_bytes > 0 && staged(root))) prepare(root);
    }

    constexpr void build_stages() {
        for (int n = 0; n < graph_.nodes.size(); ++n) {
            if (!asks(n, &Needs::packed)) continue;
            packed_[n] = add_part(Role::packed, Extent::once, n, 1, 0, forever_);
            push_batch_phase({.phase = Phase::pack, .node = n, .packed = packed_[n]}, false);
        }
        for (int n = 0; n < graph_.nodes.size();) {
            const int segment = flow_.forward_segment[n];
            if (facts(n).couples_images && request_.training) push_gather(n, Phase::gather);
            begin_stage(!facts(n).whole_batch, false);
            for (; n < graph_.nodes.size() && flow_.forward_segment[n] == segment; ++n) push_forward(n);
            end_stage();
        }
        for (int n = request_.training ? graph_.nodes.size() - 1 : -1; n >= 0;) {
            const int segment = flow_.backward_segment[n];
            const int from = n;
            int to = n;
            while (to >= 0 && flow_.backward_segment[to] == segment) --to;
            n = to;
            bool any = false;
            for (int k = from; k > to; --k) any = any || flow_.has_backward(k);
            if (!any) continue;
            backward_ = true;
            for (int k = from; k > to; --k)
                if (flow_.has_backward(k)) prepare_backward(k);
            if (facts(from).couples_images) push_gather(from, Phase::gather_gradient);
            begin_stage(!facts(from).whole_batch, true);
            for (int k = from; k > to; --k)
                if (flow_.has_backward(k)) push_backward(k);
            end_stage();
            for (int k = from; k > to; --k)
                if (partial_[k] >= 0)
                    push_batch_phase(
                        {.phase = Phase::reduce, .node = k, .packed = packed_[k], .partial = partial_[k]},
                        true);
        }
        for (int n = 0; n < graph_.nodes.size(); ++n)
            if (request_.training && facts(n).couples_images)
                push_batch_phase({.phase = Phase::settle, .node = n, .statistics = statistics_[n]}, true);
    }

    const Graph<Nodes>& graph_;
    Request request_;
    const NeedsFunction* functions_;
    Flow<Nodes> flow_;
    Plan<Nodes> plan_{};

    Needs needs_of_one_[Nodes]{}; ///< a node's, for one image
    bool backward_ = false;       ///< which pass is being built
    bool prepared_[max_values]{}, gradient_written_[max_values]{};
    std::int32_t activation_part_[max_values]{}, again_part_[max_values]{}, gradient_part_[max_values]{};
    std::int32_t local_activation_[max_values]{}, local_gradient_[max_values]{};
    std::int32_t saved_[Nodes]{}, statistics_[Nodes]{}, packed_[Nodes]{}, partial_[Nodes]{};
    std::int32_t local_head_[Plan<Nodes>::most_stages]{};
    std::int32_t next_local_[Plan<Nodes>::most_parts]{};
};

} // namespace detail

} // namespace plimsoll::inline PLIMSOLL_ABI
