#pragma once
/// \file
/// Many elements in another type: floats to the 16 bits that are stored, and back.

#include <plimsoll/core/storage.hpp>

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace plimsoll::inline PLIMSOLL_ABI::detail {

/// Elements that are converted at once: of 16 bits from and to floats, in local memory.
inline constexpr std::int64_t conversion_tile = 512;

/// `count` elements in another type, `To` or `From` being float.
template <class To, class From>
void convert(const From* in, To* out, std::int64_t count) {
    PLIMSOLL_SIMD
    for (std::int64_t i = 0; i < count; ++i) out[i] = to<To>(to_float(in[i]));
}

#if PLIMSOLL_AVX512_BF16

/// Sixteen floats by the processor's own instruction: as to<bfloat16>, but that what is smaller than any
/// normal number becomes zero. Through assembly, as the intrinsics' header costs more to compile than all of
/// this library's for the host.
inline void round_sixteen(const float* in, bfloat16* out) {
    using Floats [[gnu::vector_size(64)]] = float;
    using Words [[gnu::vector_size(32)]] = std::uint16_t;
    Floats floats;
    Words words;
    std::memcpy(&floats, in, sizeof floats);
    asm("vcvtneps2bf16 %1, %0" : "=v"(words) : "v"(floats));
    std::memcpy(out, &words, sizeof words);
}

inline void convert(const float* in, bfloat16* out, std::int64_t count) {
    for (; count >= 16; count -= 16, in += 16, out += 16) round_sixteen(in, out);
    if (count == 0) return;
    float rest[16]{}; // the same instruction, that an element may not depend on where it lies
    bfloat16 rounded[16];
    std::copy_n(in, count, rest);
    round_sixteen(rest, rounded);
    std::copy_n(rounded, count, out);
}

#endif

} // namespace plimsoll::inline PLIMSOLL_ABI::detail
