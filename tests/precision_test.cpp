// 16 bits: what they save, what they round, and steps whose gradients overflow.
#include "networks.hpp"
#include "support.hpp"

#include <plimsoll/format/safetensors.hpp>
#include <plimsoll/plimsoll.hpp>

#include <cmath>
#include <numeric>

using namespace plimsoll;

namespace {

using Net = Sequential<Image<10, 9, 3>, Conv2d<8, 3, 1, 1, no_bias>, BatchNorm, Relu, MaxPool<2>,
                       Conv2d<6, 3>, Relu, Flatten, Dropout<0.2_p>, Dense<3>>;
using networks::Guide;

/// Cross-entropy with a gradient `Factor` times too large.
template <int Factor>
struct Amplified : SoftmaxCrossEntropy<> {
    PLIMSOLL_HD static void gradient(const float* logits, float* out, int count, Label label, double scale) {
        SoftmaxCrossEntropy<>::gradient(logits, out, count, label, Factor == 0 ? HUGE_VAL : Factor * scale);
    }
};

template <class Precision, class Loss = DefaultLoss<Net>, class Pixel = u8>
using Job = Trainer<Net, InMemory<Pixel>, Precision, Host, Loss>;

template <class Pixel = u8>
InMemory<Pixel> pictures(int count) {
    const std::size_t pixels = static_cast<std::size_t>(Net::input.size());
    std::vector<Pixel> images(pixels * static_cast<std::size_t>(count)); // (N, H, W, C)
    std::vector<Label> labels(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < images.size(); ++i) {
        const auto level = static_cast<u8>(philox({static_cast<std::uint32_t>(i), 0, 0, 0}, 5).x >> 25);
        if constexpr (std::same_as<Pixel, u8>)
            images[i] = level;
        else
            images[i] = to<Pixel>(static_cast<float>(level) / 128.0f);
    }
    for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<Label>(i % 3);
    return InMemory<Pixel>(std::move(images), Net::input, std::move(labels));
}

template <class J>
std::vector<std::vector<float>> state(J& job) {
    std::vector<std::vector<float>> out;
    for (std::size_t p = 0; p < job.parameters().size(); ++p) out.push_back(job.parameter(p));
    return out;
}

/// The first `count` pictures and labels of a source.
template <class Pixel>
struct Batch {
    std::vector<Pixel> images;
    std::vector<Label> labels;
    Batch(const InMemory<Pixel>& source, std::size_t count)
        : images(count * static_cast<std::size_t>(Net::input.size())), labels(count) {
        std::vector<std::uint64_t> samples(count);
        std::iota(samples.begin(), samples.end(), std::uint64_t{0});
        source.read(samples, images, labels);
    }
};

} // namespace

TEST_CASE("the loss scale is a power of two, grows and backs off, and reaches neither 0 nor infinity") {
    LossScaling scaling;
    CHECK(scaling.scale == 65536);
    scaling.judge(false);
    CHECK(scaling.overflowed == 1);
    CHECK(scaling.unscale == 1 / 65536.0f); // of the gradients that were judged
    CHECK(scaling.scale == 32768);
    for (int step = 0; step < 1999; ++step) scaling.judge(true);
    CHECK(scaling.scale == 32768);
    scaling.judge(true);
    CHECK(scaling.scale == 65536);
    CHECK(scaling.overflowed == 0);
    CHECK(scaling.unscale == 1 / 32768.0f);
    for (int step = 0; step < 1999; ++step) scaling.judge(true);
    scaling.judge(false); // an overflow begins the count anew
    for (int step = 0; step < 1999; ++step) scaling.judge(true);
    CHECK(scaling.scale == 32768);
    CHECK(scaling.skipped == 2);
    for (int step = 0; step < 100; ++step) scaling.judge(false);
    CHECK(scaling.scale == LossScaling::least);
    for (int step = 0; step < 100'000; ++step) scaling.judge(true);
    CHECK(scaling.scale == LossScaling::most);
    int exponent = 0;
    CHECK(std::frexp(scaling.scale, &exponent) == 0.5f);
}

TEST_CASE("a step whose gradients overflow changes nothing but the loss scale") {
    const InMemory<u8> data = pictures(12);
    const Batch<u8> batch(data, 4);
    Job<Half, Amplified<64>> job(data, {.batch = 4, .seed = 1});
    const auto before = state(job); // weights and running statistics
    int skipped = 0;
    StepRecord record = job.step(batch.images, batch.labels);
    for (; record.skipped; record = job.step(batch.images, batch.labels)) {
        ++skipped;
        CHECK(job.steps() == 0); // nor the optimizer's schedule
        CHECK(record.step == 0);
        CHECK(std::isfinite(record.metrics.loss));
        REQUIRE(state(job) == before);
        REQUIRE(skipped < 20);
    }
    CHECK(skipped > 0);
    CHECK(record.step == 1);
    const auto after = state(job);
    for (std::size_t p = 0; p < after.size(); ++p) { // each has moved, running statistics too
        CAPTURE(job.parameters()[p].name);
        CHECK(after[p] != before[p]);
    }
    // The first step that counts is the one that a job with that scale would have made at once: Adam's state
    // has seen no other gradient, so every weight moves by the learning rate.
    for (std::size_t i = 0; i < after[0].size(); ++i)
        CHECK(std::abs(std::abs(after[0][i] - before[0][i]) - 1e-3f) < 2e-5f);

    const History history =
        Job<Half, Amplified<64>>(data, {.batch = 4, .seed = 1}).fit({.epochs = 1, .progress = false});
    CHECK(history.last().skipped_steps == static_cast<std::uint64_t>(std::min(skipped, 3)));
}

TEST_CASE("gradients that are never finite end the training, the weights as they were") {
    const InMemory<u8> data = pictures(8);
    const Batch<u8> batch(data, 4);
    Job<Half, Amplified<0>> job(data, {.batch = 4});
    const auto before = state(job);
    int skipped = 0;
    const std::string said = support::message_of<numeric_error>([&] {
        while (job.step(batch.images, batch.labels).skipped) REQUIRE(++skipped < 40);
    });
    CHECK(support::contains(said, "gradients are not finite at step 1, at the smallest loss scale"));
    CHECK(skipped == 16); // 65,536 to 1 by halves
    CHECK(state(job) == before);
}

TEST_CASE("a loss that is not finite leaves running statistics alone, under Float too") {
    std::vector<float> images(2 * static_cast<std::size_t>(Net::input.size()), 0.5f);
    const InMemory<float> data(images, Net::input, {0, 1});
    Trainer<Net, InMemory<float>, Float, Host> job(data, {.batch = 2});
    const auto before = state(job);
    images[7] = std::nanf("");
    CHECK_THROWS_AS(job.step(images, std::vector<Label>{0, 1}), numeric_error);
    CHECK(state(job) == before);
}

TEST_CASE("the gradient of Half is unscaled, and close to Float's") {
    const InMemory<u8> data = pictures(12);
    const Batch<u8> batch(data, 9);
    Job<Float> exact(data, {.batch = 9, .seed = 2});
    exact.step(batch.images, batch.labels);
    const auto check = [&](auto& job, double bound) {
        job.step(batch.images, batch.labels);
        double difference = 0, norm = 0;
        for (std::size_t p = 0; p < job.parameters().size(); ++p) {
            const std::vector<float> a = job.gradient(p), b = exact.gradient(p);
            for (std::size_t i = 0; i < a.size(); ++i) {
                difference += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
                norm += std::pow(static_cast<double>(b[i]), 2);
            }
        }
        MESSAGE("distance to Float's gradient: " << std::sqrt(difference / norm));
        CHECK(difference <= bound * bound * norm);
        CHECK(difference > 0);
    };
    Job<Half> half_job(data, {.batch = 9, .seed = 2});
    check(half_job, 0.02);
    Job<BFloat16> bfloat_job(data, {.batch = 9, .seed = 2});
    check(bfloat_job, 0.1);
}

TEST_CASE("probabilities are float32 whatever is stored, and weights go from one precision to another") {
    const support::TemporaryFolder folder;
    const InMemory<u8> data = pictures(20);
    Job<BFloat16> job(data, {.batch = 10, .seed = 3});
    job.fit({.epochs = 3, .progress = false});
    const std::string path = folder / "weights.safetensors";
    job.save(path);
    const SafetensorsFile saved(path);
    for (const SafetensorsTensor& tensor : saved.tensors()) CHECK(tensor.dtype == dtype_of<float>);
    Predictor<Net, Float, Host> exact(path);
    Predictor<Net, BFloat16, Host> rounded(path);
    const std::vector<float> p = rounded.predict(data), q = exact.predict(data); // (20, 3)
    CHECK(p == job.predict(data));
    for (std::size_t row = 0; row < 20; ++row) {
        CHECK(std::abs(p[3 * row] + p[3 * row + 1] + p[3 * row + 2] - 1) < 1e-6f);
        for (std::size_t c = 0; c < 3; ++c) CHECK(std::abs(p[3 * row + c] - q[3 * row + c]) < 0.03f);
    }
    CHECK(p != q);
}

TEST_CASE("pixels of 16 bits reach a device of 16 bits as they are") {
    const InMemory<half> stored = pictures<half>(9);
    const Batch<half> batch(stored, 9);
    std::vector<float> widened;
    for (const half pixel : batch.images) widened.push_back(to_float(pixel));
    const InMemory<float> floats(widened, Net::input, batch.labels);
    Job<Half, DefaultLoss<Net>, half> narrow(stored, {.batch = 9, .seed = 4});
    Job<Half, DefaultLoss<Net>, float> wide(floats, {.batch = 9, .seed = 4});
    for (int step = 0; step < 3; ++step)
        CHECK(narrow.step(batch.images, batch.labels).metrics == wide.step(widened, batch.labels).metrics);
    CHECK(state(narrow) == state(wide));
    CHECK(narrow.peak() < wide.peak());
}

TEST_CASE("plan() tells the bytes of every precision, and they are what its jobs take") {
    const InMemory<u8> data = pictures(16);
    const Settings settings{.batch = 16};
    Job<Float> job(data, settings);
    const std::vector<PrecisionBytes> told = job.plan().picture.precisions;
    REQUIRE(told.size() == 3);
    Job<BFloat16> bfloat_job(data, settings, job.cut());
    Job<Half> half_job(data, settings, job.cut());
    const std::int64_t peaks[] = {job.peak().count, bfloat_job.peak().count, half_job.peak().count};
    const std::string names[] = {"Float", "BFloat16", "Half"};
    const std::string table = job.plan().precision_table();
    for (std::size_t i = 0; i < 3; ++i) {
        CHECK(told[i].name == names[i]);
        CHECK(told[i].same_cut == peaks[i]);
        CHECK(told[i].least <= told[i].same_cut);
        CHECK(support::contains(table, to_string(Bytes{peaks[i]})));
        CHECK(support::contains(job.plan().str(), names[i]));
    }
    const auto least = Job<BFloat16>::Blueprint::least_bytes(settings);
    CHECK(told[1].least == least);
    Job<BFloat16>(data, {.batch = 16, .budget = {least}});
    CHECK_THROWS_AS(Job<BFloat16>(data, {.batch = 16, .budget = {least - 1}}), budget_error);

    // Activations take half, and most of this network is activations.
    using Wide = Sequential<Image<128, 128, 3>, Conv2d<32, 3>, Relu, Conv2d<32, 3>, Relu, MaxPool<2>, Flatten,
                            Dense<2>>;
    const auto bytes = [&]<class P>(P) {
        return Trainer<Wide, InMemory<u8>, P, Host>::Blueprint::plan(settings,
                                                                     {.micro_batch = 16, .lanes = 2})
            .total;
    };
    CHECK(static_cast<double>(bytes(BFloat16{})) < 0.7 * static_cast<double>(bytes(Float{})));
}

TEST_CASE("a job says what its processor lacks for a precision") {
    const InMemory<u8> data = pictures(4);
    const Settings settings{.batch = 4};
    CHECK(support::contains(support::stderr_of([&] { Job<Half> job(data, settings); }),
                            "Half on Host: it stores 16 bits and computes in float32"));
    CHECK(support::stderr_of([&] { Job<Float> job(data, settings); }).empty());
    const std::string said = support::stderr_of([&] { Job<BFloat16> job(data, settings); });
    if (detail::computes_bfloat16())
        CHECK(said.empty());
    else
        CHECK(support::contains(said, "this processor has no arithmetic for bfloat16"));
}

TEST_CASE("a budget that BFloat16 keeps is proposed") {
    using Guided = Trainer<Guide, InMemory<u8>, Float, Host>;
    const std::vector<u8> image(67500);
    const InMemory<u8> data(image, Guide::input, {0});
    const Settings settings{.batch = 32, .budget = {Guided::Blueprint::least_bytes({.batch = 32}) - 1}};
    CHECK(support::contains(support::message_of<budget_error>([&] { Guided job(data, settings); }),
                            "the precision BFloat16 fits"));
    Trainer<Guide, InMemory<u8>, BFloat16, Host> job(data, settings);
    CHECK(job.peak() <= settings.budget);
}
