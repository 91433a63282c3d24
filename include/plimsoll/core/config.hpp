#pragma once
/// \file
/// Version, the ABI namespace and the one place that asks which compiler this is.

#define PLIMSOLL_VERSION_MAJOR 0
#define PLIMSOLL_VERSION_MINOR 1
#define PLIMSOLL_VERSION_PATCH 0

// nvcc's Thrust lives in an ABI namespace of its own, so units compiled by nvcc and by the host compiler
// must not share our inline functions: each backend gets an inline namespace.
#if defined(__CUDACC__)
#define PLIMSOLL_HD __host__ __device__
#define PLIMSOLL_ABI abi_nvcc
#else
#define PLIMSOLL_HD
#define PLIMSOLL_ABI abi_host
#endif

/// With PLIMSOLL_COMPILED=1, what depends on no network is declared here and defined in a library, which is
/// one file: PLIMSOLL_IMPLEMENTATION is defined in it before its first header. What nvcc compiles has all
/// with it.
#if !defined(PLIMSOLL_COMPILED) || defined(__CUDACC__)
#undef PLIMSOLL_COMPILED
#define PLIMSOLL_COMPILED 0
#endif
#if defined(PLIMSOLL_IMPLEMENTATION)
#define PLIMSOLL_DEFINITIONS 1
#define PLIMSOLL_DECLARED inline
#define PLIMSOLL_DEFINED [[gnu::used]] inline
#elif PLIMSOLL_COMPILED
#define PLIMSOLL_DEFINITIONS 0
#define PLIMSOLL_DECLARED
#define PLIMSOLL_DEFINED inline
#else
#define PLIMSOLL_DEFINITIONS 1
#define PLIMSOLL_DECLARED inline
#define PLIMSOLL_DEFINED inline
#endif

/// Before a loop whose iterations are independent. clang vectorises such loops unasked and warns where a
/// request can't be met, so only GCC is asked.
#if defined(__clang__) || !defined(__GNUC__)
#define PLIMSOLL_SIMD
#elif defined(_OPENMP)
#define PLIMSOLL_SIMD _Pragma("omp simd")
#else
#define PLIMSOLL_SIMD _Pragma("GCC ivdep")
#endif

/// Whether code is compiled for processors that round floats to bfloat16 in one instruction.
#if defined(__AVX512BF16__) && defined(__GNUC__) && !defined(__CUDACC__)
#define PLIMSOLL_AVX512_BF16 1
#else
#define PLIMSOLL_AVX512_BF16 0
#endif

/// Optional libraries: CMake sets these; without CMake a header that can be found is used.
#if !defined(PLIMSOLL_WITH_ONEDNN)
#if __has_include(<oneapi/dnnl/dnnl.h>)
#define PLIMSOLL_WITH_ONEDNN 1
#else
#define PLIMSOLL_WITH_ONEDNN 0
#endif
#endif

#if !defined(PLIMSOLL_WITH_ZLIB)
#if __has_include(<zlib.h>)
#define PLIMSOLL_WITH_ZLIB 1
#else
#define PLIMSOLL_WITH_ZLIB 0
#endif
#endif

#if !defined(PLIMSOLL_WITH_PROTOZERO)
#if __has_include(<protozero/pbf_reader.hpp>)
#define PLIMSOLL_WITH_PROTOZERO 1
#else
#define PLIMSOLL_WITH_PROTOZERO 0
#endif
#endif

#if !defined(PLIMSOLL_WITH_JPEG)
#if __has_include(<jpeglib.h>)
#define PLIMSOLL_WITH_JPEG 1
#else
#define PLIMSOLL_WITH_JPEG 0
#endif
#endif

#if !defined(PLIMSOLL_WITH_PNG)
#if __has_include(<png.h>)
#define PLIMSOLL_WITH_PNG 1
#else
#define PLIMSOLL_WITH_PNG 0
#endif
#endif

/// Guard bytes between the parts of an arena (debug builds), so that a write past a part's end is found.
#if !defined(PLIMSOLL_CANARIES)
#define PLIMSOLL_CANARIES 0
#endif

#if defined(__SANITIZE_ADDRESS__)
#define PLIMSOLL_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PLIMSOLL_ASAN 1
#endif
#endif
#if !defined(PLIMSOLL_ASAN)
#define PLIMSOLL_ASAN 0
#endif

#if defined(__SANITIZE_THREAD__)
#define PLIMSOLL_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define PLIMSOLL_TSAN 1
#endif
#endif
#if !defined(PLIMSOLL_TSAN)
#define PLIMSOLL_TSAN 0
#endif
