#pragma once
/// \file
/// What this processor can do at most, measured: arithmetic in registers and copies, on all threads at once.

#include <plimsoll/plimsoll.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

namespace peak {

using namespace plimsoll;

/// The least seconds that `f` takes.
template <class F>
double least_seconds(int tries, F f) {
    double least = 1e30;
    for (int i = 0; i < tries; ++i) {
        const auto began = std::chrono::steady_clock::now();
        f();
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
        least = std::min(least, took.count());
    }
    return least;
}

/// Operations a second of all threads at once, each at its best: no thread waits for another.
/// \param operations of one call of `work`
template <class Work>
double rate(const Team& team, double operations, Work work) {
    std::vector<double> seconds(static_cast<std::size_t>(team.threads()), 1e30);
    team.parallel(team.threads(), [&](int, int worker) {
        double& least = seconds[static_cast<std::size_t>(worker)];
        least = std::min(least, least_seconds(40, work));
    });
    double sum = 0;
    for (const double each : seconds)
        sum += each < 1e30 ? operations / each : 0; // one may have done all the work
    return sum;
}

inline constexpr int sums = 12; ///< independent ones, so that no multiply-add waits for another
inline constexpr std::int64_t rounds = 1 << 20;

/// FLOP/s of float multiply-adds.
inline double float_flops(const Team& team) {
#if defined(__AVX512F__)
    constexpr int bytes = 64;
#elif defined(__AVX__)
    constexpr int bytes = 32;
#else
    constexpr int bytes = 16;
#endif
    typedef float Vector __attribute__((vector_size(bytes)));
    return rate(team, 2.0 * (bytes / 4) * sums * static_cast<double>(rounds), [] {
        float start = 1.0f, factor = 0.999f, more = 0.001f; // tends to 1
        benchmark::DoNotOptimize(start);
        benchmark::DoNotOptimize(factor);
        benchmark::DoNotOptimize(more);
        Vector sum[sums]; // whose address nobody takes: they stay in registers
        for (Vector& each : sum) {
            benchmark::DoNotOptimize(start); // a compiler may make one sum of those that it knows to be equal
            each = Vector{} + start;
        }
        for (std::int64_t round = 0; round < rounds; ++round)
#pragma GCC unroll 16
            for (int i = 0; i < sums; ++i) sum[i] = sum[i] * factor + more;
        Vector total{};
        for (const Vector& each : sum) total += each;
        benchmark::DoNotOptimize(total);
    });
}

#if defined(__AVX512BF16__)
/// FLOP/s of AVX-512's dot products of bfloat16.
inline double dot_flops(const Team& team) {
    return rate(team, 2.0 * 32 * sums * static_cast<double>(rounds), [] {
        float start = 0.5f;
        benchmark::DoNotOptimize(start);
        const __m512bh half = _mm512_cvtne2ps_pbh(_mm512_set1_ps(start), _mm512_set1_ps(start));
        __m512 sum[sums];
        for (__m512& each : sum) {
            benchmark::DoNotOptimize(start);
            each = _mm512_set1_ps(start);
        }
        for (std::int64_t round = 0; round < rounds; ++round)
#pragma GCC unroll 16
            for (int i = 0; i < sums; ++i) sum[i] = _mm512_dpbf16_ps(sum[i], half, half);
        __m512 total{};
        for (const __m512& each : sum) total += each;
        benchmark::DoNotOptimize(total);
    });
}
#endif

/// FLOP/s of a large product of bfloat16 matrices on each thread, by oneDNN, which knows instructions that a
/// compiler may not; 0 where there is no fast one.
inline double product_flops([[maybe_unused]] const Team& team) {
#if PLIMSOLL_WITH_ONEDNN
    namespace dnn = detail::onednn;
    constexpr std::int64_t n = 1024;
    const dnn::Desc matrix = dnn::matrix<bfloat16>(n, n), packed = dnn::matrix<bfloat16>(n, n, true);
    const dnn::Desc sum = dnn::matrix<float>(n, n);
    const auto product =
        dnn::Primitive::product(matrix, packed, sum, false, std::int64_t{64} << 20, "a product");
    if (!product) return 0;
    struct Place {
        dnn::Operands operands;
        Host::Memory memory;
    };
    std::vector<Place> places(static_cast<std::size_t>(team.threads()));
    for (Place& place : places) {
        place.memory = Host::allocate(8 * n * n + product.scratch());
        place.operands =
            dnn::Operands(product, {{DNNL_ARG_SRC, matrix}, {DNNL_ARG_WEIGHTS, packed}, {DNNL_ARG_DST, sum}});
    }
    return rate(team, 2.0 * static_cast<double>(n * n * n), [&] {
        Place& place = places[static_cast<std::size_t>(detail::current_worker)];
        std::byte* at = place.memory.data();
        place.operands.run({at, at + 2 * n * n, at + 4 * n * n}, at + 8 * n * n);
    });
#else
    return 0;
#endif
}

/// The most FLOP/s of bfloat16 arithmetic and by what; 0 where the processor has none.
inline std::pair<double, std::string> bfloat16_flops(const Team& team) {
    if (!detail::computes_bfloat16()) return {0, "none"};
    std::pair<double, std::string> best{product_flops(team),
                                        "oneDNN's product of 1024 x 1024 on each thread"};
#if defined(__AVX512BF16__)
    if (const double dots = dot_flops(team); dots > best.first) best = {dots, "AVX-512's dot products"};
#endif
    return best;
}

/// Bytes a second, read and written, of copies by all threads at once.
/// \param bytes of a thread's source and destination together: where they fit, a cache is copied in
inline double copy_bytes(const Team& team, std::int64_t bytes) {
    static std::map<std::int64_t, double> known;
    std::int64_t size = std::int64_t{16} << 10; // powers of two
    while (size < bytes && size < std::int64_t{256} << 20) size *= 2;
    if (known.contains(size)) return known[size];
    const auto half = static_cast<std::size_t>(size / 2);
    const int times = static_cast<int>(std::max<std::int64_t>(1, (std::int64_t{16} << 20) / size));
    std::vector<Host::Memory> places;
    for (int thread = 0; thread < team.threads(); ++thread) places.push_back(Host::allocate(size));
    return known[size] = rate(team, static_cast<double>(size) * times, [&] {
               std::byte* at = places[static_cast<std::size_t>(detail::current_worker)].data();
               for (int i = 0; i < times; ++i) {
                   std::memcpy(at + half, at, half);
                   benchmark::ClobberMemory();
               }
           });
}

} // namespace peak
