#pragma once
/// \file
/// Sums over the rows of a matrix, column by column: fixed chunks, combined in order and in double, so that a
/// result repeats bit for bit.

#include <plimsoll/core/units.hpp>
#include <plimsoll/device/cuda/cuda.cuh>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

inline constexpr int sum_threads = 256; ///< of a block
inline constexpr int sum_at_once = 16; ///< rows that a thread adds up in float: doubles are slow on most GPUs
inline constexpr int most_chunks = 256;

/// Bytes of workspace for `values` sums of each column.
constexpr std::int64_t column_sums_bytes(int values, std::int64_t columns) {
    return aligned(std::int64_t{most_chunks} * values * columns * static_cast<std::int64_t>(sizeof(double)));
}

/// A chunk's sums into sums (chunks, Values, columns). Threads stand in rows of `across`, each with `Width`
/// columns side by side. \tparam Map map(row, first column, float (&out)[Values][Width])
template <int Values, int Width, class Map>
__global__ void __launch_bounds__(sum_threads)
    sum_chunk(Map map, std::int64_t rows, int columns, int across, double* sums) {
    __shared__ double tile[Values * Width][sum_threads];
    const int thread = static_cast<int>(threadIdx.x), down = sum_threads / across;
    const int x = thread % across, y = thread / across;
    const int column = (static_cast<int>(blockIdx.y) * across + x) * Width;
    const std::int64_t first = rows * blockIdx.x / gridDim.x, end = rows * (blockIdx.x + 1) / gridDim.x;
    double total[Values][Width] = {};
    if (column < columns)
        for (std::int64_t from = first + y; from < end; from += sum_at_once * down) {
            float some[Values][Width] = {};
#pragma unroll 4
            for (int i = 0; i < sum_at_once; ++i) {
                const std::int64_t row = from + std::int64_t{i} * down;
                if (row >= end) break;
                float values[Values][Width];
                map(row, column, values);
#pragma unroll
                for (int v = 0; v < Values; ++v)
#pragma unroll
                    for (int k = 0; k < Width; ++k) some[v][k] += values[v][k];
            }
#pragma unroll
            for (int v = 0; v < Values; ++v)
#pragma unroll
                for (int k = 0; k < Width; ++k) total[v][k] += some[v][k];
        }
#pragma unroll
    for (int v = 0; v < Values; ++v)
#pragma unroll
        for (int k = 0; k < Width; ++k) tile[v * Width + k][thread] = total[v][k];
    __syncthreads();
    // Each of the block's sums by one thread.
    for (int i = thread; i < Values * Width * across; i += sum_threads) {
        const int of_x = i % across, value = i / across;
        const int of_column = (static_cast<int>(blockIdx.y) * across + of_x) * Width + value % Width;
        if (of_column >= columns) continue;
        double sum = 0;
        for (int row = 0; row < down; ++row) sum += tile[value][row * across + of_x];
        sums[(std::int64_t{blockIdx.x} * Values + value / Width) * columns + of_column] = sum;
    }
}

/// finish(column, totals) for every column.
template <int Values, class Finish>
__global__ void __launch_bounds__(sum_threads)
    finish_columns(Finish finish, const double* sums, int chunks, int columns) {
    constexpr int across = 8, down = sum_threads / across;
    __shared__ double tile[Values][down][across];
    const int x = static_cast<int>(threadIdx.x) % across, y = static_cast<int>(threadIdx.x) / across;
    const int column = static_cast<int>(blockIdx.x) * across + x;
    double some[Values] = {};
    for (int chunk = y; chunk < chunks && column < columns; chunk += down)
#pragma unroll
        for (int v = 0; v < Values; ++v)
            some[v] += sums[(std::int64_t{chunk} * Values + v) * columns + column];
#pragma unroll
    for (int v = 0; v < Values; ++v) tile[v][y][x] = some[v];
    __syncthreads();
    if (y > 0 || column >= columns) return;
    double totals[Values] = {};
    for (int row = 0; row < down; ++row)
#pragma unroll
        for (int v = 0; v < Values; ++v) totals[v] += tile[v][row][x];
    finish(column, totals);
}

/// \tparam T what the map reads \param packs whether columns lie in whole packs, well aligned
/// \param workspace column_sums_bytes(Values, columns) \param finish finish(column, const double
/// (&totals)[Values])
template <int Values, class T, class Map, class Finish>
void sum_columns_of(const Cuda& device, std::int64_t rows, int columns, bool packs, const Map& map,
                    const Finish& finish, void* workspace, std::string_view what) {
    auto* sums = static_cast<double*>(workspace);
    int chunks = 0;
    for_width<T>(packs, [&](auto width) {
        constexpr int w = decltype(width)::value;
        int across = 1;
        while (across < 32 && 2 * across * w <= columns) across *= 2;
        const std::int64_t wanted = rows / (2 * sum_threads / across);
        chunks = wanted < 1 ? 1 : wanted > most_chunks ? most_chunks : static_cast<int>(wanted);
        const dim3 blocks(static_cast<unsigned>(chunks),
                          static_cast<unsigned>((columns + across * w - 1) / (across * w)));
        launch(sum_chunk<Values, w, Map>, blocks, dim3(sum_threads), device.stream(), what, map, rows,
               columns, across, sums);
    });
    launch(finish_columns<Values, Finish>, dim3(static_cast<unsigned>((columns + 7) / 8)), dim3(sum_threads),
           device.stream(), what, finish, static_cast<const double*>(sums), chunks, columns);
}

/// A matrix's elements (rows, columns).
template <class T>
struct Elements {
    const T* data;
    int columns;
    template <int Width>
    __device__ void operator()(std::int64_t row, int column, float (&out)[1][Width]) const {
        load_pack(out[0], data + row * columns + column);
    }
};
/// Into a gradient.
struct ToGradient {
    float* gradient;
    bool add;
    __device__ void operator()(int column, const double (&totals)[1]) const {
        const double before = add ? static_cast<double>(gradient[column]) : 0.0;
        gradient[column] = static_cast<float>(before + totals[0]);
    }
};

/// The gradient of a bias: dy (rows, columns) summed over its rows.
template <class T>
void bias_gradient(const Cuda& device, const T* dy, std::int64_t rows, int columns, float* gradient, bool add,
                   void* workspace) {
    sum_columns_of<1, T>(device, rows, columns, columns % wide<T> == 0 && is_aligned(dy, 16),
                         Elements<T>{dy, columns}, ToGradient{gradient, add}, workspace, "a bias's gradient");
}

} // namespace detail

} // namespace plimsoll::inline PLIMSOLL_ABI
