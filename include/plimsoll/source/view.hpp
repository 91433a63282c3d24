#pragma once
/// \file
/// Part of a source, which is a source again.

#include <plimsoll/core/permutation.hpp>
#include <plimsoll/core/philox.hpp>
#include <plimsoll/source/prefetch.hpp>
#include <plimsoll/source/slice.hpp>

#include <map>
#include <memory>
#include <utility>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

/// A source that knows its labels without reading pictures.
template <class S>
concept source_with_labels = requires(const S& s, std::uint64_t sample) {
    { s.label(sample) } -> std::same_as<Label>;
};

/// Samples of each class, from 0 to classes() - 1.
template <source_with_labels S>
std::vector<std::uint64_t> class_counts(const S& source) {
    std::vector<std::uint64_t> counts(static_cast<std::size_t>(source.classes()));
    for (std::uint64_t sample = 0; sample < source.size(); ++sample)
        ++counts[static_cast<std::size_t>(source.label(sample))];
    return counts;
}

/// Warns where a source whose labels are known has no sample of some class.
template <class S>
void report_missing_classes(const S& source) {
    if constexpr (source_with_labels<S>) {
        const std::vector<std::uint64_t> counts = class_counts(source);
        std::string missing;
        for (std::size_t label = 0; label < counts.size(); ++label)
            if (counts[label] == 0)
                missing +=
                    text(missing.empty() ? " " : ", ", label,
                         label < source.class_names().size() ? " (" + source.class_names()[label] + ")" : "");
        if (!missing.empty()) warn(text("\"", source.name(), "\" has no sample of class", missing));
    }
}

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

/// Samples so far that could not be read and in whose place others stood.
template <class S>
std::uint64_t skipped_samples(const S& source) {
    if constexpr (requires { source.skipped(); })
        return source.skipped();
    else
        return 0;
}

/// Says how many those are, if any. \returns how many
template <class S>
std::uint64_t report_skipped(const S& source) {
    const std::uint64_t skipped = skipped_samples(source);
    if (skipped > 0)
        warn(text("\"", source.name(), "\": ", skipped,
                  skipped == 1 ? " picture that cannot be read was" : " pictures that cannot be read were",
                  " skipped"));
    return skipped;
}

/// The source that a part is a part of.
template <class S>
const void* origin_of(const S& source) {
    if constexpr (requires { source.origin(); })
        return source.origin();
    else
        return &source;
}

template <class Base>
class View;

/// Gives a source its parts. \tparam Derived the source itself; it must outlive them.
template <class Derived>
class Sliceable {
  public:
    /// The samples that TensorFlow Datasets' notation names: "[:1000]", "[70%:85%]". \throws argument_error.
    [[nodiscard]] View<Derived> slice(std::string_view part) const { return all().slice(part); }
    /// The first `count`, or all where there are fewer.
    [[nodiscard]] View<Derived> take(std::uint64_t count) const { return all().take(count); }
    /// All but the first `count`.
    [[nodiscard]] View<Derived> skip(std::uint64_t count) const { return all().skip(count); }
    /// As View::stratified.
    [[nodiscard]] View<Derived> stratified(double share, std::uint64_t seed = 0) const {
        return all().stratified(share, seed);
    }

  private:
    [[nodiscard]] View<Derived> all() const { return View<Derived>(static_cast<const Derived&>(*this)); }
};

/// Some samples of a source, which must outlive it. A view of a view is a view of the source.
template <class Base>
class View {
  public:
    using Pixel = typename Base::Pixel;
    static constexpr int read_ahead = plimsoll::read_ahead<Base>;

    /// All samples.
    explicit View(const Base& base) : base_(&base), part_(base.size()), name_(base.name()) {}

    [[nodiscard]] std::uint64_t size() const { return part_.size(); }
    [[nodiscard]] Shape shape() const { return base_->shape(); }
    /// Those of the whole source: a part that lacks the last class is no other problem.
    [[nodiscard]] int classes() const { return base_->classes(); }
    [[nodiscard]] const std::vector<std::string>& class_names() const { return base_->class_names(); }
    [[nodiscard]] const std::string& name() const { return name_; }
    [[nodiscard]] int reader_threads() const { return plimsoll::reader_threads(*base_); }
    [[nodiscard]] std::uint64_t skipped() const { return skipped_samples(*base_); }
    [[nodiscard]] const void* origin() const { return origin_of(*base_); }
    [[nodiscard]] Label label(std::uint64_t sample) const requires source_with_labels<Base> {
        return base_->label(part_[sample]);
    }
    /// The sample of the source that is this one's `sample`.
    [[nodiscard]] std::uint64_t place(std::uint64_t sample) const { return part_[sample]; }

    void read(std::span<const std::uint64_t> samples, std::span<Pixel> images,
              std::span<Label> labels) const {
        check_read(name_, size(), shape(), samples, images, labels);
        detail::read_subset(*base_, part_, samples, images, labels);
    }
    /// \param part of this view.
    void read(const Subset& part, std::span<const std::uint64_t> samples, std::span<Pixel> images,
              std::span<Label> labels) const {
        detail::read_subset(*base_, part.of(part_), samples, images, labels);
    }

    /// \throws argument_error for what is no slice or holds no sample.
    [[nodiscard]] View slice(std::string_view part) const { return within(parse_slice(part, size()), part); }
    [[nodiscard]] View take(std::uint64_t count) const {
        return within({0, std::min(count, size())}, text("[:", count, "]"));
    }
    [[nodiscard]] View skip(std::uint64_t count) const {
        const std::uint64_t skipped = std::min(count, size());
        return within({skipped, size() - skipped}, text("[", count, ":]"));
    }
    /// A share of every class, in the order they lie: of n samples of a class round(share * n), at least one,
    /// drawn by the seed alone. \throws argument_error for a share that is not within (0, 1].
    [[nodiscard]] View stratified(double share,
                                  std::uint64_t seed = 0) const requires source_with_labels<Base> {
        if (!(share > 0 && share <= 1))
            throw argument_error(text("stratified(", share, "): a share is within 0 and 1"));
        std::map<Label, std::vector<std::uint64_t>> classes; // places in this view
        for (std::uint64_t sample = 0; sample < size(); ++sample) classes[label(sample)].push_back(sample);
        std::vector<std::uint64_t> chosen;
        for (const auto& [label, samples] : classes) {
            const Permutation draw(samples.size(),
                                   stream_key(seed, Purpose::shuffle) + static_cast<std::uint64_t>(label));
            const auto count = std::max<std::uint64_t>(
                1, static_cast<std::uint64_t>(std::nearbyint(share * static_cast<double>(samples.size()))));
            for (std::uint64_t i = 0; i < count; ++i)
                chosen.push_back(place(samples[static_cast<std::size_t>(draw[i])]));
        }
        std::sort(chosen.begin(), chosen.end());
        View part = *this;
        part.part_ = Subset(std::move(chosen));
        part.name_ += text(" (", share, " of each class)");
        return part;
    }

  private:
    View within(SampleRange range, std::string_view part) const {
        View narrowed = *this;
        narrowed.part_ = part_.within(range);
        narrowed.name_ += part.substr(std::min(part.find('['), part.size()));
        return narrowed;
    }

    const Base* base_;
    Subset part_;
    std::string name_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
