// Memory that training takes in the host, from sources that leave their pictures on disk: flat from pass to
// pass, and the same for a data set ten times as large. Each job runs in a process of its own.
#include "support.hpp"

#include <plimsoll/plimsoll.hpp>
#include <plimsoll/source/open.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <functional>

using namespace plimsoll;

// The sanitizers keep what was freed.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif

namespace {

using Resident = std::vector<double>; // bytes after each pass

double resident_bytes() {
    const std::string pages = detail::read_kernel_file("/proc/self/statm").value_or("0 0");
    return static_cast<double>(detail::leading_number(pages.substr(pages.find(' '))).value_or(0)) *
           static_cast<double>(sysconf(_SC_PAGESIZE));
}

/// What a source has taken after each pass of a training job over it, in a child process.
template <class Model, class MakeSource>
Resident trained(int passes, MakeSource make) {
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    const pid_t child = fork();
    if (child == 0) {
        int status = 1;
        try {
            const auto source = make();
            using Source = std::remove_const_t<decltype(source)>;
            Trainer<Model, Source, Float, Host> job(source, {.batch = 32, .budget = 16_MiB});
            job.fit({.epochs = passes, .progress = false, .on_epoch = [&](const EpochRecord&) {
                         const double bytes = resident_bytes();
                         return write(ends[1], &bytes, sizeof bytes) > 0 ? Control::proceed : Control::stop;
                     }});
            status = 0;
        } catch (const error& problem) {
            std::fprintf(stderr, "%s\n", problem.what());
        }
        _exit(status);
    }
    close(ends[1]);
    Resident resident;
    for (double bytes = 0; read(ends[0], &bytes, sizeof bytes) == sizeof bytes;) resident.push_back(bytes);
    close(ends[0]);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(status == 0);
    REQUIRE(resident.size() == static_cast<std::size_t>(passes));
    return resident;
}

/// Bytes a pass adds: the least-squares slope. The first passes meet every buffer for the first time.
double slope(const Resident& resident) {
    const std::size_t warm = 2;
    const double count = static_cast<double>(resident.size() - warm), middle = (count - 1) / 2;
    double sum = 0, squares = 0;
    for (std::size_t i = warm; i < resident.size(); ++i) {
        const double x = static_cast<double>(i - warm) - middle;
        sum += x * resident[i];
        squares += x * x;
    }
    return sum / squares;
}

void check_flat(const Resident& small, const Resident& large) {
    MESSAGE("after each of " << small.size() << " passes " << small.front() / 1048576 << " to "
                             << small.back() / 1048576 << " MiB, growing by " << slope(small)
                             << " B a pass; ten times the data " << large.back() / 1048576 << " MiB");
    CHECK(slope(small) < 16 << 10);
    CHECK(large.back() < 1.05 * small.back());
}

} // namespace

TEST_CASE("streaming takes the same memory in every pass, and for ten times the pictures" *
          doctest::skip(sanitized)) {
    const support::TemporaryFolder folder;
    const auto data = support::reference_path("data");
    if (!data) return;
    std::vector<std::string> shards;
    for (int number = 0; number < 10; ++number) { // ten names of one file
        shards.push_back(folder / text("shard-", number));
        std::filesystem::create_symlink(
            std::filesystem::absolute(*data + "/cats_vs_dogs-train.tfrecord-00000-of-00004"), shards.back());
    }
    constexpr Shape shape{48, 48, 3};
    using Net = Sequential<Image<48, 48, 3>, Conv2d<8, 3>, Relu, MaxPool<2>, Flatten, Dense<2>>;
    const auto of = [&](std::size_t count) {
        return [&, count] {
            return Streaming<u8>(
                std::vector<std::string>(shards.begin(), shards.begin() + static_cast<std::ptrdiff_t>(count)),
                shape);
        };
    };
    check_flat(trained<Net>(10, of(1)), trained<Net>(2, of(10)));
}

TEST_CASE("mapped arrays take the same memory in every pass, and for ten times the pictures" *
          doctest::skip(sanitized)) {
    const support::TemporaryFolder folder;
    const auto of = [&](std::uint64_t count) {
        const std::string prefix = folder / text("of", count);
        std::vector<u8> images(count * 32 * 32 * 3); // (N, H, W, C)
        std::vector<Label> labels(count);
        for (std::size_t i = 0; i < images.size(); ++i) images[i] = static_cast<u8>(i * i >> 7);
        for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<Label>(i % 2);
        const std::uint64_t dims[] = {count, 32, 32, 3};
        write_npy(prefix + "_images.npy", dims, std::span<const u8>(images));
        write_npy(prefix + "_labels.npy", std::span(dims).first(1), std::span<const Label>(labels));
        return [prefix] { return MemoryMapped<u8>(prefix); };
    };
    using Net = Sequential<Image<32, 32, 3>, Conv2d<8, 3>, Relu, MaxPool<2>, Flatten, Dense<2>>;
    const auto small = of(2'000), large = of(20'000); // 5.9 and 58.6 MiB of pictures
    check_flat(trained<Net>(10, small), trained<Net>(2, large));
}
