#pragma once
/// \file
/// Steps and epochs. What a Trainer does, compiled once for all networks, sources and optimizers.

#include <plimsoll/trainer/engine.hpp>
#include <plimsoll/trainer/history.hpp>

#include <cstdint>
#include <functional>
#include <span>

namespace plimsoll::inline PLIMSOLL_ABI {

class InterruptGuard;
class Progress;

namespace detail {

/// An optimizer's update of all weights, as `Executor::update` makes it; steps count from 1.
template <class Storage, class Device>
using OptimizerStep = std::function<bool(Executor<Device, Storage>&, std::uint64_t step, const MicroBatch&)>;

template <class Storage, class Device, class Optimizer>
OptimizerStep<Storage, Device> optimizer_step(const Optimizer& optimizer) {
    return [optimizer](Executor<Device, Storage>& executor, std::uint64_t step, const MicroBatch& batch) {
        return executor.update(optimizer.rule(step), Optimizer::states, batch);
    };
}

template <class Pixel, class Storage, class Device>
class TrainingLoop {
  public:
    using Engine = plimsoll::Engine<Pixel, Storage, Device>;

    TrainingLoop(const Network<Device>& network, SourceRef<Pixel> train, const Settings& settings,
                 const Cut* fixed, OptimizerStep<Storage, Device> update);
    ~TrainingLoop();

    [[nodiscard]] Engine& engine() { return engine_; }
    [[nodiscard]] const Engine& engine() const { return engine_; }
    [[nodiscard]] std::uint64_t steps() const { return step_; }

    /// See Trainer::step.
    StepRecord step(std::span<const Pixel> images, std::span<const Label> labels);
    /// \param validation null: there is none
    History fit(SourceRef<Pixel> train, const FitOptions& options, const SourceRef<Pixel>* validation);

  private:
    /// A batch, whose passes run() makes, and its update. \param sample_of names an image of the batch in an
    /// error.
    template <class Run, class Name>
    StepRecord make_step(int count, Run run, Name sample_of);
    template <class Name>
    StepRecord finish_step(int count, Name sample_of);
    void run_epochs(SourceRef<Pixel> train, const FitOptions& options, const SourceRef<Pixel>* validation,
                    const InterruptGuard& guard, Progress& progress, History& history);

    OptimizerStep<Storage, Device> update_;
    Engine engine_;
    std::uint64_t step_ = 0;   // optimizer steps: with the seed, all that randomness depends on
    std::uint64_t epochs_ = 0; // finished epochs: selects the order of the next
};

} // namespace detail

} // namespace plimsoll::inline PLIMSOLL_ABI

#if PLIMSOLL_DEFINITIONS
#include <plimsoll/trainer/training_loop_definitions.hpp>
#endif
