#pragma once
/// \file
/// Every failure is an exception under `plimsoll::error` whose text names the file, offset, record, shape or
/// byte count that explains it.

#include <plimsoll/core/config.hpp>

#include <concepts>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

namespace plimsoll::inline PLIMSOLL_ABI {

/// Base of everything this library throws.
class error : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// A file cannot be opened, read or written; the text names the path and the system's reason.
class io_error : public error {
  public:
    using error::error;
};

/// A file's content is not what its format says; the text names path and offset.
class format_error : public error {
  public:
    using error::error;
};

/// Images or labels do not fit each other, or the model.
class data_error : public error {
  public:
    using error::error;
};

/// An argument is outside its range.
class argument_error : public error {
  public:
    using error::error;
};

/// A plan needs more bytes than the budget; the text says how many and what would fit.
class budget_error : public error {
  public:
    using error::error;
};

/// A device or its library refused; the text names the call and the library's reason.
class device_error : public error {
  public:
    using error::error;
};

/// A loss is not finite; the text names the step and the samples.
class numeric_error : public error {
  public:
    using error::error;
};

namespace detail {

inline void append_text(std::string& out, std::string_view text) { out += text; }
inline void append_text(std::string& out, char text) { out += text; }
template <class Number>
    requires std::is_arithmetic_v<Number> &&
        (!std::same_as<Number, char>)void append_text(std::string& out, Number number) {
        out += std::to_string(number);
    }

} // namespace detail

/// Concatenates strings and numbers into one message.
template <class... Pieces>
std::string text(const Pieces&... pieces) {
    std::string out;
    (detail::append_text(out, pieces), ...);
    return out;
}

namespace detail {

/// What f() returns. A device_error that it throws tells when, as in "by step 12".
template <class When, class F>
auto telling(When when, F f) {
    try {
        return f();
    } catch (const device_error& failed) {
        throw device_error(text(failed.what(), " (", when(), ")"));
    }
}

} // namespace detail

} // namespace plimsoll::inline PLIMSOLL_ABI
