#pragma once
/// \file
/// Plans as tables, pictures and pages.

#include <plimsoll/format/file.hpp>
#include <plimsoll/trainer/plan_names.hpp>
#include <plimsoll/trainer/plan_page.hpp>
#include <plimsoll/trainer/plan_report.hpp>

#include <algorithm>
#include <cstdio>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

PLIMSOLL_DEFINED std::vector<PlanRow> PlanReport::rows() const {
    std::vector<PlanRow> rows, shared;
    std::int64_t padding = picture.shared;
    for (const PlanBlock& block : picture.blocks) {
        const bool shares = block.offset >= picture.shared;
        std::string in_use =
            block.in_use > 0 ? text(" (", detail::grouped(block.in_use), " B in use)") : std::string();
        (shares ? shared : rows).push_back({block.name + in_use, block.bytes, shares});
        if (!shares) padding -= block.bytes;
    }
    if (!shared.empty()) rows.push_back({"shared by turns", picture.total - picture.shared});
    std::stable_sort(shared.begin(), shared.end(),
                     [](const PlanRow& a, const PlanRow& b) { return a.bytes > b.bytes; });
    rows.insert(rows.end(), shared.begin(), shared.end());
    rows.push_back({"alignment", padding});
    return rows;
}

PLIMSOLL_DEFINED std::string PlanReport::str() const {
    const std::vector<PlanRow> all = rows();
    std::size_t width = 12;
    for (const PlanRow& row : all) width = std::max(width, row.name.size() + (row.shared ? 4 : 2));
    for (const OutsideBytes& beside : outside) width = std::max(width, beside.name.size() + 11);
    std::string out = picture.title + "\n";
    if (!machine.empty()) out += text(machine, "\n");
    const auto line = [&](const std::string& name, std::int64_t bytes) {
        std::string number = detail::grouped(bytes);
        number.insert(0, number.size() < 15 ? 15 - number.size() : 0, ' ');
        std::string rounded = to_string(Bytes{bytes});
        rounded.insert(0, rounded.size() < 12 ? 12 - rounded.size() : 0, ' ');
        out += text(detail::padded(name, width), number, " B", rounded, "\n");
    };
    for (const PlanRow& row : all) line(text(row.shared ? "    " : "  ", row.name), row.bytes);
    line("total", picture.total);
    for (const OutsideBytes& beside : outside) line(text("  outside: ", beside.name), beside.bytes);
    for (const std::string& choice : choices) out += text("  ", choice, "\n");
    if (picture.precisions.size() > 1) out += "\n" + precision_table();
    return out;
}

PLIMSOLL_DEFINED std::string PlanReport::precision_table() const {
    const auto right = [](std::string cell) {
        cell.insert(0, cell.size() < 24 ? 24 - cell.size() : 0, ' ');
        return cell;
    };
    const auto bytes = [&](std::int64_t count, std::int64_t first) {
        const double percent = 100 * (static_cast<double>(count) / static_cast<double>(first) - 1);
        char change[16] = "";
        if (count != first) std::snprintf(change, sizeof change, " (%+.0f %%)", percent);
        return right(text(to_string(Bytes{count}), change));
    };
    std::string out = text(detail::padded("precision", 16), right("this cut"), right("smallest plan"), "\n");
    for (const PrecisionBytes& precision : picture.precisions)
        out += text(detail::padded(precision.name, 16),
                    bytes(precision.same_cut, picture.precisions.front().same_cut),
                    bytes(precision.least, picture.precisions.front().least), "\n");
    return out;
}

PLIMSOLL_DEFINED void PlanReport::write_svg(const std::string& path) const {
    write_atomically(path, detail::draw(picture));
}
PLIMSOLL_DEFINED void PlanReport::write_html(const std::string& path) const {
    write_atomically(path, detail::page(picture));
}

namespace detail {

PLIMSOLL_DEFINED void add_plan(PlanPicture& picture, std::span<const Node> nodes,
                               std::span<const Value> values, const PlanView& plan,
                               const std::vector<Needs>& used) {
    const PlanNames names(nodes, values, plan, named_parameters(nodes));
    for (int stage = 0; stage < static_cast<int>(plan.stages.size()); ++stage)
        picture.stages.push_back(names.stage(stage));
    for (std::size_t p = 0; p < plan.parts.size(); ++p) {
        const Part& part = plan.parts[p];
        if (part.extent == Extent::slice) continue; // inside the slice buffers
        picture.blocks.push_back(names.block(p));
        if (part.role == Role::packed && !used.empty())
            picture.blocks.back().in_use = used[static_cast<std::size_t>(part.owner)].packed;
    }
}

} // namespace detail

} // namespace plimsoll::inline PLIMSOLL_ABI
