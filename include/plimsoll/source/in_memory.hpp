#pragma once
/// \file
/// The Source that holds its samples in host memory: NumPy files, IDX files (MNIST) or vectors.

#include <plimsoll/source/array_data.hpp>
#include <plimsoll/source/prefetch.hpp>
#include <plimsoll/source/view.hpp>

#include <algorithm>
#include <cstring>
#include <thread>
#include <utility>

namespace plimsoll::inline PLIMSOLL_ABI {

/// All samples in host memory, as they were stored: uint8 stays uint8.
/// \tparam PixelType u8, float or half; a file of another type is refused, naming the word to change.
template <class PixelType>
class InMemory : public Sliceable<InMemory<PixelType>> {
  public:
    using Pixel = PixelType;
    static_assert(pixel<Pixel>, "plimsoll: write InMemory<u8>, InMemory<float> or InMemory<half>");

    /// "train" reads train_images.npy and train_labels.npy, or train-images-idx3-ubyte[.gz] and
    /// train-labels-idx1-ubyte[.gz]; "/usr/share/datasets/fashion-mnist/t10k" works.
    /// \throws io_error naming what was looked for; format_error and data_error as the other constructors.
    explicit InMemory(const std::string& prefix) : InMemory(detail::find_data(prefix)) {}

    /// Reads .npy or IDX files, told apart by their first bytes; classes.txt beside them names the classes.
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

    /// Reads all of another source, with as many threads as it wants. \throws what its reads throw.
    template <source Other>
        requires std::same_as<typename Other::Pixel, Pixel>
    explicit InMemory(const Other& other)
        : images_(static_cast<std::size_t>(other.size()) * static_cast<std::size_t>(other.shape().size())),
          shape_(other.shape()),
          labels_(static_cast<std::size_t>(other.size())),
          class_names_(other.class_names()),
          name_(other.name()) {
        constexpr std::size_t room = 64;
        const auto pixels = static_cast<std::size_t>(shape_.size());
        const int slots = 1 + plimsoll::read_ahead<Other>;
        std::vector<Pixel> read(static_cast<std::size_t>(slots) * room * pixels); // (slots, room, H, W, C)
        std::vector<Label> told(static_cast<std::size_t>(slots) * room);          // (slots, room)
        std::vector<typename Prefetch<Pixel>::Slot> ring;
        for (std::size_t slot = 0; slot < static_cast<std::size_t>(slots); ++slot)
            ring.push_back({std::span(read).subspan(slot * room * pixels, room * pixels),
                            std::span(told).subspan(slot * room, room)});
        Prefetch<Pixel> reading(other, ring, slots > 1 ? plimsoll::reader_threads(other) : 0,
                                [&](std::uint64_t fill, std::span<std::uint64_t> samples) {
                                    const std::size_t first = std::min(labels_.size(), fill * room);
                                    const std::size_t count = std::min(room, labels_.size() - first);
                                    for (std::size_t i = 0; i < count; ++i) samples[i] = first + i;
                                    return count;
                                });
        for (std::size_t first = 0; first < labels_.size(); first += room) {
            const auto filled = reading.next();
            std::copy_n(ring[static_cast<std::size_t>(filled.slot)].images.begin(),
                        filled.labels.size() * pixels,
                        images_.begin() + static_cast<std::ptrdiff_t>(first * pixels));
            std::copy(filled.labels.begin(), filled.labels.end(),
                      labels_.begin() + static_cast<std::ptrdiff_t>(first));
        }
        check(labels_.size(), name_);
    }

    [[nodiscard]] std::uint64_t size() const { return labels_.size(); }
    [[nodiscard]] Shape shape() const { return shape_; }
    [[nodiscard]] int classes() const { return classes_; }
    [[nodiscard]] const std::vector<std::string>& class_names() const { return class_names_; }
    [[nodiscard]] const std::string& name() const { return name_; }
    /// Where samples are read ahead: one thread copies more slowly than a fast GPU trains.
    [[nodiscard]] int reader_threads() const {
        return std::clamp(static_cast<int>(std::thread::hardware_concurrency() / 4), 1, 4);
    }

    [[nodiscard]] Label label(std::uint64_t sample) const {
        return labels_[static_cast<std::size_t>(sample)];
    }

    /// Names for reports, in the labels' order. \throws argument_error for fewer than classes().
    void set_class_names(std::vector<std::string> names) {
        detail::check_class_names(name_, classes_, names);
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
            detail::check_counts(header.shape[0], name_, labels_.size(), paths.labels);
            images_.resize(static_cast<std::size_t>(header.bytes / sizeof(Pixel)));
            file.read_at(header.data_offset, std::span(images_));
        } else {
            Array array = read_idx(paths.images);
            accept(array.dtype, array.dims);
            if constexpr (std::same_as<Pixel, u8>) images_ = std::move(array.bytes);
        }
        check(images_.size() / static_cast<std::uint64_t>(shape_.size()), paths.labels);
        class_names_ = detail::class_names_beside(paths.images, classes_);
    }

    void accept(DType dtype, std::span<const std::uint64_t> dims) {
        detail::check_pixel_type<Pixel>(dtype, name_, "InMemory");
        shape_ = detail::image_shape(dims, name_);
    }

    /// What holds of images and labels wherever they came from; counts the classes.
    void check(std::uint64_t images, std::string_view labels_name) {
        detail::check_counts(images, name_, labels_.size(), labels_name);
        classes_ = detail::count_classes(labels_, labels_name);
        if constexpr (!std::same_as<Pixel, u8>) {
            const auto stride = static_cast<std::uint64_t>(shape_.size());
            detail::warn_above_one(detail::check_finite(std::span<const Pixel>(images_), 0, stride, name_),
                                   name_);
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
