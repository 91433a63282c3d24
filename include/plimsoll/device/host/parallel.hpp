#pragma once
/// \file
/// The one place that runs code on several threads of the host.

#include <plimsoll/core/config.hpp>
#include <plimsoll/core/error.hpp>
#include <plimsoll/device/host/thrust.hpp>

#if defined(_OPENMP)
#include <omp.h>
#endif
#if PLIMSOLL_TSAN
#include <sanitizer/tsan_interface.h>
#endif

#include <atomic>
#include <cstdint>
#include <exception>
#include <limits>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// Sets how many threads OpenMP regions started from this thread get, while alive.
class ThreadSetting {
  public:
#if defined(_OPENMP)
    explicit ThreadSetting(int threads) : before_(omp_get_max_threads()) { omp_set_num_threads(threads); }
    ~ThreadSetting() { omp_set_num_threads(before_); }
#else
    explicit ThreadSetting(int) {}
    ~ThreadSetting() {} // NOLINT: not trivial, so that a guard is never an unused variable
#endif
    ThreadSetting(const ThreadSetting&) = delete;
    ThreadSetting& operator=(const ThreadSetting&) = delete;

  private:
#if defined(_OPENMP)
    int before_;
#endif
};

} // namespace detail

/// While alive, libraries that ask OpenMP for the number of threads (oneDNN) see 1 on the calling thread.
/// Tasks of a `Team` run under it; whoever creates primitives for them does so under it too.
class SingleThreaded : detail::ThreadSetting {
  public:
    SingleThreaded() : ThreadSetting(1) {}
};

namespace detail {

/// The worker that this thread is at present, -1 outside of tasks.
constinit inline thread_local int current_worker = -1;

/// Makes this thread a worker of a task while alive; libraries called from the task are single-threaded.
class WorkerScope {
  public:
    explicit WorkerScope(int worker) : before_(current_worker) { current_worker = worker; }
    ~WorkerScope() { current_worker = before_; }
    WorkerScope(const WorkerScope&) = delete;
    WorkerScope& operator=(const WorkerScope&) = delete;

  private:
    int before_;
    SingleThreaded single_;
};

/// What the threads of one region share: the work, how far it is, and the first failure. "First" is the
/// lowest task, whatever the threads' timing: tasks above a failed one are skipped, those below it still run.
class Region {
  public:
    /// \param call outlives the region; `call(index, worker)` runs task `index` and may throw.
    template <class Call>
    Region(Call& call, std::int64_t tasks)
        : call_([](void* c, std::int64_t index, int worker) { (*static_cast<Call*>(c))(index, worker); }),
          context_(&call),
          tasks_(tasks) {
        release(&call_);
    }

    /// Runs task `index`, or skips it when a lower one failed.
    void run(std::int64_t index, int worker) noexcept {
        if (index > failed_.load(std::memory_order_relaxed)) return;
        try {
            call_(context_, index, worker);
        } catch (...) {
            while (lock_.test_and_set(std::memory_order_acquire)) {
            }
            if (index < failed_.load(std::memory_order_relaxed)) {
                failed_.store(index, std::memory_order_relaxed);
                failure_ = std::current_exception();
            }
            lock_.clear(std::memory_order_release);
        }
    }

    /// What each worker does: the next task in order until none is left or one failed.
    void work(int worker) noexcept {
        acquire(&call_);
        {
            const WorkerScope scope(worker);
            for (std::int64_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < tasks_;) {
                if (i > failed_.load(std::memory_order_relaxed)) break;
                run(i, worker);
            }
        }
        release(&failure_);
    }

    /// After all workers: throws what the lowest failed task threw.
    void finish() {
        acquire(&failure_);
        if (failure_) std::rethrow_exception(failure_);
    }

  private:
    // ThreadSanitizer does not see the barriers inside libgomp: these tell it that what happened before the
    // fork is visible to the workers, and what the workers did after the join. Fork and join have an address
    // each, or a worker that starts late would seem to come after one that is done, and hide their race.
#if PLIMSOLL_TSAN
    void acquire(void* where) { __tsan_acquire(where); }
    void release(void* where) { __tsan_release(where); }
#else
    void acquire(void*) {}
    void release(void*) {}
#endif

    void (*call_)(void*, std::int64_t, int);
    void* context_;
    std::int64_t tasks_;
    std::atomic<std::int64_t> next_{0};
    std::atomic<std::int64_t> failed_{std::numeric_limits<std::int64_t>::max()};
    std::atomic_flag lock_;
    std::exception_ptr failure_;
};

#if defined(_OPENMP)
/// Calls `region.work` on each of `threads` threads. Outside ThreadSanitizer's sight, because the threads
/// read this function's variables before they reach `acquire`; what `work` does is inside it.
#if PLIMSOLL_TSAN
__attribute__((no_sanitize("thread"))) inline void fork_join(int threads, Region& region);
#endif
inline void fork_join(int threads, Region& region) {
#pragma omp parallel num_threads(threads)
    region.work(omp_get_thread_num());
}
#endif

} // namespace detail

/// A number of threads, and the way to run code on them. Work is never split by the number of threads, so a
/// result does not depend on it: callers give the tasks, or the size of a chunk. Holds no resources (OpenMP
/// keeps the threads) and allocates nothing; copies are the same team.
class Team {
  public:
    /// \param threads at least 1; without OpenMP a team has 1 thread whatever is asked.
    /// \throws argument_error if threads < 1.
    explicit Team(int threads) : threads_(threads) {
        if (threads < 1) throw argument_error(text("a team of ", threads, " threads: it takes at least 1"));
#if !defined(_OPENMP)
        threads_ = 1;
#endif
    }

    [[nodiscard]] int threads() const { return threads_; }

    /// Calls `f(task, worker)` once for every task in [0, tasks); returns when all are done. Tasks are handed
    /// out in order to whoever is free; `worker`, in [0, threads()), is at one task at a time, so buffers may
    /// belong to workers. Called from inside a task, everything runs in place, as the worker of that task (as
    /// worker 0 where this team is too small to have it).
    /// \throws whatever the lowest failing task threw; tasks above it may not have run.
    template <class F>
    void parallel(int tasks, F&& f) const {
        if (in_place(tasks)) {
            const detail::WorkerScope scope(worker_here());
            for (int task = 0; task < tasks; ++task) f(task, detail::current_worker);
            return;
        }
        auto call = [&f](std::int64_t task, int worker) { f(static_cast<int>(task), worker); };
        detail::Region region(call, tasks);
        fork_join(region);
    }

    /// Cuts [0, items) into chunks of `chunk` items (the last may be shorter) and calls
    /// `f(index, first, count)` once for each, through Thrust's for_each on its OpenMP backend. The cuts
    /// depend on `items` and `chunk` alone. All arguments are std::int64_t.
    /// \throws whatever the lowest failing chunk threw; chunks above it may not have run.
    /// \throws argument_error if chunk < 1.
    template <class F>
    void for_chunks(std::int64_t items, std::int64_t chunk, F&& f) const {
        if (chunk < 1) throw argument_error(text("chunks of ", chunk, " items: it takes at least 1"));
        if (items <= 0) return;
        const std::int64_t chunks = (items - 1) / chunk + 1;
        auto call = [&f, items, chunk](std::int64_t index, int) {
            const std::int64_t first = index * chunk;
            f(index, first, items - first < chunk ? items - first : chunk);
        };
        if (in_place(chunks)) {
            const detail::WorkerScope scope(worker_here());
            for (std::int64_t index = 0; index < chunks; ++index) call(index, 0);
            return;
        }
        detail::Region region(call, chunks);
#if PLIMSOLL_TSAN
        fork_join(region); // Thrust's own region cannot be hidden from ThreadSanitizer as ours is
#else
        const detail::ThreadSetting setting(threads_); // where Thrust looks for the number of threads
        detail::thrust_for_each(chunks, RunChunk{&region});
        region.finish();
#endif
    }

  private:
    /// One type for every caller, so a program holds Thrust's loop once.
    struct RunChunk {
        detail::Region* region;
        void operator()(std::int64_t index) const {
#if defined(_OPENMP)
            const int worker = omp_get_thread_num();
#else
            const int worker = 0;
#endif
            const detail::WorkerScope scope(worker);
            region->run(index, worker);
        }
    };

    [[nodiscard]] bool in_place(std::int64_t tasks) const {
        return threads_ == 1 || tasks <= 1 || detail::current_worker >= 0;
    }

    [[nodiscard]] int worker_here() const {
        const int worker = detail::current_worker;
        return worker >= 0 && worker < threads_ ? worker : 0;
    }

    /// Always all threads, also for fewer tasks: libgomp ends the threads that a smaller region leaves out
    /// and must start them again.
    void fork_join(detail::Region& region) const {
#if defined(_OPENMP)
        const SingleThreaded inherited;
        detail::fork_join(threads_, region);
#else
        region.work(0);
#endif
        region.finish();
    }

    int threads_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
