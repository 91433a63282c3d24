#pragma once
/// \file
/// A Source whose kind is chosen when the program runs.

#include <plimsoll/source/view.hpp>

#include <memory>
#include <utility>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// Any source behind one virtual call a batch.
template <class PixelType>
class ErasedSource {
  public:
    using Pixel = PixelType;
    static constexpr int read_ahead = 1;

    ErasedSource() = default;
    ErasedSource(const ErasedSource&) = delete;
    ErasedSource& operator=(const ErasedSource&) = delete;
    virtual ~ErasedSource() = default;
    [[nodiscard]] virtual std::uint64_t size() const = 0;
    [[nodiscard]] virtual Shape shape() const = 0;
    [[nodiscard]] virtual int classes() const = 0;
    [[nodiscard]] virtual const std::vector<std::string>& class_names() const = 0;
    [[nodiscard]] virtual std::string name() const = 0;
    [[nodiscard]] virtual Label label(std::uint64_t sample) const = 0;
    [[nodiscard]] virtual int reader_threads() const = 0;
    [[nodiscard]] virtual std::uint64_t skipped() const = 0;
    virtual void read(const Subset& part, std::span<const std::uint64_t> samples, std::span<Pixel> images,
                      std::span<Label> labels) const = 0;
};

template <source_with_labels S>
class HeldSource final : public ErasedSource<typename S::Pixel> {
  public:
    explicit HeldSource(S source) : source_(std::move(source)) {}
    [[nodiscard]] std::uint64_t size() const override { return source_.size(); }
    [[nodiscard]] Shape shape() const override { return source_.shape(); }
    [[nodiscard]] int classes() const override { return source_.classes(); }
    [[nodiscard]] const std::vector<std::string>& class_names() const override {
        return source_.class_names();
    }
    [[nodiscard]] std::string name() const override { return source_.name(); }
    [[nodiscard]] Label label(std::uint64_t sample) const override { return source_.label(sample); }
    [[nodiscard]] int reader_threads() const override { return plimsoll::reader_threads(source_); }
    [[nodiscard]] std::uint64_t skipped() const override { return skipped_samples(source_); }
    void read(const Subset& part, std::span<const std::uint64_t> samples, std::span<typename S::Pixel> images,
              std::span<Label> labels) const override {
        read_subset(source_, part, samples, images, labels);
    }

  private:
    S source_;
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
    explicit AnySource(S source)
        : base_(std::make_shared<const detail::HeldSource<S>>(std::move(source))), view_(*base_) {}

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
    using Base = detail::ErasedSource<Pixel>;
    AnySource(std::shared_ptr<const Base> base, View<Base> view)
        : base_(std::move(base)), view_(std::move(view)) {}

    std::shared_ptr<const Base> base_;
    View<Base> view_; ///< of *base_
};

} // namespace plimsoll::inline PLIMSOLL_ABI
