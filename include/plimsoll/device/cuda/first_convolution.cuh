#pragma once
/// \file
/// A network's first convolution on a GPU: pictures of few channels, for whose gradient nobody asks. The
/// library's kernels are made for many channels; with three of them they are up to twenty times slower than
/// what memory allows, and copy the pictures.

#include <plimsoll/device/cuda/arithmetic.cuh>
#include <plimsoll/device/cuda/column_sums.cuh>

#include <algorithm>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail::first_convolution {

inline constexpr int threads = 256, warps = threads / 32;
inline constexpr int filters_at_once = 32, of_thread = 8; ///< of a block; side by side in a thread
inline constexpr int tile_rows = 16, tile_columns = 32;   ///< of outputs, a block's
inline constexpr int most_depth = 64;                     ///< weights of a filter
inline constexpr int most_patch = 8192;                   ///< elements of the inputs that a tile reads
inline constexpr int weight_stride = filters_at_once + 4; ///< so that rows lie in different banks
inline constexpr int most_chunks = 1024;                  ///< that a weight gradient is summed in

/// The shapes, as device code reads them.
struct Geometry {
    Shape input, output;
    Window window;

    PLIMSOLL_HD constexpr int area() const { return window.kernel * window.kernel; }
    PLIMSOLL_HD constexpr int depth() const { return area() * input.channels; }
    /// Of the inputs of a tile.
    PLIMSOLL_HD constexpr int patch_rows() const { return (tile_rows - 1) * window.stride + window.kernel; }
    /// Elements from row to row of a patch.
    PLIMSOLL_HD constexpr int patch_stride() const {
        return ((tile_columns - 1) * window.stride + window.kernel) * input.channels;
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
};

/// The inputs of a tile, zeros beyond the picture.
template <class T>
__device__ void load_patch(const Geometry& g, const T* x, const Tile& tile, float* patch) {
    const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
    const int top = tile.row * g.window.stride - g.window.padding;
    const int left = (tile.column * g.window.stride - g.window.padding) * g.input.channels;
    const int row_elements = g.input.width * g.input.channels, stride = g.patch_stride();
    const T* picture = x + std::int64_t{tile.image} * g.input.height * row_elements; // (H, W, C)
    for (int row = warp; row < g.patch_rows(); row += warps) {
        const bool inside = top + row >= 0 && top + row < g.input.height;
        const T* from = picture + std::int64_t{top + row} * row_elements;
        for (int i = lane; i < stride; i += 32) {
            const int element = left + i;
            const bool there = inside && element >= 0 && element < row_elements;
            patch[row * stride + i] = there ? loaded(from[element]) : 0.0f;
        }
    }
}

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
template <class T, int Kernel>
__global__ void __launch_bounds__(threads, 2)
    forward(Geometry g, const T* x, const float* w, const float* bias, T* y, int tiles) {
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
            there ? loaded(stored<T>(w[std::int64_t{first_filter} * depth + i])) : 0.0f;
    }
    for (int d = thread; d < depth; d += threads) offsets[d] = g.offset(d);

    const int group = thread % (filters_at_once / of_thread), place = thread / (filters_at_once / of_thread);
    const int column = place % tile_columns, row = place / tile_columns * rows;
    const int filter = first_filter + group * of_thread;
    float biases[of_thread] = {};
#pragma unroll
    for (int f = 0; f < of_thread; ++f)
        if (bias != nullptr && filter + f < filters) biases[f] = bias[filter + f];
    const float* corner = patch + row * g.step_down() + column * g.step_across();
    const Pack<float, 4>* of_filters = weights + group * of_thread / 4;
    const int down = g.step_down();
    for (int number = static_cast<int>(blockIdx.x); number < tiles; number += static_cast<int>(gridDim.x)) {
        const Tile tile(g, number);
        __syncthreads(); // the tile before may still be read
        load_patch(g, x, tile, patch);
        __syncthreads();
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
            T* to =
                y +
                ((std::int64_t{tile.image} * g.output.height + tile.row + row + r) * g.output.width + left) *
                    filters +
                filter;
            if (filters % of_thread == 0) {
                if (filter < filters) store_eight(to, [&](int f) { return outputs.sums[r][f] + biases[f]; });
            } else {
#pragma unroll
                for (int f = 0; f < of_thread; ++f)
                    if (filter + f < filters) to[f] = stored<T>(outputs.sums[r][f] + biases[f]);
            }
        }
    }
}

/// A chunk's sums into sums (chunks, depth + 1, F), the last row those of the bias: a thread has up to
/// `OfThread` weights of 8 filters, a warp every 8th row of a tile, 8 outputs of it after each other.
template <class T, int OfThread>
__global__ void __launch_bounds__(threads)
    weight_gradient(Geometry g, const T* x, const T* dy, int tiles, float* sums) {
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

    const auto first = static_cast<int>(std::int64_t{tiles} * blockIdx.x / gridDim.x);
    const auto end = static_cast<int>(std::int64_t{tiles} * (blockIdx.x + 1) / gridDim.x);
    for (int number = first; number < end; ++number) {
        const Tile tile(g, number);
        __syncthreads(); // the tile before may still be read
        load_patch(g, x, tile, patch);
        __syncthreads();
        const int rest = g.output.width - tile.column, columns = rest < tile_columns ? rest : tile_columns;
        for (int row = warp; row < tile_rows && tile.row + row < g.output.height; row += warps) {
            const T* from =
                dy + ((std::int64_t{tile.image} * g.output.height + tile.row + row) * g.output.width +
                      tile.column) *
                         filters;
            const float* corner = patch + row * g.step_down();
            float next[of_thread];
            load_eight(next, from + std::int64_t{place} * filters + filter,
                       place < columns ? filters - filter : 0, filters % of_thread == 0);
            for (int column = 0; column < columns; column += places) {
                __syncwarp();
                for (int part = 0; part < 2; ++part)
                    gradients[warp][place][group * 2 + part] = {
                        {next[4 * part], next[4 * part + 1], next[4 * part + 2], next[4 * part + 3]}};
                __syncwarp();
                const int ahead = column + places + place;
                load_eight(next, from + std::int64_t{ahead} * filters + filter,
                           ahead < columns ? filters - filter : 0, filters % of_thread == 0);
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
    }

    float* total = patch; // the warps' sums, one after the other
    static_assert((most_depth + 1) * filters_at_once <= most_patch);
    for (int turn = 0; turn < warps; ++turn) {
        __syncthreads();
        if (warp != turn) continue;
#pragma unroll
        for (int d = 0; d < OfThread; ++d) {
            if (d * places + place > depth) continue;
            float* to = total + (d * places + place) * filters_at_once + group * of_thread;
#pragma unroll
            for (int f = 0; f < of_thread; ++f) to[f] = turn == 0 ? some[d][f] : to[f] + some[d][f];
        }
    }
    __syncthreads();
    const int first_filter = static_cast<int>(blockIdx.y) * filters_at_once;
    for (int i = static_cast<int>(threadIdx.x); i < (depth + 1) * filters_at_once; i += threads) {
        const int d = i / filters_at_once, f = first_filter + i % filters_at_once;
        if (f < filters) sums[(std::int64_t{blockIdx.x} * (depth + 1) + d) * filters + f] = total[i];
    }
}

/// Sums (depth + 1, F) into the gradients of weights (F, C, K, K) and of the bias, if there is one.
struct ToGradients {
    float *weights, *bias;
    int depth, filters;
    bool add;
    __device__ void operator()(int column, const double (&totals)[1]) const {
        const int d = column / filters, f = column % filters;
        if (d == depth && bias == nullptr) return;
        float& to = d < depth ? weights[std::int64_t{f} * depth + d] : bias[f];
        to = static_cast<float>((add ? static_cast<double>(to) : 0.0) + totals[0]);
    }
};

} // namespace detail::first_convolution

/// Forward adds the bias; backward sums the gradients of weights and bias in one pass over the outputs'.
/// Sums are float32 under every precision. \tparam T of activations and, as they are multiplied, of weights
template <class T>
class CudaFirstConvolution : public NodeKernel {
  public:
    CudaFirstConvolution(const Site& site, Cuda& device)
        : site_(site), geometry_(geometry(site)), device_(device) {}

    /// Whether these kernels can do a convolution.
    static constexpr bool fits(const Site& site) {
        const Geometry g = geometry(site);
        return !site.input_gradient && g.depth() <= detail::first_convolution::most_depth &&
               g.patch_rows() * g.patch_stride() <= detail::first_convolution::most_patch;
    }
    static constexpr Needs needs(const Site& site) {
        return {.scratch = sums_bytes(site) + detail::column_sums_bytes(1, columns(site))};
    }

    void forward(const Call& call) override {
        using namespace detail::first_convolution;
        constexpr int blocks_at_once = 2; // of a multiprocessor
        const int tiles = call.count * geometry_.tiles();
        const dim3 blocks(static_cast<unsigned>(std::clamp(
                              blocks_at_once * device_.properties().multiProcessorCount, 1, tiles)),
                          filter_blocks());
        const auto convolve = [&](auto kernel) {
            detail::launch(kernel, blocks, dim3(threads), device_.stream(), site_.facts.name, geometry_,
                           static_cast<const T*>(call.input), static_cast<const float*>(call.parameters[0]),
                           static_cast<const float*>(has_bias() ? call.parameters[1] : nullptr),
                           static_cast<T*>(call.output), tiles);
        };
        if (site_.facts.window.kernel == 3 && site_.facts.window.stride == 1)
            convolve(detail::first_convolution::forward<T, 3>);
        else
            convolve(detail::first_convolution::forward<T, 0>);
    }
    void backward(const Call& call) override {
        using namespace detail::first_convolution;
        const int tiles = call.count * geometry_.tiles();
        const int chunks = static_cast<int>(CudaFirstConvolution::chunks(site_, call.count));
        const dim3 blocks(static_cast<unsigned>(chunks), filter_blocks());
        auto* sums = static_cast<float*>(call.scratch); // (chunks, depth + 1, F)
        const auto sum = [&](auto kernel) {
            detail::launch(kernel, blocks, dim3(threads), device_.stream(), site_.facts.name, geometry_,
                           static_cast<const T*>(call.input), static_cast<const T*>(call.output_gradient),
                           tiles, sums);
        };
        if (geometry_.depth() < 32)
            sum(weight_gradient<T, 4>);
        else
            sum(weight_gradient<T, 9>);
        const int columns = static_cast<int>(CudaFirstConvolution::columns(site_));
        detail::sum_columns_of<1, float>(
            device_, chunks, columns, columns % detail::wide<float> == 0,
            detail::Elements<float>{sums, columns},
            ToGradients{call.gradients[0], has_bias() ? call.gradients[1] : nullptr, geometry_.depth(),
                        site_.output.channels, call.first > 0},
            static_cast<std::byte*>(call.scratch) + sums_bytes(site_), site_.facts.name);
    }

  private:
    using Geometry = detail::first_convolution::Geometry;
    static constexpr Geometry geometry(const Site& site) {
        return {site.input, site.output, site.facts.window};
    }
    static constexpr std::int64_t columns(const Site& site) {
        return std::int64_t{geometry(site).depth() + 1} * site.output.channels;
    }
    static constexpr std::int64_t chunks(const Site& site, int images) {
        return std::min<std::int64_t>(std::int64_t{images} * geometry(site).tiles(),
                                      detail::first_convolution::most_chunks);
    }
    static constexpr std::int64_t sums_bytes(const Site& site) {
        return aligned(4 * chunks(site, site.images) * columns(site));
    }
    [[nodiscard]] bool has_bias() const { return site_.facts.parameters.size() > 1; }
    [[nodiscard]] unsigned filter_blocks() const {
        constexpr int at_once = detail::first_convolution::filters_at_once;
        return static_cast<unsigned>((site_.output.channels + at_once - 1) / at_once);
    }

    Site site_;
    Geometry geometry_;
    Cuda& device_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
