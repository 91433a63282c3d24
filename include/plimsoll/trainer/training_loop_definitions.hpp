#pragma once
/// \file
/// How steps and epochs go.

#include <plimsoll/source/order.hpp>
#include <plimsoll/source/view.hpp>
#include <plimsoll/trainer/engine_definitions.hpp>
#include <plimsoll/trainer/interrupt.hpp>
#include <plimsoll/trainer/progress.hpp>
#include <plimsoll/trainer/training_loop.hpp>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// Warns where a source whose labels are known has no sample of some class.
template <class Pixel>
void report_missing_classes(SourceRef<Pixel> source) {
    if (!source.has_labels()) return;
    const std::vector<std::uint64_t> counts = class_counts(source);
    std::string missing;
    for (std::size_t label = 0; label < counts.size(); ++label)
        if (counts[label] == 0)
            missing +=
                text(missing.empty() ? " " : ", ", label,
                     label < source.class_names().size() ? " (" + source.class_names()[label] + ")" : "");
    if (!missing.empty()) warn(text("\"", source.name(), "\" has no sample of class", missing));
}

/// Says how many samples could not be read, if any. \returns how many
template <class Pixel>
std::uint64_t report_skipped(SourceRef<Pixel> source) {
    const std::uint64_t skipped = source.skipped();
    if (skipped > 0)
        warn(text("\"", source.name(), "\": ", skipped,
                  skipped == 1 ? " picture that cannot be read was" : " pictures that cannot be read were",
                  " skipped"));
    return skipped;
}

template <class Pixel, class Storage, class Device>
TrainingLoop<Pixel, Storage, Device>::TrainingLoop(const Network<Device>& network, SourceRef<Pixel> train,
                                                   const Settings& settings, const Cut* fixed,
                                                   OptimizerStep<Storage, Device> update)
    : update_(std::move(update)), engine_(network, settings, fixed) {
    engine_.check_source_fits(train);
    engine_.set_class_names(train.class_names());
    engine_.initialise();
}

template <class Pixel, class Storage, class Device>
TrainingLoop<Pixel, Storage, Device>::~TrainingLoop() = default;

template <class Pixel, class Storage, class Device>
StepRecord TrainingLoop<Pixel, Storage, Device>::step(std::span<const Pixel> images,
                                                      std::span<const Label> labels) {
    const auto count = labels.size();
    if (count == 0 || count > static_cast<std::size_t>(engine_.settings().batch))
        throw argument_error(
            text("a step takes 1 to ", engine_.settings().batch, " images (.batch), not ", count));
    if (images.size() != engine_.elements(static_cast<int>(count)))
        throw data_error(text(count, " labels for ", images.size(), " pixels: expected ",
                              engine_.elements(static_cast<int>(count)), " (", count, " x ",
                              to_string(engine_.input()), ")"));
    engine_.check_labels(labels, [](std::size_t i) { return text("sample ", i, " of the batch"); });
    const auto fill = [&](int first, int, std::span<Pixel> room, std::span<Label> room_labels) {
        std::copy_n(images.begin() + static_cast<std::ptrdiff_t>(engine_.elements(first)), room.size(),
                    room.begin());
        std::copy_n(labels.begin() + first, room_labels.size(), room_labels.begin());
    };
    return make_step(
        static_cast<int>(count), [&] { engine_.run_with(static_cast<int>(count), true, step_, fill); },
        [](int image) { return static_cast<std::uint64_t>(image); });
}

template <class Pixel, class Storage, class Device>
History TrainingLoop<Pixel, Storage, Device>::fit(SourceRef<Pixel> train, const FitOptions& options,
                                                  const SourceRef<Pixel>* validation) {
    if (validation != nullptr) engine_.check_source_fits(*validation);
    if (options.epochs < 0) throw argument_error(text(".epochs = ", options.epochs, " is negative"));
    report_missing_classes(train);
    if (validation != nullptr) report_missing_classes(*validation);
    const InterruptGuard guard(options.handle_interrupts);
    Progress progress(options.progress ? stderr : nullptr);
    History history;
    run_epochs(train, options, validation, guard, progress, history);
    history.skipped = report_skipped(train);
    if (validation != nullptr && validation->origin() != train.origin())
        history.skipped += report_skipped(*validation);
    return history;
}

template <class Pixel, class Storage, class Device>
template <class Run, class Name>
StepRecord TrainingLoop<Pixel, Storage, Device>::make_step(int count, Run run, Name sample_of) {
    return telling([&] { return text("by step ", step_ + 1); },
                   [&] {
                       engine_.reset_tally();
                       run();
                       return finish_step(count, sample_of);
                   });
}

template <class Pixel, class Storage, class Device>
template <class Name>
StepRecord TrainingLoop<Pixel, Storage, Device>::finish_step(int count, Name sample_of) {
    const Tally tally = engine_.read_tally();
    if (tally.bad_count > 0) {
        std::string samples;
        for (int i = 0; i < tally.bad_count && i < 5; ++i)
            samples += text(i > 0 ? ", " : "", sample_of(tally.bad[i]));
        throw numeric_error(text("the loss is not finite at step ", step_ + 1, ", for ", tally.bad_count,
                                 " of ", count, " images: sample ", samples,
                                 tally.bad_count > 5 ? ", ..." : "",
                                 "; the weights are those before the step"));
    }
    const bool made = update_(engine_.executor(), step_ + 1,
                              {.count = count, .batch = count, .training = true, .step = step_});
    if (!made && engine_.executor().loss_scaling().unscale >= 1 / LossScaling::least)
        throw numeric_error(text("gradients are not finite at step ", step_ + 1,
                                 ", at the smallest loss scale; the weights are those before the step"));
    if (made) ++step_;
    return {step_,
            Metrics::mean(tally.loss, static_cast<std::uint64_t>(tally.correct),
                          static_cast<std::uint64_t>(count)),
            !made};
}

template <class Pixel, class Storage, class Device>
void TrainingLoop<Pixel, Storage, Device>::run_epochs(SourceRef<Pixel> train, const FitOptions& options,
                                                      const SourceRef<Pixel>* validation,
                                                      const InterruptGuard& guard, Progress& progress,
                                                      History& history) {
    const std::uint64_t size = train.size();
    const auto batch = static_cast<std::uint64_t>(engine_.settings().batch);
    for (int epoch = 1; epoch <= options.epochs; ++epoch) {
        const double began = detail::monotonic_seconds();
        const Order order(size, engine_.settings().seed, epochs_, options.shuffle);
        progress.begin_epoch(epoch, options.epochs, size);
        double loss = 0, correct = 0;
        std::uint64_t skipped_steps = 0;
        // Micro-batches of the epoch, batch by batch.
        std::uint64_t begun = 0;
        Feed<Pixel, Device> feed = engine_.feed(
            train, [&, within = std::uint64_t{0}](std::uint64_t, std::span<std::uint64_t> samples) mutable {
                const std::uint64_t left = std::min(batch, size - begun) - within;
                const std::size_t count =
                    static_cast<std::size_t>(std::min<std::uint64_t>(samples.size(), left));
                order.fill(begun + within, samples.first(count));
                within += count;
                if (count == left) {
                    begun += within;
                    within = 0;
                }
                return count;
            });
        for (std::uint64_t position = 0; position < size; position += batch) {
            const std::uint64_t count = std::min(batch, size - position);
            const auto run = [&] {
                engine_.run(
                    static_cast<int>(count), true, step_, [&](int, int) { return feed.next(); },
                    [&] { feed.look_ahead(); });
            };
            const StepRecord record = make_step(static_cast<int>(count), run, [&](int image) {
                return order[position + static_cast<std::uint64_t>(image)];
            });
            skipped_steps += record.skipped;
            loss += record.metrics.loss * static_cast<double>(count);
            correct += record.metrics.accuracy * static_cast<double>(count);
            const double done = static_cast<double>(position + count);
            progress.update(position + count, {loss / done, correct / done, position + count},
                            feed.waited_seconds());
            history.stopped = options.on_step && options.on_step(record) == Control::stop;
            history.interrupted = guard.interrupted();
            if (history.stopped || history.interrupted) return;
        }
        ++epochs_;
        const double training_seconds = detail::monotonic_seconds() - began;
        const double count = static_cast<double>(size);
        EpochRecord record;
        record.epoch = epoch;
        record.train = {loss / count, correct / count, size};
        record.images_per_second = count / training_seconds;
        record.skipped_steps = skipped_steps;
        record.waiting = feed.waited_seconds() / training_seconds;
        if (validation != nullptr) {
            record.validation = engine_.evaluate(*validation);
            record.has_validation = true;
        }
        record.seconds = detail::monotonic_seconds() - began;
        history.epochs.push_back(record);
        progress.end_epoch(record);
        history.stopped = options.on_epoch && options.on_epoch(record) == Control::stop;
        history.interrupted = guard.interrupted();
        if (history.stopped || history.interrupted) return;
    }
}

} // namespace detail

} // namespace plimsoll::inline PLIMSOLL_ABI
