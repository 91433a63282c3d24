#pragma once
/// \file
/// A plan as one page that needs nothing beside itself: the picture, and its numbers as tables.

#include <plimsoll/trainer/plan_svg.hpp>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

inline constexpr std::string_view page_style =
    "body{margin:0;background:#eef1f5;color:#1d2733;font:15px/1.5 system-ui,-apple-system,'Segoe UI',"
    "'Helvetica Neue','Liberation Sans',Arial,sans-serif}\n"
    "main{max-width:1080px;margin:28px auto;padding:0 16px}\n"
    "main>svg{width:100%;height:auto;display:block}\n"
    "section,details{background:#fff;border:1px solid #d5dbe3;border-radius:10px;padding:18px 26px;"
    "margin-top:18px}\n"
    ".pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(440px,1fr));gap:0 18px}\n"
    "h2{font-size:17px;margin:0 0 8px}summary{font-size:17px;font-weight:600;cursor:pointer}\n"
    "p{margin:8px 0;color:#3c4754}\n"
    "table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}\n"
    "th{font-weight:600;text-align:left;color:#55606e}td,th{padding:4px 0 4px 14px;border-top:1px solid "
    "#eef1f5;vertical-align:top}\n"
    "td:first-child,th:first-child{padding-left:0}tr:first-child th{border:0}\n"
    "td:first-child{white-space:nowrap}.n{text-align:right;white-space:nowrap}tfoot "
    "td{font-weight:600;border-top:1px solid #9aa5b1}\n"
    "i{display:inline-block;width:12px;height:12px;border-radius:2px;margin-right:9px}\n";

/// <tr> of cells; those from `numbers` on stand to the right.
inline std::string table_row(std::initializer_list<std::string> cells, std::size_t numbers,
                             std::string_view kind = "td") {
    std::string out = "<tr>";
    std::size_t column = 0;
    for (const std::string& cell : cells)
        out += text("<", kind, column++ >= numbers ? " class=\"n\">" : ">", cell, "</", kind, ">");
    return out + "</tr>\n";
}

inline std::string swatch(Role role, std::string_view name) {
    return text("<i style=\"background:", look(role).fill, "\"></i>", escaped(name));
}

/// For each role: its parts, their bytes, and how many of these live at most in one stage.
inline std::string role_table(const PlanPicture& picture) {
    std::string out =
        text("<table>\n<thead>", table_row({"role", "parts", "all of them", "most at once"}, 1, "th"),
             "</thead>\n<tbody>\n");
    for (int role = 0; role <= static_cast<int>(Role::workspace); ++role) {
        const std::string_view name = role_names[role];
        if (role > 0 && name == role_names[role - 1]) continue; // two roles under one name
        std::int64_t parts = 0, bytes = 0, most = 0;
        std::vector<std::int64_t> live(picture.stages.size());
        for (const PlanBlock& block : picture.blocks) {
            if (role_name(block.role) != name) continue;
            ++parts;
            bytes += block.bytes;
            for (int s = block.first; s <= block.last; ++s)
                most = std::max(most, live[static_cast<std::size_t>(s)] += block.bytes);
        }
        if (parts > 0)
            out += table_row({swatch(static_cast<Role>(role), name), grouped(parts), to_string(Bytes{bytes}),
                              to_string(Bytes{most})},
                             1);
    }
    return text(out, "</tbody>\n<tfoot>",
                table_row({"the arena", grouped(static_cast<std::int64_t>(picture.blocks.size())), "",
                           to_string(Bytes{picture.total})},
                          1),
                "</tfoot>\n</table>\n");
}

inline std::string unplanned_table(const PlanPicture& picture) {
    std::string out = "<table>\n<tbody>\n";
    for (const KeptBytes& kept : picture.unplanned)
        out += table_row({swatch(kept.role, kept.what), to_string(Bytes{kept.bytes})}, 1);
    return text(out, "</tbody>\n<tfoot>", table_row({"everything kept", exact(picture.unplanned_total())}, 1),
                "</tfoot>\n</table>\n");
}

inline std::string precision_rows(const PlanPicture& picture) {
    std::string out = text("<table>\n<thead>", table_row({"precision", "this cut", "smallest plan"}, 1, "th"),
                           "</thead>\n<tbody>\n");
    for (const PrecisionBytes& precision : picture.precisions)
        out += table_row({escaped(precision.name), exact(precision.same_cut), exact(precision.least)}, 1);
    return out + "</tbody>\n</table>\n";
}

inline std::string part_table(const PlanPicture& picture) {
    std::string out = text("<table>\n<thead>", table_row({"part", "life", "address", "bytes"}, 2, "th"),
                           "</thead>\n<tbody>\n");
    for (const PlanBlock& block : picture.blocks)
        out += table_row({swatch(block.role, block.name), escaped(life(picture, block)),
                          grouped(block.offset), grouped(block.bytes)},
                         2);
    return out + "</tbody>\n</table>\n";
}

inline std::string page(const PlanPicture& picture) {
    const auto section = [](std::string_view title, const std::string& content) {
        return text("<section>\n<h2>", title, "</h2>\n", content, "</section>\n");
    };
    std::string out = text("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<title>",
                           escaped(picture.title), "</title>\n<style>\n", page_style,
                           "</style>\n</head>\n<body>\n<main>\n", draw(picture), "<div class=\"pair\">\n");
    out += section("Who owns the bytes",
                   role_table(picture) +
                       "<p>Parts that are never needed at the same time lie in the same bytes, so a role's "
                       "parts may have more bytes than it ever takes.</p>\n");
    if (!picture.unplanned.empty())
        out += section(
            "If everything were kept",
            unplanned_table(picture) +
                "<p>The output of every layer, as the network is written, and the gradient of every output "
                "that has one, in 32-bit floats for the whole batch at once; with them weights, their "
                "gradients and the "
                "optimizer's state. Layers that only change a shape count nothing, and no library's "
                "workspace "
                "is counted. This is a reckoning, not a measurement.</p>\n");
    out += "</div>\n";
    if (picture.precisions.size() > 1)
        out +=
            section("Under another precision",
                    precision_rows(picture) +
                        "<p>Activations and their gradients take half the bytes in 16 bits; weights, their "
                        "gradients and the optimizer's state stay in 32, and libraries may ask for more "
                        "workspace.</p>\n");
    out += text(
        section("How to read the picture",
                "<p>Addresses rise upwards. A column is a stage; stages stand in the order they run, and "
                "widths say "
                "nothing about time. Where the batch is cut into micro-batches, forward and backward run "
                "once for each, the update once for the batch. A rectangle is a part: the bytes it takes "
                "and the stages it lives for; those that live as long as the job lie at the bottom. "
                "Where a gradient overwrites the activation it belongs to, the part keeps its name. "
                "Workspace is buffers "
                "for slices of a few images, and what a library asks for. Point at a part to see its "
                "name, bytes, addresses and life. The red line is the budget.</p>\n"),
        "<details>\n<summary>Every part</summary>\n", part_table(picture),
        "</details>\n</main>\n</body>\n</html>\n");
    return out;
}

} // namespace detail

} // namespace plimsoll::inline PLIMSOLL_ABI
