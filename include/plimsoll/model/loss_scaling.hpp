#pragma once
/// \file
/// Dynamic loss scaling: small gradients are lifted into the range of 16-bit floats.

#include <plimsoll/core/config.hpp>

#include <cstdint>

namespace plimsoll::inline PLIMSOLL_ABI {

/// The state of dynamic loss scaling (Micikevicius et al., "Mixed precision training", ICLR 2018), with the
/// defaults of torch.amp.GradScaler. It lives in the device's memory: kernels read it, and whether a step
/// counts is decided there, without asking the host. The scale is always a power of two, so scaling and
/// unscaling round nothing.
struct LossScaling {
    static constexpr float least = 1, most = 0x1p24f;
    static constexpr std::int32_t growth_interval = 2000; ///< steps in a row without overflow

    float scale = 0x1p16f;       ///< of the loss, and so of all gradients
    float unscale = 1;           ///< of the gradients that were judged last
    std::int32_t good_steps = 0; ///< since the scale last changed
    std::int32_t overflowed = 0; ///< whether those gradients were not finite: their step must change nothing
    std::uint64_t skipped = 0;   ///< steps so far that changed nothing

    /// After a step's gradients are complete. \param finite whether all of them are
    PLIMSOLL_HD constexpr void judge(bool finite) {
        unscale = 1 / scale;
        overflowed = finite ? 0 : 1;
        if (!finite) {
            ++skipped;
            good_steps = 0;
            if (scale > least) scale /= 2;
        } else if (++good_steps == growth_interval) {
            good_steps = 0;
            if (scale < most) scale *= 2;
        }
    }
};

} // namespace plimsoll::inline PLIMSOLL_ABI
