#pragma once
/// \file
/// Trainer<Model, Source, Precision, Device>.

#include <plimsoll/model/optimizer.hpp>
#include <plimsoll/model/precision.hpp>
#include <plimsoll/source/view.hpp>
#include <plimsoll/trainer/training_loop.hpp>

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
    [[nodiscard]] PlanReport plan() const { return loop_.engine().template report<Blueprint>(); }
    /// Bytes of the arena.
    [[nodiscard]] Bytes peak() const { return {loop_.engine().plan().total}; }
    /// How the plan cuts the work.
    [[nodiscard]] Cut cut() const { return loop_.engine().plan().shipment.cut(); }
    /// Optimizer steps so far.
    [[nodiscard]] std::uint64_t steps() const { return loop_.steps(); }

    /// Trains. \throws numeric_error when a loss is not finite, before the weights are touched.
    History fit(const FitOptions& options = {}) { return loop_.fit(train_, options, nullptr); }
    /// Trains, and evaluates on `validation` after each epoch.
    template <class Validation>
    History fit(const FitOptions& options, const Validation& validation) {
        check_pixels<Validation>();
        const detail::SourceRef<Pixel> held_out(validation);
        return loop_.fit(train_, options, &held_out);
    }

    /// Loss and accuracy on a source: no dropout, running statistics.
    template <class Other>
    Metrics evaluate(const Other& source) {
        check_pixels<Other>();
        return loop_.engine().evaluate(source);
    }
    /// (N, outputs) probabilities for a source's images, in order.
    template <class Other>
        requires source<Other> std::vector<float> predict(const Other& images) {
            check_pixels<Other>();
            return loop_.engine().predict(detail::SourceRef<Pixel>(images));
        }
    /// (N, outputs) probabilities for images (N, H, W, C).
    std::vector<float> predict(std::span<const Pixel> images) { return loop_.engine().predict(images); }

    /// One optimizer step on a batch of 1 to Settings::batch images (N, H, W, C) with labels (N).
    /// \throws argument_error or data_error if they do not fit, numeric_error if the loss is not finite.
    StepRecord step(std::span<const Pixel> images, std::span<const Label> labels) {
        return loop_.step(images, labels);
    }

    /// Writes the weights as safetensors, in PyTorch's names and layouts. \throws io_error.
    void save(const std::string& path) { loop_.engine().save(path); }
    /// Reads them. \throws data_error if they are not this model's; then nothing has changed.
    void load(const std::string& path) { loop_.engine().load(path); }

    /// Names, shapes and values of weights and running statistics, and the gradients of the last step.
    [[nodiscard]] const std::vector<NamedParameter>& parameters() const {
        return loop_.engine().parameters();
    }
    [[nodiscard]] std::vector<float> parameter(std::size_t index) {
        return loop_.engine().read_parameter(index);
    }
    [[nodiscard]] std::vector<float> gradient(std::size_t index) {
        return loop_.engine().read_gradient(index);
    }

  private:
    using Storage = typename Precision::Storage;

    Trainer(const View<Source>& train, const Settings& settings, const Cut* fixed, const Optimizer& optimizer)
        : train_(train),
          loop_(detail::network_of<Blueprint>, train_, settings, fixed,
                detail::optimizer_step<Storage, Device>(optimizer)) {}

    template <class Other>
    static constexpr void check_pixels() {
        check_source<Other>();
        static_assert(std::same_as<typename Other::Pixel, Pixel>,
                      "plimsoll: this source's pixels are not of the training source's type: use the same "
                      "<u8>, <float> or <half> for both");
    }

    View<Source> train_;
    detail::TrainingLoop<Pixel, Storage, Device> loop_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
