#pragma once
/// \file
/// Labels from the arrays people save them in: integers of any width, booleans, whole floats, one-hot rows.

#include <plimsoll/core/config.hpp>
#include <plimsoll/core/error.hpp>
#include <plimsoll/core/storage.hpp>
#include <plimsoll/format/npy.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// The largest label: `classes()`, one more, is still an int.
inline constexpr Label largest_label = std::numeric_limits<Label>::max() - 1;

/// "0.5", "3", "-1", "nan".
inline std::string number_text(double value) {
    char out[32];
    std::snprintf(out, sizeof out, "%.9g", value);
    return out;
}

/// One row of a one-hot array: the column of its only 1. \throws data_error naming the row.
inline Label hot_column(const Array& array, std::uint64_t row, std::string_view path) {
    const std::uint64_t columns = array.dims[1];
    const auto refuse = [&](std::string_view what) {
        return data_error(
            text("\"", path, "\", row ", row, " of one-hot ", dims_text(array.dims), ": ", what));
    };
    const auto size = static_cast<std::uint64_t>(array.dtype.size);
    Label hot = -1;
    for (std::uint64_t column = 0; column < columns; ++column) {
        const double value = load_number(array.dtype, array.bytes.data() + (row * columns + column) * size);
        if (value == 0) continue;
        if (value != 1)
            throw refuse(text("column ", column, " is ", number_text(value), ", neither 0 nor 1"));
        if (hot >= 0) throw refuse(text("columns ", hot, " and ", column, " are both 1"));
        hot = static_cast<Label>(column);
    }
    if (hot < 0) throw refuse("no column is 1");
    return hot;
}

} // namespace detail

/// Labels as the device takes them, checked one by one.
/// \param array (N), (N, 1), or one-hot (N, K) with exactly one 1 a row; any element type
/// \param path named in errors
/// \return (N), each from 0 to 2^31 - 2
/// \throws data_error naming path, index and value for a label that is negative, too large or not whole, and
/// naming the row that is not one-hot.
inline std::vector<Label> to_labels(const Array& array, std::string_view path) {
    const std::vector<std::uint64_t>& dims = array.dims;
    const bool column = dims.size() == 1 || (dims.size() == 2 && dims[1] == 1);
    const bool one_hot = dims.size() == 2 && dims[1] > 1 && dims[1] <= std::uint64_t{detail::largest_label};
    if (!column && !one_hot)
        throw data_error(text("\"", path, "\" has shape ", dims_text(dims),
                              ": labels are (N,), (N, 1) or one-hot (N, K)"));
    std::vector<Label> labels(static_cast<std::size_t>(dims[0]));
    for (std::size_t i = 0; i < labels.size(); ++i) {
        if (one_hot) {
            labels[i] = detail::hot_column(array, i, path);
            continue;
        }
        const double value = detail::load_number(
            array.dtype, array.bytes.data() + i * static_cast<std::size_t>(array.dtype.size));
        const auto refuse = [&](std::string_view what) {
            return data_error(
                text("\"", path, "\", label ", i, " is ", detail::number_text(value), ": ", what));
        };
        if (!(value >= 0 && value <= detail::largest_label)) throw refuse("labels are from 0 to 2147483646");
        labels[i] = static_cast<Label>(value);
        if (labels[i] != value) throw refuse("labels are whole numbers");
    }
    return labels;
}

} // namespace plimsoll::inline PLIMSOLL_ABI
