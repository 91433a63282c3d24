#pragma once
/// \file
/// Nodes that a graph adds by itself: pixels to floats, and the sum that ends a residual block.

#include <plimsoll/core/storage.hpp>
#include <plimsoll/model/layer.hpp>

namespace plimsoll::inline PLIMSOLL_ABI {

/// Stored pixels (N, H, W, C) to activations: u8 divides by 255 in float32, floats pass. Nothing is kept:
/// backward widens the slice again.
template <class Pixel>
struct Widen {
    static constexpr Facts facts(Shape in) {
        return {.name = "Widen", .output = in, .recompute = true, .differentiable = false, .onnx = "Cast"};
    }
};

/// x + f(x), both (N, H, W, C).
struct Add {
    static constexpr Facts facts(Shape in) {
        return {.name = "Add",
                .output = in,
                .in_place = true,
                .flops = static_cast<double>(in.size()),
                .onnx = "Add"};
    }
};

} // namespace plimsoll::inline PLIMSOLL_ABI
