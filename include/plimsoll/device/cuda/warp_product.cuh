#pragma once
/// \file
/// The one place that uses a GPU's tensor cores: products of small matrices by a warp (PTX ISA, "Matrix
/// Multiply-Accumulate", mma.m16n8k16 and mma.m16n8k8).

#include <plimsoll/core/storage.hpp>

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

template <>
__device__ inline void WarpProduct<bfloat16>::multiply_add(float (&d)[4], const std::uint32_t (&a)[4],
                                                           const std::uint32_t (&b)[2]) {
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    __trap(); // such a GPU is refused this type
#endif
}
template <>
__device__ inline void WarpProduct<half>::multiply_add(float (&d)[4], const std::uint32_t (&a)[4],
                                                       const std::uint32_t (&b)[2]) {
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    for (int half = 0; half < 2; ++half)
        asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
            : "r"(a[2 * half]), "r"(a[2 * half + 1]), "r"(b[half]));
#endif
}
/// Of floats whose last 13 bits are 0.
template <>
__device__ inline void WarpProduct<float>::multiply_add(float (&d)[4], const std::uint32_t (&a)[4],
                                                        const std::uint32_t (&b)[2]) {
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    __trap(); // there is no TF32 on such a GPU
#endif
}

} // namespace detail

} // namespace plimsoll::inline PLIMSOLL_ABI
