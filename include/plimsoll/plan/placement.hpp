#pragma once
/// \file
/// Addresses for parts whose lives are known: two parts may share bytes only if they never live together.

#include <plimsoll/plan/plan.hpp>

#include <cstdint>

namespace plimsoll::inline PLIMSOLL_ABI {

/// Bytes between parts that nothing owns, filled with a pattern in debug builds.
inline constexpr std::int64_t guard_bytes = PLIMSOLL_CANARIES ? alignment : 0;

constexpr bool live_together(const Part& a, const Part& b) { return a.first <= b.last && b.first <= a.last; }

/// Places the parts named by `order[0 ... count)`, largest first, each at the lowest address where it
/// overlaps no part that lives with it (Sekiyama et al., "Profile-guided memory optimization for deep neural
/// networks", arXiv 1804.10001: best-fit by size is near optimal for training graphs). Reorders `order`.
/// \returns the end of the highest part, or `base` if there is none.
constexpr std::int64_t place(Part* parts, std::int32_t* order, std::int32_t count, std::int64_t base) {
    // Shell sort by size, then index: stable results in a constant expression without <algorithm>.
    const auto before = [&](std::int32_t a, std::int32_t b) {
        return parts[a].bytes != parts[b].bytes ? parts[a].bytes > parts[b].bytes : a < b;
    };
    for (std::int32_t gap = count / 2; gap > 0; gap /= 2)
        for (std::int32_t i = gap; i < count; ++i) {
            const std::int32_t item = order[i];
            std::int32_t j = i;
            for (; j >= gap && before(item, order[j - gap]); j -= gap) order[j] = order[j - gap];
            order[j] = item;
        }
    std::int64_t end = base;
    // `by_address[0 ... placed)` holds placed parts by rising offset, over `order`'s own front.
    for (std::int32_t placed = 0; placed < count; ++placed) {
        const std::int32_t item = order[placed];
        Part& part = parts[item];
        const std::int64_t bytes = aligned(part.bytes) + guard_bytes;
        std::int64_t address = base;
        for (std::int32_t k = 0; k < placed; ++k) {
            const Part& other = parts[order[k]];
            if (!live_together(part, other)) continue;
            if (other.offset >= address + bytes) break;
            const std::int64_t other_end = other.offset + aligned(other.bytes) + guard_bytes;
            if (other_end > address) address = other_end;
        }
        part.offset = address;
        if (address + bytes > end) end = address + bytes;
        std::int32_t k = placed;
        for (; k > 0 && parts[order[k - 1]].offset > address; --k) order[k] = order[k - 1];
        order[k] = item;
    }
    return end;
}

} // namespace plimsoll::inline PLIMSOLL_ABI
