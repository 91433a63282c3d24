#pragma once
/// \file
/// A network's first convolution by tensor cores. The matrix of inputs that each output's window sees is
/// never made: lanes pick its elements from the patch.

#include <plimsoll/device/cuda/first_convolution_tiles.cuh>
#include <plimsoll/device/cuda/launch.cuh>
#include <plimsoll/device/cuda/warp_product.cuh>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail::first_convolution {

/// Factors of products: 16-bit numbers as they are, floats rounded to TF32. Of infinity and NaN the units
/// leave bits out themselves; rounded, a GPU's own NaN, which is all ones, would be 0.
template <class T>
__device__ T factor(T value) {
    return value;
}
template <>
__device__ inline float factor<float>(float value) {
    const std::uint32_t bits = bits_as<std::uint32_t>(value);
    return (bits & 0x7f800000u) == 0x7f800000u ? value : bits_as<float>((bits + 0x1000u) & ~0x1fffu);
}
/// Numbers beside each other along the depth, in a word of a WarpProduct; of floats the first alone.
template <class T>
__device__ std::uint32_t word_of(T first, T second) {
    if constexpr (sizeof(T) == 2)
        return first.bits | static_cast<std::uint32_t>(second.bits) << 16;
    else
        return bits_as<std::uint32_t>(first);
}

/// A warp has 16 outputs of a row at once, of 32 filters. \param w (F, C, K, K) \param bias (F), or null
/// \tparam Sixteens that cover a filter's weights
template <class T, int Sixteens>
__global__ void __launch_bounds__(threads, 2)
    forward_by_products(Geometry g, const T* x, const float* w, const float* bias, T* y, int tiles) {
    using Product = WarpProduct<T>;
    constexpr int steps = 16 * Sixteens / Product::depth, filter_tiles = filters_at_once / 8;
    constexpr int at_once = 16, in_row = tile_columns / at_once;
    __shared__ T patch[most_patch];
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
    const int row = lane / 4, pair = lane % 4, depth = g.depth(), filters = g.output.channels;
    const int first_filter = static_cast<int>(blockIdx.y) * filters_at_once;

    // Columns of products stand for filters so that a lane's results are of filters side by side.
    int offsets[steps][2][2];
    std::uint32_t weights[steps][filter_tiles][2];
#pragma unroll
    for (int s = 0; s < steps; ++s)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int d = s * Product::depth + Product::place(pair, half);
#pragma unroll
            for (int k = 0; k < 2; ++k)
                offsets[s][half][k] = d + k < depth ? g.offset(d + k) : 0; // then the weight is 0
#pragma unroll
            for (int j = 0; j < filter_tiles; ++j) {
                const int filter = first_filter + row / 2 * of_thread + 2 * j + row % 2;
                T of_filter[2];
#pragma unroll
                for (int k = 0; k < 2; ++k)
                    of_filter[k] = factor(stored<T>(
                        filter < filters && d + k < depth ? w[std::int64_t{filter} * depth + d + k] : 0.0f));
                weights[s][j][half] = word_of(of_filter[0], of_filter[1]);
            }
        }
    const int filter = first_filter + pair * of_thread;
    float biases[of_thread];
    load_biases(biases, bias, filter, filters);

    const auto as_factor = [](T value) { return factor(value); };
    Tiles::in_turn(tiles).for_each(g, x, patch, as_factor, [&](const Tile& tile) {
        for (int part = warp; part < tile_rows * in_row; part += warps) {
            const int top = part / in_row, left = part % in_row * at_once + row;
            if (tile.row + top >= g.output.height) break;
            const T* corners[2]; // of the windows of two outputs
#pragma unroll
            for (int i = 0; i < 2; ++i)
                corners[i] = patch + top * g.step_down() + (left + 8 * i) * g.step_across();
            float sums[filter_tiles][4] = {};
#pragma unroll
            for (int s = 0; s < steps; ++s) {
                std::uint32_t inputs[4];
#pragma unroll
                for (int r = 0; r < 4; ++r) {
                    const T* at = corners[r % 2];
                    const int(&of_word)[2] = offsets[s][r / 2];
                    inputs[r] = word_of(at[of_word[0]], Product::pairs ? at[of_word[1]] : T{});
                }
#pragma unroll
                for (int j = 0; j < filter_tiles; ++j) Product::multiply_add(sums[j], inputs, weights[s][j]);
            }
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                const int column = tile.column + left + 8 * i;
                if (column >= g.output.width) continue;
                store_eight(y + g.output_at(tile.image, tile.row + top, column) + filter, filters - filter,
                            g.packs(), [&](int f) { return sums[f / 2][2 * i + f % 2] + biases[f]; });
            }
        }
    });
}

/// A chunk's sums into sums (chunks, depth + 1, F), the last row those of the bias: a warp has every 8th row
/// of a tile, and of it as many outputs at once as a product is deep. \tparam Sixteens that cover a filter's
/// weights and its bias
template <class T, int Sixteens>
__global__ void __launch_bounds__(threads, 2)
    weight_gradient_by_products(Geometry g, const T* x, const T* dy, int tiles, float* sums) {
    using Product = WarpProduct<T>;
    using Piece = Pack<T, wide<T>>;
    constexpr int at_once = Product::depth, filter_tiles = filters_at_once / 8;
    constexpr int pieces = filters_at_once / wide<T>; // of an output's gradients
    constexpr int stride = filters_at_once + 8;       // so that outputs lie in different banks
    constexpr int of_lane = at_once * pieces / 32;    // pieces that a lane brings
    __shared__ union {
        T inputs[most_patch];
        float total[(most_depth + 1) * filters_at_once];
    } patch;
    __shared__ Piece gradients[warps][at_once * stride / wide<T>];
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
    const int row = lane / 4, pair = lane % 4, depth = g.depth(), filters = g.output.channels;
    const int first_filter = static_cast<int>(blockIdx.y) * filters_at_once;
    const T one = stored<T>(1.0f);
    int offsets[Sixteens][2];
#pragma unroll
    for (int m = 0; m < Sixteens; ++m)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            const int d = 16 * m + row + 8 * i;
            offsets[m][i] = d < depth ? g.offset(d) : 0;
        }
    float some[Sixteens][filter_tiles][4] = {};

    const auto as_factor = [](T value) { return factor(value); };
    Tiles::of_chunk(tiles).for_each(g, x, patch.inputs, as_factor, [&](const Tile& tile) {
        const int columns = tile.columns(g);
        for (int top = warp; top < tile_rows && tile.row + top < g.output.height; top += warps) {
            const T* from = dy + g.output_at(tile.image, tile.row + top, tile.column) + first_filter;
            const T* line = patch.inputs + top * g.step_down();
            Piece next[of_lane];
            const auto fetch = [&](int column) {
#pragma unroll
                for (int i = 0; i < of_lane; ++i) {
                    const int output = column + (i * 32 + lane) / pieces;
                    const int filter = (i * 32 + lane) % pieces * wide<T>;
                    next[i] = {};
                    if (output >= columns || first_filter + filter >= filters) continue;
                    const T* of_output = from + std::int64_t{output} * filters + filter;
                    if (g.packs()) {
                        next[i] = *reinterpret_cast<const Piece*>(of_output);
                    } else {
#pragma unroll
                        for (int k = 0; k < wide<T>; ++k)
                            if (first_filter + filter + k < filters) next[i].values[k] = of_output[k];
                    }
                }
            };
            fetch(0);
            for (int column = 0; column < columns; column += at_once) {
                __syncwarp();
#pragma unroll
                for (int i = 0; i < of_lane; ++i) {
                    const int piece = i * 32 + lane;
                    Piece ready = next[i];
#pragma unroll
                    for (int k = 0; k < wide<T>; ++k) ready.values[k] = factor(ready.values[k]);
                    gradients[warp][piece / pieces * (stride / wide<T>)+piece % pieces] = ready;
                }
                __syncwarp();
                fetch(column + at_once);
                // Columns of products stand for filters so that a lane reads those of four side by side.
                std::uint32_t of_outputs[filter_tiles][2];
                const T* staged = reinterpret_cast<const T*>(gradients[warp]) + row * filter_tiles;
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    using Four = Pack<T, filter_tiles>;
                    const int output = Product::place(pair, half);
                    const Four a = *reinterpret_cast<const Four*>(staged + output * stride);
                    Four b{};
                    if constexpr (Product::pairs)
                        b = *reinterpret_cast<const Four*>(staged + (output + 1) * stride);
#pragma unroll
                    for (int j = 0; j < filter_tiles; ++j)
                        of_outputs[j][half] = word_of(a.values[j], b.values[j]);
                }
#pragma unroll
                for (int m = 0; m < Sixteens; ++m) {
                    std::uint32_t inputs[4];
#pragma unroll
                    for (int r = 0; r < 4; ++r) {
                        const bool of_bias = 16 * m + row + 8 * (r % 2) == depth;
                        T values[2];
#pragma unroll
                        for (int k = 0; k < 2; ++k) {
                            const int output = column + Product::place(pair, r / 2) + k;
                            values[k] = of_bias ? one : line[output * g.step_across() + offsets[m][r % 2]];
                            if (!Product::pairs) break;
                        }
                        inputs[r] = word_of(values[0], Product::pairs ? values[1] : T{});
                    }
#pragma unroll
                    for (int j = 0; j < filter_tiles; ++j)
                        Product::multiply_add(some[m][j], inputs, of_outputs[j]);
                }
            }
        }
    });

    in_warps_order([&](int turn) {
#pragma unroll
        for (int m = 0; m < Sixteens; ++m)
#pragma unroll
            for (int j = 0; j < filter_tiles; ++j)
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    const int d = 16 * m + row + 8 * (i / 2);
                    if (d > depth) continue;
                    const int filter = (2 * pair + i % 2) * filter_tiles + j;
                    float& to = patch.total[d * filters_at_once + filter];
                    to = turn == 0 ? some[m][j][i] : to + some[m][j][i];
                }
    });
    write_chunk(g, patch.total, sums);
}

} // namespace detail::first_convolution

} // namespace plimsoll::inline PLIMSOLL_ABI
