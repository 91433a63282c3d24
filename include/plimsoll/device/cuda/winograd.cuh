#pragma once
/// \file
/// Convolution in float32 by Winograd's algorithm on a GPU: our transforms, cuBLASLt's matrix products. What
/// cuDNN has for channels last, deterministic and without tensor cores, takes two to five times as long.

#include <plimsoll/device/cuda/column_sums.cuh>
#include <plimsoll/device/cuda/matrix_product.cuh>
#include <plimsoll/device/winograd.hpp>

#include <algorithm>
#include <string>

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
                                        picture + (row * shape.width + column) * shape.channels)
                                  : Channels{};
                }
#pragma unroll
                for (int c = 0; c < 4; ++c)
                    columns[j][c] = of_input(p[0].values[c], p[1].values[c], p[2].values[c], p[3].values[c]);
            }
        }
        store_rows(to, [&](int c, float Four::*row) {
            return of_input(columns[0][c].*row, columns[1][c].*row, columns[2][c].*row, columns[3][c].*row);
        });
    }

    /// \param row_of row_of(channel, which): a row of elements
    template <class RowOf>
    __device__ static void store_rows(const TileElements& to, RowOf row_of) {
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
            for (int j = 0; j < 4; ++j) to.at(i, j) = out[j];
        }
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
        FromPictures::store_rows(to, [&](int c, float Four::*row) {
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

/// Convolution of floats with windows of 3 x 3 at every pixel, as on the Host: forward, 16 matrices (tiles,
/// C) of transformed inputs are multiplied by 16 (C, F) of transformed weights; the input gradient is the
/// same with windows turned by 180 degrees, whose weights are the same numbers in other places. Tiles go
/// through in blocks that stay in the GPU's cache.
class CudaWinogradConvolution : public NodeKernel {
  public:
    CudaWinogradConvolution(const Site& site, Cuda& device) : site_(site), device_(device), sizes_(site) {
        const std::string where =
            text(site.facts.name, " ", to_string(site.input), " to ", to_string(site.output), ", ",
                 site.images, " images, node ", site.node);
        const auto product = [&](std::int64_t m, std::int64_t n, std::int64_t k, bool transpose_a,
                                 bool transpose_b, std::int64_t batch) {
            return detail::MatrixProduct(device,
                                         {.m = static_cast<int>(m),
                                          .n = static_cast<int>(n),
                                          .k = static_cast<int>(k),
                                          .transpose_a = transpose_a,
                                          .transpose_b = transpose_b,
                                          .batch = static_cast<int>(batch),
                                          .workspace = Sizes::workspace},
                                         where);
        };
        const auto [channels, filters] = std::pair(sizes_.channels, sizes_.filters);
        // Row by row (tiles, F) is column by column F x tiles: y^T = w^T x^T.
        forward_ = product(filters, sizes_.room(sizes_.outputs), channels, false, false, elements_);
        weight_gradient_ = product(filters, channels, sizes_.room(sizes_.outputs) / sizes_.parts(), false,
                                   true, elements_ * sizes_.parts());
        if (site.input_gradient)
            input_gradient_ = product(channels, sizes_.room(sizes_.inputs), filters, true, false, elements_);
    }

    /// Whether the algorithm can do a convolution of these shapes, and is worth it.
    static constexpr bool pays(const Site& site) {
        const Window window = site.facts.window;
        return window.kernel == 3 && window.stride == 1 && window.padding <= 2 && site.input.channels >= 16 &&
               site.input.channels % 4 == 0 && site.output.channels >= 16 && site.output.channels % 4 == 0;
    }
    static constexpr Needs needs(const Site& site) {
        const Sizes sizes(site);
        return {.packed = sizes.weights(1), .scratch = sizes.operands() + sizes.most_workspace()};
    }
    [[nodiscard]] Needs used() const override {
        Needs used = needs(site_);
        used.scratch += std::max({forward_.workspace(), weight_gradient_.workspace(),
                                  input_gradient_.workspace(), sizes_.bias_workspace(has_bias())}) -
                        sizes_.most_workspace();
        return used;
    }
    [[nodiscard]] std::string choice() const override { return "Winograd's algorithm"; }

    void pack(const Call& call) override {
        device_.for_each(sizes_.channels * sizes_.filters,
                         detail::winograd::PackWeights{call.parameters[0], static_cast<float*>(call.packed),
                                                       channels(), filters()},
                         "packing a convolution");
    }
    void forward(const Call& call) override {
        const Places at = places(call);
        for_blocks(call, sizes_.outputs, [&](const Block& block, bool) {
            transform(call.input, site_.input, block, block.count, site_.facts.window.padding, false,
                      at.of_inputs);
            forward_.run(device_, call.packed, at.of_inputs, at.of_outputs, false, nullptr, at.workspace);
            transform_back(at.of_outputs, filters(), block, has_bias() ? call.parameters[1] : nullptr, false,
                           call.output);
        });
    }
    void backward(const Call& call) override {
        const Places at = places(call);
        for_blocks(call, sizes_.outputs, [&](const Block& block, bool is_first) {
            transform(call.input, site_.input, block, block.room, site_.facts.window.padding, false,
                      at.of_inputs);
            device_.for_each(block.room * filters() / 4,
                             detail::winograd::FromOutputGradients{
                                 static_cast<const float*>(call.output_gradient), at.of_outputs, block},
                             what_);
            weight_gradient_.run(device_, at.of_outputs, at.of_inputs, at.sums, !is_first, nullptr,
                                 at.workspace);
        });
        const bool add = call.first > 0; // all but a batch's first slice
        const std::int64_t matrix = sizes_.channels * sizes_.filters;
        if (sizes_.parts() > 1)
            device_.for_each(elements_ * matrix,
                             detail::winograd::AddParts{at.sums, matrix, static_cast<int>(sizes_.parts())},
                             what_);
        device_.for_each(matrix,
                         detail::winograd::UnpackWeightGradient{at.sums, call.gradients[0], channels(),
                                                                filters(), static_cast<int>(sizes_.parts()),
                                                                add},
                         "a convolution's weight gradient");
        if (has_bias())
            detail::bias_gradient(device_, static_cast<const float*>(call.output_gradient),
                                  site_.output.pixels() * call.count, filters(), call.gradients[1], add,
                                  at.workspace);
        if (!site_.input_gradient) return;
        for_blocks(call, sizes_.inputs, [&](const Block& block, bool) {
            transform(call.output_gradient, site_.output, block, block.count, 2 - site_.facts.window.padding,
                      true, at.of_outputs);
            input_gradient_.run(device_, call.packed, at.of_outputs, at.of_inputs, false, nullptr,
                                at.workspace);
            transform_back(at.of_inputs, channels(), block, nullptr, true, call.input_gradient);
        });
    }

  private:
    using Tiling = detail::winograd::Tiling;
    using Block = detail::winograd::TileBlock;
    static constexpr int elements_ = detail::winograd::elements;
    static constexpr std::string_view what_ = "a convolution by Winograd's algorithm";

    /// Sizes, and what they need, from a site alone.
    struct Sizes {
        Tiling outputs,
            inputs; ///< forward and weight gradient go over outputs, the input gradient over inputs
        std::int64_t images, channels, filters;
        bool input_gradient;

        constexpr explicit Sizes(const Site& site)
            : outputs{site.output},
              inputs{site.input},
              images(site.images),
              channels(site.input.channels),
              filters(site.output.channels),
              input_gradient(site.input_gradient) {}

        /// Tiles that are multiplied together: a slice's in equal parts, as few as the cache allows.
        [[nodiscard]] constexpr std::int64_t room(const Tiling& tiling) const {
            const std::int64_t pictures =
                4 * images * (inputs.shape.size() + outputs.shape.size()); // little memory for few images
            const std::int64_t bytes = std::clamp(2 * pictures, least_bytes, most_bytes);
            const std::int64_t most =
                std::max<std::int64_t>(64, bytes / (4 * elements_ * (channels + filters)));
            const std::int64_t all = images * tiling.of_picture(), blocks = (all + most - 1) / most;
            return round_up((all + blocks - 1) / blocks, 4 * parts());
        }
        /// In which a weight gradient is summed, so that the whole GPU has work.
        [[nodiscard]] constexpr std::int64_t parts() const {
            const std::int64_t squares = ((channels + 63) / 64) * ((filters + 63) / 64);
            return std::max<std::int64_t>(1, 16 / squares);
        }
        [[nodiscard]] constexpr std::int64_t matrices(std::int64_t depth) const {
            const std::int64_t rows = input_gradient ? std::max(room(outputs), room(inputs)) : room(outputs);
            return aligned(4 * elements_ * rows * depth);
        }
        [[nodiscard]] constexpr std::int64_t weights(std::int64_t times) const {
            return aligned(4 * elements_ * times * channels * filters);
        }
        [[nodiscard]] constexpr std::int64_t operands() const {
            return matrices(channels) + matrices(filters) + weights(parts());
        }
        [[nodiscard]] constexpr std::int64_t bias_workspace(bool has_bias) const {
            return has_bias ? detail::column_sums_bytes(1, filters) : 0;
        }
        [[nodiscard]] constexpr std::int64_t most_workspace() const {
            return std::max(workspace, bias_workspace(true));
        }
        static constexpr std::int64_t least_bytes = std::int64_t{1} << 20;
        static constexpr std::int64_t most_bytes = std::int64_t{64} << 20; ///< of a block's matrices
        static constexpr std::int64_t workspace = std::int64_t{4} << 20;
    };

    /// Where in a call's scratch the products find their operands.
    struct Places {
        float *of_inputs, *of_outputs, *sums; // (4 x 4, tiles, C), (4 x 4, tiles, F), (4 x 4, parts, C, F)
        void* workspace;
    };
    [[nodiscard]] Places places(const Call& call) const {
        auto* at = static_cast<std::byte*>(call.scratch);
        std::byte* second = at + sizes_.matrices(sizes_.channels);
        std::byte* third = second + sizes_.matrices(sizes_.filters);
        return {reinterpret_cast<float*>(at), reinterpret_cast<float*>(second),
                reinterpret_cast<float*>(third), third + sizes_.weights(sizes_.parts())};
    }
    template <class F>
    void for_blocks(const Call& call, const Tiling& tiling, F f) const {
        const std::int64_t room = sizes_.room(tiling), tiles = call.count * tiling.of_picture();
        for (std::int64_t first = 0; first < tiles; first += room)
            f(Block{tiling, first, std::min(room, tiles - first), room}, first == 0);
    }
    /// \param tiles to write: those behind the block's last are zeros
    void transform(const void* pictures, Shape shape, const Block& block, std::int64_t tiles, int before,
                   bool turned, float* matrices) const {
        device_.for_each(tiles * shape.channels / 4,
                         detail::winograd::FromPictures{static_cast<const float*>(pictures), matrices, shape,
                                                        block, before, turned},
                         what_);
    }
    void transform_back(float* matrices, int depth, const Block& block, const float* bias, bool turned,
                        void* pictures) const {
        device_.for_each(
            block.count * depth / 4,
            detail::winograd::ToPictures{matrices, bias, static_cast<float*>(pictures), block, turned},
            what_);
    }
    [[nodiscard]] bool has_bias() const { return site_.facts.parameters.size() > 1; }
    [[nodiscard]] int channels() const { return site_.input.channels; }
    [[nodiscard]] int filters() const { return site_.output.channels; }

    Site site_;
    Cuda& device_;
    Sizes sizes_;
    detail::MatrixProduct forward_, weight_gradient_, input_gradient_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
