#pragma once
/// \file
/// Convolution in float32 by Winograd's algorithm on a GPU: our transforms, cuBLASLt's matrix products. What
/// cuDNN has for channels last, deterministic and without tensor cores, takes longer.

#include <plimsoll/device/cuda/column_sums.cuh>
#include <plimsoll/device/cuda/matrix_product.cuh>
#include <plimsoll/device/cuda/winograd_transforms.cuh>

#include <algorithm>
#include <string>

namespace plimsoll::inline PLIMSOLL_ABI {

/// Convolution of floats with windows of 3 x 3 at every pixel, as on the Host: forward, 16 matrices (tiles,
/// C) of transformed inputs are multiplied by 16 (C, F) of transformed weights; the input gradient is the
/// same with windows turned by 180 degrees, whose weights are the same numbers in other places. Tiles go
/// through in blocks, so that their elements take little memory.
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
        if (site.training)
            weight_gradient_ = product(filters, channels, sizes_.room(sizes_.outputs) / sizes_.parts(), false,
                                       true, elements_ * sizes_.parts());
        if (sizes_.input_gradient)
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
                                  input_gradient_.workspace(), sizes_.bias_workspace()}) -
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
            transform_back(at.of_outputs, filters(), block, site_.has_bias() ? call.parameters[1] : nullptr,
                           false, call.output);
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
        if (site_.has_bias())
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
        // Forward and weight gradient go over outputs, the input gradient over inputs.
        Tiling outputs, inputs;
        std::int64_t images, channels, filters;
        bool input_gradient, training, has_bias;

        constexpr explicit Sizes(const Site& site)
            : outputs{site.output},
              inputs{site.input},
              images(site.images),
              channels(site.input.channels),
              filters(site.output.channels),
              input_gradient(site.training && site.input_gradient),
              training(site.training),
              has_bias(site.has_bias()) {}

        /// Tiles that are multiplied together: a slice's in equal parts, as few as make matrices no larger
        /// than twice the pictures and most_bytes.
        [[nodiscard]] constexpr std::int64_t room(const Tiling& tiling) const {
            const std::int64_t pictures = 4 * images * (inputs.shape.size() + outputs.shape.size());
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
            return matrices(channels) + matrices(filters) + sums();
        }
        /// Of weight gradients.
        [[nodiscard]] constexpr std::int64_t sums() const { return training ? weights(parts()) : 0; }
        [[nodiscard]] constexpr std::int64_t bias_workspace() const {
            return training && has_bias ? detail::column_sums_bytes(1, filters) : 0;
        }
        [[nodiscard]] constexpr std::int64_t most_workspace() const {
            return std::max(workspace, bias_workspace());
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
                reinterpret_cast<float*>(third), third + sizes_.sums()};
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
    [[nodiscard]] int channels() const { return site_.input.channels; }
    [[nodiscard]] int filters() const { return site_.output.channels; }

    Site site_;
    Cuda& device_;
    Sizes sizes_;
    detail::MatrixProduct forward_, weight_gradient_, input_gradient_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
