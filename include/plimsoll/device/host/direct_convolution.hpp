#pragma once
/// \file
/// Convolution by oneDNN's direct algorithm.

#include <plimsoll/device/host/convolution_shape.hpp>
#include <plimsoll/device/host/input_gradient.hpp>
#include <plimsoll/device/host/loops.hpp>
#include <plimsoll/device/host/patch_weight_gradient.hpp>
#include <plimsoll/device/host/product_weight_gradient.hpp>
#include <plimsoll/device/host/weight_gradient.hpp>
#include <plimsoll/device/host/weight_gradient_way.hpp>

#if PLIMSOLL_WITH_ONEDNN

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
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
        return forward_weights() + (site.training && site.input_gradient ? plain_weights(element_bytes) : 0);
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
        if (!site.training) return {.packed = limits.packed(), .scratch = limits.workspace()};
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
                weight_gradient_ ? weight_gradient_->implementation() : std::string_view{},
                input_gradient_ ? input_gradient_->implementation() : std::string_view{}};
    }

    void pack(const Call& call) override;
    void forward(const Call& call) override;
    void backward(const Call& call) override;
    void reduce(const Call& call, int lanes) override;

  private:
    using Desc = detail::onednn::Desc;
    using Primitive = detail::onednn::Primitive;
    using Operands = detail::onednn::Operands;

    void make_forward(const detail::ConvolutionShape<T>& shape, const std::string& where);
    /// The first way that pays and that the library is fast at; none where plain loops do it.
    std::unique_ptr<detail::WeightGradientWay> find_weight_gradient(const std::string& where) const;
    void make_unpacking(const std::string& where);

    Site site_;
    Team team_;
    LoopConvolution<T> loops_;
    Primitive forward_;
    std::optional<detail::InputGradient<T>> input_gradient_;
    std::unique_ptr<detail::WeightGradientWay> weight_gradient_;
    Primitive pack_forward_, unpack_gradient_;
    std::int64_t forward_bytes_ = 0; ///< packed weights of forward

    std::vector<Operands> forward_operands_; ///< of a worker
    Operands pack_forward_operands_;
    std::vector<Operands> unpack_operands_; ///< of a strip of filters
};

template <class T>
DirectConvolution<T>::DirectConvolution(const Site& site, const Team& team)
    : site_(site), team_(team), loops_(site, team) {
    const std::string where =
        text(site.facts.name, " ", to_string(site.input), " to ", to_string(site.output), ", kernel ",
             site.facts.window.kernel, ", ", site.images, " images, node ", site.node);
    const detail::ConvolutionShape<T> shape(site);
    if (!shape) return;
    make_forward(shape, where);
    if (!forward_ || !site.training) return; // the others are chosen by it
    const detail::ConvolutionLimits limits{site, sizeof(T)};
    if (site.input_gradient) {
        input_gradient_.emplace(site, shape, forward_, limits.plain_weights(sizeof(T)), limits.workspace(),
                                where);
        if (!*input_gradient_) input_gradient_.reset();
    }
    weight_gradient_ = find_weight_gradient(where);
    if (weight_gradient_) make_unpacking(where);
}

template <class T>
void DirectConvolution<T>::make_forward(const detail::ConvolutionShape<T>& shape, const std::string& where) {
    using detail::onednn::bytes, detail::onednn::tagged;
    const std::int64_t kernel = site_.facts.window.kernel;
    const std::int64_t filters = site_.output.channels, channels = site_.input.channels;
    const Desc any = tagged<T>({filters, channels, kernel, kernel}, dnnl_format_tag_any);
    const Desc plain = tagged({filters, channels, kernel, kernel}, dnnl_oihw);
    const Desc bias = site_.has_bias() ? tagged({filters}, dnnl_x) : Desc();
    const detail::ConvolutionLimits limits{site_, sizeof(T)};
    forward_ = Primitive::convolution(dnnl_forward_training, shape.x, any, bias, shape.y, shape.strides,
                                      shape.before, shape.behind, nullptr, limits.workspace(), where);
    forward_bytes_ = bytes(forward_.weights());
    if (forward_bytes_ > limits.forward_weights()) forward_ = {};
    if (!forward_) return;
    const Desc packed = forward_.weights();
    pack_forward_ = Primitive::reorder(plain, packed, where);
    pack_forward_operands_ = {pack_forward_, {{DNNL_ARG_FROM, plain}, {DNNL_ARG_TO, packed}}};
    for (int worker = 0; worker < std::max(site_.lanes, 1); ++worker) {
        if (site_.has_bias())
            forward_operands_.push_back({forward_,
                                         {{DNNL_ARG_SRC, shape.x},
                                          {DNNL_ARG_WEIGHTS, packed},
                                          {DNNL_ARG_DST, shape.y},
                                          {DNNL_ARG_BIAS, bias}}});
        else
            forward_operands_.push_back(
                {forward_, {{DNNL_ARG_SRC, shape.x}, {DNNL_ARG_WEIGHTS, packed}, {DNNL_ARG_DST, shape.y}}});
    }
}

template <class T>
std::unique_ptr<detail::WeightGradientWay>
DirectConvolution<T>::find_weight_gradient(const std::string& where) const {
    using Way = std::unique_ptr<detail::WeightGradientWay>;
    using Patches = detail::PatchWeightGradient<T>;
    using Products = detail::ProductWeightGradient<T>;
    using Library = detail::WeightGradient<T>;
    const detail::ConvolutionLimits limits{site_, sizeof(T)};
    const std::int64_t most_scratch = needs(site_).scratch;
    const auto if_fast = [](Way way) { return *way ? std::move(way) : nullptr; };
    Way way;
    if (Patches::pays(site_)) way = if_fast(std::make_unique<Patches>(site_, most_scratch, where));
    if (!way && Products::pays(site_)) way = if_fast(std::make_unique<Products>(site_, most_scratch, where));
    if (!way && Patches::pays_in_tiles(site_))
        way = if_fast(std::make_unique<Patches>(site_, most_scratch, where));
    if (!way)
        way = if_fast(std::make_unique<Library>(site_, limits.plain_weights(4), limits.workspace(), where));
    return way;
}

/// By taps, several threads unpack some of the filters each.
template <class T>
void DirectConvolution<T>::make_unpacking(const std::string& where) {
    const std::int64_t kernel = site_.facts.window.kernel;
    const std::int64_t filters = site_.output.channels, channels = site_.input.channels;
    int strips = 1;
    for (const int more : {2, 4, 8})
        if (weight_gradient_->is_by_taps() && filters % (16 * more) == 0) strips = more;
    const std::int64_t some = filters / strips;
    const Desc from =
        weight_gradient_->is_by_taps() ? detail::by_taps(site_, some) : weight_gradient_->format();
    const Desc to = detail::onednn::tagged({some, channels, kernel, kernel}, dnnl_oihw);
    unpack_gradient_ = Primitive::reorder(from, to, where);
    for (int strip = 0; strip < strips; ++strip)
        unpack_operands_.push_back({unpack_gradient_, {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}}});
}

template <class T>
Needs DirectConvolution<T>::used() const {
    Needs used = site_.training ? LoopConvolution<T>::needs(site_) : Needs{};
    used.packed = aligned(forward_bytes_);
    used.scratch = aligned(pack_forward_.scratch());
    if (input_gradient_) {
        used.packed += aligned(input_gradient_->packed_bytes());
        used.scratch += input_gradient_->scratch(); // packed at the same time
    }
    used.scratch = std::max(used.scratch, forward_.scratch());
    if (!weight_gradient_) return used;
    used.partial = weight_gradient_->partial_bytes();
    used.scratch = std::max({used.scratch, weight_gradient_->scratch(), weight_gradient_->gradient_bytes()});
    return used;
}

template <class T>
void DirectConvolution<T>::pack(const Call& call) {
    if (!forward_) return;
    const float* weights = call.parameters[0]; // (F, C, K, K)
    void* seconds = detail::floats_at(call.packed, aligned(forward_bytes_));
    void* second_scratch = detail::floats_at(call.scratch, aligned(pack_forward_.scratch()));
    team_.parallel(input_gradient_ ? 2 : 1, [&](int task, int) {
        if (task == 0)
            pack_forward_operands_.run({weights, call.packed}, call.scratch);
        else
            input_gradient_->pack(weights, seconds, second_scratch);
    });
}

template <class T>
void DirectConvolution<T>::forward(const Call& call) {
    if (!forward_) return loops_.forward(call);
    Operands& operands = forward_operands_[static_cast<std::size_t>(call.worker)];
    if (site_.has_bias())
        operands.run({call.input, call.packed, call.output, call.parameters[1]}, call.scratch);
    else
        operands.run({call.input, call.packed, call.output}, call.scratch);
}

template <class T>
void DirectConvolution<T>::backward(const Call& call) {
    detail::zero_tail<T>(call.input, site_.input, call.count, site_.images);
    detail::zero_tail<T>(call.output_gradient, site_.output, call.count, site_.images);
    if (weight_gradient_)
        weight_gradient_->run(call);
    else
        loops_.weight_gradient(call);
    if (!site_.input_gradient) return;
    if (!input_gradient_) return loops_.input_gradient(call);
    input_gradient_->run(call, call.packed, detail::floats_at(call.packed, aligned(forward_bytes_)));
}

template <class T>
void DirectConvolution<T>::reduce(const Call& call, int lanes) {
    if (!weight_gradient_) return loops_.reduce(call, lanes);
    if (site_.has_bias())
        detail::sum_lanes(call.gradients[1], detail::floats_at(call.partial, weight_gradient_->bias_offset()),
                          site_.output.channels, call.partial_stride, lanes, call.accumulate);
    constexpr std::int64_t at_once = 4096;
    const std::int64_t all = weight_gradient_->gradient_bytes() / 4;
    team_.parallel(static_cast<int>((all + at_once - 1) / at_once), [&](int task, int) {
        const std::int64_t first = task * at_once, count = std::min(at_once, all - first);
        float* sum = detail::floats_at(call.partial, 4 * first);
        for (int lane = 1; lane < lanes; ++lane)
            detail::add_floats(sum, detail::floats_at(call.partial, 4 * first + lane * call.partial_stride),
                               count);
    });
    const auto strips = static_cast<int>(unpack_operands_.size());
    const std::int64_t filters = site_.output.channels / strips;
    const std::int64_t piece = site_.facts.parameters[0].size() / strips;
    team_.parallel(strips, [&](int strip, int) {
        const void* packed = detail::floats_at(call.partial, 4 * filters * strip);
        float* gradient = call.gradients[0] + piece * strip; // (filters, C, K, K)
        Operands& operands = unpack_operands_[static_cast<std::size_t>(strip)];
        if (!call.accumulate) return operands.run({packed, gradient});
        float* term = detail::floats_at(call.scratch, 4 * piece * strip);
        operands.run({packed, term});
        detail::add_floats(gradient, term, piece);
    });
}

} // namespace plimsoll::inline PLIMSOLL_ABI

#endif
