#pragma once
/// \file
/// The plan as data: parts (named bytes of one arena), steps (what runs, on which parts) and stages (steps
/// that run together). Executor, checker, tables and pictures read this and nothing else.

#include <plimsoll/core/list.hpp>
#include <plimsoll/core/shape.hpp>
#include <plimsoll/core/units.hpp>
#include <plimsoll/plan/cut.hpp>

#include <cstdint>
#include <iterator>
#include <span>
#include <string_view>

namespace plimsoll::inline PLIMSOLL_ABI {

/// What a part is for.
enum class Role : std::uint8_t {
    weight,              ///< owner: parameter
    gradient,            ///< owner: parameter
    first_state,         ///< optimizer state; owner: parameter
    second_state,        ///< owner: parameter
    running_statistic,   ///< owner: parameter
    loss_scaling,        ///< see LossScaling
    pass_state,          ///< what changes from pass to pass, on devices that repeat recorded ones
    packed,              ///< library copies of weights; owner: node
    pixels,              ///< the batch ring
    labels,              ///< the batch ring
    activation,          ///< owner: value
    activation_gradient, ///< owner: value
    saved,               ///< owner: node
    statistics,          ///< owner: node
    partial_gradient,    ///< one a lane; owner: node
    workspace            ///< owner: node, or stage for the buffers of its workers
};

inline constexpr std::size_t role_count = static_cast<std::size_t>(Role::workspace) + 1;

inline constexpr std::string_view role_names[] = {"weights",
                                                  "gradients",
                                                  "optimizer state",
                                                  "optimizer state",
                                                  "running statistics",
                                                  "loss scaling",
                                                  "pass state",
                                                  "library weights",
                                                  "batch ring",
                                                  "batch ring",
                                                  "activations",
                                                  "activation gradients",
                                                  "saved for backward",
                                                  "batch statistics",
                                                  "partial gradients",
                                                  "workspace"};
static_assert(std::size(role_names) == role_count);

/// How often a part exists.
enum class Extent : std::uint8_t {
    once,  ///< one block of bytes
    batch, ///< one block an image of the micro-batch
    slice  ///< one block an image of the slice, in the region of each worker of its stage
};

/// Named bytes in the arena.
struct Part {
    Role role{};
    Extent extent{};
    std::int32_t owner = -1;
    std::int64_t unit = 0;   ///< bytes an image (batch, slice) or all bytes (once)
    std::int64_t bytes = 0;  ///< all bytes
    std::int64_t offset = 0; ///< from the arena's start; for `slice` from the start of the worker's region
    std::int32_t first = 0;  ///< life: first and last stage (for `slice`: first and last step)
    std::int32_t last = 0;
};

/// What a step does; see NodeKernel for each.
enum class Phase : std::uint8_t { pack, gather, forward, gather_gradient, backward, reduce, settle };

/// One kernel call. Members are indices into Plan::parts, -1 for none.
struct Step {
    Phase phase{};
    std::int32_t node = -1;
    std::int32_t input = -1, second = -1, output = -1;
    std::int32_t output_gradient = -1, input_gradient = -1, second_gradient = -1;
    std::int32_t saved = -1, statistics = -1, packed = -1, partial = -1, scratch = -1;
    /// Where a gradient has already been written, the kernel writes here and the executor adds.
    std::int32_t input_staging = -1, second_staging = -1;
};

/// Steps that run together: for each lane, for each of its slices, for each step; or, whole, once on all
/// images of the micro-batch.
struct Stage {
    std::int32_t first_step = 0;
    std::int32_t steps = 0;
    std::int32_t slice = 0;    ///< images a slice; 0: whole
    bool training_only = true; ///< not run in evaluation and prediction
    std::int32_t region = -1;  ///< part that holds the workers' regions
    std::int64_t worker_stride = 0;
};

/// What the plan was made for and what it chose.
struct Shipment {
    std::int32_t batch = 0;       ///< the user's
    std::int32_t micro_batch = 0; ///< images forward and backward see at once
    std::int32_t room = 0;        ///< images that parts of extent `batch` have room for
    std::int32_t lanes = 0;
    std::int32_t workers = 0;
    std::int32_t ring_slots = 0;
    std::int64_t slice_bytes = 0; ///< aimed at for a lane's slice buffers
    std::int32_t recompute = 0;   ///< see Cut::recompute

    [[nodiscard]] constexpr Cut cut() const {
        return {
            .micro_batch = micro_batch, .lanes = lanes, .slice_bytes = slice_bytes, .recompute = recompute};
    }
};

/// A plan that any code can read, whatever the network's size.
struct PlanView {
    Shipment shipment{};
    std::span<const Part> parts{};
    std::span<const Step> steps{};
    std::span<const Stage> stages{};
    std::span<const Layout> layouts{};           ///< of each value
    std::span<const std::int32_t> node_slices{}; ///< images a call of each node handles
    std::span<const std::int32_t> weights{};     ///< part of each parameter
    std::span<const std::int32_t> gradients{};   ///< part of each parameter, -1 for running statistics
    std::int32_t pixels = -1;
    std::int32_t labels = -1;
    std::int32_t scaling = -1;        ///< part of the loss scaling, if there is any
    std::int32_t pass_state = -1;     ///< part of the pass's state, if the device keeps one
    std::int64_t trainable_bytes = 0; ///< of the weights, gradients and each state, padding included
    std::int64_t shared = 0;          ///< where permanent parts end and those begin that take turns
    std::int64_t total = 0;           ///< bytes of the arena
};

/// A plan for a graph of at most `Nodes` nodes, in flat arrays so that it can be a constant.
template <int Nodes>
struct Plan {
    static constexpr int most_parts = Nodes * 22 + 8, most_steps = Nodes * 12, most_stages = Nodes * 7;

    Shipment shipment{};
    List<Part, most_parts> parts{};
    List<Step, most_steps> steps{};
    List<Stage, most_stages> stages{};
    List<Layout, Nodes + 1> layouts{};
    List<std::int32_t, Nodes> node_slices{};
    List<std::int32_t, Nodes * 4> weights{};
    List<std::int32_t, Nodes * 4> gradients{};
    std::int32_t pixels = -1;
    std::int32_t labels = -1;
    std::int32_t scaling = -1;
    std::int32_t pass_state = -1;
    std::int64_t trainable_bytes = 0;
    std::int64_t shared = 0;
    std::int64_t total = 0;

    [[nodiscard]] constexpr PlanView view() const {
        return {.shipment = shipment,
                .parts = {parts.begin(), parts.end()},
                .steps = {steps.begin(), steps.end()},
                .stages = {stages.begin(), stages.end()},
                .layouts = {layouts.begin(), layouts.end()},
                .node_slices = {node_slices.begin(), node_slices.end()},
                .weights = {weights.begin(), weights.end()},
                .gradients = {gradients.begin(), gradients.end()},
                .pixels = pixels,
                .labels = labels,
                .scaling = scaling,
                .pass_state = pass_state,
                .trainable_bytes = trainable_bytes,
                .shared = shared,
                .total = total};
    }
};

} // namespace plimsoll::inline PLIMSOLL_ABI
