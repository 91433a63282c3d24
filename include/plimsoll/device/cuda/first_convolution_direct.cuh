#pragma once
/// \file
/// A network's first convolution by multiply-adds, in float32.

#include <plimsoll/device/cuda/first_convolution_tiles.cuh>
#include <plimsoll/device/cuda/launch.cuh>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail::first_convolution {

inline constexpr int weight_stride = filters_at_once + 4; ///< so that rows lie in different banks

/// Adds the products of a weight's place: 8 outputs, one below the other, of 8 filters.
struct Outputs {
    static constexpr int rows = 8;
    float sums[rows][of_thread] = {};

    /// \param of_filters the weights of 8 filters \param values of 8 outputs
    __device__ void add(const Pack<float, 4>* of_filters, const float* values) {
        const Pack<float, 4> a = of_filters[0], b = of_filters[1];
#pragma unroll
        for (int r = 0; r < rows; ++r)
#pragma unroll
            for (int f = 0; f < 4; ++f) {
                sums[r][f] += values[r] * a.values[f];
                sums[r][4 + f] += values[r] * b.values[f];
            }
    }
};

/// \param w (F, C, K, K) \param bias (F), or null \tparam Kernel of a window at every pixel, so that inputs
/// are shared from output to output; 0: any window
template <int Kernel>
__global__ void __launch_bounds__(threads, 2)
    forward(Geometry g, const float* x, const float* w, const float* bias, float* y, int tiles) {
    __shared__ float patch[most_patch];
    __shared__ Pack<float, 4> weights[most_depth * weight_stride / 4];
    __shared__ int offsets[most_depth];
    constexpr int rows = Outputs::rows;
    const int thread = static_cast<int>(threadIdx.x), depth = g.depth(), filters = g.output.channels;
    const int first_filter = static_cast<int>(blockIdx.y) * filters_at_once;
    for (int i = thread; i < depth * filters_at_once; i += threads) {
        const int filter = i / depth, d = i % depth;
        const bool there = first_filter + filter < filters;
        reinterpret_cast<float*>(weights)[d * weight_stride + filter] =
            there ? w[std::int64_t{first_filter} * depth + i] : 0.0f;
    }
    for (int d = thread; d < depth; d += threads) offsets[d] = g.offset(d);

    const int group = thread % (filters_at_once / of_thread), place = thread / (filters_at_once / of_thread);
    const int column = place % tile_columns, row = place / tile_columns * rows;
    const int filter = first_filter + group * of_thread;
    float biases[of_thread];
    load_biases(biases, bias, filter, filters);
    const float* corner = patch + row * g.step_down() + column * g.step_across();
    const Pack<float, 4>* of_filters = weights + group * of_thread / 4;
    const int down = g.step_down();
    const auto as_it_is = [](float value) { return value; };
    Tiles::in_turn(tiles).for_each(g, x, patch, as_it_is, [&](const Tile& tile) {
        Outputs outputs;
        if constexpr (Kernel > 0) {
            for (int c = 0; c < g.input.channels; ++c)
#pragma unroll
                for (int across = 0; across < Kernel; ++across) {
                    float values[rows + Kernel - 1];
#pragma unroll
                    for (int r = 0; r < rows + Kernel - 1; ++r)
                        values[r] = corner[r * down + across * g.input.channels + c];
#pragma unroll
                    for (int k = 0; k < Kernel; ++k)
                        outputs.add(of_filters + ((c * Kernel + k) * Kernel + across) * weight_stride / 4,
                                    values + k);
                }
        } else {
            for (int d = 0; d < depth; ++d) {
                float values[rows];
#pragma unroll
                for (int r = 0; r < rows; ++r) values[r] = corner[offsets[d] + r * down];
                outputs.add(of_filters + d * weight_stride / 4, values);
            }
        }

        const int left = tile.column + column;
#pragma unroll
        for (int r = 0; r < rows; ++r) {
            if (left >= g.output.width || tile.row + row + r >= g.output.height) break;
            store_eight(y + g.output_at(tile.image, tile.row + row + r, left) + filter, filters - filter,
                        g.packs(), [&](int f) { return outputs.sums[r][f] + biases[f]; });
        }
    });
}

/// A chunk's sums into sums (chunks, depth + 1, F), the last row those of the bias: a thread has up to
/// `OfThread` weights of 8 filters, a warp every 8th row of a tile, 8 outputs of it after each other.
template <int OfThread>
__global__ void __launch_bounds__(threads)
    weight_gradient(Geometry g, const float* x, const float* dy, int tiles, float* sums) {
    constexpr int groups = filters_at_once / of_thread, places = 32 / groups;
    __shared__ float patch[most_patch];
    __shared__ Pack<float, 4> gradients[warps][places][filters_at_once / 4];
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
    const int group = lane % groups, place = lane / groups; // of filters; of weights, and of outputs read
    const int depth = g.depth(), filters = g.output.channels;
    const int filter = static_cast<int>(blockIdx.y) * filters_at_once + group * of_thread;
    int offsets[OfThread];
#pragma unroll
    for (int d = 0; d < OfThread; ++d)
        offsets[d] = d * places + place < depth ? g.offset(d * places + place) : 0;
    float some[OfThread][of_thread] = {};

    const auto as_it_is = [](float value) { return value; };
    Tiles::of_chunk(tiles).for_each(g, x, patch, as_it_is, [&](const Tile& tile) {
        const int columns = tile.columns(g);
        for (int row = warp; row < tile_rows && tile.row + row < g.output.height; row += warps) {
            const float* from = dy + g.output_at(tile.image, tile.row + row, tile.column) + filter;
            const float* corner = patch + row * g.step_down();
            float next[of_thread];
            const auto fetch = [&](int column) {
                load_eight(next, from + std::int64_t{column} * filters,
                           column < columns ? filters - filter : 0, g.packs());
            };
            fetch(place);
            for (int column = 0; column < columns; column += places) {
                __syncwarp();
                for (int part = 0; part < 2; ++part)
                    gradients[warp][place][group * 2 + part] = {
                        {next[4 * part], next[4 * part + 1], next[4 * part + 2], next[4 * part + 3]}};
                __syncwarp();
                fetch(column + places + place);
#pragma unroll
                for (int p = 0; p < places; ++p) {
                    if (column + p >= columns) break;
                    const float* at = corner + (column + p) * g.step_across();
                    const Pack<float, 4> a = gradients[warp][p][group * 2],
                                         b = gradients[warp][p][group * 2 + 1];
#pragma unroll
                    for (int d = 0; d < OfThread; ++d) {
                        const float value = d * places + place == depth ? 1.0f : at[offsets[d]];
#pragma unroll
                        for (int f = 0; f < 4; ++f) {
                            some[d][f] += value * a.values[f];
                            some[d][4 + f] += value * b.values[f];
                        }
                    }
                }
            }
        }
    });

    float* total = patch;
    static_assert((most_depth + 1) * filters_at_once <= most_patch);
    in_warps_order([&](int turn) {
#pragma unroll
        for (int d = 0; d < OfThread; ++d) {
            if (d * places + place > depth) continue;
            float* to = total + (d * places + place) * filters_at_once + group * of_thread;
#pragma unroll
            for (int f = 0; f < of_thread; ++f) to[f] = turn == 0 ? some[d][f] : to[f] + some[d][f];
        }
    });
    write_chunk(g, total, sums);
}

} // namespace detail::first_convolution

} // namespace plimsoll::inline PLIMSOLL_ABI
