#pragma once
/// \file
/// Every status of CUDA, cuDNN and cuBLASLt becomes a device_error that names the call, its place and the
/// library's reason.

#include <plimsoll/core/error.hpp>
#include <plimsoll/device/cuda/toolkit.cuh>

#include <source_location>
#include <string>
#include <string_view>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

[[noreturn]] inline void refuse(std::string_view call, std::string_view reason,
                                const std::source_location& place) {
    std::string_view file = place.file_name();
    if (const auto at = file.rfind("plimsoll/"); at != std::string_view::npos) file.remove_prefix(at);
    throw device_error(text(call, " failed: ", reason, " [", file, ":", place.line(), "]"));
}

inline void check(cudaError_t status, std::string_view call,
                  const std::source_location& place = std::source_location::current()) {
    if (status == cudaSuccess) return;
    cudaGetLastError(); // an error that can be forgotten is not told again by the next call
    refuse(call, text(cudaGetErrorName(status), ", ", cudaGetErrorString(status)), place);
}

inline void check(cudnnStatus_t status, std::string_view call,
                  const std::source_location& place = std::source_location::current()) {
    if (status == CUDNN_STATUS_SUCCESS) return;
    char detail[512] = "";
    cudnnGetLastErrorString(detail, sizeof detail);
    refuse(call, text(cudnnGetErrorString(status), detail[0] != '\0' ? ", " : "", detail), place);
}

inline void check(cublasStatus_t status, std::string_view call,
                  const std::source_location& place = std::source_location::current()) {
    if (status == CUBLAS_STATUS_SUCCESS) return;
    refuse(call, text(cublasLtGetStatusName(status), ", ", cublasLtGetStatusString(status)), place);
}

} // namespace detail

} // namespace plimsoll::inline PLIMSOLL_ABI
