// What surrounds the training itself: the machine's limits, threads, interrupts, history and progress.

#include <plimsoll/core/process.hpp>
#include <plimsoll/core/process_definitions.hpp>
#include <plimsoll/device/host/parallel.hpp>
#include <plimsoll/trainer/history.hpp>
#include <plimsoll/trainer/interrupt.hpp>
#include <plimsoll/trainer/progress.hpp>

#include <doctest/doctest.h>

#include <pty.h>
#include <sys/wait.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace plimsoll;

namespace {

/// A folder that stands for "/" in these tests; gone with the object.
class FakeRoot {
  public:
    FakeRoot() {
        char name[] = "/tmp/plimsoll-root-XXXXXX";
        REQUIRE(mkdtemp(name) != nullptr);
        path_ = name;
    }
    ~FakeRoot() { std::filesystem::remove_all(path_); }
    FakeRoot(const FakeRoot&) = delete;
    FakeRoot& operator=(const FakeRoot&) = delete;

    void write(const std::string& file, const std::string& content) const {
        const std::filesystem::path full = path_ + file;
        std::filesystem::create_directories(full.parent_path());
        std::ofstream(full) << content;
    }
    [[nodiscard]] const std::string& path() const { return path_; }

  private:
    std::string path_;
};

/// Sets an environment variable (null: unset) while alive.
class Environment {
  public:
    Environment(const char* name, const char* value) : name_(name) {
        if (const char* old = std::getenv(name)) before_ = std::make_unique<std::string>(old);
        set(value);
    }
    ~Environment() { set(before_ ? before_->c_str() : nullptr); }
    Environment(const Environment&) = delete;
    Environment& operator=(const Environment&) = delete;

  private:
    void set(const char* value) const {
        if (value) {
            setenv(name_, value, 1);
        } else {
            unsetenv(name_);
        }
    }
    const char* name_;
    std::unique_ptr<std::string> before_;
};

} // namespace

// --- process.hpp ---

TEST_CASE("processors: cgroup v2 takes the tightest quota from the process's group up to the root") {
    const FakeRoot root;
    CHECK_FALSE(detail::cgroup_threads(root.path()));
    root.write("/proc/self/cgroup", "0::/user.slice/job/inner\n");
    CHECK_FALSE(detail::cgroup_threads(root.path()));
    root.write("/sys/fs/cgroup/user.slice/job/inner/cpu.max", "max 100000\n");
    CHECK_FALSE(detail::cgroup_threads(root.path()));
    root.write("/sys/fs/cgroup/user.slice/job/cpu.max", "250000 100000\n");
    CHECK(detail::cgroup_threads(root.path()) == 3); // 2.5 rounded up
    root.write("/sys/fs/cgroup/user.slice/cpu.max", "50000 100000\n");
    CHECK(detail::cgroup_threads(root.path()) == 1);
    root.write("/sys/fs/cgroup/user.slice/cpu.max", "800000 100000\n");
    root.write("/sys/fs/cgroup/cpu.max", "200000 100000\n"); // the root of a container
    CHECK(detail::cgroup_threads(root.path()) == 2);
    root.write("/sys/fs/cgroup/user.slice/other/cpu.max", "100000 100000\n");
    CHECK(detail::cgroup_threads(root.path()) == 2); // not ours
    root.write("/sys/fs/cgroup/cpu.max", "800000 100000\n");
    CHECK(detail::cgroup_threads(root.path()) == 3);
}

TEST_CASE("processors: cgroup v1, alone and with joined controllers") {
    const FakeRoot root;
    root.write("/proc/self/cgroup",
               "7:memory:/m\n4:cpu,cpuacct:/docker/abc\n3:cpuset:/s\n1:name=systemd:/\n");
    root.write("/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "-1\n");
    root.write("/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000\n");
    CHECK_FALSE(detail::cgroup_threads(root.path()));
    root.write("/sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_quota_us", "400000\n");
    root.write("/sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_period_us", "100000\n");
    CHECK(detail::cgroup_threads(root.path()) == 4);
    root.write("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "150000\n");
    root.write("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    CHECK(detail::cgroup_threads(root.path()) == 2);
    root.write("/sys/fs/cgroup/cpuset/s/cpu.cfs_quota_us", "1000\n");
    root.write("/sys/fs/cgroup/cpuset/s/cpu.cfs_period_us", "1000\n");
    CHECK(detail::cgroup_threads(root.path()) == 2); // another controller's folder
}

TEST_CASE("processors: odd files are no limit, and a path outside the mount is the mount's root") {
    const FakeRoot root;
    root.write("/proc/self/cgroup", "nonsense\n0::/../elsewhere\n:::\n");
    root.write("/sys/fs/elsewhere/cpu.max", "100000 100000\n");
    root.write("/sys/fs/cgroup/cpu.max", "");
    CHECK_FALSE(detail::cgroup_threads(root.path()));
    root.write("/sys/fs/cgroup/cpu.max", "200000 0\n");
    CHECK_FALSE(detail::cgroup_threads(root.path()));
    root.write("/sys/fs/cgroup/cpu.max", "300000 100000");
    CHECK(detail::cgroup_threads(root.path()) == 3);
    root.write("/proc/self/cgroup", "0::/"); // no newline at the end
    CHECK(detail::cgroup_threads(root.path()) == 3);
}

TEST_CASE("available_threads: affinity, cgroup and OMP_NUM_THREADS are all upper limits") {
    const FakeRoot root;
    const Environment unset("OMP_NUM_THREADS", nullptr);
    const int machine = available_threads(root.path());
    CHECK(machine == detail::affinity_threads());
    CHECK(machine >= 1);
    {
        const Environment many("OMP_NUM_THREADS", "4096");
        CHECK(available_threads(root.path()) == machine);
    }
    for (const char* one : {"1", "1,8", " 1"}) {
        const Environment wish("OMP_NUM_THREADS", one);
        CHECK(available_threads(root.path()) == 1);
    }
    for (const char* bad : {"", "many", "0", "-3"}) {
        const Environment wish("OMP_NUM_THREADS", bad);
        CHECK(available_threads(root.path()) == machine);
    }
    root.write("/proc/self/cgroup", "0::/\n");
    root.write("/sys/fs/cgroup/cpu.max", "1000 100000\n");
    CHECK(available_threads(root.path()) == 1);
    CHECK(available_threads() >= 1);

    // One processor in a child, so that the rest of the tests keep theirs.
    const pid_t child = fork();
    if (child == 0) {
        cpu_set_t set;
        sched_getaffinity(0, sizeof(set), &set);
        int first = 0;
        while (!CPU_ISSET(first, &set)) ++first;
        CPU_ZERO(&set);
        CPU_SET(first, &set);
        sched_setaffinity(0, sizeof(set), &set);
        _exit(available_threads("/nonexistent") == 1 ? 0 : 1);
    }
    int status = -1;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
}

TEST_CASE("available_memory: the least of system, cgroup v2 and its ancestors") {
    const FakeRoot root;
    CHECK(available_memory(root.path()) == INT64_MAX);
    root.write("/proc/meminfo", "MemTotal:       16000000 kB\nMemFree:  1 kB\nMemAvailable:    8000000 kB\n");
    CHECK(available_memory(root.path()) == 8'192'000'000);
    root.write("/proc/self/cgroup", "0::/a/b\n");
    root.write("/sys/fs/cgroup/a/b/memory.max", "max\n");
    root.write("/sys/fs/cgroup/a/b/memory.current", "1000\n");
    CHECK(available_memory(root.path()) == 8'192'000'000);
    root.write("/sys/fs/cgroup/a/memory.max", "5000000\n");
    root.write("/sys/fs/cgroup/a/memory.current", "4000000\n");
    CHECK(available_memory(root.path()) == 1'000'000);
    // The page cache that reading a data set left behind is not taken for used.
    root.write("/sys/fs/cgroup/a/memory.stat",
               "anon 1000000\nfile 3000000\ninactive_file 2500000\nactive_file 500000\n");
    CHECK(available_memory(root.path()) == 3'500'000);
    root.write("/sys/fs/cgroup/a/b/memory.max", "1500\n");
    CHECK(available_memory(root.path()) == 500);
    root.write("/sys/fs/cgroup/a/b/memory.max", "900\n"); // over its limit
    CHECK(available_memory(root.path()) == 0);
}

TEST_CASE("available_memory: cgroup v1 beside an empty version 2") {
    const FakeRoot root;
    root.write("/proc/meminfo", "MemAvailable: 8000000 kB\n");
    root.write("/proc/self/cgroup", "4:memory:/host/path\n0::/\n");
    root.write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"); // none
    root.write("/sys/fs/cgroup/memory/memory.usage_in_bytes", "4096\n");
    CHECK(available_memory(root.path()) == 8'192'000'000);
    root.write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "4000000000\n");
    root.write("/sys/fs/cgroup/memory/memory.usage_in_bytes", "1000000000\n");
    root.write("/sys/fs/cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 500000000\n");
    CHECK(available_memory(root.path()) == 3'500'000'000);
    root.write("/sys/fs/cgroup/memory/host/memory.limit_in_bytes", "2000000000\n");
    root.write("/sys/fs/cgroup/memory/host/memory.usage_in_bytes", "1500000000\n");
    CHECK(available_memory(root.path()) == 500'000'000);
}

#if !PLIMSOLL_TSAN && !PLIMSOLL_ASAN // their shadow memory is address space too
TEST_CASE("available_memory: RLIMIT_AS less the address space in use") {
    const FakeRoot root;
    root.write("/proc/self/statm", "1000 500 100 10 0 200 0\n");
    const pid_t child = fork();
    if (child == 0) {
        const rlimit limit{std::size_t{1} << 40, std::size_t{1} << 40};
        setrlimit(RLIMIT_AS, &limit);
        const std::int64_t expected = (std::int64_t{1} << 40) - 1000 * sysconf(_SC_PAGESIZE);
        _exit(available_memory(root.path()) == expected ? 0 : 1);
    }
    int status = -1;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    CHECK(available_memory() > 0);
    CHECK(available_memory() < INT64_MAX);
}
#endif

// --- parallel.hpp ---

TEST_CASE("Team: every task runs once, by a worker in range that has one task at a time") {
    for (const int threads : {1, 2, 3, 7}) {
        const Team team(threads);
        std::vector<std::atomic<int>> busy(static_cast<std::size_t>(threads));
        for (const int tasks : {0, 1, 2, 5, 1000}) {
            std::vector<int> runs(static_cast<std::size_t>(tasks)); // written by one task each: TSan checks
            std::atomic<int> bad{0};
            team.parallel(tasks, [&](int task, int worker) {
                if (worker < 0 || worker >= team.threads()) {
                    ++bad;
                    return;
                }
                if (busy[static_cast<std::size_t>(worker)].exchange(1) != 0) ++bad;
                ++runs[static_cast<std::size_t>(task)];
                busy[static_cast<std::size_t>(worker)] = 0;
            });
            CHECK(bad == 0);
            for (const int count : runs) CHECK(count == 1);
        }
    }
    CHECK_THROWS_WITH_AS(Team(0), "a team of 0 threads: it takes at least 1", argument_error);
}

#if defined(_OPENMP)
TEST_CASE("Team: really runs on as many threads as it has, through Thrust too") {
    const Team team(3);
    CHECK(team.threads() == 3);
    std::atomic<int> arrived{0};
    const auto meet = [&] { // returns only if three threads are here at once
        ++arrived;
        for (int i = 0; i < 100'000 && arrived < 3; ++i)
            std::this_thread::sleep_for(std::chrono::microseconds(100));
    };
    team.parallel(3, [&](int, int) { meet(); });
    CHECK(arrived == 3);
    arrived = 0;
    std::atomic<int> workers{0};
    team.for_chunks(3, 1, [&](auto, auto, auto) {
        workers |= 1 << omp_get_thread_num();
        meet();
    });
    CHECK(arrived == 3);
    CHECK(workers == 7);
}

TEST_CASE("Team: tasks and chunks see one OpenMP thread, and the caller's setting comes back") {
    const int before = omp_get_max_threads();
    omp_set_num_threads(5);
    for (const int threads : {1, 2, 3}) {
        const Team team(threads);
        for (const int tasks : {1, 8}) {
            std::atomic<int> most{0};
            const auto look = [&] {
                const int seen = omp_get_max_threads();
                if (seen > most) most = seen;
            };
            team.parallel(tasks, [&](int, int) { look(); });
            team.for_chunks(tasks, 1, [&](auto, auto, auto) { look(); });
            CHECK(most == 1);
            CHECK(omp_get_max_threads() == 5);
            CHECK_THROWS_AS(team.parallel(tasks, [](int, int) { throw 1; }), int);
            CHECK_THROWS_AS(team.for_chunks(tasks, 1, [](auto, auto, auto) { throw 1; }), int);
            CHECK(omp_get_max_threads() == 5);
        }
    }
    {
        const SingleThreaded guard;
        CHECK(omp_get_max_threads() == 1);
    }
    CHECK(omp_get_max_threads() == 5);
    omp_set_num_threads(before);
}
#endif

TEST_CASE("Team: the exception of the lowest failing task comes out, and the team works on") {
    for (const int threads : {1, 2, 3}) {
        const Team team(threads);
        for (int repeat = 0; repeat < 100; ++repeat) {
            std::atomic<int> below{0};
            const int slow = 5 + repeat % 2; // the higher failure comes first in time, or the lower one
            const auto work = [&](std::int64_t task) {
                if (task < 5) ++below;
                if (task == 5 || task == slow)
                    std::this_thread::sleep_for(std::chrono::microseconds(task == slow ? 300 : 100));
                if (task >= 5) throw std::runtime_error("task " + std::to_string(task));
            };
            CHECK_THROWS_WITH_AS(team.parallel(20, [&](int task, int) { work(task); }), "task 5",
                                 std::runtime_error);
            CHECK(below == 5);
            below = 0;
            CHECK_THROWS_WITH_AS(team.for_chunks(2000, 100, [&](auto index, auto, auto) { work(index); }),
                                 "task 5", std::runtime_error);
            CHECK(below == 5);
        }
        std::atomic<int> runs{0};
        team.parallel(10, [&](int, int) { ++runs; });
        CHECK(runs == 10);
    }
}

TEST_CASE("Team: a call from inside a task runs in place as the same worker") {
    for (const int threads : {1, 2, 3}) {
        const Team team(threads);
        std::atomic<int> bad{0}, inner{0};
        team.parallel(8, [&](int, int worker) {
            const auto here = std::this_thread::get_id();
            const auto nested = [&](int, int inner_worker) {
                ++inner;
                if (inner_worker != worker || std::this_thread::get_id() != here) ++bad;
            };
            int expected = 0; // not atomic: in place and in order
            team.parallel(4, nested);
            team.parallel(4, [&](int task, int) { bad += task != expected++; });
            team.for_chunks(40, 10, [&](auto index, auto, auto) {
                bad += std::this_thread::get_id() != here;
                if (index == 0) team.parallel(2, nested);
            });
            Team(1).parallel(2, [&](int, int small) { bad += small != 0; });
            try {
                team.parallel(4, [](int task, int) { throw task; });
                ++bad;
            } catch (int task) {
                bad += task != 0;
            }
        });
        CHECK(bad == 0);
        CHECK(inner == 8 * 6);
        CHECK(detail::current_worker == -1);
    }
}

TEST_CASE("Team: chunks are the same for any number of threads") {
    using Chunk = std::pair<std::int64_t, std::int64_t>;
    for (const std::int64_t items : {0, 1, 99, 100, 101, 1000, 1001}) {
        std::vector<std::vector<Chunk>> cuts;
        for (const int threads : {1, 2, 3}) {
            std::vector<Chunk> chunks(static_cast<std::size_t>((items + 99) / 100));
            Team(threads).for_chunks(items, 100,
                                     [&](std::int64_t index, std::int64_t first, std::int64_t count) {
                                         chunks.at(static_cast<std::size_t>(index)) = {first, count};
                                     });
            cuts.push_back(std::move(chunks));
        }
        std::int64_t next = 0;
        for (const auto& [first, count] : cuts[0]) {
            CHECK(first == next);
            CHECK(count > 0);
            CHECK(count <= 100);
            next += count;
        }
        CHECK(next == items);
        CHECK(cuts[1] == cuts[0]);
        CHECK(cuts[2] == cuts[0]);
    }
    CHECK_THROWS_AS(Team(1).for_chunks(1, 0, [](auto, auto, auto) {}), argument_error);

    // A sum of floats over chunks, combined in order: the same bits.
    std::vector<float> values(100'000);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = 1.0f / static_cast<float>(i + 1);
    const auto sum = [&](int threads) {
        std::vector<double> partial(13);
        Team(threads).for_chunks(100'000, 8192, [&](auto index, auto first, auto count) {
            float part = 0;
            for (auto i = first; i < first + count; ++i) part += values[static_cast<std::size_t>(i)];
            partial[static_cast<std::size_t>(index)] = static_cast<double>(part);
        });
        double total = 0;
        for (const double part : partial) total += part;
        return total;
    };
    CHECK(sum(1) == sum(2));
    CHECK(sum(1) == sum(3));
    CHECK(sum(1) == doctest::Approx(12.0901461));
}

TEST_CASE(
    "Team: what one region wrote, the next one and the caller read (races are ThreadSanitizer's to find)") {
    const Team team(3);
    std::vector<std::int64_t> cells(64);
    std::int64_t outside = 0;
    for (int round = 0; round < 200; ++round) {
        team.parallel(64, [&](int task, int) { cells[static_cast<std::size_t>(63 - task)] += outside; });
        team.for_chunks(64, 4, [&](auto, auto first, auto count) {
            for (auto i = first; i < first + count; ++i) ++cells[static_cast<std::size_t>(i)];
        });
        outside = cells[0] % 7;
    }
    for (const auto cell : cells) CHECK(cell == cells[0]);
}

// --- interrupt.hpp ---

namespace {

volatile std::sig_atomic_t own_handler_calls = 0;
void own_handler(int) { own_handler_calls = own_handler_calls + 1; }

bool handled_by(int signal, void (*handler)(int)) {
    struct sigaction action {};
    sigaction(signal, nullptr, &action);
    return action.sa_handler == handler;
}

/// Installs a handler while alive.
class Handler {
  public:
    Handler(int signal, void (*handler)(int)) : signal_(signal), before_(std::signal(signal, handler)) {}
    ~Handler() { std::signal(signal_, before_); }
    Handler(const Handler&) = delete;
    Handler& operator=(const Handler&) = delete;

  private:
    int signal_;
    void (*before_)(int);
};

/// The wait status of a forked child that runs `body` and then exits with 0.
template <class Body>
int status_of_child(Body body) {
    const pid_t child = fork();
    if (child == 0) {
        for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, SIG_DFL); // not doctest's
        body();
        _exit(0);
    }
    int status = -1;
    REQUIRE(waitpid(child, &status, 0) == child);
    return status;
}

} // namespace

TEST_CASE("InterruptGuard: the first signal sets the flag, and the handlers come back") {
    const Handler mine(SIGINT, own_handler), default_one(SIGTERM, SIG_DFL);
    own_handler_calls = 0;
    for (const int signal : {SIGINT, SIGTERM}) {
        {
            const InterruptGuard guard;
            CHECK_FALSE(guard.interrupted());
            raise(signal);
            CHECK(guard.interrupted());
            CHECK(guard.signal() == signal);
        }
        CHECK(handled_by(SIGINT, own_handler));
        CHECK(handled_by(SIGTERM, SIG_DFL));
    }
    CHECK(own_handler_calls == 0);
    raise(SIGINT);
    CHECK(own_handler_calls == 1);
}

TEST_CASE("InterruptGuard: disabled it touches nothing") {
    const Handler mine(SIGINT, own_handler);
    own_handler_calls = 0;
    const InterruptGuard guard(false);
    CHECK(handled_by(SIGINT, own_handler));
    raise(SIGINT);
    CHECK_FALSE(guard.interrupted());
    CHECK(own_handler_calls == 1);
}

TEST_CASE("InterruptGuard: guards nest; the outermost restores, and a new one starts clean") {
    const Handler mine(SIGINT, own_handler);
    {
        const InterruptGuard outer;
        {
            const InterruptGuard inner, off(false);
            raise(SIGINT);
            CHECK(inner.interrupted());
            CHECK_FALSE(off.interrupted());
        }
        CHECK_FALSE(handled_by(SIGINT, own_handler));
        CHECK(outer.interrupted());
        CHECK(InterruptGuard().interrupted()); // still the same run
    }
    CHECK(handled_by(SIGINT, own_handler));
    CHECK_FALSE(InterruptGuard().interrupted());
}

TEST_CASE("InterruptGuard: an ignored signal stays ignored, a handler set meanwhile stays") {
    {
        const Handler ignored(SIGINT, SIG_IGN);
        const InterruptGuard guard;
        raise(SIGINT);
        CHECK_FALSE(guard.interrupted());
    }
    const Handler before(SIGINT, SIG_DFL);
    {
        const InterruptGuard guard;
        std::signal(SIGINT, own_handler);
    }
    CHECK(handled_by(SIGINT, own_handler));
}

#if !PLIMSOLL_TSAN // a child of a process with threads gets no fatal signals under it
TEST_CASE("InterruptGuard: a second Ctrl-C kills, a second SIGTERM does not") {
    int status = status_of_child([] {
        const InterruptGuard guard;
        raise(SIGINT);
        raise(SIGINT);
    });
    CHECK(WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == SIGINT);

    status = status_of_child([] { // also when there was a handler that would not have
        std::signal(SIGINT, own_handler);
        const InterruptGuard guard;
        raise(SIGTERM);
        raise(SIGINT);
    });
    CHECK(WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == SIGINT);

    status = status_of_child([] {
        const InterruptGuard guard;
        for (const int signal : {SIGTERM, SIGTERM}) raise(signal);
        if (guard.signal() != SIGTERM) _exit(1);
    });
    CHECK(status == 0);

    status = status_of_child([] { // afterwards the first one kills again
        { const InterruptGuard guard; }
        raise(SIGINT);
    });
    CHECK(WIFSIGNALED(status));
}
#endif

TEST_CASE("InterruptGuard: a signal from outside, to whichever thread") {
    const int status = status_of_child([] {
        const InterruptGuard guard;
        kill(getpid(), SIGINT);
        for (int i = 0; i < 1000 && !guard.interrupted(); ++i) usleep(1000);
        if (!guard.interrupted()) _exit(1);
    });
    CHECK(status == 0);
}

// --- history.hpp ---

TEST_CASE("History: means, last and best") {
    static_assert(Metrics::mean(0, 0, 0) == Metrics{});
    static_assert(Metrics::mean(8, 3, 4) == Metrics{2, 0.75, 4});
    History history;
    CHECK(history.empty());
    CHECK_THROWS_AS(static_cast<void>(history.best()), argument_error);
    CHECK_THROWS_AS(static_cast<void>(history.last()), argument_error);
    history.epochs.push_back(
        {.epoch = 1, .train = {1, 0.9, 10}, .validation = {1, 0.5, 10}, .has_validation = true});
    history.epochs.push_back(
        {.epoch = 2, .train = {1, 0.1, 10}, .validation = {1, 0.7, 10}, .has_validation = true});
    history.epochs.push_back(
        {.epoch = 3, .train = {1, 0.2, 10}, .validation = {1, 0.7, 10}, .has_validation = true});
    CHECK(history.best().epoch == 2);
    CHECK(history.last().epoch == 3);
    for (auto& record : history.epochs) record.has_validation = false;
    CHECK(history.best().epoch == 1);
}

// --- progress.hpp ---

namespace {

double fake_now = 0;
double fake_clock() { return fake_now; }

const EpochRecord sample_record{.epoch = 2,
                                .train = {0.69314, 0.512, 1792},
                                .validation = {0.69, 0.531, 256},
                                .has_validation = true,
                                .seconds = 5.74,
                                .images_per_second = 312.4};

/// A terminal that keeps what is written to it.
class FakeTerminal {
  public:
    explicit FakeTerminal(unsigned short columns) {
        winsize size{};
        size.ws_col = columns;
        REQUIRE(openpty(&master_, &slave_, nullptr, nullptr, &size) == 0);
        out = fdopen(slave_, "w");
        REQUIRE(out != nullptr);
    }
    ~FakeTerminal() {
        std::fclose(out);
        close(master_);
    }
    FakeTerminal(const FakeTerminal&) = delete;
    FakeTerminal& operator=(const FakeTerminal&) = delete;

    void resize(unsigned short columns) const {
        winsize size{};
        size.ws_col = columns;
        ioctl(master_, TIOCSWINSZ, &size);
    }
    /// Everything written since the last call. "\n" arrives as "\r\n".
    [[nodiscard]] std::string read() const {
        const char mark = '\001'; // the kernel hands over in its own time: wait for this
        REQUIRE(write(slave_, &mark, 1) == 1);
        std::string all;
        while (all.empty() || all.back() != mark) {
            char some[256];
            const ssize_t count = ::read(master_, some, sizeof(some));
            REQUIRE(count > 0);
            all.append(some, static_cast<std::size_t>(count));
        }
        all.pop_back();
        return all;
    }

    std::FILE* out = nullptr;

  private:
    int master_ = -1, slave_ = -1;
};

/// The lines drawn: what lies between '\r' and the escape that clears the rest.
std::vector<std::string> drawn(const std::string& written) {
    std::vector<std::string> lines;
    for (std::size_t at = 0; (at = written.find('\r', at)) != std::string::npos; ++at) {
        const std::size_t end = written.find("\033[K", at);
        if (end == std::string::npos) break;
        if (written.find('\r', at + 1) < end) continue;
        lines.push_back(written.substr(at + 1, end - at - 1));
    }
    return lines;
}

} // namespace

TEST_CASE("Progress: elsewhere than on a terminal, one plain line an epoch") {
    char text[1024] = {};
    std::FILE* memory = fmemopen(text, sizeof(text), "w");
    REQUIRE(memory != nullptr);
    {
        Progress progress(memory, fake_clock);
        progress.begin_epoch(2, 10, 1792);
        for (int i = 1; i <= 1792; ++i) {
            fake_now += 1;
            progress.update(static_cast<std::uint64_t>(i), {0.7, 0.5, 1});
        }
        CHECK(std::string(text).empty());
        progress.end_epoch(sample_record);
        EpochRecord record = sample_record;
        record.epoch = 3;
        record.has_validation = false;
        record.images_per_second = 3.14159;
        progress.begin_epoch(3, 10, 1792);
        progress.end_epoch(record);
        record.train.loss = record.train.accuracy = 1e300; // far too long: cut, but still a line
        progress.end_epoch(record);
        progress.begin_epoch(4, 10, 1792);
        progress.update(10, {});
    }
    std::fclose(memory);
    std::string lines = text;
    CHECK(lines.size() == 93 + 56 + 481);
    CHECK(lines.back() == '\n');
    lines.resize(93 + 56);
    CHECK(lines ==
          "Epoch 2/10 loss 0.6931 accuracy 51.20 % val_loss 0.6900 val_accuracy 53.10 % 5.7 s 312 img/s\n"
          "Epoch 3/10 loss 0.6931 accuracy 51.20 % 5.7 s 3.1 img/s\n");
}

TEST_CASE("Progress: null is silence; numbers of any size are survived") {
    Progress silent(nullptr);
    silent.begin_epoch(1, 1, 1);
    silent.update(1, {});
    silent.end_epoch(sample_record);
    silent.leave_line();

    const Environment term("TERM", "xterm");
    const FakeTerminal terminal(100);
    fake_now = 0;
    Progress progress(terminal.out, fake_clock);
    progress.begin_epoch(1, 1, 0);
    fake_now = 1e-300;
    progress.update(~std::uint64_t{0}, {1e308, -1e308, 0});
    fake_now = 1;
    progress.update(~std::uint64_t{0}, {1e308, 1.0 / 3, 0});
    fake_now = 1e12;
    progress.update(1, {std::numeric_limits<double>::quiet_NaN(), 0, 0});
    progress.end_epoch({.epoch = 1, .train = {1e300, 1e300, 1}, .validation = {}, .seconds = 1e300});
    for (const auto& line : drawn(terminal.read())) CHECK(line.size() < 100);
}

TEST_CASE("Progress: on a terminal one line is redrawn, ten times a second at most, and the last one stays") {
    const Environment term("TERM", "xterm");
    const FakeTerminal terminal(120);
    fake_now = 100;
    Progress progress(terminal.out, fake_clock);
    progress.begin_epoch(2, 10, 1792);
    CHECK(terminal.read() == "\rEpoch 2/10 [>                             ] 0/1792\033[K");
    fake_now = 100.05;
    progress.update(64, {0.7, 0.5, 64});
    CHECK(terminal.read().empty());
    fake_now = 101.641; // 512 images at 312 img/s
    progress.update(512, {0.69314, 0.512, 512});
    CHECK(terminal.read() ==
          "\rEpoch 2/10 [========>                     ] 512/1792 312 img/s ETA 0:04 loss 0.6931 "
          "accuracy 51.20 %\033[K");
    for (int i = 0; i < 1000; ++i) { // one second
        fake_now += 0.001;
        progress.update(600, {0.69314, 0.512, 600});
    }
    const auto redraws = drawn(terminal.read()).size();
    CHECK(redraws >= 9);
    CHECK(redraws <= 10);
    progress.end_epoch(sample_record);
    CHECK(terminal.read() ==
          "\rEpoch 2/10 loss 0.6931 accuracy 51.20 % val_loss 0.6900 val_accuracy 53.10 % 5.7 s "
          "312 img/s\033[K\r\n");
    fake_now += 4000;
    progress.begin_epoch(3, 10, 1000);
    fake_now += 4000;
    progress.update(500, {0.5, 1, 500});
    CHECK(terminal.read().find(" 500/1000 0.1 img/s ETA 1:06:40 loss 0.5000 accuracy 100.00 %") !=
          std::string::npos);
}

TEST_CASE("Progress: fits terminals of any width, also when it changes") {
    const Environment term("TERM", "xterm");
    const FakeTerminal terminal(80);
    Progress progress(terminal.out, fake_clock);
    std::string widest;
    for (unsigned short width = 1; width <= 200; ++width) {
        terminal.resize(width);
        fake_now += 1;
        progress.begin_epoch(2, 10, 1792);
        fake_now += 1.641;
        progress.update(512, {0.69314, 0.512, 512});
        progress.end_epoch(sample_record);
        const auto lines = drawn(terminal.read());
        REQUIRE(lines.size() == 3);
        for (const auto& line : lines) CHECK(line.size() < std::max<std::size_t>(width, 2));
        if (width == 40) CHECK(lines[1] == "Epoch 2/10 ETA 0:04 loss 0.6931");
        if (width == 50) CHECK(lines[1] == "Epoch 2/10 ETA 0:04 loss 0.6931 accuracy 51.20 %");
        if (width == 80)
            CHECK(lines[1] ==
                  "Epoch 2/10 [=====>            ] 312 img/s ETA 0:04 loss 0.6931 accuracy 51.20 %");
        if (width == 80)
            CHECK(lines[2] == "Epoch 2/10 loss 0.6931 accuracy 51.20 % val_loss 0.6900 val_accuracy 53.10 %");
    }
    terminal.resize(0); // a terminal that does not know is taken to have 80 columns
    fake_now += 1;
    progress.begin_epoch(1, 1, 10);
    fake_now += 1;
    progress.update(5, {0.69314, 0.512, 5});
    for (const auto& line : drawn(terminal.read())) CHECK(line.size() < 80);
}

TEST_CASE("Progress: a line cut short by an exception is ended, TERM=dumb is no terminal") {
    const FakeTerminal terminal(80);
    {
        const Environment term("TERM", "xterm");
        Progress progress(terminal.out, fake_clock);
        fake_now += 1;
        progress.begin_epoch(1, 1, 10);
    }
    const std::string written = terminal.read();
    CHECK(written.substr(written.size() - 5) == "\033[K\r\n");
    const Environment term("TERM", "dumb");
    Progress progress(terminal.out, fake_clock);
    fake_now += 1;
    progress.begin_epoch(1, 1, 10);
    fake_now += 1;
    progress.update(5, {});
    progress.end_epoch(sample_record);
    CHECK(terminal.read().find("\rEpoch") == std::string::npos);
}
