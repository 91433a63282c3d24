#pragma once
/// \file
/// Winograd's F(2 x 2, 3 x 3) for convolutions (Lavin and Gray, "Fast Algorithms for Convolutional Neural
/// Networks", CVPR 2016): 2 x 2 outputs of a window of 3 x 3 take 16 products instead of 36. The constants of
/// its transforms are 1 and 1/2, so they lose no more than the rounding of a few additions.

#include <plimsoll/core/shape.hpp>

#include <cstdint>

namespace plimsoll::inline PLIMSOLL_ABI::detail::winograd {

inline constexpr int elements = 16; ///< of a transformed tile, 4 x 4

struct Two {
    float a, b;
};
struct Three {
    float a, b, c;
};
struct Four {
    float a, b, c, d;
};

/// Along one axis, of four inputs.
PLIMSOLL_HD constexpr Four of_input(float a, float b, float c, float d) {
    return {a - c, b + c, c - b, b - d};
}
/// Along one axis, of a window's three weights.
PLIMSOLL_HD constexpr Four of_weights(float a, float b, float c) {
    return {a, 0.5f * (a + c) + 0.5f * b, 0.5f * (a + c) - 0.5f * b, c};
}
/// Along one axis, to two outputs.
PLIMSOLL_HD constexpr Two to_outputs(float a, float b, float c, float d) { return {a + b + c, b - c - d}; }
/// Adjoint of to_outputs.
PLIMSOLL_HD constexpr Four of_output_gradient(float a, float b) { return {a, a + b, a - b, -b}; }
/// Adjoint of of_weights.
PLIMSOLL_HD constexpr Three to_weight_gradient(float a, float b, float c, float d) {
    return {a + 0.5f * (b + c), 0.5f * (b - c), 0.5f * (b + c) + d};
}

/// Pictures of one shape cut into tiles of 2 x 2 pixels, numbered through.
struct Tiling {
    Shape shape;

    [[nodiscard]] PLIMSOLL_HD constexpr int columns() const { return (shape.width + 1) / 2; }
    [[nodiscard]] PLIMSOLL_HD constexpr int rows() const { return (shape.height + 1) / 2; }
    [[nodiscard]] PLIMSOLL_HD constexpr std::int64_t of_picture() const {
        return std::int64_t{rows()} * columns();
    }
};

} // namespace plimsoll::inline PLIMSOLL_ABI::detail::winograd
