#pragma once
/// \file
/// The order in which an epoch visits its samples: exact, seeded, addressable at any position, without
/// memory.

#include <plimsoll/core/config.hpp>
#include <plimsoll/core/error.hpp>
#include <plimsoll/core/permutation.hpp>
#include <plimsoll/core/philox.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace plimsoll::inline PLIMSOLL_ABI {

/// One epoch's order of {0, ..., size - 1}: a permutation that depends on seed and epoch alone, or 0, 1, 2,
/// ... when not shuffled. The same for every source of that size, and any position can be resumed at.
class Order {
  public:
    /// \throws argument_error beyond 2^62 samples.
    constexpr Order(std::uint64_t size, std::uint64_t seed, std::uint64_t epoch, bool shuffle)
        : permutation_(size, key(seed, epoch)), shuffle_(shuffle) {
        if (size > std::uint64_t{1} << 62) throw argument_error("an order of more than 2^62 samples");
    }

    [[nodiscard]] constexpr std::uint64_t size() const { return permutation_.size(); }

    /// The sample at `position`. \throws argument_error from size() on.
    [[nodiscard]] constexpr std::uint64_t operator[](std::uint64_t position) const {
        if (position >= size())
            throw argument_error(text("position ", position, " of an order of ", size(), " samples"));
        return shuffle_ ? permutation_[position] : position;
    }

    /// The samples from position `first` on. \throws argument_error when they end sooner than `samples`.
    constexpr void fill(std::uint64_t first, std::span<std::uint64_t> samples) const {
        if (first > size() || samples.size() > size() - first)
            throw argument_error(text("positions ", first, " to ", first + samples.size(), " of an order of ",
                                      size(), " samples"));
        for (std::size_t i = 0; i < samples.size(); ++i) samples[i] = (*this)[first + i];
    }

  private:
    static constexpr std::uint64_t key(std::uint64_t seed, std::uint64_t epoch) {
        const Words4 mixed =
            philox({static_cast<std::uint32_t>(epoch), static_cast<std::uint32_t>(epoch >> 32), 0, 0},
                   stream_key(seed, Purpose::shuffle));
        return (std::uint64_t{mixed.y} << 32) | mixed.x;
    }

    Permutation permutation_;
    bool shuffle_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
