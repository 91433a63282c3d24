#pragma once
/// \file
/// Losses on a GPU: a thread a row, sums in order.

#include <plimsoll/core/units.hpp>
#include <plimsoll/device/cuda/cuda.cuh>
#include <plimsoll/model/loss.hpp>

#include <type_traits>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// A row of logits as floats: where it lies, or copied into a row of scratch.
template <class T>
struct LogitRows {
    const T* logits; // (count, classes)
    float* scratch;  // (count, classes), unless T is float
    int classes;
    __device__ const float* row(std::int64_t i) const {
        const T* from = logits + i * classes;
        if constexpr (std::is_same_v<T, float>) {
            return from;
        } else {
            float* to = scratch + i * classes;
            for (int c = 0; c < classes; ++c) to[c] = loaded(from[c]);
            return to;
        }
    }
};

template <class Loss, class T>
struct RowLosses {
    LogitRows<T> logits;
    const Label* labels;  // (count)
    RowLoss* losses;      // (count)
    float* probabilities; // (count, classes); null in training
    __device__ void operator()(std::int64_t i) const {
        const float* row = logits.row(i);
        losses[i] = Loss::loss(row, logits.classes, labels[i]);
        if (probabilities != nullptr)
            Loss::probabilities(row, probabilities + i * logits.classes, logits.classes);
    }
};

template <class Loss, class T>
struct RowGradients {
    LogitRows<T> logits;
    const Label* labels; // (count)
    T* gradient;         // (count, classes)
    float* row_scratch;  // (count, classes), unless T is float
    const PassState* pass;
    const LossScaling* scaling; // null: the loss is not scaled
    __device__ void operator()(std::int64_t i) const {
        const int classes = logits.classes;
        const double scale = (scaling == nullptr ? 1.0 : static_cast<double>(scaling->scale)) / pass->batch;
        if constexpr (std::is_same_v<T, float>) {
            Loss::gradient(logits.row(i), gradient + i * classes, classes, labels[i], scale);
        } else {
            float* row = row_scratch + i * classes;
            Loss::gradient(logits.row(i), row, classes, labels[i], scale);
            for (int c = 0; c < classes; ++c) gradient[i * classes + c] = stored<T>(row[c]);
        }
    }
};

/// Adds a micro-batch's rows to the tally, in one block.
template <int Threads>
__global__ void __launch_bounds__(Threads)
    tally_rows(const RowLoss* rows, int count, const PassState* pass, Tally* tally) {
    double loss = 0;
    int correct = 0, bad = 0;
    for (int row = static_cast<int>(threadIdx.x); row < count; row += Threads) {
        loss += rows[row].loss;
        correct += rows[row].correct ? 1 : 0;
        bad += isfinite(rows[row].loss) ? 0 : 1;
    }
    loss = block_sum<Threads>(loss);
    correct = block_sum<Threads>(correct);
    bad = block_sum<Threads>(bad);
    if (threadIdx.x > 0) return;
    tally->loss += loss;
    tally->correct += correct;
    for (int row = 0; bad > 0 && row < count; ++row) {
        if (isfinite(rows[row].loss)) continue;
        if (tally->bad_count < 5) tally->bad[tally->bad_count] = pass->first + row;
        ++tally->bad_count;
        --bad;
    }
}

} // namespace detail

/// Any loss of rows whose functions are marked PLIMSOLL_HD. \tparam T of logits and their gradients
template <class Loss, class T>
class CudaLoss : public NodeKernel {
  public:
    CudaLoss(const Site& site, Cuda& device)
        : classes_(site.input.channels), images_(site.images), device_(device) {}

    static constexpr Needs needs(const Site& site) {
        if (std::is_same_v<T, float>) return {};
        return {.scratch = 2 * rows_bytes(site.images, site.input.channels)};
    }

    void forward(const Call& call) override {
        auto* rows = static_cast<RowLoss*>(call.saved); // (count)
        auto* probabilities = call.training ? nullptr : static_cast<float*>(call.output);
        device_.for_each(call.count,
                         detail::RowLosses<Loss, T>{logits(call), call.labels, rows, probabilities},
                         "the loss");
        constexpr int threads = 256;
        detail::launch(detail::tally_rows<threads>, 1, threads, device_.stream(), "the loss's sum",
                       static_cast<const RowLoss*>(rows), call.count, call.pass,
                       static_cast<Tally*>(call.statistics));
    }
    void backward(const Call& call) override {
        if (call.input_gradient == nullptr) return;
        auto* second =
            reinterpret_cast<float*>(static_cast<std::byte*>(call.scratch) +
                                     (call.scratch == nullptr ? 0 : rows_bytes(images_, classes_)));
        device_.for_each(call.count,
                         detail::RowGradients<Loss, T>{logits(call), call.labels,
                                                       static_cast<T*>(call.input_gradient), second,
                                                       call.pass, call.scaling},
                         "the loss's gradient");
    }

  private:
    static constexpr std::int64_t rows_bytes(int images, int classes) {
        return aligned(4 * std::int64_t{images} * classes);
    }
    [[nodiscard]] detail::LogitRows<T> logits(const Call& call) const {
        return {static_cast<const T*>(call.input), static_cast<float*>(call.scratch), classes_};
    }
    int classes_, images_;
    Cuda& device_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
