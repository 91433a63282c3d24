#pragma once
/// \file
/// What this process may use of the machine: processors and memory, with the limits that containers set.

#include <plimsoll/core/config.hpp>

#include <cstdint>
#include <string>

namespace plimsoll::inline PLIMSOLL_ABI {

/// Threads worth starting: the processors this process may run on, at most what its control groups (version 1
/// or 2, and their ancestors) allow in processor time, and at most `OMP_NUM_THREADS` where that is set.
/// At least 1.
/// \param root where /proc and /sys are found; tests point it at a tree of their own.
PLIMSOLL_DECLARED int available_threads(const std::string& root = "");

/// Bytes this process can still take without swapping or being killed: the least of what the system has
/// (MemAvailable), what its control groups leave, and what RLIMIT_AS leaves. At least 0; where nothing can be
/// read, the largest number there is.
/// \param root where /proc and /sys are found; tests point it at a tree of their own.
PLIMSOLL_DECLARED std::int64_t available_memory(const std::string& root = "");

} // namespace plimsoll::inline PLIMSOLL_ABI

#if PLIMSOLL_DEFINITIONS
#include <plimsoll/core/process_definitions.hpp>
#endif
