/// \file
/// The Cuda device's kernels beside the Host's in float: every layer under every precision, odd shapes, cut
/// and bound as the executor does it. What a kernel did not ask for is null, what nobody wrote is NaN.

#include <device_under_test.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

using namespace plimsoll;

namespace {

constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

// ------------------------------------------------------------------------------------- numbers and memory

/// How numbers are stored.
struct Element {
    std::int64_t bytes;
    void (*write)(std::byte* at, float value);
    float (*read)(const std::byte* at);

    [[nodiscard]] float rounded(float value) const {
        std::byte stored[4];
        write(stored, value);
        return read(stored);
    }
};
template <class T>
void write_number(std::byte* at, float value) {
    T stored;
    if constexpr (std::is_same_v<T, u8>)
        stored = static_cast<u8>(value);
    else
        stored = to<T>(value);
    std::memcpy(at, &stored, sizeof stored);
}
template <class T>
float read_number(const std::byte* at) {
    T stored;
    std::memcpy(&stored, at, sizeof stored);
    if constexpr (std::is_same_v<T, u8>)
        return stored;
    else
        return to_float(stored);
}
template <class T>
constexpr Element element{sizeof(T), write_number<T>, read_number<T>};

/// A device's memory for one run: every buffer between guards and full of NaN.
template <class Device>
class Buffers {
  public:
    explicit Buffers(Device& device) : device_(device) {}

    /// Null for no bytes, as in a Call.
    std::byte* make(std::int64_t bytes) {
        if (bytes == 0) return nullptr;
        const std::vector<std::byte> guard(guard_, pattern_);
        buffers_.push_back({device_.allocate(guard_ + bytes + guard_), bytes});
        std::byte* const start = buffers_.back().memory.data() + guard_;
        device_.upload(start - guard_, guard.data(), guard_);
        device_.upload(start + bytes, guard.data(), guard_);
        spoil(start);
        return start;
    }
    /// Fills a buffer with NaN of every type; null has none.
    void spoil(std::byte* start) {
        for (const Buffer& buffer : buffers_)
            if (buffer.memory.data() + guard_ == start) {
                const std::vector<std::byte> ones(static_cast<std::size_t>(buffer.bytes), std::byte{0xff});
                device_.upload(start, ones.data(), buffer.bytes);
            }
    }
    template <class Value>
    Value* make_of(const std::vector<Value>& values) {
        const auto bytes = static_cast<std::int64_t>(values.size() * sizeof(Value));
        std::byte* at = make(bytes);
        if (bytes > 0) device_.upload(at, values.data(), bytes);
        return reinterpret_cast<Value*>(at);
    }
    void write(std::byte* at, const Element& as, const float* values, std::int64_t count) {
        std::vector<std::byte> stored(static_cast<std::size_t>(count * as.bytes));
        for (std::int64_t i = 0; i < count; ++i) as.write(stored.data() + i * as.bytes, values[i]);
        device_.upload(at, stored.data(), count * as.bytes);
    }
    /// Appended to `values`.
    void read(std::vector<float>& values, const void* at, const Element& as, std::int64_t count) const {
        std::vector<std::byte> stored(static_cast<std::size_t>(count * as.bytes));
        device_.download(stored.data(), at, count * as.bytes);
        for (std::int64_t i = 0; i < count; ++i) values.push_back(as.read(stored.data() + i * as.bytes));
    }
    /// Whether all guards are as they were.
    [[nodiscard]] bool intact() const {
        const auto holds = [&](const std::byte* guard) {
            std::byte found[guard_];
            device_.download(found, guard, guard_);
            return std::all_of(found, found + guard_, [](std::byte b) { return b == pattern_; });
        };
        return std::all_of(buffers_.begin(), buffers_.end(), [&](const Buffer& buffer) {
            return holds(buffer.memory.data()) && holds(buffer.memory.data() + guard_ + buffer.bytes);
        });
    }

  private:
    static constexpr std::int64_t guard_ = 256; // keeps what lies behind it aligned as an arena's parts are
    static constexpr std::byte pattern_{0x5A};
    struct Buffer {
        typename Device::Memory memory;
        std::int64_t bytes;
    };
    Device& device_;
    std::vector<Buffer> buffers_;
};

// -------------------------------------------------------------------------------------------------- a run

/// A layer's kernel on a device, without its type.
template <class Device>
struct Maker {
    std::unique_ptr<NodeKernel> (*make)(const Site&, Device&);
    Needs (*needs)(const Site&);
    Element input, stored, output; ///< of what is read; of activations and gradients; of what is returned
    bool two_inputs;
};
template <class Layer, class Precision, class Device>
std::unique_ptr<NodeKernel> make_kernel(const Site& site, Device& device) {
    return std::make_unique<Kernel<Layer, Precision, Device>>(site, device);
}
template <class Layer>
struct Input {
    template <class Stored>
    using type = Stored;
};
template <class Pixel>
struct Input<Widen<Pixel>> {
    template <class>
    using type = Pixel;
};
template <class Layer, class Precision, class Device, class T = typename Precision::Storage>
constexpr Maker<Device> maker{make_kernel<Layer, Precision, Device>,
                              &Kernel<Layer, Precision, Device>::needs,
                              element<typename Input<Layer>::template type<T>>,
                              element<T>,
                              element<std::conditional_t<row_loss<Layer>, float, T>>,
                              std::is_same_v<Layer, Add>};

/// Of a layer and the ReLU behind it.
template <class Layer, class Precision, class Device>
constexpr Maker<Device> rectified_maker = [] {
    Maker<Device> rectified = maker<Layer, Precision, Device>;
    rectified.make = [](const Site& site, Device& device) {
        auto kernel = make_kernel<Layer, Precision, Device>(site, device);
        CHECK(kernel->rectify());
        return kernel;
    };
    return rectified;
}();

/// What a planner lets overwrite what, where the layer allows it.
enum class Sharing {
    none,
    in_place, ///< output the input, the input's gradient the output's
    overwrite ///< the input's gradient the output
};

/// How a batch is cut, and what is asked for.
struct Way {
    int batch = 1, micro = 1, slice = 1; ///< images
    bool training = true, input_gradient = true;
    Sharing sharing = Sharing::none;
    float scale = 0; ///< of the loss; 0: it is not scaled
};

/// A number in [-1, 1) from its place.
float noise(std::uint32_t stream, std::int64_t i) {
    return 2 * unit_float(philox({static_cast<std::uint32_t>(i), stream, 0, 0}, 17).x) - 1;
}

/// What a layer is given, in numbers that its precision can store.
struct Data {
    std::vector<float> input, second, output_gradient; // (batch, H, W, C)
    std::vector<std::vector<float>> parameters;
    std::vector<Label> labels;

    template <class Device>
    Data(const Maker<Device>& of, const Site& site, int batch) {
        fill(input, site.input.size() * batch, 1, of.input);
        fill(second, site.input.size() * batch, 2, of.stored);
        fill(output_gradient, site.output.size() * batch, 3, of.stored);
        for (const Parameter& facts : site.facts.parameters) {
            const auto stream = 4 + static_cast<std::uint32_t>(parameters.size());
            fill(parameters.emplace_back(), facts.size(), stream, of.stored);
            if (facts.name == "running_var")
                for (float& value : parameters.back()) value = std::abs(value) + 0.5f;
        }
        const int classes = std::max(2, site.input.channels);
        for (int n = 0; n < batch; ++n) labels.push_back(n * 7 % classes);
    }

  private:
    static void fill(std::vector<float>& to, std::int64_t size, std::uint32_t stream, const Element& as) {
        for (std::int64_t i = 0; i < size; ++i)
            to.push_back(as.bytes == 1 ? std::floor(128 + 128 * noise(stream, i))
                                       : as.rounded(noise(stream, i)));
    }
};

struct Result {
    std::vector<float> output, input_gradient, second_gradient; // (batch, H, W, C)
    std::vector<std::vector<float>> gradients;                  ///< of trainable parameters
    std::vector<std::vector<float>> parameters;                 ///< after the step
    Tally tally;
};

template <class Layer>
Site site_of(Shape in) {
    const Facts facts = Layer::facts(in);
    return {.facts = facts,
            .input = in,
            .output = facts.output,
            .input_layout = Layout::channels_last(in),
            .output_layout = Layout::channels_last(facts.output),
            .input_gradient = true,
            .node = 5,
            .seed = 11};
}

/// One step of one layer, without the optimizer.
template <class Device>
Result run(Device& device, const Maker<Device>& maker, Site site, const Way& way, const Data& data) {
    const Facts& facts = site.facts;
    const int slice = facts.whole_batch ? way.micro : way.slice;
    site.images = slice;
    const bool learns = !facts.parameters.empty() || facts.reads_labels; // the others always give a gradient
    site.input_gradient = facts.differentiable && (way.input_gradient || !learns);
    const Needs needs = maker.needs(site);
    const auto kernel = maker.make(site, device);

    Buffers<Device> buffers(device);
    const std::int64_t in = site.input.size(), out = site.output.size(), stored = maker.stored.bytes;
    const std::int64_t room = round_up(way.micro, slice);
    const bool in_place = facts.in_place && way.sharing == Sharing::in_place;
    const bool overwrite = facts.backward_reads_output && way.sharing == Sharing::overwrite;
    std::byte* const x = buffers.make(room * in * maker.input.bytes);
    std::byte* const second = maker.two_inputs ? buffers.make(room * in * stored) : nullptr;
    std::byte* const y = in_place ? x : buffers.make(room * out * maker.output.bytes);
    std::byte* const dy = facts.reads_labels ? nullptr : buffers.make(room * out * stored);
    std::byte* const dx = !site.input_gradient ? nullptr
                          : in_place           ? dy
                          : overwrite          ? y
                                               : buffers.make(room * in * stored);
    std::byte* const dsecond = maker.two_inputs ? buffers.make(room * in * stored) : nullptr;
    std::byte* const saved = buffers.make(room * facts.saved_bytes);
    std::byte* const statistics = buffers.make(facts.statistics_bytes);
    std::byte* const packed = buffers.make(needs.packed);
    std::byte* const partial = buffers.make(needs.partial);
    std::byte* const scratch = buffers.make(needs.scratch);
    const Label* const labels = facts.reads_labels ? buffers.make_of(data.labels) : nullptr;
    std::byte* const pass = buffers.make(sizeof(PassState));
    const LossScaling* const scaling =
        way.scale == 0 ? nullptr : buffers.make_of(std::vector<LossScaling>{{.scale = way.scale}});
    if (facts.reads_labels) device.fill_zero(statistics, facts.statistics_bytes);
    std::array<float*, 4> parameters{}, gradients{};
    for (std::size_t p = 0; p < data.parameters.size(); ++p) {
        parameters[p] = buffers.make_of(data.parameters[p]);
        if (facts.parameters[static_cast<int>(p)].trainable)
            gradients[p] = reinterpret_cast<float*>(
                buffers.make(static_cast<std::int64_t>(data.parameters[p].size() * sizeof(float))));
    }

    constexpr std::uint64_t step = 3;
    const auto bind = [&](Phase phase, int first, int image, int count) {
        const auto part = [&](std::byte* start, std::int64_t unit) {
            return start == nullptr ? nullptr : start + unit * image;
        };
        Call call{.first = first + image,
                  .image = image,
                  .count = count,
                  .training = way.training,
                  .accumulate = phase == Phase::backward && !facts.whole_batch ? image > 0 : first > 0,
                  .step = step,
                  .batch = way.batch,
                  .saved = part(saved, facts.saved_bytes),
                  .statistics = statistics,
                  .packed = packed,
                  .partial = partial,
                  .partial_stride = needs.partial,
                  .scratch = scratch,
                  .labels = labels == nullptr ? nullptr : labels + first + image,
                  .scaling = scaling,
                  .pass = reinterpret_cast<const PassState*>(pass),
                  .parameters = parameters,
                  .gradients = gradients};
        const bool backward = phase == Phase::backward || phase == Phase::gather_gradient;
        if (!backward || facts.backward_reads_input) call.input = part(x, in * maker.input.bytes);
        if (phase == Phase::forward) call.second = part(second, in * stored);
        if (phase == Phase::forward || (phase == Phase::backward && facts.backward_reads_output))
            call.output = part(y, out * maker.output.bytes);
        if (backward) call.output_gradient = part(dy, out * stored);
        if (phase == Phase::backward) call.input_gradient = part(dx, in * stored);
        if (phase == Phase::backward) call.second_gradient = part(dsecond, in * stored);
        if constexpr (repeats_passes<Device>) { // such a device is told them by the pass's state alone
            call.step += 1000;
            call.batch += 5;
            if (first > 0) call.first += 7;
        }
        return call;
    };

    Result result;
    kernel->pack(bind(Phase::pack, 0, 0, 0));
    for (int first = 0; first < way.batch; first += way.micro) {
        const int micro = std::min(way.micro, way.batch - first);
        const PassState state{step, first, way.batch};
        device.upload(pass, &state, sizeof state);
        for (std::byte* const part : {x, second, y, dy, dx, dsecond, saved, partial, scratch})
            buffers.spoil(part);
        buffers.write(x, maker.input, data.input.data() + first * in, micro * in);
        if (second != nullptr)
            buffers.write(second, maker.stored, data.second.data() + first * in, micro * in);
        const auto slices = [&](auto run_slice) {
            for (int image = 0; image < micro; image += slice)
                run_slice(image, std::min(slice, micro - image));
        };
        if (facts.couples_images && way.training) kernel->gather(bind(Phase::gather, first, 0, micro));
        slices([&](int image, int count) { kernel->forward(bind(Phase::forward, first, image, count)); });
        if (!facts.reads_labels || !way.training) buffers.read(result.output, y, maker.output, micro * out);
        if (!way.training || !facts.differentiable) continue;
        if (dy != nullptr)
            buffers.write(dy, maker.stored, data.output_gradient.data() + first * out, micro * out);
        if (facts.couples_images) kernel->gather_gradient(bind(Phase::gather_gradient, first, 0, micro));
        slices([&](int image, int count) { kernel->backward(bind(Phase::backward, first, image, count)); });
        if (dx != nullptr) buffers.read(result.input_gradient, dx, maker.stored, micro * in);
        if (dsecond != nullptr) buffers.read(result.second_gradient, dsecond, maker.stored, micro * in);
        if (!facts.parameters.empty() && !facts.whole_batch && !facts.couples_images)
            kernel->reduce(bind(Phase::reduce, first, 0, micro), 1);
    }
    if (facts.couples_images && way.training) kernel->settle(bind(Phase::settle, 0, 0, way.batch));
    for (std::size_t p = 0; p < data.parameters.size(); ++p) {
        const auto count = static_cast<std::int64_t>(data.parameters[p].size());
        buffers.read(result.parameters.emplace_back(), parameters[p], element<float>, count);
        if (gradients[p] != nullptr && way.training)
            buffers.read(result.gradients.emplace_back(), gradients[p], element<float>, count);
    }
    if (facts.reads_labels) device.download(&result.tally, statistics, sizeof(Tally));
    CHECK(buffers.intact());
    return result;
}

// ---------------------------------------------------------------------------------------------- comparison

/// Largest difference, over the largest value; NaN where one is.
double distance(const std::vector<float>& found, const std::vector<float>& expected) {
    REQUIRE(found.size() == expected.size());
    double worst = 0, largest = 1e-30;
    for (std::size_t i = 0; i < found.size(); ++i) {
        const double difference = std::abs(static_cast<double>(found[i]) - static_cast<double>(expected[i]));
        if (std::isnan(difference)) return difference;
        worst = std::max(worst, difference);
        largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
    }
    return worst / largest;
}

/// Of what is stored and multiplied; sums may be taken in any order.
template <class Precision>
constexpr double tolerance = std::is_same_v<Precision, Float>      ? 1e-5
                             : std::is_same_v<Precision, BFloat16> ? 1e-2
                                                                   : 2e-3;

/// Layers whose results are one rounding away from what they read: the same bits on every device.
template <class Layer>
constexpr bool exact = elementwise<Layer>;
template <class Pixel>
constexpr bool exact<Widen<Pixel>> = true;
template <>
constexpr bool exact<Flatten> = true;
template <>
constexpr bool exact<Add> = true;

struct Devices {
    Host host{2};
    Cuda cuda;
};

/// A layer under a precision, without their types, and the same in float on the Host.
struct Subject {
    std::string_view precision;
    Maker<Cuda> tested;
    Maker<Host> oracle;
    double tolerance;
    bool exact, returns_floats;
};
template <class Layer, class Precision>
constexpr Subject subject{Precision::name,
                          maker<Layer, Precision, Cuda>,
                          maker<Layer, Float, Host>,
                          tolerance<Precision>,
                          exact<Layer>,
                          row_loss<Layer>};

void check_under(Devices& devices, const Subject& of, const Site& site, const std::vector<Way>& ways) {
    CAPTURE(of.precision);
    const auto check = [&](const std::vector<float>& found, std::vector<float> expected, bool bits,
                           double bound) {
        if (bits)
            for (float& value : expected) value = of.tested.stored.rounded(value);
        CHECK(distance(found, expected) <= (bits ? 0 : bound));
    };
    for (Way way : ways) {
        if (site.facts.couples_images) way.micro = way.batch;
        CAPTURE(way.batch);
        CAPTURE(way.micro);
        CAPTURE(way.slice);
        CAPTURE(way.training);
        CAPTURE(static_cast<int>(way.sharing));
        const Data data(of.tested, site, way.batch);
        Way whole = way;
        whole.micro = whole.slice = way.batch;
        whole.sharing = Sharing::none;
        const Result expected = run(devices.host, of.oracle, site, whole, data);
        const Result found = run(devices.cuda, of.tested, site, way, data);
        check(found.output, expected.output, of.exact || site.facts.selects_maximum,
              of.returns_floats ? 1e-6 : of.tolerance);
        check(found.input_gradient, expected.input_gradient, of.exact, of.tolerance);
        check(found.second_gradient, expected.second_gradient, of.exact, of.tolerance);
        REQUIRE(found.gradients.size() == expected.gradients.size());
        for (std::size_t p = 0; p < found.gradients.size(); ++p)
            check(found.gradients[p], expected.gradients[p], false, of.tolerance);
        for (std::size_t p = 0; p < data.parameters.size(); ++p)
            if (site.facts.parameters[static_cast<int>(p)].trainable)
                CHECK(found.parameters[p] == data.parameters[p]);
            else
                check(found.parameters[p], expected.parameters[p], false, 1e-5);
        CHECK(found.tally.correct == expected.tally.correct);
        CHECK(found.tally.loss == doctest::Approx(expected.tally.loss).epsilon(1e-7));
        CHECK(found.tally.bad_count == 0);
    }
}

/// Whole and ragged slices and micro-batches; first layers, which give no input gradient.
const std::vector<Way> usual{{1, 1, 1},
                             {5, 5, 2},
                             {7, 4, 3},
                             {6, 3, 4, true, false},
                             {4, 3, 1, true, true, Sharing::in_place},
                             {6, 4, 4, true, true, Sharing::overwrite},
                             {5, 3, 2, false}};

template <class Layer>
void check(Devices& devices, Shape in, const std::vector<Way>& ways = usual) {
    const Site site = site_of<Layer>(in);
    INFO(site.facts.name, " of ", to_string(in), " to ", to_string(site.output), ", kernel ",
         site.facts.window.kernel, ", stride ", site.facts.window.stride, ", padding ",
         site.facts.window.padding);
    check_under(devices, subject<Layer, Float>, site, ways);
    if (computes<TF32>()) check_under(devices, subject<Layer, TF32>, site, ways);
    if (computes<BFloat16>()) check_under(devices, subject<Layer, BFloat16>, site, ways);
    check_under(devices, subject<Layer, Half>, site, ways);
}

/// A network's first convolution, by kernels of our own.
template <class Layer>
void check_first(Devices& devices, Shape in, const std::vector<Way>& ways) {
    Site site = site_of<Layer>(in);
    site.input_gradient = false;
    REQUIRE(CudaFirstConvolution<float, false>::fits(site));
    check<Layer>(devices, in, ways);
}

/// A layer that does its ReLU's work.
template <class Layer, class Precision>
void check_rectified(Devices& devices, const Site& site) {
    Subject rectified = subject<Layer, Precision>;
    rectified.tested = rectified_maker<Layer, Precision, Cuda>;
    rectified.oracle = rectified_maker<Layer, Float, Host>;
    check_under(devices, rectified, site, usual);
}
template <class Layer>
void check_rectified(Devices& devices, Shape in) {
    const Site site = site_of<Layer>(in);
    INFO("rectified ", site.facts.name, " of ", to_string(in), " to ", to_string(site.output));
    check_rectified<Layer, Float>(devices, site);
    if (computes<BFloat16>()) check_rectified<Layer, BFloat16>(devices, site);
    check_rectified<Layer, Half>(devices, site);
}

} // namespace

TEST_CASE("cuda kernels: convolution") {
    Devices devices;
    check<Conv2d<5, 3>>(devices, {7, 9, 3});
    check<Conv2d<17, 3, 2, 1>>(devices, {8, 6, 17});
    check<Conv2d<64, 3, 1, 1>>(devices, {4, 3, 64});
    check<Conv2d<16, 5, 2, 2>>(devices, {9, 8, 1});
    check<Conv2d<1, 3, 2>>(devices, {8, 10, 3});
    check<Conv2d<3, 1>>(devices, {4, 3, 17});
    check<Conv2d<64, 1, 2, 0, no_bias>>(devices, {7, 5, 16});
    check<Conv2d<8, 3, 1, 1, no_bias>>(devices, {1, 1, 5});
    // Copies with channels filled up take more than all else.
    check<Conv2d<9, 3, 1, 1>>(devices, {32, 32, 9}, {{40, 40, 40}});
}

TEST_CASE("cuda kernels: first convolutions") {
    Devices devices;
    const std::vector<Way> ways{
        {1, 1, 1, true, false}, {5, 3, 2, true, false}, {3, 3, 3, true, false}, {3, 2, 2, false, false}};
    // Tiles of 16 x 32 outputs, 32 filters at once; windows of up to 16, 32 and 63 weights.
    check_first<Conv2d<40, 3>>(devices, {35, 70, 3}, ways);
    check_first<Conv2d<33, 4, 2, 1>>(devices, {40, 67, 3}, ways);
    check_first<Conv2d<5, 5, 1, 2>>(devices, {18, 34, 1}, ways);
    check_first<Conv2d<16, 7, 2, 3>>(devices, {20, 40, 1}, ways);
    check_first<Conv2d<8, 1>>(devices, {17, 33, 3}, ways);
    check_first<Conv2d<32, 2, 2>>(devices, {34, 68, 3}, ways);
    check_first<Conv2d<64, 3, 1, 1, no_bias>>(devices, {17, 33, 6}, ways);
    check_first<Conv2d<12, 3>>(devices, {18, 34, 7}, ways);
    // More tiles than blocks that run at once, and than partial sums of a gradient.
    check_first<Conv2d<8, 3>>(devices, {4, 5, 1}, {{1100, 1100, 1100, true, false}});
    check<Conv2d<33, 3, 2, 1>>(devices, {40, 67, 4}, ways); // larger than a block's shared memory
}

TEST_CASE("cuda kernels: a GPU's own NaN, all ones, stays one where floats are rounded to TF32") {
    if (!computes<TF32>()) return;
    Devices devices;
    const Site site = site_of<Conv2d<8, 3>>({6, 7, 3});
    const Maker<Cuda> convolution = maker<Conv2d<8, 3>, TF32, Cuda>;
    const Way one{1, 1, 1, true, false};
    const auto count_of = [](std::span<const float> values) {
        return std::count_if(values.begin(), values.end(), [](float value) { return std::isnan(value); });
    };
    Data data(convolution, site, one.batch);
    Data broken = data;
    broken.output_gradient[0] = std::bit_cast<float>(0x7fffffffu);
    const Result of_gradient = run(devices.cuda, convolution, site, one, broken);
    CHECK(count_of(of_gradient.output) == 0);
    REQUIRE(of_gradient.gradients.size() == 2); // (F, C, K, K) and (F): of the first filter
    CHECK(count_of(std::span(of_gradient.gradients[0]).first(27)) == 27);
    CHECK(count_of(of_gradient.gradients[0]) == 27);
    CHECK(count_of(of_gradient.gradients[1]) == 1);
    data.input[0] = std::bit_cast<float>(0x7fffffffu);
    CHECK(count_of(run(devices.cuda, convolution, site, one, data).output) == 8);
}

TEST_CASE("cuda kernels: windows of 3 x 3 at every pixel") {
    Devices devices;
    // In Float by Winograd's algorithm: several blocks of tiles, and pictures of odd sizes.
    const std::vector<Way> ways{{5, 5, 5}, {7, 4, 3}, {6, 6, 4, true, false}, {3, 3, 2, false}};
    check<Conv2d<20, 3, 1, 1>>(devices, {30, 29, 16}, ways);
    check<Conv2d<16, 3>>(devices, {12, 31, 24}, ways);
    check<Conv2d<72, 3, 1, 2, no_bias>>(devices, {5, 6, 16}, ways);
    check<Conv2d<16, 3, 1, 1>>(devices, {3, 3, 132}, ways);
}

TEST_CASE("cuda kernels: pooling") {
    Devices devices;
    check<MaxPool<2>>(devices, {6, 8, 16});
    check<MaxPool<2>>(devices, {7, 5, 17});
    check<MaxPool<3, 2, 1>>(devices, {7, 6, 32});
    check<MaxPool<3, 1, 1>>(devices, {4, 5, 5});
    check<MaxPool<2, 3>>(devices, {8, 9, 4});
    check_rectified<MaxPool<2>>(devices, {7, 5, 17});
    check_rectified<MaxPool<3, 2, 1>>(devices, {7, 6, 32});
    check<AveragePool<2>>(devices, {7, 6, 16});
    check<AveragePool<3, 2, 1>>(devices, {6, 7, 5});
    check<AveragePool<3, 1, 1>>(devices, {5, 4, 8});
    check<GlobalAveragePool>(devices, {3, 5, 17});
    check<GlobalAveragePool>(devices, {5, 2, 32});
}

TEST_CASE("cuda kernels: dense") {
    Devices devices;
    check<Dense<1>>(devices, {1, 1, 17});
    check<Dense<1>>(devices, {1, 1, 130});
    check<Dense<10>>(devices, {1, 1, 130});
    check<Dense<70, no_bias>>(devices, {1, 1, 17});
    check<Dense<64>>(devices, {1, 1, 1});
}

TEST_CASE("cuda kernels: batch normalisation") {
    Devices devices;
    for (const Shape shape : {Shape{5, 3, 1}, Shape{8, 9, 3}, Shape{4, 7, 17}, Shape{3, 3, 64}})
        check<BatchNorm>(devices, shape);
    // As many partial sums as there are at most, each of more rows than threads add at once.
    check<BatchNorm>(devices, {40, 41, 33}, {{21, 21, 16}});
}

TEST_CASE("cuda kernels: element by element") {
    Devices devices;
    for (const Shape shape : {Shape{1, 1, 1}, Shape{5, 3, 17}, Shape{4, 4, 8}, Shape{8, 9, 3}}) {
        check<Relu>(devices, shape);
        check<LeakyRelu<>>(devices, shape);
        check<Dropout<0.3_p>>(devices, shape);
        check<Flatten>(devices, shape);
        check<Add>(devices, shape);
        check<Widen<u8>>(devices, shape);
        check<Widen<float>>(devices, shape);
        check<Widen<half>>(devices, shape);
    }
}

TEST_CASE("cuda kernels: losses") {
    Devices devices;
    const std::vector<Way> ways{{1, 1},
                                {7, 4},
                                {300, 300},
                                {7, 4, 0, false},
                                {5, 3, 0, true, true, {}, 1024},
                                {6, 4, 0, true, false}};
    for (const int classes : {2, 5, 17}) {
        check<SoftmaxCrossEntropy<>>(devices, {1, 1, classes}, ways);
        check<SoftmaxCrossEntropy<0.1_p>>(devices, {1, 1, classes}, ways);
    }
    check<BinaryCrossEntropy>(devices, {1, 1, 1}, ways);
}

namespace {

/// The same numbers, NaN where the other is NaN.
bool alike(const std::vector<float>& a, const std::vector<float>& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](float x, float y) { return x == y || (std::isnan(x) && std::isnan(y)); });
}

/// A window's four inputs, and which of them is its maximum.
struct Window4 {
    float inputs[4];
    std::size_t maximum;
};
constexpr Window4 windows[] = {
    {{1, 1, 1, 1}, 0},  {{1, -not_a_number, 2, 3}, 1}, {{-infinity, -infinity, -infinity, -infinity}, 0},
    {{0, -1, 2, 2}, 2}, {{-0.0f, 0, -1, 0}, 0},        {{not_a_number, 5, not_a_number, infinity}, 2}};

template <class Precision>
void check_maxima(Devices& devices) {
    CAPTURE(Precision::name);
    for (const int channels : {5, 6, 16}) { // one at a time and in packs
        const Site site = site_of<MaxPool<2>>({2, 2, channels});
        const auto columns = static_cast<std::size_t>(channels);
        Data data(maker<MaxPool<2>, Float, Host>, site, 1);
        std::vector<float> largest(columns), gradient(4 * columns);
        for (std::size_t c = 0; c < columns; ++c) {
            const Window4& window = windows[c % std::size(windows)];
            for (std::size_t p = 0; p < 4; ++p) data.input[p * columns + c] = window.inputs[p];
            data.output_gradient[c] = static_cast<float>(c + 1);
            largest[c] = window.inputs[window.maximum];
            gradient[window.maximum * columns + c] = data.output_gradient[c];
        }
        const auto check = [&](const Result& result) {
            CHECK(alike(result.output, largest));
            CHECK(result.input_gradient == gradient);
        };
        check(run(devices.cuda, maker<MaxPool<2>, Precision, Cuda>, site, {}, data));
        check(run(devices.host, maker<MaxPool<2>, Float, Host>, site, {}, data));
        for (std::size_t c = 0; c < columns; ++c) {
            if (!(largest[c] <= 0)) continue;
            largest[c] = 0;
            gradient[windows[c % std::size(windows)].maximum * columns + c] = 0;
        }
        check(run(devices.cuda, rectified_maker<MaxPool<2>, Precision, Cuda>, site, {}, data));
        check(run(devices.host, rectified_maker<MaxPool<2>, Float, Host>, site, {}, data));
    }
}

/// What Relu and LeakyRelu make of what is no number, on both devices.
template <class Layer, class Precision>
void check_signs(Devices& devices) {
    const Site site = site_of<Layer>({1, 1, 9}); // a pack and what is left
    Data data(maker<Layer, Float, Host>, site, 1);
    data.input = {not_a_number, -infinity, infinity, -0.0f, 0, -1, 1, -not_a_number, not_a_number};
    const Result found = run(devices.cuda, maker<Layer, Precision, Cuda>, site, {}, data),
                 expected = run(devices.host, maker<Layer, Precision, Host>, site, {}, data);
    CHECK(std::isnan(found.output[0]));
    CHECK(std::isnan(found.output[8]));
    CHECK(alike(found.output, expected.output));
    CHECK(alike(found.input_gradient, expected.input_gradient));
}

template <class Loss, class Precision>
void check_bad_rows(Devices& devices, int classes) {
    const Site site = site_of<Loss>({1, 1, classes});
    const auto columns = static_cast<std::size_t>(classes);
    const Way way{.batch = 9, .micro = 4};
    Data data(maker<Loss, Precision, Cuda>, site, way.batch);
    for (const std::size_t row : {1u, 3u, 4u, 6u, 7u, 8u})
        data.input[row * columns] = row % 2 == 0 ? infinity : not_a_number;
    const Tally found = run(devices.cuda, maker<Loss, Precision, Cuda>, site, way, data).tally,
                expected = run(devices.host, maker<Loss, Precision, Host>, site, way, data).tally;
    const std::vector<std::int32_t> first_five(found.bad, found.bad + 5);
    if (classes > 1) {
        CHECK(found.bad_count == 6);
        CHECK(first_five == std::vector<std::int32_t>{1, 3, 4, 6, 7});
    }
    CHECK(found.bad_count == expected.bad_count);
    CHECK(first_five == std::vector<std::int32_t>(expected.bad, expected.bad + 5));
    CHECK(found.correct == expected.correct);
    CHECK(!std::isfinite(found.loss));
}

template <class Precision>
void check_special_values(Devices& devices) {
    check_maxima<Precision>(devices);
    check_signs<Relu, Precision>(devices);
    check_signs<LeakyRelu<>, Precision>(devices);
    check_bad_rows<SoftmaxCrossEntropy<>, Precision>(devices, 3);
    check_bad_rows<BinaryCrossEntropy, Precision>(devices, 1);
}

} // namespace

TEST_CASE("cuda kernels: what is no number, and equal maxima") {
    Devices devices;
    check_special_values<Float>(devices);
    if (computes<BFloat16>()) check_special_values<BFloat16>(devices);
    check_special_values<Half>(devices);
}
