#pragma once
/// \file
/// Runs a plan: for each stage, for each lane, for each of its slices, for each step. It knows parts and
/// phases, no layer.

#include <plimsoll/device/arena.hpp>
#include <plimsoll/device/kernel.hpp>

#include <algorithm>
#include <memory>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

/// The images one pass of the network sees.
struct MicroBatch {
    int first = 0; ///< its first image, counted within the user's batch
    int count = 0; ///< 1 ... Shipment::micro_batch
    int batch = 0; ///< images of the user's batch
    int slot = 0;  ///< of the batch ring
    bool training = true;
    std::uint64_t step = 0;
};

/// One layer's kernel and its parameters' numbers.
struct NodeRecord {
    std::unique_ptr<NodeKernel> kernel;
    std::int64_t input_elements = 0;
    int first_parameter = 0;
    int parameters = 0;
    bool done_before = false; ///< by the kernel of the layer that it reads: in place, nothing is left to do
};

/// \tparam Storage of activations and their gradients.
template <class Device, class Storage>
class Executor {
  public:
    /// \param plan must outlive the executor.
    Executor(Device& device, const PlanView& plan, std::vector<NodeRecord> nodes)
        : device_(device), plan_(plan), arena_(device, plan), nodes_(std::move(nodes)) {}

    [[nodiscard]] float* parameter(int index) const { return floats(plan_.weights, index); }
    [[nodiscard]] float* gradient(int index) const { return floats(plan_.gradients, index); }

    /// First byte of an image's pixels in a slot of the ring.
    [[nodiscard]] std::byte* pixels(int slot, int image) const { return ring(plan_.pixels, slot, image); }
    [[nodiscard]] Label* labels(int slot, int image) const {
        return reinterpret_cast<Label*>(ring(plan_.labels, slot, image));
    }
    /// Where a step writes or reads a tensor of the whole micro-batch.
    [[nodiscard]] std::byte* part(std::int32_t index) const { return arena_.at(index); }

    /// What a node's kernel uses of the bytes it was given.
    [[nodiscard]] Needs used(int node) const { return nodes_[static_cast<std::size_t>(node)].kernel->used(); }

    [[nodiscard]] std::string choice(int node) const {
        return nodes_[static_cast<std::size_t>(node)].kernel->choice();
    }

    /// Tells that weights were written: library copies are made again before the next pass.
    void weights_changed() { packed_ = false; }

    /// One pass: forward, and when training backward. \throws what kernels throw.
    void run(const MicroBatch& batch) {
        const bool pack = !packed_;
        const auto stages = [&] {
            if (pack) for_stages(batch, [](Phase phase, const Stage&) { return phase == Phase::pack; });
            for_stages(batch, [&](Phase phase, const Stage& stage) {
                return phase != Phase::pack && phase != Phase::settle &&
                       (batch.training || !stage.training_only);
            });
        };
        if constexpr (repeats_passes<Device>)
            device_.pass(PassKey{batch.count, batch.slot, batch.training, batch.first > 0, pack},
                         pass_state(), PassState{batch.step, batch.first, batch.batch}, stages);
        else
            stages();
        packed_ = true; // not where something was thrown
    }

    /// The optimizer's step after all passes of a batch: one pass over all trainable parameters, then what
    /// layers learn beside gradients. A step whose gradients overflow changes nothing but the loss scaling.
    /// \returns whether the step was made
    template <class Rule>
    bool update(const Rule& rule, int states, const MicroBatch& batch);

    /// The state of loss scaling, where the precision scales the loss.
    [[nodiscard]] LossScaling loss_scaling() const {
        LossScaling state;
        if (scaling() != nullptr) device_.download(&state, scaling(), sizeof state);
        return state;
    }
    void set_loss_scaling(const LossScaling& state) {
        if (scaling() != nullptr) device_.upload(scaling(), &state, sizeof state);
    }

    /// First float of all parameters' weights, gradients or states: `trainable_bytes` long; null if there are
    /// none.
    [[nodiscard]] float* block(Role role) const {
        for (std::size_t p = 0; p < plan_.parts.size(); ++p)
            if (plan_.parts[p].role == role)
                return reinterpret_cast<float*>(arena_.at(static_cast<std::int32_t>(p)));
        return nullptr;
    }

  private:
    float* floats(std::span<const std::int32_t> parts, int index) const {
        const std::int32_t part = parts[static_cast<std::size_t>(index)];
        return part < 0 ? nullptr : reinterpret_cast<float*>(arena_.at(part));
    }
    [[nodiscard]] LossScaling* scaling() const {
        return plan_.scaling < 0 ? nullptr : reinterpret_cast<LossScaling*>(arena_.at(plan_.scaling));
    }
    [[nodiscard]] PassState* pass_state() const {
        return plan_.pass_state < 0 ? nullptr : reinterpret_cast<PassState*>(arena_.at(plan_.pass_state));
    }
    std::byte* ring(std::int32_t part, int slot, int image) const {
        const std::int64_t unit = plan_.parts[static_cast<std::size_t>(part)].unit;
        return arena_.at(part) + unit * (std::int64_t{slot} * plan_.shipment.room + image);
    }

    template <class Wanted>
    void for_stages(const MicroBatch& batch, Wanted wanted) {
        for (std::size_t s = 0; s < plan_.stages.size(); ++s) {
            const Stage& stage = plan_.stages[s];
            if (stage.steps == 0 ||
                !wanted(plan_.steps[static_cast<std::size_t>(stage.first_step)].phase, stage))
                continue;
            arena_.enter(static_cast<std::int32_t>(s));
            if (stage.slice == 0)
                run_whole(stage, batch);
            else
                run_sliced(stage, batch);
            arena_.leave(static_cast<std::int32_t>(s));
        }
    }

    void run_whole(const Stage& stage, const MicroBatch& batch) {
        for (const Step& step : steps(stage)) {
            Call call = bind(step, stage, batch, 0, 0, 0);
            call.count = batch.count;
            call.accumulate = batch.first > 0;
            run(step, call);
        }
    }

    void run_sliced(const Stage& stage, const MicroBatch& batch) {
        const int slices = (batch.count + stage.slice - 1) / stage.slice;
        const int lanes = std::min<int>(plan_.shipment.lanes, slices);
        // Buffers belong to workers; where the device has more of them than the plan, to lanes.
        const bool by_lane = device_.workers() > plan_.shipment.workers;
        device_.for_lanes(lanes, [&](int lane, int thread) {
            const int worker = by_lane ? lane : thread;
            for (int slice = lane; slice < slices; slice += lanes) {
                const int image = slice * stage.slice;
                for (const Step& step : steps(stage)) {
                    Call call = bind(step, stage, batch, image, lane, worker);
                    call.count = std::min<int>(stage.slice, batch.count - image);
                    call.accumulate = slice != lane;
                    run(step, call);
                }
            }
        });
    }

    void run(const Step& step, const Call& call) {
        const NodeRecord& node = nodes_[static_cast<std::size_t>(step.node)];
        if (node.done_before && is_in_place(step)) return;
        switch (step.phase) {
        case Phase::pack:
            return node.kernel->pack(call);
        case Phase::gather:
            return node.kernel->gather(call);
        case Phase::forward:
            return node.kernel->forward(call);
        case Phase::gather_gradient:
            return node.kernel->gather_gradient(call);
        case Phase::backward:
            return run_backward(call, *node.kernel, node.input_elements);
        case Phase::settle:
            return node.kernel->settle(call);
        case Phase::reduce: {
            const int slice = plan_.node_slices[static_cast<std::size_t>(step.node)];
            return node.kernel->reduce(call,
                                       std::min<int>(plan_.shipment.lanes, (call.count + slice - 1) / slice));
        }
        }
    }

    static bool is_in_place(const Step& step) {
        return (step.phase == Phase::forward && step.input == step.output) ||
               (step.phase == Phase::backward && step.input_gradient == step.output_gradient &&
                step.input_staging < 0);
    }

    /// A gradient that others have written to already is made beside it and added.
    void run_backward(const Call& call, NodeKernel& kernel, std::int64_t input_elements) {
        Call staged = call;
        if (call.input_staging != nullptr) staged.input_gradient = call.input_staging;
        if (call.second_staging != nullptr) staged.second_gradient = call.second_staging;
        kernel.backward(staged);
        const std::int64_t count = input_elements * call.count;
        if (call.input_staging != nullptr)
            device_.add(static_cast<Storage*>(call.input_gradient),
                        static_cast<const Storage*>(call.input_staging), count);
        if (call.second_staging != nullptr)
            device_.add(static_cast<Storage*>(call.second_gradient),
                        static_cast<const Storage*>(call.second_staging), count);
    }

    /// Resolves a step's parts to addresses, for the slice that begins at `image` of the micro-batch. Not
    /// inlined: it is called in several places, and costs a call a step.
    [[gnu::noinline]] Call bind(const Step& step, const Stage& stage, const MicroBatch& batch, int image,
                                int lane, int worker) const {
        const auto address = [&](std::int32_t index) -> std::byte* {
            if (index < 0) return nullptr;
            if (index == plan_.pixels) return ring(index, batch.slot, image);
            const Part& part = plan_.parts[static_cast<std::size_t>(index)];
            if (part.extent == Extent::slice)
                return arena_.at(stage.region) + worker * stage.worker_stride + part.offset;
            return arena_.at(index) + (part.extent == Extent::batch ? part.unit * image : 0);
        };
        Call call{.first = batch.first + image,
                  .image = image,
                  .lane = lane,
                  .worker = worker,
                  .training = batch.training,
                  .step = batch.step,
                  .batch = batch.batch,
                  .input = address(step.input),
                  .second = address(step.second),
                  .output = address(step.output),
                  .output_gradient = address(step.output_gradient),
                  .input_gradient = address(step.input_gradient),
                  .second_gradient = address(step.second_gradient),
                  .saved = address(step.saved),
                  .statistics = address(step.statistics),
                  .packed = address(step.packed),
                  .partial = address(step.partial),
                  .input_staging = address(step.input_staging),
                  .second_staging = address(step.second_staging),
                  .scratch = address(step.scratch),
                  .labels = labels(batch.slot, image),
                  .scaling = scaling(),
                  .pass = pass_state()};
        if (step.partial >= 0) {
            call.partial_stride =
                plan_.parts[static_cast<std::size_t>(step.partial)].bytes / plan_.shipment.lanes;
            if (stage.slice > 0) call.partial = address(step.partial) + lane * call.partial_stride;
        }
        const NodeRecord& node = nodes_[static_cast<std::size_t>(step.node)];
        for (int p = 0; p < node.parameters; ++p) {
            call.parameters[static_cast<std::size_t>(p)] = parameter(node.first_parameter + p);
            call.gradients[static_cast<std::size_t>(p)] = gradient(node.first_parameter + p);
        }
        return call;
    }

    std::span<const Step> steps(const Stage& stage) const {
        return plan_.steps.subspan(static_cast<std::size_t>(stage.first_step),
                                   static_cast<std::size_t>(stage.steps));
    }

    Device& device_;
    PlanView plan_;
    Arena<Device> arena_;
    std::vector<NodeRecord> nodes_;
    bool packed_ = false;
};

// Not inline, so that a program does not look into what its library has.
template <class Device, class Storage>
template <class Rule>
bool Executor<Device, Storage>::update(const Rule& rule, int states, const MicroBatch& batch) {
    const std::int64_t count = plan_.trainable_bytes / static_cast<std::int64_t>(sizeof(float));
    float* weights = block(Role::weight);
    if (weights == nullptr) return true;
    float* first = states > 0 ? block(Role::first_state) : nullptr;
    float* second = states > 1 ? block(Role::second_state) : nullptr;
    if (LossScaling* state = scaling()) {
        device_.judge(state, block(Role::gradient), count);
        device_.update(rule, weights, block(Role::gradient), first, second, count, state);
        if (loss_scaling().overflowed != 0) return false;
    } else {
        device_.update(rule, weights, block(Role::gradient), first, second, count, nullptr);
    }
    for_stages(batch, [](Phase phase, const Stage&) { return phase == Phase::settle; });
    weights_changed();
    return true;
}

} // namespace plimsoll::inline PLIMSOLL_ABI
