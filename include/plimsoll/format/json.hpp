#pragma once
/// \file
/// A strict JSON reader and writer, made for the headers of safetensors files and for checkpoints. It is our
/// own because a JSON library would cost every unit that includes Plimsoll about a second of compile time.

#include <plimsoll/core/config.hpp>
#include <plimsoll/core/error.hpp>
#include <plimsoll/format/file.hpp>

#include <algorithm>
#include <charconv>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

struct JsonMember;

/// A JSON value: null, or one of bool, std::int64_t, double, text, array, object. A number written without
/// point or exponent that fits is std::int64_t, any other is double. A parsed object's members are sorted by
/// name.
class Json {
  public:
    using Array = std::vector<Json>;
    using Object = std::vector<JsonMember>;

    inline Json();
    template <std::same_as<bool> Flag> // a pointer is no bool
    inline Json(Flag flag);
    inline Json(std::int64_t integer);
    inline Json(double number);
    inline Json(std::string string);
    inline Json(Array items);
    inline Json(Object members);

    [[nodiscard]] bool is_null() const { return type_ == Type::null; }

    /// The value as T (bool, std::int64_t, double, std::string, Array or Object), or nullptr when it is
    /// another.
    template <class T>
    [[nodiscard]] const T* as() const {
        if constexpr (std::same_as<T, bool>)
            return type_ == Type::boolean ? &flag_ : nullptr;
        else if constexpr (std::same_as<T, std::int64_t>)
            return type_ == Type::integer ? &integer_ : nullptr;
        else if constexpr (std::same_as<T, double>)
            return type_ == Type::number ? &number_ : nullptr;
        else if constexpr (std::same_as<T, std::string>)
            return type_ == Type::string ? &string_ : nullptr;
        else if constexpr (std::same_as<T, Array>)
            return type_ == Type::array ? &items_ : nullptr;
        else
            return type_ == Type::object ? &members_ : nullptr;
    }

    /// The member of that name, or nullptr when this is no object or has no such member.
    [[nodiscard]] inline const Json* find(std::string_view name) const;

  private:
    enum class Type { null, boolean, integer, number, string, array, object };

    // One field a type: std::variant's moves draw false warnings from g++ 12 in the user's unit.
    Type type_ = Type::null;
    bool flag_ = false;
    std::int64_t integer_ = 0;
    double number_ = 0;
    std::string string_;
    Array items_;
    Object members_;
};

/// One member of an object.
struct JsonMember {
    std::string name;
    Json value;
};

inline Json::Json() = default;
template <std::same_as<bool> Flag>
inline Json::Json(Flag flag) : type_(Type::boolean), flag_(flag) {}
inline Json::Json(std::int64_t integer) : type_(Type::integer), integer_(integer) {}
inline Json::Json(double number) : type_(Type::number), number_(number) {}
inline Json::Json(std::string string) : type_(Type::string), string_(std::move(string)) {}
inline Json::Json(Array items) : type_(Type::array), items_(std::move(items)) {}
inline Json::Json(Object members) : type_(Type::object), members_(std::move(members)) {}

inline const Json* Json::find(std::string_view name) const {
    if (const Object* members = as<Object>())
        for (const JsonMember& member : *members)
            if (member.name == name) return &member.value;
    return nullptr;
}

namespace detail {

/// The bytes of the UTF-8 character that `text` begins with; 0 when it is not one.
inline std::size_t utf8_length(std::string_view text) {
    const auto byte = [&](std::size_t i) {
        return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
    };
    const auto more = [&](std::size_t i) { return (byte(i) & 0xC0u) == 0x80u; };
    const unsigned first = byte(0), second = byte(1);
    if (first < 0x80) return text.empty() ? 0 : 1;
    if (first < 0xC2 || first > 0xF4 || !more(1)) return 0;
    if (first < 0xE0) return 2;
    if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) || !more(2)) return 0;
    if (first < 0xF0) return 3;
    return (first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F) || !more(3) ? 0 : 4;
}

class JsonParser {
  public:
    JsonParser(std::string_view input, std::string_view path, std::uint64_t base)
        : input_(input), path_(path), base_(base) {}

    Json parse() {
        Json value = parse_value(0);
        skip_space();
        if (at_ != input_.size()) throw refuse("something follows the value");
        return value;
    }

  private:
    [[nodiscard]] format_error refuse(std::string_view what) const {
        return bad_content(path_, base_ + at_, text("JSON: ", what));
    }
    [[nodiscard]] char peek() const { return at_ < input_.size() ? input_[at_] : '\0'; }
    [[nodiscard]] bool digit() const { return peek() >= '0' && peek() <= '9'; }
    void skip_space() {
        while (at_ < input_.size() && std::string_view(" \t\r\n").find(input_[at_]) != std::string_view::npos)
            ++at_;
    }
    bool take(char wanted) {
        skip_space();
        if (at_ == input_.size() || input_[at_] != wanted) return false;
        ++at_;
        return true;
    }
    void expect(char wanted) {
        if (!take(wanted)) throw refuse(text("expected '", wanted, "'"));
    }
    Json word(std::string_view spelling, Json meaning) {
        if (input_.substr(at_, spelling.size()) != spelling) throw refuse("expected a value");
        at_ += spelling.size();
        return meaning;
    }

    Json parse_value(int depth) {
        if (depth > 64) throw refuse("nested more than 64 deep");
        if (++values_ > most_values) throw refuse(text("more than ", most_values, " values"));
        skip_space();
        switch (peek()) {
        case '{':
            return {parse_object(depth)};
        case '[':
            return {parse_array(depth)};
        case '"':
            return {parse_string()};
        case 't':
            return word("true", {true});
        case 'f':
            return word("false", {false});
        case 'n':
            return word("null", {});
        default:
            return parse_number();
        }
    }

    Json::Array parse_array(int depth) {
        Json::Array items;
        expect('[');
        if (take(']')) return items;
        do items.push_back(parse_value(depth + 1));
        while (take(','));
        expect(']');
        return items;
    }

    Json::Object parse_object(int depth) {
        Json::Object members;
        expect('{');
        if (take('}')) return members;
        do {
            skip_space();
            std::string name = parse_string();
            expect(':');
            members.push_back({std::move(name), parse_value(depth + 1)});
        } while (take(','));
        expect('}');
        std::sort(members.begin(), members.end(),
                  [](const auto& a, const auto& b) { return a.name < b.name; });
        const auto twice = std::adjacent_find(members.begin(), members.end(),
                                              [](const auto& a, const auto& b) { return a.name == b.name; });
        if (twice != members.end())
            throw refuse(text("the object ending here has \"", twice->name, "\" twice"));
        return members;
    }

    Json parse_number() {
        const std::size_t first = at_;
        if (peek() == '-') ++at_;
        if (!digit()) throw refuse("expected a value");
        if (peek() == '0')
            ++at_;
        else
            skip_digits();
        bool whole = true;
        if (peek() == '.') {
            whole = false;
            ++at_;
            skip_digits();
        }
        if (peek() == 'e' || peek() == 'E') {
            whole = false;
            ++at_;
            if (peek() == '+' || peek() == '-') ++at_;
            skip_digits();
        }
        const char *begin = input_.data() + first, *end = input_.data() + at_;
        std::int64_t integer = 0;
        if (whole && std::from_chars(begin, end, integer).ec == std::errc()) return {integer};
        double number = 0;
        if (std::from_chars(begin, end, number).ec != std::errc()) throw refuse("a number is out of range");
        return {number};
    }
    void skip_digits() {
        if (!digit()) throw refuse("expected a digit");
        while (digit()) ++at_;
    }

    std::string parse_string() {
        std::string out;
        if (peek() != '"') throw refuse("expected a string");
        ++at_;
        while (peek() != '"' || at_ == input_.size()) {
            if (at_ == input_.size()) throw refuse("a string does not end");
            if (static_cast<unsigned char>(peek()) < 0x20) throw refuse("a control character in a string");
            if (peek() == '\\') {
                ++at_;
                parse_escape(out);
                continue;
            }
            const std::size_t length = utf8_length(input_.substr(at_));
            if (length == 0) throw refuse("a string is not UTF-8");
            out += input_.substr(at_, length);
            at_ += length;
        }
        ++at_;
        return out;
    }

    void parse_escape(std::string& out) {
        constexpr std::string_view letters = "\"\\/bfnrt", meanings = "\"\\/\b\f\n\r\t";
        const std::size_t known = at_ < input_.size() ? letters.find(peek()) : std::string_view::npos;
        if (known != std::string_view::npos) {
            out += meanings[known];
            ++at_;
            return;
        }
        std::uint32_t code = parse_unit();
        if (code >= 0xDC00 && code < 0xE000) throw refuse("a low surrogate alone");
        if (code >= 0xD800 && code < 0xDC00) {
            if (peek() != '\\') throw refuse("a high surrogate alone");
            ++at_;
            const std::uint32_t low = parse_unit();
            if (low < 0xDC00 || low >= 0xE000) throw refuse("a high surrogate alone");
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        }
        const auto push = [&](std::uint32_t byte) {
            out += static_cast<char>(static_cast<unsigned char>(byte));
        };
        const int tail = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
        constexpr std::uint32_t leads[] = {0, 0xC0, 0xE0, 0xF0};
        push(leads[tail] | code >> (6 * tail));
        for (int i = tail - 1; i >= 0; --i) push(0x80 | (code >> (6 * i) & 0x3F));
    }

    /// uXXXX
    std::uint32_t parse_unit() {
        std::uint32_t code = 0;
        const std::string_view digits = input_.substr(std::min(at_ + 1, input_.size()), 4);
        const char* end = digits.data() + digits.size();
        if (peek() != 'u' || digits.size() != 4 || std::from_chars(digits.data(), end, code, 16).ptr != end)
            throw refuse("not an escape");
        at_ += 5;
        return code;
    }

    std::string_view input_;
    std::string_view path_;
    std::uint64_t base_;
    std::size_t at_ = 0;
    static constexpr int most_values = 1 << 20; // bounds the memory that "[0,0,0,..." takes
    int values_ = 0;
};

inline void write_json_string(std::string& out, std::string_view value) {
    constexpr std::string_view hex = "0123456789abcdef";
    out += '"';
    while (!value.empty()) {
        const std::size_t length = utf8_length(value);
        if (length == 0) throw argument_error(text("\"", value, "\" is not UTF-8: JSON cannot hold it"));
        const auto c = static_cast<unsigned char>(value[0]);
        if (c < 0x20)
            out += text("\\u00", hex[c >> 4], hex[c & 15u]);
        else {
            if (c == '"' || c == '\\') out += '\\';
            out += value.substr(0, length);
        }
        value.remove_prefix(length);
    }
    out += '"';
}

inline void write_json(std::string& out, const Json& json) {
    if (const auto* flag = json.as<bool>())
        out += *flag ? "true" : "false";
    else if (const auto* integer = json.as<std::int64_t>())
        out += text(*integer);
    else if (const auto* string = json.as<std::string>())
        write_json_string(out, *string);
    else if (const auto* number = json.as<double>()) {
        if (!(*number - *number == 0)) throw argument_error("JSON cannot hold a number that is not finite");
        char shortest[32];
        const auto end = std::to_chars(shortest, shortest + sizeof shortest, *number).ptr;
        const std::string_view digits(shortest, static_cast<std::size_t>(end - shortest));
        out += digits;
        if (digits.find_first_of(".e") == std::string_view::npos) out += ".0"; // else it reads as an integer
    } else if (const auto* items = json.as<Json::Array>()) {
        out += '[';
        for (std::size_t i = 0; i < items->size(); ++i) {
            if (i != 0) out += ',';
            write_json(out, (*items)[i]);
        }
        out += ']';
    } else if (const auto* members = json.as<Json::Object>()) {
        out += '{';
        for (std::size_t i = 0; i < members->size(); ++i) {
            if (i != 0) out += ',';
            write_json_string(out, (*members)[i].name);
            out += ':';
            write_json(out, (*members)[i].value);
        }
        out += '}';
    } else {
        out += "null";
    }
}

} // namespace detail

/// Reads one JSON value that fills `input`.
/// \param path named in errors, \param offset where `input` begins in that file.
/// \throws format_error naming path and offset: not JSON, not UTF-8, a name twice in an object, or nested too
/// deep.
inline Json parse_json(std::string_view input, std::string_view path, std::uint64_t offset = 0) {
    return detail::JsonParser(input, path, offset).parse();
}

/// The value as JSON without spaces; numbers read back to the same bits, members in their order.
/// \throws argument_error for text that is not UTF-8 and numbers that are not finite.
inline std::string to_json(const Json& json) {
    std::string out;
    detail::write_json(out, json);
    return out;
}

} // namespace plimsoll::inline PLIMSOLL_ABI
