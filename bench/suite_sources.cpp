// Pictures read a second through each source, shuffled, without training: arrays in memory and on disk, JPEGs
// in TFRecord files; from the disk ("cold": the files are taken out of the system's cache before each pass)
// and from the cache
// ("warm"). The pictures are made up, in a temporary folder (TMPDIR) that goes with the program.
// Usage: suite_sources [Google Benchmark's flags]
#include "pictures.hpp"
#include "process.hpp"

#include <plimsoll/source/order.hpp>

#include <benchmark/benchmark.h>

#include <fcntl.h>

#include <filesystem>
#include <memory>
#include <optional>

namespace {

using namespace plimsoll;

constexpr Shape shape{150, 150, 3};
constexpr std::uint64_t count = 512;

/// The files, made when they are first asked for, and removed at the end.
class Files {
  public:
    static const Files& made() {
        static const Files files;
        return files;
    }
    ~Files() { std::filesystem::remove_all(folder_); }
    Files(const Files&) = delete;
    Files& operator=(const Files&) = delete;

    [[nodiscard]] std::string images() const { return folder_ + "/train_images.npy"; }
    [[nodiscard]] std::string labels() const { return folder_ + "/train_labels.npy"; }
    /// None where this build reads no JPEG from TFRecord files.
    [[nodiscard]] const std::optional<std::string>& records() const { return records_; }

    /// Takes the pages of all files out of the system's cache; so far as it wants, for it is advice.
    void forget_pages() const {
        for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
            const File file(entry.path().string());
            static_cast<void>(::fsync(file.descriptor())); // pages that are not written yet stay
            static_cast<void>(::posix_fadvise(file.descriptor(), 0, 0, POSIX_FADV_DONTNEED));
        }
    }

  private:
    Files() {
        std::string name = (std::filesystem::temp_directory_path() / "plimsoll-sources-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no folder " + name);
        folder_ = name;
        pictures::write_arrays(folder_ + "/train", shape, 2, count);
        try {
            const std::string path = folder_ + "/train.tfrecord";
            pictures::write_records(path, count);
            records_ = path;
        } catch (const error&) { // its benchmarks say that they are left out
        }
    }
    std::string folder_;
    std::optional<std::string> records_;
};

/// A pass over a source in a new order, read ahead as a trainer reads. \returns a sum, so that nothing is
/// left out
template <class Source>
std::uint64_t read_all(const Source& source, std::uint64_t pass) {
    constexpr std::size_t batch = 32, slots = 2;
    const auto pixels = static_cast<std::size_t>(source.shape().size());
    static std::vector<u8> images(slots * batch * pixels); // (slots, N, H, W, C)
    static std::vector<Label> labels(slots * batch);       // (slots, N)
    std::vector<Prefetch<u8>::Slot> ring;
    for (std::size_t slot = 0; slot < slots; ++slot)
        ring.push_back({std::span(images).subspan(slot * batch * pixels, batch * pixels),
                        std::span(labels).subspan(slot * batch, batch)});
    const Order order(source.size(), 1, pass, true);
    Prefetch<u8> reading(
        source, ring, reader_threads(source), [&](std::uint64_t fill, std::span<std::uint64_t> samples) {
            const std::uint64_t first = std::min<std::uint64_t>(fill * batch, order.size());
            const auto wanted =
                static_cast<std::size_t>(std::min<std::uint64_t>(batch, order.size() - first));
            order.fill(first, samples.first(wanted));
            return wanted;
        });
    std::uint64_t sum = 0;
    for (auto filled = reading.next(); !filled.samples.empty(); filled = reading.next())
        sum += ring[static_cast<std::size_t>(filled.slot)].images[0] + filled.samples.size();
    return sum;
}

/// `pass(number)` once an iteration, cold or warm.
template <class Pass>
void passes(benchmark::State& state, bool cold, Pass pass) {
    std::uint64_t number = 0;
    pass(number++); // index, buffers, and the cache where it is to be warm
    for (auto _ : state) {
        if (cold) {
            state.PauseTiming();
            Files::made().forget_pages();
            state.ResumeTiming();
        }
        benchmark::DoNotOptimize(pass(number++));
    }
    state.SetItemsProcessed(static_cast<std::int64_t>(count) * state.iterations()); // pictures
}

void in_memory(benchmark::State& state) {
    const InMemory<u8> source(Files::made().images(), Files::made().labels());
    passes(state, false, [&](std::uint64_t number) { return read_all(source, number); });
}

/// What InMemory does first: the whole array into memory.
void in_memory_load(benchmark::State& state, bool cold) {
    passes(state, cold, [&](std::uint64_t) {
        return InMemory<u8>(Files::made().images(), Files::made().labels()).size();
    });
}

void memory_mapped(benchmark::State& state, bool cold) {
    const MemoryMapped<u8> source(Files::made().images(), Files::made().labels());
    passes(state, cold, [&](std::uint64_t number) { return read_all(source, number); });
}

void streaming(benchmark::State& state, bool cold) {
    const auto& records = Files::made().records();
    if (!records) return state.SkipWithError("this build reads no JPEG from TFRecord files");
    const Streaming<u8> source(*records, shape);
    passes(state, cold, [&](std::uint64_t number) { return read_all(source, number); });
    state.counters["readers"] = source.reader_threads();
}

BENCHMARK(in_memory)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(in_memory_load, cold, true)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(in_memory_load, warm, false)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(memory_mapped, cold, true)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(memory_mapped, warm, false)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(streaming, cold, true)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(streaming, warm, false)->Unit(benchmark::kMillisecond)->UseRealTime();

} // namespace
