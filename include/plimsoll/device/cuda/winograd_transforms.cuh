#pragma once
/// \file
/// The transforms of Winograd's algorithm on a GPU, between channels-last pictures of floats and the matrices
/// of transformed tiles that are multiplied: a thread takes 4 channels of a tile.

#include <plimsoll/device/cuda/numbers.cuh>
#include <plimsoll/device/winograd.hpp>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail::winograd {

/// Channels of a tile that a thread transforms.
using Channels = Pack<float, 4>;

/// Some tiles that are multiplied together: element (i, j) of all of them is a matrix (room, channels).
struct TileBlock {
    Tiling tiling;
    std::int64_t first, count, room;

    /// \param i counts groups of 4 channels, tile by tile
    __device__ Place place(std::int64_t i, int channels) const {
        const int groups = channels / 4;
        return place_of(first * groups + i, tiling.rows(), tiling.columns(), groups, 4);
    }
};
/// Elements of a tile; with `turned` those of windows turned by 180 degrees: the same numbers with the first
/// and the last row, and column, exchanged.
struct TileElements {
    float* first; ///< of a group of 4 channels
    std::int64_t matrix;
    bool turned;

    __device__ Channels& at(int i, int j) const {
        const int row = turned && i % 3 == 0 ? 3 - i : i, column = turned && j % 3 == 0 ? 3 - j : j;
        return *reinterpret_cast<Channels*>(first + (4 * row + column) * matrix);
    }
    /// \param row_of row_of(channel, which): a row of elements
    template <class RowOf>
    __device__ void store_rows(RowOf row_of) const {
        constexpr float Four::*rows[] = {&Four::a, &Four::b, &Four::c, &Four::d};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            Channels out[4];
#pragma unroll
            for (int c = 0; c < 4; ++c) {
                const Four four = row_of(c, rows[i]);
                out[0].values[c] = four.a, out[1].values[c] = four.b;
                out[2].values[c] = four.c, out[3].values[c] = four.d;
            }
#pragma unroll
            for (int j = 0; j < 4; ++j) at(i, j) = out[j];
        }
    }
};

/// The 4 x 4 pixels around each tile, zeros beyond the picture, to the tile's elements.
struct FromPictures {
    const float* x;  // (N, H, W, C)
    float* matrices; // (4 x 4, room, C)
    Shape shape;
    TileBlock block;
    int before; ///< pixels by which patches begin before their tile
    bool turned;

    __device__ void operator()(std::int64_t i) const {
        const TileElements to{matrices + 4 * i, block.room * shape.channels, turned};
        Four columns[4][4]{}; // of a patch, of a channel: down the rows
        if (4 * i < block.count * shape.channels) {
            const Place at = block.place(i, shape.channels);
            const int top = 2 * at.y - before, left = 2 * at.x - before;
            const float* picture = x + at.image * shape.height * shape.width * shape.channels + at.channel;
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                Channels p[4];
#pragma unroll
                for (int k = 0; k < 4; ++k) {
                    const int row = top + k, column = left + j;
                    const bool inside = row >= 0 && row < shape.height && column >= 0 && column < shape.width;
                    p[k] = inside ? *reinterpret_cast<const Channels*>(
                                        picture + (std::int64_t{row} * shape.width + column) * shape.channels)
                                  : Channels{};
                }
#pragma unroll
                for (int c = 0; c < 4; ++c)
                    columns[j][c] = of_input(p[0].values[c], p[1].values[c], p[2].values[c], p[3].values[c]);
            }
        }
        to.store_rows([&](int c, float Four::*row) {
            return of_input(columns[0][c].*row, columns[1][c].*row, columns[2][c].*row, columns[3][c].*row);
        });
    }
};

/// Gradients of tiles' 2 x 2 pixels, zeros beyond the picture, to gradients of their elements.
struct FromOutputGradients {
    const float* dy; // (N, H, W, C)
    float* matrices; // (4 x 4, room, C)
    TileBlock block;

    __device__ void operator()(std::int64_t i) const {
        const Shape shape = block.tiling.shape;
        const TileElements to{matrices + 4 * i, block.room * shape.channels, false};
        Four columns[2][4]{}; // of a tile, of a channel: down the rows
        if (4 * i < block.count * shape.channels) {
            const Place at = block.place(i, shape.channels);
            const int row = 2 * at.y, column = 2 * at.x;
            const float* corner =
                dy + ((at.image * shape.height + row) * shape.width + column) * shape.channels + at.channel;
#pragma unroll
            for (int j = 0; j < 2; ++j) {
                if (column + j >= shape.width) break;
                const auto* from = reinterpret_cast<const Channels*>(corner + j * shape.channels);
                const Channels above = *from;
                const Channels below =
                    row + 1 < shape.height ? from[shape.width * shape.channels / 4] : Channels{};
#pragma unroll
                for (int c = 0; c < 4; ++c)
                    columns[j][c] = of_output_gradient(above.values[c], below.values[c]);
            }
        }
        to.store_rows([&](int c, float Four::*row) {
            return of_output_gradient(columns[0][c].*row, columns[1][c].*row);
        });
    }
};

/// Tiles' elements to their pixels.
struct ToPictures {
    float* matrices;   // (4 x 4, room, C)
    const float* bias; // (C), or null
    float* y;          // (N, H, W, C)
    TileBlock block;
    bool turned;

    __device__ void operator()(std::int64_t i) const {
        const Shape shape = block.tiling.shape;
        const TileElements from{matrices + 4 * i, block.room * shape.channels, turned};
        const Place at = block.place(i, shape.channels);
        Two columns[4][4]; // of elements, of a channel: down the rows
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            const Channels p = from.at(0, j), q = from.at(1, j), r = from.at(2, j), s = from.at(3, j);
#pragma unroll
            for (int c = 0; c < 4; ++c)
                columns[j][c] = to_outputs(p.values[c], q.values[c], r.values[c], s.values[c]);
        }
        Channels out[2][2];
#pragma unroll
        for (int c = 0; c < 4; ++c) {
            const float more = bias == nullptr ? 0.0f : bias[at.channel + c];
            const Two above = to_outputs(columns[0][c].a, columns[1][c].a, columns[2][c].a, columns[3][c].a);
            const Two below = to_outputs(columns[0][c].b, columns[1][c].b, columns[2][c].b, columns[3][c].b);
            out[0][0].values[c] = above.a + more, out[0][1].values[c] = above.b + more;
            out[1][0].values[c] = below.a + more, out[1][1].values[c] = below.b + more;
        }
#pragma unroll
        for (int k = 0; k < 2; ++k)
#pragma unroll
            for (int j = 0; j < 2; ++j) {
                const int row = 2 * at.y + k, column = 2 * at.x + j;
                if (row >= shape.height || column >= shape.width) continue;
                *reinterpret_cast<Channels*>(
                    y + ((at.image * shape.height + row) * shape.width + column) * shape.channels +
                    at.channel) = out[k][j];
            }
    }
};

/// Weights (F, C, 3, 3) to elements (4 x 4, C, F).
struct PackWeights {
    const float* weights;
    float* packed;
    int channels, filters;
    __device__ void operator()(std::int64_t i) const {
        const Quotient at = divide(i, filters); // of a channel, a filter
        const float* w = weights + 9 * (std::int64_t{at.remainder} * channels + at.quotient);
        const Four p = of_weights(w[0], w[3], w[6]), q = of_weights(w[1], w[4], w[7]),
                   r = of_weights(w[2], w[5], w[8]);
        const Four rows[] = {of_weights(p.a, q.a, r.a), of_weights(p.b, q.b, r.b), of_weights(p.c, q.c, r.c),
                             of_weights(p.d, q.d, r.d)};
        const std::int64_t matrix = std::int64_t{channels} * filters;
#pragma unroll
        for (int row = 0; row < 4; ++row) {
            float* to = packed + 4 * row * matrix + i;
            to[0] = rows[row].a, to[matrix] = rows[row].b;
            to[2 * matrix] = rows[row].c, to[3 * matrix] = rows[row].d;
        }
    }
};

/// Sums (4 x 4, parts, C, F) over parts, into the first of them.
struct AddParts {
    float* sums;
    std::int64_t matrix;
    int parts;
    __device__ void operator()(std::int64_t i) const {
        const std::int64_t element = i / matrix;
        float* first = sums + element * parts * matrix + (i - element * matrix);
        float sum = 0;
        for (int part = 0; part < parts; ++part) sum += first[part * matrix];
        *first = sum;
    }
};

/// Gradients of elements, in the first of the parts of (4 x 4, parts, C, F), to gradients (F, C, 3, 3).
struct UnpackWeightGradient {
    const float* sums;
    float* gradients;
    int channels, filters, parts;
    bool add;
    __device__ void operator()(std::int64_t i) const {
        const Quotient at = divide(i, filters); // of a channel, a filter
        const std::int64_t apart = std::int64_t{channels} * filters * parts;
        float e[elements];
#pragma unroll
        for (int element = 0; element < elements; ++element) e[element] = sums[element * apart + i];
        const Three p = to_weight_gradient(e[0], e[4], e[8], e[12]),
                    q = to_weight_gradient(e[1], e[5], e[9], e[13]),
                    r = to_weight_gradient(e[2], e[6], e[10], e[14]),
                    s = to_weight_gradient(e[3], e[7], e[11], e[15]);
        const Three rows[] = {to_weight_gradient(p.a, q.a, r.a, s.a), to_weight_gradient(p.b, q.b, r.b, s.b),
                              to_weight_gradient(p.c, q.c, r.c, s.c)};
        float* to = gradients + 9 * (std::int64_t{at.remainder} * channels + at.quotient);
#pragma unroll
        for (int row = 0; row < 3; ++row) {
            const float gradient[] = {rows[row].a, rows[row].b, rows[row].c};
#pragma unroll
            for (int column = 0; column < 3; ++column) {
                float& of_weight = to[3 * row + column];
                of_weight = gradient[column] + (add ? of_weight : 0.0f);
            }
        }
    }
};

} // namespace detail::winograd

} // namespace plimsoll::inline PLIMSOLL_ABI
