#pragma once
/// \file
/// Convolution.

#include <plimsoll/model/layer.hpp>

namespace plimsoll::inline PLIMSOLL_ABI {

/// Writes a layer without bias readably: `Conv2d<64, 3, 1, 1, no_bias>`.
inline constexpr bool no_bias = false;

/// 2-D convolution: (N, H, W, C) to (N, H', W', Filters), weight (Filters, C, Kernel, Kernel), bias
/// (Filters). \tparam Padding zeros on each side, as in PyTorch; odd sizes truncate as PyTorch's do.
template <int Filters, int Kernel, int Stride = 1, int Padding = 0, bool Bias = true>
struct Conv2d {
    static_assert(
        Filters > 0 && Kernel > 0 && Stride > 0 && Padding >= 0,
        "plimsoll: Conv2d<filters, kernel, stride, padding> takes positive numbers (padding may be 0)");

    static constexpr Facts facts(Shape in) {
        constexpr Window window{Kernel, Stride, Padding};
        const Shape out{window.output(in.height), window.output(in.width), Filters};
        const int fan_in = in.channels * Kernel * Kernel;
        Facts facts{.name = "Conv2d",
                    .output = out,
                    .window = window,
                    .backward_reads_input = true,
                    .flops = 2.0 * static_cast<double>(out.size()) * fan_in,
                    .onnx = "Conv"};
        facts.parameters.push({.name = "weight",
                               .shape = {Filters, in.channels, Kernel, Kernel},
                               .initialise = Initialise::he,
                               .fan_in = fan_in,
                               .fan_out = Filters * Kernel * Kernel});
        if (Bias) facts.parameters.push({.name = "bias", .shape = {Filters}});
        return facts;
    }
};

} // namespace plimsoll::inline PLIMSOLL_ABI
