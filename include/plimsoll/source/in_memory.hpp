#pragma once
/// \file
/// The Source that holds its samples in host memory: NumPy files, IDX files (MNIST) or vectors.

#include <plimsoll/source/source_ref.hpp>
#include <plimsoll/source/view.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {
struct DataPaths;
}

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
    explicit InMemory(const std::string& prefix);

    /// Reads .npy or IDX files, told apart by their first bytes; classes.txt beside them names the classes.
    /// \param images_path (N, H, W, C) or (N, H, W) of Pixel, \param labels_path (N), (N, 1) or one-hot (N,
    /// K) \throws io_error, format_error; data_error when the pixels are of another type or not finite, the
    /// two counts differ, or there are none.
    InMemory(const std::string& images_path, const std::string& labels_path);

    /// \param images (N, H, W, C), \param shape of one, \param labels (N), from 0 on, \param name for
    /// messages \throws data_error as above.
    InMemory(std::vector<Pixel> images, Shape shape, std::vector<Label> labels, std::string name = "memory");

    /// Reads all of another source, with as many threads as it wants. \throws what its reads throw.
    template <source Other>
        requires std::same_as<typename Other::Pixel, Pixel>
    explicit InMemory(const Other& other)
        : InMemory(detail::SourceRef<Pixel>(other), plimsoll::read_ahead<Other>,
                   plimsoll::reader_threads(other)) {}

    [[nodiscard]] std::uint64_t size() const { return labels_.size(); }
    [[nodiscard]] Shape shape() const { return shape_; }
    [[nodiscard]] int classes() const { return classes_; }
    [[nodiscard]] const std::vector<std::string>& class_names() const { return class_names_; }
    [[nodiscard]] const std::string& name() const { return name_; }
    /// Where samples are read ahead: one thread copies more slowly than a fast GPU trains.
    [[nodiscard]] int reader_threads() const;

    [[nodiscard]] Label label(std::uint64_t sample) const {
        return labels_[static_cast<std::size_t>(sample)];
    }

    /// Names for reports, in the labels' order. \throws argument_error for fewer than classes().
    void set_class_names(std::vector<std::string> names);

    /// \param samples indexes below size() \param images (n, H, W, C) \param labels (n)
    /// \throws argument_error naming the index and the size, or the extents.
    void read(std::span<const std::uint64_t> samples, std::span<Pixel> images, std::span<Label> labels) const;

  private:
    InMemory(detail::SourceRef<Pixel> other, int read_ahead, int reader_threads);
    explicit InMemory(const detail::DataPaths& paths);
    /// What holds of images and labels wherever they came from; counts the classes.
    void check(std::uint64_t images, std::string_view labels_name);

    std::vector<Pixel> images_; // (N, H, W, C)
    Shape shape_;
    std::vector<Label> labels_; // (N)
    int classes_ = 0;
    std::vector<std::string> class_names_;
    std::string name_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI

#if PLIMSOLL_DEFINITIONS
#include <plimsoll/source/in_memory_definitions.hpp>
#endif
