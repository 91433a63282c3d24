#pragma once
/// \file
/// Where a kernel will work, and what it asks for beside its operands.

#include <plimsoll/core/shape.hpp>
#include <plimsoll/model/layer.hpp>

#include <cstdint>

namespace plimsoll::inline PLIMSOLL_ABI {

/// The place a kernel is built for: fixed shapes and layouts, chosen by the plan.
struct Site {
    Facts facts{};
    Shape input{};
    Shape output{};
    Layout input_layout{};
    Layout output_layout{};
    int images = 0;              ///< most images a call handles: the slice, or the micro-batch
    int lanes = 1;               ///< lanes whose partial gradients are summed
    bool input_gradient = false; ///< whether backward returns a gradient of the input
    bool training = true;        ///< false: forward only
    int node = 0;                ///< its number in the graph: separates random streams
    std::uint64_t seed = 0;

    [[nodiscard]] constexpr bool has_bias() const { return facts.parameters.size() > 1; }
};

/// Bytes a kernel needs beside its operands, declared before it exists: what libraries take differs by
/// processor and version, so these are limits, checked when the kernel is built.
struct Needs {
    std::int64_t packed = 0;  ///< the job's life: library copies of weights
    std::int64_t partial = 0; ///< a lane's, during backward: its partial weight gradient
    std::int64_t scratch = 0; ///< a worker's, during a call: a library's workspace
};

} // namespace plimsoll::inline PLIMSOLL_ABI
