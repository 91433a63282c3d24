#pragma once
/// \file
/// Questions about a job's memory that the compiler answers.

#include <plimsoll/trainer/trainer.hpp>

#include <limits>

namespace plimsoll::inline PLIMSOLL_ABI {

/// Bytes of the arena that `Job` will take with these settings. \throws argument_error for a batch, lanes or
/// threads that no job can have (in a constant expression: a compile error).
template <class Job>
constexpr Bytes peak_bytes(const Settings& settings) {
    if (!is_possible(settings)) Job::Blueprint::check(settings);
    return {Job::Blueprint::peak_bytes(settings)};
}

/// Whether some plan of `Job` keeps within the settings' budget: the question without the error.
template <class Job>
constexpr bool would_fit(const Settings& settings) {
    return is_possible(settings) && (settings.budget == all_free_memory ||
                                     Job::Blueprint::least_bytes(settings) <= settings.budget.count);
}

/// What `Job::plan` would say of these settings, without data and without the allocation. With
/// `all_free_memory` there is no limit. \throws budget_error as the job would.
template <class Job>
PlanReport plan(const Settings& settings) {
    constexpr std::int64_t no_limit = std::numeric_limits<std::int64_t>::max();
    const auto chosen = Job::Blueprint::choose_plan(settings, no_limit, 0); // any layout: bytes are equal
    return plan_report<typename Job::Blueprint>(chosen->view(), settings);
}

namespace detail {

/// Named for the error message: shows the settings that no job can have.
template <int Batch, int Lanes, int Threads>
struct job_settings {
    static_assert(
        Batch >= 1 && Lanes >= 1 && Threads >= 0,
        "plimsoll: a job has a batch of at least 1 image, at least 1 lane and no negative number of "
        "threads: job_settings<batch, lanes, threads>");
    static constexpr bool make_sense = true;
};

/// Named for the error message: shows the bytes needed, the budget and the bytes over it.
template <std::int64_t Needed, std::int64_t Budget, std::int64_t Over>
struct memory_budget {
    static_assert(Over <= 0,
                  "plimsoll: this job does not fit its budget: memory_budget<needed, budget, over> in bytes");
    static constexpr bool holds = true;
};

} // namespace detail

/// `static_assert(fits<Job, settings>)`: out of memory is a compile error that says how many bytes are
/// needed.
template <class Job, Settings settings>
inline constexpr bool fits = [] {
    if constexpr (detail::job_settings<settings.batch, settings.lanes, settings.threads>::make_sense &&
                  is_possible(settings) && settings.budget != all_free_memory) {
        constexpr std::int64_t needed = Job::Blueprint::least_bytes(settings);
        return detail::memory_budget<needed, settings.budget.count, needed - settings.budget.count>::holds;
    } else {
        return is_possible(settings);
    }
}();

} // namespace plimsoll::inline PLIMSOLL_ABI
