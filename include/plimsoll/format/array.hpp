#pragma once
/// \file
/// Arrays of numbers whatever file they are in: element types, shapes, and one element as a number.

#include <plimsoll/core/config.hpp>
#include <plimsoll/core/error.hpp>
#include <plimsoll/core/storage.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

/// What an element of an array file is.
enum class ElementKind { boolean, unsigned_integer, signed_integer, floating, brain_floating };

/// An element's kind and its bytes; little-endian where there is more than one.
struct DType {
    ElementKind kind = ElementKind::unsigned_integer;
    int size = 1;
    friend constexpr bool operator==(const DType&, const DType&) = default;
};

/// NumPy's name: "uint8", "float32", "bool"; "bfloat16".
inline std::string to_string(DType dtype) {
    constexpr const char* names[] = {"bool", "uint", "int", "float", "bfloat"};
    const std::string name = names[static_cast<int>(dtype.kind)];
    return dtype.kind == ElementKind::boolean ? name : text(name, 8 * dtype.size);
}

/// The DType of a C++ type.
template <class T>
inline constexpr DType dtype_of = {std::is_same_v<T, bool>       ? ElementKind::boolean
                                   : std::is_floating_point_v<T> ? ElementKind::floating
                                   : std::is_same_v<T, half>     ? ElementKind::floating
                                   : std::is_same_v<T, bfloat16> ? ElementKind::brain_floating
                                   : std::is_signed_v<T>         ? ElementKind::signed_integer
                                                                 : ElementKind::unsigned_integer,
                                   static_cast<int>(sizeof(T))};

/// An array read whole: elements in C order (the last axis runs fastest).
struct Array {
    DType dtype;
    std::vector<std::uint64_t> dims;
    std::vector<u8> bytes;
};

/// A shape as NumPy prints it: "(60000, 28, 28)", "(3,)", "()".
inline std::string dims_text(std::span<const std::uint64_t> dims) {
    std::string out = "(";
    for (std::size_t i = 0; i < dims.size(); ++i) out += text(i == 0 ? "" : ", ", dims[i]);
    return out + (dims.size() == 1 ? ",)" : ")");
}

namespace detail {

/// The product of `dims`; nothing when it does not fit 64 bits.
inline std::optional<std::uint64_t> element_count(std::span<const std::uint64_t> dims) {
    std::uint64_t count = 1;
    for (const std::uint64_t dim : dims)
        if (dim == 0) return 0;
    for (const std::uint64_t dim : dims) {
        if (dim > std::numeric_limits<std::uint64_t>::max() / count) return {};
        count *= dim;
    }
    return count;
}

/// The same in bytes.
inline std::optional<std::uint64_t> byte_count(std::span<const std::uint64_t> dims, DType dtype) {
    const auto size = static_cast<std::uint64_t>(dtype.size);
    const auto count = element_count(dims);
    if (!count || *count > std::numeric_limits<std::uint64_t>::max() / size) return {};
    return *count * size;
}

template <class T>
T load(const void* at) {
    T value;
    std::memcpy(&value, at, sizeof value);
    return value;
}

/// The element at `at` as a double; integers beyond 2^53 are rounded.
inline double load_number(DType dtype, const void* at) {
    switch (dtype.kind) {
    case ElementKind::boolean:
        return load<std::uint8_t>(at) != 0 ? 1 : 0;
    case ElementKind::unsigned_integer:
        return dtype.size == 1   ? load<std::uint8_t>(at)
               : dtype.size == 2 ? load<std::uint16_t>(at)
               : dtype.size == 4 ? load<std::uint32_t>(at)
                                 : static_cast<double>(load<std::uint64_t>(at));
    case ElementKind::signed_integer:
        return dtype.size == 1   ? load<std::int8_t>(at)
               : dtype.size == 2 ? load<std::int16_t>(at)
               : dtype.size == 4 ? load<std::int32_t>(at)
                                 : static_cast<double>(load<std::int64_t>(at));
    case ElementKind::floating:
        return dtype.size == 2   ? static_cast<double>(to_float(load<half>(at)))
               : dtype.size == 4 ? static_cast<double>(load<float>(at))
                                 : load<double>(at);
    case ElementKind::brain_floating:
        return static_cast<double>(to_float(load<bfloat16>(at)));
    }
    return 0;
}

} // namespace detail

} // namespace plimsoll::inline PLIMSOLL_ABI
