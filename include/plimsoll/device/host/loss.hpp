#pragma once
/// \file
/// Losses on the host: rows in parallel, sums in order.

#include <plimsoll/device/host/elementwise.hpp>
#include <plimsoll/device/host/loops.hpp>
#include <plimsoll/device/kernel.hpp>
#include <plimsoll/model/loss.hpp>

#include <cmath>

namespace plimsoll::inline PLIMSOLL_ABI {

/// Any loss of rows: `loss`, `gradient` and `probabilities` of (classes) logits.
/// Rows are floats here whatever is stored; the gradient carries the loss scale.
/// \tparam T float, half or bfloat16: of logits and their gradients
template <class Loss, class T>
class LossKernel : public NodeKernel {
  public:
    LossKernel(const Site& site, const Team& team)
        : classes_(site.input.channels), images_(site.images), team_(team) {}
    static constexpr Needs needs(const Site& site) {
        if (std::same_as<T, float>) return {};
        const std::int64_t rows = 2 * aligned(4 * std::int64_t{site.images} * site.input.channels);
        return {.scratch = aligned((rows + site.lanes - 1) / site.lanes)}; // it is given to each lane
    }

    /// Adds the rows' losses to the tally; outside training also writes their probabilities.
    void forward(const Call& call) override {
        const float* logits = logits_of(call);                  // (count, classes)
        auto* probabilities = static_cast<float*>(call.output); // (count, classes)
        auto* rows = static_cast<RowLoss*>(call.saved);         // (count)
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
        if (call.input_gradient == nullptr) return;
        const float* logits = logits_of(call); // (count, classes)
        float* gradient = gradient_of(call);   // (count, classes)
        const double scale = (call.scaling == nullptr ? 1.0 : double{call.scaling->scale}) / call.batch;
        team_.for_chunks(call.count, rows_a_task, [&](std::int64_t, std::int64_t first, std::int64_t size) {
            for (std::int64_t row = first; row < first + size; ++row)
                Loss::gradient(logits + row * classes_, gradient + row * classes_, classes_, call.labels[row],
                               scale);
        });
        if constexpr (!std::same_as<T, float>)
            detail::convert(gradient, static_cast<T*>(call.input_gradient), elements(call));
    }

  private:
    static constexpr std::int64_t rows_a_task = 32;

    [[nodiscard]] std::int64_t elements(const Call& call) const {
        return std::int64_t{call.count} * classes_;
    }
    [[nodiscard]] const float* logits_of(const Call& call) const {
        if constexpr (std::same_as<T, float>) {
            return static_cast<const float*>(call.input);
        } else {
            auto* logits = static_cast<float*>(call.scratch);
            detail::convert(static_cast<const T*>(call.input), logits, elements(call));
            return logits;
        }
    }
    [[nodiscard]] float* gradient_of(const Call& call) const {
        if constexpr (std::same_as<T, float>)
            return static_cast<float*>(call.input_gradient);
        else
            return detail::floats_at(call.scratch, aligned(4 * std::int64_t{images_} * classes_));
    }

    int classes_, images_;
    Team team_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
