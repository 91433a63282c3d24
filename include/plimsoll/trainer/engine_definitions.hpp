#pragma once
/// \file
/// How engines pass samples through a network.

#include <plimsoll/core/philox.hpp>
#include <plimsoll/trainer/engine.hpp>

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// Tells that this header is there; see engine_is_defined.
template <class Device>
void engine_definitions(const Network<Device>&);

} // namespace detail

template <class Pixel, class Storage, class Device>
Engine<Pixel, Storage, Device>::Engine(const detail::Network<Device>& network, const Settings& settings,
                                       const Cut* fixed)
    : network_(network),
      settings_(settings),
      device_(make_device(network, settings)),
      plan_(network.choose_plan(settings, device_.free_bytes(), device_.layout_block(), fixed)),
      executor_(device_, plan(), network.make_kernels(device_, plan(), settings.seed)),
      ring_(device_, ring_slots()),
      parameters_(network.parameters()) {
    tally_ = find(Role::statistics, network.nodes - 1);
    probabilities_ = find(Role::activation, network.probabilities);
    executor_.set_loss_scaling({});
    const std::string_view advice = network.precision_advice(device_);
    if (!advice.empty()) note(text(network.precision, " on ", Device::name, ": ", advice));
    if constexpr (repeats_passes<Device>) warm_up();
}

template <class Pixel, class Storage, class Device>
void Engine<Pixel, Storage, Device>::initialise() {
    const std::uint64_t key = stream_key(settings_.seed, Purpose::initialise);
    for (std::size_t p = 0; p < parameters_.size(); ++p) {
        const Parameter& facts = parameters_[p].facts;
        std::vector<float> values(static_cast<std::size_t>(facts.size()));
        const double fan = facts.initialise == Initialise::he ? facts.fan_in : facts.fan_in + facts.fan_out;
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

template <class Pixel, class Storage, class Device>
void Engine<Pixel, Storage, Device>::write_parameter(std::size_t index, std::span<const float> values) {
    device_.upload(executor_.parameter(static_cast<int>(index)), values.data(),
                   static_cast<std::int64_t>(values.size_bytes()));
    executor_.weights_changed();
}

template <class Pixel, class Storage, class Device>
std::vector<float> Engine<Pixel, Storage, Device>::read_parameter(std::size_t index) {
    return read(executor_.parameter(static_cast<int>(index)), index);
}

template <class Pixel, class Storage, class Device>
std::vector<float> Engine<Pixel, Storage, Device>::read_gradient(std::size_t index) {
    const float* from = executor_.gradient(static_cast<int>(index));
    if (from == nullptr) return {};
    std::vector<float> gradient = read(from, index);
    const float unscale = executor_.loss_scaling().unscale;
    for (float& value : gradient) value *= unscale;
    return gradient;
}

template <class Pixel, class Storage, class Device>
void Engine<Pixel, Storage, Device>::save(const std::string& path) {
    std::vector<std::vector<float>> values;
    for (std::size_t p = 0; p < parameters_.size(); ++p) values.push_back(read_parameter(p));
    save_weights(path, parameters_, values, info_);
}

template <class Pixel, class Storage, class Device>
void Engine<Pixel, Storage, Device>::load(const std::string& path) {
    WeightsInfo info;
    const std::vector<std::vector<float>> values = load_weights(path, parameters_, info);
    for (std::size_t p = 0; p < values.size(); ++p) write_parameter(p, values[p]);
    info_ = std::move(info);
}

template <class Pixel, class Storage, class Device>
template <class Fill, class Begun>
void Engine<Pixel, Storage, Device>::run(int batch, bool training, std::uint64_t step, Fill fill,
                                         Begun begun) {
    const int micro_batch = plan().shipment.micro_batch;
    for (int first = 0; first < batch; first += micro_batch) {
        const int count = std::min(micro_batch, batch - first);
        const int slot = fill(first, count);
        executor_.run({.first = first,
                       .count = count,
                       .batch = batch,
                       .slot = slot,
                       .training = training,
                       .step = step});
        ring_.passes_begun(slot);
        begun();
    }
}

template <class Pixel, class Storage, class Device>
template <class Fill>
void Engine<Pixel, Storage, Device>::run_with(int batch, bool training, std::uint64_t step, Fill fill,
                                              int next) {
    if (ring_holder_ != nullptr) ring_holder_->set_aside();
    run(
        batch, training, step,
        [&](int first, int count) {
            const int slot = std::exchange(next, (next + 1) % ring_.size());
            ring_.wait_sent(slot);
            const RingSlot room = ring_.host(slot);
            fill(first, count, std::span(reinterpret_cast<Pixel*>(room.pixels), elements(count)),
                 std::span(room.labels, static_cast<std::size_t>(count)));
            ring_.send(slot, count);
            return slot;
        },
        [] {});
}

template <class Pixel, class Storage, class Device>
Feed<Pixel, Device> Engine<Pixel, Storage, Device>::feed(detail::SourceRef<Pixel> source,
                                                         typename Prefetch<Pixel>::Plan samples,
                                                         bool labelled) {
    const auto check = [this, source, labelled](std::span<const std::uint64_t> read,
                                                std::span<Label> labels) {
        if (labelled)
            check_labels(labels,
                         [&](std::size_t i) { return text("sample ", read[i], " of ", source.name()); });
        else
            std::fill(labels.begin(), labels.end(), Label{0});
    };
    return {source, ring_, ring_holder_, std::move(samples), check};
}

template <class Pixel, class Storage, class Device>
Tally Engine<Pixel, Storage, Device>::read_tally() {
    Tally tally;
    device_.download(&tally, executor_.part(tally_), sizeof(Tally));
    return tally;
}

template <class Pixel, class Storage, class Device>
Metrics Engine<Pixel, Storage, Device>::evaluate(detail::SourceRef<Pixel> source) {
    check_source_fits(source);
    double loss = 0;
    std::uint64_t correct = 0;
    const auto add = [&](int) {
        const Tally tally = read_tally();
        loss += tally.loss;
        correct += static_cast<std::uint64_t>(tally.correct);
    };
    detail::telling([] { return "while evaluating"; }, [&] { for_batches(source, add); });
    return Metrics::mean(loss, correct, source.size());
}

template <class Pixel, class Storage, class Device>
std::vector<float> Engine<Pixel, Storage, Device>::predict(detail::SourceRef<Pixel> source) {
    check_shape(source.name(), source.shape());
    std::vector<float> out;
    const auto append = [&](int count) { append_probabilities(out, count); };
    detail::telling([] { return "while predicting"; }, [&] { for_batches(source, append, false); });
    return out;
}

template <class Pixel, class Storage, class Device>
std::vector<float> Engine<Pixel, Storage, Device>::predict(std::span<const Pixel> images) {
    const std::size_t one = elements(1);
    if (images.size() % one != 0)
        throw data_error(
            text(images.size(), " pixels are not a whole number of ", to_string(network_.input), " images"));
    std::vector<float> out;
    const int most = plan().shipment.micro_batch;
    const auto predict_from = [&](std::size_t first) {
        const int count = static_cast<int>(
            std::min<std::size_t>(static_cast<std::size_t>(most), images.size() / one - first));
        run_with(count, false, 0, [&](int, int, std::span<Pixel> room, std::span<Label> labels) {
            std::copy_n(images.begin() + static_cast<std::ptrdiff_t>(first * one), room.size(), room.begin());
            std::fill(labels.begin(), labels.end(), Label{0});
        });
        append_probabilities(out, count);
    };
    for (std::size_t first = 0; first < images.size() / one; first += static_cast<std::size_t>(most))
        detail::telling([] { return "while predicting"; }, [&] { predict_from(first); });
    return out;
}

template <class Pixel, class Storage, class Device>
void Engine<Pixel, Storage, Device>::check_source_fits(detail::SourceRef<Pixel> source) const {
    check_shape(source.name(), source.shape());
    if (source.size() == 0) throw data_error(text(source.name(), " holds no samples"));
    if (source.classes() > network_.classes)
        throw data_error(text(source.name(), " has labels up to ", source.classes() - 1, ", so ",
                              source.classes(), " classes; the model tells ", network_.classes,
                              " apart: ", classes_advice(source.classes())));
}

template <class Pixel, class Storage, class Device>
template <class Name>
void Engine<Pixel, Storage, Device>::check_labels(std::span<const Label> labels, Name name_of) const {
    for (std::size_t i = 0; i < labels.size(); ++i)
        if (labels[i] < 0 || labels[i] >= network_.classes)
            throw data_error(text(name_of(i), " has label ", labels[i], "; the model's classes are 0 to ",
                                  network_.classes - 1, ": ", classes_advice(labels[i] + 1)));
}

template <class Pixel, class Storage, class Device>
std::size_t Engine<Pixel, Storage, Device>::elements(int images) const {
    return static_cast<std::size_t>(network_.input.size()) * static_cast<std::size_t>(images);
}

template <class Pixel, class Storage, class Device>
void Engine<Pixel, Storage, Device>::check_shape(const std::string& name, Shape shape) const {
    if (shape != network_.input)
        throw data_error(text(name, " holds ", to_string(shape),
                              " images (height x width x channels); the model takes ",
                              to_string(network_.input)));
}

template <class Pixel, class Storage, class Device>
template <class After>
void Engine<Pixel, Storage, Device>::for_batches(detail::SourceRef<Pixel> source, After after,
                                                 bool labelled) {
    const auto most = static_cast<std::uint64_t>(plan().shipment.micro_batch);
    const auto samples_of = [&](std::uint64_t fill, std::span<std::uint64_t> samples) {
        const std::uint64_t first = std::min(fill * most, source.size());
        const auto count = static_cast<std::size_t>(std::min(most, source.size() - first));
        for (std::size_t i = 0; i < count; ++i) samples[i] = first + i;
        return count;
    };
    Feed<Pixel, Device> reading = feed(source, samples_of, labelled);
    for (std::uint64_t first = 0; first < source.size(); first += most) {
        const int count = static_cast<int>(std::min(most, source.size() - first));
        reset_tally();
        run(
            count, false, 0, [&](int, int) { return reading.next(); }, [&] { reading.look_ahead(); });
        after(count);
    }
}

template <class Pixel, class Storage, class Device>
std::vector<RingSlot> Engine<Pixel, Storage, Device>::ring_slots() const {
    std::vector<RingSlot> slots;
    const auto image_bytes = static_cast<std::int64_t>(elements(1) * sizeof(Pixel));
    for (int slot = 0; slot < plan().shipment.ring_slots; ++slot)
        slots.push_back(
            {executor_.pixels(slot, 0), executor_.labels(slot, 0), image_bytes, plan().shipment.micro_batch});
    return slots;
}

template <class Pixel, class Storage, class Device>
void Engine<Pixel, Storage, Device>::warm_up() {
    const int micro_batch = plan().shipment.micro_batch;
    const int ragged = settings_.batch % micro_batch;
    const int batch = std::min(settings_.batch, 2 * micro_batch + ragged); // first, further and last
    const auto black = [](int, int, std::span<Pixel> images, std::span<Label> labels) {
        std::fill(images.begin(), images.end(), Pixel{});
        std::fill(labels.begin(), labels.end(), Label{0});
    };
    const auto try_passes = [&] {
        for (int slot = 0; slot < ring_.size(); ++slot)
            for (int round = 0; round < 3; ++round) { // as loaded, as recorded, as repeated
                executor_.weights_changed();
                if (network_.is_training) run_with(batch, true, 0, black, slot);
                run_with(micro_batch, false, 0, black, slot);
            }
        executor_.weights_changed();
        if constexpr (repeats_passes<Device>) device_.warmed_up();
    };
    detail::telling(
        [&] {
            std::string room;
            try {
                room = text(" than ", to_string(Bytes{device_.free_bytes()}));
            } catch (const device_error&) { // it tells nothing any more
            }
            return text("while each kind of pass was tried; a .budget below this arena's ",
                        to_string(Bytes{plan().total}), " leaves ", Device::name, "'s libraries more", room);
        },
        try_passes);
}

template <class Pixel, class Storage, class Device>
void Engine<Pixel, Storage, Device>::append_probabilities(std::vector<float>& out, int count) {
    const std::size_t before = out.size(),
                      more = static_cast<std::size_t>(count) * static_cast<std::size_t>(network_.outputs);
    out.resize(before + more);
    device_.download(out.data() + before, executor_.part(probabilities_),
                     static_cast<std::int64_t>(more * sizeof(float)));
}

template <class Pixel, class Storage, class Device>
std::vector<float> Engine<Pixel, Storage, Device>::read(const float* from, std::size_t parameter) {
    std::vector<float> out(static_cast<std::size_t>(parameters_[parameter].facts.size()));
    device_.download(out.data(), from, static_cast<std::int64_t>(out.size() * sizeof(float)));
    return out;
}

template <class Pixel, class Storage, class Device>
std::int32_t Engine<Pixel, Storage, Device>::find(Role role, int owner) const {
    const std::span<const Part> parts = plan().parts;
    for (std::size_t p = 0; p < parts.size(); ++p)
        if (parts[p].role == role && parts[p].owner == owner) return static_cast<std::int32_t>(p);
    throw error("plimsoll: the plan has no part for the loss");
}

} // namespace plimsoll::inline PLIMSOLL_ABI
