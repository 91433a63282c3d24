#pragma once
/// \file
/// Trainer<Model, Source, Precision, Device>.

#include <plimsoll/model/optimizer.hpp>
#include <plimsoll/model/precision.hpp>
#include <plimsoll/source/order.hpp>
#include <plimsoll/source/view.hpp>
#include <plimsoll/trainer/engine.hpp>
#include <plimsoll/trainer/interrupt.hpp>
#include <plimsoll/trainer/progress.hpp>

namespace plimsoll::inline PLIMSOLL_ABI {

/// One process: gradients stay where they are. The place where several machines will meet.
struct Local {};

/// Trains a model on a source. After construction it allocates no device memory.
/// \tparam Model a `Sequential<Image<height, width, channels>, ...>`
/// \tparam Source where samples come from; its type names the pixels in memory
/// \tparam Precision what activations are stored and computed in
/// \tparam Device where it runs
/// \tparam Loss by default binary cross-entropy for one output, softmax cross-entropy for more
/// \tparam Optimizer its state is part of the plan
template <class Model, class Source, class Precision, class Device, class Loss = DefaultLoss<Model>,
          class Optimizer = Adam, class Communicator = Local>
class Trainer {
    static constexpr bool checked_ =
        (check_model<Model>(), check_source<Source>(), check_precision<Precision>(), check_device<Device>(),
         check_loss<Model, Loss>(), check_optimizer<Optimizer>(), true);
    static_assert(checked_);

  public:
    using Pixel = typename Source::Pixel;
    using Blueprint = plimsoll::Blueprint<Model, Pixel, Precision, Device, Loss, Optimizer::states, true,
                                          read_ahead<Source>>;

    /// \param train must outlive the trainer.
    /// \throws budget_error before anything is allocated, data_error if source and model do not fit.
    explicit Trainer(const Source& train, const Settings& settings = {}, const Optimizer& optimizer = {})
        : Trainer(View<Source>(train), settings, nullptr, optimizer) {}
    /// The same with a part of a source: `all.slice("[:85%]")`. The source must outlive the trainer.
    explicit Trainer(const View<Source>& train, const Settings& settings = {},
                     const Optimizer& optimizer = {})
        : Trainer(train, settings, nullptr, optimizer) {}

    /// The same with the work cut as told, not as the planner finds best: gives the bits of the job whose cut
    /// it was. \throws argument_error if such a job cannot be cut so.
    Trainer(const Source& train, const Settings& settings, const Cut& cut, const Optimizer& optimizer = {})
        : Trainer(View<Source>(train), settings, &cut, optimizer) {}
    Trainer(const View<Source>& train, const Settings& settings, const Cut& cut,
            const Optimizer& optimizer = {})
        : Trainer(train, settings, &cut, optimizer) {}

    /// The source must outlive the trainer, so it cannot be a temporary.
    explicit Trainer(const Source&& train, const Settings& = {}, const Optimizer& = {}) = delete;

    /// Who owns every byte of the arena.
    [[nodiscard]] PlanReport plan() const { return engine_.report(); }
    /// Bytes of the arena.
    [[nodiscard]] Bytes peak() const { return {engine_.plan().total}; }
    /// How the plan cuts the work.
    [[nodiscard]] Cut cut() const { return engine_.plan().shipment.cut(); }
    /// Optimizer steps so far.
    [[nodiscard]] std::uint64_t steps() const { return step_; }

    /// Trains. \throws numeric_error when a loss is not finite, before the weights are touched.
    History fit(const FitOptions& options = {}) {
        return fit_with(options, static_cast<const Source*>(nullptr));
    }
    /// Trains, and evaluates on `validation` after each epoch.
    template <class Validation>
    History fit(const FitOptions& options, const Validation& validation) {
        check_pixels<Validation>();
        engine_.check_source_fits(validation);
        return fit_with(options, &validation);
    }

    /// Loss and accuracy on a source: no dropout, running statistics.
    template <class Other>
    Metrics evaluate(const Other& source) {
        check_pixels<Other>();
        return engine_.evaluate(source);
    }
    /// (N, outputs) probabilities for a source's images, in order.
    template <class Other>
        requires source<Other> std::vector<float> predict(const Other& images) {
            check_pixels<Other>();
            return engine_.predict(images);
        }
    /// (N, outputs) probabilities for images (N, H, W, C).
    std::vector<float> predict(std::span<const Pixel> images) { return engine_.predict(images); }

    /// One optimizer step on a batch of 1 to Settings::batch images (N, H, W, C) with labels (N).
    /// \throws argument_error or data_error if they do not fit, numeric_error if the loss is not finite.
    StepRecord step(std::span<const Pixel> images, std::span<const Label> labels) {
        const auto count = labels.size();
        if (count == 0 || count > static_cast<std::size_t>(engine_.settings().batch))
            throw argument_error(
                text("a step takes 1 to ", engine_.settings().batch, " images (.batch), not ", count));
        if (images.size() != Engine::elements(static_cast<int>(count)))
            throw data_error(text(count, " labels for ", images.size(), " pixels: expected ",
                                  Engine::elements(static_cast<int>(count)), " (", count, " x ",
                                  to_string(Model::input), ")"));
        Engine::check_labels(labels, [](std::size_t i) { return text("sample ", i, " of the batch"); });
        engine_.reset_tally();
        engine_.run_with(static_cast<int>(count), true, step_,
                         [&](int first, int, std::span<Pixel> room, std::span<Label> room_labels) {
                             std::copy_n(images.begin() +
                                             static_cast<std::ptrdiff_t>(Engine::elements(first)),
                                         room.size(), room.begin());
                             std::copy_n(labels.begin() + first, room_labels.size(), room_labels.begin());
                         });
        return finish_step(static_cast<int>(count),
                           [](int image) { return static_cast<std::uint64_t>(image); });
    }

    /// Writes the weights as safetensors, in PyTorch's names and layouts. \throws io_error.
    void save(const std::string& path) { engine_.save(path); }
    /// Reads them. \throws data_error if they are not this model's; then nothing has changed.
    void load(const std::string& path) { engine_.load(path); }

    /// Names, shapes and values of weights and running statistics, and the gradients of the last step.
    [[nodiscard]] const std::vector<NamedParameter>& parameters() const { return engine_.parameters(); }
    [[nodiscard]] std::vector<float> parameter(std::size_t index) { return engine_.read_parameter(index); }
    [[nodiscard]] std::vector<float> gradient(std::size_t index) { return engine_.read_gradient(index); }

  private:
    using Engine = plimsoll::Engine<Blueprint>;

    Trainer(const View<Source>& train, const Settings& settings, const Cut* fixed, const Optimizer& optimizer)
        : train_(train), optimizer_(optimizer), engine_(settings, fixed) {
        engine_.check_source_fits(train);
        engine_.set_class_names(train.class_names());
        engine_.initialise();
    }

    template <class Other>
    static constexpr void check_pixels() {
        check_source<Other>();
        static_assert(std::same_as<typename Other::Pixel, Pixel>,
                      "plimsoll: this source's pixels are not of the training source's type: use the same "
                      "<u8>, <float> or <half> for both");
    }

    /// After the passes of a batch: its update. \param sample_of names an image of the batch in an error.
    template <class Name>
    StepRecord finish_step(int count, Name sample_of) {
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
        const bool made =
            engine_.executor().update(optimizer_.rule(step_ + 1), Optimizer::states,
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

    template <class Validation>
    History fit_with(const FitOptions& options, const Validation* validation) {
        if (options.epochs < 0) throw argument_error(text(".epochs = ", options.epochs, " is negative"));
        report_missing_classes(train_);
        if (validation != nullptr) report_missing_classes(*validation);
        const InterruptGuard guard(options.handle_interrupts);
        Progress progress(options.progress ? stderr : nullptr);
        History history;
        run_epochs(options, validation, guard, progress, history);
        history.skipped = report_skipped(train_);
        if (validation != nullptr && origin_of(*validation) != origin_of(train_))
            history.skipped += report_skipped(*validation);
        return history;
    }

    template <class Validation>
    void run_epochs(const FitOptions& options, const Validation* validation, const InterruptGuard& guard,
                    Progress& progress, History& history) {
        const std::uint64_t size = train_.size();
        const auto batch = static_cast<std::uint64_t>(engine_.settings().batch);
        for (int epoch = 1; epoch <= options.epochs; ++epoch) {
            const double began = detail::monotonic_seconds();
            const Order order(size, engine_.settings().seed, epochs_, options.shuffle);
            progress.begin_epoch(epoch, options.epochs, size);
            double loss = 0, correct = 0;
            std::uint64_t skipped_steps = 0;
            // Micro-batches of the epoch, batch by batch.
            std::uint64_t begun = 0;
            Feed<View<Source>, Device> feed = engine_.feed(
                train_,
                [&, within = std::uint64_t{0}](std::uint64_t, std::span<std::uint64_t> samples) mutable {
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
                engine_.reset_tally();
                engine_.run(
                    static_cast<int>(count), true, step_, [&](int, int) { return feed.next(); },
                    [&] { feed.look_ahead(); });
                const StepRecord record = finish_step(static_cast<int>(count), [&](int image) {
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

    View<Source> train_;
    Optimizer optimizer_;
    Engine engine_;
    std::uint64_t step_ = 0;   // optimizer steps: with the seed, all that randomness depends on
    std::uint64_t epochs_ = 0; // finished epochs: selects the order of the next
};

} // namespace plimsoll::inline PLIMSOLL_ABI
