#pragma once
/// \file
/// Counter-based random numbers: a number belongs to (seed, purpose, sample, step), never to a thread.

#include <plimsoll/core/config.hpp>

#include <cstdint>

namespace plimsoll::inline PLIMSOLL_ABI {

/// Four 32-bit words, a counter or a result.
struct Words4 {
    std::uint32_t x = 0, y = 0, z = 0, w = 0;
    friend constexpr bool operator==(const Words4&, const Words4&) = default;
};

/// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
/// \param counter names the number wanted, \param key the stream it comes from.
PLIMSOLL_HD constexpr Words4 philox(Words4 counter, std::uint64_t key) {
    std::uint32_t key_low = static_cast<std::uint32_t>(key), key_high = static_cast<std::uint32_t>(key >> 32);
    for (int round = 0; round < 10; ++round) {
        const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * counter.x;
        const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * counter.z;
        counter = {static_cast<std::uint32_t>(p1 >> 32) ^ counter.y ^ key_low, static_cast<std::uint32_t>(p1),
                   static_cast<std::uint32_t>(p0 >> 32) ^ counter.w ^ key_high,
                   static_cast<std::uint32_t>(p0)};
        key_low += 0x9E3779B9u;
        key_high += 0xBB67AE85u;
    }
    return counter;
}

/// What random numbers are drawn for; each purpose has a stream of its own under one seed.
enum class Purpose : std::uint32_t { initialise = 1, dropout = 2, shuffle = 3, augment = 4 };

/// The key of a purpose's stream under a user's seed.
PLIMSOLL_HD constexpr std::uint64_t stream_key(std::uint64_t seed, Purpose purpose) {
    const Words4 mixed = philox({static_cast<std::uint32_t>(purpose), 0x706c696du, 0, 0}, seed);
    return (std::uint64_t{mixed.y} << 32) | mixed.x;
}

/// A uniform float in [0, 1) with 24 random bits.
PLIMSOLL_HD constexpr float unit_float(std::uint32_t bits) {
    return static_cast<float>(bits >> 8) * (1.0f / 16777216.0f);
}

} // namespace plimsoll::inline PLIMSOLL_ABI
