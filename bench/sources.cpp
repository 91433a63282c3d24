// The same pictures through each source, training one network: how much of the speed of pictures in memory is
// left, and how long the device waited for data. The jobs take turns, an epoch each, so that what else the
// machine does falls on all alike.
// Usage: sources <folder or pattern of TFRecord files> <folder for arrays, removed again> [rounds] [pictures]
//                [batch]
#include "process.hpp"
#include "workload.hpp"

#include <plimsoll/source/streaming.hpp>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <functional>

namespace {

using namespace workload;

/// One source in a job, and what was measured of it.
struct Contestant {
    const char* name;
    Bytes arena;
    std::function<EpochRecord()> epoch;
    std::vector<EpochRecord> records{};
};

template <class Source>
Contestant contestant(const char* name, const Source& source, const Settings& settings) {
    const auto job = std::make_shared<Trainer<Guide, Source, Float, Host>>(source, settings);
    return {name, job->peak(), [job] { return job->fit({.progress = false}).last(); }};
}

/// Writes a source's pictures as plimsoll-preprocess does: <prefix>_images.npy and <prefix>_labels.npy.
template <class Source>
void write_arrays(const Source& source, const std::string& images_path, const std::string& labels_path) {
    const Shape shape = source.shape();
    const std::uint64_t size = source.size();
    const std::array<std::uint64_t, 4> extents{size, static_cast<std::uint64_t>(shape.height),
                                               static_cast<std::uint64_t>(shape.width),
                                               static_cast<std::uint64_t>(shape.channels)};
    NpyWriter images(images_path, dtype_of<u8>, extents);
    std::vector<u8> image(static_cast<std::size_t>(shape.size())); // (H, W, C)
    std::vector<Label> labels(static_cast<std::size_t>(size));     // (N)
    for (std::uint64_t sample = 0; sample < size; ++sample) {
        source.read(std::span(&sample, 1), std::span(image),
                    std::span(labels).subspan(static_cast<std::size_t>(sample), 1));
        images.append(std::span(image));
    }
    images.commit();
    write_npy(labels_path, std::array{size}, std::span(labels));
}

double number(int count, char** arguments, int index, double otherwise) {
    return count > index ? std::max(std::atof(arguments[index]), 1.0) : otherwise;
}

int run(int count, char** arguments) {
    const std::string folder = arguments[2];
    const int rounds = static_cast<int>(number(count, arguments, 3, 9));
    const auto wanted = static_cast<std::uint64_t>(number(count, arguments, 4, 1280));
    const Settings settings{.batch = static_cast<int>(number(count, arguments, 5, 32)), .seed = 1};

    const Streaming<u8> all(arguments[1], Guide::input);
    const View<Streaming<u8>> streaming = all.take(wanted);
    const process::TemporaryFile images(folder + "/sources_images.npy");
    const process::TemporaryFile labels(folder + "/sources_labels.npy");
    write_arrays(streaming, images.path(), labels.path());
    const MemoryMapped<u8> mapped(images.path(), labels.path());
    const InMemory<u8> memory(mapped);

    std::vector<Contestant> contestants{contestant("InMemory<u8>", memory, settings),
                                        contestant("MemoryMapped<u8>", mapped, settings),
                                        contestant("Streaming<u8>", streaming, settings)};
    for (Contestant& each : contestants) each.epoch(); // pages, threads, files
    for (int round = 0; round < rounds; ++round)
        for (std::size_t turn = 0; turn < contestants.size(); ++turn) {
            Contestant& each = contestants[(turn + static_cast<std::size_t>(round)) % contestants.size()];
            each.records.push_back(each.epoch());
        }

    std::printf("%llu pictures of %s, batch %d, Float on Host with %d threads, %d reading; medians of %d "
                "epochs each\n\n",
                static_cast<unsigned long long>(streaming.size()), to_string(streaming.shape()).c_str(),
                settings.batch, Host().workers(), streaming.reader_threads(), rounds);
    std::printf("| source | images a second | least to most | of in memory, by rounds | waiting | arena |\n"
                "| --- | ---: | ---: | ---: | ---: | ---: |\n");
    bool same = true;
    for (const Contestant& each : contestants) {
        std::vector<double> speeds, ratios, waits;
        for (std::size_t r = 0; r < each.records.size(); ++r) {
            const EpochRecord &epoch = each.records[r], &best = contestants.front().records[r];
            speeds.push_back(epoch.images_per_second);
            ratios.push_back(epoch.images_per_second / best.images_per_second);
            waits.push_back(100 * epoch.waiting);
            same = same && epoch.train == best.train;
        }
        const process::Spread speed(speeds), ratio(ratios), wait(waits);
        std::printf("| `%s` | %.1f | %.1f to %.1f | %.3f (%.3f to %.3f) | %.2f %% | %.2f MiB |\n", each.name,
                    speed.median, speed.least, speed.most, ratio.median, ratio.least, ratio.most, wait.median,
                    process::mib(each.arena));
    }
    std::printf("\nThe losses of all epochs are %s\n", same ? "the same through each." : "NOT THE SAME.");
    return same ? 0 : 1;
}

} // namespace

int main(int count, char** arguments) try {
    if (count < 3) {
        std::fputs("usage: sources <folder or pattern> <folder for arrays> [rounds] [pictures] [batch]\n",
                   stderr);
        return 2;
    }
    return run(count, arguments);
} catch (const std::exception& problem) {
    std::fprintf(stderr, "sources: %s\n", problem.what());
    return 1;
}
