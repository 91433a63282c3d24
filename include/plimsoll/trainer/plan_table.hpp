#pragma once
/// \file
/// A plan as a table: who owns every byte.

#include <plimsoll/model/names.hpp>
#include <plimsoll/plan/placement.hpp>
#include <plimsoll/plan/site.hpp>

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

inline constexpr std::string_view phase_names[] = {
    "packing", "statistics", "forward", "gradient statistics", "backward", "sum of lanes"};

template <int Nodes>
std::string part_name(const Graph<Nodes>& graph, const Plan<Nodes>& plan,
                      const std::vector<NamedParameter>& parameters, const std::vector<Needs>& used,
                      const Part& part) {
    const auto in_use = [&](int node, std::int64_t Needs::*what) {
        const std::int64_t bytes = used.empty() ? 0 : used[static_cast<std::size_t>(node)].*what;
        return bytes > 0 ? text(" (", grouped(bytes), " B in use)") : std::string();
    };
    const auto layer = [&](int node) {
        const std::string path = to_string(graph.nodes[node].path);
        return path.empty() ? std::string(graph.nodes[node].facts.name)
                            : text(path, " ", graph.nodes[node].facts.name);
    };
    const auto phase = [&] { // of the stage that the part lives in
        const Stage& stage = plan.stages[part.first];
        const Step& first = plan.steps[stage.first_step];
        const Step& last = plan.steps[stage.first_step + stage.steps - 1];
        const std::string_view name = phase_names[static_cast<int>(last.phase)];
        return first.node == last.node || stage.slice == 0
                   ? text(name, " of ", layer(last.node))
                   : text(name, ", ", layer(first.node), " to ", layer(last.node));
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
        return text("library copy of ", layer(part.owner), in_use(part.owner, &Needs::packed));
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
        return text(part.owner < 0 ? "slice buffers of " : "workspace of ", phase());
    }
    return {};
}

} // namespace detail

/// Permanent parts add up with the shared memory and the padding to the total; below the shared memory stand
/// the parts that take turns in it.
template <int Nodes>
PlanTable plan_table(const Graph<Nodes>& graph, const Plan<Nodes>& plan, std::string title,
                     const std::vector<Needs>& used = {}) {
    const std::vector<NamedParameter> parameters = named_parameters(graph);
    PlanTable table{std::move(title), {}, plan.total};
    std::int64_t named = plan.total - plan.shared;
    std::vector<PlanRow> shared;
    for (const Part& part : plan.parts) {
        if (part.extent == Extent::slice) continue; // inside the slice buffers
        PlanRow row{detail::part_name(graph, plan, parameters, used, part), part.bytes};
        if (part.offset < plan.shared) {
            named += part.bytes;
            table.rows.push_back(std::move(row));
        } else {
            row.shared = true;
            shared.push_back(std::move(row));
        }
    }
    if (!shared.empty()) table.rows.push_back({"shared by turns", plan.total - plan.shared});
    std::stable_sort(shared.begin(), shared.end(),
                     [](const PlanRow& a, const PlanRow& b) { return a.bytes > b.bytes; });
    table.rows.insert(table.rows.end(), shared.begin(), shared.end());
    table.rows.push_back({"alignment", plan.total - named});
    return table;
}

} // namespace plimsoll::inline PLIMSOLL_ABI
