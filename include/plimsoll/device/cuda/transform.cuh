#pragma once
/// \file
/// Functors of one or two values over whole arrays, 16 bytes at a time, and copies in another type.

#include <plimsoll/device/cuda/launch.cuh>
#include <plimsoll/device/cuda/numbers.cuh>

#include <cstdint>
#include <type_traits>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// out[i] = f(in[i]...) for `Width` elements at once; `out` may be one of the inputs.
template <int Width, class F, class T, class... In>
struct Transform;
template <int Width, class F, class T>
struct Transform<Width, F, T> {
    F f;
    Pack<T, Width>* out;
    const Pack<T, Width>* first;
    __device__ void operator()(std::int64_t i) const {
        const Pack<T, Width> a = first[i];
        Pack<T, Width> result;
#pragma unroll
        for (int k = 0; k < Width; ++k) result.values[k] = stored<T>(f(loaded(a.values[k])));
        out[i] = result;
    }
};
template <int Width, class F, class T>
struct Transform<Width, F, T, T> {
    F f;
    Pack<T, Width>* out;
    const Pack<T, Width>* first;
    const Pack<T, Width>* second;
    __device__ void operator()(std::int64_t i) const {
        const Pack<T, Width> a = first[i], b = second[i];
        Pack<T, Width> result;
#pragma unroll
        for (int k = 0; k < Width; ++k)
            result.values[k] = stored<T>(f(loaded(a.values[k]), loaded(b.values[k])));
        out[i] = result;
    }
};

template <int Width, class F, class T>
cudaError_t transform_packs(F f, std::int64_t count, T* out, const T* first, const T* second,
                            cudaStream_t stream) {
    using P = Pack<T, Width>;
    auto* to = reinterpret_cast<P*>(out);
    const auto *a = reinterpret_cast<const P*>(first), *b = reinterpret_cast<const P*>(second);
    if (count == 0) return cudaSuccess;
    if constexpr (std::is_invocable_v<F, float, float>)
        return for_each_index(count / Width, Transform<Width, F, T, T>{f, to, a, b}, stream);
    else
        return for_each_index(count / Width, Transform<Width, F, T>{f, to, a}, stream);
}

/// f over whole arrays: packs where all operands are aligned for them, then what is left.
/// \param second null for functors of one value
template <class F, class T>
cudaError_t transform(F f, std::int64_t count, T* out, const T* first, const T* second, cudaStream_t stream) {
    const bool packs = is_aligned(out, 16) && is_aligned(first, 16) && is_aligned(second, 16);
    const std::int64_t done = packs ? count / wide<T> * wide<T> : 0;
    const cudaError_t status = transform_packs<wide<T>>(f, done, out, first, second, stream);
    if (status != cudaSuccess) return status;
    return transform_packs<1>(f, count - done, out + done, first + done,
                              second == nullptr ? nullptr : second + done, stream);
}

/// 16-bit copies of what is kept in float32.
template <class T>
struct RoundTo {
    const float* from;
    T* to;
    __device__ void operator()(std::int64_t i) const { to[i] = stored<T>(from[i]); }
};

struct Plus {
    __device__ float operator()(float a, float b) const { return a + b; }
};

} // namespace detail

} // namespace plimsoll::inline PLIMSOLL_ABI
