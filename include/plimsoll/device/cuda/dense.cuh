#pragma once
/// \file
/// Dense layers by cuBLASLt.

#include <plimsoll/device/cuda/column_sums.cuh>
#include <plimsoll/device/cuda/matrix_product.cuh>

#include <algorithm>
#include <string>

namespace plimsoll::inline PLIMSOLL_ABI {

/// y = x W^T + b over the whole micro-batch. What is behind its last image becomes zeros, so that a ragged
/// batch is a full one. \tparam T of activations \tparam TensorFloat whether floats are multiplied as TF32
template <class T, bool TensorFloat>
class CudaDense : public NodeKernel {
  public:
    CudaDense(const Site& site, Cuda& device)
        : device_(device),
          images_(site.images),
          inputs_(site.input.channels),
          outputs_(site.output.channels),
          has_bias_(site.has_bias()),
          sums_bytes_(sums_bytes(site)) {
        const std::string where = text(site.facts.name, "<", outputs_, "> of ", inputs_, " inputs, ", images_,
                                       " images, node ", site.node);
        detail::MatrixProduct::Wanted wanted{.operands = detail::cublas_type<T>,
                                             .result = detail::cublas_type<T>,
                                             .tf32 = TensorFloat,
                                             .workspace = workspace_limit(site)};
        // Row by row (N, F) is column by column F x N: y^T = W x^T.
        wanted.m = outputs_, wanted.n = images_, wanted.k = inputs_;
        wanted.transpose_a = true;
        wanted.adds_bias = has_bias_;
        forward_ = {device, wanted, where};
        if (!site.training) return;
        wanted.adds_bias = false;
        if (site.input_gradient) { // dx^T = W^T dy^T
            wanted.m = inputs_, wanted.n = images_, wanted.k = outputs_;
            wanted.transpose_a = false;
            input_gradient_ = {device, wanted, where};
        }
        // dW^T = x^T dy
        wanted.m = inputs_, wanted.n = outputs_, wanted.k = images_;
        wanted.transpose_a = false, wanted.transpose_b = true;
        wanted.result = CUDA_R_32F;
        weight_gradient_ = {device, wanted, where};
    }

    static constexpr Needs needs(const Site& site) {
        return {.packed = std::same_as<T, float> ? 0 : weight_bytes(site) + bias_bytes(site),
                .scratch = std::max(workspace_limit(site), sums_bytes(site))};
    }
    [[nodiscard]] Needs used() const override {
        return {.scratch = std::max({forward_.workspace(), input_gradient_.workspace(),
                                     weight_gradient_.workspace(), sums_bytes_})};
    }

    [[nodiscard]] std::string choice() const override {
        const auto tell = [](const char* what, const detail::MatrixProduct& product) {
            return product ? text(what, product.workspace(), " B") : std::string();
        };
        return text("cuBLASLt, workspaces: ", tell("forward ", forward_),
                    tell(", input gradient ", input_gradient_), tell(", weight gradient ", weight_gradient_));
    }

    void pack(const Call& call) override {
        if constexpr (!std::same_as<T, float>) {
            const std::int64_t weights = std::int64_t{inputs_} * outputs_;
            device_.for_each(weights, detail::RoundTo<T>{call.parameters[0], static_cast<T*>(call.packed)},
                             "packing a Dense layer");
            if (has_bias_)
                device_.for_each(outputs_, detail::RoundTo<T>{call.parameters[1], packed_bias(call)},
                                 "packing a Dense layer");
        }
    }
    void forward(const Call& call) override {
        forward_.run(device_, weights(call), call.input, call.output, false, has_bias_ ? bias(call) : nullptr,
                     call.scratch);
    }
    void backward(const Call& call) override {
        zero_tail(call.input, inputs_, call.count);
        zero_tail(call.output_gradient, outputs_, call.count);
        weight_gradient_.run(device_, call.input, call.output_gradient, call.gradients[0], call.accumulate,
                             nullptr, call.scratch);
        if (has_bias_)
            detail::bias_gradient(device_, static_cast<const T*>(call.output_gradient), call.count, outputs_,
                                  call.gradients[1], call.accumulate, call.scratch);
        if (input_gradient_)
            input_gradient_.run(device_, weights(call), call.output_gradient, call.input_gradient, false,
                                nullptr, call.scratch);
    }

  private:
    static constexpr std::int64_t weight_bytes(const Site& site) {
        return aligned(static_cast<std::int64_t>(sizeof(T)) * site.input.channels * site.output.channels);
    }
    static constexpr std::int64_t bias_bytes(const Site& site) {
        return aligned(static_cast<std::int64_t>(sizeof(T)) * site.output.channels);
    }
    /// Of a bias's gradient.
    static constexpr std::int64_t sums_bytes(const Site& site) {
        return site.training && site.has_bias() ? detail::column_sums_bytes(1, site.output.channels) : 0;
    }
    /// Enough to split a weight gradient in a few.
    static constexpr std::int64_t workspace_limit(const Site& site) {
        return std::min(std::int64_t{4} << 20,
                        aligned(std::int64_t{32} * site.input.channels * site.output.channels));
    }
    T* packed_bias(const Call& call) const {
        return reinterpret_cast<T*>(static_cast<std::byte*>(call.packed) +
                                    aligned(static_cast<std::int64_t>(sizeof(T)) * inputs_ * outputs_));
    }
    [[nodiscard]] const void* weights(const Call& call) const {
        return std::same_as<T, float> ? call.parameters[0] : call.packed;
    }
    [[nodiscard]] const void* bias(const Call& call) const {
        if constexpr (std::same_as<T, float>)
            return call.parameters[1];
        else
            return packed_bias(call);
    }
    void zero_tail(const void* operand, int width, int count) const {
        auto* data = const_cast<T*>(static_cast<const T*>(operand)); // operands have room for all images
        if (count < images_)
            device_.fill_zero(data + std::int64_t{count} * width,
                              std::int64_t{images_ - count} * width * static_cast<std::int64_t>(sizeof(T)));
    }

    Cuda& device_;
    int images_, inputs_, outputs_;
    bool has_bias_;
    std::int64_t sums_bytes_;
    detail::MatrixProduct forward_, input_gradient_, weight_gradient_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
