#pragma once
/// \file
/// Matrix products by cuBLASLt.

#include <plimsoll/core/units.hpp>
#include <plimsoll/device/cuda/arithmetic.cuh>

#include <algorithm>
#include <cstddef>
#include <string_view>

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
        /// Products of a batch: matrices of each operand lie side by side.
        int batch = 1;
        std::int64_t workspace = 0; ///< most bytes
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
                    wanted.transpose_a ? wanted.m : wanted.k, wanted.batch);
        make_layout(b_, wanted.operands, wanted.transpose_b ? wanted.n : wanted.k,
                    wanted.transpose_b ? wanted.k : wanted.n, wanted.batch);
        make_layout(d_, wanted.result, wanted.m, wanted.n, wanted.batch);
        choose(device, wanted, where);
    }

    /// \param bias null where none is added
    void run(const Cuda& device, const void* a, const void* b, void* d, bool add, const void* bias,
             void* workspace) const {
        const float one = 1, before = add ? 1.0f : 0.0f;
        if (bias != nullptr) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
        check(cublasLtMatmul(device.cublas(), product_.get(), &one, a, a_.get(), b, b_.get(), &before, d,
                             d_.get(), d, d_.get(), &algorithm_,
                             workspace_ == 0 ? nullptr : well_aligned(workspace), workspace_,
                             device.stream()),
              "cublasLtMatmul");
    }
    explicit operator bool() const { return static_cast<bool>(product_); }
    [[nodiscard]] std::int64_t workspace() const {
        return workspace_ == 0 ? 0 : static_cast<std::int64_t>(workspace_) + workspace_slack;
    }

  private:
    using Product = Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
    using Layout = Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
    using Preference = Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

    template <class Value>
    void set(cublasLtMatmulDescAttributes_t attribute, const Value& value) const {
        check(cublasLtMatmulDescSetAttribute(product_.get(), attribute, &value, sizeof value),
              "cublasLtMatmulDescSetAttribute");
    }
    static void make_layout(Layout& layout, cudaDataType_t type, int rows, int columns, int batch) {
        check(cublasLtMatrixLayoutCreate(layout.out(), type, static_cast<std::uint64_t>(rows),
                                         static_cast<std::uint64_t>(columns), rows),
              "cublasLtMatrixLayoutCreate");
        if (batch == 1) return;
        const auto describe = [&](cublasLtMatrixLayoutAttribute_t attribute, const auto& value) {
            check(cublasLtMatrixLayoutSetAttribute(layout.get(), attribute, &value, sizeof value),
                  "cublasLtMatrixLayoutSetAttribute");
        };
        describe(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, batch);
        describe(CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, std::int64_t{rows} * columns);
    }
    void choose(const Cuda& device, const Wanted& wanted, std::string_view where) {
        Preference preference;
        check(cublasLtMatmulPreferenceCreate(preference.out()), "cublasLtMatmulPreferenceCreate");
        const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
            check(cublasLtMatmulPreferenceSetAttribute(preference.get(), attribute, &value, sizeof value),
                  "cublasLtMatmulPreferenceSetAttribute");
        };
        prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
               static_cast<std::size_t>(std::max<std::int64_t>(0, wanted.workspace - workspace_slack)));
        // In place, partial sums meet in the order they come; of 16-bit results, they would be rounded.
        prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
               wanted.result == CUDA_R_32F ? std::uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE |
                                                           CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE}
                                           : std::uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
        for (const auto attribute :
             {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
              CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
            prefer(attribute, static_cast<std::uint32_t>(alignment));
        cublasLtMatmulHeuristicResult_t found{};
        int count = 0;
        const cublasStatus_t status =
            cublasLtMatmulAlgoGetHeuristic(device.cublas(), product_.get(), a_.get(), b_.get(), d_.get(),
                                           d_.get(), preference.get(), 1, &found, &count);
        if (status == CUBLAS_STATUS_NOT_SUPPORTED ||
            (status == CUBLAS_STATUS_SUCCESS && (count == 0 || found.state != CUBLAS_STATUS_SUCCESS)))
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

} // namespace detail

} // namespace plimsoll::inline PLIMSOLL_ABI
