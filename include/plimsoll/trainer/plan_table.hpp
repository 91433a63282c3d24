#pragma once
/// \file
/// A plan as a table: who owns every byte.

#include <plimsoll/model/names.hpp>
#include <plimsoll/plan/placement.hpp>

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
struct PlanTable {
    std::string title;
    std::vector<PlanRow> rows;
    std::int64_t total = 0;

    [[nodiscard]] std::string str() const {
        std::size_t width = 12;
        for (const PlanRow& row : rows) width = std::max(width, row.name.size() + (row.shared ? 4 : 2));
        std::string out = title + "\n";
        const auto line = [&](const std::string& name, std::int64_t bytes) {
            std::string number = detail::grouped(bytes);
            number.insert(0, number.size() < 15 ? 15 - number.size() : 0, ' ');
            std::string rounded = to_string(Bytes{bytes});
            rounded.insert(0, rounded.size() < 12 ? 12 - rounded.size() : 0, ' ');
            out += text(detail::padded(name, width), number, " B", rounded, "\n");
        };
        for (const PlanRow& row : rows)
            line(row.shared ? text("    ", row.name) : text("  ", row.name), row.bytes);
        line("total", total);
        return out;
    }

    template <class Stream>
    friend Stream& operator<<(Stream& stream, const PlanTable& table) {
        stream << table.str();
        return stream;
    }
};

namespace detail {

template <int Nodes>
std::string part_name(const Graph<Nodes>& graph, const std::vector<NamedParameter>& parameters,
                      const Part& part) {
    const auto layer = [&](int node) {
        const std::string path = to_string(graph.nodes[node].path);
        return path.empty() ? std::string(graph.nodes[node].facts.name)
                            : text(path, " ", graph.nodes[node].facts.name);
    };
    const auto value = [&](int index) {
        const int producer = graph.values[index].producer;
        return producer < 0 ? std::string("pixels") : layer(producer);
    };
    switch (part.role) {
    case Role::weight:
        return parameters[static_cast<std::size_t>(part.owner)].name;
    case Role::gradient:
        return text("gradient of ", parameters[static_cast<std::size_t>(part.owner)].name);
    case Role::first_state:
        return text("first state of ", parameters[static_cast<std::size_t>(part.owner)].name);
    case Role::second_state:
        return text("second state of ", parameters[static_cast<std::size_t>(part.owner)].name);
    case Role::running_statistic:
        return parameters[static_cast<std::size_t>(part.owner)].name;
    case Role::packed:
        return text("library copy of ", layer(part.owner));
    case Role::pixels:
        return "pixels of the batch ring";
    case Role::labels:
        return "labels of the batch ring";
    case Role::activation:
        return text("output of ", value(part.owner));
    case Role::activation_gradient:
        return text("gradient of the output of ", value(part.owner));
    case Role::saved:
        return text("saved by ", layer(part.owner));
    case Role::statistics:
        return text("statistics of ", layer(part.owner));
    case Role::partial_gradient:
        return text("partial gradients of ", layer(part.owner));
    case Role::workspace:
        return part.owner < 0 ? "slice buffers" : text("workspace of ", layer(part.owner));
    }
    return {};
}

} // namespace detail

/// Permanent parts add up with the shared memory and the padding to the total; below the shared memory stand
/// the parts that take turns in it.
template <int Nodes>
PlanTable plan_table(const Graph<Nodes>& graph, const Plan<Nodes>& plan, std::string title) {
    const std::vector<NamedParameter> parameters = named_parameters(graph);
    PlanTable table{std::move(title), {}, plan.total};
    const std::int32_t last_stage = plan.stages.size() - 1;
    std::int64_t permanent_end = 0, named = 0;
    std::vector<PlanRow> shared;
    for (const Part& part : plan.parts) {
        if (part.extent == Extent::slice) continue; // inside the slice buffers
        PlanRow row{detail::part_name(graph, parameters, part), part.bytes};
        if (part.first == 0 && part.last == last_stage) {
            permanent_end = std::max(permanent_end, part.offset + aligned(part.bytes) + guard_bytes);
            named += part.bytes;
            table.rows.push_back(std::move(row));
        } else {
            row.shared = true;
            shared.push_back(std::move(row));
        }
    }
    if (permanent_end < plan.total) table.rows.push_back({"shared by turns", plan.total - permanent_end});
    named += plan.total - permanent_end;
    std::stable_sort(shared.begin(), shared.end(),
                     [](const PlanRow& a, const PlanRow& b) { return a.bytes > b.bytes; });
    table.rows.insert(table.rows.end(), shared.begin(), shared.end());
    table.rows.push_back({"alignment", plan.total - named});
    return table;
}

} // namespace plimsoll::inline PLIMSOLL_ABI
