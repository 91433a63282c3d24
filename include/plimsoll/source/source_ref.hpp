#pragma once
/// \file
/// Any source by reference, so that what reads samples is compiled once, not once for every source.

#include <plimsoll/source/subset.hpp>

#include <concepts>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// A source's members as functions of its address.
template <class Pixel>
struct SourceFunctions {
    std::uint64_t (*size)(const void*);
    Shape (*shape)(const void*);
    int (*classes)(const void*);
    const std::vector<std::string>& (*class_names)(const void*);
    std::string (*name)(const void*);
    void (*read)(const void*, std::span<const std::uint64_t>, std::span<Pixel>, std::span<Label>);
    void (*read_part)(const void*, const Subset&, std::span<const std::uint64_t>, std::span<Pixel>,
                      std::span<Label>);
    Label (*label)(const void*, std::uint64_t); ///< null: it does not know them without reading
    int (*reader_threads)(const void*);
    std::uint64_t (*skipped)(const void*);
    const void* (*origin)(const void*);
};

template <class S>
const S& source_at(const void* address) {
    return *static_cast<const S*>(address);
}

template <class S>
constexpr SourceFunctions<typename S::Pixel> source_functions() {
    using Pixel = typename S::Pixel;
    using Samples = std::span<const std::uint64_t>;
    SourceFunctions<Pixel> is{
        .size = [](const void* s) { return source_at<S>(s).size(); },
        .shape = [](const void* s) { return source_at<S>(s).shape(); },
        .classes = [](const void* s) { return source_at<S>(s).classes(); },
        .class_names = [](const void* s) -> const std::vector<std::string>& {
            return source_at<S>(s).class_names();
        },
        .name = [](const void* s) -> std::string { return source_at<S>(s).name(); },
        .read = [](const void* s, Samples samples, std::span<Pixel> images,
                   std::span<Label> labels) { source_at<S>(s).read(samples, images, labels); },
        .read_part =
            [](const void* s, const Subset& part, Samples samples, std::span<Pixel> images,
               std::span<Label> labels) { read_subset(source_at<S>(s), part, samples, images, labels); },
        .label = nullptr,
        .reader_threads = [](const void* s) { return plimsoll::reader_threads(source_at<S>(s)); },
        .skipped = [](const void* s) { return skipped_samples(source_at<S>(s)); },
        .origin = [](const void* s) { return origin_of(source_at<S>(s)); }};
    if constexpr (source_with_labels<S>)
        is.label = [](const void* s, std::uint64_t sample) { return source_at<S>(s).label(sample); };
    return is;
}

template <class S>
inline constexpr SourceFunctions<typename S::Pixel> source_functions_of = source_functions<S>();

/// A source of some kind, by reference: copies refer to the same one, which must outlive them. Is a Source.
template <class PixelType>
class SourceRef {
  public:
    using Pixel = PixelType;
    static constexpr int read_ahead = 1;

    template <class S>
        requires(!std::same_as<S, SourceRef> && source<S> && std::same_as<typename S::Pixel, Pixel>)
    SourceRef(const S& source) : source_(&source), is_(&source_functions_of<S>) {} // NOLINT: as S&
    template <class S>
        requires(!std::same_as<S, SourceRef> && source<S>)
    SourceRef(const S&&)
    = delete; ///< a temporary would be gone

    [[nodiscard]] std::uint64_t size() const { return is_->size(source_); }
    [[nodiscard]] Shape shape() const { return is_->shape(source_); }
    [[nodiscard]] int classes() const { return is_->classes(source_); }
    [[nodiscard]] const std::vector<std::string>& class_names() const { return is_->class_names(source_); }
    [[nodiscard]] std::string name() const { return is_->name(source_); }
    /// \param samples below size() \param images (n, H, W, C) \param labels (n)
    void read(std::span<const std::uint64_t> samples, std::span<Pixel> images,
              std::span<Label> labels) const {
        is_->read(source_, samples, images, labels);
    }
    /// \param samples below part.size()
    void read(const Subset& part, std::span<const std::uint64_t> samples, std::span<Pixel> images,
              std::span<Label> labels) const {
        is_->read_part(source_, part, samples, images, labels);
    }
    /// Whether it knows labels without reading pictures.
    [[nodiscard]] bool has_labels() const { return is_->label != nullptr; }
    /// Only where it has_labels().
    [[nodiscard]] Label label(std::uint64_t sample) const { return is_->label(source_, sample); }
    [[nodiscard]] int reader_threads() const { return is_->reader_threads(source_); }
    [[nodiscard]] std::uint64_t skipped() const { return is_->skipped(source_); }
    [[nodiscard]] const void* origin() const { return is_->origin(source_); }

  private:
    const void* source_;
    const SourceFunctions<Pixel>* is_;
};

} // namespace detail

} // namespace plimsoll::inline PLIMSOLL_ABI
