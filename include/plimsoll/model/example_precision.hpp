#pragma once
/// \file
/// A complete Precision to copy: the types that activations are stored, computed and summed in.

#include <plimsoll/model/precision.hpp>

#include <string_view>

namespace plimsoll::inline PLIMSOLL_ABI {

/// float32 throughout, as `Float`.
///
/// To make a Precision of your own, copy this struct and keep the five members that
/// `check_precision<YourPrecision>()` asks for. `sizeof(Storage)` is the plan's bytes of one activation, so
/// the kernels of the device (`Kernel<Layer, YourPrecision, Device>`) must read and write that type; the
/// Host's kernels store float, half and bfloat16.
struct ExamplePrecision {
    /// What the plan's table calls it.
    static constexpr std::string_view name = "ExamplePrecision";

    using Storage = float;    ///< of an activation and of its gradient in memory
    using Compute = float;    ///< of one multiplication
    using Accumulate = float; ///< of the sums inside a convolution or matrix product

    /// Whether small gradients must be scaled up, lest they vanish in Storage.
    static constexpr bool scales_loss = false;
};

static_assert(precision<ExamplePrecision>);

} // namespace plimsoll::inline PLIMSOLL_ABI
