#pragma once
/// \file
/// Byte counts with literals (`500_MiB`, `2.7_GB`) and their text form; probabilities (`0.5_p`).

#include <plimsoll/core/config.hpp>
#include <plimsoll/core/error.hpp>

#include <compare>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

namespace plimsoll::inline PLIMSOLL_ABI {

/// A number of bytes. Structural, so it may be a template argument.
struct Bytes {
    std::int64_t count = 0;

    // Written out: nvcc 13 loses the definition of a defaulted operator== here.
    friend constexpr bool operator==(Bytes a, Bytes b) { return a.count == b.count; }
    friend constexpr auto operator<=>(Bytes a, Bytes b) { return a.count <=> b.count; }
    friend constexpr Bytes operator+(Bytes a, Bytes b) { return {a.count + b.count}; }
    friend constexpr Bytes operator-(Bytes a, Bytes b) { return {a.count - b.count}; }
};

/// A probability. An aggregate with a literal (`0.5_p`), because not every compiler takes floating-point
/// template arguments.
struct Probability {
    double value = 0;
    friend constexpr bool operator==(Probability a, Probability b) { return a.value == b.value; }
    friend constexpr auto operator<=>(Probability a, Probability b) { return a.value <=> b.value; }
};

inline namespace literals {

constexpr Bytes operator""_B(unsigned long long n) { return {static_cast<std::int64_t>(n)}; }
constexpr Bytes operator""_KiB(unsigned long long n) { return {static_cast<std::int64_t>(n) << 10}; }
constexpr Bytes operator""_MiB(unsigned long long n) { return {static_cast<std::int64_t>(n) << 20}; }
constexpr Bytes operator""_GiB(unsigned long long n) { return {static_cast<std::int64_t>(n) << 30}; }
constexpr Bytes operator""_kB(unsigned long long n) { return {static_cast<std::int64_t>(n) * 1'000}; }
constexpr Bytes operator""_MB(unsigned long long n) { return {static_cast<std::int64_t>(n) * 1'000'000}; }
constexpr Bytes operator""_GB(unsigned long long n) { return {static_cast<std::int64_t>(n) * 1'000'000'000}; }
constexpr Bytes operator""_KiB(long double n) { return {static_cast<std::int64_t>(n * (1LL << 10))}; }
constexpr Bytes operator""_MiB(long double n) { return {static_cast<std::int64_t>(n * (1LL << 20))}; }
constexpr Bytes operator""_GiB(long double n) { return {static_cast<std::int64_t>(n * (1LL << 30))}; }
constexpr Bytes operator""_MB(long double n) { return {static_cast<std::int64_t>(n * 1e6L)}; }
constexpr Bytes operator""_GB(long double n) { return {static_cast<std::int64_t>(n * 1e9L)}; }

constexpr Probability operator""_p(long double p) { return {static_cast<double>(p)}; }
constexpr Probability operator""_p(unsigned long long p) { return {static_cast<double>(p)}; }

} // namespace literals

/// Everything in an arena begins on a multiple of this (a cache line, a SIMD register).
inline constexpr std::int64_t alignment = 64;

constexpr std::int64_t round_up(std::int64_t n, std::int64_t unit) { return (n + unit - 1) / unit * unit; }
constexpr std::int64_t aligned(std::int64_t bytes) { return round_up(bytes, alignment); }

/// A byte count as people read it: "512 B", "90.3 MiB", "4.09 GiB".
inline std::string to_string(Bytes bytes) {
    constexpr const char* names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = static_cast<double>(bytes.count);
    int unit = 0;
    while ((value >= 1023.995 || value <= -1023.995) && unit < 6) {
        value /= 1024;
        ++unit;
    }
    if (unit == 0) return text(bytes.count, " B");
    const auto hundredths = static_cast<std::int64_t>(value * 100 + (value < 0 ? -0.5 : 0.5));
    const auto magnitude = hundredths < 0 ? -hundredths : hundredths;
    const auto fraction = magnitude % 100;
    return text(hundredths < 0 ? "-" : "", magnitude / 100, fraction < 10 ? ".0" : ".", fraction, " ",
                names[unit]);
}

/// Reads "500MiB", "2.7GB", "2.7 GB", "64k" or a plain number of bytes.
/// \throws argument_error naming the text when it is not a size.
inline Bytes parse_bytes(std::string_view input) {
    const auto refuse = [&] {
        return argument_error(
            text("\"", input, "\" is not a size: write a number and a unit, as in 500MiB or 2.7GB"));
    };
    double value = 0, scale = 1;
    std::size_t i = 0;
    bool digits = false, point = false;
    for (; i < input.size(); ++i) {
        const char c = input[i];
        if (c >= '0' && c <= '9') {
            digits = true;
            if (point) scale /= 10;
            value = point ? value + (c - '0') * scale : value * 10 + (c - '0');
        } else if (c == '.' && !point) {
            point = true;
        } else {
            break;
        }
    }
    if (!digits) throw refuse();
    while (i < input.size() && input[i] == ' ') ++i;
    std::string unit;
    for (; i < input.size(); ++i) {
        const char c = input[i];
        unit += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
    double factor = 0;
    if (unit.empty() || unit == "b") factor = 1;
    constexpr std::string_view prefixes = "kmgt";
    for (std::size_t p = 0; p < prefixes.size(); ++p) {
        double binary = 1, decimal = 1;
        for (std::size_t k = 0; k <= p; ++k) {
            binary *= 1024;
            decimal *= 1000;
        }
        const std::string prefix(1, prefixes[p]);
        if (unit == prefix + "ib") factor = binary;
        if (unit == prefix + "b" || unit == prefix) factor = decimal;
    }
    if (factor == 0) throw refuse();
    const double bytes = value * factor;
    if (bytes >= 9.2e18) throw refuse();
    return {static_cast<std::int64_t>(bytes)};
}

} // namespace plimsoll::inline PLIMSOLL_ABI
