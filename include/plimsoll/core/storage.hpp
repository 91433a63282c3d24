#pragma once
/// \file
/// The element types that files, sources and devices share: bytes, labels and floats of 16 bits.

#include <plimsoll/core/config.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace plimsoll::inline PLIMSOLL_ABI {

/// One channel of a stored picture, 0 to 255.
using u8 = std::uint8_t;

/// The class of a sample; labels reach the device as 32-bit integers.
using Label = std::int32_t;

/// IEEE binary16 in memory: 11 significant bits, at most 65,504. Arithmetic is float's: `to_float`,
/// `to<half>`.
struct half {
    std::uint16_t bits;
    friend constexpr bool operator==(half, half) = default; // of bits
};

/// The upper half of a float in memory: 8 significant bits, float's range.
struct bfloat16 {
    std::uint16_t bits;
    friend constexpr bool operator==(bfloat16, bfloat16) = default; // of bits
};

/// A float32 of which matrix units read 19 bits (NVIDIA's TensorFloat-32): a way to compute, never stored.
struct tfloat32;

template <class T>
concept stored_in_16_bits = std::same_as<T, half> || std::same_as<T, bfloat16>;

namespace detail {

/// std::bit_cast, also on a GPU.
template <class To, class From>
PLIMSOLL_HD constexpr To bits_as(From from) {
    return __builtin_bit_cast(To, from);
}

} // namespace detail

/// Exact.
PLIMSOLL_HD constexpr float to_float(float value) { return value; }
PLIMSOLL_HD constexpr float to_float(bfloat16 value) {
    return detail::bits_as<float>(std::uint32_t{value.bits} << 16);
}
/// Without branches, so that loops vectorise (after F. Giesen, "Half to float done quick").
PLIMSOLL_HD constexpr float to_float(half value) {
    const std::uint32_t sign = (value.bits & 0x8000u) << 16;
    const std::uint32_t magnitude = (value.bits & 0x7fffu) << 13;
    const float scaled = detail::bits_as<float>(magnitude) * 0x1p112f; // the exponents' biases differ by 112
    const std::uint32_t special = magnitude >= 0x0f800000u ? 0x7f800000u : 0u; // infinity, NaN
    return detail::bits_as<float>(detail::bits_as<std::uint32_t>(scaled) | special | sign);
}

/// The nearest value of another type, halves to even; beyond the range infinity, NaN stays NaN.
template <class To>
PLIMSOLL_HD constexpr To to(float value);
template <>
PLIMSOLL_HD constexpr float to<float>(float value) {
    return value;
}
template <>
PLIMSOLL_HD constexpr bfloat16 to<bfloat16>(float value) {
    const auto bits = detail::bits_as<std::uint32_t>(value);
    const std::uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    const std::uint32_t quiet = bits >> 16 | 0x40u;
    return {static_cast<std::uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded)};
}
template <>
PLIMSOLL_HD constexpr half to<half>(float value) {
    const auto bits = detail::bits_as<std::uint32_t>(value);
    const std::uint32_t sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    // Normal: the exponent's bias, and rounding in the integer.
    const std::uint32_t normal = (magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1u)) >> 13;
    // Below 2^-14: the sum's last bit is the smallest half, 2^-24.
    const std::uint32_t tiny =
        detail::bits_as<std::uint32_t>(detail::bits_as<float>(magnitude) + 0.5f) - 0x3f000000u;
    std::uint32_t out = magnitude < 0x38800000u ? tiny : normal;
    out = magnitude >= 0x477ff000u ? 0x7c00u : out; // 65,520 and more round to infinity
    out = magnitude > 0x7f800000u ? 0x7e00u : out;
    return {static_cast<std::uint16_t>(sign | out)};
}

template <stored_in_16_bits T>
inline constexpr std::uint16_t infinity_bits = to<T>(__builtin_inff()).bits;

/// The word a user writes for an element type: "u8", "float", "half".
template <class T>
inline constexpr std::string_view type_name = "";
template <>
inline constexpr std::string_view type_name<u8> = "u8";
template <>
inline constexpr std::string_view type_name<float> = "float";
template <>
inline constexpr std::string_view type_name<half> = "half";
template <>
inline constexpr std::string_view type_name<bfloat16> = "bfloat16";

} // namespace plimsoll::inline PLIMSOLL_ABI
