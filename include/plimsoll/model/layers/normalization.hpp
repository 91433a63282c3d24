#pragma once
/// \file
/// Batch normalisation.

#include <plimsoll/model/layer.hpp>

namespace plimsoll::inline PLIMSOLL_ABI {

/// Normalises each channel by its mean and variance over all images and pixels of the batch, then scales and
/// shifts (Ioffe and Szegedy, ICML 2015). Statistics are always those of the whole batch. epsilon is 1e-5 and
/// running statistics move by 0.1 with the unbiased variance, PyTorch's defaults.
struct BatchNorm {
    static constexpr float epsilon = 1e-5f;
    static constexpr float momentum = 0.1f;

    static constexpr Facts facts(Shape in) {
        Facts facts{.name = "BatchNorm",
                    .output = in,
                    .backward_reads_input = true,
                    .couples_images = true,
                    // mean, 1 / deviation, the two sums of backward and the unbiased variance, (C) each
                    .statistics_bytes = 5 * static_cast<std::int64_t>(sizeof(float)) * in.channels,
                    .flops = 4.0 * static_cast<double>(in.size()),
                    .onnx = "BatchNormalization"};
        facts.parameters.push({.name = "weight", .shape = {in.channels}, .initialise = Initialise::ones});
        facts.parameters.push({.name = "bias", .shape = {in.channels}});
        facts.parameters.push({.name = "running_mean", .shape = {in.channels}, .trainable = false});
        facts.parameters.push({.name = "running_var",
                               .shape = {in.channels},
                               .initialise = Initialise::ones,
                               .trainable = false});
        return facts;
    }
};

} // namespace plimsoll::inline PLIMSOLL_ABI
