#pragma once
/// \file
/// A bounded list that lives in a constant expression.

#include <plimsoll/core/config.hpp>

#include <cstddef>
#include <initializer_list>
#include <stdexcept>

namespace plimsoll::inline PLIMSOLL_ABI {

/// Up to `Capacity` items in place; structural when `T` is.
template <class T, int Capacity>
struct List {
    T items[static_cast<std::size_t>(Capacity > 0 ? Capacity : 1)]{};
    int count = 0;

    constexpr List() = default;
    constexpr List(std::initializer_list<T> values) {
        for (const T& value : values) push(value);
    }

    /// \throws std::length_error beyond the capacity (in a constant expression: a compile error here).
    constexpr T& push(const T& item) {
        if (count >= Capacity) throw std::length_error("plimsoll::List is full");
        items[count] = item;
        return items[count++];
    }

    [[nodiscard]] constexpr int size() const { return count; }
    [[nodiscard]] constexpr bool empty() const { return count == 0; }
    constexpr T& operator[](int i) { return items[i]; }
    constexpr const T& operator[](int i) const { return items[i]; }
    constexpr T& back() { return items[count - 1]; }
    [[nodiscard]] constexpr const T& back() const { return items[count - 1]; }
    constexpr T* begin() { return items; }
    constexpr T* end() { return items + count; }
    [[nodiscard]] constexpr const T* begin() const { return items; }
    [[nodiscard]] constexpr const T* end() const { return items + count; }
};

} // namespace plimsoll::inline PLIMSOLL_ABI
