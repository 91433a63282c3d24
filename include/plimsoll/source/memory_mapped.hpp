#pragma once
/// \file
/// The Source that leaves its pictures on disk: .npy files larger than memory, read by the batch.

#include <plimsoll/format/file.hpp>
#include <plimsoll/source/view.hpp>

#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

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
    MemoryMapped(const std::string& images_path, const std::string& labels_path);

    [[nodiscard]] std::uint64_t size() const { return labels_.size(); }
    [[nodiscard]] Shape shape() const { return shape_; }
    [[nodiscard]] int classes() const { return classes_; }
    [[nodiscard]] const std::vector<std::string>& class_names() const { return class_names_; }
    [[nodiscard]] const std::string& name() const { return file_.path(); }

    [[nodiscard]] Label label(std::uint64_t sample) const {
        return labels_[static_cast<std::size_t>(sample)];
    }

    /// Names for reports, in the labels' order. \throws argument_error for fewer than classes().
    void set_class_names(std::vector<std::string> names);

    /// \param samples indexes below size() \param images (n, H, W, C) \param labels (n)
    /// \throws argument_error naming the index and the size, or the extents; io_error where the file has
    /// shrunk; data_error naming sample and pixel that is not finite.
    void read(std::span<const std::uint64_t> samples, std::span<Pixel> images, std::span<Label> labels) const;
    /// \param samples below part.size()
    void read(const Subset& part, std::span<const std::uint64_t> samples, std::span<Pixel> images,
              std::span<Label> labels) const;

  private:
    [[nodiscard]] std::uint64_t place(std::uint64_t sample) const;
    void check(std::span<const Pixel> image, std::uint64_t first) const;

    /// Movable, as the source is: moved only before anything reads it.
    struct Flag {
        std::atomic<bool> value{false};
        Flag() = default;
        Flag(Flag&& other) noexcept : value(other.value.load()) {}
    };

    File file_;
    std::uint64_t data_offset_ = 0; ///< in the file
    Shape shape_;
    std::vector<Label> labels_; // (N)
    int classes_ = 0;
    std::vector<std::string> class_names_;
    mutable Flag warned_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI

#if PLIMSOLL_DEFINITIONS
#include <plimsoll/source/memory_mapped_definitions.hpp>
#endif
