// libFuzzer: eight bytes that say how many samples there are, then any text as a slice of them. It is
// accepted exactly where another way to read it, in whole numbers, accepts it, and names the same samples.
//   clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude tools/fuzz/slice.cpp

#include "memory_file.hpp"

#include <plimsoll/source/slice.hpp>

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

using namespace plimsoll;

namespace {

using Wide = __int128;

/// One end of a slice; nothing where it is none.
std::optional<Wide> end_of(std::string_view text, Wide size) {
    const bool percent = text.ends_with('%');
    if (percent) text.remove_suffix(1);
    const bool negative = text.starts_with('-');
    if (negative) text.remove_prefix(1);
    if (text.empty()) return {};
    Wide value = 0;
    for (const char c : text) {
        if (c < '0' || c > '9') return {};
        value = value * 10 + (c - '0');
        if (value > (Wide{1} << 63) - (negative ? 0 : 1)) return {};
    }
    if (percent) {
        if (value > 100) return {};
        const Wide whole = value * size / 100, rest = value * size % 100;
        value = whole + (rest > 50 || (rest == 50 && whole % 2 == 1) ? 1 : 0);
    }
    if (negative) value = value == 0 ? 0 : size - value;
    return value < 0 ? 0 : value > size ? size : value;
}

std::optional<SampleRange> range_of(std::string_view text, std::uint64_t size, std::string_view name) {
    if (text.starts_with(name)) text.remove_prefix(name.size());
    Wide first = 0, end = size;
    if (!text.empty()) {
        const std::size_t colon = text.find(':');
        if (text.front() != '[' || text.back() != ']' || colon == std::string_view::npos) return {};
        const std::string_view from = text.substr(1, colon - 1);
        const std::string_view to = text.substr(colon + 1, text.size() - colon - 2);
        const auto low = from.empty() ? first : end_of(from, size),
                   high = to.empty() ? end : end_of(to, size);
        if (!low || !high) return {};
        first = *low;
        end = *high;
    }
    if (first >= end) return {};
    return SampleRange{static_cast<std::uint64_t>(first), static_cast<std::uint64_t>(end - first)};
}

std::optional<SampleRange> parsed(std::string_view text, std::uint64_t size, std::string_view name) {
    try {
        return parse_slice(text, size, name);
    } catch (const argument_error&) {
        return {};
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 8) return 0;
    std::uint64_t samples = 0;
    std::memcpy(&samples, data, sizeof samples);
    samples >>= 2 + samples % 62; // every magnitude below 2^62: no data set has more
    const std::string text(reinterpret_cast<const char*>(data) + 8, size - 8);
    for (const std::string_view name : {"train", "t"}) {
        const auto range = parsed(text, samples, name);
        // Beyond 2^45 samples a percentage's double is not exact: within the set is all that is asked.
        if (samples < std::uint64_t{1} << 45 || text.find('%') == std::string::npos)
            fuzz::require(range == range_of(text, samples, name));
        if (range)
            fuzz::require(range->count > 0 && range->first <= samples &&
                          range->count <= samples - range->first);
    }
    // Slices that meet share nothing and leave nothing out, whatever the end they meet at.
    const auto head = parsed("[:" + text + "]", samples, "train");
    const auto tail = parsed("[" + text + ":]", samples, "train");
    if (text.empty() || text.find(':') != std::string::npos) return 0;
    if (head) fuzz::require(head->first == 0);
    if (tail) fuzz::require(tail->first + tail->count == samples);
    if (head || tail) fuzz::require((head ? head->count : 0) + (tail ? tail->count : 0) == samples);
    return 0;
}
