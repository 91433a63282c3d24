#pragma once
/// \file
/// How device code finds and moves stored numbers: 16 bytes at a time.

#include <plimsoll/device/cuda/convert.cuh>

#include <cstdint>
#include <type_traits>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// `Width` elements that are loaded and stored at once.
template <class T, int Width>
struct alignas(sizeof(T) * Width) Pack {
    T values[Width];
};

/// Elements of T in 16 bytes.
template <class T>
inline constexpr int wide = 16 / static_cast<int>(sizeof(T));

inline bool is_aligned(const void* pointer, std::int64_t bytes) {
    return reinterpret_cast<std::uintptr_t>(pointer) % static_cast<std::uintptr_t>(bytes) == 0;
}

/// f(width), an integral constant: elements in 16 bytes where they may be moved so, else one.
template <class T, class F>
void for_width(bool packs, F f) {
    if (packs)
        f(std::integral_constant<int, wide<T>>{});
    else
        f(std::integral_constant<int, 1>{});
}

/// `Width` numbers from memory that is aligned for a pack of them.
template <int Width, class T>
__device__ void load_pack(float (&to)[Width], const T* from) {
    const auto pack = *reinterpret_cast<const Pack<T, Width>*>(from);
#pragma unroll
    for (int k = 0; k < Width; ++k) to[k] = loaded(pack.values[k]);
}
/// Eight numbers from memory, of which the first `count` exist and the others are zeros.
/// \param packs whether they are aligned for packs and exist all or none
template <class T>
__device__ void load_eight(float (&to)[8], const T* from, int count, bool packs) {
    if (packs && count > 0) {
#pragma unroll
        for (int p = 0; p < 8 / wide<T>; ++p) {
            const auto pack = reinterpret_cast<const Pack<T, wide<T>>*>(from)[p];
#pragma unroll
            for (int k = 0; k < wide<T>; ++k) to[p * wide<T> + k] = loaded(pack.values[k]);
        }
    } else {
#pragma unroll
        for (int k = 0; k < 8; ++k) to[k] = k < count ? loaded(from[k]) : 0.0f;
    }
}
/// f(0) to f(7) to memory, of which the first `count` have a place there. \param packs as of load_eight
template <class T, class F>
__device__ void store_eight(T* to, int count, bool packs, F f) {
    if (packs && count > 0) {
#pragma unroll
        for (int p = 0; p < 8 / wide<T>; ++p) {
            Pack<T, wide<T>> pack;
#pragma unroll
            for (int k = 0; k < wide<T>; ++k) pack.values[k] = stored<T>(f(p * wide<T> + k));
            reinterpret_cast<Pack<T, wide<T>>*>(to)[p] = pack;
        }
    } else {
#pragma unroll
        for (int k = 0; k < 8; ++k)
            if (k < count) to[k] = stored<T>(f(k));
    }
}

/// i = quotient * divisor + remainder, in 32 bits where that is enough: 64-bit division is slow on a GPU.
struct Quotient {
    std::int64_t quotient;
    int remainder;
};
__device__ inline Quotient divide(std::int64_t i, int divisor) {
    if (i >> 31 == 0) {
        const std::uint32_t quotient = static_cast<std::uint32_t>(i) / static_cast<std::uint32_t>(divisor);
        return {quotient, static_cast<int>(static_cast<std::uint32_t>(i) - quotient * divisor)};
    }
    return {i / divisor, static_cast<int>(i % divisor)};
}

/// A value of the batch, element by element from (n, y, x, c).
struct Place {
    std::int64_t image;
    int y, x, channel;
};
/// \param i counts groups of `width` channels, channels last
__device__ inline Place place_of(std::int64_t i, int height, int width_of_picture, int groups, int width) {
    const Quotient channel = divide(i, groups), x = divide(channel.quotient, width_of_picture),
                   y = divide(x.quotient, height);
    return {y.quotient, y.remainder, x.remainder, channel.remainder * width};
}

} // namespace detail

} // namespace plimsoll::inline PLIMSOLL_ABI
