#pragma once
/// \file
/// Dense layers by cuBLASLt.

#include <plimsoll/device/cuda/arithmetic.cuh>
#include <plimsoll/device/cuda/column_sums.cuh>

#include <algorithm>
#include <array>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// D = op(A) op(B), or D += that, in cuBLASLt's column-major terms; D's sums are float32. The algorithm is
/// chosen once, among those whose results repeat and whose workspace keeps to a limit.
class MatrixProduct {
  public:
    struct Wanted {
        int m = 0, n = 0, k = 0; ///< D is m x n, op(A) m x k, op(B) k x n
        bool transpose_a = false, transpose_b = false;
        cudaDataType_t operands = CUDA_R_32F, result = CUDA_R_32F;
        bool tf32 = false;
        bool adds_bias = false; ///< m values, of the result's type, to each column of D
        std::int64_t workspace = 0;
    };

    MatrixProduct() = default;
    /// \throws device_error naming shape and workspace if the library has no such algorithm.
    MatrixProduct(const Cuda& device, const Wanted& wanted, std::string_view where) {
        const auto compute = wanted.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
        check(cublasLtMatmulDescCreate(product_.out(), compute, CUDA_R_32F), "cublasLtMatmulDescCreate");
        const cublasOperation_t a = wanted.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
        const cublasOperation_t b = wanted.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N;
        set(CUBLASLT_MATMUL_DESC_TRANSA, a);
        set(CUBLASLT_MATMUL_DESC_TRANSB, b);
        if (wanted.adds_bias) {
            set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
            // Any address as well aligned as those to come: the choice looks at it and does not read there.
            set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, reinterpret_cast<const void*>(alignment));
        }
        make_layout(a_, wanted.operands, wanted.transpose_a ? wanted.k : wanted.m,
                    wanted.transpose_a ? wanted.m : wanted.k);
        make_layout(b_, wanted.operands, wanted.transpose_b ? wanted.n : wanted.k,
                    wanted.transpose_b ? wanted.k : wanted.n);
        make_layout(d_, wanted.result, wanted.m, wanted.n);
        choose(device, wanted, where);
    }

    /// \param bias null where none is added
    void run(const Cuda& device, const void* a, const void* b, void* d, bool add, const void* bias,
             void* workspace) const {
        const float one = 1, before = add ? 1.0f : 0.0f;
        if (bias != nullptr) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
        check(cublasLtMatmul(device.cublas(), product_.get(), &one, a, a_.get(), b, b_.get(), &before, d,
                             d_.get(), d, d_.get(), &algorithm_, workspace, workspace_, device.stream()),
              "cublasLtMatmul");
    }
    [[nodiscard]] std::int64_t workspace() const { return static_cast<std::int64_t>(workspace_); }

  private:
    using Product = Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
    using Layout = Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
    using Preference = Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

    template <class Value>
    void set(cublasLtMatmulDescAttributes_t attribute, const Value& value) const {
        check(cublasLtMatmulDescSetAttribute(product_.get(), attribute, &value, sizeof value),
              "cublasLtMatmulDescSetAttribute");
    }
    static void make_layout(Layout& layout, cudaDataType_t type, int rows, int columns) {
        check(cublasLtMatrixLayoutCreate(layout.out(), type, static_cast<std::uint64_t>(rows),
                                         static_cast<std::uint64_t>(columns), rows),
              "cublasLtMatrixLayoutCreate");
    }
    void choose(const Cuda& device, const Wanted& wanted, std::string_view where) {
        Preference preference;
        check(cublasLtMatmulPreferenceCreate(preference.out()), "cublasLtMatmulPreferenceCreate");
        const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
            check(cublasLtMatmulPreferenceSetAttribute(preference.get(), attribute, &value, sizeof value),
                  "cublasLtMatmulPreferenceSetAttribute");
        };
        prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<std::size_t>(wanted.workspace));
        // In place, partial sums meet in the order they come.
        prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
               std::uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE | CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE});
        for (const auto attribute :
             {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
              CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
            prefer(attribute, static_cast<std::uint32_t>(alignment));
        cublasLtMatmulHeuristicResult_t found{};
        int count = 0;
        const cublasStatus_t status =
            cublasLtMatmulAlgoGetHeuristic(device.cublas(), product_.get(), a_.get(), b_.get(), d_.get(),
                                           d_.get(), preference.get(), 1, &found, &count);
        if (status == CUBLAS_STATUS_NOT_SUPPORTED || (status == CUBLAS_STATUS_SUCCESS && count == 0))
            throw device_error(text("cuBLASLt has no product of ", wanted.m, " x ", wanted.k, " and ",
                                    wanted.k, " x ", wanted.n, " matrices in ", wanted.workspace,
                                    " B of workspace, for ", where));
        check(status, "cublasLtMatmulAlgoGetHeuristic");
        algorithm_ = found.algo;
        workspace_ = found.workspaceSize;
    }

    Product product_;
    Layout a_, b_, d_;
    cublasLtMatmulAlgo_t algorithm_{};
    std::size_t workspace_ = 0;
};

/// 16-bit copies of what is kept in float32.
template <class T>
struct RoundTo {
    const float* from;
    T* to;
    __device__ void operator()(std::int64_t i) const { to[i] = stored<T>(from[i]); }
};

} // namespace detail

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
          has_bias_(site.facts.parameters.size() > 1) {
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
        wanted.adds_bias = false;
        if (site.input_gradient) { // dx^T = W^T dy^T
            wanted.m = inputs_, wanted.n = images_, wanted.k = outputs_;
            wanted.transpose_a = false;
            input_gradient_ = {device, wanted, where};
            gives_input_gradient_ = true;
        }
        // dW^T = x^T dy
        wanted.m = inputs_, wanted.n = outputs_, wanted.k = images_;
        wanted.transpose_a = false, wanted.transpose_b = true;
        wanted.result = CUDA_R_32F;
        weight_gradient_ = {device, wanted, where};
    }

    static constexpr Needs needs(const Site& site) {
        return {.packed = std::same_as<T, float> ? 0 : weight_bytes(site) + bias_bytes(site),
                .scratch =
                    std::max(workspace_limit(site), detail::column_sums_bytes(1, site.output.channels))};
    }
    [[nodiscard]] Needs used() const override {
        const std::int64_t bias = has_bias_ ? detail::column_sums_bytes(1, outputs_) : 0;
        return {.scratch = std::max(
                    {forward_.workspace(), input_gradient_.workspace(), weight_gradient_.workspace(), bias})};
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
        if (gives_input_gradient_)
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
    bool has_bias_, gives_input_gradient_ = false;
    detail::MatrixProduct forward_, input_gradient_, weight_gradient_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
