#pragma once
/// \file
/// The shape of one image's tensor, how a batch of them lies in memory, and window arithmetic.

#include <plimsoll/core/config.hpp>
#include <plimsoll/core/error.hpp>

#include <cstdint>
#include <string>

namespace plimsoll::inline PLIMSOLL_ABI {

/// Height, width and channels of one image or activation; a vector of n features is (1, 1, n).
struct Shape {
    int height = 0;
    int width = 0;
    int channels = 0;

    [[nodiscard]] constexpr std::int64_t pixels() const { return std::int64_t{height} * width; }
    [[nodiscard]] constexpr std::int64_t size() const { return pixels() * channels; }
    [[nodiscard]] constexpr bool is_vector() const { return height == 1 && width == 1; }
    friend constexpr bool operator==(const Shape&, const Shape&) = default;
};

/// "150x150x3" (height, width, channels), or "512" for a vector.
inline std::string to_string(Shape shape) {
    if (shape.is_vector()) return text(shape.channels);
    return text(shape.height, "x", shape.width, "x", shape.channels);
}

/// How a batch of activations lies in memory: (N, C / block, H, W, block). One number names every layout in
/// use: block == C is channels-last (N, H, W, C), block == 1 is (N, C, H, W), 8 and 16 are oneDNN's blocked
/// forms. `block` always divides C, so every layout of a tensor has the same number of bytes.
struct Layout {
    int block = 1;

    friend constexpr bool operator==(const Layout&, const Layout&) = default;
    static constexpr Layout channels_last(Shape shape) { return {shape.channels}; }
    static constexpr Layout channels_first() { return {1}; }
};

/// The square window of a convolution or pooling layer; `padding` pixels on each side, as in PyTorch.
struct Window {
    int kernel = 1;
    int stride = 1;
    int padding = 0;

    /// Output pixels along one axis, truncated as PyTorch does; 0 or less where the window does not fit.
    [[nodiscard]] constexpr int output(int input) const {
        const int span = input + 2 * padding - kernel;
        return span < 0 ? 0 : span / stride + 1;
    }
    friend constexpr bool operator==(const Window&, const Window&) = default;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
