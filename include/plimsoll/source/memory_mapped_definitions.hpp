#pragma once
/// \file
/// How pictures are read from arrays on disk.

#include <plimsoll/source/array_data.hpp>
#include <plimsoll/source/memory_mapped.hpp>

#include <fcntl.h>

#include <utility>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// \throws io_error where there is no such file.
inline const std::string& existing(const std::string& path) {
    if (!path_exists(path)) throw missing_data(path, path);
    return path;
}

} // namespace detail

template <class PixelType>
MemoryMapped<PixelType>::MemoryMapped(const std::string& images_path, const std::string& labels_path)
    : file_(detail::existing(images_path)) {
    const NpyHeader header = read_npy_header(file_);
    data_offset_ = header.data_offset;
    detail::check_pixel_type<Pixel>(header.dtype, images_path, "MemoryMapped");
    shape_ = detail::image_shape(header.shape, images_path);
    labels_ = detail::read_labels(detail::existing(labels_path));
    detail::check_counts(header.shape[0], images_path, labels_.size(), labels_path);
    classes_ = detail::count_classes(labels_, labels_path);
    class_names_ = detail::class_names_beside(images_path, classes_);
}

template <class PixelType>
void MemoryMapped<PixelType>::set_class_names(std::vector<std::string> names) {
    detail::check_class_names(name(), classes_, names);
    class_names_ = std::move(names);
}

template <class PixelType>
void MemoryMapped<PixelType>::read(std::span<const std::uint64_t> samples, std::span<Pixel> images,
                                   std::span<Label> labels) const {
    check_read(name(), size(), shape_, samples, images, labels);
    read(Subset(size()), samples, images, labels);
}

template <class PixelType>
void MemoryMapped<PixelType>::read(const Subset& part, std::span<const std::uint64_t> samples,
                                   std::span<Pixel> images, std::span<Label> labels) const {
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
        check(image, sample * stride);
    }
}

template <class PixelType>
std::uint64_t MemoryMapped<PixelType>::place(std::uint64_t sample) const {
    return data_offset_ + sample * static_cast<std::uint64_t>(shape_.size()) * sizeof(Pixel);
}

template <class PixelType>
void MemoryMapped<PixelType>::check(std::span<const Pixel> image, std::uint64_t first) const {
    if constexpr (!std::same_as<Pixel, u8>) {
        const float largest = detail::check_finite(image, first, image.size(), name());
        if (largest > 1 && !warned_.value.exchange(true)) detail::warn_above_one(largest, name());
    }
}

} // namespace plimsoll::inline PLIMSOLL_ABI
