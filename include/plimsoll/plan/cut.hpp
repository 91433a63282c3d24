#pragma once
/// \file
/// How the work of a step is cut.

#include <plimsoll/core/config.hpp>

#include <cstdint>

namespace plimsoll::inline PLIMSOLL_ABI {

/// What a plan chooses. With a job's types and settings it fixes the plan, and with it the bits of results.
struct Cut {
    int micro_batch = 1;                              ///< images that run forward and backward together
    int lanes = 1;                                    ///< slices that may run at once
    std::int64_t slice_bytes = std::int64_t{1} << 20; ///< aimed at for a lane's slice buffers: an L2 cache
    /// Activations that backward needs and forward does not keep for it. 0: none; 1: those that light layers
    /// make again; 2: all but those through which every path of the network leads; 3, 4, ...: all but every
    /// second, fourth, ... of those (Chen et al., "Training deep nets with sublinear memory cost", arXiv
    /// 1604.06174).
    int recompute = 0;

    static constexpr int most_recompute = 6;

    friend constexpr bool operator==(const Cut&, const Cut&) = default;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
