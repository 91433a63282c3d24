#pragma once
/// \file
/// Dense layers on oneDNN.

#include <plimsoll/device/host/elementwise.hpp>
#include <plimsoll/device/host/loops.hpp>
#include <plimsoll/device/host/onednn.hpp>

#if PLIMSOLL_WITH_ONEDNN

#include <cstring>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

/// y = x W^T + b over a whole micro-batch, in blocks that depend on the shape alone, each by one thread:
/// forward and weight gradient over blocks of outputs, the input gradient over blocks of inputs. The
/// library's fast products take dense matrices only, so what is a part of a matrix passes through a small
/// tile in scratch. There, too, the kept float weights become the 16-bit ones that layers work with: no copy
/// of them exists in memory.
/// \tparam T float, half or bfloat16: of activations \tparam Element float or bfloat16: of what is multiplied
template <class T, class Element>
class DenseKernel : public NodeKernel {
  public:
    DenseKernel(const Site& site, const Team& team);

    static constexpr Needs needs(const Site& site) { return {.scratch = Limits(site).of_a_lane()}; }
    /// What of `needs` is in use on this processor.
    [[nodiscard]] Needs used() const override { return {.scratch = used_}; }
    /// The library's names for its ways (forward, weight and input gradient); empty where plain loops do it.
    [[nodiscard]] std::array<std::string_view, 3> implementations() const {
        return {forward_.of[0].implementation(), weight_gradient_.of[0].implementation(),
                input_gradient_.of[0].implementation()};
    }

    void forward(const Call& call) override;
    void backward(const Call& call) override;

  private:
    using Desc = detail::onednn::Desc;
    using Primitive = detail::onednn::Primitive;
    using Operands = detail::onednn::Operands;
    static constexpr bool plain_ = std::same_as<T, float>;     ///< weights are multiplied as they are kept
    static constexpr bool staged_ = !std::same_as<T, Element>; ///< activations are not multiplied as stored

    /// Shapes, block sizes and what they need.
    struct Limits {
        std::int64_t images, inputs, outputs, lanes;
        bool input_gradient;

        explicit constexpr Limits(const Site& site)
            : images(site.images),
              inputs(site.input.channels),
              outputs(site.output.channels),
              lanes(site.lanes),
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
        /// (N, block) of floats, or (block, N) of what is multiplied.
        [[nodiscard]] constexpr std::int64_t output_tile() const {
            return aligned(4 * images * output_block());
        }
        /// (block, K), where the weights are not multiplied as they are kept.
        [[nodiscard]] constexpr std::int64_t weight_rows() const {
            return plain_ ? 0 : aligned(element_bytes_ * inputs * output_block());
        }
        /// (F, block)
        [[nodiscard]] constexpr std::int64_t weight_tile() const {
            return aligned(element_bytes_ * outputs * input_block());
        }
        [[nodiscard]] constexpr std::int64_t input_tile() const {
            return aligned(4 * images * input_block());
        }
        /// Of the library, for a product that sums over `terms`: up to 1,024 rows of 64 packed columns; where
        /// the processor multiplies tiles (AMX) up to 4,096, and tiles.
        [[nodiscard]] static constexpr std::int64_t workspace(std::int64_t terms) {
            constexpr bool tiles = element_bytes_ == 2;
            const std::int64_t rows = std::min<std::int64_t>((terms + 15) / 16 * 16, tiles ? 4096 : 1024);
            return (tiles ? 131072 : 4096) + 256 * rows;
        }
        /// A worker's.
        [[nodiscard]] constexpr std::int64_t scratch() const {
            const std::int64_t by_outputs =
                output_tile() + std::max(weight_rows() + workspace(inputs), workspace(images));
            const std::int64_t by_inputs = weight_tile() + input_tile() + workspace(outputs);
            return input_gradient ? std::max(by_outputs, by_inputs) : by_outputs;
        }
        /// (N, K) and (N, F) as they are multiplied, behind all workers' scratch.
        [[nodiscard]] constexpr std::int64_t staged_input() const {
            return staged_ ? aligned(element_bytes_ * images * inputs) : 0;
        }
        [[nodiscard]] constexpr std::int64_t staged_output() const {
            return staged_ ? aligned(element_bytes_ * images * outputs) : 0;
        }
        [[nodiscard]] constexpr std::int64_t of_a_lane() const {
            return scratch() + aligned((staged_input() + staged_output() + lanes - 1) / lanes);
        }

      private:
        static constexpr std::int64_t element_bytes_ = sizeof(Element);
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
    [[nodiscard]] std::byte* scratch_of(const Call& call, int worker) const {
        return static_cast<std::byte*>(call.scratch) + worker * limits_.scratch();
    }
    /// Activations as they are multiplied. \param from (N, columns) of T \param at where they are staged
    const Element* multiplied(const Call& call, const void* from, std::int64_t columns,
                              std::int64_t at) const;
    const Element* inputs_of(const Call& call) const {
        return multiplied(call, call.input, limits_.inputs, 0);
    }
    const Element* output_gradient_of(const Call& call) const {
        return multiplied(call, call.output_gradient, limits_.outputs, limits_.staged_input());
    }
    /// Weights as layers work with them.
    static void round_weights(const float* weights, Element* out, std::int64_t count) {
        if constexpr (std::same_as<T, Element>) {
            detail::convert(weights, out, count);
        } else {
            PLIMSOLL_SIMD
            for (std::int64_t i = 0; i < count; ++i) out[i] = to<Element>(to_float(to<T>(weights[i])));
        }
    }

    Limits limits_;
    LoopDense<T> loops_;
    Team team_;
    bool bias_;
    std::int64_t used_ = 0;
    Blocks forward_, weight_gradient_, weight_gradient_sum_, input_gradient_;
};

template <class T, class Element>
template <class Shapes>
void DenseKernel<T, Element>::make(Blocks& blocks, std::int64_t items, std::int64_t block, std::int64_t tiles,
                                   std::int64_t terms, bool add, Shapes shapes, const std::string& where) {
    blocks.items = items;
    blocks.block = block;
    for (const int kind : {0, 1}) {
        const std::int64_t size = kind == 0 ? block : items % block;
        if (size == 0) continue;
        const std::array<Desc, 3> of = shapes(size);
        Primitive made = Primitive::product(of[0], of[1], of[2], add, Limits::workspace(terms), where);
        if (!made) {
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

template <class T, class Element>
DenseKernel<T, Element>::DenseKernel(const Site& site, const Team& team)
    : limits_(site),
      loops_(site, team),
      team_(std::min(team.threads(), std::max(site.lanes, 1))),
      bias_(site.has_bias()) {
    using detail::onednn::matrix;
    const std::string where = text(site.facts.name, " ", to_string(site.input), " to ",
                                   to_string(site.output), ", ", site.images, " images, node ", site.node);
    const std::int64_t n = limits_.images, k = limits_.inputs, f = limits_.outputs;
    const std::int64_t block = limits_.output_block();
    make(
        forward_, f, block, limits_.output_tile() + limits_.weight_rows(), k, false,
        [&](std::int64_t size) { // y tile = x (W block)^T
            return std::array{matrix<Element>(n, k), matrix<Element>(k, size, true), matrix(n, size)};
        },
        where);
    const auto outer = [&](std::int64_t size) { // dW block = (dy block)^T x
        return std::array{matrix<Element>(size, n), matrix<Element>(n, k), matrix(size, k)};
    };
    make(weight_gradient_, f, block, limits_.output_tile(), n, false, outer, where);
    make(weight_gradient_sum_, f, block, limits_.output_tile(), n, true, outer, where);
    if (!site.input_gradient) return;
    make(
        input_gradient_, k, limits_.input_block(), limits_.weight_tile() + limits_.input_tile(), f, false,
        [&](std::int64_t size) { // dx tile = dy (W tile)
            return std::array{matrix<Element>(n, f), matrix<Element>(f, size), matrix(n, size)};
        },
        where);
}

template <class T, class Element>
const Element* DenseKernel<T, Element>::multiplied(const Call& call, const void* from, std::int64_t columns,
                                                   std::int64_t at) const {
    const auto* stored = static_cast<const T*>(from); // (N, columns)
    if constexpr (!staged_) {
        return stored;
    } else {
        auto* out = reinterpret_cast<Element*>(static_cast<std::byte*>(call.scratch) +
                                               limits_.lanes * limits_.scratch() + at);
        const std::int64_t images = limits_.images;
        team_.parallel(static_cast<int>(images), [&](int image, int) {
            Element* row = out + image * columns;
            if (image < call.count)
                detail::convert(stored + image * columns, row, columns);
            else
                std::fill_n(row, columns, Element{});
        });
        return out;
    }
}

template <class T, class Element>
void DenseKernel<T, Element>::forward(const Call& call) {
    if (!forward_) return loops_.forward(call);
    const Element* x = inputs_of(call); // (N, K)
    team_.parallel(forward_.count(), [&](int task, int worker) {
        const std::int64_t first = task * forward_.block, size = forward_.size(task);
        std::byte* scratch = scratch_of(call, worker);
        auto* tile = reinterpret_cast<float*>(scratch);                  // (N, size)
        const float* kept = call.parameters[0] + first * limits_.inputs; // (size, K)
        const void* weights = kept;
        scratch += limits_.output_tile();
        if constexpr (!plain_) {
            round_weights(kept, reinterpret_cast<Element*>(scratch), size * limits_.inputs);
            weights = scratch;
            scratch += limits_.weight_rows();
        }
        forward_.for_task(task, worker).run({x, weights, tile}, scratch);
        const float* bias = bias_ ? call.parameters[1] + first : nullptr; // (size)
        for (std::int64_t n = 0; n < call.count; ++n) {
            T* y = static_cast<T*>(call.output) + n * limits_.outputs + first; // (size)
            for (std::int64_t f = 0; f < size; ++f)
                y[f] = to<T>(tile[n * size + f] + (bias == nullptr ? 0.0f : bias[f]));
        }
    });
}

template <class T, class Element>
void DenseKernel<T, Element>::backward(const Call& call) {
    weight_gradient(call);
    if (limits_.input_gradient) input_gradient(call);
}

template <class T, class Element>
void DenseKernel<T, Element>::weight_gradient(const Call& call) {
    Blocks& blocks = call.accumulate ? weight_gradient_sum_ : weight_gradient_;
    if (!blocks) return loops_.weight_gradient(call);
    const std::int64_t images = limits_.images, inputs = limits_.inputs, outputs = limits_.outputs;
    const Element* x = inputs_of(call); // (N, K), with room for all images
    std::fill_n(const_cast<Element*>(x) + call.count * inputs, (images - call.count) * inputs, Element{});
    team_.parallel(blocks.count(), [&](int task, int worker) {
        const std::int64_t first = task * blocks.block, size = blocks.size(task);
        const T* dy = static_cast<const T*>(call.output_gradient) + first; // (N, F)
        auto* tile = reinterpret_cast<Element*>(scratch_of(call, worker)); // (size, N)
        for (std::int64_t f = 0; f < size; ++f) {
            double sum = 0;
            for (std::int64_t n = 0; n < call.count; ++n) {
                const float gradient = to_float(dy[n * outputs + f]);
                tile[f * images + n] = to<Element>(gradient);
                sum += static_cast<double>(gradient);
            }
            std::fill_n(tile + f * images + call.count, images - call.count, Element{});
            if (bias_) detail::store(call.gradients[1][first + f], sum, call.accumulate);
        }
        blocks.for_task(task, worker)
            .run({tile, x, call.gradients[0] + first * inputs},
                 scratch_of(call, worker) + limits_.output_tile());
    });
}

template <class T, class Element>
void DenseKernel<T, Element>::input_gradient(const Call& call) {
    if (!input_gradient_) return loops_.input_gradient(call);
    const std::int64_t inputs = limits_.inputs, outputs = limits_.outputs;
    const Element* dy = output_gradient_of(call); // (N, F)
    team_.parallel(input_gradient_.count(), [&](int task, int worker) {
        const std::int64_t first = task * input_gradient_.block, size = input_gradient_.size(task);
        std::byte* scratch = scratch_of(call, worker);
        auto* weights = reinterpret_cast<Element*>(scratch);                    // (F, size)
        auto* tile = reinterpret_cast<float*>(scratch + limits_.weight_tile()); // (N, size)
        for (std::int64_t f = 0; f < outputs; ++f)
            round_weights(call.parameters[0] + f * inputs + first, weights + f * size, size);
        input_gradient_.for_task(task, worker)
            .run({dy, weights, tile}, scratch + limits_.weight_tile() + limits_.input_tile());
        for (std::int64_t n = 0; n < call.count; ++n)
            detail::convert(tile + n * size, static_cast<T*>(call.input_gradient) + n * inputs + first, size);
    });
}

} // namespace plimsoll::inline PLIMSOLL_ABI

#else

namespace plimsoll::inline PLIMSOLL_ABI {
template <class T, class Element>
using DenseKernel = LoopDense<T>;
} // namespace plimsoll::inline PLIMSOLL_ABI

#endif
