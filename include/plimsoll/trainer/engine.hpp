#pragma once
/// \file
/// What training and prediction share: a plan on a device, passes over samples, weights.

#include <plimsoll/core/philox.hpp>
#include <plimsoll/device/executor.hpp>
#include <plimsoll/source/prefetch.hpp>
#include <plimsoll/source/source.hpp>
#include <plimsoll/trainer/blueprint.hpp>
#include <plimsoll/trainer/plan_report.hpp>
#include <plimsoll/trainer/weights.hpp>

#include <cmath>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

template <class Precision, class Device>
struct KernelCollector {
    static constexpr bool rewrites = true;
    Device& device;
    const std::vector<Site>& sites;
    std::vector<NodeRecord> records{};
    int parameters = 0;

    template <class Layer, Shape In>
    int visit(const Path&, int, int) {
        const Site& site = sites[records.size()];
        const int own = site.facts.parameters.size();
        records.push_back({.kernel = std::make_unique<Kernel<Layer, Precision, Device>>(site, device),
                           .input_elements = In.size(),
                           .first_parameter = parameters,
                           .parameters = own});
        parameters += own;
        return 0;
    }
};

} // namespace detail

template <class Blueprint>
class Engine {
  public:
    using Model = typename Blueprint::Model;
    using Pixel = typename Blueprint::Pixel;
    using Device = typename Blueprint::Device;
    using Loss = typename Blueprint::Loss;
    static constexpr int outputs = output_shape<Model>.channels;
    static constexpr int classes = Loss::classes(output_shape<Model>);

    /// \param fixed how the work is cut; null: as the planner finds best.
    explicit Engine(const Settings& settings, const Cut* fixed = nullptr)
        : settings_(settings),
          device_((Blueprint::check(settings), settings.threads)),
          plan_(Blueprint::choose_plan(settings, device_.free_bytes(), device_.layout_block(), fixed)),
          executor_(device_, plan_->view(), make_kernels()),
          parameters_(named_parameters(Blueprint::graph())) {
        const int loss = Blueprint::nodes - 1;
        tally_ = find(Role::statistics, loss);
        probabilities_ = find(Role::activation, Blueprint::graph().nodes[loss].output);
        executor_.set_loss_scaling({});
        const std::string_view advice = PrecisionAdvice<typename Blueprint::Precision, Device>::text(device_);
        if (!advice.empty()) note(text(Blueprint::Precision::name, " on ", Device::name, ": ", advice));
    }

    [[nodiscard]] const Settings& settings() const { return settings_; }
    [[nodiscard]] Device& device() { return device_; }
    [[nodiscard]] const Plan<Blueprint::nodes>& plan() const { return *plan_; }
    [[nodiscard]] auto& executor() { return executor_; }
    [[nodiscard]] const std::vector<NamedParameter>& parameters() const { return parameters_; }

    [[nodiscard]] PlanReport report() const {
        std::vector<Needs> used;
        for (int n = 0; n < Blueprint::nodes; ++n) used.push_back(executor_.used(n));
        return plan_report<Blueprint>(*plan_, settings_, used);
    }

    /// Fills every parameter as its facts say, from the seed alone.
    void initialise() {
        const std::uint64_t key = stream_key(settings_.seed, Purpose::initialise);
        for (std::size_t p = 0; p < parameters_.size(); ++p) {
            const Parameter& facts = parameters_[p].facts;
            std::vector<float> values(static_cast<std::size_t>(facts.size()));
            const double fan =
                facts.initialise == Initialise::he ? facts.fan_in : facts.fan_in + facts.fan_out;
            const float bound = fan > 0 ? static_cast<float>(std::sqrt(6.0 / fan)) : 0.0f;
            for (std::size_t i = 0; i < values.size(); i += 4) {
                const Words4 random =
                    philox({static_cast<std::uint32_t>(i / 4), static_cast<std::uint32_t>(p), 0, 0}, key);
                const std::uint32_t words[4] = {random.x, random.y, random.z, random.w};
                for (std::size_t k = 0; k < 4 && i + k < values.size(); ++k)
                    values[i + k] = facts.initialise == Initialise::zeros ? 0.0f
                                    : facts.initialise == Initialise::ones
                                        ? 1.0f
                                        : bound * (2 * unit_float(words[k]) - 1);
            }
            write_parameter(p, values);
        }
    }

    void write_parameter(std::size_t index, std::span<const float> values) {
        device_.upload(executor_.parameter(static_cast<int>(index)), values.data(),
                       static_cast<std::int64_t>(values.size_bytes()));
        executor_.weights_changed();
    }
    [[nodiscard]] std::vector<float> read_parameter(std::size_t index) {
        return read(executor_.parameter(static_cast<int>(index)), index);
    }
    /// The gradient of the last step; empty for running statistics.
    [[nodiscard]] std::vector<float> read_gradient(std::size_t index) {
        const float* from = executor_.gradient(static_cast<int>(index));
        if (from == nullptr) return {};
        std::vector<float> gradient = read(from, index);
        const float unscale = executor_.loss_scaling().unscale;
        for (float& value : gradient) value *= unscale;
        return gradient;
    }

    void save(const std::string& path) {
        std::vector<std::vector<float>> values;
        for (std::size_t p = 0; p < parameters_.size(); ++p) values.push_back(read_parameter(p));
        save_weights(path, parameters_, values, info_);
    }
    void load(const std::string& path) {
        WeightsInfo info;
        const std::vector<std::vector<float>> values = load_weights(path, parameters_, info);
        for (std::size_t p = 0; p < values.size(); ++p) write_parameter(p, values[p]);
        info_ = std::move(info);
    }
    [[nodiscard]] const std::vector<std::string>& class_names() const { return info_.class_names; }
    void set_class_names(const std::vector<std::string>& names) { info_.class_names = names; }

    /// One batch: `feed(first, count)` fills a slot of the ring for each micro-batch and returns its number.
    /// Adds to the tally.
    template <class Feed>
    void run(int batch, bool training, std::uint64_t step, Feed feed) {
        const int micro_batch = plan_->shipment.micro_batch;
        for (int first = 0; first < batch; first += micro_batch) {
            const int count = std::min(micro_batch, batch - first);
            const int slot = feed(first, count);
            executor_.run({.first = first,
                           .count = count,
                           .batch = batch,
                           .slot = slot,
                           .training = training,
                           .step = step});
        }
    }

    /// A slot of the ring, as far as `images` fill it.
    struct Slot {
        std::span<Pixel> images; // (images, H, W, C)
        std::span<Label> labels; // (images)
    };
    [[nodiscard]] Slot slot(int number, int images) {
        return {std::span(reinterpret_cast<Pixel*>(executor_.pixels(number, 0)), elements(images)),
                std::span(executor_.labels(number, 0), static_cast<std::size_t>(images))};
    }

    /// Reads a source's samples into the ring, ahead where the ring has room for it.
    template <class Source, class Samples>
    [[nodiscard]] Prefetch<Source> feed(const Source& source, Samples samples) {
        std::vector<typename Prefetch<Source>::Slot> slots;
        for (int number = 0; number < plan_->shipment.ring_slots; ++number) {
            const Slot room = slot(number, plan_->shipment.micro_batch);
            slots.push_back({room.images, room.labels});
        }
        return {source, slots, slots.size() > 1 ? std::max(reader_threads(source), 1) : 0,
                std::move(samples)};
    }
    /// The next slot of a feed, its labels checked. \throws what reading threw, data_error for a label.
    template <class Source>
    int next(Prefetch<Source>& feed, const std::string& name) {
        const auto filled = feed.next();
        check_labels(filled.labels,
                     [&](std::size_t i) { return text("sample ", filled.samples[i], " of ", name); });
        return filled.slot;
    }

    void reset_tally() { device_.fill_zero(executor_.part(tally_), sizeof(Tally)); }
    [[nodiscard]] Tally read_tally() {
        Tally tally;
        device_.download(&tally, executor_.part(tally_), sizeof(Tally));
        return tally;
    }

    /// Mean loss and accuracy over a source, without dropout and with running statistics.
    template <class Source>
    Metrics evaluate(const Source& source) {
        check_source_fits(source);
        double loss = 0;
        std::uint64_t correct = 0;
        for_batches(source, [&](int) {
            const Tally tally = read_tally();
            loss += tally.loss;
            correct += static_cast<std::uint64_t>(tally.correct);
        });
        return Metrics::mean(loss, correct, source.size());
    }

    /// (source.size(), outputs) probabilities.
    template <class Source>
    std::vector<float> predict(const Source& source) {
        check_shape(source.name(), source.shape());
        std::vector<float> out;
        for_batches(
            source, [&](int count) { append_probabilities(out, count); }, false);
        return out;
    }
    /// Images (count, H, W, C) to (count, outputs) probabilities. \throws data_error if pixels are left over.
    std::vector<float> predict(std::span<const Pixel> images) {
        const std::size_t one = elements(1);
        if (images.size() % one != 0)
            throw data_error(text(images.size(), " pixels are not a whole number of ",
                                  to_string(Model::input), " images"));
        std::vector<float> out;
        const int most = plan_->shipment.micro_batch;
        for (std::size_t first = 0; first < images.size() / one; first += static_cast<std::size_t>(most)) {
            const int count = static_cast<int>(
                std::min<std::size_t>(static_cast<std::size_t>(most), images.size() / one - first));
            run(count, false, 0, [&](int, int number) {
                const Slot room = slot(0, number);
                std::copy_n(images.begin() + static_cast<std::ptrdiff_t>(first * one), room.images.size(),
                            room.images.begin());
                std::fill(room.labels.begin(), room.labels.end(), Label{0});
                return 0;
            });
            append_probabilities(out, count);
        }
        return out;
    }

    /// \throws data_error if a source's pictures are not the model's or its classes are more.
    template <class Source>
    void check_source_fits(const Source& source) const {
        check_shape(source.name(), source.shape());
        if (source.size() == 0) throw data_error(text(source.name(), " holds no samples"));
        if (source.classes() > classes)
            throw data_error(text(source.name(), " has labels up to ", source.classes() - 1, ", so ",
                                  source.classes(), " classes; the model tells ", classes,
                                  " apart: ", classes_advice(source.classes())));
    }
    /// \param name_of tells which sample an index of `labels` is. \throws data_error naming sample and label.
    template <class Name>
    static void check_labels(std::span<const Label> labels, Name name_of) {
        for (std::size_t i = 0; i < labels.size(); ++i)
            if (labels[i] < 0 || labels[i] >= classes)
                throw data_error(text(name_of(i), " has label ", labels[i], "; the model's classes are 0 to ",
                                      classes - 1, ": ", classes_advice(labels[i] + 1)));
    }
    static std::size_t elements(int images) {
        return static_cast<std::size_t>(Model::input.size()) * static_cast<std::size_t>(images);
    }

  private:
    static void check_shape(const std::string& name, Shape shape) {
        if (shape != Model::input)
            throw data_error(text(name, " holds ", to_string(shape),
                                  " images (height x width x channels); the model takes ",
                                  to_string(Model::input)));
    }

    /// Runs forward over all samples in order; `after(count)` follows each batch.
    template <class Source, class After>
    void for_batches(const Source& source, After after, bool labelled = true) {
        const auto most = static_cast<std::uint64_t>(plan_->shipment.micro_batch);
        Prefetch<Source> reading = feed(source, [&](std::uint64_t fill, std::span<std::uint64_t> samples) {
            const std::uint64_t first = std::min(fill * most, source.size());
            const auto count = static_cast<std::size_t>(std::min(most, source.size() - first));
            for (std::size_t i = 0; i < count; ++i) samples[i] = first + i;
            return count;
        });
        for (std::uint64_t first = 0; first < source.size(); first += most) {
            const int count = static_cast<int>(std::min(most, source.size() - first));
            reset_tally();
            run(count, false, 0, [&](int, int) {
                if (labelled) return next(reading, source.name());
                const auto filled = reading.next();
                std::fill(filled.labels.begin(), filled.labels.end(), Label{0});
                return filled.slot;
            });
            after(count);
        }
    }
    void append_probabilities(std::vector<float>& out, int count) {
        const std::size_t before = out.size(), more = static_cast<std::size_t>(count) * outputs;
        out.resize(before + more);
        device_.download(out.data() + before, executor_.part(probabilities_),
                         static_cast<std::int64_t>(more * sizeof(float)));
    }
    std::vector<float> read(const float* from, std::size_t parameter) {
        std::vector<float> out(static_cast<std::size_t>(parameters_[parameter].facts.size()));
        device_.download(out.data(), from, static_cast<std::int64_t>(out.size() * sizeof(float)));
        return out;
    }
    std::int32_t find(Role role, int owner) const {
        for (std::int32_t p = 0; p < plan_->parts.size(); ++p)
            if (plan_->parts[p].role == role && plan_->parts[p].owner == owner) return p;
        throw error("plimsoll: the plan has no part for the loss");
    }
    std::vector<NodeRecord> make_kernels() {
        std::vector<Site> sites;
        for (int n = 0; n < Blueprint::nodes; ++n)
            sites.push_back(site_of(Blueprint::graph(), plan_->shipment, plan_->layouts.begin(), n,
                                    plan_->node_slices[n], settings_.seed));
        detail::KernelCollector<typename Blueprint::Precision, Device> kernels{device_, sites};
        walk_graph<Model, Pixel, Loss>(kernels);
        return std::move(kernels.records);
    }

    Settings settings_;
    Device device_;
    std::unique_ptr<const Plan<Blueprint::nodes>> plan_;
    Executor<Device, typename Blueprint::Precision::Storage> executor_;
    std::vector<NamedParameter> parameters_;
    WeightsInfo info_;
    std::int32_t tally_ = -1, probabilities_ = -1;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
