#pragma once
/// \file
/// What the sources of array files share: which files a name means, and checks of types, shapes and labels.

#include <plimsoll/core/config.hpp>
#include <plimsoll/core/error.hpp>
#include <plimsoll/core/shape.hpp>
#include <plimsoll/core/storage.hpp>
#include <plimsoll/format/file.hpp>
#include <plimsoll/format/idx.hpp>
#include <plimsoll/format/npy.hpp>
#include <plimsoll/source/labels.hpp>
#include <plimsoll/source/source.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// The two files of a data set.
struct DataPaths {
    std::string images, labels;
};

/// A missing data set, with what would help.
inline io_error missing_data(const std::string& what, std::string_view looked_for) {
    const bool packaged = what.starts_with("/usr/share/datasets/fashion-mnist");
    return io_error(text("no data set \"", what, "\": looked for ", looked_for,
                         packaged ? "; install it with `apt-get install dataset-fashion-mnist`" : ""));
}

/// The files that a prefix names: <prefix>_images.npy and <prefix>_labels.npy, or MNIST's
/// <prefix>-images-idx3-ubyte and <prefix>-labels-idx1-ubyte, each plain or .gz.
/// \throws io_error naming what was looked for.
inline DataPaths find_data(const std::string& prefix) {
    std::string looked_for;
    const auto first_of = [&](std::initializer_list<const char*> endings) -> std::string {
        for (const char* ending : endings) {
            if (path_exists(prefix + ending)) return prefix + ending;
            looked_for += text(looked_for.empty() ? "" : ", ", prefix, ending);
        }
        return "";
    };
    DataPaths paths{first_of({"_images.npy"}), ""};
    if (!paths.images.empty()) {
        paths.labels = first_of({"_labels.npy"});
    } else {
        paths.images = first_of({"-images-idx3-ubyte", "-images-idx3-ubyte.gz"});
        if (!paths.images.empty()) looked_for.clear();
        paths.labels = first_of({"-labels-idx1-ubyte", "-labels-idx1-ubyte.gz"});
    }
    if (paths.images.empty() || paths.labels.empty()) throw missing_data(prefix, looked_for);
    return paths;
}

/// Whether a file is .npy; otherwise it is IDX or gzip. By its first bytes, whatever its name.
/// \throws format_error for anything else.
inline bool is_npy_not_idx(const File& file) {
    if (is_npy(file)) return true;
    unsigned char magic[2] = {1, 1};
    if (file.size() >= 2) file.read_at(0, std::span(magic));
    if (!is_gzip(file) && (magic[0] != 0 || magic[1] != 0))
        throw bad_content(file.path(), 0, "neither .npy nor IDX (plain or gzip): convert it with np.save");
    return false;
}

/// Reads the labels of a data set, .npy or IDX.
inline std::vector<Label> read_labels(const std::string& path) {
    const bool npy = is_npy_not_idx(File(path));
    return to_labels(npy ? read_npy(path) : read_idx(path), path);
}

/// Refuses an element type that is not the source's Pixel, naming the word to change.
/// \param source the user's word: "InMemory"
template <class Pixel>
void check_pixel_type(DType dtype, std::string_view path, std::string_view source) {
    if (dtype == dtype_of<Pixel>) return;
    const std::string holds = text("\"", path, "\" holds ", to_string(dtype), ": ");
    if (dtype == dtype_of<u8>) throw data_error(text(holds, "write ", source, "<u8>"));
    if (dtype == dtype_of<float>) throw data_error(text(holds, "write ", source, "<float>"));
    if (dtype == dtype_of<half>) throw data_error(text(holds, "write ", source, "<half>"));
    if (dtype.kind == ElementKind::floating)
        throw data_error(text(holds, "save it as float32, a.astype('<f4')"));
    throw data_error(text(holds, "save it as uint8 (0 to 255), a.astype('u1')"));
}

/// The shape of one image of (N, H, W, C), or (N, H, W) which has one channel.
/// \throws data_error naming the shape for anything else, channels first by name.
inline Shape image_shape(std::span<const std::uint64_t> dims, std::string_view path) {
    const auto refuse = [&](std::string_view what) { return data_error(text("\"", path, "\" ", what)); };
    if (dims.size() != 3 && dims.size() != 4)
        throw refuse(text("has shape ", dims_text(dims), ": images are (N, H, W, C) or (N, H, W)"));
    const auto is_channels = [](std::uint64_t n) { return n == 1 || n == 3 || n == 4; };
    const bool vectors = dims.size() == 4 && dims[1] == 1 && dims[2] == 1; // (N, 1, 1, features)
    if (dims.size() == 4 && is_channels(dims[1]) && !is_channels(dims[3]) && !vectors)
        throw refuse(text("looks like (N, C, H, W) = ", dims_text(dims),
                          ": Plimsoll reads (N, H, W, C); np.transpose(a, (0, 2, 3, 1))"));
    int extents[3] = {0, 0, 1};
    for (std::size_t axis = 1; axis < dims.size(); ++axis) {
        if (dims[axis] == 0 || dims[axis] > std::uint64_t{std::numeric_limits<int>::max()})
            throw refuse(
                text("has shape ", dims_text(dims), ": an image has 1 to 2147483647 along each axis"));
        extents[axis - 1] = static_cast<int>(dims[axis]);
    }
    return {extents[0], extents[1], extents[2]};
}

/// Refuses NaN and infinity.
/// \param first index of pixels[0] in its array (a chunk of one may be given), \param stride pixels of an
/// image \return the largest pixel, at least 0 \throws data_error naming sample and pixel.
template <class Pixel>
float check_finite(std::span<const Pixel> pixels, std::uint64_t first, std::uint64_t stride,
                   std::string_view path) {
    // As integers, positive floats order alike and what is not finite comes last; integers vectorise.
    using Bits = std::conditional_t<sizeof(Pixel) == 4, std::int32_t, std::int16_t>;
    constexpr Bits all_but_sign = std::numeric_limits<Bits>::max();
    constexpr Bits infinite = std::bit_cast<Bits>(to<Pixel>(std::numeric_limits<float>::infinity()));
    Bits largest = 0, widest = 0;
    for (const Pixel pixel : pixels) {
        const auto bits = std::bit_cast<Bits>(pixel);
        largest = std::max(largest, bits);
        widest = std::max(widest, static_cast<Bits>(bits & all_but_sign));
    }
    if (widest < infinite) return to_float(std::bit_cast<Pixel>(largest));
    for (std::size_t i = 0;; ++i)
        if ((std::bit_cast<Bits>(pixels[i]) & all_but_sign) >= infinite)
            throw data_error(
                text("\"", path, "\", sample ", (first + i) / stride, ", pixel ", (first + i) % stride,
                     " is ", number_text(static_cast<double>(to_float(pixels[i]))), ": pixels are finite"));
}

/// Says once that pixels above 1 are unusual for float.
inline void warn_above_one(float largest, std::string_view path) {
    if (largest > 1)
        warn(text("\"", path, "\" holds float pixels up to ", number_text(static_cast<double>(largest)),
                  ": divide by 255, or save uint8 and let the device divide"));
}

/// \throws data_error naming both counts where they differ, or where there is nothing.
inline void check_counts(std::uint64_t images, std::string_view images_name, std::uint64_t labels,
                         std::string_view labels_name) {
    if (images != labels)
        throw data_error(text("\"", images_name, "\" has ", images, " images, \"", labels_name, "\" has ",
                              labels, " labels"));
    if (images == 0) throw data_error(text("\"", images_name, "\" is empty: there is nothing to train on"));
}

/// 1 + the largest of at least one label. \throws data_error naming a label out of range.
inline int count_classes(std::span<const Label> labels, std::string_view name) {
    const auto [least, most] = std::minmax_element(labels.begin(), labels.end());
    const auto wrong = *least < 0 ? least : most;
    if (*least < 0 || *most > largest_label)
        throw data_error(text("\"", name, "\", label ", wrong - labels.begin(), " is ", *wrong,
                              ": labels are from 0 to 2147483646"));
    return *most + 1;
}

/// \throws argument_error for fewer names than classes.
inline void check_class_names(std::string_view name, int classes, const std::vector<std::string>& names) {
    if (names.size() < static_cast<std::size_t>(classes))
        throw argument_error(
            text("\"", name, "\" has ", classes, " classes, found ", names.size(), " names"));
}

/// The class names beside a file of pictures, one a line, in the labels' order; none where there is no such
/// file, or one of fewer names, which is another data set's: that is said. \param name of the file with them
inline std::vector<std::string> class_names_beside(const std::string& images_path, int classes,
                                                   const std::string& name = "classes.txt") {
    const std::string path = images_path.substr(0, images_path.rfind('/') + 1) + name;
    if (!path_exists(path)) return {};
    std::vector<std::string> names;
    std::istringstream lines(read_all(path));
    for (std::string line; std::getline(lines, line);) {
        if (line.ends_with('\r')) line.pop_back();
        names.push_back(std::move(line));
    }
    while (!names.empty() && names.back().empty()) names.pop_back(); // lines left blank at the end
    if (names.size() >= static_cast<std::size_t>(classes)) return names;
    warn(text("\"", path, "\" is not used: it holds ", names.size(), " names, \"", images_path, "\" has ",
              classes, " classes"));
    return {};
}

} // namespace detail

} // namespace plimsoll::inline PLIMSOLL_ABI
