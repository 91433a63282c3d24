#pragma once
/// \file
/// Convolution on a GPU by cuDNN.

#include <plimsoll/device/cuda/arithmetic.cuh>
#include <plimsoll/device/cuda/column_sums.cuh>
#include <plimsoll/device/cuda/cudnn.cuh>

#include <algorithm>
#include <string>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// Weights (F, C, K, K) in float32 to (F, K, K, C) as layers work with them.
template <class T>
struct PackFilter {
    const float* kept;
    T* packed;
    int channels, area; ///< area: K x K
    __device__ void operator()(std::int64_t i) const {
        const Quotient channel = divide(i, channels), tap = divide(channel.quotient, area);
        packed[i] = stored<T>(kept[(tap.quotient * channels + channel.remainder) * area + tap.remainder]);
    }
};
/// A gradient (F, K, K, C) times `factor`, or its sum with what is there, as (F, C, K, K).
template <class T>
struct UnpackGradient {
    const T* from;
    float* gradient;
    float factor;
    int channels, area;
    bool add;
    __device__ void operator()(std::int64_t i) const {
        const Quotient channel = divide(i, channels), tap = divide(channel.quotient, area);
        float& to = gradient[(tap.quotient * channels + channel.remainder) * area + tap.remainder];
        to = factor * loaded(from[i]) + (add ? to : 0.0f);
    }
};

} // namespace detail

/// Slices run one after the other, so weight gradients are added where they belong: there are no partial
/// ones. What is behind a slice's last image becomes zeros, so that a ragged slice is a full one. \tparam T
/// of activations \tparam TensorFloat whether floats are multiplied as TF32
template <class T, bool TensorFloat>
class CudnnConvolution : public NodeKernel {
  public:
    CudnnConvolution(const Site& site, Cuda& device) : site_(site), device_(device) {
        using detail::cudnn::Direction;
        forward_ = plan(Direction::forward);
        if (!site.training) return;
        if (site.input_gradient) input_gradient_ = plan(Direction::input_gradient);
        weight_gradient_ = plan(Direction::weight_gradient);
    }

    /// What cuDNN is asked for.
    static detail::cudnn::Convolution wanted(const Site& site, detail::cudnn::Direction direction) {
        // Weight gradients are summed in float32 and then rounded: what returns floats of 16-bit operands is
        // many times slower.
        const bool sums = direction == detail::cudnn::Direction::weight_gradient;
        return {.direction = direction,
                .images = site.images,
                .input = site.input,
                .output = site.output,
                .window = site.facts.window,
                .type = detail::cudnn_type<T>,
                .scale = sums ? 1 / headroom_ : 1,
                .adds_bias = site.has_bias() && direction == detail::cudnn::Direction::forward,
                .tensor_cores = by_tensor_cores_,
                .workspace = workspace_limit(site),
                .input_alignment = alignment_of_slices(site, site.input),
                .output_alignment = alignment_of_slices(site, site.output)};
    }

    static constexpr Needs needs(const Site& site) {
        return {.packed = filter_bytes(site) + bias_copy_bytes(site),
                .scratch = gradient_bytes(site) + detail::workspace_slack +
                           std::max(workspace_limit(site), bias_bytes(site))};
    }
    [[nodiscard]] Needs used() const override {
        Needs used = needs(site_);
        used.scratch = gradient_bytes(site_) + detail::workspace_slack +
                       std::max({forward_.workspace(), input_gradient_.workspace(),
                                 weight_gradient_.workspace(), bias_bytes(site_)});
        return used;
    }
    [[nodiscard]] std::string choice() const override {
        const auto tell = [](const char* what, const detail::cudnn::ConvolutionPlan& plan) {
            return plan ? text(what, plan.engine(), " (", plan.workspace(), " B)") : std::string();
        };
        return text("cuDNN engines: ", tell("forward ", forward_), tell(", input gradient ", input_gradient_),
                    tell(", weight gradient ", weight_gradient_));
    }

    void pack(const Call& call) override {
        device_.for_each(weights(site_),
                         detail::PackFilter<T>{call.parameters[0], static_cast<T*>(call.packed),
                                               site_.input.channels, area()},
                         "packing a convolution");
        if constexpr (!std::same_as<T, float>)
            if (site_.has_bias())
                device_.for_each(site_.output.channels,
                                 detail::RoundTo<T>{call.parameters[1], packed_bias(call)},
                                 "packing a convolution's bias");
    }
    void forward(const Call& call) override {
        const void* bias = call.parameters[1]; // null where there is none
        if constexpr (!std::same_as<T, float>) bias = packed_bias(call);
        forward_.run(device_, call.input, call.packed, call.output, workspace(call), bias);
    }
    void backward(const Call& call) override {
        zero_tail(call.input, site_.input, call.count);
        zero_tail(call.output_gradient, site_.output, call.count);
        weight_gradient_.run(device_, call.input, call.scratch, call.output_gradient, workspace(call));
        const bool add = call.first > 0; // all but a batch's first slice
        device_.for_each(weights(site_),
                         detail::UnpackGradient<T>{static_cast<const T*>(call.scratch), call.gradients[0],
                                                   headroom_, site_.input.channels, area(), add},
                         "a convolution's weight gradient");
        if (site_.has_bias())
            detail::bias_gradient(device_, static_cast<const T*>(call.output_gradient),
                                  site_.output.pixels() * call.count, site_.output.channels,
                                  call.gradients[1], add, workspace(call));
        if (site_.input_gradient)
            input_gradient_.run(device_, call.input_gradient, call.packed, call.output_gradient,
                                workspace(call));
    }

  private:
    /// A half that is a sum over pixels would overflow long before what is summed does.
    static constexpr float headroom_ = std::same_as<T, half> ? 16 : 1;
    static constexpr bool by_tensor_cores_ = TensorFloat || !std::same_as<T, float>;

    static constexpr std::int64_t weights(const Site& site) { return site.facts.parameters[0].size(); }
    static constexpr std::int64_t filter_bytes(const Site& site) {
        return aligned(static_cast<std::int64_t>(sizeof(T)) * weights(site));
    }
    static constexpr std::int64_t bias_copy_bytes(const Site& site) {
        if (std::same_as<T, float> || !site.has_bias()) return 0;
        return aligned(static_cast<std::int64_t>(sizeof(T)) * site.output.channels);
    }
    [[nodiscard]] T* packed_bias(const Call& call) const {
        return reinterpret_cast<T*>(static_cast<std::byte*>(call.packed) + filter_bytes(site_));
    }
    /// A slice's gradient as the library returns it.
    static constexpr std::int64_t gradient_bytes(const Site& site) {
        return site.training ? filter_bytes(site) : 0;
    }
    static constexpr std::int64_t bias_bytes(const Site& site) {
        return site.training && site.has_bias() ? detail::column_sums_bytes(1, site.output.channels) : 0;
    }
    /// For filters in another layout and sums that are split. Pictures of floats are copied, but on Hopper
    /// for tensor cores; those of 16 bits with channels filled up, where they do not come in eights.
    static constexpr std::int64_t workspace_limit(const Site& site) {
        const auto picture = [](Shape shape) {
            const std::int64_t channels = by_tensor_cores_ ? round_up(shape.channels, 8) : shape.channels;
            return static_cast<std::int64_t>(sizeof(T)) * shape.pixels() * channels;
        };
        const std::int64_t pictures = site.images * (picture(site.input) + picture(site.output));
        const bool copies =
            std::same_as<T, float> || site.input.channels % 8 != 0 || site.output.channels % 8 != 0;
        return (std::int64_t{1} << 20) + aligned(16 * weights(site)) +
               aligned(copies ? pictures + pictures / 8 : std::min(pictures, std::int64_t{16} << 20));
    }
    [[nodiscard]] void* workspace(const Call& call) const {
        return detail::well_aligned(static_cast<std::byte*>(call.scratch) + gradient_bytes(site_));
    }
    [[nodiscard]] int area() const { return site_.facts.window.kernel * site_.facts.window.kernel; }
    /// A slice begins a number of images behind the part's start, which is well aligned.
    static std::int64_t alignment_of_slices(const Site& site, Shape shape) {
        const std::int64_t bytes = static_cast<std::int64_t>(sizeof(T)) * shape.size() * site.images;
        return std::min<std::int64_t>(16, bytes & -bytes);
    }

    detail::cudnn::ConvolutionPlan plan(detail::cudnn::Direction direction) const {
        const detail::cudnn::Convolution asked = wanted(site_, direction);
        detail::cudnn::ConvolutionPlan made(detail::cudnn::ThisGpu{device_.cudnn()}, asked);
        if (made) return made;
        constexpr const char* names[] = {"forward", "its input gradient", "its weight gradient"};
        throw device_error(text(
            "cuDNN has no way for ", site_.facts.name, " ", to_string(site_.input), " to ",
            to_string(site_.output), ", kernel ", site_.facts.window.kernel, ", ", site_.images,
            " images, node ", site_.node, ", ", names[static_cast<int>(direction)],
            ", that repeats its results in ", asked.workspace, " B of workspace",
            made.least_refused() > 0 ? text("; the least it asks for is ", made.least_refused(), " B") : ""));
    }
    void zero_tail(const void* operand, Shape shape, int count) const {
        auto* data = const_cast<T*>(static_cast<const T*>(operand)); // operands have room for `images`
        if (count < site_.images)
            device_.fill_zero(data + shape.size() * count,
                              shape.size() * (site_.images - count) * static_cast<std::int64_t>(sizeof(T)));
    }

    Site site_;
    Cuda& device_;
    detail::cudnn::ConvolutionPlan forward_, input_gradient_, weight_gradient_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
