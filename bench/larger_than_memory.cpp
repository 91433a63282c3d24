// Trains on a float32 .npy larger than what this process may ever address: 16,283 pictures of 150 x 150 x 3
// are 4.09 GiB, the limit (RLIMIT_AS) is 1 GiB. The system enforces it: past it, allocations fail. The file
// is made up here, within the same limit, and removed again. Usage: larger_than_memory <folder with room for
// the file> [steps] [pictures] [limit, as in 1GiB]
#include "process.hpp"
#include "workload.hpp"

#include <plimsoll/format/npy.hpp>

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>

namespace {

using namespace workload;

void limit_address_space(Bytes limit) {
    const rlimit wanted{static_cast<rlim_t>(limit.count), static_cast<rlim_t>(limit.count)};
    if (::setrlimit(RLIMIT_AS, &wanted) != 0) throw std::runtime_error("setrlimit(RLIMIT_AS) failed");
}

/// Bytes of a made-up float32 array of pictures, written to `path`; class 1 is brighter than class 0.
Bytes write_pictures(const std::string& path, const std::string& labels_path, std::uint64_t pictures) {
    constexpr Shape shape = Guide::input;
    NpyWriter images(path, dtype_of<float>,
                     std::array<std::uint64_t, 4>{pictures, shape.height, shape.width, shape.channels});
    std::vector<float> image(static_cast<std::size_t>(shape.size())); // (H, W, C)
    std::vector<Label> labels(static_cast<std::size_t>(pictures));    // (N)
    std::uint32_t state = 1;
    for (std::size_t n = 0; n < labels.size(); ++n) {
        labels[n] = static_cast<Label>(n % 2);
        for (float& pixel : image) {
            state = state * 1664525u + 1013904223u;
            pixel = static_cast<float>(state >> 8) * 0x1p-25f + 0.5f * static_cast<float>(labels[n]);
        }
        images.append(std::span(image));
    }
    images.sync();
    images.commit();
    write_npy(labels_path, std::array{pictures}, std::span(labels));
    return {static_cast<std::int64_t>(pictures) * shape.size() * 4};
}

/// Takes a file's pages out of the system's cache, so that reading begins at the disk.
void forget_pages(const std::string& path) {
    const File file(path);
    static_cast<void>(::posix_fadvise(file.descriptor(), 0, 0, POSIX_FADV_DONTNEED));
}

int run(int count, char** arguments) {
    const Bytes limit = parse_bytes(count > 4 ? arguments[4] : "1GiB");
    limit_address_space(limit);
    const std::string folder = arguments[1];
    const auto steps = static_cast<std::uint64_t>(count > 2 ? std::max(std::atoi(arguments[2]), 2) : 50);
    const auto pictures =
        static_cast<std::uint64_t>(count > 3 ? std::max(std::atoi(arguments[3]), 64) : 16'283);
    constexpr Settings settings{.batch = 32, .seed = 1};

    const process::TemporaryFile images(folder + "/larger_than_memory_images.npy");
    const process::TemporaryFile labels(folder + "/larger_than_memory_labels.npy");
    const Bytes data = write_pictures(images.path(), labels.path(), pictures);
    forget_pages(images.path());

    const MemoryMapped<float> source(images.path(), labels.path());
    Trainer<Guide, MemoryMapped<float>, Float, Host> job(source, settings);
    double began = 0, ended = 0;
    StepRecord last;
    job.fit({.progress = false, .on_step = [&](const StepRecord& step) {
                 ended = process::seconds();
                 if (step.step == 1) began = ended; // the first step warms up
                 last = step;
                 return step.step == steps ? Control::stop : Control::proceed;
             }});
    std::printf("%llu x %d x %d x %d float32 = %s on disk, process limited to %s of address space\n",
                static_cast<unsigned long long>(pictures), Guide::input.height, Guide::input.width,
                Guide::input.channels, to_string(data).c_str(), to_string(limit).c_str());
    std::printf("%llu steps at batch %d, %.1f images/s, loss %.4f\n",
                static_cast<unsigned long long>(last.step), settings.batch,
                static_cast<double>((last.step - 1) * settings.batch) / (ended - began), last.metrics.loss);
    std::printf("arena %s, peak resident %s (VmHWM), peak address space %s (VmPeak)\n",
                to_string(job.peak()).c_str(), to_string(process::status_bytes("VmHWM")).c_str(),
                to_string(process::status_bytes("VmPeak")).c_str());
    return 0;
}

} // namespace

int main(int count, char** arguments) try {
    if (count < 2) {
        std::fputs("usage: larger_than_memory <folder> [steps] [pictures] [limit]\n", stderr);
        return 2;
    }
    return run(count, arguments);
} catch (const std::exception& problem) {
    std::fprintf(stderr, "larger_than_memory: %s\n", problem.what());
    return 1;
}
