#pragma once
/// \file
/// A plan for people: who owns every byte, as a table, a picture and a page.

#include <plimsoll/device/device.hpp>
#include <plimsoll/format/file.hpp>
#include <plimsoll/plan/site.hpp>
#include <plimsoll/trainer/blueprint.hpp>
#include <plimsoll/trainer/plan_names.hpp>
#include <plimsoll/trainer/plan_page.hpp>
#include <plimsoll/trainer/settings.hpp>

#include <concepts>
#include <cstdio>
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
struct PlanReport {
    PlanPicture picture;
    std::vector<OutsideBytes> outside{}; ///< measured, not planned
    std::vector<std::string> choices{};  ///< ways that libraries were told to go, by layer

    /// Permanent parts add up with the shared memory and the padding to the total; below the shared memory
    /// stand the parts that take turns in it.
    [[nodiscard]] std::vector<PlanRow> rows() const {
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

    [[nodiscard]] std::string str() const {
        const std::vector<PlanRow> all = rows();
        std::size_t width = 12;
        for (const PlanRow& row : all) width = std::max(width, row.name.size() + (row.shared ? 4 : 2));
        for (const OutsideBytes& beside : outside) width = std::max(width, beside.name.size() + 11);
        std::string out = picture.title + "\n";
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

    /// What each precision would take for this model, batch and optimizer.
    [[nodiscard]] std::string precision_table() const {
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
        std::string out =
            text(detail::padded("precision", 16), right("this cut"), right("smallest plan"), "\n");
        for (const PrecisionBytes& precision : picture.precisions)
            out += text(detail::padded(precision.name, 16),
                        bytes(precision.same_cut, picture.precisions.front().same_cut),
                        bytes(precision.least, picture.precisions.front().least), "\n");
        return out;
    }

    /// The picture alone, for a page of your own. \throws io_error naming the path; nothing is half written.
    void write_svg(const std::string& path) const { write_atomically(path, detail::draw(picture)); }
    /// One self-contained page: the picture and tables, no scripts. \throws io_error naming the path.
    void write_html(const std::string& path) const { write_atomically(path, detail::page(picture)); }

    template <class Stream>
    friend Stream& operator<<(Stream& stream, const PlanReport& report) {
        stream << report.str();
        return stream;
    }
};

namespace detail {

template <class Blueprint, class Precision>
void add_precision(std::vector<PrecisionBytes>& precisions, const Settings& settings, const Cut& cut) {
    if constexpr (has_kernels<Blueprint, Precision>()) {
        using Other = typename Blueprint::template With<Precision>;
        precisions.push_back(
            {std::string(Precision::name), Other::plan(settings, cut).total, Other::least_bytes(settings)});
    }
}

/// The library's precisions, and the blueprint's own where it is another.
template <class Blueprint>
std::vector<PrecisionBytes> precision_bytes(const Settings& settings, const Cut& cut) {
    std::vector<PrecisionBytes> out;
    using Own = typename Blueprint::Precision;
    if constexpr (!std::same_as<Own, Float> && !std::same_as<Own, TF32> && !std::same_as<Own, BFloat16> &&
                  !std::same_as<Own, Half>)
        add_precision<Blueprint, Own>(out, settings, cut);
    add_precision<Blueprint, Float>(out, settings, cut);
    add_precision<Blueprint, BFloat16>(out, settings, cut);
    add_precision<Blueprint, Half>(out, settings, cut);
    return out;
}

} // namespace detail

/// \param used what the kernels took of their limits, where they have been built.
template <class Blueprint>
PlanReport plan_report(const PlanView& plan, const Settings& settings, const std::vector<Needs>& used = {}) {
    const Graph<Blueprint::nodes>& graph = Blueprint::graph();
    const Shipment& s = plan.shipment;
    const int passes = (s.batch + s.micro_batch - 1) / s.micro_batch;
    PlanPicture picture{.title =
                            text("Plimsoll plan: batch ", s.batch, " as ", passes, " micro-batch",
                                 passes == 1 ? "" : "es", " of ", s.micro_batch, ", ", s.lanes, " lanes, ",
                                 Blueprint::Precision::name, " on ", Blueprint::Device::name),
                        .unplanned = detail::kept_bytes<typename Blueprint::Model, typename Blueprint::Pixel,
                                                        typename Blueprint::Loss>(plan),
                        .precisions = detail::precision_bytes<Blueprint>(settings, plan.shipment.cut()),
                        .shared = plan.shared,
                        .total = plan.total,
                        .budget = settings.budget == all_free_memory ? 0 : settings.budget.count};
    const detail::PlanNames names({graph.nodes.begin(), graph.nodes.end()},
                                  {graph.values.begin(), graph.values.end()}, plan, named_parameters(graph));
    for (int stage = 0; stage < static_cast<int>(plan.stages.size()); ++stage)
        picture.stages.push_back(names.stage(stage));
    for (std::size_t p = 0; p < plan.parts.size(); ++p) {
        const Part& part = plan.parts[p];
        if (part.extent == Extent::slice) continue; // inside the slice buffers
        picture.blocks.push_back(names.block(p));
        if (part.role == Role::packed && !used.empty())
            picture.blocks.back().in_use = used[static_cast<std::size_t>(part.owner)].packed;
    }
    return {std::move(picture)};
}

} // namespace plimsoll::inline PLIMSOLL_ABI
