#pragma once
/// \file
/// Sums over the rows of a matrix, column by column: fixed chunks, combined in order and in double, so that a
/// result repeats bit for bit.

#include <plimsoll/core/units.hpp>
#include <plimsoll/device/cuda/cuda.cuh>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

inline constexpr int sum_columns = 32, sum_rows = 8; ///< of threads in a block
inline constexpr int most_chunks = 128;

/// Bytes of workspace for `values` sums of each column.
constexpr std::int64_t column_sums_bytes(int values, std::int64_t columns) {
    return aligned(std::int64_t{most_chunks} * values * columns * static_cast<std::int64_t>(sizeof(double)));
}

/// A chunk's sums into sums (chunks, Values, columns). \tparam Map map(row, column, float (&out)[Values])
template <int Values, class Map>
__global__ void __launch_bounds__(sum_columns* sum_rows)
    sum_chunk(Map map, std::int64_t rows, int columns, double* sums) {
    __shared__ double tile[Values][sum_rows][sum_columns];
    const int column = static_cast<int>(blockIdx.y) * sum_columns + static_cast<int>(threadIdx.x);
    const std::int64_t chunk = (rows + gridDim.x - 1) / gridDim.x;
    const std::int64_t first = chunk * blockIdx.x, end = first + chunk < rows ? first + chunk : rows;
    double total[Values] = {};
    if (column < columns)
        for (std::int64_t from = first + threadIdx.y; from < end; from += 16 * sum_rows) {
            float some[Values] = {}; // few additions: doubles are slow on most GPUs
            for (std::int64_t row = from; row < from + 16 * sum_rows && row < end; row += sum_rows) {
                float values[Values];
                map(row, column, values);
#pragma unroll
                for (int v = 0; v < Values; ++v) some[v] += values[v];
            }
#pragma unroll
            for (int v = 0; v < Values; ++v) total[v] += some[v];
        }
#pragma unroll
    for (int v = 0; v < Values; ++v) tile[v][threadIdx.y][threadIdx.x] = total[v];
    __syncthreads();
    if (threadIdx.y > 0 || column >= columns) return;
#pragma unroll
    for (int v = 0; v < Values; ++v) {
        double sum = 0;
        for (int y = 0; y < sum_rows; ++y) sum += tile[v][y][threadIdx.x];
        sums[(std::int64_t{blockIdx.x} * Values + v) * columns + column] = sum;
    }
}

/// finish(column, totals) for every column.
template <int Values, class Finish>
struct FinishColumns {
    Finish finish;
    const double* sums; // (chunks, Values, columns)
    int chunks, columns;
    __device__ void operator()(std::int64_t column) const {
        double totals[Values] = {};
        for (int chunk = 0; chunk < chunks; ++chunk)
#pragma unroll
            for (int v = 0; v < Values; ++v)
                totals[v] += sums[(std::int64_t{chunk} * Values + v) * columns + column];
        finish(static_cast<int>(column), totals);
    }
};

/// \param workspace column_sums_bytes(Values, columns) \param finish finish(column, const double
/// (&totals)[Values])
template <int Values, class Map, class Finish>
void sum_columns_of(const Cuda& device, std::int64_t rows, int columns, const Map& map, const Finish& finish,
                    void* workspace, std::string_view what) {
    auto* sums = static_cast<double*>(workspace);
    const std::int64_t wanted = rows / (16 * sum_rows);
    const int chunks = wanted < 1 ? 1 : wanted > most_chunks ? most_chunks : static_cast<int>(wanted);
    const dim3 blocks(static_cast<unsigned>(chunks),
                      static_cast<unsigned>((columns + sum_columns - 1) / sum_columns));
    launch(sum_chunk<Values, Map>, blocks, dim3(sum_columns, sum_rows), device.stream(), what, map, rows,
           columns, sums);
    device.for_each(columns, FinishColumns<Values, Finish>{finish, sums, chunks, columns}, what);
}

/// A matrix's elements (rows, columns).
template <class T>
struct Elements {
    const T* data;
    int columns;
    __device__ void operator()(std::int64_t row, int column, float (&out)[1]) const {
        out[0] = loaded(data[row * columns + column]);
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
    sum_columns_of<1>(device, rows, columns, Elements<T>{dy, columns}, ToGradient{gradient, add}, workspace,
                      "a bias's gradient");
}

} // namespace detail

} // namespace plimsoll::inline PLIMSOLL_ABI
