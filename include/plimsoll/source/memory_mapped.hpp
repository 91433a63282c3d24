#pragma once
/// \file
/// The Source that leaves its pictures on disk: .npy files larger than memory, read by the batch.

#include <plimsoll/source/array_data.hpp>
#include <plimsoll/source/view.hpp>

#include <fcntl.h>

#include <atomic>
#include <utility>

namespace plimsoll::inline PLIMSOLL_ABI {

/// Pictures of a .npy file on disk, as they were stored; only their labels are in memory. A read first tells
/// the system every picture that is wanted (POSIX_FADV_WILLNEED), then copies them: the file's pages stay in
/// the system's cache and never count as this process's memory, as those of a mapping would.
/// \tparam PixelType u8, float or half; a file of another type is refused, naming the word to change.
template <class PixelType>
class MemoryMapped : public Sliceable<MemoryMapped<PixelType>> {
  public:
    using Pixel = PixelType;
    static_assert(pixel<Pixel>,
                  "plimsoll: write MemoryMapped<u8>, MemoryMapped<float> or MemoryMapped<half>");
    /// Micro-batches that are read ahead of the device.
    static constexpr int read_ahead = 1;

    /// "train" reads train_images.npy and train_labels.npy.
    /// \throws io_error naming what was looked for; format_error and data_error as the other constructor.
    explicit MemoryMapped(const std::string& prefix)
        : MemoryMapped(prefix + "_images.npy", prefix + "_labels.npy") {}

    /// \param images_path .npy of (N, H, W, C) or (N, H, W) Pixels; classes.txt beside it names the classes
    /// \param labels_path .npy of (N), (N, 1) or one-hot (N, K)
    /// \throws io_error, format_error; data_error when the pixels are of another type, the two counts differ,
    /// or there are none.
    MemoryMapped(const std::string& images_path, const std::string& labels_path)
        : file_(existing(images_path)), header_(read_npy_header(file_)) {
        detail::check_pixel_type<Pixel>(header_.dtype, images_path, "MemoryMapped");
        shape_ = detail::image_shape(header_.shape, images_path);
        labels_ = detail::read_labels(existing(labels_path));
        detail::check_counts(header_.shape[0], images_path, labels_.size(), labels_path);
        classes_ = detail::count_classes(labels_, labels_path);
        class_names_ = detail::class_names_beside(images_path, classes_);
    }

    [[nodiscard]] std::uint64_t size() const { return labels_.size(); }
    [[nodiscard]] Shape shape() const { return shape_; }
    [[nodiscard]] int classes() const { return classes_; }
    [[nodiscard]] const std::vector<std::string>& class_names() const { return class_names_; }
    [[nodiscard]] const std::string& name() const { return file_.path(); }

    [[nodiscard]] Label label(std::uint64_t sample) const {
        return labels_[static_cast<std::size_t>(sample)];
    }

    /// Names for reports, in the labels' order. \throws argument_error for fewer than classes().
    void set_class_names(std::vector<std::string> names) {
        detail::check_class_names(name(), classes_, names);
        class_names_ = std::move(names);
    }

    /// \param samples indexes below size() \param images (n, H, W, C) \param labels (n)
    /// \throws argument_error naming the index and the size, or the extents; io_error where the file has
    /// shrunk; data_error naming sample and pixel that is not finite.
    void read(std::span<const std::uint64_t> samples, std::span<Pixel> images,
              std::span<Label> labels) const {
        check_read(name(), size(), shape_, samples, images, labels);
        read(Subset(size()), samples, images, labels);
    }
    /// \param samples below part.size()
    void read(const Subset& part, std::span<const std::uint64_t> samples, std::span<Pixel> images,
              std::span<Label> labels) const {
        const auto stride = static_cast<std::size_t>(shape_.size());
        for (const std::uint64_t sample : samples)
            static_cast<void>(::posix_fadvise(file_.descriptor(), static_cast<off_t>(place(part[sample])),
                                              static_cast<off_t>(stride * sizeof(Pixel)),
                                              POSIX_FADV_WILLNEED)); // advice: a refusal costs time only
        for (std::size_t i = 0; i < samples.size(); ++i) {
            const std::span<Pixel> image = images.subspan(i * stride, stride); // (H, W, C)
            const std::uint64_t sample = part[samples[i]];
            file_.read_at(place(sample), image);
            labels[i] = label(sample);
            if constexpr (!std::same_as<Pixel, u8>) check(image, sample * stride);
        }
    }

  private:
    static const std::string& existing(const std::string& path) {
        if (!path_exists(path)) throw detail::missing_data(path, path);
        return path;
    }
    [[nodiscard]] std::uint64_t place(std::uint64_t sample) const {
        return header_.data_offset + sample * static_cast<std::uint64_t>(shape_.size()) * sizeof(Pixel);
    }
    void check(std::span<const Pixel> image, std::uint64_t first) const {
        const float largest = detail::check_finite(image, first, image.size(), name());
        if (largest > 1 && !warned_.value.exchange(true)) detail::warn_above_one(largest, name());
    }

    /// Movable, as the source is: moved only before anything reads it.
    struct Flag {
        std::atomic<bool> value{false};
        Flag() = default;
        Flag(Flag&& other) noexcept : value(other.value.load()) {}
    };

    File file_;
    NpyHeader header_;
    Shape shape_;
    std::vector<Label> labels_; // (N)
    int classes_ = 0;
    std::vector<std::string> class_names_;
    mutable Flag warned_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
