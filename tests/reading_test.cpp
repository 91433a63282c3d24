// Reading ahead, and sources on disk: the same pictures in the same order as from memory.
#include "support.hpp"

#include <plimsoll/core/process_definitions.hpp>
#include <plimsoll/format/npy.hpp>
#include <plimsoll/plimsoll.hpp>
#include <plimsoll/source/example_source.hpp>

#include <atomic>
#include <chrono>
#include <thread>

using namespace plimsoll;

namespace {

constexpr Shape shape{6, 5, 3};

/// Pictures whose every pixel tells its sample; reads of some samples are slow or fail.
class Tricky {
  public:
    using Pixel = u8;
    static constexpr int read_ahead = 2;

    explicit Tricky(std::uint64_t size, int readers = 1) : size_(size), readers_(readers) {}
    [[nodiscard]] std::uint64_t size() const { return size_; }
    [[nodiscard]] Shape shape() const { return ::shape; }
    [[nodiscard]] int classes() const { return 2; }
    [[nodiscard]] const std::vector<std::string>& class_names() const { return class_names_; }
    [[nodiscard]] std::string name() const { return "Tricky"; }
    [[nodiscard]] int reader_threads() const { return readers_; }
    void read(std::span<const std::uint64_t> samples, std::span<u8> images, std::span<Label> labels) const {
        check_read(name(), size_, shape(), samples, images, labels);
        ++reads;
        for (std::size_t i = 0; i < samples.size(); ++i) {
            if (samples[i] % 7 == slow) std::this_thread::sleep_for(std::chrono::milliseconds(1));
            if (samples[i] == failing) throw data_error(text("sample ", samples[i], " is broken"));
            const auto pixels = static_cast<std::size_t>(shape().size());
            for (std::size_t p = 0; p < pixels; ++p)
                images[i * pixels + p] = static_cast<u8>(samples[i] * 31 + p);
            labels[i] = static_cast<Label>(samples[i] % 2);
        }
    }
    std::uint64_t failing = ~std::uint64_t{0}, slow = 7;
    mutable std::atomic<int> reads{0};

  private:
    std::uint64_t size_;
    int readers_;
    std::vector<std::string> class_names_;
};
static_assert(source<Tricky>);

/// Slots of `room` samples, and the fillings of a pass over `size` samples, last one first.
struct Ring {
    std::vector<std::vector<u8>> images;
    std::vector<std::vector<Label>> labels;
    std::vector<Prefetch<u8>::Slot> slots;
    Ring(int count, std::size_t room)
        : images(static_cast<std::size_t>(count)), labels(static_cast<std::size_t>(count)) {
        for (std::size_t s = 0; s < images.size(); ++s) {
            images[s].resize(room * static_cast<std::size_t>(shape.size()));
            labels[s].resize(room);
            slots.push_back({images[s], labels[s]});
        }
    }
};

Prefetch<u8>::Plan backwards(std::uint64_t size) {
    return [size](std::uint64_t fill, std::span<std::uint64_t> samples) {
        const std::uint64_t done = std::min(size, fill * samples.size());
        const std::size_t count =
            static_cast<std::size_t>(std::min<std::uint64_t>(samples.size(), size - done));
        for (std::size_t i = 0; i < count; ++i) samples[i] = size - 1 - done - i;
        return count;
    };
}

/// One filling of `backwards`: labels and pixels of the samples below `expected`, which is counted down.
void check_backwards(const Ring& ring, const Prefetch<u8>::Filled& filled, std::uint64_t& expected) {
    for (std::size_t i = 0; i < filled.samples.size(); ++i) {
        --expected;
        CHECK(filled.samples[i] == expected);
        CHECK(filled.labels[i] == static_cast<Label>(expected % 2));
        const auto& images = ring.images[static_cast<std::size_t>(filled.slot)];
        const std::size_t pixels = static_cast<std::size_t>(shape.size());
        CHECK(images[i * pixels] == static_cast<u8>(expected * 31));
        CHECK(images[(i + 1) * pixels - 1] == static_cast<u8>(expected * 31 + pixels - 1));
    }
}

template <class Source>
using Net = Sequential<Image<6, 5, 3>, Conv2d<4, 3>, Relu, Flatten, Dropout<0.25_p>, Dense<2>>;
template <class Source>
using Job = Trainer<Net<Source>, Source, Float, Host>;

/// Weights and losses of two epochs.
template <class Source>
std::vector<std::vector<float>> trained(const Source& source) {
    Job<Source> job(source, {.batch = 10, .seed = 4});
    const History history = job.fit({.epochs = 2, .progress = false}, source);
    std::vector<std::vector<float>> out;
    for (const EpochRecord& epoch : history.epochs)
        out.push_back({static_cast<float>(epoch.train.loss), static_cast<float>(epoch.validation.loss)});
    for (std::size_t p = 0; p < job.parameters().size(); ++p) out.push_back(job.parameter(p));
    return out;
}

} // namespace

TEST_CASE("what is read ahead comes in order, whatever the threads and slots") {
    for (const int threads : {0, 1, 2, 5})
        for (const int slots : {1, 2, 4})
            for (const std::uint64_t size : {1u, 12u, 13u, 60u}) {
                Tricky source(size);
                source.slow = 3;
                Ring ring(slots, 4);
                Prefetch<u8> reading(source, ring.slots, threads, backwards(size));
                std::uint64_t expected = size;
                for (;;) {
                    const auto filled = reading.next();
                    if (filled.samples.empty()) break;
                    check_backwards(ring, filled, expected);
                }
                CHECK(expected == 0);
                CHECK(reading.next().samples.empty()); // and stays at its end
            }
}

TEST_CASE("what is set aside is read anew, by the same order, and leaves the slots alone meanwhile") {
    for (const int threads : {0, 1, 2, 5})
        for (const int slots : {1, 2, 4})
            for (const std::uint64_t size : {1u, 13u, 60u}) {
                Tricky source(size);
                source.slow = 3;
                Ring ring(slots, 4);
                Prefetch<u8> reading(source, ring.slots, threads, backwards(size));
                std::uint64_t expected = size;
                for (std::uint32_t turn = 0;; ++turn) {
                    auto filled = reading.next();
                    const std::uint32_t chance = philox({turn, 0, 0, 0}, 5).x % 3;
                    if (chance > 0) {
                        reading.set_aside(chance == 1);
                        for (auto& images : ring.images) std::fill(images.begin(), images.end(), u8{77});
                        if (chance == 2) reading.set_aside(false);
                        std::this_thread::sleep_for(std::chrono::microseconds(200));
                        for (const auto& images : ring.images)
                            CHECK(std::count(images.begin(), images.end(), u8{77}) ==
                                  static_cast<std::ptrdiff_t>(images.size()));
                        if (chance == 2 && !filled.samples.empty()) { // it was done with
                            expected -= filled.samples.size();
                            continue;
                        }
                        if (chance == 1) filled = reading.next();
                    }
                    if (filled.samples.empty()) break;
                    check_backwards(ring, filled, expected);
                }
                CHECK(expected == 0);
                CHECK(reading.next().samples.empty());
            }
}

TEST_CASE("a read that fails does so to the caller, in its turn, and leaves nothing waiting") {
    for (const int threads : {0, 1, 3}) {
        Tricky source(40);
        source.failing = 40 - 1 - 17; // in the fifth filling
        Ring ring(2, 4);
        Prefetch<u8> reading(source, ring.slots, threads, backwards(40));
        for (int fill = 0; fill < 4; ++fill) CHECK(reading.next().samples.size() == 4);
        CHECK(support::contains(support::message_of<data_error>([&] { reading.next(); }),
                                "sample 22 is broken"));
        CHECK(reading.next().samples.size() == 4); // the next is another matter
    }
    { // given up in the middle
        Tricky source(1000, 2);
        source.slow = 0;
        Ring ring(3, 4);
        Prefetch<u8> reading(source, ring.slots, 2, backwards(1000));
        reading.next();
    }
}

TEST_CASE("fit passes a reader's exception on, and goes on when it is over") {
    Tricky source(50, 2);
    Job<Tricky> job(source, {.batch = 8});
    source.failing = 33;
    CHECK(support::contains(support::message_of<data_error>([&] { job.fit({.progress = false}); }),
                            "sample 33 is broken"));
    source.failing = ~std::uint64_t{0};
    CHECK(job.fit({.progress = false}).epochs.size() == 1);
}

TEST_CASE("the plan's ring has room for what is read ahead") {
    using Here = Job<InMemory<u8>>::Blueprint;
    using Ahead = Job<Tricky>::Blueprint;
    const auto ring = [](const auto& plan) { return plan.parts[plan.pixels].bytes; };
    CHECK(3 * ring(Here::plan({.batch = 8}, {.micro_batch = 8})) ==
          ring(Ahead::plan({.batch = 8}, {.micro_batch = 8})));
    // A setting says otherwise, and changes no bit.
    CHECK(ring(Here::plan({.batch = 8, .prefetch = 2}, {.micro_batch = 8})) ==
          ring(Ahead::plan({.batch = 8}, {.micro_batch = 8})));
    const Tricky source(50, 2);
    std::vector<std::vector<float>> weights;
    for (const int prefetch : {-1, 0, 1, 5}) {
        Job<Tricky> job(source, {.batch = 8, .prefetch = prefetch});
        job.fit({.progress = false});
        weights.push_back(job.parameter(0));
        CHECK(weights.back() == weights.front());
    }
    CHECK(support::contains(
        support::message_of<argument_error>([&] { Job<Tricky> job(source, {.prefetch = -2}); }),
        ".prefetch = -2"));
}

TEST_CASE("training goes on as it was behind callbacks that evaluate, predict and fit") {
    Tricky source(50, 2), held_out(23, 2);
    source.slow = held_out.slow = 3;
    const std::vector<u8> pixels(static_cast<std::size_t>(10 * shape.size()), u8{9});
    for (const int prefetch : {-1, 0, 1, 5}) {
        CAPTURE(prefetch);
        const Settings settings{.batch = 8, .prefetch = prefetch};
        const auto train = [&](auto ask) {
            Job<Tricky> job(source, settings);
            std::vector<std::vector<float>> seen;
            FitOptions options{.epochs = 2, .progress = false};
            options.on_step = [&](const StepRecord& record) {
                seen.push_back({static_cast<float>(record.metrics.loss)});
                ask(job);
                return Control::proceed;
            };
            job.fit(options);
            for (std::size_t p = 0; p < job.parameters().size(); ++p) seen.push_back(job.parameter(p));
            return seen;
        };
        const auto expected = train([](Job<Tricky>&) {});
        std::vector<Metrics> evaluated;
        CHECK(train([&](Job<Tricky>& job) { evaluated.push_back(job.evaluate(held_out)); }) == expected);
        CHECK(train([&](Job<Tricky>& job) { job.predict(held_out); }) == expected);
        CHECK(train([&](Job<Tricky>& job) { job.predict(std::span<const u8>(pixels)); }) == expected);
        CHECK(evaluated.front() != evaluated.back());
        // What a callback trains is trained, on its own samples.
        int begun = 0;
        CHECK(train([&](Job<Tricky>& job) {
                  if (begun++ == 2) job.fit({.epochs = 1, .shuffle = false, .progress = false});
              }) != expected);
        source.failing = 33;
        CHECK_THROWS_AS(train([&](Job<Tricky>& job) { job.evaluate(held_out); }), data_error);
        source.failing = ~std::uint64_t{0};
    }
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) // they need address space themselves
TEST_CASE("where the process may have no more threads, reading goes on with fewer") {
    rlimit before{};
    REQUIRE(getrlimit(RLIMIT_AS, &before) == 0);
    const auto pages = detail::read_number("/proc/self/statm"); // VmSize
    REQUIRE(pages);
    Tricky source(60);
    Ring ring(2, 4);
    rlimit tight = before; // room for a few of 64 stacks
    tight.rlim_cur = static_cast<rlim_t>(*pages * sysconf(_SC_PAGESIZE)) + (20u << 20);
    REQUIRE(setrlimit(RLIMIT_AS, &tight) == 0);
    std::size_t read = 0;
    {
        Prefetch<u8> reading(source, ring.slots, 64, backwards(60));
        REQUIRE(setrlimit(RLIMIT_AS, &before) == 0);
        for (auto filled = reading.next(); !filled.samples.empty(); filled = reading.next())
            read += filled.samples.size();
    }
    CHECK(read == 60);
}
#endif

TEST_CASE("MemoryMapped gives the bits of InMemory: pictures, losses and weights") {
    const support::TemporaryFolder folder;
    const ExampleSource made(37, shape, 3);
    std::vector<u8> images(37 * static_cast<std::size_t>(shape.size())); // (N, H, W, C)
    std::vector<Label> labels(37);
    std::vector<std::uint64_t> samples(37);
    for (std::size_t i = 0; i < samples.size(); ++i) samples[i] = i;
    made.read(samples, images, labels);
    const std::uint64_t dims[] = {37, 6, 5, 3}, count[] = {37};
    write_npy(folder / "train_images.npy", dims, std::span<const u8>(images));
    write_npy(folder / "train_labels.npy", count, std::span<const Label>(labels));
    const std::string prefix = folder / "train";
    const InMemory<u8> memory(prefix);
    const MemoryMapped<u8> mapped(prefix);
    CHECK(mapped.size() == 37);
    CHECK(mapped.shape() == shape);
    CHECK(mapped.classes() == 2);
    CHECK(trained(memory) == trained(mapped));
    CHECK(trained(memory) != trained(ExampleSource(37, shape, 4))); // the comparison can fail

    std::vector<float> floats(images.begin(), images.end());
    for (float& pixel : floats) pixel /= 255.0f;
    write_npy(folder / "float_images.npy", dims, std::span<const float>(floats));
    write_npy(folder / "float_labels.npy", count, std::span<const Label>(labels));
    const std::string other = folder / "float";
    CHECK(trained(MemoryMapped<float>(other)) == trained(mapped)); // division by 255 is the device's too

    std::vector<half> halves;
    for (float& pixel : floats) {
        halves.push_back(to<half>(pixel));
        pixel = to_float(halves.back());
    }
    write_npy(folder / "half_images.npy", dims, std::span<const half>(halves));
    write_npy(folder / "half_labels.npy", count, std::span<const Label>(labels));
    write_npy(folder / "float_images.npy", dims, std::span<const float>(floats));
    const std::string stored = folder / "half";
    CHECK(trained(MemoryMapped<half>(stored)) == trained(MemoryMapped<float>(other)));
    CHECK(trained(InMemory<half>(stored)) == trained(MemoryMapped<float>(other)));
    CHECK(trained(InMemory<half>(stored)) != trained(mapped));
}

TEST_CASE("MemoryMapped refuses what it cannot train on, and finds what breaks later") {
    const support::TemporaryFolder folder;
    const std::uint64_t dims[] = {4, 6, 5, 3}, count[] = {4}, fewer[] = {3};
    std::vector<float> images(4 * static_cast<std::size_t>(shape.size()));
    const std::vector<Label> labels{0, 1, 1, 0};
    write_npy(folder / "a_images.npy", dims, std::span<const float>(images));
    write_npy(folder / "a_labels.npy", count, std::span<const Label>(labels));
    const std::string path = folder / "a_images.npy", names = folder / "a_labels.npy";
    CHECK(support::contains(support::message_of<data_error>([&] { MemoryMapped<u8> bad(folder / "a"); }),
                            "write MemoryMapped<float>"));
    const std::vector<half> halves(images.size());
    write_npy(folder / "h_images.npy", dims, std::span<const half>(halves));
    write_npy(folder / "h_labels.npy", count, std::span<const Label>(labels));
    CHECK(support::contains(support::message_of<data_error>([&] { MemoryMapped<u8> bad(folder / "h"); }),
                            "holds float16: write MemoryMapped<half>"));
    CHECK(support::contains(support::message_of<io_error>([&] { MemoryMapped<u8> bad(folder / "b"); }),
                            "b_images.npy"));
    write_npy(folder / "few.npy", fewer, std::span<const Label>(labels).first(3));
    CHECK(support::contains(
        support::message_of<data_error>([&] { MemoryMapped<float> bad(path, folder / "few.npy"); }),
        "has 4 images"));

    images[2 * 90 + 5] = std::numeric_limits<float>::quiet_NaN();
    write_npy(path, dims, std::span<const float>(images));
    const MemoryMapped<float> later(path, names);
    std::vector<float> out(90);
    std::vector<Label> label(1);
    const std::uint64_t third[] = {2};
    CHECK(support::contains(support::message_of<data_error>([&] { later.read(third, out, label); }),
                            "sample 2, pixel 5 is nan"));
    std::filesystem::resize_file(path, std::filesystem::file_size(path) - 400);
    const std::uint64_t last[] = {3};
    CHECK(support::contains(support::message_of<io_error>([&] { later.read(last, out, label); }), "shrunk"));
}

TEST_CASE("slices are written and rounded as TensorFlow Datasets does") {
    const auto range = [](std::string_view slice, std::uint64_t size) {
        const SampleRange found = parse_slice(slice, size);
        return std::pair(found.first, found.count);
    };
    using Pair = std::pair<std::uint64_t, std::uint64_t>;
    CHECK(range("", 10) == Pair(0, 10));
    CHECK(range("train", 10) == Pair(0, 10));
    CHECK(range("train[:1000]", 23262) == Pair(0, 1000));
    CHECK(range("[:1000]", 10) == Pair(0, 10));
    CHECK(range("train[70%:85%]", 23262) == Pair(16283, 3490)); // 16283.4 and 19772.7
    CHECK(range("[85%:]", 23262) == Pair(19773, 3489));
    CHECK(range("[50%:]", 5) == Pair(2, 3)); // 2.5 to even
    CHECK(range("[-10%:]", 20) == Pair(18, 2));
    CHECK(range("[-3:-1]", 20) == Pair(17, 2));
    for (const std::uint64_t size : {1u, 2u, 7u, 99u, 23262u}) // disjoint and complete
        for (int cut = 1; cut < 100; ++cut) {
            const auto end = [&](std::string slice) {
                try {
                    const SampleRange found = parse_slice(slice, size);
                    return std::pair(found.first, found.first + found.count);
                } catch (const argument_error&) { // empty
                    return std::pair(std::uint64_t{0}, std::uint64_t{0});
                }
            };
            const auto low = end(text("[:", cut, "%]")), high = end(text("[", cut, "%:]"));
            CHECK((low.second == high.first || low.second == 0 || high.second == 0));
            CHECK(low.second - low.first + high.second - high.first == size);
        }
    for (const char* wrong :
         {"test[:3]", "[3", "[3]", "[a:]", "[:1.5]", "[:101%]", "[5:5]", "[7:3]", "[50:]"}) {
        CAPTURE(wrong);
        CHECK(support::contains(support::message_of<argument_error>([&] { parse_slice(wrong, 50); }), wrong));
    }
}

TEST_CASE("a part of a source is a source") {
    std::vector<u8> images(20 * static_cast<std::size_t>(shape.size()));
    std::vector<Label> labels(20);
    for (std::size_t i = 0; i < labels.size(); ++i) {
        labels[i] = i % 5 == 0 ? 1 : 0;
        std::fill_n(images.begin() + static_cast<std::ptrdiff_t>(i * 90), 90, static_cast<u8>(i));
    }
    const InMemory<u8> all(images, shape, labels);
    const auto samples_of = [](const auto& part) {
        std::vector<u8> out(static_cast<std::size_t>(part.size()) * 90);
        std::vector<Label> read(static_cast<std::size_t>(part.size()));
        std::vector<std::uint64_t> wanted(read.size());
        for (std::size_t i = 0; i < wanted.size(); ++i) wanted[i] = i;
        part.read(wanted, out, read);
        std::vector<int> first;
        for (std::size_t i = 0; i < read.size(); ++i) {
            first.push_back(out[i * 90]);
            CHECK(read[i] == (first.back() % 5 == 0 ? 1 : 0));
            CHECK(part.label(i) == read[i]);
        }
        return first;
    };
    static_assert(source<View<InMemory<u8>>>);
    CHECK(samples_of(all.slice("[3:6]")) == std::vector<int>{3, 4, 5});
    CHECK(samples_of(all.slice("[50%:]").slice("[-20%:]")) == std::vector<int>{18, 19});
    CHECK(samples_of(all.skip(4).take(3)) == std::vector<int>{4, 5, 6});
    CHECK(samples_of(all.take(1000)).size() == 20);
    CHECK(all.slice("[:50%]").name() == "memory[:50%]");
    const auto half = all.stratified(0.5, 1);
    CHECK(class_counts(half) == std::vector<std::uint64_t>{8, 2});
    CHECK(samples_of(half) == samples_of(all.stratified(0.5, 1)));
    CHECK(samples_of(half) != samples_of(all.stratified(0.5, 2)));
    CHECK(samples_of(half.take(3)).size() == 3);
    CHECK(class_counts(all) == std::vector<std::uint64_t>{16, 4});
    Job<View<InMemory<u8>>> job(half, {.batch = 4});
    CHECK(job.fit({.progress = false}, all.slice("[10:]")).epochs.size() == 1);
    // A part trains in a job of the source's own type too, and need not outlive it.
    Job<InMemory<u8>> same(all.stratified(0.5, 1), {.batch = 4});
    same.fit({.progress = false}, all.slice("[10:]"));
    for (std::size_t p = 0; p < job.parameters().size(); ++p) CHECK(same.parameter(p) == job.parameter(p));
}

namespace {

/// Its labels are none of its classes.
struct Mislabelled : ExampleSource {
    using ExampleSource::ExampleSource;
    [[nodiscard]] Label label(std::uint64_t) const { return 7; }
};

} // namespace

TEST_CASE("a source whose labels are not its classes is named, and writes nowhere") {
    const Mislabelled source(4);
    for (const std::string& said :
         {support::message_of<data_error>([&] { static_cast<void>(class_counts(source)); }),
          support::message_of<data_error>([&] { static_cast<void>(View(source).stratified(0.5)); })})
        CHECK(support::contains(said, ": sample 0 has label 7, its classes are 0 to 1"));
}
