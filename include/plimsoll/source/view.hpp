#pragma once
/// \file
/// Part of a source, which is a source again.

#include <plimsoll/core/permutation.hpp>
#include <plimsoll/core/philox.hpp>
#include <plimsoll/source/subset.hpp>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// A sample's label, from 0 on. \throws data_error for one that is none of the source's classes.
template <class S>
std::size_t class_of(const S& source, std::uint64_t sample) {
    const Label label = source.label(sample);
    if (label < 0 || label >= source.classes())
        throw data_error(text("\"", source.name(), "\": sample ", sample, " has label ", label,
                              ", its classes are 0 to ", source.classes() - 1));
    return static_cast<std::size_t>(label);
}

} // namespace detail

/// Samples of each class, from 0 to classes() - 1. \throws data_error for a label beyond.
template <source_with_labels S>
std::vector<std::uint64_t> class_counts(const S& source) {
    std::vector<std::uint64_t> counts(static_cast<std::size_t>(source.classes()));
    for (std::uint64_t sample = 0; sample < source.size(); ++sample)
        ++counts[detail::class_of(source, sample)];
    return counts;
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
        std::vector<std::vector<std::uint64_t>> of_class(static_cast<std::size_t>(classes()));
        for (std::uint64_t sample = 0; sample < size(); ++sample) // places in this view
            of_class[detail::class_of(*this, sample)].push_back(sample);
        std::vector<std::uint64_t> chosen;
        for (std::size_t label = 0; label < of_class.size(); ++label) {
            const std::vector<std::uint64_t>& samples = of_class[label];
            if (samples.empty()) continue;
            const Permutation draw(samples.size(), stream_key(seed, Purpose::shuffle) + label);
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
