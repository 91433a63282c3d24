#pragma once
/// \file
/// How arrays come into memory.

#include <plimsoll/source/array_data.hpp>
#include <plimsoll/source/in_memory.hpp>
#include <plimsoll/source/prefetch.hpp>

#include <algorithm>
#include <cstring>
#include <thread>
#include <utility>

namespace plimsoll::inline PLIMSOLL_ABI {

template <class PixelType>
InMemory<PixelType>::InMemory(const std::string& prefix) : InMemory(detail::find_data(prefix)) {}

template <class PixelType>
InMemory<PixelType>::InMemory(const std::string& images_path, const std::string& labels_path)
    : InMemory(detail::DataPaths{images_path, labels_path}) {}

template <class PixelType>
InMemory<PixelType>::InMemory(std::vector<Pixel> images, Shape shape, std::vector<Label> labels,
                              std::string name)
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

template <class PixelType>
InMemory<PixelType>::InMemory(detail::SourceRef<Pixel> other, int read_ahead, int reader_threads)
    : images_(static_cast<std::size_t>(other.size()) * static_cast<std::size_t>(other.shape().size())),
      shape_(other.shape()),
      labels_(static_cast<std::size_t>(other.size())),
      class_names_(other.class_names()),
      name_(other.name()) {
    constexpr std::size_t room = 64;
    const auto pixels = static_cast<std::size_t>(shape_.size());
    const int slots = 1 + read_ahead;
    std::vector<Pixel> read(static_cast<std::size_t>(slots) * room * pixels); // (slots, room, H, W, C)
    std::vector<Label> told(static_cast<std::size_t>(slots) * room);          // (slots, room)
    std::vector<typename Prefetch<Pixel>::Slot> ring;
    for (std::size_t slot = 0; slot < static_cast<std::size_t>(slots); ++slot)
        ring.push_back({std::span(read).subspan(slot * room * pixels, room * pixels),
                        std::span(told).subspan(slot * room, room)});
    Prefetch<Pixel> reading(other, ring, slots > 1 ? reader_threads : 0,
                            [&](std::uint64_t fill, std::span<std::uint64_t> samples) {
                                const std::size_t first = std::min(labels_.size(), fill * room);
                                const std::size_t count = std::min(room, labels_.size() - first);
                                for (std::size_t i = 0; i < count; ++i) samples[i] = first + i;
                                return count;
                            });
    for (std::size_t first = 0; first < labels_.size(); first += room) {
        const auto filled = reading.next();
        std::copy_n(ring[static_cast<std::size_t>(filled.slot)].images.begin(), filled.labels.size() * pixels,
                    images_.begin() + static_cast<std::ptrdiff_t>(first * pixels));
        std::copy(filled.labels.begin(), filled.labels.end(),
                  labels_.begin() + static_cast<std::ptrdiff_t>(first));
    }
    check(labels_.size(), name_);
}

template <class PixelType>
InMemory<PixelType>::InMemory(const detail::DataPaths& paths) : name_(paths.images) {
    for (const std::string& path : {paths.images, paths.labels})
        if (!path_exists(path)) throw detail::missing_data(path, path);
    labels_ = detail::read_labels(paths.labels);
    const auto accept = [this](DType dtype, std::span<const std::uint64_t> dims) {
        detail::check_pixel_type<Pixel>(dtype, name_, "InMemory");
        shape_ = detail::image_shape(dims, name_);
    };
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

template <class PixelType>
int InMemory<PixelType>::reader_threads() const {
    return std::clamp(static_cast<int>(std::thread::hardware_concurrency() / 4), 1, 4);
}

template <class PixelType>
void InMemory<PixelType>::set_class_names(std::vector<std::string> names) {
    detail::check_class_names(name_, classes_, names);
    class_names_ = std::move(names);
}

template <class PixelType>
void InMemory<PixelType>::read(std::span<const std::uint64_t> samples, std::span<Pixel> images,
                               std::span<Label> labels) const {
    check_read(name_, size(), shape_, samples, images, labels);
    const auto stride = static_cast<std::size_t>(shape_.size());
    for (std::size_t i = 0; i < samples.size(); ++i) {
        const auto sample = static_cast<std::size_t>(samples[i]);
        std::memcpy(images.data() + i * stride, images_.data() + sample * stride, stride * sizeof(Pixel));
        labels[i] = labels_[sample];
    }
}

template <class PixelType>
void InMemory<PixelType>::check(std::uint64_t images, std::string_view labels_name) {
    detail::check_counts(images, name_, labels_.size(), labels_name);
    classes_ = detail::count_classes(labels_, labels_name);
    if constexpr (!std::same_as<Pixel, u8>) {
        const auto stride = static_cast<std::uint64_t>(shape_.size());
        detail::warn_above_one(detail::check_finite(std::span<const Pixel>(images_), 0, stride, name_),
                               name_);
    }
}

} // namespace plimsoll::inline PLIMSOLL_ABI
