#pragma once
/// \file
/// The input gradient of a convolution on oneDNN, within a limit of workspace.

#include <plimsoll/device/host/convolution_shape.hpp>
#include <plimsoll/device/host/loops.hpp>
#include <plimsoll/device/kernel.hpp>

#if PLIMSOLL_WITH_ONEDNN

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI::detail {

/// By the library's own way; or, where the processor multiplies tiles (AMX), as a convolution of the output's
/// gradient with turned windows, for which the library has newer kernels: up to three times as fast for
/// pictures of few pixels. \tparam T float or bfloat16: of activations and packed weights
template <class T>
class InputGradient {
  public:
    /// \param forward the convolution itself \param most_bytes of packed weights
    /// \param most_scratch bytes of the library's workspace
    InputGradient(const Site& site, const ConvolutionShape<T>& shape, const onednn::Primitive& forward,
                  std::int64_t most_bytes, std::int64_t most_scratch, const std::string& where)
        : filters_(site.output.channels), channels_(site.input.channels), kernel_(site.facts.window.kernel) {
        using onednn::Desc, onednn::Operands, onednn::Primitive, onednn::tagged;
        const auto accepts = [&](const Primitive& made) {
            return made && onednn::bytes(made.weights()) <= most_bytes;
        };
        if (can_turn(site)) {
            const std::int64_t beyond = kernel_ - 1 - site.facts.window.padding;
            const dnnl_dims_t around = {beyond, beyond};
            const Desc any = tagged<T>({channels_, filters_, kernel_, kernel_}, dnnl_format_tag_any);
            primitive_ = Primitive::convolution(dnnl_forward_training, shape.y, any, Desc(), shape.x,
                                                shape.strides, around, around, nullptr, most_scratch, where);
            is_turned_ = accepts(primitive_) && primitive_.multiplies_tiles();
        }
        if (!is_turned_) {
            const Desc any = tagged<T>({filters_, channels_, kernel_, kernel_}, dnnl_format_tag_any);
            primitive_ =
                Primitive::convolution(dnnl_backward_data, shape.x, any, Desc(), shape.y, shape.strides,
                                       shape.before, shape.behind, &forward, most_scratch, where);
            if (!accepts(primitive_)) primitive_ = {};
        }
        if (!*this) return;
        const Desc packed = primitive_.weights();
        reads_forwards_ = !is_turned_ && dnnl_memory_desc_equal(packed.get(), forward.weights().get()) != 0;
        if (!reads_forwards_) {
            const Desc plain =
                is_turned_ ? exchanged() : tagged({filters_, channels_, kernel_, kernel_}, dnnl_oihw);
            pack_ = Primitive::reorder(plain, packed, where);
            pack_operands_ = {pack_, {{DNNL_ARG_FROM, plain}, {DNNL_ARG_TO, packed}}};
        }
        const int from = is_turned_ ? DNNL_ARG_SRC : DNNL_ARG_DIFF_DST;
        const int to = is_turned_ ? DNNL_ARG_DST : DNNL_ARG_DIFF_SRC;
        for (int worker = 0; worker < std::max(site.lanes, 1); ++worker)
            operands_.push_back(
                Operands(primitive_, {{from, shape.y}, {DNNL_ARG_WEIGHTS, packed}, {to, shape.x}}));
    }
    InputGradient(InputGradient&&) = delete; // operands point to their primitive

    /// Whether the library has a fast way within the limits.
    [[nodiscard]] explicit operator bool() const { return static_cast<bool>(primitive_); }
    /// Of its own packed weights; 0 where it reads those of forward.
    [[nodiscard]] std::int64_t packed_bytes() const {
        return reads_forwards_ ? 0 : onednn::bytes(primitive_.weights());
    }
    [[nodiscard]] std::int64_t scratch() const {
        return std::max(primitive_.scratch(), turned_bytes() + pack_.scratch());
    }
    [[nodiscard]] std::string_view implementation() const { return primitive_.implementation(); }

    /// \param weights (F, C, K, K) \param packed packed_bytes, if there are any
    void pack(const float* weights, void* packed, void* scratch) {
        if (!pack_) return;
        if (turned_bytes() > 0) weights = turn(weights, static_cast<float*>(scratch));
        pack_operands_.run({weights, packed}, floats_at(scratch, turned_bytes()));
    }
    /// \param call its operands have zeros behind the last image
    /// \param forwards the packed weights of forward \param own those that `pack` made
    void run(const Call& call, const void* forwards, const void* own) {
        operands_[static_cast<std::size_t>(call.worker)].run(
            {call.output_gradient, reads_forwards_ ? forwards : own, call.input_gradient}, call.scratch);
    }

  private:
    static bool can_turn(const Site& site) {
        const Window window = site.facts.window;
        return sizeof(T) == 2 && computes_bfloat16_tiles() && window.stride == 1 &&
               window.padding < window.kernel;
    }
    /// Windows are turned in a copy of the weights, one of one pixel stays.
    [[nodiscard]] std::int64_t turned_bytes() const {
        return is_turned_ && kernel_ > 1 ? aligned(4 * size()) : 0;
    }
    [[nodiscard]] std::int64_t size() const { return filters_ * channels_ * kernel_ * kernel_; }
    /// \param weights (F, C, K, K) \param to the same, windows turned by 180 degrees
    const float* turn(const float* weights, float* to) const {
        const std::int64_t taps = kernel_ * kernel_;
        for (std::int64_t window = 0; window < size(); window += taps)
            std::reverse_copy(weights + window, weights + window + taps, to + window);
        return to;
    }
    /// (C, F, K, K), as (F, C, K, K) lie.
    [[nodiscard]] onednn::Desc exchanged() const {
        const std::int64_t taps = kernel_ * kernel_;
        return onednn::strided({channels_, filters_, kernel_, kernel_}, {taps, channels_ * taps, kernel_, 1});
    }

    std::int64_t filters_, channels_, kernel_;
    bool is_turned_ = false;
    bool reads_forwards_ = false; ///< the packed weights of forward
    onednn::Primitive primitive_, pack_;
    onednn::Operands pack_operands_;
    std::vector<onednn::Operands> operands_; ///< of a worker
};

} // namespace plimsoll::inline PLIMSOLL_ABI::detail

#endif
