// Pictures decoded a second, exactly shuffled over the whole set, without training: the pipeline alone. After
// a first pass, which is not timed; prints one line of JSON. Usage: streaming <folder or pattern of TFRecord
// files> [reading threads] [passes]
#include "process.hpp"

#include <plimsoll/plimsoll.hpp>
#include <plimsoll/source/order.hpp>
#include <plimsoll/source/streaming.hpp>

#include <cstdio>
#include <cstdlib>
#include <numeric>

using namespace plimsoll;

int main(int count, char** arguments) try {
    if (count < 2) {
        std::fputs("usage: streaming <folder or pattern> [reading threads] [passes]\n", stderr);
        return 2;
    }
    const int threads = count > 2 ? std::max(std::atoi(arguments[2]), 1) : 2;
    const std::uint64_t passes =
        count > 3 ? static_cast<std::uint64_t>(std::max(std::atoi(arguments[3]), 1)) : 4;
    constexpr std::size_t batch = 32, slots = 2;
    const Streaming<u8> source(arguments[1], {150, 150, 3}, {.readers = threads});
    const auto pixels = static_cast<std::size_t>(source.shape().size());
    std::vector<u8> images(slots * batch * pixels); // (slots, N, H, W, C)
    std::vector<Label> labels(slots * batch);       // (slots, N)
    std::vector<Prefetch<u8>::Slot> ring;
    for (std::size_t slot = 0; slot < slots; ++slot)
        ring.push_back({std::span(images).subspan(slot * batch * pixels, batch * pixels),
                        std::span(labels).subspan(slot * batch, batch)});
    std::uint64_t sum = 0; // of all pixels: that two pipelines do the same work is seen by their means
    double began = 0;
    for (std::uint64_t pass = 0; pass <= passes; ++pass) {
        if (pass == 1) began = process::seconds();
        const Order order(source.size(), 1, pass, true);
        Prefetch<u8> reading(
            source, ring, threads, [&](std::uint64_t fill, std::span<std::uint64_t> samples) {
                const std::uint64_t first = std::min<std::uint64_t>(fill * batch, order.size());
                const auto wanted =
                    static_cast<std::size_t>(std::min<std::uint64_t>(batch, order.size() - first));
                order.fill(first, samples.first(wanted));
                return wanted;
            });
        for (auto filled = reading.next(); !filled.samples.empty(); filled = reading.next()) {
            if (pass > 0) continue;
            const std::span<const u8> read =
                ring[static_cast<std::size_t>(filled.slot)].images.first(filled.samples.size() * pixels);
            sum = std::accumulate(read.begin(), read.end(), sum);
        }
    }
    const double seconds = process::seconds() - began;
    std::printf("{\"program\": \"plimsoll %d.%d.%d\", \"images_per_second\": %.1f, \"threads\": %d, "
                "\"pictures\": %llu, \"passes\": %llu, \"mean_level\": %.4f, "
                "\"peak_resident_bytes\": %lld}\n",
                PLIMSOLL_VERSION_MAJOR, PLIMSOLL_VERSION_MINOR, PLIMSOLL_VERSION_PATCH,
                static_cast<double>(passes * source.size()) / seconds, threads,
                static_cast<unsigned long long>(source.size()), static_cast<unsigned long long>(passes),
                static_cast<double>(sum) / static_cast<double>(source.size() * pixels),
                static_cast<long long>(process::status_bytes("VmHWM").count));
} catch (const plimsoll::error& problem) {
    std::fprintf(stderr, "%s\n", problem.what());
    return 1;
}
