#pragma once
/// \file
/// Questions about a job's memory that the compiler answers.

#include <plimsoll/trainer/trainer.hpp>

namespace plimsoll::inline PLIMSOLL_ABI {

/// Bytes of the arena that `Job` will take with these settings.
template <class Job>
constexpr Bytes peak_bytes(const Settings& settings) {
    return {Job::Blueprint::peak_bytes(settings)};
}

/// Whether some plan of `Job` keeps within the settings' budget: the question without the error.
template <class Job>
constexpr bool would_fit(const Settings& settings) {
    return settings.budget == all_free_memory ||
           Job::Blueprint::least_bytes(settings) <= settings.budget.count;
}

namespace detail {

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
inline constexpr bool fits =
    settings.budget == all_free_memory ||
    detail::memory_budget<Job::Blueprint::least_bytes(settings), settings.budget.count,
                          Job::Blueprint::least_bytes(settings) - settings.budget.count>::holds;

} // namespace plimsoll::inline PLIMSOLL_ABI
