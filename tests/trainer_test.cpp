// Trainer and Predictor as their user meets them.
#include "allocations.hpp"
#include "cuts.hpp"
#include "support.hpp"

#include <plimsoll/format/safetensors.hpp>
#include <plimsoll/plimsoll.hpp>

#include <atomic>
#include <cmath>
#include <csignal>
#include <limits>
#include <numeric>
#include <set>

using namespace plimsoll;

/// A layer whose kernel writes one float too many, unseen by the sanitizer (as a library's code would).
struct Overrunning {
    static constexpr Facts facts(Shape in) {
        return {.name = "Overrunning", .output = in, .whole_batch = true};
    }
};
template <class Precision>
struct plimsoll::Kernel<Overrunning, Precision, Host> : NodeKernel {
    Kernel(const Site& site, const Host&) : elements(site.input.size()) {}
    static constexpr Needs needs(const Site&) { return {}; }
    void forward(const Call& call) override {
        overrun(static_cast<float*>(call.output), elements * call.count);
    }
    void backward(const Call&) override {}
    __attribute__((no_sanitize("address"), noinline)) static void overrun(float* out, std::int64_t count) {
        volatile float* unseen = out;
        for (std::int64_t i = 0; i <= count; ++i) unseen[i] = 1;
    }
    std::int64_t elements;
};

namespace {

// Odd sizes, dropout, three classes; channels that no blocked layout takes.
using Small = Sequential<Image<11, 8, 3>, Conv2d<5, 3>, Relu, MaxPool<2>, Conv2d<7, 3, 1, 1>, LeakyRelu<>,
                         Flatten, Dropout<0.25_p>, Dense<9>, Relu, Dense<3>>;
// Channels that oneDNN blocks, batch normalisation and a residual.
using Wide = Sequential<Image<10, 12, 3>, Conv2d<16, 3, 1, 1, no_bias>, BatchNorm, Relu,
                        Residual<Sequential<Conv2d<16, 3, 1, 1>, Relu, Dropout<0.1_p>>>, MaxPool<2>,
                        Conv2d<32, 3>, Relu, AveragePool<2, 1>, GlobalAveragePool, Dense<1>>;
// Residuals deep enough for every level of recompute to keep something else.
template <class... Last>
using Pair = Residual<Sequential<Conv2d<8, 3, 1, 1, no_bias>, BatchNorm, Relu, Conv2d<8, 3, 1, 1, no_bias>,
                                 BatchNorm, Last...>>;
using Deep = Sequential<Image<10, 12, 3>, Conv2d<8, 3, 1, 1, no_bias>, BatchNorm, Relu, Pair<>, Relu,
                        Pair<Dropout<0.1_p>>, Relu, MaxPool<2>, Pair<>, Relu, Dropout<0.2_p>, Pair<>, Relu,
                        GlobalAveragePool, Dense<3>>;
template <class Net, class Pixel = u8, class Precision = Float>
using Job = Trainer<Net, InMemory<Pixel>, Precision, Host>;
/// ReLU that counts what it is called for. \tparam Rectifies whether it says that it is one
template <int Place, bool Rectifies>
struct Counted {
    static constexpr Facts facts(Shape in) {
        Facts facts = Relu::facts(in);
        facts.rectifies = Rectifies;
        return facts;
    }
    static inline std::atomic<std::int64_t> calls = 0;
    struct Forward {
        float operator()(float x) const {
            ++calls;
            return Relu::Forward{}(x);
        }
    };
    using Backward = Relu::Backward;
};
template <bool Rectifies>
using Counting = Sequential<Image<11, 8, 3>, Conv2d<5, 3>, Counted<0, Rectifies>, MaxPool<2>,
                            Conv2d<7, 3, 1, 1>, Counted<1, Rectifies>, MaxPool<3, 1, 1>,
                            Residual<Sequential<Conv2d<7, 3, 1, 1>, MaxPool<3, 1, 1>>>, Counted<2, Rectifies>,
                            Flatten, Dense<3>>;
/// With a learning rate of 0 its weights stand still.
template <class Net>
using Still = Trainer<Net, InMemory<u8>, Float, Host, DefaultLoss<Net>, Sgd>;

/// Pictures whose brightness tells their class, with noise.
template <class Pixel = u8>
InMemory<Pixel> pictures(Shape shape, int count, int classes, std::uint64_t seed = 7) {
    std::vector<Pixel> images(static_cast<std::size_t>(shape.size()) * static_cast<std::size_t>(count));
    std::vector<Label> labels(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < labels.size(); ++i) {
        labels[i] = static_cast<Label>(i % static_cast<std::size_t>(classes));
        for (std::size_t p = 0; p < static_cast<std::size_t>(shape.size()); ++p) {
            const std::uint32_t noise =
                philox({static_cast<std::uint32_t>(p), static_cast<std::uint32_t>(i), 0, 0}, seed).x >> 26;
            const std::uint32_t level = 40 + 60 * static_cast<std::uint32_t>(labels[i]) + noise;
            images[i * static_cast<std::size_t>(shape.size()) + p] =
                std::is_same_v<Pixel, u8> ? static_cast<Pixel>(level)
                                          : static_cast<Pixel>(level) / static_cast<Pixel>(255);
        }
    }
    return InMemory<Pixel>(std::move(images), shape, std::move(labels), "pictures");
}

FitOptions quiet_options(int epochs) {
    return {.epochs = epochs, .progress = false, .handle_interrupts = false};
}

/// Everything a run leaves behind, as bits.
template <class J>
std::vector<float> remains(J& job, const InMemory<u8>& data) {
    std::vector<float> out;
    const History history = job.fit(quiet_options(2), data);
    for (const EpochRecord& epoch : history.epochs)
        for (const double number :
             {epoch.train.loss, epoch.train.accuracy, epoch.validation.loss, epoch.validation.accuracy})
            out.push_back(static_cast<float>(number));
    for (std::size_t p = 0; p < job.parameters().size(); ++p)
        for (const float weight : job.parameter(p)) out.push_back(weight);
    for (const float probability : job.predict(data)) out.push_back(probability);
    return out;
}

template <class Net, class Precision = Float>
void same_bits_for_all_thread_counts(int classes, Bytes budget = all_free_memory) {
    const InMemory<u8> data = pictures(Net::input, 45, classes); // ragged: 45 = 2 x 20 + 5
    std::vector<float> one;
    for (const int threads : {1, 2, 3}) {
        Job<Net, u8, Precision> job(
            data, {.batch = 20, .budget = budget, .threads = threads, .lanes = 3, .seed = 3});
        const std::vector<float> bits = remains(job, data);
        if (threads == 1) one = bits;
        REQUIRE(bits.size() == one.size());
        CHECK(std::memcmp(bits.data(), one.data(), bits.size() * sizeof(float)) == 0);
    }
    Job<Net, u8, Precision> other(data, {.batch = 20, .lanes = 3, .seed = 4});
    CHECK(remains(other, data) != one); // the comparison can fail
}

template <class T>
double relative_distance(const std::vector<float>& a, const std::vector<T>& b) {
    REQUIRE(a.size() == b.size());
    double difference = 0, norm = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        const double x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
        difference += (x - y) * (x - y);
        norm += y * y;
    }
    return std::sqrt(difference / (norm > 0 ? norm : 1));
}

/// Pictures without a pattern, with any labels.
InMemory<u8> noise(Shape shape, int count, int classes) {
    const auto words = [](std::size_t i) { return philox({static_cast<std::uint32_t>(i), 1, 0, 0}, 11); };
    std::vector<u8> images(static_cast<std::size_t>(shape.size()) * static_cast<std::size_t>(count));
    std::vector<Label> labels(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < images.size(); ++i) images[i] = static_cast<u8>(words(i).x >> 24);
    for (std::size_t i = 0; i < labels.size(); ++i)
        labels[i] = static_cast<Label>(words(i).y % static_cast<std::uint32_t>(classes));
    return InMemory<u8>(std::move(images), shape, std::move(labels), "noise");
}

/// A source's first pictures, for `step`.
struct Batch {
    std::vector<u8> images;
    std::vector<Label> labels;

    Batch(const InMemory<u8>& data, int count)
        : images(static_cast<std::size_t>(data.shape().size()) * static_cast<std::size_t>(count)),
          labels(static_cast<std::size_t>(count)) {
        std::vector<std::uint64_t> samples(labels.size());
        std::iota(samples.begin(), samples.end(), std::uint64_t{0});
        data.read(samples, images, labels);
    }
    template <class J>
    StepRecord step(J& job, int count) const {
        const auto used = static_cast<std::size_t>(count);
        return job.step(std::span(images).first(images.size() / labels.size() * used),
                        std::span(labels).first(used));
    }
};

/// The gradients of one step after another: whole batches, ragged ones and a single image.
template <class Net>
std::vector<std::vector<float>> gradients(const Settings& settings, const Cut& cut,
                                          const InMemory<u8>& data) {
    Still<Net> job(data, settings, cut, Sgd{.learning_rate = 0});
    CHECK(job.cut() == cut);
    const Batch batch(data, settings.batch);
    std::vector<std::vector<float>> out;
    for (const int count : {settings.batch, settings.batch - 3, settings.batch / 3, 1, settings.batch}) {
        batch.step(job, count);
        for (std::size_t p = 0; p < job.parameters().size(); ++p)
            if (job.parameters()[p].facts.trainable) out.push_back(job.gradient(p));
    }
    return out;
}

template <class Net>
void same_gradient_for_all_cuts(bool coupled) {
    constexpr int batch = 16; // a power of two: one slice can be all of it
    const InMemory<u8> data = noise(Net::input, batch, 3);
    const auto whole = gradients<Net>({.batch = batch, .threads = 1}, support::unsliced(batch), data);
    double largest = 0;
    int turn = 0;
    std::set<std::int64_t> sizes;
    for (const Cut& cut : support::cuts(batch, coupled)) {
        CAPTURE(cut.micro_batch);
        CAPTURE(cut.lanes);
        CAPTURE(cut.slice_bytes);
        CAPTURE(cut.recompute);
        const Settings settings{.batch = batch, .threads = 1 + turn++ % 2};
        const auto cut_gradients = gradients<Net>(settings, cut, data);
        REQUIRE(cut_gradients.size() == whole.size());
        for (std::size_t i = 0; i < whole.size(); ++i) {
            const double distance = relative_distance(cut_gradients[i], whole[i]);
            CAPTURE(i);
            CHECK(distance <= 2e-5);
            if (distance > largest) largest = distance;
        }
        sizes.insert(Still<Net>::Blueprint::plan(settings, cut).total);
    }
    MESSAGE("largest distance to the unsliced gradient: " << largest << " of its norm");
    CHECK(sizes.size() > 20); // the cuts were of many kinds
    // Dropout was there: in another step the same images have another gradient.
    const std::size_t parameters = whole.size() / 5;
    CHECK(relative_distance(whole[4 * parameters], whole[0]) > 1e-3);
}

template <class Net>
void same_bits_for_cut(const Cut& cut) {
    const InMemory<u8> data = pictures(Net::input, 18, 3);
    const Batch batch(data, 18);
    std::vector<float> one;
    for (const int threads : {1, 2, 3}) {
        Job<Net> job(data, {.batch = 18, .threads = threads}, cut);
        std::vector<float> bits;
        for (const int count : {18, 11, 18})
            bits.push_back(static_cast<float>(batch.step(job, count).metrics.loss));
        for (std::size_t p = 0; p < job.parameters().size(); ++p)
            for (const float weight : job.parameter(p)) bits.push_back(weight);
        if (threads == 1) one = bits;
        REQUIRE(bits.size() == one.size());
        CHECK(std::memcmp(bits.data(), one.data(), bits.size() * sizeof(float)) == 0);
    }
}

} // namespace

TEST_CASE("losses, weights and predictions are the same bits for 1, 2 and 3 threads") {
    same_bits_for_all_thread_counts<Small>(3);
    same_bits_for_all_thread_counts<Wide>(2);
    // A budget that one thread's buffers would leave room in: still the same micro-batches for all.
    const Bytes tight = peak_bytes<Job<Small>>({.batch = 20, .lanes = 3}) - 1_B;
    CHECK(peak_bytes<Job<Small>>({.batch = 20, .threads = 1, .lanes = 3}) < tight);
    same_bits_for_all_thread_counts<Small>(3, tight);
    same_bits_for_all_thread_counts<Small, BFloat16>(3);
    same_bits_for_all_thread_counts<Wide, BFloat16>(2);
    same_bits_for_all_thread_counts<Small, Half>(3);
    same_bits_for_all_thread_counts<Wide, Half>(2);
}

TEST_CASE("training learns what can be learned, and counts a ragged last batch right") {
    const InMemory<u8> data = pictures(Small::input, 70, 3);
    Job<Small> job(data, {.batch = 32}, {.learning_rate = 1e-2});
    int steps = 0;
    std::uint64_t images = 0;
    FitOptions options = quiet_options(30);
    options.on_step = [&](const StepRecord& record) {
        ++steps;
        images += record.metrics.samples;
        CHECK(record.step == static_cast<std::uint64_t>(steps));
        return Control::proceed;
    };
    const History history = job.fit(options, data);
    CHECK(history.epochs.size() == 30);
    CHECK(steps == 90);
    CHECK(images == 30 * 70);
    CHECK(history.last().train.samples == 70);
    CHECK(history.last().validation.accuracy > 0.95);
    CHECK(history.last().validation.loss < history.epochs.front().validation.loss / 2);
    CHECK(job.evaluate(data).accuracy == history.last().validation.accuracy);
}

TEST_CASE("a batch larger than the data set is one ragged batch") {
    const InMemory<u8> data = pictures(Small::input, 6, 3);
    Job<Small> job(data, {.batch = 50});
    FitOptions options = quiet_options(1);
    std::vector<std::uint64_t> counts;
    options.on_step = [&](const StepRecord& record) {
        counts.push_back(record.metrics.samples);
        return Control::proceed;
    };
    job.fit(options);
    CHECK(counts == std::vector<std::uint64_t>{6});
}

TEST_CASE("the gradient is the unsliced one, however a step is cut and however ragged its batch is") {
    same_gradient_for_all_cuts<Small>(false);
    same_gradient_for_all_cuts<Deep>(true);
}

TEST_CASE("weights are the same bits for 1, 2 and 3 threads where activations are made again") {
    same_bits_for_cut<Small>({.micro_batch = 7, .lanes = 3, .recompute = 3});
    same_bits_for_cut<Deep>({.micro_batch = 18, .lanes = 3, .slice_bytes = 0, .recompute = 3});
}

TEST_CASE(
    "a batch of 8,192 trains within the budget of a batch of 32, and its gradient is the whole batch's") {
    // No dropout: its masks depend on an image's place in the batch, which is another in the parts.
    using Net = Sequential<Image<6, 6, 1>, Conv2d<4, 3>, Relu, MaxPool<2>, Flatten, Dense<3>>;
    constexpr int part = 32;
    const Bytes budget = peak_bytes<Still<Net>>({.batch = part, .threads = 1});
    const auto image = static_cast<std::size_t>(Net::input.size());
    for (const int batch : {8192, 8191}) {
        CAPTURE(batch);
        const InMemory<u8> data = noise(Net::input, batch, 3);
        const Batch all(data, batch);
        Still<Net> large(data, {.batch = batch, .budget = budget, .threads = 1}, Sgd{.learning_rate = 0});
        Still<Net> small(data, {.batch = part, .budget = budget, .threads = 1}, Sgd{.learning_rate = 0});
        CHECK(large.peak() <= budget);
        CHECK(small.peak() <= budget);
        const double loss = large.step(all.images, all.labels).metrics.loss;
        double mean_loss = 0;
        std::vector<std::vector<double>> mean(large.parameters().size());
        for (std::size_t first = 0; first < all.labels.size(); first += part) {
            const std::size_t count = std::min<std::size_t>(part, all.labels.size() - first);
            const double weight = static_cast<double>(count) / batch;
            mean_loss += weight * small
                                      .step(std::span(all.images).subspan(first * image, count * image),
                                            std::span(all.labels).subspan(first, count))
                                      .metrics.loss;
            for (std::size_t p = 0; p < mean.size(); ++p) {
                const std::vector<float> gradient = small.gradient(p);
                mean[p].resize(gradient.size());
                for (std::size_t i = 0; i < gradient.size(); ++i) mean[p][i] += weight * gradient[i];
            }
        }
        CHECK(std::abs(loss - mean_loss) <= 1e-6 * mean_loss);
        for (std::size_t p = 0; p < mean.size(); ++p) {
            CAPTURE(large.parameters()[p].name);
            CHECK(relative_distance(large.gradient(p), mean[p]) <= 2e-5);
        }
        // Without a budget of its own such a batch takes more: the budget was felt.
        if (batch == 8192)
            CHECK(Still<Net>::Blueprint::plan({.batch = batch}, {.micro_batch = batch, .lanes = 8}).total >
                  budget.count);
    }
}

TEST_CASE_TEMPLATE(
    "after construction a step allocates nothing of ours, and the library's few bytes are given back",
    Precision, Float, BFloat16, Half) {
    const InMemory<u8> data = pictures(Wide::input, 40, 2);
    Job<Wide, u8, Precision> job(data, {.batch = 16});
    job.fit(quiet_options(1)); // the first epoch may start threads
    FitOptions options = quiet_options(1);
    std::vector<support::Allocations> seen;
    seen.reserve(8);
    options.on_step = [&](const StepRecord&) {
        seen.push_back(support::allocations());
        return Control::proceed;
    };
    job.fit(options);
    REQUIRE(seen.size() == 3);
    for (std::size_t i = 1; i < seen.size(); ++i) {
        CHECK(seen[i].ours == seen[i - 1].ours);
        CHECK(seen[i].live == seen[i - 1].live);
        const std::int64_t calls = seen[i].library - seen[i - 1].library;
        CHECK(seen[i].library_bytes - seen[i - 1].library_bytes <= 256 * calls);
    }
    delete new int(1);
    CHECK(support::allocations().ours > seen.back().ours); // the counter counts
}

TEST_CASE("callbacks stop") {
    const InMemory<u8> data = pictures(Small::input, 30, 3);
    Job<Small> job(data, {.batch = 10});
    FitOptions options = quiet_options(5);
    options.on_epoch = [](const EpochRecord& record) {
        return record.epoch == 2 ? Control::stop : Control::proceed;
    };
    const History by_epoch = job.fit(options);
    CHECK(by_epoch.epochs.size() == 2);
    CHECK(by_epoch.stopped);
    options = quiet_options(5);
    options.on_step = [&](const StepRecord& record) {
        return record.step == 8 ? Control::stop : Control::proceed;
    };
    const History by_step = job.fit(options);
    CHECK(job.steps() == 8);
    CHECK(by_step.stopped);
    CHECK(by_step.epochs.empty());
}

TEST_CASE("Ctrl-C stops at a step and leaves usable weights") {
    const InMemory<u8> data = pictures(Small::input, 30, 3);
    Job<Small> job(data, {.batch = 10});
    FitOptions options = quiet_options(5);
    options.handle_interrupts = true;
    options.on_step = [](const StepRecord& record) {
        if (record.step == 4) std::raise(SIGINT);
        return Control::proceed;
    };
    const History history = job.fit(options);
    CHECK(history.interrupted);
    CHECK(job.steps() == 4);
    CHECK(history.epochs.size() == 1);
    CHECK(std::isfinite(job.evaluate(data).loss));
}

TEST_CASE("weights go to a file and come back, into a trainer and into a predictor") {
    const support::TemporaryFolder folder;
    InMemory<u8> data = pictures(Wide::input, 20, 2);
    data.set_class_names({"dark", "light"});
    Job<Wide> job(data, {.batch = 8});
    job.fit(quiet_options(2));
    const std::string path = folder / "weights.safetensors";
    job.save(path);
    const std::vector<float> probabilities = job.predict(data);

    Job<Wide> again(data, {.batch = 8, .seed = 99});
    again.load(path);
    CHECK(again.predict(data) == probabilities);

    Predictor<Wide, Float, Host> predictor(path, {.batch = 8});
    CHECK(predictor.predict(data) == probabilities);
    CHECK(predictor.class_names() == std::vector<std::string>{"dark", "light"});
    CHECK(predictor.peak() < job.peak());
    for (const float probability : probabilities) CHECK((probability > 0 && probability < 1));

    const SafetensorsFile file(path);
    CHECK(file.find("0.weight") != nullptr);
    CHECK(file.find("3.body.0.bias") != nullptr);
    CHECK(file.find("1.running_var") != nullptr);
    CHECK(file.metadata().at("plimsoll.class_names") == "[\"dark\",\"light\"]");

    const InMemory<u8> other = pictures(Small::input, 3, 3);
    Job<Small> stranger(other, {.batch = 3});
    const std::vector<float> before = stranger.parameter(0);
    const std::string refused = support::message_of<data_error>([&] { stranger.load(path); });
    CHECK(support::contains(refused, "0.weight"));
    CHECK(stranger.parameter(0) == before);
}

TEST_CASE("float pixels and stored pixels give the same bits") {
    const InMemory<u8> stored = pictures<u8>(Small::input, 12, 3);
    const InMemory<float> divided = pictures<float>(Small::input, 12, 3);
    Job<Small, u8> a(stored, {.batch = 5});
    Job<Small, float> b(divided, {.batch = 5});
    a.fit(quiet_options(2));
    b.fit(quiet_options(2));
    for (std::size_t p = 0; p < a.parameters().size(); ++p) CHECK(a.parameter(p) == b.parameter(p));
}

TEST_CASE("bad input is refused with what was expected and what was found") {
    using support::contains;
    using support::message_of;
    const InMemory<u8> data = pictures(Small::input, 10, 3);
    SUBCASE("classes") {
        const std::string message = message_of<data_error>([] {
            const InMemory<u8> five = pictures(Small::input, 10, 5);
            Job<Small> job(five);
        });
        CHECK(contains(message, "5 classes"));
        CHECK(contains(message, "Dense<5>"));
    }
    SUBCASE("shape") {
        const std::string message = message_of<data_error>([] {
            const InMemory<u8> other = pictures({8, 11, 3}, 10, 3);
            Job<Small> job(other);
        });
        CHECK(contains(message, "8x11x3"));
        CHECK(contains(message, "11x8x3"));
    }
    SUBCASE("step") {
        Job<Small> job(data, {.batch = 4});
        const std::size_t image = static_cast<std::size_t>(Small::input.size());
        const std::vector<u8> images(5 * image);
        const std::vector<Label> labels(5);
        CHECK(contains(message_of<argument_error>([&] { job.step(images, labels); }), "1 to 4"));
        CHECK(contains(message_of<argument_error>([&] { job.step({}, {}); }), "1 to 4"));
        CHECK(contains(message_of<data_error>(
                           [&] { job.step(std::span(images).first(3 * image), std::span(labels).first(2)); }),
                       "2 labels"));
        const std::vector<Label> wrong{0, 3};
        CHECK(contains(message_of<data_error>([&] { job.step(std::span(images).first(2 * image), wrong); }),
                       "label 3"));
        CHECK(contains(message_of<data_error>([&] { job.predict(std::span(images).first(image + 1)); }),
                       "11x8x3"));
        CHECK(job.steps() == 0);
    }
    SUBCASE("settings") {
        CHECK(
            contains(message_of<argument_error>([&] { Job<Small> job(data, {.batch = 0}); }), ".batch = 0"));
        CHECK(
            contains(message_of<argument_error>([&] { Job<Small> job(data, {.lanes = 0}); }), ".lanes = 0"));
        CHECK(contains(message_of<argument_error>([&] { Job<Small> job(data, {.threads = -1}); }),
                       ".threads = -1"));
        CHECK(contains(message_of<budget_error>([&] { Job<Small> job(data, {.budget = 0_B}); }), "at least"));
        const std::string message =
            message_of<budget_error>([&] { Job<Small> job(data, {.budget = 1_KiB}); });
        CHECK(contains(message, "needs at least"));
        CHECK(contains(message, "1024 B"));
    }
    SUBCASE("a loss that is not finite names step and samples, and spares the weights") {
        InMemory<float> good = pictures<float>(Small::input, 10, 3);
        Job<Small, float> job(good, {.batch = 4});
        std::vector<float> images(static_cast<std::size_t>(Small::input.size()) * 4, 0.5f);
        images[static_cast<std::size_t>(Small::input.size()) * 2 + 17] =
            std::numeric_limits<float>::quiet_NaN();
        const std::vector<Label> labels{0, 1, 2, 0};
        const std::vector<float> before = job.parameter(0);
        const std::string message = message_of<numeric_error>([&] { job.step(images, labels); });
        CHECK(contains(message, "step 1"));
        CHECK(contains(message, "sample 2"));
        CHECK(contains(message, "1 of 4 images"));
        CHECK(job.parameter(0) == before);
    }
}

TEST_CASE("a budget that is too small names one that works and a change that fits") {
    const auto refusal = [](auto& data, const Settings& settings) {
        using Source = std::remove_reference_t<decltype(data)>;
        static_assert(std::is_same_v<Source, const InMemory<u8>>);
        return support::message_of<budget_error>([&] {
            if (data.shape() == Small::input)
                Job<Small> job(data, settings);
            else
                Job<Wide> job(data, settings);
        });
    };
    const InMemory<u8> small = pictures(Small::input, 10, 3), wide = pictures(Wide::input, 10, 2);
    const auto contains = support::contains;

    const std::int64_t least = Job<Small>::Blueprint::least_bytes({.batch = 8});
    Job<Small> exact(small, {.batch = 8, .budget = {least}});
    CHECK(exact.peak().count == least);
    const std::string message = refusal(small, {.batch = 8, .budget = {least - 1}});
    CHECK(contains(message, text("needs at least ", least, " B")));
    CHECK(contains(message, "1 B too little"));
    CHECK(contains(message, "(Sgd, RmsProp) fits"));
    Trainer<Small, InMemory<u8>, Float, Host, DefaultLoss<Small>, RmsProp> lighter(
        small, {.batch = 8, .budget = {least - 1}});
    CHECK(lighter.peak().count < least);
    CHECK(contains(refusal(small, {.batch = 8, .budget = 1_KiB}),
                   "no other batch, precision or optimizer fits"));

    // Batch normalisation keeps the batch whole.
    const std::int64_t narrow = Job<Wide>::Blueprint::least_bytes({.batch = 8});
    Job<Wide> narrowed(wide, {.batch = 8, .budget = {narrow}});
    CHECK(narrowed.peak().count == narrow);
    const std::int64_t fewer = Job<Wide>::Blueprint::least_bytes({.batch = 2});
    CHECK(contains(refusal(wide, {.batch = 8, .budget = {fewer}}), ".batch = 2 fits"));
    Job<Wide> shrunk(wide, {.batch = 2, .budget = {fewer}});
    CHECK(shrunk.peak().count <= fewer);
}

TEST_CASE("with canaries, a write past a part's end is found and names the part") {
    if constexpr (guard_bytes == 0) {
        MESSAGE("skipped: built without PLIMSOLL_CANARIES (preset host-debug has them)");
    } else {
        using Net = Sequential<Image<4, 4, 1>, Flatten, Overrunning, Dense<2>>;
        const InMemory<u8> data = pictures(Net::input, 4, 2);
        Job<Net> job(data, {.batch = 4});
        const std::string message = support::message_of([&] { job.fit(quiet_options(1)); });
        CHECK(support::contains(message, "past the end of activations"));
    }
}

TEST_CASE("a ReLU of a maximum is made with the maximum") {
    const auto source = pictures({11, 8, 3}, 12, 3);
    const auto losses = [&](auto& job) {
        std::vector<double> of_epochs;
        const History history = job.fit(quiet_options(3));
        for (const EpochRecord& epoch : history.epochs) of_epochs.push_back(epoch.train.loss);
        return of_epochs;
    };
    Job<Counting<true>> fused(source, {.batch = 6, .threads = 2});
    Job<Counting<false>> apart(source, {.batch = 6, .threads = 2});
    CHECK(losses(fused) == losses(apart));
    CHECK(Counted<0, true>::calls == 0);
    CHECK(Counted<1, true>::calls == 0);
    CHECK(Counted<2, true>::calls > 0); // of a sum
    CHECK(Counted<0, false>::calls > 0);
    CHECK(Counted<1, false>::calls > 0);
}
