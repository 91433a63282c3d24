#pragma once
/// \file
/// How a GPU computes under a precision.

#include <plimsoll/device/cuda/cuda.cuh>

#include <concepts>
#include <type_traits>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

template <class T>
concept cuda_storage = std::same_as<T, float> || std::same_as<T, half> || std::same_as<T, bfloat16>;

/// Activations as they are stored; sums are of float32.
template <class Precision>
struct CudaArithmetic {
    using Storage = typename Precision::Storage;
    static_assert(cuda_storage<Storage>,
                  "plimsoll: the Cuda device stores activations as float, half or bfloat16: use a Precision "
                  "with one of them as its Storage");
    static constexpr bool tf32 = std::same_as<typename Precision::Compute, tfloat32>;
};

template <class T>
inline constexpr cudaDataType_t cublas_type = std::same_as<T, half>       ? CUDA_R_16F
                                              : std::same_as<T, bfloat16> ? CUDA_R_16BF
                                                                          : CUDA_R_32F;
template <class T>
inline constexpr cudnnDataType_t cudnn_type = std::same_as<T, half>       ? CUDNN_DATA_HALF
                                              : std::same_as<T, bfloat16> ? CUDNN_DATA_BFLOAT16
                                                                          : CUDNN_DATA_FLOAT;

/// \throws device_error if the GPU, or the code for it, has no arithmetic for what is stored, or none for
/// TF32.
template <class Precision>
void require_arithmetic(const Cuda& device) {
    constexpr bool is_bfloat16 = std::same_as<typename CudaArithmetic<Precision>::Storage, bfloat16>;
    if constexpr (is_bfloat16 || CudaArithmetic<Precision>::tf32) {
        const cudaDeviceProp& gpu = device.properties();
        const auto refuse = [](const auto&... words) {
            throw device_error(text(Precision::name, " needs ", words..., is_bfloat16 ? "Half" : "Float"));
        };
        constexpr const char* needed = " compute capability 8.0 or newer, ";
        if (gpu.major < 8) refuse("a GPU of", needed, gpu.name, " has ", gpu.major, ".", gpu.minor, "; use ");
        if (device.compiled_for() < 80)
            refuse("code for", needed, "this program's is for ", device.compiled_for() / 10, ".",
                   device.compiled_for() % 10, ": build it with CMAKE_CUDA_ARCHITECTURES=", gpu.major,
                   gpu.minor, " or use ");
    }
}

} // namespace detail

} // namespace plimsoll::inline PLIMSOLL_ABI
