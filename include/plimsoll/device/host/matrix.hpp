#pragma once
/// \file
/// Dense layers on oneDNN.

#include <plimsoll/device/host/loops.hpp>
#include <plimsoll/device/host/onednn.hpp>

#if PLIMSOLL_WITH_ONEDNN

#include <cstring>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

/// y = x W^T + b over a whole micro-batch, in blocks that depend on the shape alone, each by one thread:
/// forward and weight gradient over blocks of outputs, the input gradient over blocks of inputs. The
/// library's fast products take dense matrices only, so what is a part of a matrix passes through a small
/// tile in scratch.
class DenseKernel : public NodeKernel {
  public:
    DenseKernel(const Site& site, const Team& team);

    static constexpr Needs needs(const Site& site) { return {.scratch = Limits(site).scratch()}; }
    /// What of `needs` is in use on this processor.
    [[nodiscard]] Needs used() const override { return {.scratch = used_}; }
    /// The library's names for its ways (forward, weight and input gradient); empty where plain loops do it.
    [[nodiscard]] std::array<std::string_view, 3> implementations() const {
        return {forward_.of[0].implementation(), weight_gradient_.of[0].implementation(),
                input_gradient_.of[0].implementation()};
    }

    inline void forward(const Call& call) override;
    inline void backward(const Call& call) override;

  private:
    using Desc = detail::onednn::Desc;
    using Primitive = detail::onednn::Primitive;
    using Operands = detail::onednn::Operands;

    /// Shapes, block sizes and what they need.
    struct Limits {
        std::int64_t images, inputs, outputs;
        bool input_gradient;

        explicit constexpr Limits(const Site& site)
            : images(site.images),
              inputs(site.input.channels),
              outputs(site.output.channels),
              input_gradient(site.input_gradient) {}

        /// Outputs of a block.
        [[nodiscard]] constexpr std::int64_t output_block() const {
            return std::min<std::int64_t>(outputs, 64);
        }
        /// Inputs of a block: its tile of the weights stays in a core's cache.
        [[nodiscard]] constexpr std::int64_t input_block() const {
            const std::int64_t fitting = 65536 / outputs / 16 * 16;
            return std::min(inputs, std::clamp<std::int64_t>(fitting, 16, 512));
        }
        [[nodiscard]] constexpr std::int64_t output_tile() const {
            return aligned(4 * images * output_block());
        }
        [[nodiscard]] constexpr std::int64_t weight_tile() const {
            return aligned(4 * outputs * input_block());
        }
        [[nodiscard]] constexpr std::int64_t input_tile() const {
            return aligned(4 * images * input_block());
        }
        /// Of the library, for a product that sums over `terms`: up to 1,024 rows of 64 packed columns.
        [[nodiscard]] static constexpr std::int64_t workspace(std::int64_t terms) {
            return 4096 + 256 * std::min<std::int64_t>((terms + 15) / 16 * 16, 1024);
        }
        [[nodiscard]] constexpr std::int64_t scratch() const {
            const std::int64_t by_outputs = output_tile() + std::max(workspace(inputs), workspace(images));
            const std::int64_t by_inputs = weight_tile() + input_tile() + workspace(outputs);
            return input_gradient ? std::max(by_outputs, by_inputs) : by_outputs;
        }
    };

    /// A product for whole blocks, and one for a ragged last block; operands for every worker.
    struct Blocks {
        std::int64_t items = 0, block = 1;
        Primitive of[2];
        std::vector<Operands> operands[2]{};

        [[nodiscard]] explicit operator bool() const { return static_cast<bool>(of[0]); }
        [[nodiscard]] int count() const { return static_cast<int>((items + block - 1) / block); }
        [[nodiscard]] std::int64_t size(int task) const { return std::min(block, items - task * block); }
        Operands& for_task(int task, int worker) {
            return operands[size(task) == block ? 0 : 1][static_cast<std::size_t>(worker)];
        }
    };

    /// \param shapes (size of a block) to {left, right, product}.
    template <class Shapes>
    void make(Blocks& blocks, std::int64_t items, std::int64_t block, std::int64_t tiles, std::int64_t terms,
              bool add, Shapes shapes, const std::string& where);
    void weight_gradient(const Call& call);
    void input_gradient(const Call& call);
    [[nodiscard]] void* scratch_of(const Call& call, int worker) const {
        return detail::floats_at(call.scratch, worker * limits_.scratch());
    }

    Limits limits_;
    LoopDense loops_;
    Team team_;
    bool bias_;
    std::int64_t used_ = 0;
    Blocks forward_, weight_gradient_, weight_gradient_sum_, input_gradient_;
};

template <class Shapes>
void DenseKernel::make(Blocks& blocks, std::int64_t items, std::int64_t block, std::int64_t tiles,
                       std::int64_t terms, bool add, Shapes shapes, const std::string& where) {
    blocks.items = items;
    blocks.block = block;
    for (const int kind : {0, 1}) {
        const std::int64_t size = kind == 0 ? block : items % block;
        if (size == 0) continue;
        const std::array<Desc, 3> of = shapes(size);
        Primitive made = Primitive::product(of[0], of[1], of[2], add, where);
        if (!made || made.scratch() > Limits::workspace(terms)) {
            blocks.of[0] = Primitive();
            return;
        }
        used_ = std::max(used_, tiles + made.scratch());
        blocks.of[kind] = std::move(made);
        for (int worker = 0; worker < team_.threads(); ++worker)
            blocks.operands[kind].emplace_back(
                blocks.of[kind], std::initializer_list<Operands::Operand>{{DNNL_ARG_SRC, of[0]},
                                                                          {DNNL_ARG_WEIGHTS, of[1]},
                                                                          {DNNL_ARG_DST, of[2]}});
    }
}

inline DenseKernel::DenseKernel(const Site& site, const Team& team)
    : limits_(site),
      loops_(site, team),
      team_(std::min(team.threads(), std::max(site.lanes, 1))),
      bias_(site.facts.parameters.size() > 1) {
    using detail::onednn::matrix;
    const std::string where = text(site.facts.name, " ", to_string(site.input), " to ",
                                   to_string(site.output), ", ", site.images, " images, node ", site.node);
    const std::int64_t n = limits_.images, k = limits_.inputs, f = limits_.outputs;
    const std::int64_t block = limits_.output_block();
    make(
        forward_, f, block, limits_.output_tile(), k, false,
        [&](std::int64_t size) {
            return std::array{matrix(n, k), matrix(k, size, true), matrix(n, size)}; // y tile = x (W block)^T
        },
        where);
    const auto outer = [&](std::int64_t size) {
        return std::array{matrix(size, n), matrix(n, k), matrix(size, k)}; // dW block = (dy block)^T x
    };
    make(weight_gradient_, f, block, limits_.output_tile(), n, false, outer, where);
    make(weight_gradient_sum_, f, block, limits_.output_tile(), n, true, outer, where);
    if (!site.input_gradient) return;
    make(
        input_gradient_, k, limits_.input_block(), limits_.weight_tile() + limits_.input_tile(), f, false,
        [&](std::int64_t size) {
            return std::array{matrix(n, f), matrix(f, size), matrix(n, size)}; // dx tile = dy (W tile)
        },
        where);
}

inline void DenseKernel::forward(const Call& call) {
    if (!forward_) return loops_.forward(call);
    team_.parallel(forward_.count(), [&](int task, int worker) {
        const std::int64_t first = task * forward_.block, size = forward_.size(task);
        auto* tile = static_cast<float*>(scratch_of(call, worker)); // (N, size)
        forward_.for_task(task, worker)
            .run({call.input, call.parameters[0] + first * limits_.inputs, tile},
                 detail::floats_at(tile, limits_.output_tile()));
        const float* bias = bias_ ? call.parameters[1] + first : nullptr; // (size)
        for (std::int64_t n = 0; n < call.count; ++n) {
            float* y = static_cast<float*>(call.output) + n * limits_.outputs + first; // (size)
            for (std::int64_t f = 0; f < size; ++f)
                y[f] = tile[n * size + f] + (bias == nullptr ? 0.0f : bias[f]);
        }
    });
}

inline void DenseKernel::backward(const Call& call) {
    weight_gradient(call);
    if (limits_.input_gradient) input_gradient(call);
}

inline void DenseKernel::weight_gradient(const Call& call) {
    Blocks& blocks = call.accumulate ? weight_gradient_sum_ : weight_gradient_;
    if (!blocks) return loops_.weight_gradient(call);
    const std::int64_t images = limits_.images, inputs = limits_.inputs, outputs = limits_.outputs;
    auto* x = const_cast<float*>(static_cast<const float*>(call.input)); // (N, K), with room for all images
    std::fill_n(x + call.count * inputs, (images - call.count) * inputs, 0.0f);
    team_.parallel(blocks.count(), [&](int task, int worker) {
        const std::int64_t first = task * blocks.block, size = blocks.size(task);
        const float* dy = static_cast<const float*>(call.output_gradient) + first; // (N, F)
        auto* tile = static_cast<float*>(scratch_of(call, worker));                // (size, N)
        for (std::int64_t f = 0; f < size; ++f) {
            double sum = 0;
            for (std::int64_t n = 0; n < call.count; ++n) {
                tile[f * images + n] = dy[n * outputs + f];
                sum += static_cast<double>(dy[n * outputs + f]);
            }
            std::fill_n(tile + f * images + call.count, images - call.count, 0.0f);
            if (bias_) detail::store(call.gradients[1][first + f], sum, call.accumulate);
        }
        blocks.for_task(task, worker)
            .run({tile, call.input, call.gradients[0] + first * inputs},
                 detail::floats_at(tile, limits_.output_tile()));
    });
}

inline void DenseKernel::input_gradient(const Call& call) {
    if (!input_gradient_) return loops_.input_gradient(call);
    const std::int64_t inputs = limits_.inputs, outputs = limits_.outputs;
    team_.parallel(input_gradient_.count(), [&](int task, int worker) {
        const std::int64_t first = task * input_gradient_.block, size = input_gradient_.size(task);
        const auto row_bytes = static_cast<std::size_t>(size) * sizeof(float);
        auto* weights = static_cast<float*>(scratch_of(call, worker));   // (F, size)
        float* tile = detail::floats_at(weights, limits_.weight_tile()); // (N, size)
        for (std::int64_t f = 0; f < outputs; ++f)
            std::memcpy(weights + f * size, call.parameters[0] + f * inputs + first, row_bytes);
        input_gradient_.for_task(task, worker)
            .run({call.output_gradient, weights, tile}, detail::floats_at(tile, limits_.input_tile()));
        for (std::int64_t n = 0; n < call.count; ++n)
            std::memcpy(static_cast<float*>(call.input_gradient) + n * inputs + first, tile + n * size,
                        row_bytes);
    });
}

} // namespace plimsoll::inline PLIMSOLL_ABI

#else

namespace plimsoll::inline PLIMSOLL_ABI {
using DenseKernel = LoopDense;
} // namespace plimsoll::inline PLIMSOLL_ABI

#endif
