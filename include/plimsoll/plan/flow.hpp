#pragma once
/// \file
/// How tensors flow through a graph: layouts, segments, which tensors share memory and which outlive a slice.

#include <plimsoll/model/graph.hpp>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// Decisions that do not depend on sizes. Arrays are indexed by node or value.
template <int Nodes>
class Flow {
  public:
    static constexpr int max_values = Nodes + 1;

    /// \param training false: nothing is kept for a backward pass.
    constexpr Flow(const Graph<Nodes>& graph, int layout_block, bool training)
        : graph_(graph), training_(training) {
        choose_layouts(layout_block);
        choose_segments();
        share_in_place();
        choose_extents();
    }

    List<Layout, max_values> layouts{};
    std::int32_t forward_segment[Nodes]{}, backward_segment[Nodes]{};
    bool activation_kept[max_values]{}; ///< by root: lives for the micro-batch, not for a slice
    bool gradient_kept[max_values]{};

    [[nodiscard]] constexpr const Facts& facts(int node) const { return graph_.nodes[node].facts; }
    [[nodiscard]] constexpr bool has_backward(int node) const {
        return training_ && (graph_.values[graph_.nodes[node].output].gradient || facts(node).reads_labels);
    }
    /// Layers whose weight gradient is summed over slices: at most one a segment.
    [[nodiscard]] constexpr bool has_partial(int node) const {
        return !facts(node).couples_images && !facts(node).whole_batch && !facts(node).parameters.empty();
    }
    /// The value whose memory a value's activation lies in.
    [[nodiscard]] constexpr int activation_root(int value) const {
        while (activation_of_[value] != value) value = activation_of_[value];
        return value;
    }
    /// The value whose memory a value's gradient lies in.
    [[nodiscard]] constexpr int gradient_root(int value) const {
        while (gradient_of_[value] != value) value = gradient_of_[value];
        return value;
    }

  private:
    // All tensors of a network share one layout policy, so that no node has to convert: blocked where every
    // convolution can be, channels last otherwise.
    constexpr void choose_layouts(int block) {
        for (const Node& node : graph_.nodes)
            if (!node.facts.parameters.empty() && node.facts.parameters[0].shape.size() == 4 && block > 0)
                if (node.facts.output.channels % block != 0 ||
                    (node.input_shape.channels % block != 0 && node.input_shape.channels > 4))
                    block = 0;
        for (const Value& value : graph_.values) {
            const int channels = value.shape.channels;
            Layout layout = Layout::channels_last(value.shape);
            if (block > 0 && value.producer >= 0)
                layout = channels % block == 0 ? Layout{block}
                         : channels <= 4       ? Layout::channels_first()
                                               : layout;
            layouts.push(layout);
        }
    }

    constexpr void choose_segments() {
        int segment = 0;
        bool has_weights = false, after_whole = false;
        for (int n = 0; n < graph_.nodes.size(); ++n) {
            const bool whole = facts(n).whole_batch;
            if (n > 0 &&
                (whole || after_whole || facts(n).couples_images || (has_partial(n) && has_weights))) {
                ++segment;
                has_weights = false;
            }
            has_weights = has_weights || has_partial(n);
            after_whole = whole;
            forward_segment[n] = segment;
        }
        // Backward, a segment ends with its weights: behind them only what keeps the size joins in.
        segment = 0;
        has_weights = after_whole = false;
        for (int n = graph_.nodes.size() - 1; n >= 0; --n) {
            const bool whole = facts(n).whole_batch;
            if (n < graph_.nodes.size() - 1 &&
                (whole || after_whole || facts(n).couples_images || (has_weights && !facts(n).in_place))) {
                ++segment;
                has_weights = false;
            }
            has_weights = has_weights || has_partial(n);
            after_whole = whole;
            backward_segment[n] = segment;
        }
    }

    constexpr void share_in_place() {
        for (int v = 0; v < graph_.values.size(); ++v) activation_of_[v] = gradient_of_[v] = v;
        for (const Node& node : graph_.nodes) {
            ++consumers_[node.input];
            if (node.second >= 0) ++consumers_[node.second];
        }
        for (const Node& node : graph_.nodes) {
            const Value& input = graph_.values[node.input];
            if (!node.facts.in_place || consumers_[node.input] != 1 || input.producer < 0) continue;
            const Facts& producer = facts(input.producer);
            if (!producer.recompute &&
                !(training_ && (producer.backward_reads_output || node.facts.backward_reads_input)))
                activation_of_[node.output] = node.input;
            if (input.gradient) gradient_of_[node.input] = node.output;
        }
    }

    constexpr void choose_extents() {
        const auto use = [&](const Node& node, int n, int value) {
            const int producer = graph_.values[value].producer;
            if (producer < 0) return;
            const bool whole = node.facts.whole_batch || facts(producer).whole_batch;
            if (whole || forward_segment[n] != forward_segment[producer] ||
                (node.facts.backward_reads_input && has_backward(n) && !facts(producer).recompute))
                activation_kept[activation_root(value)] = true;
            if (whole || backward_segment[n] != backward_segment[producer] || facts(producer).couples_images)
                gradient_kept[gradient_root(value)] = true;
        };
        for (int n = 0; n < graph_.nodes.size(); ++n) {
            const Node& node = graph_.nodes[n];
            use(node, n, node.input);
            if (node.second >= 0) use(node, n, node.second);
            if ((node.facts.backward_reads_output && has_backward(n)) || node.facts.whole_batch)
                activation_kept[activation_root(node.output)] = true;
            if (node.facts.whole_batch) gradient_kept[gradient_root(node.output)] = true;
        }
    }

    const Graph<Nodes>& graph_;
    bool training_;
    std::int32_t consumers_[max_values]{};
    std::int32_t activation_of_[max_values]{}, gradient_of_[max_values]{};
};

} // namespace detail

} // namespace plimsoll::inline PLIMSOLL_ABI
