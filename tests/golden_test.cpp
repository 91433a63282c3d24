// Trajectories computed by PyTorch in float64: the truth for layers, losses and optimizers.
#include "cuts.hpp"
#include "support.hpp"

#include <device_under_test.hpp>
#include <plimsoll/format/json.hpp>
#include <plimsoll/format/npy.hpp>
#include <plimsoll/format/safetensors.hpp>

#include <cmath>

using namespace plimsoll;

namespace {

using Plain = Sequential<Image<20, 20, 3>, Conv2d<8, 3>, Relu, MaxPool<2>, Conv2d<16, 3, 1, 1>, Relu,
                         MaxPool<2>, Flatten, Dense<32>, Relu, Dense<5>>;

using Block = Residual<
    Sequential<Conv2d<8, 3, 1, 1, no_bias>, BatchNorm, Relu, Conv2d<8, 3, 1, 1, no_bias>, BatchNorm>>;
using Down = Residual<Sequential<Conv2d<16, 3, 2, 1, no_bias>, BatchNorm>,
                      Sequential<Conv2d<16, 1, 2, 0, no_bias>, BatchNorm>>;
using ResidualNet = Sequential<Image<16, 16, 3>, Conv2d<8, 3, 1, 1, no_bias>, BatchNorm, Relu, Block, Relu,
                               Down, Relu, GlobalAveragePool, Flatten, Dense<4>>;

using Binary = Sequential<Image<15, 13, 3>, Conv2d<6, 3>, Relu, MaxPool<2>, Conv2d<10, 3>, Relu,
                          AveragePool<2>, Flatten, Dense<12>, Relu, Dense<1>>;

/// The folder of trajectories: PLIMSOLL_GOLDEN, else the reference data's.
std::optional<std::string> golden_folder() {
    if (const char* named = std::getenv("PLIMSOLL_GOLDEN")) {
        REQUIRE_MESSAGE(std::filesystem::exists(named),
                        "PLIMSOLL_GOLDEN names no folder: " << std::string(named));
        return named;
    }
    return support::reference_path("golden");
}

std::string read_text(const std::string& path) { return read_all(path); }

double number(const Json& json) {
    if (const auto* integer = json.as<std::int64_t>()) return static_cast<double>(*integer);
    const auto* real = json.as<double>();
    REQUIRE(real != nullptr);
    return *real;
}

template <class T>
std::vector<T> read_array(const std::string& path, std::vector<std::uint64_t>& shape) {
    const File file(path);
    const NpyHeader header = read_npy_header(file);
    shape = header.shape;
    std::uint64_t size = 1;
    for (const std::uint64_t extent : shape) size *= extent;
    std::vector<T> values(size);
    file.read_at(header.data_offset, std::span(values));
    return values;
}

/// One network's trajectories.
struct Golden {
    std::string prefix;
    Json info;
    std::vector<std::uint64_t> shape; // (steps, N, H, W, C)
    std::vector<float> images;        // (steps, N, H, W, C)
    std::vector<std::int64_t> labels; // (steps, N)

    Golden(const std::string& folder, const std::string& net)
        : prefix(folder + "/" + net), info(parse_json(read_text(prefix + ".json"), prefix + ".json")) {
        images = read_array<float>(prefix + ".images.npy", shape);
        std::vector<std::uint64_t> label_shape;
        labels = read_array<std::int64_t>(prefix + ".labels.npy", label_shape);
        REQUIRE(shape.size() == 5);
        REQUIRE(label_shape == std::vector<std::uint64_t>{shape[0], shape[1]});
    }
    double setting(const std::string& optimizer, const std::string& name) const {
        return number(*info.find("settings")->find(optimizer)->find(name));
    }
};

/// Squared norms of a difference and of the truth.
struct Distance {
    double difference = 0, norm = 0;

    /// Relative to the truth's norm.
    [[nodiscard]] double relative() const { return std::sqrt(difference / norm); }
    Distance& operator+=(const Distance& other) {
        difference += other.difference;
        norm += other.norm;
        return *this;
    }
};

/// The distance of a tensor to the file's.
Distance distance(const SafetensorsFile& truth, const std::string& name, const std::vector<float>& values) {
    std::vector<float> expected(values.size());
    truth.read_f32(name, expected);
    Distance out;
    for (std::size_t i = 0; i < values.size(); ++i) {
        const double d = static_cast<double>(values[i]) - expected[i];
        out.difference += d * d;
        out.norm += static_cast<double>(expected[i]) * expected[i];
    }
    return out;
}

/// How close a trajectory must stay.
struct Tolerance {
    double loss = 1e-4;             ///< of each step, relative
    double gradient = 1e-5;         ///< of each parameter's first, relative to its norm
    double weights = 1e-3;          ///< of each parameter's last, relative to its norm
    double adaptive_loss = 1e-4;    ///< the same where a small gradient moves a weight as far as a large one:
    double adaptive_weights = 5e-3; ///< RMSprop's loss, Adam's weights
};

template <class Net, class Precision, class Optimizer>
void follow(const Golden& golden, const std::string& name, const Optimizer& optimizer, double loss_tolerance,
            double gradient_tolerance, double weight_tolerance) {
    CAPTURE(name);
    CAPTURE(Precision::name);
    const Shape shape = Net::input;
    REQUIRE(golden.shape[2] == static_cast<std::uint64_t>(shape.height));
    REQUIRE(golden.shape[3] == static_cast<std::uint64_t>(shape.width));
    const auto batch = static_cast<std::size_t>(golden.shape[1]);
    const InMemory<float> nothing(std::vector<float>(static_cast<std::size_t>(shape.size())), shape, {0});
    Trainer<Net, InMemory<float>, Precision, DeviceUnderTest, DefaultLoss<Net>, Optimizer> job(
        nothing, {.batch = static_cast<int>(batch)}, optimizer);
    job.load(golden.prefix + ".init.safetensors");
    const auto* losses = golden.info.find("losses")->find(name)->template as<Json::Array>();
    REQUIRE(losses->size() == golden.shape[0]);
    const std::size_t image = static_cast<std::size_t>(shape.size());
    double worst = 0;
    for (std::size_t step = 0; step < losses->size(); ++step) {
        const std::vector<Label> labels(golden.labels.begin() + static_cast<std::ptrdiff_t>(step * batch),
                                        golden.labels.begin() +
                                            static_cast<std::ptrdiff_t>((step + 1) * batch));
        const StepRecord record =
            job.step(std::span(golden.images).subspan(step * batch * image, batch * image), labels);
        CAPTURE(step);
        const double expected = number((*losses)[step]);
        CHECK(std::abs(record.metrics.loss - expected) <= loss_tolerance * expected);
        CHECK(!record.skipped);
        worst = std::max(worst, std::abs(record.metrics.loss - expected) / expected);
        if (step > 0) continue;
        const SafetensorsFile gradients(golden.prefix + ".grad.safetensors");
        for (std::size_t p = 0; p < job.parameters().size(); ++p) {
            if (!job.parameters()[p].facts.trainable) continue;
            CAPTURE(job.parameters()[p].name);
            CHECK(distance(gradients, job.parameters()[p].name, job.gradient(p)).relative() <
                  gradient_tolerance);
        }
    }
    const SafetensorsFile weights(golden.prefix + "." + name + ".final.safetensors");
    for (std::size_t p = 0; p < job.parameters().size(); ++p) {
        CAPTURE(job.parameters()[p].name);
        CHECK(distance(weights, job.parameters()[p].name, job.parameter(p)).relative() < weight_tolerance);
    }
    if (sizeof(typename Precision::Storage) == 2)
        MESSAGE(std::string(Precision::name)
                << ", " << name << ": losses within " << worst << " of float64's");
}

template <class Net, class Precision = Float>
void follow_all(const std::string& net, const Tolerance& most = {}) {
    const auto folder = golden_folder();
    if (!folder) {
        std::printf("SKIPPED: the golden trajectories are not there\n");
        return;
    }
    const Golden golden(*folder, net);
    const auto of = [&](const char* optimizer, const char* name) { return golden.setting(optimizer, name); };
    const auto run = [&](const char* name, const auto& optimizer, double loss, double weights) {
        follow<Net, Precision>(golden, name, optimizer, loss, most.gradient, weights);
    };
    run("sgd",
        Sgd{.learning_rate = of("sgd", "lr"),
            .momentum = of("sgd", "momentum"),
            .weight_decay = of("sgd", "weight_decay")},
        most.loss, most.weights);
    run("nesterov",
        Sgd{.learning_rate = of("nesterov", "lr"), .momentum = of("nesterov", "momentum"), .nesterov = true},
        most.loss, most.weights);
    run("adam",
        Adam{.learning_rate = of("adam", "lr"),
             .beta1 = of("adam", "beta1"),
             .beta2 = of("adam", "beta2"),
             .epsilon = of("adam", "epsilon")},
        most.loss, most.adaptive_weights);
    run("adamw",
        AdamW{.learning_rate = of("adamw", "lr"),
              .beta1 = of("adamw", "beta1"),
              .beta2 = of("adamw", "beta2"),
              .epsilon = of("adamw", "epsilon"),
              .weight_decay = of("adamw", "weight_decay")},
        most.loss, most.adaptive_weights);
    run("rmsprop",
        RmsProp{.learning_rate = of("rmsprop", "lr"),
                .alpha = of("rmsprop", "alpha"),
                .epsilon = of("rmsprop", "epsilon")},
        most.adaptive_loss, most.weights);
}

/// In 16 bits: the losses, and roughly where the weights go.
constexpr Tolerance sixteen_bits{
    .loss = 0.02, .gradient = 0.25, .weights = 0.5, .adaptive_loss = 0.1, .adaptive_weights = 0.5};

/// The distances of the first step's gradients to the file's: of each parameter, then of all together.
template <class Net>
std::vector<double> first_gradients(const Golden& golden, const SafetensorsFile& truth, const Cut& cut,
                                    int threads) {
    const Shape shape = Net::input;
    const auto batch = static_cast<std::size_t>(golden.shape[1]);
    const InMemory<float> nothing(std::vector<float>(static_cast<std::size_t>(shape.size())), shape, {0});
    Trainer<Net, InMemory<float>, Float, DeviceUnderTest> job(
        nothing, {.batch = static_cast<int>(batch), .threads = threads}, cut);
    job.load(golden.prefix + ".init.safetensors");
    const std::vector<Label> labels(golden.labels.begin(),
                                    golden.labels.begin() + static_cast<std::ptrdiff_t>(batch));
    job.step(std::span(golden.images).first(batch * static_cast<std::size_t>(shape.size())), labels);
    std::vector<double> out;
    Distance all;
    for (std::size_t p = 0; p < job.parameters().size(); ++p) {
        if (!job.parameters()[p].facts.trainable) continue;
        const Distance one = distance(truth, job.parameters()[p].name, job.gradient(p));
        out.push_back(one.relative());
        all += one;
    }
    out.push_back(all.relative());
    return out;
}

/// However the step is cut, its gradient is at most twice as far from float64's as the unsliced one is.
template <class Net>
void cut_all(const std::string& net) {
    const auto folder = golden_folder();
    if (!folder) {
        std::printf("SKIPPED: the golden trajectories are not there\n");
        return;
    }
    // A few roundings of a float, which the file's numbers have too. In a tensor of a dozen numbers a few
    // more are luck.
    constexpr double rounding = 2e-7, tensor_rounding = 1e-6;
    const Golden golden(*folder, net);
    const SafetensorsFile truth(golden.prefix + ".grad.safetensors");
    const int batch = static_cast<int>(golden.shape[1]);
    const bool coupled =
        Blueprint<Net, float, Float, DeviceUnderTest, DefaultLoss<Net>, 2, true>::couples_images();
    const std::vector<double> whole = first_gradients<Net>(golden, truth, support::unsliced(batch), 1);
    double worst = 0;
    int turn = 0;
    for (const Cut& cut : support::cuts(batch, coupled)) {
        CAPTURE(cut.micro_batch);
        CAPTURE(cut.lanes);
        CAPTURE(cut.slice_bytes);
        CAPTURE(cut.recompute);
        const std::vector<double> errors = first_gradients<Net>(golden, truth, cut, 1 + turn++ % 2);
        REQUIRE(errors.size() == whole.size());
        CHECK(errors.back() <= std::max(2 * whole.back(), rounding));
        for (std::size_t i = 0; i + 1 < errors.size(); ++i) {
            CAPTURE(i);
            CHECK(errors[i] <= std::max(2 * whole[i], tensor_rounding));
        }
        worst = std::max(worst, errors.back());
    }
    MESSAGE("distance to float64: " << worst << " of the gradient's norm at most, " << whole.back()
                                    << " unsliced");
}

} // namespace

TEST_CASE("golden plain: convolutions, pooling, softmax") { follow_all<Plain>("plain"); }
TEST_CASE("golden residual: batch normalisation, projections") { follow_all<ResidualNet>("residual"); }
TEST_CASE("golden binary: one logit, odd sizes") { follow_all<Binary>("binary"); }

TEST_CASE("golden plain: BFloat16 and Half") {
    if (computes<BFloat16>()) follow_all<Plain, BFloat16>("plain", sixteen_bits);
    follow_all<Plain, Half>("plain", sixteen_bits);
}
TEST_CASE("golden residual: BFloat16 and Half") {
    if (computes<BFloat16>()) follow_all<ResidualNet, BFloat16>("residual", sixteen_bits);
    follow_all<ResidualNet, Half>("residual", sixteen_bits);
}
TEST_CASE("golden binary: BFloat16 and Half") {
    if (computes<BFloat16>()) follow_all<Binary, BFloat16>("binary", sixteen_bits);
    follow_all<Binary, Half>("binary", sixteen_bits);
}

TEST_CASE("golden plain: gradients of all cuts") { cut_all<Plain>("plain"); }
TEST_CASE("golden residual: gradients of all cuts") { cut_all<ResidualNet>("residual"); }
TEST_CASE("golden binary: gradients of all cuts") { cut_all<Binary>("binary"); }
