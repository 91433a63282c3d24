#pragma once
/// \file
/// An exact shuffle of any size without memory: position i of the order is computed, not looked up.

#include <plimsoll/core/philox.hpp>

#include <cstdint>

namespace plimsoll::inline PLIMSOLL_ABI {

/// A keyed bijection of {0, ..., size - 1}: a Feistel network over the next even power of two whose round
/// function is Philox, walked until the result is in range (Black and Rogaway, "Ciphers with arbitrary finite
/// domains", CT-RSA 2002). Any position can be asked for, so an order can be resumed anywhere.
class Permutation {
  public:
    /// \param size number of items, \param key seed and epoch mixed by the caller.
    constexpr Permutation(std::uint64_t size, std::uint64_t key) : size_(size), key_(key) {
        while (half_bits_ < 31 && (std::uint64_t{1} << (2 * half_bits_)) < size) ++half_bits_;
    }

    [[nodiscard]] constexpr std::uint64_t size() const { return size_; }

    /// The item at `position`; requires position < size(). At most 4 walks on average.
    [[nodiscard]] constexpr std::uint64_t operator[](std::uint64_t position) const {
        std::uint64_t item = position;
        do item = encrypt(item);
        while (item >= size_);
        return item;
    }

  private:
    [[nodiscard]] constexpr std::uint64_t encrypt(std::uint64_t block) const {
        const std::uint64_t mask = (std::uint64_t{1} << half_bits_) - 1;
        std::uint64_t left = block >> half_bits_, right = block & mask;
        for (std::uint32_t round = 0; round < 6; ++round) {
            const Words4 mixed = philox({static_cast<std::uint32_t>(right), round, 0, 0}, key_);
            const std::uint64_t next = left ^ (mixed.x & mask);
            left = right;
            right = next;
        }
        return (left << half_bits_) | right;
    }

    std::uint64_t size_;
    std::uint64_t key_;
    int half_bits_ = 1;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
