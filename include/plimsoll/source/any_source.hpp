#pragma once
/// \file
/// A Source whose kind is chosen when the program runs.

#include <plimsoll/source/source_ref.hpp>
#include <plimsoll/source/view.hpp>

#include <memory>
#include <utility>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// A source that stays where it is, and the reference to it.
template <class S>
struct HeldSource {
    S source;
    SourceRef<typename S::Pixel> ref{source};

    explicit HeldSource(S moved) : source(std::move(moved)) {}
    HeldSource(const HeldSource&) = delete;
    HeldSource& operator=(const HeldSource&) = delete;
};

} // namespace detail

/// Holds a source of any kind; copies share it. Its parts are AnySources that share it too, so nothing needs
/// to outlive anything.
template <class PixelType = u8>
class AnySource {
  public:
    using Pixel = PixelType;
    static constexpr int read_ahead = 1;

    template <source_with_labels S>
        requires(!std::same_as<S, AnySource> && std::same_as<typename S::Pixel, Pixel>)
    explicit AnySource(S source) : AnySource(hold(std::move(source))) {}

    [[nodiscard]] std::uint64_t size() const { return view_.size(); }
    [[nodiscard]] Shape shape() const { return view_.shape(); }
    [[nodiscard]] int classes() const { return view_.classes(); }
    [[nodiscard]] const std::vector<std::string>& class_names() const { return view_.class_names(); }
    [[nodiscard]] const std::string& name() const { return view_.name(); }
    [[nodiscard]] Label label(std::uint64_t sample) const { return view_.label(sample); }
    [[nodiscard]] int reader_threads() const { return view_.reader_threads(); }
    [[nodiscard]] std::uint64_t skipped() const { return view_.skipped(); }
    [[nodiscard]] const void* origin() const { return view_.origin(); }
    void read(std::span<const std::uint64_t> samples, std::span<Pixel> images,
              std::span<Label> labels) const {
        view_.read(samples, images, labels);
    }

    // As those of View.
    [[nodiscard]] AnySource slice(std::string_view part) const { return {base_, view_.slice(part)}; }
    [[nodiscard]] AnySource take(std::uint64_t count) const { return {base_, view_.take(count)}; }
    [[nodiscard]] AnySource skip(std::uint64_t count) const { return {base_, view_.skip(count)}; }
    [[nodiscard]] AnySource stratified(double share, std::uint64_t seed = 0) const {
        return {base_, view_.stratified(share, seed)};
    }

  private:
    using Base = detail::SourceRef<Pixel>;
    template <class S>
    static std::shared_ptr<const Base> hold(S source) {
        const auto held = std::make_shared<const detail::HeldSource<S>>(std::move(source));
        return {held, &held->ref};
    }
    explicit AnySource(std::shared_ptr<const Base> base) : base_(std::move(base)), view_(*base_) {}
    AnySource(std::shared_ptr<const Base> base, View<Base> view)
        : base_(std::move(base)), view_(std::move(view)) {}

    std::shared_ptr<const Base> base_;
    View<Base> view_; ///< of *base_
};

} // namespace plimsoll::inline PLIMSOLL_ABI
