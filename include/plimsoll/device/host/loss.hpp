#pragma once
/// \file
/// Losses on the host: rows in parallel, sums in order.

#include <plimsoll/device/host/parallel.hpp>
#include <plimsoll/device/kernel.hpp>
#include <plimsoll/model/loss.hpp>

#include <cmath>

namespace plimsoll::inline PLIMSOLL_ABI {

/// Any loss of rows: `loss`, `gradient` and `probabilities` of (classes) logits.
template <class Loss>
class LossKernel : public NodeKernel {
  public:
    LossKernel(const Site& site, const Team& team) : classes_(site.input.channels), team_(team) {}
    static constexpr Needs needs(const Site&) { return {}; }

    /// Adds the rows' losses to the tally; outside training also writes their probabilities.
    void forward(const Call& call) override {
        const auto* logits = static_cast<const float*>(call.input); // (count, classes)
        auto* probabilities = static_cast<float*>(call.output);     // (count, classes)
        auto* rows = static_cast<RowLoss*>(call.saved);             // (count)
        team_.for_chunks(call.count, rows_a_task, [&](std::int64_t, std::int64_t first, std::int64_t size) {
            for (std::int64_t row = first; row < first + size; ++row) {
                const float* z = logits + row * classes_;
                rows[row] = Loss::loss(z, classes_, call.labels[row]);
                if (!call.training) Loss::probabilities(z, probabilities + row * classes_, classes_);
            }
        });
        auto& tally = *static_cast<Tally*>(call.statistics);
        for (int row = 0; row < call.count; ++row) {
            tally.loss += rows[row].loss;
            tally.correct += rows[row].correct;
            if (!std::isfinite(rows[row].loss) && tally.bad_count++ < 5)
                tally.bad[tally.bad_count - 1] = call.first + row;
        }
    }

    /// Gradient of the mean over the user's batch.
    void backward(const Call& call) override {
        const auto* logits = static_cast<const float*>(call.input); // (count, classes)
        auto* gradient = static_cast<float*>(call.input_gradient);  // (count, classes)
        if (gradient == nullptr) return;
        const double scale = 1.0 / call.batch;
        team_.for_chunks(call.count, rows_a_task, [&](std::int64_t, std::int64_t first, std::int64_t size) {
            for (std::int64_t row = first; row < first + size; ++row)
                Loss::gradient(logits + row * classes_, gradient + row * classes_, classes_, call.labels[row],
                               scale);
        });
    }

  private:
    static constexpr std::int64_t rows_a_task = 32;
    int classes_;
    Team team_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
