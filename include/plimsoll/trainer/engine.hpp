#pragma once
/// \file
/// What training and prediction share: a plan on a device, passes over samples, weights.

#include <plimsoll/trainer/feed.hpp>
#include <plimsoll/trainer/network.hpp>
#include <plimsoll/trainer/plan_report.hpp>
#include <plimsoll/trainer/weights.hpp>

#include <span>
#include <string>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// Whether an engine's functions are defined where this is compiled, or in the library (compiled.hpp).
template <class Pixel, class Storage, class Device>
inline constexpr bool engine_is_defined = PLIMSOLL_DEFINITIONS || requires(Network<Device> network) {
    engine_definitions(network);
};

} // namespace detail

/// \tparam Pixel of the pictures that it is given. \tparam Storage of activations
template <class Pixel, class Storage, class Device>
class Engine {
    static_assert(detail::engine_is_defined<Pixel, Storage, Device>,
                  "plimsoll: PLIMSOLL_COMPILED=1 has trainers for Host alone: for another device include "
                  "<plimsoll/trainer/training_loop_definitions.hpp>");

  public:
    /// \param network must outlive this. \param fixed how the work is cut; null: as the planner finds best.
    explicit Engine(const detail::Network<Device>& network, const Settings& settings,
                    const Cut* fixed = nullptr);

    [[nodiscard]] const Settings& settings() const { return settings_; }
    /// Shape of the pictures.
    [[nodiscard]] Shape input() const { return network_.input; }
    [[nodiscard]] Device& device() { return device_; }
    [[nodiscard]] const PlanView& plan() const { return plan_.view; }
    [[nodiscard]] auto& executor() { return executor_; }
    [[nodiscard]] const std::vector<NamedParameter>& parameters() const { return parameters_; }

    /// \tparam Blueprint the network's: its report is compiled only where somebody asks.
    template <class Blueprint>
    [[nodiscard]] PlanReport report() const {
        std::vector<Needs> used;
        for (int n = 0; n < network_.nodes; ++n) used.push_back(executor_.used(n));
        PlanReport report = plan_report<Blueprint>(plan(), settings_, used);
        if constexpr (requires { device_.description(); }) report.machine = device_.description();
        if constexpr (requires { device_.outside(); }) report.outside = device_.outside();
        if (ring_.host_bytes() > 0)
            report.outside.push_back({"pinned host memory of the batch ring", ring_.host_bytes()});
        for (int n = 0; n < network_.nodes; ++n)
            if (const std::string choice = executor_.choice(n); !choice.empty())
                report.choices.push_back(text(detail::layer_name(Blueprint::graph().nodes[n]), ": ", choice));
        return report;
    }

    /// Fills every parameter as its facts say, from the seed alone.
    void initialise();

    void write_parameter(std::size_t index, std::span<const float> values);
    [[nodiscard]] std::vector<float> read_parameter(std::size_t index);
    /// The gradient of the last step; empty for running statistics.
    [[nodiscard]] std::vector<float> read_gradient(std::size_t index);

    void save(const std::string& path);
    void load(const std::string& path);
    [[nodiscard]] const std::vector<std::string>& class_names() const { return info_.class_names; }
    void set_class_names(const std::vector<std::string>& names) { info_.class_names = names; }

    /// One batch: `fill(first, count)` fills a slot of the ring for each micro-batch and returns its number;
    /// `begun()` is called when the device has begun with it. Adds to the tally.
    template <class Fill, class Begun>
    void run(int batch, bool training, std::uint64_t step, Fill fill, Begun begun);
    /// The same with samples that are here already: `fill(first, count, images, labels)` writes a
    /// micro-batch. \param next slot of the ring to begin with
    template <class Fill>
    void run_with(int batch, bool training, std::uint64_t step, Fill fill, int next = 0);

    /// A source's samples, in the order that `samples` tells, with labels that are this model's.
    /// \param labelled false: labels are not looked at
    [[nodiscard]] Feed<Pixel, Device> feed(detail::SourceRef<Pixel> source,
                                           typename Prefetch<Pixel>::Plan samples, bool labelled = true);

    void reset_tally() { device_.fill_zero(executor_.part(tally_), sizeof(Tally)); }
    [[nodiscard]] Tally read_tally();

    /// Mean loss and accuracy over a source, without dropout and with running statistics.
    Metrics evaluate(detail::SourceRef<Pixel> source);

    /// (source.size(), outputs) probabilities.
    std::vector<float> predict(detail::SourceRef<Pixel> source);
    /// Images (count, H, W, C) to (count, outputs) probabilities. \throws data_error if pixels are left over.
    std::vector<float> predict(std::span<const Pixel> images);

    /// \throws data_error if a source's pictures are not the model's or its classes are more.
    void check_source_fits(detail::SourceRef<Pixel> source) const;
    /// \param name_of tells which sample an index of `labels` is. \throws data_error naming sample and label.
    template <class Name>
    void check_labels(std::span<const Label> labels, Name name_of) const;
    [[nodiscard]] std::size_t elements(int images) const;

  private:
    void check_shape(const std::string& name, Shape shape) const;

    /// Runs forward over all samples in order; `after(count)` follows each batch.
    template <class After>
    void for_batches(detail::SourceRef<Pixel> source, After after, bool labelled = true);
    static auto make_device(const detail::Network<Device>& network, const Settings& settings) {
        network.check(settings);
        if constexpr (std::constructible_from<Device, int, int>)
            return Device(settings.threads, settings.ordinal);
        else
            return Device(settings.threads);
    }
    std::vector<RingSlot> ring_slots() const;
    /// Every pass that a full batch makes, on black pictures, before any weights are there: what libraries
    /// load late is loaded now, and what they take is known.
    void warm_up();
    void append_probabilities(std::vector<float>& out, int count);
    std::vector<float> read(const float* from, std::size_t parameter);
    std::int32_t find(Role role, int owner) const;

    const detail::Network<Device>& network_;
    Settings settings_;
    Device device_;
    detail::OwnedPlan plan_;
    Executor<Device, Storage> executor_;
    BatchRing<Device> ring_;
    Feed<Pixel, Device>* ring_holder_ = nullptr;
    std::vector<NamedParameter> parameters_;
    WeightsInfo info_;
    std::int32_t tally_ = -1, probabilities_ = -1;
};

} // namespace plimsoll::inline PLIMSOLL_ABI

#if PLIMSOLL_DEFINITIONS
#include <plimsoll/trainer/engine_definitions.hpp>
#endif
