#pragma once
#include <plimsoll/core/fine.hpp>
template <int Filters, class Kind = struct Tag>
struct Conv final : detail::Base<Filters> {
    struct Inner {
        int value{};
    };
    [[nodiscard]] static constexpr Facts facts(Shape in) { return {in}; }
};
/// Not a layer: it only takes facts.
struct Helper {
    static constexpr int count(const Facts& facts) { return facts.count; }
};
