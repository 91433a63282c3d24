#pragma once
/// \file
/// The transforms of Winograd's algorithm, many channels at once.

#include <plimsoll/device/host/conversion.hpp>
#include <plimsoll/device/winograd.hpp>

#include <cstdint>

namespace plimsoll::inline PLIMSOLL_ABI::detail::winograd {

inline constexpr int at_once = 16; ///< channels that a transform takes at once

/// Pixels of a channels-last picture. \tparam T of what is stored
template <class T>
struct Pixels {
    T* data;
    std::int64_t row, pixel; ///< elements from row to row, from pixel to pixel
};

/// Elements of a tile: each lies in a matrix (tiles, channels) of its own. With `turned`, those of windows
/// turned by 180 degrees: the same numbers with the first and the last row, and column, exchanged.
template <class T>
struct Tile {
    T* data;
    std::int64_t matrix; ///< elements from matrix to matrix
    bool turned = false;

    [[nodiscard]] std::int64_t first() const { return turned ? 3 * matrix : 0; }
    [[nodiscard]] std::int64_t last() const { return turned ? 0 : 3 * matrix; }
};

// What follows computes in floats. It is called in loops over channels that the compiler must turn into
// vectors: no lambda, no array of pointers.

/// A column of pixels.
template <class T>
[[gnu::always_inline]] inline Four load_column(const T* at, std::int64_t row) {
    return of_input(to_float(at[0]), to_float(at[row]), to_float(at[2 * row]), to_float(at[3 * row]));
}
/// A row of elements.
[[gnu::always_inline]] inline void store_row(float* at, std::int64_t first, std::int64_t matrix,
                                             std::int64_t last, Four four) {
    at[first] = four.a;
    at[matrix] = four.b;
    at[2 * matrix] = four.c;
    at[last] = four.d;
}
/// A column of elements.
[[gnu::always_inline]] inline Two add_column(const float* at, std::int64_t first, std::int64_t matrix,
                                             std::int64_t last) {
    return to_outputs(at[4 * first], at[4 * matrix], at[8 * matrix], at[4 * last]);
}

/// at_once channels of 4 x 4 pixels to the elements of a tile.
template <class T>
[[gnu::always_inline]] inline void transform_input(const Pixels<const T> x, const Tile<float> tile) {
    const T* __restrict in = x.data;
    float* __restrict out = tile.data;
    const std::int64_t row = x.row, pixel = x.pixel;
    const std::int64_t matrix = tile.matrix, first = tile.first(), last = tile.last();
    PLIMSOLL_SIMD
    for (int c = 0; c < at_once; ++c) {
        const Four p = load_column(in + c, row), q = load_column(in + pixel + c, row);
        const Four r = load_column(in + 2 * pixel + c, row), s = load_column(in + 3 * pixel + c, row);
        store_row(out + 4 * first + c, first, matrix, last, of_input(p.a, q.a, r.a, s.a));
        store_row(out + 4 * matrix + c, first, matrix, last, of_input(p.b, q.b, r.b, s.b));
        store_row(out + 8 * matrix + c, first, matrix, last, of_input(p.c, q.c, r.c, s.c));
        store_row(out + 4 * last + c, first, matrix, last, of_input(p.d, q.d, r.d, s.d));
    }
}

/// at_once channels of the elements of a tile to 2 x 2 pixels.
/// \param bias (at_once)
[[gnu::always_inline]] inline void transform_to_outputs(const Tile<const float> tile, const float* bias,
                                                        const Pixels<float> y) {
    const float* __restrict in = tile.data, * __restrict more = bias;
    float* __restrict out = y.data;
    const std::int64_t row = y.row, pixel = y.pixel;
    const std::int64_t matrix = tile.matrix, first = tile.first(), last = tile.last();
    PLIMSOLL_SIMD
    for (int c = 0; c < at_once; ++c) {
        const Two p = add_column(in + first + c, first, matrix, last);
        const Two q = add_column(in + matrix + c, first, matrix, last);
        const Two r = add_column(in + 2 * matrix + c, first, matrix, last);
        const Two s = add_column(in + last + c, first, matrix, last);
        const Two above = to_outputs(p.a, q.a, r.a, s.a), below = to_outputs(p.b, q.b, r.b, s.b);
        out[c] = above.a + more[c];
        out[pixel + c] = above.b + more[c];
        out[row + c] = below.a + more[c];
        out[row + pixel + c] = below.b + more[c];
    }
}

/// at_once channels of the gradients of 2 x 2 outputs to the elements of a tile.
template <class T>
[[gnu::always_inline]] inline void transform_output_gradient(const Pixels<const T> dy,
                                                             const Tile<float> tile) {
    const T* __restrict in = dy.data;
    float* __restrict out = tile.data;
    const std::int64_t row = dy.row, pixel = dy.pixel;
    const std::int64_t matrix = tile.matrix, first = tile.first(), last = tile.last();
    PLIMSOLL_SIMD
    for (int c = 0; c < at_once; ++c) {
        const Four p = of_output_gradient(to_float(in[c]), to_float(in[row + c]));
        const Four q = of_output_gradient(to_float(in[pixel + c]), to_float(in[row + pixel + c]));
        store_row(out + 4 * first + c, first, matrix, last, of_output_gradient(p.a, q.a));
        store_row(out + 4 * matrix + c, first, matrix, last, of_output_gradient(p.b, q.b));
        store_row(out + 8 * matrix + c, first, matrix, last, of_output_gradient(p.c, q.c));
        store_row(out + 4 * last + c, first, matrix, last, of_output_gradient(p.d, q.d));
    }
}

// The same to and from 16 bits, by way of floats in local memory.

/// \param made (4 x 4, at_once)
[[gnu::always_inline]] inline void store_tile(const float* made, const Tile<bfloat16> tile) {
    const std::int64_t at[] = {tile.first(), tile.matrix, 2 * tile.matrix, tile.last()};
    for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 4; ++j)
            convert(made + (4 * i + j) * at_once, tile.data + 4 * at[i] + at[j], at_once);
}
template <class T>
[[gnu::always_inline]] inline void transform_input(const Pixels<const T> x, const Tile<bfloat16> tile) {
    float made[elements * at_once];
    transform_input(x, Tile<float>{made, at_once});
    store_tile(made, tile);
}
template <class T>
[[gnu::always_inline]] inline void transform_output_gradient(const Pixels<const T> dy,
                                                             const Tile<bfloat16> tile) {
    float made[elements * at_once];
    transform_output_gradient(dy, Tile<float>{made, at_once});
    store_tile(made, tile);
}
[[gnu::always_inline]] inline void transform_to_outputs(const Tile<const float> tile, const float* bias,
                                                        const Pixels<bfloat16> y) {
    float made[4 * at_once]; // (2, 2, at_once)
    transform_to_outputs(tile, bias, Pixels<float>{made, 2 * at_once, at_once});
    convert(made, y.data, at_once);
    convert(made + at_once, y.data + y.pixel, at_once);
    convert(made + 2 * at_once, y.data + y.row, at_once);
    convert(made + 3 * at_once, y.data + y.row + y.pixel, at_once);
}

/// Weights of at_once windows of 3 x 3 to elements. \param w (3 x 3, at_once) \param to (4 x 4, at_once)
inline void transform_weights(const float (&w)[9][at_once], float* __restrict to) {
    PLIMSOLL_SIMD
    for (int f = 0; f < at_once; ++f) {
        const Four p = of_weights(w[0][f], w[3][f], w[6][f]), q = of_weights(w[1][f], w[4][f], w[7][f]);
        const Four r = of_weights(w[2][f], w[5][f], w[8][f]);
        store_row(to + f, 0, at_once, 3 * at_once, of_weights(p.a, q.a, r.a));
        store_row(to + 4 * at_once + f, 0, at_once, 3 * at_once, of_weights(p.b, q.b, r.b));
        store_row(to + 8 * at_once + f, 0, at_once, 3 * at_once, of_weights(p.c, q.c, r.c));
        store_row(to + 12 * at_once + f, 0, at_once, 3 * at_once, of_weights(p.d, q.d, r.d));
    }
}

/// Gradients of elements to those of the weights of at_once windows. \param from (4 x 4, at_once) \param dw
/// (3 x 3, at_once)
inline void transform_to_weight_gradient(const float (&from)[elements][at_once], float (&dw)[9][at_once]) {
    PLIMSOLL_SIMD
    for (int f = 0; f < at_once; ++f) {
        const Three p = to_weight_gradient(from[0][f], from[4][f], from[8][f], from[12][f]);
        const Three q = to_weight_gradient(from[1][f], from[5][f], from[9][f], from[13][f]);
        const Three r = to_weight_gradient(from[2][f], from[6][f], from[10][f], from[14][f]);
        const Three s = to_weight_gradient(from[3][f], from[7][f], from[11][f], from[15][f]);
        const Three above = to_weight_gradient(p.a, q.a, r.a, s.a);
        const Three middle = to_weight_gradient(p.b, q.b, r.b, s.b);
        const Three below = to_weight_gradient(p.c, q.c, r.c, s.c);
        dw[0][f] = above.a, dw[1][f] = above.b, dw[2][f] = above.c;
        dw[3][f] = middle.a, dw[4][f] = middle.b, dw[5][f] = middle.c;
        dw[6][f] = below.a, dw[7][f] = below.b, dw[8][f] = below.c;
    }
}

} // namespace plimsoll::inline PLIMSOLL_ABI::detail::winograd
