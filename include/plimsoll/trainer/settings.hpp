#pragma once
/// \file
/// What a user sets: of a job (part of its plan) and of a fit.

#include <plimsoll/core/units.hpp>
#include <plimsoll/trainer/history.hpp>

#include <cstdint>
#include <functional>

namespace plimsoll::inline PLIMSOLL_ABI {

/// As much as the device has free, less headroom.
inline constexpr Bytes all_free_memory{-1};

/// A job's settings. Structural, so that `fits<Job, settings>` can be asked in a constant expression.
struct Settings {
    int batch = 32;                 ///< images of an optimizer step; never changed behind the user's back
    Bytes budget = all_free_memory; ///< of the job's one device allocation
    int threads = 0;                ///< 0: as many as this process may use. Results do not depend on it
    int lanes = 8;                  ///< most slices at once. Results depend on it in the last bits
    std::uint64_t seed = 0;         ///< of initialisation, shuffle and dropout
    int prefetch = -1;              ///< micro-batches read ahead of the device; -1: as the source wants
    int ordinal = 0;                ///< which of several devices, as their driver counts them

    friend constexpr bool operator==(const Settings&, const Settings&) = default;
};

/// Whether any job can have these settings, whatever it needs.
constexpr bool is_possible(const Settings& settings) {
    return settings.batch >= 1 && settings.lanes >= 1 && settings.threads >= 0 && settings.prefetch >= -1 &&
           settings.ordinal >= 0;
}

/// What a callback wants.
enum class Control { proceed, stop };

/// One optimizer step.
struct StepRecord {
    std::uint64_t step = 0; ///< from 1, over the job's life
    Metrics metrics;        ///< of this batch, before its update
    bool skipped = false;   ///< its scaled gradients overflowed: nothing changed but the loss scale
};

/// How to fit.
struct FitOptions {
    int epochs = 1;
    bool shuffle = true;           ///< a new exact order each epoch
    bool progress = true;          ///< on stderr: a bar on a terminal, else a line an epoch
    bool handle_interrupts = true; ///< Ctrl-C stops at the next step, handlers live during fit only
    // Callbacks may evaluate, predict, step and save: what was read ahead is then read anew.
    std::function<Control(const StepRecord&)> on_step{};
    std::function<Control(const EpochRecord&)> on_epoch{};
};

} // namespace plimsoll::inline PLIMSOLL_ABI
