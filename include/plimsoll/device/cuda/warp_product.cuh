#pragma once
/// \file
/// The one place that uses a GPU's tensor cores: products of small matrices by a warp (PTX ISA, "Matrix
/// Multiply-Accumulate", mma.m16n8k16 and mma.m16n8k8).

#include <plimsoll/core/storage.hpp>

#include <concepts>
#include <cstdint>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// What a lane holds of D (16 x 8) += A (16 x depth) B (depth x 8), with row = lane / 4 and pair = lane % 4:
/// of A, word r: rows row + 8 (r % 2); of B, column `row`; of D: rows `row` and row + 8, columns 2 pair and
/// 2 pair + 1. Along the depth, of 16-bit numbers a word r holds 2 pair + 8 (r / 2) and its neighbour (of B:
/// + 8 r), of TF32 the one at pair + 4 (r / 2) (of B: + 4 r).
template <class T>
struct WarpProduct {
    static constexpr int depth = 32 / static_cast<int>(sizeof(T));
    static constexpr bool pairs = sizeof(T) == 2;

    /// Where along the depth the numbers of a word begin. \param half 0 or 1: r / 2 of A, r of B
    __device__ static int place(int pair, int half) { return pairs ? 2 * pair + 8 * half : pair + 4 * half; }
    __device__ static void multiply_add(float (&d)[4], const std::uint32_t (&a)[4],
                                        const std::uint32_t (&b)[2]);
};

// The instruction whose operands have the shape and types `kind`.
#define PLIMSOLL_MULTIPLY_ADD(kind)                                                                          \
    asm volatile("mma.sync.aligned." kind " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"           \
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                            \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))

/// Of floats the last 13 bits must be 0. GPUs without bfloat16 and TF32 never come here with them.
template <class T>
__device__ void WarpProduct<T>::multiply_add([[maybe_unused]] float (&d)[4],
                                             [[maybe_unused]] const std::uint32_t (&a)[4],
                                             [[maybe_unused]] const std::uint32_t (&b)[2]) {
#if __CUDA_ARCH__ >= 800
    if constexpr (std::same_as<T, bfloat16>)
        PLIMSOLL_MULTIPLY_ADD("m16n8k16.row.col.f32.bf16.bf16.f32");
    else if constexpr (std::same_as<T, half>)
        PLIMSOLL_MULTIPLY_ADD("m16n8k16.row.col.f32.f16.f16.f32");
    else
        PLIMSOLL_MULTIPLY_ADD("m16n8k8.row.col.f32.tf32.tf32.f32");
#else
    if constexpr (std::same_as<T, half>) {
        for (int part = 0; part < 2; ++part)
            asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, "
                         "{%0,%1,%2,%3};"
                         : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                         : "r"(a[2 * part]), "r"(a[2 * part + 1]), "r"(b[part]));
    } else {
        __trap();
    }
#endif
}
#undef PLIMSOLL_MULTIPLY_ADD

} // namespace detail

} // namespace plimsoll::inline PLIMSOLL_ABI
