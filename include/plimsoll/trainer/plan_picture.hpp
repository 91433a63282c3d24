#pragma once
/// \file
/// What a picture of a plan shows, and how each role looks.

#include <plimsoll/core/units.hpp>
#include <plimsoll/model/names.hpp>
#include <plimsoll/plan/plan.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

/// A part of the arena and its life.
struct PlanBlock {
    std::string name{};  ///< "output of 2 MaxPool"
    std::string label{}; ///< "2 MaxPool"
    std::string holds{}; ///< of slice buffers: what lies in them, a line each
    Role role{};
    std::int64_t offset = 0;
    std::int64_t bytes = 0;
    int first = 0; ///< stages
    int last = 0;
    std::int64_t in_use = 0; ///< of a library's limit, on this machine; 0: not known
};

/// A column of the picture.
struct PlanStage {
    std::string name;  ///< "backward, 5 MaxPool to 1 Relu"
    std::string label; ///< "3 Conv2d"
    Phase phase{};
    bool again = false; ///< forward, run a second time for backward
};

/// A term of what a network needs that keeps everything.
struct KeptBytes {
    Role role{};
    std::string_view what{};
    std::int64_t bytes = 0;
};

/// What a precision makes of the same job.
struct PrecisionBytes {
    std::string name;
    std::int64_t same_cut = 0; ///< the arena, where the work is cut as this plan cuts it
    std::int64_t least = 0;    ///< the smallest arena there is
};

/// Everything a picture of a plan shows.
struct PlanPicture {
    std::string title;
    std::vector<PlanStage> stages{};
    std::vector<PlanBlock> blocks{};    ///< slice buffers are one block
    std::vector<KeptBytes> unplanned{}; ///< empty where nothing is trained
    std::vector<PrecisionBytes> precisions{};
    std::int64_t shared = 0; ///< where blocks begin that take turns
    std::int64_t total = 0;
    std::int64_t budget = 0; ///< 0: none was set

    [[nodiscard]] std::int64_t unplanned_total() const {
        std::int64_t sum = 0;
        for (const KeptBytes& kept : unplanned) sum += kept.bytes;
        return sum;
    }
};

namespace detail {

struct RoleLook {
    std::string_view fill, ink;
};

/// What flows forward is blue and green, gradients are orange and red. Far enough apart in lightness for eyes
/// that miss a colour (checked with Machado's model of 2009).
inline constexpr RoleLook role_looks[] = {
    {"#23426b", "#fff"},    {"#a8521d", "#fff"},    {"#7a4f9e", "#fff"},    {"#7a4f9e", "#fff"},
    {"#a9a29b", "#2b2620"}, {"#c9c3bd", "#2b2620"}, {"#c9c3bd", "#2b2620"}, {"#5fb0bd", "#06282e"},
    {"#12564c", "#fff"},    {"#12564c", "#fff"},    {"#9ccbeb", "#12293f"}, {"#f6bd60", "#3d2600"},
    {"#b3d89b", "#1d3311"}, {"#6b7480", "#fff"},    {"#e08e79", "#3b1208"}, {"#d8dce3", "#2b3440"}};
static_assert(std::size(role_looks) == role_count);

inline const RoleLook& look(Role role) { return role_looks[static_cast<int>(role)]; }
inline std::string_view role_name(Role role) { return role_names[static_cast<int>(role)]; }

inline std::string escaped(std::string_view raw) {
    std::string out;
    for (const char c : raw) switch (c) {
        case '&':
            out += "&amp;";
            break;
        case '<':
            out += "&lt;";
            break;
        case '>':
            out += "&gt;";
            break;
        case '"':
            out += "&quot;";
            break;
        default:
            out += c;
        }
    return out;
}

inline std::string exact(std::int64_t bytes) {
    return text(grouped(bytes), " B (", to_string(Bytes{bytes}), ")");
}

/// "from forward of 14 Dense to backward of 14 Dense".
inline std::string life(const PlanPicture& picture, const PlanBlock& block) {
    if (block.offset < picture.shared) return "as long as the job";
    const std::string& first = picture.stages[static_cast<std::size_t>(block.first)].name;
    if (block.first == block.last) return "during " + first;
    return text("from ", first, " to ", picture.stages[static_cast<std::size_t>(block.last)].name);
}

/// Name, bytes, addresses and life, a line each.
inline std::string hover(const PlanPicture& picture, const PlanBlock& block) {
    return text(block.name, "\n", exact(block.bytes), ", ", role_name(block.role), "\naddress ",
                grouped(block.offset), " to ", grouped(block.offset + block.bytes), "\n",
                life(picture, block), block.holds);
}

} // namespace detail

} // namespace plimsoll::inline PLIMSOLL_ABI
