/// \file
/// Jobs on the Cuda device beside the same jobs on the Host: what they learn, the memory they take, that they
/// repeat to the bit, and how they fail.

#include "support.hpp"

#include <device_under_test.hpp>

#if __has_include("emulation.hpp")
#include "emulation.hpp"
#endif

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <thread>

using namespace plimsoll;

namespace {

// What only the emulation can tell.
#if __has_include("emulation.hpp")
constexpr bool emulated = true;
int allocations_made() { return emulation::device_allocations().made; }
int passes_repeated() { return emulation::launched_recordings(); }
void copies_run(bool late) {
    emulation::set_order(late ? emulation::Others::late : emulation::Others::eager);
}
#else
constexpr bool emulated = false;
int allocations_made() { return 0; }
int passes_repeated() { return 0; }
void copies_run(bool) {}
#endif

/// Of the device's memory, by anybody.
std::int64_t bytes_in_use() {
    std::size_t free = 0, total = 0;
    REQUIRE(cudaMemGetInfo(&free, &total) == cudaSuccess);
    return static_cast<std::int64_t>(total - free);
}
/// What it comes down to: a desktop on the same GPU takes some for a while.
bool bytes_in_use_fall_to(std::int64_t most) {
    for (int tries = 0; tries < 50 && bytes_in_use() > most; ++tries)
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
    return bytes_in_use() <= most;
}

// Convolutions, a block over the whole batch, dropout, an odd number of everything.
using Mixed =
    Sequential<Image<10, 9, 3>, Conv2d<8, 3, 1, 1, no_bias>, BatchNorm, Relu,
               Residual<Sequential<Conv2d<8, 3, 1, 1, no_bias>, BatchNorm>>, Relu, MaxPool<2>, Conv2d<6, 3>,
               LeakyRelu<>, AveragePool<2, 1>, Flatten, Dropout<0.2_p>, Dense<9>, Relu, Dense<3>>;
// Images that know nothing of each other, so that a budget makes micro-batches.
using Plain = Sequential<Image<11, 8, 3>, Conv2d<5, 3>, Relu, MaxPool<2>, Conv2d<7, 3, 1, 1>, Relu, Flatten,
                         Dropout<0.25_p>, Dense<9>, Relu, Dense<1>>;
template <class Net>
constexpr int classes = DefaultLoss<Net>::classes(output_shape<Net>);

template <class Net, class Precision, class Device, class Loss = DefaultLoss<Net>, class Optimizer = Adam>
using Job = Trainer<Net, InMemory<u8>, Precision, Device, Loss, Optimizer>;

/// Pictures whose brightness tells their class, with noise.
template <class Net>
InMemory<u8> pictures(std::size_t count) {
    const auto pixels = static_cast<std::size_t>(Net::input.size());
    std::vector<u8> images; // (count, H, W, C)
    std::vector<Label> labels;
    for (std::uint32_t i = 0; i < count; ++i) {
        labels.push_back(static_cast<Label>(i % classes<Net>));
        for (std::uint32_t p = 0; p < pixels; ++p)
            images.push_back(
                static_cast<u8>(40 + 50 * labels.back() + static_cast<int>(philox({p, i, 0, 0}, 7).x >> 25)));
    }
    return InMemory<u8>(std::move(images), Net::input, std::move(labels));
}

/// A source's first pictures, for `step`.
template <class J>
StepRecord step(J& job, const InMemory<u8>& data, std::size_t count) {
    std::vector<u8> images(count * static_cast<std::size_t>(data.shape().size()));
    std::vector<Label> labels(count);
    std::vector<std::uint64_t> samples;
    while (samples.size() < count) samples.push_back(samples.size());
    data.read(samples, images, labels);
    return job.step(images, labels);
}

FitOptions quiet(int epochs, bool shuffle = true) {
    return {.epochs = epochs, .shuffle = shuffle, .progress = false, .handle_interrupts = false};
}

/// Weights and running statistics.
template <class J>
std::vector<std::vector<float>> state(J& job) {
    std::vector<std::vector<float>> out;
    for (std::size_t p = 0; p < job.parameters().size(); ++p) out.push_back(job.parameter(p));
    return out;
}

/// What a job's user sees.
struct Outcome {
    std::vector<Metrics> metrics; ///< of epochs, evaluations and steps
    std::vector<float> probabilities;
    std::vector<std::vector<float>> state;

    friend bool operator==(const Outcome&, const Outcome&) = default; // bits, as nothing is NaN
};

/// A job's pictures: of three batches the last is ragged.
constexpr int batch = 14;
template <class Net>
struct Pictures {
    InMemory<u8> training = pictures<Net>(33), validation = pictures<Net>(9);
};

/// Epochs, evaluation, prediction, and steps of any size.
template <class J, class Net>
Outcome use(J& job, const Pictures<Net>& data) {
    Outcome out;
    for (const EpochRecord& epoch : job.fit(quiet(3), data.validation).epochs) {
        out.metrics.push_back(epoch.train);
        out.metrics.push_back(epoch.validation);
    }
    CHECK(job.evaluate(data.validation) == out.metrics.back());
    out.metrics.push_back(job.evaluate(data.training));
    for (const std::size_t count : {14, 11, 1, 14, 11})
        out.metrics.push_back(step(job, data.training, count).metrics);
    out.probabilities = job.predict(data.training);
    out.state = state(job);
    return out;
}

/// How far two devices may be apart.
struct Tolerance {
    double loss = 1e-4;    ///< relative, of a batch's mean; of fewer samples they even out less
    double state = 1e-3;   ///< of each tensor, relative to its norm
    double chance = 1e-4;  ///< of a class
    double samples = 1.01; ///< that are told apart otherwise
};

double relative_distance(const std::vector<float>& a, const std::vector<float>& b) {
    REQUIRE(a.size() == b.size());
    double difference = 0, norm = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        difference += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
        norm += std::pow(static_cast<double>(b[i]), 2);
    }
    return std::sqrt(difference / (norm > 0 ? norm : 1));
}

void check_close(const Outcome& found, const Outcome& expected, const Tolerance& most = {}) {
    REQUIRE(found.metrics.size() == expected.metrics.size());
    for (std::size_t i = 0; i < found.metrics.size(); ++i) {
        const Metrics &a = found.metrics[i], &b = expected.metrics[i];
        CAPTURE(i);
        CHECK(a.samples == b.samples);
        const double few = std::sqrt(std::max(1.0, batch / static_cast<double>(b.samples)));
        CHECK(std::abs(a.loss - b.loss) <= few * most.loss * b.loss);
        CHECK(std::abs(a.accuracy - b.accuracy) * static_cast<double>(b.samples) <= most.samples);
    }
    REQUIRE(found.probabilities.size() == expected.probabilities.size());
    for (std::size_t i = 0; i < found.probabilities.size(); ++i)
        CHECK(std::abs(found.probabilities[i] - expected.probabilities[i]) <= most.chance);
    for (std::size_t p = 0; p < found.state.size(); ++p) {
        CAPTURE(p);
        CHECK(relative_distance(found.state[p], expected.state[p]) <= most.state);
    }
}

template <class Net, class Precision, class Optimizer = Adam>
void beside_host(Settings settings, const Tolerance& most = {}) {
    CAPTURE(Precision::name);
    settings.batch = batch;
    settings.seed = 3;
    const Pictures<Net> data;
    const Optimizer optimizer{.learning_rate = 5e-3};
    Job<Net, Precision, Cuda, DefaultLoss<Net>, Optimizer> cuda(data.training, settings, optimizer);
    settings.budget = all_free_memory;
    settings.threads = 1;
    Job<Net, Precision, Host, DefaultLoss<Net>, Optimizer> host(data.training, settings, optimizer);
    check_close(use(cuda, data), use(host, data), most);
}

} // namespace

TEST_CASE("cuda jobs learn what the same jobs learn on the Host") {
    beside_host<Mixed, Float>({});
    beside_host<Plain, Float>({});
    beside_host<Plain, Float>(
        {.budget = {Job<Plain, Float, Cuda>::Blueprint::least_bytes({.batch = batch})}});
    if (computes<TF32>()) beside_host<Mixed, TF32>({}, {5e-3, 5e-2, 1e-2, 2.01});
    if (computes<BFloat16>()) beside_host<Mixed, BFloat16>({}, {3e-2, 0.2, 5e-2, 4.01});
    beside_host<Mixed, Half, Sgd>({}, {1e-2, 0.1, 1e-2, 2.01}); // to which the gradients' scale matters
}

TEST_CASE("cuda weights go to files, and from there to the Host and to predictors") {
    const support::TemporaryFolder folder;
    const std::string path = folder / "weights.safetensors";
    InMemory<u8> data = pictures<Mixed>(25);
    data.set_class_names({"dark", "grey", "light"});
    std::vector<float> probabilities;
    const auto check = [&](const std::vector<float>& found) {
        if (probabilities.empty()) probabilities = found;
        REQUIRE(found.size() == probabilities.size());
        for (std::size_t i = 0; i < found.size(); ++i) CHECK(std::abs(found[i] - probabilities[i]) < 1e-5f);
    };
    {
        Job<Mixed, Float, Cuda> job(data, {.batch = 8});
        job.fit(quiet(2));
        job.save(path);
        check(job.predict(data));
    }
    Job<Mixed, Float, Host> host(data, {.batch = 8, .seed = 9});
    host.load(path);
    check(host.predict(data));
    {
        Predictor<Mixed, Float, Cuda> predictor(path, {.batch = 7});
        check(predictor.predict(data));
        CHECK(predictor.class_names() == data.class_names());
        CHECK(predictor.evaluate(data).loss == doctest::Approx(host.evaluate(data).loss).epsilon(1e-4));
    }
    host.fit(quiet(1));
    host.save(path);
    Job<Mixed, Float, Cuda> again(data, {.batch = 8});
    again.load(path);
    for (std::size_t p = 0; p < again.parameters().size(); ++p)
        CHECK(again.parameter(p) == host.parameter(p));
}

namespace {

// On a GPU large enough to be seen beside what libraries take.
constexpr int wide = 4096;
using Heavy = Sequential<Image<8, 8, 1>, Flatten, Dense<wide>, Relu, Dense<wide>, Relu, Dense<2>>;
using Measured = std::conditional_t<emulated, Mixed, Heavy>;

// Libraries and recorded passes lie outside a job's arena.
constexpr std::int64_t lost = emulated ? 0 : std::int64_t{4} << 20,
                       outside = emulated ? 0 : std::int64_t{64} << 20;

} // namespace

TEST_CASE("cuda memory: a job makes one allocation, as large as its plan says, and gives it back") {
    const Pictures<Measured> data;
    const Settings settings{.batch = batch};
    Job<Measured, Float, Cuda>(data.training, settings); // what is loaded once is there from now on
    const std::int64_t before = bytes_in_use();
    {
        const int made = allocations_made();
        Job<Measured, Float, Cuda> job(data.training, settings);
        const std::int64_t total = job.plan().picture.total;
        CHECK(job.peak().count == total);
        CHECK(allocations_made() == made + (emulated ? 1 : 0));
        CHECK(bytes_in_use() - before >= total);
        CHECK(bytes_in_use_fall_to(before + total + outside));
        use(job, data);
        CHECK(allocations_made() == made + (emulated ? 1 : 0));
        CHECK(bytes_in_use_fall_to(before + total + outside));
        const std::int64_t used = bytes_in_use();
        use(job, data);
        CHECK(bytes_in_use_fall_to(used + lost));
    }
    CHECK(bytes_in_use_fall_to(before + lost));
}

TEST_CASE("cuda memory: a hundred jobs leave what was free free") {
    using Tiny = Sequential<Image<4, 4, 1>, Conv2d<2, 3>, Relu, Flatten, Dense<2>>;
    const InMemory<u8> data = pictures<Tiny>(6);
    Job<Tiny, Float, Cuda>(data, {.batch = 3});
    const std::int64_t before = bytes_in_use();
    for (int i = 0; i < 100; ++i) Job<Tiny, Float, Cuda>(data, {.batch = 3}).fit(quiet(1));
    CHECK(bytes_in_use_fall_to(before + lost));
}

namespace {

template <class Net>
void check_budgets() {
    const Pictures<Net> data;
    using Cheap = Job<Net, Float, Cuda>;
    Settings settings{.batch = batch, .budget = 1_GiB, .seed = 5};
    std::int64_t most = 0;
    const auto train = [&] {
        Cheap job(data.training, settings);
        CHECK(job.peak() <= settings.budget);
        most = std::max(most, job.peak().count);
        return use(job, data);
    };
    const Outcome unbounded = train();
    const std::int64_t least = Cheap::Blueprint::least_bytes(settings);
    REQUIRE(least < most);
    for (const int part : {0, 1, 2, 4, 8}) {
        settings.budget = {least + (most - least) * part / 8};
        CAPTURE(settings.budget.count);
        check_close(train(), unbounded);
    }
    settings.budget = {least - 1};
    const int made = allocations_made();
    const std::string said = support::message_of<budget_error>([&] { Cheap job(data.training, settings); });
    CHECK(support::contains(said, text("needs at least ", least, " B")));
    CHECK(allocations_made() == made);
}

} // namespace

TEST_CASE("cuda budgets are kept, and what is learned does not depend on them") {
    check_budgets<Plain>();
    check_budgets<Mixed>();
}

namespace {

/// While it lives, jobs that are made repeat no recorded passes.
struct Unrecorded {
    Unrecorded() { setenv("PLIMSOLL_CUDA_GRAPHS", "0", 1); }
    ~Unrecorded() { unsetenv("PLIMSOLL_CUDA_GRAPHS"); }
};

template <class Net, class Precision>
void check_repeats(const Cut& cut) {
    CAPTURE(Precision::name);
    const Pictures<Net> data;
    Settings settings{.batch = batch};
    const auto bits = [&] {
        Job<Net, Precision, Cuda> job(data.training, settings, cut);
        return use(job, data);
    };
    int repeated = passes_repeated();
    const Outcome first = bits();
    if (emulated) CHECK(passes_repeated() > repeated + 20);
    CHECK(bits() == first);
    for (const bool late : {true, false}) {
        copies_run(late);
        for (const int prefetch : {-1, 0, 3}) { // rings of two slots, one and four
            settings.prefetch = prefetch;
            CHECK(bits() == first);
        }
        const Unrecorded unrecorded;
        repeated = passes_repeated();
        CHECK(bits() == first);
        CHECK(passes_repeated() == repeated);
    }
    settings.seed = 1;
    CHECK(bits().state != first.state); // the comparison can fail
}

} // namespace

TEST_CASE("cuda results repeat to the bit, recorded or not, whenever copies run") {
    check_repeats<Mixed, Float>({.micro_batch = batch, .lanes = 1, .slice_bytes = 16384, .recompute = 2});
    check_repeats<Plain, Half>({.micro_batch = 5, .lanes = 1, .slice_bytes = 8192});
}

TEST_CASE("cuda jobs go on as they were behind callbacks that evaluate and predict") {
    const Pictures<Plain> data;
    for (const int prefetch : {0, 1, 3}) {
        const auto train = [&](bool asked) {
            Job<Plain, Float, Cuda> job(data.training, {.batch = batch, .prefetch = prefetch},
                                        {.micro_batch = 5, .lanes = 1, .slice_bytes = 8192});
            FitOptions options = quiet(2);
            options.on_step = [&](const StepRecord&) {
                if (asked) {
                    job.evaluate(data.validation);
                    job.predict(data.validation);
                }
                return Control::proceed;
            };
            job.fit(options);
            return state(job);
        };
        CHECK(train(true) == train(false));
    }
}

TEST_CASE("cuda jobs of more kinds of passes than are recorded") {
    const InMemory<u8> data = pictures<Plain>(40);
    const auto train = [&] {
        Job<Plain, Float, Cuda> job(data, {.batch = 40});
        for (int round = 0; round < 3; ++round)
            for (std::size_t count = 1; count <= 40; ++count) step(job, data, count);
        return state(job);
    };
    const auto recorded = train();
    const Unrecorded unrecorded;
    CHECK(train() == recorded);
}

namespace {

/// Cross-entropy with a gradient `Factor` times too large; infinite for 0.
template <int Factor>
struct Amplified : SoftmaxCrossEntropy<> {
    PLIMSOLL_HD static void gradient(const float* logits, float* out, int count, Label label, double scale) {
        SoftmaxCrossEntropy<>::gradient(logits, out, count, label, Factor == 0 ? HUGE_VAL : Factor * scale);
    }
};

struct Unreadable : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// Grey pictures, of which one can be broken, and one fails to be read once.
template <class Net>
class Faulty {
  public:
    using Pixel = float;
    static constexpr std::uint64_t none = std::numeric_limits<std::uint64_t>::max();
    std::uint64_t broken = none;
    mutable std::atomic<std::uint64_t> unreadable = none;

    [[nodiscard]] std::uint64_t size() const { return 26; }
    [[nodiscard]] Shape shape() const { return Net::input; }
    [[nodiscard]] int classes() const { return ::classes<Net>; }
    [[nodiscard]] const std::vector<std::string>& class_names() const { return names_; }
    [[nodiscard]] std::string name() const { return "Faulty"; }
    void read(std::span<const std::uint64_t> samples, std::span<float> images,
              std::span<Label> labels) const {
        check_read(name(), size(), shape(), samples, images, labels);
        const auto pixels = static_cast<std::size_t>(shape().size());
        for (std::size_t i = 0; i < samples.size(); ++i) {
            std::uint64_t sample = samples[i];
            labels[i] = static_cast<Label>(sample % ::classes<Net>);
            for (std::size_t p = 0; p < pixels; ++p) {
                const Words4 words =
                    philox({static_cast<std::uint32_t>(p), static_cast<std::uint32_t>(sample)}, 1);
                images[i * pixels + p] = 0.3f * static_cast<float>(labels[i]) + 0.3f * unit_float(words.x);
            }
            if (sample == broken) images[i * pixels + 17] = std::numeric_limits<float>::quiet_NaN();
            if (unreadable.compare_exchange_strong(sample, none))
                throw Unreadable(text("sample ", samples[i], " cannot be read"));
        }
    }

  private:
    std::vector<std::string> names_;
};
template <class Net, class Device>
using FaultyJob = Trainer<Net, Faulty<Net>, Float, Device>;

/// What a training that fails in its midst and goes on has come to.
template <class Device>
std::vector<std::vector<float>> fail_and_go_on() {
    Faulty<Plain> source;
    FaultyJob<Plain, Device> job(source, {.batch = 5, .seed = 8});
    job.fit(quiet(1));
    source.unreadable = 11;
    CHECK_THROWS_WITH_AS(job.fit(quiet(1)), "sample 11 cannot be read", Unreadable);
    source.unreadable = 20; // in the last batch but one: copies of those before are on their way
    CHECK_THROWS_WITH_AS(job.fit(quiet(1, false)), "sample 20 cannot be read", Unreadable);
    source.unreadable = 3;
    CHECK_THROWS_WITH_AS(job.evaluate(source), "sample 3 cannot be read", Unreadable);
    source.broken = 13;
    const std::string said = support::message_of<numeric_error>([&] { job.fit(quiet(1)); });
    CHECK(support::contains(said, "for 1 of 5 images: sample 13;"));
    source.broken = source.none;
    job.fit(quiet(2));
    CHECK(std::isfinite(job.evaluate(source).loss));
    auto out = state(job);
    out.push_back({static_cast<float>(job.steps())});
    return out;
}

template <class Net>
void check_broken(const Settings& settings, const std::string& named) {
    const Faulty<Net> source;
    FaultyJob<Net, Cuda> job(source, settings);
    const auto pixels = static_cast<std::size_t>(Net::input.size()),
               images = static_cast<std::size_t>(settings.batch);
    std::vector<float> batch_of(pixels * images, 0.5f);
    const std::vector<Label> labels(images, 1);
    job.step(batch_of, labels);
    batch_of[pixels * 4 + 17] = std::numeric_limits<float>::quiet_NaN();
    const auto before = state(job);
    for (int time = 0; time < 3; ++time) {
        const std::string said = support::message_of<numeric_error>([&] { job.step(batch_of, labels); });
        CHECK(support::contains(said, "not finite at step 2, " + named));
        CHECK(state(job) == before);
        CHECK(job.steps() == 1);
    }
    batch_of.assign(batch_of.size(), 0.25f);
    CHECK(std::isfinite(job.step(batch_of, labels).metrics.loss));
}

} // namespace

TEST_CASE("cuda jobs name what is not finite and leave weights and statistics as they were") {
    check_broken<Plain>({.batch = 7}, "for 1 of 7 images: sample 4;");
    const Bytes least{FaultyJob<Plain, Cuda>::Blueprint::least_bytes({.batch = 7})};
    check_broken<Plain>({.batch = 7, .budget = least}, "for 1 of 7 images: sample 4;");
    // Through the batch's statistics one picture spoils all.
    check_broken<Mixed>({.batch = 7}, "for 7 of 7 images: sample 0, 1, 2, 3, 4, ...;");
}

TEST_CASE("cuda jobs go on after a source has thrown") {
    const auto cuda = fail_and_go_on<Cuda>(), host = fail_and_go_on<Host>();
    REQUIRE(cuda.back() == host.back()); // steps
    for (std::size_t p = 0; p < cuda.size(); ++p) CHECK(relative_distance(cuda[p], host[p]) < 1e-3);
}

TEST_CASE("cuda steps in Half whose gradients overflow change nothing but the loss scale") {
    const InMemory<u8> data = pictures<Mixed>(12);
    const auto skipped = [&](auto& job) {
        const auto before = state(job);
        int count = 0;
        for (StepRecord record = step(job, data, 12); record.skipped; record = step(job, data, 12)) {
            ++count;
            CHECK(job.steps() == 0);
            CHECK(std::isfinite(record.metrics.loss));
            REQUIRE(state(job) == before);
            REQUIRE(count < 20);
        }
        CHECK(job.steps() == 1);
        const auto after = state(job);
        for (std::size_t p = 0; p < after.size(); ++p) CHECK(after[p] != before[p]);
        return count;
    };
    Job<Mixed, Half, Cuda, Amplified<64>> cuda(data, {.batch = 12});
    Job<Mixed, Half, Host, Amplified<64>> host(data, {.batch = 12});
    const int count = skipped(cuda);
    CHECK(count > 0);
    CHECK(count == skipped(host)); // so the scale is halved by each
    for (std::size_t p = 0; p < cuda.parameters().size(); ++p)
        CHECK(relative_distance(cuda.gradient(p), host.gradient(p)) < 0.02); // unscaled
}

TEST_CASE("cuda training ends where gradients are never finite, the weights as they were") {
    const InMemory<u8> data = pictures<Mixed>(8);
    Job<Mixed, Half, Cuda, Amplified<0>> job(data, {.batch = 4});
    const auto before = state(job);
    int skipped = 0;
    const std::string said = support::message_of<numeric_error>([&] {
        while (step(job, data, 4).skipped) REQUIRE(++skipped < 40);
    });
    CHECK(support::contains(said, "gradients are not finite at step 1, at the smallest loss scale"));
    CHECK(skipped == 16); // 65,536 to 1 by halves
    CHECK(state(job) == before);
}

TEST_CASE("cuda ordinals beyond the last GPU are refused") {
    int count = 0;
    REQUIRE(cudaGetDeviceCount(&count) == cudaSuccess);
    const InMemory<u8> data = pictures<Mixed>(4);
    const std::string said = support::message_of<argument_error>(
        [&] { Job<Mixed, Float, Cuda> job(data, {.batch = 4, .ordinal = count}); });
    CHECK(support::contains(said, text(".ordinal = ", count)));
    CHECK(support::contains(said, "CUDA counts 0 "));
}
