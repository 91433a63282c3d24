#pragma once
/// \file
/// Losses: layers at the end of a graph, computed row by row by a value functor.

#include <plimsoll/core/storage.hpp>
#include <plimsoll/core/units.hpp>
#include <plimsoll/model/graph.hpp>

#include <cmath>

namespace plimsoll::inline PLIMSOLL_ABI {

/// What one sample adds to the metrics.
struct RowLoss {
    double loss = 0;
    bool correct = false;
};

/// What a loss keeps for a batch, in its statistics.
struct Tally {
    double loss = 0;            ///< summed over samples
    std::int64_t correct = 0;   ///< samples whose largest class is the label
    std::int32_t bad_count = 0; ///< samples whose loss is not finite
    std::int32_t bad[5] = {};   ///< the first of them, counted within the batch
};

/// The fact sheet of a loss that is computed row by row.
/// \param in shape of the logits, \param fits whether the loss can follow them.
constexpr Facts loss_facts(std::string_view name, Shape in, bool fits) {
    return {.name = name,
            .output = fits ? in : Shape{},
            .backward_reads_input = true,
            .whole_batch = true,
            .reads_labels = true,
            .saved_bytes = sizeof(RowLoss),
            .statistics_bytes = sizeof(Tally),
            .flops = 6.0 * static_cast<double>(in.size())};
}

/// Softmax cross-entropy over (N, classes) logits with integer labels, the mean over the batch.
/// \tparam Smoothing label smoothing as in PyTorch: the target is (1 - s) at the label plus s / classes.
template <Probability Smoothing = Probability{0}>
struct SoftmaxCrossEntropy {
    static_assert(Smoothing.value >= 0 && Smoothing.value < 1,
                  "plimsoll: SoftmaxCrossEntropy<smoothing> takes a value from 0 to below 1");

    static constexpr bool fits(Shape logits) { return logits.is_vector() && logits.channels > 1; }
    static constexpr int classes(Shape logits) { return logits.channels; }
    static constexpr Facts facts(Shape in) { return loss_facts("SoftmaxCrossEntropy", in, fits(in)); }

    /// Probabilities of one row: (classes) logits to (classes).
    PLIMSOLL_HD static void probabilities(const float* logits, float* out, int count) {
        float largest = logits[0];
        for (int c = 1; c < count; ++c) largest = logits[c] > largest ? logits[c] : largest;
        double sum = 0;
        for (int c = 0; c < count; ++c) sum += std::exp(static_cast<double>(logits[c]) - largest);
        for (int c = 0; c < count; ++c)
            out[c] = static_cast<float>(std::exp(static_cast<double>(logits[c]) - largest) / sum);
    }
    /// Loss of one row.
    PLIMSOLL_HD static RowLoss loss(const float* logits, int count, Label label) {
        int best = 0;
        double mean = logits[0];
        for (int c = 1; c < count; ++c) {
            best = logits[c] > logits[best] ? c : best;
            mean += logits[c];
        }
        const double largest = logits[best];
        double sum = 0;
        for (int c = 0; c < count; ++c) sum += std::exp(logits[c] - largest);
        const double normaliser = largest + std::log(sum);
        const double target = (1 - Smoothing.value) * logits[label] + Smoothing.value * (mean / count);
        return {normaliser - target, best == label};
    }
    /// Gradient of `scale` times the loss of one row: (classes) to (classes).
    PLIMSOLL_HD static void gradient(const float* logits, float* out, int count, Label label, double scale) {
        double largest = logits[0];
        for (int c = 1; c < count; ++c)
            largest = logits[c] > largest ? static_cast<double>(logits[c]) : largest;
        double sum = 0;
        for (int c = 0; c < count; ++c) sum += std::exp(logits[c] - largest);
        for (int c = 0; c < count; ++c) {
            const double target = (c == label ? 1 - Smoothing.value : 0.0) + Smoothing.value / count;
            out[c] = static_cast<float>(scale * (std::exp(logits[c] - largest) / sum - target));
        }
    }
};

/// Binary cross-entropy on one logit: label 1 where the sigmoid exceeds one half, the mean over the batch.
struct BinaryCrossEntropy {

    static constexpr bool fits(Shape logits) { return logits.is_vector() && logits.channels == 1; }
    static constexpr int classes(Shape) { return 2; }
    static constexpr Facts facts(Shape in) { return loss_facts("BinaryCrossEntropy", in, fits(in)); }

    /// Probability of class 1.
    PLIMSOLL_HD static void probabilities(const float* logits, float* out, int) {
        out[0] = static_cast<float>(sigmoid(logits[0]));
    }
    PLIMSOLL_HD static RowLoss loss(const float* logits, int, Label label) {
        const double z = logits[0];
        // max(z, 0) - z y + log(1 + e^-|z|): no overflow for any z
        const double loss = (z > 0 ? z : z < 0 ? 0.0 : z) - z * label + std::log1p(std::exp(z < 0 ? z : -z));
        return {loss, (z > 0) == (label == 1)};
    }
    PLIMSOLL_HD static void gradient(const float* logits, float* out, int, Label label, double scale) {
        out[0] = static_cast<float>(scale * (sigmoid(logits[0]) - label));
    }

  private:
    PLIMSOLL_HD static double sigmoid(double z) {
        if (z >= 0) return 1 / (1 + std::exp(-z));
        const double e = std::exp(z);
        return e / (1 + e);
    }
};

/// A loss computed row by row. A loss of one's own has these functions, as `SoftmaxCrossEntropy` writes them
/// out.
template <class Loss>
concept row_loss = layer<Loss> &&
    requires(const float* logits, float* out, int classes, Label label, double scale) {
    { Loss::fits(Shape{}) } -> std::same_as<bool>;
    { Loss::classes(Shape{}) } -> std::same_as<int>;
    { Loss::loss(logits, classes, label) } -> std::same_as<RowLoss>;
    Loss::gradient(logits, out, classes, label, scale);
    Loss::probabilities(logits, out, classes);
};

namespace detail {

/// Any loss where there is no model to ask: that it is none is for check_model to say.
template <class Model>
struct DefaultLossOf {
    using type = BinaryCrossEntropy;
};
template <model Model>
struct DefaultLossOf<Model> {
    using type =
        std::conditional_t<output_shape<Model>.channels == 1, BinaryCrossEntropy, SoftmaxCrossEntropy<>>;
};

} // namespace detail

/// The loss that follows from a model's output: binary for one output, softmax for more.
template <class Model>
using DefaultLoss = typename detail::DefaultLossOf<Model>::type;

/// How a model must end to tell `classes` classes apart.
inline std::string classes_advice(int classes) {
    return classes > 2 ? text("write Dense<", classes, "> at its end")
                       : std::string("write Dense<1> or Dense<2> at its end");
}

namespace detail {

/// Named for the error message: shows the loss and the outputs it cannot take.
template <class Loss, int Height, int Width, int Channels>
inline constexpr bool loss_fits_outputs = Loss::fits({Height, Width, Channels});

} // namespace detail

/// One sentence when a loss cannot follow a model.
template <class Model, class Loss>
constexpr void check_loss() {
    static_assert(row_loss<Loss>,
                  "plimsoll: a Loss needs facts, fits, classes, loss, gradient and probabilities, "
                  "as SoftmaxCrossEntropy has them");
    if constexpr (model<Model> && row_loss<Loss>) { // else the mistake has been named
        constexpr Shape out = output_shape<Model>;
        constexpr bool sound = detail::has_size(out);
        static_assert(!sound || out.is_vector(),
                      "plimsoll: the model ends in a picture: end it with Flatten or GlobalAveragePool and "
                      "Dense<classes>");
        static_assert(
            !sound || !out.is_vector() ||
                detail::loss_fits_outputs<Loss, out.height, out.width, out.channels>,
            "plimsoll: this loss cannot follow this model's outputs <loss, height, width, outputs>: softmax "
            "takes two or more outputs, binary cross-entropy one");
    }
}

} // namespace plimsoll::inline PLIMSOLL_ABI
