#pragma once
/// \file
/// A model as a constexpr table of nodes: what the plan, the executor, the summary and the names read.

#include <plimsoll/model/containers.hpp>

namespace plimsoll::inline PLIMSOLL_ABI {

/// A tensor that one node writes and others read.
struct Value {
    Shape shape{};
    int producer = -1;     ///< node that writes it; -1 for the stored pixels
    bool gradient = false; ///< whether a gradient flows to it
};

/// One layer at its place.
struct Node {
    Facts facts{};
    Path path{};
    Shape input_shape{};
    int input = -1;          ///< value it reads
    int second = -1;         ///< second value it reads (the sum of a Residual)
    int output = -1;         ///< value it writes
    int first_parameter = 0; ///< index of its first parameter among the model's
};

/// `Nodes` nodes in execution order: pixels widen first, the loss is last. Value 0 is the stored pixels.
template <int Nodes>
struct Graph {
    List<Node, Nodes> nodes{};
    List<Value, Nodes + 1> values{};
    int parameters = 0; ///< tensors of all layers, running statistics included

    [[nodiscard]] constexpr const Node& loss() const { return nodes.back(); }
    /// How often a value is read.
    [[nodiscard]] constexpr int readers(int value) const {
        int count = 0;
        for (const Node& node : nodes)
            count += (node.input == value ? 1 : 0) + (node.second == value ? 1 : 0);
        return count;
    }
    /// The model's outputs before the loss, (N, 1, 1, classes).
    [[nodiscard]] constexpr int logits() const { return nodes.back().input; }
};

namespace detail {

template <int Nodes>
struct GraphBuilder {
    static constexpr bool rewrites = true;
    Graph<Nodes> graph{};

    template <class Layer, Shape In>
    constexpr int visit(Path path, int input, int second) {
        Node node{.facts = Placed<Layer, In>::facts,
                  .path = path,
                  .input_shape = In,
                  .input = input,
                  .second = second,
                  .output = graph.values.size(),
                  .first_parameter = graph.parameters};
        bool learns = graph.values[input].gradient || (second >= 0 && graph.values[second].gradient);
        for (const Parameter& parameter : node.facts.parameters) learns = learns || parameter.trainable;
        graph.parameters += node.facts.parameters.size();
        graph.values.push({.shape = node.facts.output,
                           .producer = graph.nodes.size(),
                           .gradient = learns && node.facts.differentiable});
        graph.nodes.push(node);
        return node.output;
    }
};

} // namespace detail

/// Walks a whole training graph: stored pixels, widening, the model, its loss.
template <class Model, class Pixel, class Loss, class Visitor>
constexpr void walk_graph(Visitor& visitor) {
    using Body = detail::Walk<typename Model::Body, Model::input>;
    const int widened = visitor.template visit<Widen<Pixel>, Model::input>(Path{}, 0, -1);
    const int logits = Body::run(visitor, Path{}, widened);
    visitor.template visit<Loss, Body::output>(Path{}, logits, -1);
}

/// What a model returns for one picture, before its loss.
template <class Model>
inline constexpr Shape output_shape = detail::Walk<typename Model::Body, Model::input>::output;

/// Nodes of a training graph: the model's layers, widening and loss.
template <class Model>
inline constexpr int node_count = detail::Walk<typename Model::Body, Model::input>::nodes + 2;

template <class Model, class Pixel, class Loss>
constexpr auto make_graph() {
    detail::GraphBuilder<node_count<Model>> builder{};
    builder.graph.values.push({.shape = Model::input});
    walk_graph<Model, Pixel, Loss>(builder);
    return builder.graph;
}

/// The graph of a training job, a constant.
template <class Model, class Pixel, class Loss>
inline constexpr auto graph_of = make_graph<Model, Pixel, Loss>();

} // namespace plimsoll::inline PLIMSOLL_ABI
