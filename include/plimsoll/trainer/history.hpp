#pragma once
/// \file
/// What a training run measured, epoch by epoch.

#include <plimsoll/core/config.hpp>
#include <plimsoll/core/error.hpp>

#include <cstdint>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

/// Means over samples. `accuracy` is a fraction, 0 to 1.
struct Metrics {
    double loss = 0;
    double accuracy = 0;
    std::uint64_t samples = 0;

    /// From sums over samples: of the loss, and of how many were classified right. Of no samples: all zero.
    [[nodiscard]] static constexpr Metrics mean(double loss_sum, std::uint64_t correct,
                                                std::uint64_t samples) {
        if (samples == 0) return {};
        const double count = static_cast<double>(samples);
        return {loss_sum / count, static_cast<double>(correct) / count, samples};
    }
    friend constexpr bool operator==(const Metrics&, const Metrics&) = default;
};

/// One epoch.
struct EpochRecord {
    int epoch = 0;                   ///< from 1
    Metrics train;                   ///< running means, while the weights were changing
    Metrics validation;              ///< at the end of the epoch; all zero without validation data
    bool has_validation = false;     ///< whether `validation` was measured
    double seconds = 0;              ///< training and validation together
    double images_per_second = 0;    ///< of the training part
    std::uint64_t skipped_steps = 0; ///< whose scaled gradients overflowed (see StepRecord::skipped)
    double waiting = 0;              ///< share of the training part in which the device waited for data

    /// The metrics that tell how good the model is: validation where there is one.
    [[nodiscard]] constexpr const Metrics& judged() const { return has_validation ? validation : train; }
};

/// What `fit` returns.
struct History {
    std::vector<EpochRecord> epochs; ///< finished epochs, in order
    bool interrupted = false;        ///< ended by a signal (Ctrl-C) at a step boundary
    bool stopped = false;            ///< ended by a callback
    std::uint64_t skipped = 0;       ///< pictures that could not be read, in whose place others stood

    [[nodiscard]] bool empty() const { return epochs.empty(); }

    /// The last finished epoch. \throws argument_error if there is none.
    [[nodiscard]] const EpochRecord& last() const {
        require_epochs();
        return epochs.back();
    }

    /// The epoch with the highest accuracy (validation where there is one), the earliest of equals.
    /// \throws argument_error if there is none.
    [[nodiscard]] const EpochRecord& best() const {
        require_epochs();
        const EpochRecord* best = &epochs.front();
        for (const EpochRecord& record : epochs)
            if (record.judged().accuracy > best->judged().accuracy) best = &record;
        return *best;
    }

  private:
    void require_epochs() const {
        if (epochs.empty()) throw argument_error("the history is empty: no epoch was finished");
    }
};

} // namespace plimsoll::inline PLIMSOLL_ABI
