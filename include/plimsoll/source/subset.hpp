#pragma once
/// \file
/// Which samples of a source are read, where not all are.

#include <plimsoll/source/slice.hpp>
#include <plimsoll/source/source.hpp>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

/// Which samples of a source a part of it holds, and in which order.
class Subset {
  public:
    /// All samples of a source of `size`.
    explicit Subset(std::uint64_t size) : range_{0, size} {}
    explicit Subset(std::vector<std::uint64_t> samples)
        : range_{0, samples.size()},
          chosen_(std::make_shared<const std::vector<std::uint64_t>>(std::move(samples))) {}

    [[nodiscard]] std::uint64_t size() const { return range_.count; }
    /// Whether it is all of a source of `size`, as it lies.
    [[nodiscard]] bool is_all(std::uint64_t size) const { return !chosen_ && range_ == SampleRange{0, size}; }
    /// The source's sample that is the part's `sample`.
    [[nodiscard]] std::uint64_t operator[](std::uint64_t sample) const {
        const std::uint64_t at = range_.first + sample;
        return chosen_ ? (*chosen_)[static_cast<std::size_t>(at)] : at;
    }
    [[nodiscard]] Subset within(SampleRange range) const {
        Subset narrowed = *this;
        narrowed.range_ = {range_.first + range.first, range.count};
        return narrowed;
    }
    /// This part of a part. Allocates only if samples were chosen one by one.
    [[nodiscard]] Subset of(const Subset& outer) const {
        if (!chosen_) return outer.within(range_);
        std::vector<std::uint64_t> samples;
        for (std::uint64_t i = 0; i < size(); ++i) samples.push_back(outer[(*this)[i]]);
        return Subset(std::move(samples));
    }

  private:
    SampleRange range_;
    std::shared_ptr<const std::vector<std::uint64_t>> chosen_; ///< null: as they lie
};

namespace detail {

/// A source that is told which part of it is read: it then sees a whole batch at once, and lets nothing from
/// outside the part in.
template <class S>
concept reads_subset = requires(const S& s, const Subset& part, std::span<const std::uint64_t> samples,
                                std::span<typename S::Pixel> images, std::span<Label> labels) {
    s.read(part, samples, images, labels);
};

/// Reads samples of a part. \param samples below part.size() \param images (n, H, W, C) \param labels (n)
template <class S>
void read_subset(const S& source, const Subset& part, std::span<const std::uint64_t> samples,
                 std::span<typename S::Pixel> images, std::span<Label> labels) {
    if constexpr (reads_subset<S>) {
        source.read(part, samples, images, labels);
    } else if (part.is_all(source.size())) {
        source.read(samples, images, labels);
    } else {
        const auto pixels = static_cast<std::size_t>(source.shape().size());
        std::uint64_t places[32]; // a few at a time: nothing is allocated
        for (std::size_t first = 0; first < samples.size(); first += std::size(places)) {
            const std::size_t count = std::min(std::size(places), samples.size() - first);
            for (std::size_t i = 0; i < count; ++i) places[i] = part[samples[first + i]];
            source.read(std::span(places, count), images.subspan(first * pixels, count * pixels),
                        labels.subspan(first, count));
        }
    }
}

} // namespace detail

} // namespace plimsoll::inline PLIMSOLL_ABI
