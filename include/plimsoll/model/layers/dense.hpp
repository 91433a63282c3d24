#pragma once
/// \file
/// Dense layers and the flattening before them.

#include <plimsoll/model/layer.hpp>

#include <limits>

namespace plimsoll::inline PLIMSOLL_ABI {

/// (N, H, W, C) to (N, C x H x W), in PyTorch's order: channels first.
struct Flatten {
    static constexpr Facts facts(Shape in) {
        const bool countable = in.size() <= std::numeric_limits<int>::max();
        return {.name = "Flatten",
                .output = {1, 1, countable ? static_cast<int>(in.size()) : 0},
                .onnx = "Flatten"};
    }
};

/// y = x W^T + b: (N, K) to (N, Features), weight (Features, K), bias (Features).
template <int Features, bool Bias = true>
struct Dense {
    static_assert(Features > 0, "plimsoll: Dense<features> takes a positive number");

    static constexpr Facts facts(Shape in) {
        if (!in.is_vector()) return {}; // refused: Flatten or GlobalAveragePool comes first
        Facts facts{.name = "Dense",
                    .output = {1, 1, Features},
                    .backward_reads_input = true,
                    .whole_batch = true, // so that its weights are read once
                    .flops = 2.0 * in.channels * Features,
                    .onnx = "Gemm"};
        facts.parameters.push({.name = "weight",
                               .shape = {Features, in.channels},
                               .initialise = Initialise::glorot,
                               .fan_in = in.channels,
                               .fan_out = Features});
        if (Bias) facts.parameters.push({.name = "bias", .shape = {Features}});
        return facts;
    }
};

} // namespace plimsoll::inline PLIMSOLL_ABI
