#pragma once
/// \file
/// What this processor can do at most, measured: arithmetic in registers and copies, on all threads at once.

#include <plimsoll/plimsoll.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <map>
#include <string>
#include <thread>
#include <vector>

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif
#if defined(__AMX_BF16__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
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
    std::atomic<int> begun{0};
    team.parallel(team.threads(), [&](int, int worker) {
        for (++begun; begun < team.threads();) std::this_thread::yield(); // a thread each, none twice
        double& least = seconds[static_cast<std::size_t>(worker)];
        least = std::min(least, least_seconds(40, work));
    });
    double sum = 0;
    for (const double each : seconds) sum += operations / each;
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

#if defined(__AMX_BF16__) && defined(__linux__)
/// FLOP/s of AMX's products of tiles that stay where they are; 0 where the system does not allow them.
inline double tile_flops(const Team& team) {
    constexpr int ask_for_state = 0x1023, tile_data = 18; // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    if (syscall(SYS_arch_prctl, ask_for_state, tile_data) != 0) return 0;
    constexpr int tiles = 4;
    return rate(team, 2.0 * 16 * 16 * 32 * tiles * static_cast<double>(rounds), [] {
        struct alignas(64) Shapes {
            std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
            std::uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64}; // of a row
            std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
        } const shapes;
        _tile_loadconfig(&shapes);
        _tile_zero(4);
        _tile_zero(5);
        _tile_zero(6);
        _tile_zero(7);
        for (std::int64_t round = 0; round < rounds; ++round) { // a sum each, so that none waits
            _tile_dpbf16ps(0, 4, 6);
            _tile_dpbf16ps(1, 4, 7);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
        _tile_release();
    });
}
#endif

/// FLOP/s of a product of bfloat16 matrices (m, k) and (k, n) on each thread, by oneDNN, which knows
/// instructions that a compiler may not; 0 where there is no fast one.
inline double product_flops([[maybe_unused]] const Team& team, [[maybe_unused]] std::int64_t m,
                            [[maybe_unused]] std::int64_t k, [[maybe_unused]] std::int64_t n) {
#if PLIMSOLL_WITH_ONEDNN
    namespace dnn = detail::onednn;
    const dnn::Desc left = dnn::matrix<bfloat16>(m, k), sum = dnn::matrix<float>(m, n);
    // As tiles take it, or as it lies.
    for (const dnn::Desc& right :
         {dnn::tagged<bfloat16>({k, n}, dnnl_BA16a64b2a), dnn::matrix<bfloat16>(k, n, true)}) {
        if (right.get() == nullptr) continue;
        const auto product =
            dnn::Primitive::product(left, right, sum, false, std::int64_t{64} << 20, "a product");
        if (!product) continue;
        struct Place {
            dnn::Operands operands;
            Host::Memory memory;
        };
        std::vector<Place> places(static_cast<std::size_t>(team.threads()));
        for (Place& place : places) {
            place.memory = Host::allocate(2 * m * k + 2 * k * n + 4 * m * n + 256 + product.scratch());
            place.operands = dnn::Operands(
                product, {{DNNL_ARG_SRC, left}, {DNNL_ARG_WEIGHTS, right}, {DNNL_ARG_DST, sum}});
        }
        return rate(team, 2.0 * static_cast<double>(m * n * k), [&] {
            Place& place = places[static_cast<std::size_t>(detail::current_worker)];
            std::byte* at = place.memory.data();
            std::byte* right_at = at + aligned(2 * m * k);
            std::byte* sum_at = right_at + aligned(2 * k * n);
            place.operands.run({at, right_at, sum_at}, sum_at + aligned(4 * m * n));
        });
    }
#endif
    return 0;
}

/// FLOP/s of oneDNN's products of bfloat16 matrices: of large ones, or of such as stay in a core's cache.
inline double best_product_flops(const Team& team) {
    return std::max(product_flops(team, 1024, 1024, 1024), product_flops(team, 576, 608, 128));
}

/// The most FLOP/s of bfloat16 arithmetic and by what; 0 where the processor has none.
inline std::pair<double, std::string> bfloat16_flops(const Team& team) {
    if (!detail::computes_bfloat16()) return {0, "none"};
    std::pair<double, std::string> best{0, "none"};
    const auto try_one = [&](double flops, std::string by) {
        if (flops > best.first) best = {flops, std::move(by)};
    };
    try_one(best_product_flops(team), "oneDNN's products");
#if defined(__AVX512BF16__)
    try_one(dot_flops(team), "AVX-512's dot products");
#endif
#if defined(__AMX_BF16__) && defined(__linux__)
    if (detail::computes_bfloat16_tiles()) try_one(tile_flops(team), "AMX's products of tiles");
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
