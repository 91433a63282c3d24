#pragma once
/// \file
/// A complete Source to copy: pictures made up on the spot, striped or plain.

#include <plimsoll/core/config.hpp>
#include <plimsoll/core/error.hpp>
#include <plimsoll/core/philox.hpp>
#include <plimsoll/core/shape.hpp>
#include <plimsoll/core/storage.hpp>
#include <plimsoll/source/source.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

/// Noisy pictures, half of them with stripes: class 0 is plain, class 1 striped. Sample i is the same
/// whenever it is asked for, so nothing is stored; stripes differ in direction, width and place.
///
/// To make a Source of your own data, copy this class, keep the seven members that
/// `check_source<YourSource>()` asks for, and fill `read` with yours. It must be possible to call `read` from
/// several threads at once.
class ExampleSource {
  public:
    /// How a channel is stored: u8 (0 to 255, which the device divides by 255), float or half.
    using Pixel = u8;

    /// \param size number of samples, \param shape of each, \param seed of all of them.
    /// \throws argument_error for an empty shape.
    explicit ExampleSource(std::uint64_t size, Shape shape = {16, 16, 1}, std::uint64_t seed = 0)
        : size_(size), shape_(shape), seed_(seed) {
        if (shape.height < 1 || shape.width < 1 || shape.channels < 1)
            throw argument_error(text("ExampleSource: an image of ", to_string(shape), " is empty"));
    }

    [[nodiscard]] std::uint64_t size() const { return size_; }
    [[nodiscard]] Shape shape() const { return shape_; }
    [[nodiscard]] int classes() const { return 2; }
    [[nodiscard]] const std::vector<std::string>& class_names() const { return class_names_; }
    [[nodiscard]] std::string name() const { return "ExampleSource"; }

    /// \param samples indexes below size(), in any order, repeated or not
    /// \param images (n, H, W, C) \param labels (n)
    /// \throws argument_error for an index or an extent out of range.
    void read(std::span<const std::uint64_t> samples, std::span<Pixel> images,
              std::span<Label> labels) const {
        check_read(name(), size_, shape_, samples, images, labels);
        const auto stride = static_cast<std::size_t>(shape_.size());
        for (std::size_t i = 0; i < samples.size(); ++i)
            labels[i] = draw(samples[i], images.subspan(i * stride, stride)); // (H, W, C)
    }

  private:
    /// One picture and its label, from nothing but the sample's index and the seed.
    Label draw(std::uint64_t sample, std::span<Pixel> image) const {
        const auto low = static_cast<std::uint32_t>(sample), high = static_cast<std::uint32_t>(sample >> 32);
        const Words4 traits = philox({low, high, 0, 0}, seed_);
        const bool striped = (traits.x & 1) != 0, upright = (traits.x & 2) != 0;
        const std::uint32_t width = 1 + traits.y % 3, start = traits.z % (2 * width);
        std::size_t at = 0;
        for (int y = 0; y < shape_.height; ++y)
            for (int x = 0; x < shape_.width; ++x)
                for (int c = 0; c < shape_.channels; ++c, ++at) {
                    const Words4 noise = philox({low, high, 1, static_cast<std::uint32_t>(at)}, seed_);
                    const std::uint32_t place = static_cast<std::uint32_t>(upright ? x : y) + start;
                    const bool bright = striped && place / width % 2 == 1;
                    image[at] = static_cast<Pixel>(64 + noise.x % 64 + (bright ? 96 : 0));
                }
        return striped ? 1 : 0;
    }

    std::uint64_t size_;
    Shape shape_;
    std::uint64_t seed_;
    std::vector<std::string> class_names_{"plain", "striped"};
};

static_assert(source<ExampleSource>);

} // namespace plimsoll::inline PLIMSOLL_ABI
