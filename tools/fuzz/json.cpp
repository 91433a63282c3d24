// libFuzzer: any bytes as JSON, and as text that JSON is to hold.
//   clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude tools/fuzz/json.cpp

#include "memory_file.hpp"

#include <plimsoll/format/json.hpp>

#include <bit>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

using namespace plimsoll;

namespace {

/// Decodes and looks at what came out, where the library judges by the bytes.
bool is_utf8(std::string_view text) {
    while (!text.empty()) {
        const auto first = static_cast<unsigned char>(text[0]);
        const int tail = std::countl_one(first) == 0 ? 0 : std::countl_one(first) - 1;
        if (std::countl_one(first) == 1 || tail > 3 || text.size() < static_cast<std::size_t>(tail) + 1)
            return false;
        std::uint32_t code = tail == 0 ? first : first & (0x3Fu >> tail);
        for (int i = 1; i <= tail; ++i) {
            const auto byte = static_cast<unsigned char>(text[static_cast<std::size_t>(i)]);
            if (byte / 64 != 2) return false;
            code = code * 64 + byte % 64;
        }
        constexpr std::uint32_t least[] = {0, 0x80, 0x800, 0x10000};
        if (code < least[tail] || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return false;
        text.remove_prefix(static_cast<std::size_t>(tail) + 1);
    }
    return true;
}

/// The same type and the same value, numbers to the bit.
bool same(const Json& a, const Json& b) {
    if (const auto* flag = a.as<bool>()) return b.as<bool>() != nullptr && *b.as<bool>() == *flag;
    if (const auto* integer = a.as<std::int64_t>())
        return b.as<std::int64_t>() != nullptr && *b.as<std::int64_t>() == *integer;
    if (const auto* number = a.as<double>())
        return b.as<double>() != nullptr &&
               std::bit_cast<std::uint64_t>(*b.as<double>()) == std::bit_cast<std::uint64_t>(*number);
    if (const auto* text = a.as<std::string>())
        return b.as<std::string>() != nullptr && *b.as<std::string>() == *text;
    if (const auto* items = a.as<Json::Array>()) {
        const auto* others = b.as<Json::Array>();
        if (others == nullptr || others->size() != items->size()) return false;
        for (std::size_t i = 0; i < items->size(); ++i)
            if (!same((*items)[i], (*others)[i])) return false;
        return true;
    }
    if (const auto* members = a.as<Json::Object>()) {
        const auto* others = b.as<Json::Object>();
        if (others == nullptr || others->size() != members->size()) return false;
        for (std::size_t i = 0; i < members->size(); ++i)
            if ((*members)[i].name != (*others)[i].name || !same((*members)[i].value, (*others)[i].value))
                return false;
        return true;
    }
    return a.is_null() && b.is_null();
}

/// What holds of every parsed value. \return how many values it is
std::size_t check(const Json& json, int depth) {
    fuzz::require(depth <= 64);
    std::size_t values = 1;
    if (const auto* text = json.as<std::string>()) fuzz::require(is_utf8(*text));
    if (const auto* items = json.as<Json::Array>())
        for (const Json& item : *items) values += check(item, depth + 1);
    if (const auto* members = json.as<Json::Object>())
        for (std::size_t i = 0; i < members->size(); ++i) {
            const auto& [name, value] = (*members)[i];
            fuzz::require(is_utf8(name) && json.find(name) == &value);
            fuzz::require(i == 0 || (*members)[i - 1].name < name);
            values += check(value, depth + 1);
        }
    return values;
}

bool accepted(std::string_view input) {
    try {
        (void)parse_json(input, "fuzz");
        return true;
    } catch (const format_error&) {
        return false;
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::vector<char> exact(data, data + size); // read past its end and the sanitizer says so
    const std::string_view input(exact.data(), size);
    try {
        const Json json = parse_json(input, "fuzz");
        fuzz::require(check(json, 0) <= size);
        const std::string written = to_json(json);
        const Json again = parse_json(written, "fuzz");
        fuzz::require(same(json, again) && to_json(again) == written);

        // It fills the input; text, array and object end where they do and not before.
        const std::string_view value = input.substr(0, input.find_last_not_of(" \t\r\n") + 1);
        fuzz::require(accepted(std::string(value) + " ") && !accepted(std::string(input) + "x"));
        if (value.ends_with('"') || value.ends_with(']') || value.ends_with('}'))
            fuzz::require(!accepted(value.substr(0, value.size() - 1)));
    } catch (const format_error&) {
    }
    try {
        const Json text = parse_json(to_json({std::string(input)}), "fuzz");
        fuzz::require(is_utf8(input) && *text.as<std::string>() == input);
    } catch (const argument_error&) {
        fuzz::require(!is_utf8(input));
    }
    return 0;
}
