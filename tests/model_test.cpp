// The room `model`: shapes, graphs, names, initialisation, losses, optimizers, and types that a user writes.
#include "support.hpp"

#include <plimsoll/device/example_device.hpp>
#include <plimsoll/model/example_layer.hpp>
#include <plimsoll/model/example_model.hpp>
#include <plimsoll/model/example_precision.hpp>
#include <plimsoll/plimsoll.hpp>
#include <plimsoll/source/example_source.hpp>

#include <array>
#include <cmath>
#include <cstring>

using namespace plimsoll;

// ------------------------------------------------------------------------------- what a user writes
// docs/extending.md shows these.

namespace {

/// A layer with weights: one learned factor a channel.
struct Gain {
    static constexpr Facts facts(Shape in) {
        Facts facts{.name = "Gain",
                    .output = in,
                    .backward_reads_input = true,
                    .flops = static_cast<double>(in.size())};
        facts.parameters.push({.name = "weight", .shape = {in.channels}, .initialise = Initialise::ones});
        return facts;
    }
};

} // namespace

template <class Precision>
struct plimsoll::Kernel<Gain, Precision, Host> : NodeKernel {
    Kernel(const Site& site, const Host&) : site_(site) {}
    static constexpr Needs needs(const Site& site) { return {.partial = bytes(site.input.channels)}; }

    void forward(const Call& call) override {
        const auto* x = static_cast<const float*>(call.input); // (count, C / block, H, W, block)
        auto* y = static_cast<float*>(call.output);            // (count, C / block, H, W, block)
        const float* gain = call.parameters[0];                // (C)
        for_elements(call.count, [&](std::int64_t i, int c) { y[i] = gain[c] * x[i]; });
    }
    void backward(const Call& call) override {
        const auto* x = static_cast<const float*>(call.input);            // (count, C / block, H, W, block)
        const auto* dy = static_cast<const float*>(call.output_gradient); // (count, C / block, H, W, block)
        auto* dx = static_cast<float*>(call.input_gradient);              // (count, C / block, H, W, block)
        auto* partial = static_cast<float*>(call.partial);                // (C), this lane's
        if (!call.accumulate) std::fill_n(partial, site_.input.channels, 0.0f);
        for_elements(call.count, [&](std::int64_t i, int c) { partial[c] += dy[i] * x[i]; });
        if (dx != nullptr) // nobody asks for it where no layer before this one learns
            for_elements(call.count, [&](std::int64_t i, int c) { dx[i] = call.parameters[0][c] * dy[i]; });
    }
    void reduce(const Call& call, int lanes) override {
        for (int c = 0; c < site_.input.channels; ++c) {
            double sum = call.accumulate ? call.gradients[0][c] : 0.0;
            for (int lane = 0; lane < lanes; ++lane)
                sum += reinterpret_cast<const float*>(static_cast<const std::byte*>(call.partial) +
                                                      lane * call.partial_stride)[c];
            call.gradients[0][c] = static_cast<float>(sum);
        }
    }

  private:
    static constexpr std::int64_t bytes(int channels) { return std::int64_t{sizeof(float)} * channels; }

    /// f(element, channel) over `count` images, in the layout that the plan has chosen.
    template <class F>
    void for_elements(std::int64_t count, F f) const {
        const std::int64_t block = site_.input_layout.block, area = site_.input.pixels() * block;
        for (std::int64_t i = 0; i < count * site_.input.size(); ++i)
            f(i, static_cast<int>(i / area * block % site_.input.channels + i % block));
    }
    Site site_;
};

namespace {

/// A loss: half the squared distance to 1 at the label and 0 elsewhere.
struct SquaredError {
    static constexpr bool fits(Shape logits) { return logits.is_vector() && logits.channels > 1; }
    static constexpr int classes(Shape logits) { return logits.channels; }
    static constexpr Facts facts(Shape in) { return loss_facts("SquaredError", in, fits(in)); }

    PLIMSOLL_HD static RowLoss loss(const float* logits, int count, Label label) {
        RowLoss row{0, true};
        for (int c = 0; c < count; ++c) {
            const double distance = logits[c] - (c == label ? 1.0 : 0.0);
            row.loss += distance * distance / 2;
            row.correct = row.correct && (c == label || logits[c] < logits[label]);
        }
        return row;
    }
    /// Gradient of `scale` times the loss.
    PLIMSOLL_HD static void gradient(const float* logits, float* out, int count, Label label, double scale) {
        for (int c = 0; c < count; ++c)
            out[c] = static_cast<float>(scale * (logits[c] - (c == label ? 1.0 : 0.0)));
    }
    /// What `predict` returns.
    PLIMSOLL_HD static void probabilities(const float* logits, float* out, int count) {
        for (int c = 0; c < count; ++c) out[c] = logits[c] < 0 ? 0.0f : logits[c] > 1 ? 1.0f : logits[c];
    }
};

/// An optimizer: a step of fixed length along the sign of the averaged gradient (signSGD with momentum).
struct SignSgd {
    double learning_rate = 1e-3;
    double momentum = 0.9;

    static constexpr int states = 1; // floats kept per weight: the average

    struct Rule {
        float rate, momentum;
        PLIMSOLL_HD void operator()(float& weight, float gradient, float& average, float&) const {
            average = momentum * average + (1 - momentum) * gradient;
            weight -= average > 0 ? rate : average < 0 ? -rate : 0.0f;
        }
    };
    /// Of step 1, 2, ...
    [[nodiscard]] Rule rule(std::uint64_t) const {
        return {static_cast<float>(learning_rate), static_cast<float>(momentum)};
    }
};

/// A source: pictures in floats whose brightest corner is their class, made when they are asked for.
class Corners {
  public:
    using Pixel = float;

    [[nodiscard]] std::uint64_t size() const { return 60; }
    [[nodiscard]] Shape shape() const { return {9, 8, 2}; }
    [[nodiscard]] int classes() const { return 3; }
    [[nodiscard]] const std::vector<std::string>& class_names() const { return class_names_; }
    [[nodiscard]] std::string name() const { return "Corners"; }

    void read(std::span<const std::uint64_t> samples, std::span<float> images,
              std::span<Label> labels) const {
        check_read(name(), size(), shape(), samples, images, labels);
        std::size_t at = 0;
        for (std::size_t i = 0; i < samples.size(); ++i) {
            labels[i] = static_cast<Label>(samples[i] % 3);
            for (int y = 0; y < shape().height; ++y)
                for (int x = 0; x < shape().width; ++x)
                    for (int c = 0; c < shape().channels; ++c, ++at) { // (n, H, W, C)
                        const Words4 noise = philox(
                            {static_cast<std::uint32_t>(samples[i]), static_cast<std::uint32_t>(at)}, 7);
                        const int corner = (y < 4 ? 0 : 1) + (x < 4 ? 0 : 2);
                        images[at] = 0.5f * unit_float(noise.x) + (corner == labels[i] ? 0.5f : 0.0f);
                    }
        }
    }

  private:
    std::vector<std::string> class_names_{"top left", "bottom left", "top right"};
};

const Host one_thread{1};

} // namespace

/// ExampleDevice's memory is the host's, so the Host's kernels serve it.
template <class Layer, class Precision>
struct plimsoll::Kernel<Layer, Precision, ExampleDevice> : plimsoll::Kernel<Layer, Precision, Host> {
    Kernel(const Site& site, const ExampleDevice&)
        : plimsoll::Kernel<Layer, Precision, Host>(site, one_thread) {}
};

static_assert(model<ExampleModel> && source<ExampleSource> && precision<ExamplePrecision> &&
              device<ExampleDevice> && elementwise<ExampleLayer>);
static_assert(layer<Gain> && !elementwise<Gain> && row_loss<SquaredError> && optimizer<SignSgd> &&
              source<Corners>);
static_assert(precision<Float> && device<Host> && row_loss<BinaryCrossEntropy> &&
              row_loss<SoftmaxCrossEntropy<>>);
static_assert(optimizer<Sgd> && optimizer<Adam> && optimizer<AdamW> && optimizer<RmsProp>);

namespace {

// ------------------------------------------------------------------------------------------ helpers

std::vector<float> random_values(std::size_t count, std::uint64_t key, float low = -1, float high = 1) {
    std::vector<float> out(count);
    for (std::size_t i = 0; i < count; ++i)
        out[i] = low + (high - low) * unit_float(philox({static_cast<std::uint32_t>(i)}, key).x);
    return out;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

void check_close(const std::vector<float>& found, const std::vector<double>& expected,
                 double tolerance = 1e-6) {
    REQUIRE(found.size() == expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
        CAPTURE(i);
        CHECK(static_cast<double>(found[i]) == doctest::Approx(expected[i]).epsilon(tolerance));
    }
}

/// One layer on its own on one thread, channels last.
template <class Layer>
class Alone {
  public:
    Alone(Shape in, int images, std::uint64_t seed = 0, int node = 1)
        : site_{.facts = Layer::facts(in),
                .input = in,
                .output = Layer::facts(in).output,
                .input_layout = Layout::channels_last(in),
                .output_layout = Layout::channels_last(Layer::facts(in).output),
                .images = images,
                .input_gradient = true,
                .node = node,
                .seed = seed},
          kernel_(site_, one_thread),
          input_(bytes(in)),
          output_(bytes(site_.output)),
          output_gradient_(bytes(site_.output)),
          input_gradient_(bytes(in)),
          saved_(site_.facts.saved_bytes * images),
          statistics_(site_.facts.statistics_bytes),
          partial_(needs().partial),
          scratch_(needs().scratch),
          parameters_(4096),
          gradients_(4096) {
        call.input = input_.data();
        call.output = output_.data();
        call.output_gradient = output_gradient_.data();
        call.input_gradient = input_gradient_.data();
        call.saved = saved_.data();
        call.statistics = statistics_.data();
        call.partial = partial_.data();
        call.scratch = scratch_.data();
        call.batch = images;
        std::size_t at = 0;
        for (int p = 0; p < site_.facts.parameters.size(); at += 64, ++p) {
            REQUIRE(site_.facts.parameters[p].size() <= 64);
            call.parameters[static_cast<std::size_t>(p)] = reinterpret_cast<float*>(parameters_.data()) + at;
            call.gradients[static_cast<std::size_t>(p)] = reinterpret_cast<float*>(gradients_.data()) + at;
        }
    }

    std::vector<float> forward(const std::vector<float>& x) {
        REQUIRE(static_cast<std::int64_t>(x.size()) <= site_.input.size() * site_.images);
        std::copy(x.begin(), x.end(), reinterpret_cast<float*>(input_.data()));
        call.count = static_cast<int>(static_cast<std::int64_t>(x.size()) / site_.input.size());
        if (site_.facts.couples_images && call.training) kernel_.gather(call);
        kernel_.forward(call);
        return values(output_, site_.output);
    }
    std::vector<float> backward(const std::vector<float>& dy) {
        REQUIRE(static_cast<std::int64_t>(dy.size()) == site_.output.size() * call.count);
        std::copy(dy.begin(), dy.end(), reinterpret_cast<float*>(output_gradient_.data()));
        if (site_.facts.couples_images) kernel_.gather_gradient(call);
        kernel_.backward(call);
        return values(input_gradient_, site_.input);
    }
    void settle() { kernel_.settle(call); }
    void fill(std::size_t parameter, const std::vector<float>& values) {
        std::copy(values.begin(), values.end(), call.parameters[parameter]);
    }

    Call call;

  private:
    using LayerKernel = Kernel<Layer, Float, Host>;
    [[nodiscard]] Needs needs() const { return LayerKernel::needs(site_); }
    [[nodiscard]] std::int64_t bytes(Shape shape) const { return shape.size() * site_.images * 4; }
    std::vector<float> values(const Host::Memory& memory, Shape shape) const {
        const auto* first = reinterpret_cast<const float*>(memory.data());
        return {first, first + shape.size() * call.count};
    }

    Site site_;
    LayerKernel kernel_;
    Host::Memory input_, output_, output_gradient_, input_gradient_, saved_, statistics_, partial_, scratch_,
        parameters_, gradients_;
};

/// Compares a step's gradients with central differences of its loss, along directions in each tensor: at
/// random, and along the gradient itself. The optimizer must not move the weights.
template <class Job, class Pixel>
void check_gradients(Job& job, const std::vector<Pixel>& images, const std::vector<Label>& labels) {
    const support::TemporaryFolder folder;
    const std::string path = folder / "weights.safetensors";
    const auto& parameters = job.parameters();
    std::vector<std::vector<float>> weights, gradients;
    job.step(images, labels);
    for (std::size_t p = 0; p < parameters.size(); ++p) {
        weights.push_back(job.parameter(p));
        gradients.push_back(job.gradient(p));
    }
    const auto loss_at = [&](std::size_t p, const std::vector<double>& direction, double distance) {
        std::vector<std::vector<float>> moved = weights;
        for (std::size_t i = 0; i < direction.size(); ++i)
            moved[p][i] = static_cast<float>(moved[p][i] + distance * direction[i]);
        save_weights(path, parameters, moved, {});
        job.load(path);
        return job.step(images, labels).metrics.loss;
    };
    double largest = 0;
    for (std::size_t p = 0; p < parameters.size(); ++p) {
        if (!parameters[p].facts.trainable) continue;
        CAPTURE(parameters[p].name);
        double norm = 0;
        for (const float g : gradients[p]) norm += static_cast<double>(g) * g;
        norm = std::sqrt(norm);
        largest = std::max(largest, norm);
        for (std::uint64_t trial = 0; trial < 4; ++trial) {
            const std::vector<float> random = random_values(weights[p].size(), 100 + trial);
            std::vector<double> direction(random.begin(), random.end());
            if (trial == 0 && norm > 1e-5) direction.assign(gradients[p].begin(), gradients[p].end());
            double length = 0, slope = 0;
            for (const double d : direction) length += d * d;
            length = std::sqrt(length);
            for (std::size_t i = 0; i < direction.size(); ++i) {
                direction[i] /= length;
                slope += direction[i] * gradients[p][i];
            }
            const double h = 1e-2;
            const double difference = (loss_at(p, direction, h) - loss_at(p, direction, -h)) / (2 * h);
            CAPTURE(trial);
            CHECK(std::abs(difference - slope) < 2e-3 * norm + 2e-5);
        }
    }
    CHECK(largest > 0.01); // something was compared
}

// ------------------------------------------------------------------------------------------- models

/// The network of the design's table, at the guide's 150 x 150.
using CatsAndDogs = Sequential<Image<150, 150, 3>, Conv2d<32, 3>, Relu, MaxPool<2>, Conv2d<64, 3>, Relu,
                               MaxPool<2>, Conv2d<128, 3>, Relu, MaxPool<2>, Conv2d<128, 3>, Relu, MaxPool<2>,
                               Flatten, Dropout<0.5_p>, Dense<512>, Relu, Dense<1>>;

using Nested =
    Sequential<Image<17, 15, 3>, Conv2d<8, 3, 1, 1, no_bias>, BatchNorm, Relu,
               Residual<Sequential<Conv2d<16, 3, 2, 1>, Relu, BatchNorm>,
                        Sequential<Conv2d<16, 1, 2, 0, no_bias>, BatchNorm>>,
               Sequential<Conv2d<4, 3>, LeakyRelu<0.2_p>, MaxPool<3, 2, 1>>, Residual<Conv2d<4, 3, 1, 1>>,
               GlobalAveragePool, Flatten, Dropout<0.25_p>, Dense<6, no_bias>, Dense<4>>;

/// Every kind of layer that has a slope everywhere, among them the user's.
using Smooth = Sequential<Image<9, 8, 2>, Conv2d<6, 3, 2, 1>, ExampleLayer,
                          Residual<Sequential<Conv2d<6, 3, 1, 1>, BatchNorm, ExampleLayer, Gain>>,
                          AveragePool<2>, Flatten, Dense<7>, ExampleLayer, Dense<3>>;

} // namespace

// ------------------------------------------------------------------------------------------- shapes

TEST_CASE("odd sizes truncate as PyTorch's do") {
    struct Case {
        int input, kernel, stride, padding, output;
    };
    // torch.nn.functional.conv2d and max_pool2d of PyTorch 2
    constexpr Case cases[] = {{28, 3, 1, 0, 26}, {28, 3, 1, 1, 28},   {13, 2, 2, 0, 6},  {15, 2, 2, 0, 7},
                              {7, 3, 2, 0, 3},   {8, 3, 2, 0, 3},     {7, 3, 2, 1, 4},   {8, 3, 2, 1, 4},
                              {1, 1, 1, 0, 1},   {1, 3, 1, 1, 1},     {1, 3, 2, 1, 1},   {5, 5, 1, 0, 1},
                              {6, 5, 3, 0, 1},   {224, 11, 4, 2, 55}, {55, 3, 2, 0, 27}, {224, 7, 2, 3, 112},
                              {2, 3, 1, 0, 0},   {1, 4, 1, 1, 0},     {9, 1, 2, 0, 5},   {10, 1, 3, 0, 4}};
    for (const Case& c : cases) {
        CAPTURE(c.input);
        CAPTURE(c.kernel);
        CHECK(Window{c.kernel, c.stride, c.padding}.output(c.input) == c.output);
    }
    static_assert(Conv2d<5, 3, 2, 1>::facts({7, 10, 3}).output == Shape{4, 5, 5});
    static_assert(MaxPool<2>::facts({7, 5, 17}).output == Shape{3, 2, 17});
    static_assert(MaxPool<3, 2, 1>::facts({7, 10, 3}).output == Shape{4, 5, 3});
    static_assert(AveragePool<3, 2>::facts({7, 10, 3}).output == Shape{3, 4, 3});
    static_assert(GlobalAveragePool::facts({7, 10, 3}).output == Shape{1, 1, 3});
    static_assert(Flatten::facts({7, 10, 3}).output == Shape{1, 1, 210});
    static_assert(Dense<11>::facts({1, 1, 210}).output == Shape{1, 1, 11});
    static_assert(Dense<11>::facts({2, 1, 210}).output == Shape{});
    static_assert(Conv2d<5, 4>::facts({3, 9, 1}).output.height == 0);
}

TEST_CASE("a model's shapes are constants") {
    static_assert(output_shape<CatsAndDogs> == Shape{1, 1, 1});
    static_assert(output_shape<Nested> == Shape{1, 1, 4});
    static_assert(output_shape<Sequential<Image<150, 150, 3>, Conv2d<32, 3>, Relu, MaxPool<2>, Conv2d<64, 3>,
                                          Relu, MaxPool<2>, Conv2d<128, 3>, Relu, MaxPool<2>, Conv2d<128, 3>,
                                          Relu, MaxPool<2>>> == Shape{7, 7, 128});
    static_assert(std::same_as<DefaultLoss<CatsAndDogs>, BinaryCrossEntropy>);
    static_assert(std::same_as<DefaultLoss<Nested>, SoftmaxCrossEntropy<>>);
    static_assert(std::same_as<DefaultLoss<ExampleModel>, SoftmaxCrossEntropy<>>);
    static_assert(node_count<CatsAndDogs> == 17 + 2); // and widening and the loss
    static_assert(node_count<Nested> == 19 + 2);
}

// -------------------------------------------------------------------------------------------- graph

TEST_CASE("a maximum is taken before a monotone activation, nothing else moves") {
    using Net = Sequential<Image<13, 12, 1>, Conv2d<3, 3>, Relu, MaxPool<2>, Conv2d<3, 2>, LeakyRelu<0.1_p>,
                           MaxPool<3, 1, 1>, Relu, AveragePool<2>, ExampleLayer, MaxPool<1>, Flatten,
                           Dropout<0.5_p>, Dense<2>>;
    constexpr auto& graph = graph_of<Net, u8, DefaultLoss<Net>>;
    struct Line {
        std::string_view name;
        const char* path;
        Shape output;
    };
    const Line expected[] = {{"Widen", "", {13, 12, 1}},
                             {"Conv2d", "0", {11, 10, 3}},
                             {"MaxPool", "2", {5, 5, 3}},
                             {"Relu", "1", {5, 5, 3}},
                             {"Conv2d", "3", {4, 4, 3}},
                             {"MaxPool", "5", {4, 4, 3}},
                             {"LeakyRelu", "4", {4, 4, 3}},
                             {"Relu", "6", {4, 4, 3}},
                             {"AveragePool", "7", {2, 2, 3}},
                             {"ExampleLayer", "8", {2, 2, 3}},
                             {"MaxPool", "9", {2, 2, 3}},
                             {"Flatten", "10", {1, 1, 12}},
                             {"Dropout", "11", {1, 1, 12}},
                             {"Dense", "12", {1, 1, 2}},
                             {"SoftmaxCrossEntropy", "", {1, 1, 2}}};
    REQUIRE(graph.nodes.size() == static_cast<int>(std::size(expected)));
    for (int n = 0; n < graph.nodes.size(); ++n) {
        CAPTURE(n);
        CHECK(graph.nodes[n].facts.name == expected[n].name);
        CHECK(to_string(graph.nodes[n].path) == expected[n].path);
        CHECK(graph.nodes[n].facts.output == expected[n].output);
        CHECK(graph.nodes[n].input == n); // a chain
        CHECK(graph.nodes[n].output == n + 1);
        CHECK(graph.nodes[n].second == -1);
        CHECK(graph.values[n].producer == n - 1);
        CHECK(graph.values[n].gradient == (n > 1)); // pixels have none, neither stored nor widened
    }
    CHECK(graph.logits() == graph.nodes.size() - 1);
    CHECK(&graph.loss() == &graph.nodes.back());
}

TEST_CASE("a Residual's sum reads both paths") {
    using Identical =
        Sequential<Image<8, 8, 2>, Residual<Sequential<Conv2d<2, 3, 1, 1>, Relu>>, Flatten, Dense<2>>;
    constexpr auto& identical = graph_of<Identical, float, DefaultLoss<Identical>>;
    REQUIRE(identical.nodes.size() == 7); // Widen, Conv2d, Relu, Add, Flatten, Dense, loss
    CHECK(identical.nodes[3].facts.name == "Add");
    CHECK(identical.nodes[3].input == identical.nodes[2].output);
    CHECK(identical.nodes[3].second == identical.nodes[0].output);
    CHECK(to_string(identical.nodes[1].path) == "0.body.0");
    CHECK(to_string(identical.nodes[3].path).find("0") == 0);

    using Projected =
        Sequential<Image<8, 8, 2>, Residual<Conv2d<4, 3, 2, 1>, Conv2d<4, 1, 2>>, Flatten, Dense<2>>;
    constexpr auto& projected = graph_of<Projected, float, DefaultLoss<Projected>>;
    REQUIRE(projected.nodes.size() == 7); // Widen, Conv2d, Conv2d, Add, Flatten, Dense, loss
    CHECK(projected.nodes[2].input == projected.nodes[1].input);
    CHECK(projected.nodes[3].input == projected.nodes[1].output);
    CHECK(projected.nodes[3].second == projected.nodes[2].output);
    CHECK(projected.nodes[3].facts.output == Shape{4, 4, 4});
}

// -------------------------------------------------------------------------------------------- names

TEST_CASE("parameters have PyTorch's names, shapes and order") {
    const auto parameters = named_parameters(graph_of<Nested, u8, DefaultLoss<Nested>>);
    struct Line {
        const char* name;
        std::vector<int> shape;
        bool trainable;
    };
    // nn.Sequential of modules; a Residual is a module with `body` and `skip`.
    const Line expected[] = {{"0.weight", {8, 3, 3, 3}, true},
                             {"1.weight", {8}, true},
                             {"1.bias", {8}, true},
                             {"1.running_mean", {8}, false},
                             {"1.running_var", {8}, false},
                             {"3.body.0.weight", {16, 8, 3, 3}, true},
                             {"3.body.0.bias", {16}, true},
                             {"3.body.2.weight", {16}, true},
                             {"3.body.2.bias", {16}, true},
                             {"3.body.2.running_mean", {16}, false},
                             {"3.body.2.running_var", {16}, false},
                             {"3.skip.0.weight", {16, 8, 1, 1}, true},
                             {"3.skip.1.weight", {16}, true},
                             {"3.skip.1.bias", {16}, true},
                             {"3.skip.1.running_mean", {16}, false},
                             {"3.skip.1.running_var", {16}, false},
                             {"4.0.weight", {4, 16, 3, 3}, true},
                             {"4.0.bias", {4}, true},
                             {"5.body.weight", {4, 4, 3, 3}, true},
                             {"5.body.bias", {4}, true},
                             {"9.weight", {6, 4}, true},
                             {"10.weight", {4, 6}, true},
                             {"10.bias", {4}, true}};
    REQUIRE(parameters.size() == std::size(expected));
    for (std::size_t p = 0; p < parameters.size(); ++p) {
        CHECK(parameters[p].name == expected[p].name);
        CHECK(parameters[p].facts.trainable == expected[p].trainable);
        CHECK(std::vector<int>(parameters[p].facts.shape.begin(), parameters[p].facts.shape.end()) ==
              expected[p].shape);
    }
}

TEST_CASE("the summary shows layers as they were written, their shapes and parameters") {
    using Net = Sequential<Image<28, 26, 1>, Conv2d<32, 3, 1, 1>, Relu, MaxPool<2>,
                           Residual<Sequential<Conv2d<32, 3, 1, 1, no_bias>, BatchNorm>>, Flatten, Dense<10>>;
    std::string found = summary<Net>(), lines;
    for (std::size_t at = 0; at < found.size();) { // without the blanks at the ends of lines
        std::string line = found.substr(at, found.find('\n', at) - at);
        at += line.size() + 1;
        while (!line.empty() && line.back() == ' ') line.pop_back();
        lines += line + "\n";
    }
    CHECK(lines == "              layer               output          parameters\n"
                   "              Image               28x26x1\n"
                   "0             Conv2d              28x26x32        320\n"
                   "1             Relu                28x26x32\n"
                   "2             MaxPool             14x13x32\n"
                   "3.body.0      Conv2d              14x13x32        9,216\n"
                   "3.body.1      BatchNorm           14x13x32        64\n"
                   "3             Add                 14x13x32\n"
                   "4             Flatten             5824\n"
                   "5             Dense               10              58,250\n"
                   "total                                             67,850 parameters, 265.04 KiB\n");
    CHECK(support::contains(summary<CatsAndDogs>(), "3,453,121 parameters"));
}

// ----------------------------------------------------------------------------------- initialisation

TEST_CASE("initialisation keeps its bounds and depends on the seed alone") {
    const Corners source;
    using Job = Trainer<Smooth, Corners, Float, Host, SquaredError, SignSgd>;
    Job job(source, {.batch = 8, .threads = 1, .seed = 5});
    const auto bound_of = [](const std::string& name) {
        // He: sqrt(6 / fan_in); Glorot: sqrt(6 / (fan_in + fan_out))
        if (name == "0.weight") return std::sqrt(6.0 / (2 * 3 * 3));
        if (name == "2.body.0.weight") return std::sqrt(6.0 / (6 * 3 * 3));
        if (name == "5.weight") return std::sqrt(6.0 / (2 * 2 * 6 + 7));
        if (name == "7.weight") return std::sqrt(6.0 / (7 + 3));
        return 0.0;
    };
    int checked = 0;
    for (std::size_t p = 0; p < job.parameters().size(); ++p) {
        const std::string& name = job.parameters()[p].name;
        CAPTURE(name);
        const std::vector<float> values = job.parameter(p);
        if (const double bound = bound_of(name); bound > 0) {
            double sum = 0, squares = 0, largest = 0;
            for (const float value : values) {
                sum += value;
                squares += static_cast<double>(value) * value;
                largest = std::max(largest, std::abs(static_cast<double>(value)));
            }
            const double n = static_cast<double>(values.size());
            CHECK(largest <= bound);
            CHECK(largest > 0.85 * bound);
            CHECK(std::abs(sum / n) < 4 * bound / std::sqrt(3 * n)); // four deviations
            CHECK(squares / n ==
                  doctest::Approx(bound * bound / 3).epsilon(0.5)); // of a uniform distribution
            ++checked;
        } else {
            const bool one =
                name == "2.body.1.weight" || name == "2.body.1.running_var" || name == "2.body.3.weight";
            CHECK(values == std::vector<float>(values.size(), one ? 1.0f : 0.0f));
        }
    }
    CHECK(checked == 4);

    for (const int threads : {2, 3}) {
        Job same(source, {.batch = 5, .threads = threads, .lanes = 2, .seed = 5});
        Job other(source, {.batch = 8, .threads = threads, .seed = 6});
        for (std::size_t p = 0; p < job.parameters().size(); ++p) {
            CHECK(same_bits(job.parameter(p), same.parameter(p)));
            if (bound_of(job.parameters()[p].name) > 0)
                CHECK_FALSE(same_bits(job.parameter(p), other.parameter(p)));
        }
    }
}

// ------------------------------------------------------------------------------------------ dropout

TEST_CASE("dropout's mask belongs to seed, step, sample and element") {
    constexpr Shape shape{13, 11, 5}; // not a multiple of anything
    constexpr int images = 40;
    const auto size = static_cast<std::size_t>(shape.size());
    const std::vector<float> ones(size * images, 1.0f);
    Alone<Dropout<0.3_p>> dropout(shape, images, 1);
    dropout.call.step = 7;
    const std::vector<float> first = dropout.forward(ones);

    double kept = 0;
    for (const float value : first) {
        CHECK((value == 0 || value == doctest::Approx(1 / 0.7)));
        kept += value != 0;
    }
    const double n = static_cast<double>(first.size());
    CHECK(std::abs(kept / n - 0.7) < 5 * std::sqrt(0.3 * 0.7 / n)); // five deviations

    CHECK(same_bits(first, dropout.forward(ones)));
    CHECK(same_bits(first, dropout.backward(ones))); // backward draws the same mask

    const auto differing = [&](const std::vector<float>& a, const std::vector<float>& b) {
        double count = 0;
        for (std::size_t i = 0; i < a.size(); ++i) count += (a[i] == 0) != (b[i] == 0);
        return count / static_cast<double>(a.size());
    };
    const double independent = 2 * 0.3 * 0.7;
    dropout.call.step = 8;
    CHECK(differing(first, dropout.forward(ones)) == doctest::Approx(independent).epsilon(0.1));
    dropout.call.step = 7;
    const auto image = [&](std::size_t i) {
        return std::vector<float>(first.begin() + static_cast<std::ptrdiff_t>(i * size),
                                  first.begin() + static_cast<std::ptrdiff_t>((i + 1) * size));
    };
    for (std::size_t i = 1; i < images; ++i)
        CHECK(differing(image(0), image(i)) == doctest::Approx(independent).epsilon(0.35));
    // a slice that begins with image 5 of the batch
    dropout.call.first = 5;
    CHECK(same_bits(image(5), dropout.forward(std::vector<float>(size, 1.0f))));

    Alone<Dropout<0.3_p>> other_seed(shape, images, 2), other_node(shape, images, 1, 2);
    other_seed.call.step = other_node.call.step = 7;
    CHECK(differing(first, other_seed.forward(ones)) == doctest::Approx(independent).epsilon(0.1));
    CHECK(differing(first, other_node.forward(ones)) == doctest::Approx(independent).epsilon(0.1));

    const std::vector<float> pixels = random_values(size * images, 3);
    dropout.call.training = false;
    CHECK(same_bits(dropout.forward(pixels), pixels));
    Alone<Dropout<0_p>> nothing(shape, images);
    CHECK(same_bits(nothing.forward(pixels), pixels));
}

// ------------------------------------------------------------------------------- layers, by hand

TEST_CASE("LeakyRelu and Relu") {
    Alone<LeakyRelu<0.2_p>> leaky({1, 3, 2}, 1);
    check_close(leaky.forward({-2, -0.5, 0, 0.5, 2, -10}), {-0.4, -0.1, 0, 0.5, 2, -2});
    check_close(leaky.backward({1, 2, 3, 4, 5, 6}), {0.2, 0.4, 0.6, 4, 5, 1.2});
    Alone<Relu> relu({1, 3, 1}, 1);
    check_close(relu.forward({-2, 0, 3}), {0, 0, 3});
    check_close(relu.backward({5, 6, 7}), {0, 0, 7});
    CHECK(std::isnan(relu.forward({NAN, 1, 1})[0])); // a broken loss must show
}

TEST_CASE("AveragePool counts padding, as PyTorch does") {
    Alone<AveragePool<2, 2, 1>> pool({3, 3, 1}, 1);
    check_close(pool.forward({1, 2, 3, 4, 5, 6, 7, 8, 9}), {0.25, 1.25, 2.75, 7});
    check_close(pool.backward({4, 8, 12, 16}), {1, 2, 2, 3, 4, 4, 3, 4, 4});
    Alone<AveragePool<2, 1>> overlapping({2, 3, 2}, 1); // channels 1 ... 6 and 10 ... 60
    check_close(overlapping.forward({1, 10, 2, 20, 3, 30, 4, 40, 5, 50, 6, 60}), {3, 30, 4, 40});
    check_close(overlapping.backward({4, 0, 8, 40}), {1, 0, 3, 10, 2, 10, 1, 0, 3, 10, 2, 10});
}

TEST_CASE("MaxPool ignores padding, the first of equals wins") {
    Alone<MaxPool<3, 2, 1>> pool({4, 4, 1}, 1);
    check_close(pool.forward({-1, -2, -3, -4, -5, -6, -7, -8, -9, -10, -11, -12, -13, -14, -15, -16}),
                {-1, -2, -5, -6});
    check_close(pool.backward({1, 2, 3, 4}), {1, 2, 0, 0, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
    Alone<MaxPool<2>> equals({2, 3, 1}, 1); // the last column is truncated
    check_close(equals.forward({5, 5, 9, 5, 5, 9}), {5});
    check_close(equals.backward({3}), {3, 0, 0, 0, 0, 0});
}

TEST_CASE("GlobalAveragePool") {
    Alone<GlobalAveragePool> pool({2, 3, 2}, 2);
    check_close(pool.forward({1,  10, 2,  20, 3,  30, 4,  40, 5,  50, 6,  60, // (2, 3, 2)
                              -1, 0,  -1, 0,  -1, 0,  -1, 0,  -1, 0,  -1, 6}),
                {3.5, 35, -1, 1});
    check_close(pool.backward({6, 12, -6, 0}),
                {1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, -1, 0, -1, 0, -1, 0, -1, 0, -1, 0, -1, 0});
}

TEST_CASE("Flatten puts channels first, as PyTorch lays pictures out") {
    constexpr Shape shape{2, 3, 4};
    Alone<Flatten> flatten(shape, 2);
    std::vector<float> x, dy;
    std::vector<double> y;
    for (int n = 0; n < 2; ++n)
        for (int h = 0; h < shape.height; ++h)
            for (int w = 0; w < shape.width; ++w)
                for (int c = 0; c < shape.channels; ++c)
                    x.push_back(static_cast<float>(1000 * n + 100 * c + 10 * h + w));
    for (int n = 0; n < 2; ++n)
        for (int c = 0; c < shape.channels; ++c)
            for (int h = 0; h < shape.height; ++h)
                for (int w = 0; w < shape.width; ++w) {
                    y.push_back(1000 * n + 100 * c + 10 * h + w);
                    dy.push_back(static_cast<float>(y.back()));
                }
    check_close(flatten.forward(x), y);
    CHECK(flatten.backward(dy) == x);
}

TEST_CASE("BatchNorm: the batch's statistics in training, running ones in evaluation") {
    Alone<BatchNorm> norm({1, 2, 2}, 2); // channel 0: 1, 3, 5, 7; channel 1: 2, 2, 2, 10
    norm.fill(0, {1, 2});
    norm.fill(1, {0, -1});
    norm.fill(2, {0, 0});
    norm.fill(3, {1, 1});
    const std::vector<float> x = {1, 2, 3, 2, 5, 2, 7, 10};
    const auto normalised = [&](const double(&mean)[2], const double(&variance)[2]) {
        std::vector<double> out;
        for (std::size_t i = 0; i < x.size(); ++i) {
            const double z = (x[i] - mean[i % 2]) / std::sqrt(variance[i % 2] + 1e-5);
            out.push_back(i % 2 == 0 ? z : 2 * z - 1);
        }
        return out;
    };
    check_close(norm.forward(x), normalised({4, 4}, {5, 12})); // biased variance
    const double means[2] = {0.4, 0.4}, variances[2] = {0.9 + 0.1 * 20 / 3, 0.9 + 0.1 * 16};
    // The gradient is orthogonal to a shift and to a scaling of the input.
    const std::vector<float> dx = norm.backward({1, 0, 0, 1, -2, 3, 0.5, -1});
    for (std::size_t c = 0; c < 2; ++c) {
        double shift = 0, scaling = 0, size = 0;
        for (std::size_t i = c; i < x.size(); i += 2) {
            shift += dx[i];
            scaling += static_cast<double>(dx[i]) * (x[i] - 4);
            size += std::abs(static_cast<double>(dx[i]));
        }
        CHECK(size > 0.1);
        CHECK(std::abs(shift) < 1e-5);
        CHECK(std::abs(scaling) < 1e-4);
    }
    CHECK(norm.call.gradients[1][0] == doctest::Approx(-0.5)); // of the bias: the sum of dy
    CHECK(norm.call.gradients[1][1] == doctest::Approx(3));
    for (std::size_t c = 0; c < 2; ++c) { // not before the step is made
        CHECK(norm.call.parameters[2][c] == 0);
        CHECK(norm.call.parameters[3][c] == 1);
    }
    norm.settle();
    for (std::size_t c = 0; c < 2; ++c) { // moved by 0.1, unbiased variance
        CHECK(norm.call.parameters[2][c] == doctest::Approx(means[c]));
        CHECK(norm.call.parameters[3][c] == doctest::Approx(variances[c]));
    }
    norm.call.training = false;
    check_close(norm.forward(x), normalised(means, variances));
    CHECK(norm.call.parameters[2][0] == doctest::Approx(0.4)); // evaluation moves nothing
}

TEST_CASE("a layer of one's own, by hand") {
    Alone<ExampleLayer> swish({1, 2, 2}, 1);
    std::vector<double> expected, slopes;
    const std::vector<float> x = {-3, -0.5, 0, 2};
    for (const double v : x) {
        const double s = 1 / (1 + std::exp(-v));
        expected.push_back(v * s);
        slopes.push_back(s + v * s * (1 - s));
    }
    check_close(swish.forward(x), expected);
    check_close(swish.backward({1, 1, 1, 1}), slopes);
}

// ------------------------------------------------------------------------------------------- losses

namespace {

/// Softmax cross-entropy in double precision, by its definition.
double cross_entropy(const std::vector<float>& logits, int label, double smoothing) {
    long double sum = 0, largest = logits[0];
    for (const float z : logits) largest = std::max<long double>(largest, z);
    for (const float z : logits) sum += std::exp(z - largest);
    long double loss = 0;
    for (std::size_t c = 0; c < logits.size(); ++c) {
        const long double log_probability = logits[c] - largest - std::log(sum);
        const double target = (static_cast<int>(c) == label ? 1 - smoothing : 0.0) +
                              smoothing / static_cast<double>(logits.size());
        loss -= target * log_probability;
    }
    return static_cast<double>(loss);
}

/// A loss's gradient against central differences of the loss.
template <class Loss>
void check_loss_gradient(const std::vector<float>& logits, Label label) {
    const int count = static_cast<int>(logits.size());
    std::vector<float> gradient(logits.size());
    Loss::gradient(logits.data(), gradient.data(), count, label, 3.0);
    for (std::size_t c = 0; c < logits.size(); ++c) {
        std::vector<float> above = logits, below = logits;
        above[c] += 0.0078125f; // exact in float
        below[c] -= 0.0078125f;
        const double difference =
            (Loss::loss(above.data(), count, label).loss - Loss::loss(below.data(), count, label).loss) /
            (static_cast<double>(above[c]) - below[c]);
        CHECK(std::abs(gradient[c] - 3 * difference) < 1e-4);
    }
}

template <class Loss>
void check_extremes(const std::vector<float>& logits, Label label, double expected) {
    const int count = static_cast<int>(logits.size());
    CHECK(Loss::loss(logits.data(), count, label).loss == doctest::Approx(expected));
    std::vector<float> gradient(logits.size()), probabilities(logits.size());
    Loss::gradient(logits.data(), gradient.data(), count, label, 1);
    Loss::probabilities(logits.data(), probabilities.data(), count);
    for (std::size_t c = 0; c < logits.size(); ++c) {
        CHECK(std::abs(gradient[c]) <= 1);
        CHECK(probabilities[c] >= 0);
        CHECK(probabilities[c] <= 1);
    }
}

} // namespace

TEST_CASE("softmax cross-entropy, with and without label smoothing") {
    using Smoothed = SoftmaxCrossEntropy<0.1_p>;
    for (std::uint64_t trial = 0; trial < 20; ++trial) {
        const auto classes = static_cast<std::size_t>(2 + trial % 9);
        const std::vector<float> logits = random_values(classes, trial, -6, 6);
        const auto label = static_cast<Label>(trial % classes);
        const int count = static_cast<int>(classes);
        const RowLoss row = SoftmaxCrossEntropy<>::loss(logits.data(), count, label);
        CHECK(row.loss == doctest::Approx(cross_entropy(logits, label, 0)).epsilon(1e-12));
        CHECK(Smoothed::loss(logits.data(), count, label).loss ==
              doctest::Approx(cross_entropy(logits, label, 0.1)).epsilon(1e-12));
        const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
        CHECK(row.correct == (best == label));
        check_loss_gradient<SoftmaxCrossEntropy<>>(logits, label);
        check_loss_gradient<Smoothed>(logits, label);
        std::vector<float> probabilities(classes);
        SoftmaxCrossEntropy<>::probabilities(logits.data(), probabilities.data(), count);
        double sum = 0;
        for (std::size_t c = 0; c < classes; ++c) {
            sum += probabilities[c];
            CHECK(probabilities[c] ==
                  doctest::Approx(std::exp(-cross_entropy(logits, static_cast<int>(c), 0))).epsilon(1e-6));
        }
        CHECK(sum == doctest::Approx(1));
    }
    const float equal[3] = {2, 2, 1}; // the first of equals is the answer
    CHECK(SoftmaxCrossEntropy<>::loss(equal, 3, 0).correct);
    CHECK_FALSE(SoftmaxCrossEntropy<>::loss(equal, 3, 1).correct);

    check_extremes<SoftmaxCrossEntropy<>>({1e4f, -1e4f, 0}, 0, 0);
    check_extremes<SoftmaxCrossEntropy<>>({1e4f, -1e4f, 0}, 1, 2e4);
    check_extremes<SoftmaxCrossEntropy<>>({-1e4f, -1e4f}, 1, std::log(2.0));
    check_extremes<Smoothed>({1e4f, -1e4f}, 0, 0.05 * 2e4);
    const float broken[2] = {NAN, 1};
    CHECK(std::isnan(SoftmaxCrossEntropy<>::loss(broken, 2, 1).loss));
    CHECK(std::isnan(SoftmaxCrossEntropy<>::loss(broken, 2, 0).loss));
}

TEST_CASE("binary cross-entropy on one logit") {
    for (const float z : {-30.0f, -4.0f, -0.25f, 0.0f, 0.5f, 3.0f, 20.0f}) {
        const double p = 1 / (1 + std::exp(-static_cast<double>(z)));
        CHECK(BinaryCrossEntropy::loss(&z, 1, 1).loss == doctest::Approx(-std::log(p)).epsilon(1e-9));
        CHECK(BinaryCrossEntropy::loss(&z, 1, 0).loss ==
              doctest::Approx(std::log1p(std::exp(static_cast<double>(z)))).epsilon(1e-9));
        CHECK(BinaryCrossEntropy::loss(&z, 1, 1).correct == (z > 0));
        CHECK(BinaryCrossEntropy::loss(&z, 1, 0).correct == (z <= 0));
        float probability = 0;
        BinaryCrossEntropy::probabilities(&z, &probability, 1);
        CHECK(static_cast<double>(probability) == doctest::Approx(p).epsilon(1e-6));
        check_loss_gradient<BinaryCrossEntropy>({z}, 0);
        check_loss_gradient<BinaryCrossEntropy>({z}, 1);
    }
    check_extremes<BinaryCrossEntropy>({1e4f}, 1, 0);
    check_extremes<BinaryCrossEntropy>({1e4f}, 0, 1e4);
    check_extremes<BinaryCrossEntropy>({-1e4f}, 1, 1e4);
    check_extremes<BinaryCrossEntropy>({-1e4f}, 0, 0);
    const float broken = NAN;
    CHECK(std::isnan(BinaryCrossEntropy::loss(&broken, 1, 1).loss));
    CHECK(std::isnan(BinaryCrossEntropy::loss(&broken, 1, 0).loss));
}

TEST_CASE("a loss of one's own") {
    check_loss_gradient<SquaredError>({0.5f, -1, 2}, 1);
    const float logits[3] = {0.5f, -1, 2};
    CHECK(SquaredError::loss(logits, 3, 2).loss == doctest::Approx((0.25 + 1 + 1) / 2));
}

// --------------------------------------------------------------------------------------- optimizers

namespace {

/// Follows one weight for 20 steps of made-up gradients, beside `reference`: (w, g, a, b, t) in double
/// precision, written as PyTorch documents it.
template <class Optimizer, class Reference>
void check_optimizer_against(const Optimizer& optimizer, Reference reference) {
    for (const double size : {1e-7, 1e-3, 1.0, 30.0}) { // small ones show where epsilon stands
        CAPTURE(size);
        float weight = 0.5f, first = 0, second = 0;
        double w = 0.5, a = 0, b = 0, moved = 0;
        for (std::uint64_t t = 1; t <= 20; ++t) {
            const auto gradient = static_cast<float>(size * (std::sin(2.0 * static_cast<double>(t)) + 0.3));
            const double before = w;
            optimizer.rule(t)(weight, gradient, first, second);
            reference(w, static_cast<double>(gradient), a, b, static_cast<double>(t));
            moved += std::abs(w - before);
            CAPTURE(t);
            CHECK(std::abs(weight - w) < 2e-5 * moved + 3e-7);
        }
    }
}

} // namespace

TEST_CASE("optimizers are PyTorch's") {
    for (const bool nesterov : {false, true})
        for (const double decay : {0.0, 0.02})
            check_optimizer_against(
                Sgd{.learning_rate = 0.05, .momentum = 0.9, .weight_decay = decay, .nesterov = nesterov},
                [&](double& w, double g, double& buffer, double&, double t) {
                    g += decay * w;
                    buffer = t == 1 ? g : 0.9 * buffer + g;
                    w -= 0.05 * (nesterov ? g + 0.9 * buffer : buffer);
                });
    check_optimizer_against(Sgd{.learning_rate = 0.1},
                            [](double& w, double g, double&, double&, double) { w -= 0.1 * g; });

    const auto adam = [](double& w, double g, double& m, double& v, double t) {
        m = 0.9 * m + 0.1 * g;
        v = 0.999 * v + 0.001 * g * g;
        const double corrected = m / (1 - std::pow(0.9, t));
        w -= 1e-3 * corrected / (std::sqrt(v / (1 - std::pow(0.999, t))) + 1e-8);
    };
    check_optimizer_against(Adam{}, adam);
    check_optimizer_against(Adam{.weight_decay = 0.1}, [&](double& w, double g, double& m, double& v,
                                                           double t) { adam(w, g + 0.1 * w, m, v, t); });
    check_optimizer_against(AdamW{}, [&](double& w, double g, double& m, double& v, double t) {
        w -= 1e-3 * 1e-2 * w;
        adam(w, g, m, v, t);
    });
    check_optimizer_against(Adam{.learning_rate = 0.01, .beta1 = 0.8, .beta2 = 0.95, .epsilon = 1e-3},
                            [](double& w, double g, double& m, double& v, double t) {
                                m = 0.8 * m + 0.2 * g;
                                v = 0.95 * v + 0.05 * g * g;
                                const double root = std::sqrt(v / (1 - std::pow(0.95, t)));
                                w -= 0.01 * (m / (1 - std::pow(0.8, t))) / (root + 1e-3);
                            });
    check_optimizer_against(RmsProp{.learning_rate = 1e-3, .weight_decay = 0.1},
                            [](double& w, double g, double& v, double&, double) {
                                g += 0.1 * w;
                                v = 0.99 * v + 0.01 * g * g;
                                w -= 1e-3 * g / (std::sqrt(v) + 1e-8);
                            });
    static_assert(Sgd{}.learning_rate == 1e-3 && Sgd{}.momentum == 0 && !Sgd{}.nesterov);
    static_assert(Adam{}.learning_rate == 1e-3 && Adam{}.beta1 == 0.9 && Adam{}.beta2 == 0.999 &&
                  Adam{}.epsilon == 1e-8 && Adam{}.weight_decay == 0);
    static_assert(AdamW{}.learning_rate == 1e-3 && AdamW{}.weight_decay == 1e-2);
    static_assert(RmsProp{}.learning_rate == 1e-2 && RmsProp{}.alpha == 0.99 && RmsProp{}.epsilon == 1e-8);
}

// -------------------------------------------------------------------------------- types of one's own

TEST_CASE("a model, source, precision and device of one's own train as the library's do") {
    const ExampleSource source(48);
    const auto losses = [&](auto& job) {
        std::vector<double> out;
        const History history = job.fit(
            {.epochs = 2, .progress = false, .handle_interrupts = false, .on_step = [&](auto& record) {
                 out.push_back(record.metrics.loss);
                 return Control::proceed;
             }});
        CHECK(history.epochs.size() == 2);
        return out;
    };
    const Settings settings{.batch = 20, .seed = 3}; // 48 = 20 + 20 + 8
    Trainer<ExampleModel, ExampleSource, ExamplePrecision, ExampleDevice> own(source, settings);
    Trainer<ExampleModel, ExampleSource, Float, Host> library(source, settings);
    CHECK(support::contains(own.plan().picture.title, "ExamplePrecision on ExampleDevice"));
    const double before = own.evaluate(source).loss;
    const std::vector<double> found = losses(own), expected = losses(library);
    REQUIRE(found.size() == 6);
    for (std::size_t i = 0; i < found.size(); ++i)
        CHECK(found[i] == doctest::Approx(expected[i]).epsilon(1e-5));
    CHECK(own.evaluate(source).loss < before);
    CHECK(own.evaluate(source).loss == doctest::Approx(library.evaluate(source).loss).epsilon(1e-5));
}

TEST_CASE("layers of one's own train inside a net, their gradients match central differences") {
    const Corners source;
    using Job = Trainer<Smooth, Corners, Float, Host, SquaredError, SignSgd>;
    constexpr int batch = 7;
    Job still(source, {.batch = batch, .lanes = 3, .seed = 2}, {.learning_rate = 0});
    std::vector<std::uint64_t> samples(batch);
    std::vector<float> images(static_cast<std::size_t>(source.shape().size()) * batch);
    std::vector<Label> labels(batch);
    for (std::size_t i = 0; i < samples.size(); ++i) samples[i] = 5 * i + 1;
    source.read(samples, images, labels);
    check_gradients(still, images, labels);
}

TEST_CASE("a source, a loss and an optimizer of one's own train") {
    const Corners source;
    using Job = Trainer<Smooth, Corners, Float, Host, SquaredError, SignSgd>;
    Job job(source, {.batch = 12, .seed = 1}, {.learning_rate = 3e-3});
    const Metrics before = job.evaluate(source);
    const History history = job.fit({.epochs = 15, .progress = false, .handle_interrupts = false});
    const Metrics after = job.evaluate(source);
    CHECK(history.epochs.size() == 15);
    CHECK(after.loss < before.loss / 2);
    CHECK(after.accuracy > 0.9);
}

TEST_CASE("docs/extending.md shows code that is compiled") {
    const std::string root = PLIMSOLL_SOURCE_DIR;
    std::string compiled;
    for (const char* file : {"tests/model_test.cpp", "include/plimsoll/model/example_layer.hpp",
                             "include/plimsoll/model/example_precision.hpp"})
        compiled += read_all(root + "/" + file);
    const std::string page = read_all(root + "/docs/extending.md");
    bool code = false;
    int lines = 0;
    for (std::size_t at = 0; at < page.size();) {
        const std::string line = page.substr(at, page.find('\n', at) - at);
        at += line.size() + 1;
        if (line.starts_with("```")) {
            code = line == "```c++";
        } else if (code && line.find("// ...") == line.npos) {
            ++lines;
            CHECK_MESSAGE(compiled.find(line + "\n") != compiled.npos, "not compiled: " << line);
        }
    }
    CHECK(lines > 50);
}
