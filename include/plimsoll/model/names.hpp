#pragma once
/// \file
/// Names of layers and parameters, as PyTorch gives them, and the summary of a model.

#include <plimsoll/core/storage.hpp>
#include <plimsoll/core/units.hpp>
#include <plimsoll/model/graph.hpp>

#include <algorithm>
#include <span>
#include <string>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

/// "3.body.0"; empty for the nodes a graph adds by itself.
inline std::string to_string(const Path& path) {
    std::string out;
    for (const int step : path.steps) {
        if (!out.empty()) out += '.';
        out += step == Path::body ? "body" : step == Path::skip ? "skip" : std::to_string(step);
    }
    return out;
}

/// A parameter of a model by name.
struct NamedParameter {
    std::string name; ///< "3.body.0.weight"
    Parameter facts;
};

/// All parameters of a graph's nodes, in their order.
inline std::vector<NamedParameter> named_parameters(std::span<const Node> nodes) {
    std::vector<NamedParameter> out;
    for (const Node& node : nodes)
        for (const Parameter& parameter : node.facts.parameters)
            out.push_back({text(to_string(node.path), ".", parameter.name), parameter});
    return out;
}

template <int Nodes>
std::vector<NamedParameter> named_parameters(const Graph<Nodes>& graph) {
    return named_parameters(std::span<const Node>(graph.nodes.begin(), graph.nodes.end()));
}

namespace detail {

/// "3.body.0 Conv2d".
inline std::string layer_name(const Node& node) {
    const std::string path = to_string(node.path);
    return text(path, path.empty() ? "" : " ", node.facts.name);
}

inline std::string padded(std::string_view what, std::size_t width) {
    std::string out(what);
    out.resize(std::max(width, out.size() + 1), ' ');
    return out;
}

/// 3453121 as "3,453,121".
inline std::string grouped(std::int64_t number) {
    const std::string digits = std::to_string(number);
    std::string out;
    for (std::size_t i = 0; i < digits.size(); ++i) {
        if (i > 0 && (digits.size() - i) % 3 == 0 && digits[i - 1] != '-') out += ',';
        out += digits[i];
    }
    return out;
}

struct SummaryLine {
    std::string path, layer, output;
    std::int64_t parameters;
};

/// Collects the model's layers as they were written.
struct SummaryLines {
    static constexpr bool rewrites = false;
    std::vector<SummaryLine> lines{};

    template <class Layer, Shape In>
    int visit(const Path& path, int, int) {
        constexpr Facts facts = Placed<Layer, In>::facts;
        std::int64_t count = 0;
        for (const Parameter& parameter : facts.parameters)
            if (parameter.trainable) count += parameter.size();
        lines.push_back({to_string(path), std::string(facts.name), to_string(facts.output), count});
        return 0;
    }
};

} // namespace detail

/// The model's layers with their output shapes and parameters, as text.
template <class Model>
std::string summary() {
    check_model<Model>();
    detail::SummaryLines lines;
    detail::Walk<typename Model::Body, Model::input>::run(lines, Path{}, 0);
    std::string out = text(detail::padded("", 14), detail::padded("layer", 20), detail::padded("output", 16),
                           "parameters\n", detail::padded("", 14), detail::padded("Image", 20),
                           to_string(Model::input), "\n");
    std::int64_t total = 0;
    for (const detail::SummaryLine& line : lines.lines) {
        out += text(detail::padded(line.path, 14), detail::padded(line.layer, 20));
        out += line.parameters > 0
                   ? text(detail::padded(line.output, 16), detail::grouped(line.parameters), "\n")
                   : text(line.output, "\n");
        total += line.parameters;
    }
    out += text(detail::padded("total", 50), detail::grouped(total), " parameters, ",
                to_string(Bytes{total * 4}), "\n");
    return out;
}

} // namespace plimsoll::inline PLIMSOLL_ABI
