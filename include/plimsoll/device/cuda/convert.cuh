#pragma once
/// \file
/// Stored numbers in device code, converted by the GPU's own instructions.

#include <plimsoll/core/storage.hpp>
#include <plimsoll/device/cuda/toolkit.cuh>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

__device__ inline float loaded(float value) { return value; }
__device__ inline float loaded(half value) { return __half2float(__ushort_as_half(value.bits)); }
__device__ inline float loaded(bfloat16 value) { return __uint_as_float(std::uint32_t{value.bits} << 16); }

/// To the nearest, halves to even.
template <class T>
__device__ T stored(float value);
template <>
__device__ inline float stored<float>(float value) {
    return value;
}
template <>
__device__ inline half stored<half>(float value) {
    return {__half_as_ushort(__float2half_rn(value))};
}
template <>
__device__ inline bfloat16 stored<bfloat16>(float value) {
    return {__bfloat16_as_ushort(__float2bfloat16_rn(value))};
}

/// Rounded to the nearest, whatever a compiler is told of fast arithmetic.
__device__ inline float quotient(float a, float b) { return __fdiv_rn(a, b); }

} // namespace detail

} // namespace plimsoll::inline PLIMSOLL_ABI
