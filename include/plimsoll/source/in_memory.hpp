#pragma once
/// \file
/// The Source that holds its samples in host memory: NumPy files, IDX files (MNIST) or vectors.

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
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
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
inline float check_floats(std::span<const float> pixels, std::uint64_t first, std::uint64_t stride,
                          std::string_view path) {
    // As integers, positive floats order alike and what is not finite comes last; integers vectorise.
    constexpr std::int32_t infinite = 0x7f800000;
    std::int32_t largest = 0, widest = 0;
    for (const float pixel : pixels) {
        const auto bits = std::bit_cast<std::int32_t>(pixel);
        largest = std::max(largest, bits);
        widest = std::max(widest, bits & 0x7fffffff);
    }
    if (widest < infinite) return std::bit_cast<float>(largest);
    for (std::size_t i = 0;; ++i)
        if ((std::bit_cast<std::int32_t>(pixels[i]) & 0x7fffffff) >= infinite)
            throw data_error(text("\"", path, "\", sample ", (first + i) / stride, ", pixel ",
                                  (first + i) % stride, " is ", number_text(static_cast<double>(pixels[i])),
                                  ": pixels are finite"));
}

/// Says once that pixels above 1 are unusual for float.
inline void warn_above_one(float largest, std::string_view path) {
    if (largest > 1)
        warn(text("\"", path, "\" holds float pixels up to ", number_text(static_cast<double>(largest)),
                  ": divide by 255, or save uint8 and let the device divide"));
}

} // namespace detail

/// All samples in host memory, as they were stored: uint8 stays uint8.
/// \tparam PixelType u8 or float; a file of another type is refused, naming the word to change.
template <class PixelType>
class InMemory {
  public:
    using Pixel = PixelType;
    static_assert(std::same_as<Pixel, u8> || std::same_as<Pixel, float>,
                  "plimsoll: write InMemory<u8> or InMemory<float>");

    /// "train" reads train_images.npy and train_labels.npy, or train-images-idx3-ubyte[.gz] and
    /// train-labels-idx1-ubyte[.gz]; "/usr/share/datasets/fashion-mnist/t10k" works.
    /// \throws io_error naming what was looked for; format_error and data_error as the other constructors.
    explicit InMemory(const std::string& prefix) : InMemory(detail::find_data(prefix)) {}

    /// Reads .npy or IDX files, told apart by their first bytes.
    /// \param images_path (N, H, W, C) or (N, H, W) of Pixel, \param labels_path (N), (N, 1) or one-hot (N,
    /// K) \throws io_error, format_error; data_error when the pixels are of another type or not finite, the
    /// two counts differ, or there are none.
    InMemory(const std::string& images_path, const std::string& labels_path)
        : InMemory(detail::DataPaths{images_path, labels_path}) {}

    /// \param images (N, H, W, C), \param shape of one, \param labels (N), from 0 on, \param name for
    /// messages \throws data_error as above.
    InMemory(std::vector<Pixel> images, Shape shape, std::vector<Label> labels, std::string name = "memory")
        : images_(std::move(images)), shape_(shape), labels_(std::move(labels)), name_(std::move(name)) {
        if (shape.height < 1 || shape.width < 1 || shape.channels < 1)
            throw data_error(text("\"", name_, "\": an image of ", to_string(shape), " is empty"));
        const auto stride = static_cast<std::uint64_t>(shape.size());
        if (images_.size() % stride != 0)
            throw data_error(text("\"", name_, "\": ", images_.size(),
                                  " pixels are no whole number of images of ", to_string(shape), ", ", stride,
                                  " pixels each"));
        check(images_.size() / stride, name_);
    }

    [[nodiscard]] std::uint64_t size() const { return labels_.size(); }
    [[nodiscard]] Shape shape() const { return shape_; }
    [[nodiscard]] int classes() const { return classes_; }
    [[nodiscard]] const std::vector<std::string>& class_names() const { return class_names_; }
    [[nodiscard]] const std::string& name() const { return name_; }

    /// Names for reports, in the labels' order. \throws argument_error for fewer than classes().
    void set_class_names(std::vector<std::string> names) {
        if (names.size() < static_cast<std::size_t>(classes_))
            throw argument_error(
                text("\"", name_, "\" has ", classes_, " classes, found ", names.size(), " names"));
        class_names_ = std::move(names);
    }

    /// \param samples indexes below size() \param images (n, H, W, C) \param labels (n)
    /// \throws argument_error naming the index and the size, or the extents.
    void read(std::span<const std::uint64_t> samples, std::span<Pixel> images,
              std::span<Label> labels) const {
        check_read(name_, size(), shape_, samples, images, labels);
        const auto stride = static_cast<std::size_t>(shape_.size());
        for (std::size_t i = 0; i < samples.size(); ++i) {
            const auto sample = static_cast<std::size_t>(samples[i]);
            std::memcpy(images.data() + i * stride, images_.data() + sample * stride, stride * sizeof(Pixel));
            labels[i] = labels_[sample];
        }
    }

  private:
    explicit InMemory(const detail::DataPaths& paths) : name_(paths.images) {
        for (const std::string& path : {paths.images, paths.labels})
            if (!path_exists(path)) throw detail::missing_data(path, path);
        labels_ = detail::read_labels(paths.labels);
        const File file(paths.images);
        if (detail::is_npy_not_idx(file)) {
            const NpyHeader header = read_npy_header(file);
            accept(header.dtype, header.shape);
            check_count(header.shape[0], paths.labels);
            images_.resize(static_cast<std::size_t>(header.bytes / sizeof(Pixel)));
            file.read_at(header.data_offset, std::span(images_));
        } else {
            Array array = read_idx(paths.images);
            accept(array.dtype, array.dims);
            if constexpr (std::same_as<Pixel, u8>) images_ = std::move(array.bytes);
        }
        check(images_.size() / static_cast<std::uint64_t>(shape_.size()), paths.labels);
    }

    void accept(DType dtype, std::span<const std::uint64_t> dims) {
        detail::check_pixel_type<Pixel>(dtype, name_, "InMemory");
        shape_ = detail::image_shape(dims, name_);
    }

    void check_count(std::uint64_t images, std::string_view labels_name) const {
        if (images != labels_.size())
            throw data_error(text("\"", name_, "\" has ", images, " images, \"", labels_name, "\" has ",
                                  labels_.size(), " labels"));
        if (images == 0) throw data_error(text("\"", name_, "\" is empty: there is nothing to train on"));
    }

    /// What holds of images and labels wherever they came from; counts the classes.
    void check(std::uint64_t images, std::string_view labels_name) {
        check_count(images, labels_name);
        const auto least = std::min_element(labels_.begin(), labels_.end());
        const auto most = std::max_element(labels_.begin(), labels_.end());
        const auto wrong = *least < 0 ? least : most;
        if (*least < 0 || *most > detail::largest_label)
            throw data_error(text("\"", labels_name, "\", label ", wrong - labels_.begin(), " is ", *wrong,
                                  ": labels are from 0 to 2147483646"));
        classes_ = *most + 1;
        if constexpr (std::same_as<Pixel, float>) {
            const auto stride = static_cast<std::uint64_t>(shape_.size());
            detail::warn_above_one(detail::check_floats(images_, 0, stride, name_), name_);
        }
    }

    std::vector<Pixel> images_; // (N, H, W, C)
    Shape shape_;
    std::vector<Label> labels_; // (N)
    int classes_ = 0;
    std::vector<std::string> class_names_;
    std::string name_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
