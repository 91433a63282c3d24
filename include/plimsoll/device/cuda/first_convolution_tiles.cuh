#pragma once
/// \file
/// How a network's first convolution is cut for a GPU: blocks of outputs and the pixels that they read.

#include <plimsoll/core/shape.hpp>
#include <plimsoll/device/cuda/numbers.cuh>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail::first_convolution {

inline constexpr int threads = 256, warps = threads / 32;
inline constexpr int filters_at_once = 32, of_thread = 8; ///< of a block; side by side in a thread
inline constexpr int tile_rows = 16, tile_columns = 32;   ///< of outputs, a block's
inline constexpr int most_depth = 63;                     ///< weights of a filter
inline constexpr int most_patch = 8192;                   ///< elements of the inputs that a tile reads
inline constexpr int most_chunks = 1024;                  ///< that a weight gradient is summed in

/// The shapes, as device code reads them.
struct Geometry {
    Shape input, output;
    Window window;

    PLIMSOLL_HD constexpr int area() const { return window.kernel * window.kernel; }
    PLIMSOLL_HD constexpr int depth() const { return area() * input.channels; }
    /// Of the inputs of a tile.
    PLIMSOLL_HD constexpr int patch_rows() const { return (tile_rows - 1) * window.stride + window.kernel; }
    /// Elements of such a row.
    PLIMSOLL_HD constexpr int patch_columns() const {
        return ((tile_columns - 1) * window.stride + window.kernel) * input.channels;
    }
    /// Elements from row to row of a patch: so many that a window's lie in different banks.
    PLIMSOLL_HD constexpr int patch_stride() const {
        const int wanted = window.kernel * input.channels % 32, least = patch_columns();
        return least + (wanted - least % 32 + 32) % 32;
    }
    PLIMSOLL_HD constexpr int tiles_across() const {
        return (output.width + tile_columns - 1) / tile_columns;
    }
    PLIMSOLL_HD constexpr int tiles_down() const { return (output.height + tile_rows - 1) / tile_rows; }
    PLIMSOLL_HD constexpr int tiles() const { return tiles_across() * tiles_down(); } ///< of a picture

    /// Where in a patch lies what a weight (C, K, K) of an output is multiplied by, from the output's corner.
    __device__ int offset(int weight) const {
        const int channel = weight / area(), tap = weight % area();
        return tap / window.kernel * patch_stride() + tap % window.kernel * input.channels + channel;
    }
    /// Elements of y (N, H', W', F) before an output's first filter.
    __device__ std::int64_t output_at(int image, int row, int column) const {
        return ((std::int64_t{image} * output.height + row) * output.width + column) * output.channels;
    }
    /// Whether filters lie in whole packs of a thread's.
    __device__ bool packs() const { return output.channels % of_thread == 0; }
    /// From output to output.
    __device__ int step_across() const { return window.stride * input.channels; }
    __device__ int step_down() const { return window.stride * patch_stride(); }
};

/// A block's outputs.
struct Tile {
    int image, row, column;
    __device__ Tile(const Geometry& g, int number) {
        image = number / g.tiles();
        const int within = number % g.tiles();
        row = within / g.tiles_across() * tile_rows;
        column = within % g.tiles_across() * tile_columns;
    }
    /// Of a tile at the picture's edge, those inside.
    __device__ int columns(const Geometry& g) const {
        const int rest = g.output.width - column;
        return rest < tile_columns ? rest : tile_columns;
    }
};

/// The inputs of a tile, zeros beyond the picture: a thread has several on their way at once.
/// \param as turns a stored number into what the patch holds
template <class T, class As>
__device__ void load_patch(const Geometry& g, const T* x, const Tile& tile, T* patch, As as) {
    constexpr int at_once = 8;
    const int top = tile.row * g.window.stride - g.window.padding;
    const int left = (tile.column * g.window.stride - g.window.padding) * g.input.channels;
    const int row_elements = g.input.width * g.input.channels;
    const int columns = g.patch_columns(), stride = g.patch_stride(), all = g.patch_rows() * columns;
    const T* picture = x + std::int64_t{tile.image} * g.input.height * row_elements; // (H, W, C)
    for (int first = static_cast<int>(threadIdx.x); first < all; first += at_once * threads) {
        T values[at_once];
        int places[at_once];
#pragma unroll
        for (int k = 0; k < at_once; ++k) {
            const Quotient at = divide(first + k * threads, columns);
            const int row = top + static_cast<int>(at.quotient), element = left + at.remainder;
            const bool inside = first + k * threads < all && row >= 0 && row < g.input.height &&
                                element >= 0 && element < row_elements;
            places[k] = static_cast<int>(at.quotient) * stride + at.remainder;
            values[k] = inside ? picture[std::int64_t{row} * row_elements + element] : T{};
        }
#pragma unroll
        for (int k = 0; k < at_once; ++k)
            if (first + k * threads < all) patch[places[k]] = as(values[k]);
    }
}

/// Of a thread's filters, as far as there are any. \param bias (F), or null
__device__ inline void load_biases(float (&to)[of_thread], const float* bias, int filter, int filters) {
#pragma unroll
    for (int f = 0; f < of_thread; ++f)
        to[f] = bias != nullptr && filter + f < filters ? bias[filter + f] : 0.0f;
}

/// Which tiles a block takes.
struct Tiles {
    int first, end, step;

    /// A chunk, side by side: what is summed over it depends on the number of chunks alone.
    __device__ static Tiles of_chunk(int tiles) {
        return {static_cast<int>(std::int64_t{tiles} * blockIdx.x / gridDim.x),
                static_cast<int>(std::int64_t{tiles} * (blockIdx.x + 1) / gridDim.x), 1};
    }
    /// Every so many-th, for as many blocks as there are.
    __device__ static Tiles in_turn(int tiles) {
        return {static_cast<int>(blockIdx.x), tiles, static_cast<int>(gridDim.x)};
    }
    /// Calls f(tile), the tile's inputs in the patch. \param as of load_patch
    template <class T, class As, class F>
    __device__ void for_each(const Geometry& g, const T* x, T* patch, As as, F f) const {
        for (int number = first; number < end; number += step) {
            const Tile tile(g, number);
            __syncthreads(); // the tile before may still be read
            load_patch(g, x, tile, patch, as);
            __syncthreads();
            f(tile);
        }
    }
};

/// Calls f(turn) for every warp's turn, one after the other, to add up what warps have; all have come then.
template <class F>
__device__ void in_warps_order(F f) {
    for (int turn = 0; turn < warps; ++turn) {
        __syncthreads();
        if (static_cast<int>(threadIdx.x) / 32 == turn) f(turn);
    }
    __syncthreads();
}

/// A block's sums (depth + 1, 32) to where its chunk's are in sums (chunks, depth + 1, F).
__device__ inline void write_chunk(const Geometry& g, const float* total, float* sums) {
    const int rows = g.depth() + 1, filters = g.output.channels;
    const int first_filter = static_cast<int>(blockIdx.y) * filters_at_once;
    for (int i = static_cast<int>(threadIdx.x); i < rows * filters_at_once; i += threads) {
        const int d = i / filters_at_once, f = first_filter + i % filters_at_once;
        if (f < filters) sums[(std::int64_t{blockIdx.x} * rows + d) * filters + f] = total[i];
    }
}

} // namespace detail::first_convolution

} // namespace plimsoll::inline PLIMSOLL_ABI
