#pragma once
/// \file
/// Convolution by oneDNN's direct algorithm.

#include <plimsoll/device/host/loops.hpp>
#include <plimsoll/device/host/onednn.hpp>
#include <plimsoll/device/host/patch_weight_gradient.hpp>
#include <plimsoll/device/host/product_weight_gradient.hpp>
#include <plimsoll/device/host/weight_gradient.hpp>

#if PLIMSOLL_WITH_ONEDNN

#include <algorithm>
#include <optional>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// Limits for what oneDNN takes for a convolution, from its shapes alone: measured with margin over AVX-512,
/// AVX2 and SSE4.1, kernels 1 to 7, strides 1 to 3, 1 to 1,024 channels. Where a processor's way needs more
/// (GEMM with the whole picture unrolled), plain loops do it.
struct ConvolutionLimits {
    const Site& site;
    std::int64_t element_bytes; ///< of activations and packed weights

    /// \param bytes of an element
    [[nodiscard]] constexpr std::int64_t weights(std::int64_t filters, std::int64_t bytes) const {
        const std::int64_t kernel = site.facts.window.kernel;
        return aligned(bytes * round_up(site.input.channels, 64 / bytes) * filters * kernel * kernel);
    }
    /// Forward weights, whose filters come in blocks of 16, 32 or (1x1) 48.
    [[nodiscard]] constexpr std::int64_t forward_weights() const {
        const std::int64_t filters = site.output.channels;
        std::int64_t padded = round_up(filters, filters <= 32 && element_bytes == 4 ? 16 : 32);
        if (filters > 64 && site.facts.window.kernel == 1) padded = std::max(padded, round_up(filters, 48));
        return weights(padded, element_bytes);
    }
    /// Weights for the input gradient, and (in floats) their gradient.
    [[nodiscard]] constexpr std::int64_t plain_weights(std::int64_t bytes) const {
        return weights(round_up(site.output.channels, 64 / bytes), bytes);
    }
    [[nodiscard]] constexpr std::int64_t packed() const {
        return forward_weights() + (site.input_gradient ? plain_weights(element_bytes) : 0);
    }
    [[nodiscard]] constexpr std::int64_t partial() const {
        return plain_weights(4) + aligned(4 * std::int64_t{site.output.channels});
    }
    /// Of the library: strided convolutions gather the pixels they read (1x1), and on AVX2 some scatter the
    /// input gradient through a matrix of all windows.
    [[nodiscard]] constexpr std::int64_t workspace() const {
        const Window window = site.facts.window;
        std::int64_t channels = 0;
        if (window.stride > 1 && window.kernel == 1) {
            const bool blocked = site.output_layout.block != site.output.channels;
            channels = std::max(round_up(site.input.channels, 16), std::int64_t{blocked ? 144 : 0});
        } else if (window.stride > 1 && site.input_gradient) {
            channels = std::int64_t{site.input.channels} * window.kernel * window.kernel;
        }
        return (element_bytes == 2 ? transposed() : 16384) +
               4 * (round_up(site.output.channels, 16) + channels * site.output.pixels());
    }
    /// In 16 bits the library transposes what it reads, in tiles as wide as the processor's.
    [[nodiscard]] constexpr std::int64_t transposed() const {
        const auto tiled = [](Shape shape) {
            return 2 * round_up(shape.channels, 32) * shape.height * round_up(shape.width, 32);
        };
        const std::int64_t kernel = site.facts.window.kernel;
        const std::int64_t wanted = 65536 + 3 * (tiled(site.input) + tiled(site.output)) +
                                    40 * kernel * kernel * site.output.channels;
        return std::min(wanted, std::int64_t{1} << 20); // half of a core's cache; see WeightGradient
    }
};

/// Where the library reads all `images` of an operand and only `count` are there, the rest becomes zeros.
template <class T>
void zero_tail(const void* operand, Shape shape, int count, int images) {
    if (count >= images) return;
    auto* data = const_cast<T*>(static_cast<const T*>(operand)); // operands have room for `images`
    std::fill_n(data + shape.size() * count, shape.size() * (images - count), T{});
}

} // namespace detail

/// Convolution by oneDNN's direct kernels, each phase by plain loops where the library has no fast one within
/// the limits.
/// \tparam T float or bfloat16: of activations, and of the weights that the library works with
template <class T>
class DirectConvolution : public NodeKernel {
  public:
    DirectConvolution(const Site& site, const Team& team);

    static constexpr Needs needs(const Site& site) {
        const detail::ConvolutionLimits limits{site, sizeof(T)};
        std::int64_t scratch = limits.partial() + limits.workspace();
        if (detail::PatchWeightGradient<T>::pays(site))
            scratch = std::max(scratch, detail::PatchWeightGradient<T>::wanted_scratch(site));
        return {.packed = limits.packed(), .partial = limits.partial(), .scratch = scratch};
    }
    /// What of `needs` is in use on this processor.
    [[nodiscard]] Needs used() const override;
    /// The library's names for its ways ("jit:avx512_core"); empty where plain loops do it.
    [[nodiscard]] std::array<std::string_view, 3> implementations() const {
        return {forward_.implementation(),
                patches_    ? patches_->implementation()
                : products_ ? products_->implementation()
                            : weight_gradient_.implementation(),
                input_gradient_.implementation()};
    }

    void pack(const Call& call) override;
    void forward(const Call& call) override;
    void backward(const Call& call) override;
    void reduce(const Call& call, int lanes) override;

  private:
    using Desc = detail::onednn::Desc;
    using Primitive = detail::onednn::Primitive;
    using Operands = detail::onednn::Operands;

    void make_primitives(const std::string& where);
    [[nodiscard]] bool has_bias() const { return site_.facts.parameters.size() > 1; }
    /// Bytes from a partial's start to its bias gradient.
    [[nodiscard]] std::int64_t bias_offset() const {
        return patches_ ? gradient_bytes_ : aligned(gradient_bytes_);
    }
    [[nodiscard]] std::int64_t partial_bytes() const {
        return aligned(bias_offset() +
                       (has_bias() || patches_ ? 4 * std::int64_t{site_.output.channels} : 0));
    }
    void weight_gradient(const Call& call);
    /// A lane's partial weight gradient as it lies; empty where plain loops make it.
    [[nodiscard]] Desc gradient_format() const {
        return patches_ ? patches_->format() : products_ ? products_->format() : weight_gradient_.format();
    }

    Site site_;
    Team team_;
    LoopConvolution<T> loops_;
    Primitive forward_, input_gradient_;
    // One of these.
    std::optional<detail::PatchWeightGradient<T>> patches_;
    std::optional<detail::ProductWeightGradient<T>> products_;
    detail::WeightGradient<T> weight_gradient_;
    Primitive pack_forward_, pack_input_gradient_, unpack_gradient_;
    bool one_copy_ = false;           ///< forward and input gradient read the same packed weights
    std::int64_t forward_bytes_ = 0;  ///< packed weights of forward
    std::int64_t data_bytes_ = 0;     ///< packed weights of the input gradient, behind them
    std::int64_t gradient_bytes_ = 0; ///< a partial weight gradient; 0 where plain loops make it

    struct Worker {
        Operands forward, input_gradient;
    };
    std::vector<Worker> workers_;
    Operands pack_forward_operands_, pack_data_operands_, unpack_operands_;
};

template <class T>
void DirectConvolution<T>::make_primitives(const std::string& where) {
    using detail::onednn::bytes;
    using detail::onednn::tagged;
    const Window window = site_.facts.window;
    const std::int64_t filters = site_.output.channels, channels = site_.input.channels;
    const Desc x = detail::activation<T>(site_.input, site_.input_layout, site_.images);
    const Desc y = detail::activation<T>(site_.output, site_.output_layout, site_.images);
    if (x.get() == nullptr || y.get() == nullptr) return;
    const Desc any = tagged<T>({filters, channels, window.kernel, window.kernel}, dnnl_format_tag_any);
    const Desc plain = tagged({filters, channels, window.kernel, window.kernel}, dnnl_oihw);
    const Desc bias = has_bias() ? tagged({filters}, dnnl_x) : Desc();
    const dnnl_dims_t strides = {window.stride, window.stride};
    const dnnl_dims_t before = {window.padding, window.padding};
    const auto after = [&](int input, int output) { // what the last window covers beyond the picture
        return std::int64_t{output - 1} * window.stride + window.kernel - input - window.padding;
    };
    const dnnl_dims_t behind = {after(site_.input.height, site_.output.height),
                                after(site_.input.width, site_.output.width)};
    const detail::ConvolutionLimits limits{site_, sizeof(T)};
    const auto make = [&](dnnl_prop_kind_t kind, std::int64_t limit, const Primitive* hint) {
        Primitive made = Primitive::convolution(kind, x, any, kind == dnnl_backward_data ? Desc() : bias, y,
                                                strides, before, behind, hint, limits.workspace(), where);
        return made && bytes(made.query(dnnl_query_weights_md)) > limit ? Primitive() : std::move(made);
    };
    forward_ = make(dnnl_forward_training, limits.forward_weights(), nullptr);
    if (!forward_) return; // the others are chosen by it
    const std::int64_t most_scratch = needs(site_).scratch;
    const auto try_way = [&](auto& way) {
        way.emplace(site_, most_scratch, where);
        if (!*way) way.reset();
    };
    using Patches = detail::PatchWeightGradient<T>;
    if (Patches::pays(site_)) try_way(patches_);
    if (!patches_ && detail::ProductWeightGradient<T>::pays(site_)) try_way(products_);
    if (!patches_ && !products_ && Patches::pays_in_tiles(site_)) try_way(patches_);
    if (!patches_ && !products_)
        weight_gradient_ =
            detail::WeightGradient<T>(site_, limits.plain_weights(4), limits.workspace(), where);
    const Desc packed = forward_.query(dnnl_query_weights_md);
    pack_forward_ = Primitive::reorder(plain, packed, where);
    forward_bytes_ = bytes(packed);
    if (site_.input_gradient)
        input_gradient_ = make(dnnl_backward_data, limits.plain_weights(sizeof(T)), &forward_);
    if (input_gradient_) {
        const Desc second = input_gradient_.query(dnnl_query_weights_md);
        one_copy_ = dnnl_memory_desc_equal(packed.get(), second.get()) != 0;
        if (!one_copy_) {
            pack_input_gradient_ = Primitive::reorder(plain, second, where);
            data_bytes_ = bytes(second);
        }
    }
    if (const Desc gradient = gradient_format(); gradient.get() != nullptr) {
        unpack_gradient_ = Primitive::reorder(gradient, plain, where);
        gradient_bytes_ = bytes(gradient);
    }
}

template <class T>
DirectConvolution<T>::DirectConvolution(const Site& site, const Team& team)
    : site_(site), team_(team), loops_(site, team) {
    const std::string where =
        text(site.facts.name, " ", to_string(site.input), " to ", to_string(site.output), ", kernel ",
             site.facts.window.kernel, ", ", site.images, " images, node ", site.node);
    make_primitives(where);
    const Desc x = detail::activation<T>(site.input, site.input_layout, site.images);
    const Desc y = detail::activation<T>(site.output, site.output_layout, site.images);
    const Desc bias = has_bias() ? detail::onednn::tagged({site.output.channels}, dnnl_x) : Desc();
    const auto weights = [](const Primitive& p) { return p ? p.query(dnnl_query_weights_md) : Desc(); };
    const Desc packed = weights(forward_), second = weights(input_gradient_);
    const Desc gradient = gradient_format();
    workers_.resize(static_cast<std::size_t>(std::max(site.lanes, 1)));
    for (Worker& worker : workers_) {
        if (has_bias()) {
            worker.forward = {
                forward_,
                {{DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, packed}, {DNNL_ARG_DST, y}, {DNNL_ARG_BIAS, bias}}};
        } else {
            worker.forward = {forward_, {{DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, packed}, {DNNL_ARG_DST, y}}};
        }
        worker.input_gradient = {
            input_gradient_, {{DNNL_ARG_DIFF_DST, y}, {DNNL_ARG_WEIGHTS, second}, {DNNL_ARG_DIFF_SRC, x}}};
    }
    const std::int64_t kernel = site.facts.window.kernel;
    const Desc plain =
        detail::onednn::tagged({site.output.channels, site.input.channels, kernel, kernel}, dnnl_oihw);
    pack_forward_operands_ = {pack_forward_, {{DNNL_ARG_FROM, plain}, {DNNL_ARG_TO, packed}}};
    pack_data_operands_ = {pack_input_gradient_, {{DNNL_ARG_FROM, plain}, {DNNL_ARG_TO, second}}};
    unpack_operands_ = {unpack_gradient_, {{DNNL_ARG_FROM, gradient}, {DNNL_ARG_TO, plain}}};
}

template <class T>
Needs DirectConvolution<T>::used() const {
    Needs used = LoopConvolution<T>::needs(site_);
    used.packed = aligned(forward_bytes_) + aligned(data_bytes_);
    used.scratch = std::max(forward_.scratch(), input_gradient_.scratch());
    if (gradient_bytes_ == 0) return used;
    used.partial = partial_bytes();
    const std::int64_t of_gradient = patches_    ? patches_->scratch()
                                     : products_ ? products_->scratch()
                                                 : partial_bytes() + weight_gradient_.scratch();
    used.scratch = std::max({used.scratch, of_gradient, gradient_bytes_}); // the last to unpack it
    return used;
}

template <class T>
void DirectConvolution<T>::pack(const Call& call) {
    const SingleThreaded single;
    if (pack_forward_) pack_forward_operands_.run({call.parameters[0], call.packed}, call.scratch);
    if (pack_input_gradient_)
        pack_data_operands_.run({call.parameters[0], detail::floats_at(call.packed, aligned(forward_bytes_))},
                                call.scratch);
}

template <class T>
void DirectConvolution<T>::forward(const Call& call) {
    if (!forward_) return loops_.forward(call);
    Operands& operands = workers_[static_cast<std::size_t>(call.worker)].forward;
    if (has_bias())
        operands.run({call.input, call.packed, call.output, call.parameters[1]}, call.scratch);
    else
        operands.run({call.input, call.packed, call.output}, call.scratch);
}

template <class T>
void DirectConvolution<T>::backward(const Call& call) {
    detail::zero_tail<T>(call.input, site_.input, call.count, site_.images);
    detail::zero_tail<T>(call.output_gradient, site_.output, call.count, site_.images);
    if (gradient_bytes_ > 0)
        weight_gradient(call);
    else
        loops_.weight_gradient(call);
    if (!site_.input_gradient) return;
    if (!input_gradient_) return loops_.input_gradient(call);
    const std::int64_t offset = one_copy_ ? 0 : aligned(forward_bytes_);
    workers_[static_cast<std::size_t>(call.worker)].input_gradient.run(
        {call.output_gradient, detail::floats_at(call.packed, offset), call.input_gradient}, call.scratch);
}

/// The library's convolutions cannot add to a weight gradient: all but a lane's first piece go through
/// scratch.
template <class T>
void DirectConvolution<T>::weight_gradient(const Call& call) {
    if (patches_) return patches_->run(call, detail::floats_at(call.partial));
    if (products_)
        return products_->run(call, detail::floats_at(call.partial),
                              has_bias() ? detail::floats_at(call.partial, bias_offset()) : nullptr);
    void* workspace = detail::floats_at(call.scratch, partial_bytes());
    bool add = call.accumulate;
    weight_gradient_.for_pieces(call, [&](auto compute) {
        void* to = add ? call.scratch : call.partial;
        compute(to, detail::floats_at(to, bias_offset()), workspace);
        const auto add_up = [&](std::int64_t offset, std::int64_t count) {
            float* __restrict sum = detail::floats_at(call.partial, offset);
            const float* __restrict term = detail::floats_at(call.scratch, offset);
            PLIMSOLL_SIMD
            for (std::int64_t i = 0; i < count; ++i) sum[i] += term[i];
        };
        if (add) add_up(0, gradient_bytes_ / 4);
        if (add && has_bias()) add_up(bias_offset(), site_.output.channels);
        add = true;
    });
}

template <class T>
void DirectConvolution<T>::reduce(const Call& call, int lanes) {
    if (gradient_bytes_ == 0) return loops_.reduce(call, lanes);
    constexpr std::int64_t at_once = 4096;
    const std::int64_t all = gradient_bytes_ / 4;
    team_.parallel(static_cast<int>((all + at_once - 1) / at_once), [&](int task, int) {
        const std::int64_t first = task * at_once, count = std::min(at_once, all - first);
        float* __restrict sum = detail::floats_at(call.partial, 4 * first);
        for (int lane = 1; lane < lanes; ++lane) {
            const float* __restrict term =
                detail::floats_at(call.partial, 4 * first + lane * call.partial_stride);
            PLIMSOLL_SIMD
            for (std::int64_t i = 0; i < count; ++i) sum[i] += term[i];
        }
    });
    const SingleThreaded single;
    if (has_bias())
        detail::sum_lanes(call.gradients[1], detail::floats_at(call.partial, bias_offset()),
                          site_.output.channels, call.partial_stride, lanes, call.accumulate);
    if (!call.accumulate) return unpack_operands_.run({call.partial, call.gradients[0]});
    unpack_operands_.run({call.partial, call.scratch});
    float* __restrict gradient = call.gradients[0]; // (F, C, K, K)
    const float* __restrict term = static_cast<const float*>(call.scratch);
    const std::int64_t count = site_.facts.parameters[0].size();
    PLIMSOLL_SIMD
    for (std::int64_t i = 0; i < count; ++i) gradient[i] += term[i];
}

} // namespace plimsoll::inline PLIMSOLL_ABI

#endif
