#pragma once
/// \file
/// How the machine is asked.

#include <plimsoll/core/error.hpp>
#include <plimsoll/core/process.hpp>

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// The first 64 KiB of a file of the kernel's, or nothing where it cannot be read.
inline std::optional<std::string> read_kernel_file(const std::string& path) {
    std::FILE* file = std::fopen(path.c_str(), "re");
    if (!file) return std::nullopt;
    std::string content(std::size_t{1} << 16, '\0');
    content.resize(std::fread(content.data(), 1, content.size(), file));
    const bool failed = std::ferror(file) != 0;
    std::fclose(file);
    if (failed) return std::nullopt;
    return content;
}

/// The integer at the start of `content` (blanks before it are skipped); nothing for "max" and other words.
inline std::optional<std::int64_t> leading_number(std::string_view content) {
    const std::string digits(content.substr(0, 64));
    char* end = nullptr;
    const long long number = std::strtoll(digits.c_str(), &end, 10);
    if (end == digits.c_str()) return std::nullopt;
    return number;
}

inline std::optional<std::int64_t> read_number(const std::string& path) {
    const auto content = read_kernel_file(path);
    return content ? leading_number(*content) : std::nullopt;
}

/// The number after `name` at the start of a line ("inactive_file 4096", "MemAvailable:   12 kB").
inline std::optional<std::int64_t> named_number(std::string_view content, std::string_view name) {
    for (std::size_t at = 0; at < content.size();) {
        const std::string_view line = content.substr(at, content.find('\n', at) - at);
        if (line.starts_with(name)) return leading_number(line.substr(name.size()));
        at += line.size() + 1;
    }
    return std::nullopt;
}

/// Calls `visit(folder, version)` for every control group this process is in that may hold `controller`: its
/// own and its ancestors', version 2 (also where it is mounted beside version 1) and version 1. Folders need
/// not exist: inside a container the path in /proc/self/cgroup is often the host's, and only the root is
/// there.
template <class Visit>
void for_each_cgroup(const std::string& root, std::string_view controller, Visit visit) {
    const auto upwards = [&](const std::string& mount, std::string_view path, int version) {
        std::string inside(path.find("/..") == path.npos ? path : std::string_view{});
        while (true) {
            while (!inside.empty() && inside.back() == '/') inside.pop_back();
            visit(mount + inside, version);
            if (inside.empty()) return;
            inside.resize(inside.find_last_of('/') == inside.npos ? 0 : inside.find_last_of('/'));
        }
    };
    const std::string mounts = root + "/sys/fs/cgroup";
    const auto groups = read_kernel_file(root + "/proc/self/cgroup");
    if (!groups) return;
    for (std::size_t at = 0; at < groups->size();) { // "hierarchy:controllers:path"
        const std::string line = groups->substr(at, groups->find('\n', at) - at);
        at += line.size() + 1;
        const std::size_t first = line.find(':'), second = line.find(':', first + 1);
        if (first == line.npos || second == line.npos) continue;
        const std::string names = line.substr(first + 1, second - first - 1);
        const std::string path = line.substr(second + 1);
        if (names.empty()) {
            upwards(mounts, path, 2);
            upwards(mounts + "/unified", path, 2);
        } else if (text(",", names, ",").find(text(",", controller, ",")) != std::string::npos) {
            upwards(mounts + "/" + names, path, 1);
            if (names != controller) upwards(text(mounts, "/", controller), path, 1);
        }
    }
}

/// Processors' worth of time the tightest of this process's control groups allows, rounded up.
inline std::optional<std::int64_t> cgroup_threads(const std::string& root) {
    std::optional<std::int64_t> fewest;
    for_each_cgroup(root, "cpu", [&](const std::string& folder, int version) {
        std::optional<std::int64_t> quota, period;
        if (version == 2) { // "max 100000" or "200000 100000"
            const auto limit = read_kernel_file(folder + "/cpu.max");
            if (!limit) return;
            quota = leading_number(*limit);
            if (limit->find(' ') != limit->npos) period = leading_number(limit->substr(limit->find(' ')));
        } else { // -1 is no limit
            quota = read_number(folder + "/cpu.cfs_quota_us");
            period = read_number(folder + "/cpu.cfs_period_us");
        }
        if (!quota || !period || *quota <= 0 || *period <= 0) return;
        const std::int64_t threads = *quota / *period + (*quota % *period != 0);
        fewest = std::min(fewest.value_or(threads), threads);
    });
    return fewest;
}

/// Bytes that the tightest of this process's control groups leaves. Pages of files that nobody used lately
/// (`inactive_file`) count as free: the kernel drops them before it refuses memory.
inline std::optional<std::int64_t> cgroup_memory(const std::string& root) {
    std::optional<std::int64_t> least;
    for_each_cgroup(root, "memory", [&](const std::string& folder, int version) {
        const bool v2 = version == 2;
        const auto limit = read_number(folder + (v2 ? "/memory.max" : "/memory.limit_in_bytes"));
        const auto usage = read_number(folder + (v2 ? "/memory.current" : "/memory.usage_in_bytes"));
        if (!limit || !usage) return;
        const std::string statistics = read_kernel_file(folder + "/memory.stat").value_or("");
        const auto pages =
            named_number(statistics, v2 ? "inactive_file " : "total_inactive_file ").value_or(0);
        const std::int64_t bytes = *limit - std::max(*usage - pages, std::int64_t{0});
        least = std::min(least.value_or(bytes), bytes);
    });
    return least;
}

/// Processors the scheduler may put this process on.
inline int affinity_threads() {
    for (int processors = 1024; processors <= (1 << 20); processors *= 2) {
        cpu_set_t* set = CPU_ALLOC(static_cast<std::size_t>(processors));
        if (!set) break;
        const std::size_t bytes = CPU_ALLOC_SIZE(static_cast<std::size_t>(processors));
        const bool known = sched_getaffinity(0, bytes, set) == 0;
        const bool too_small = !known && errno == EINVAL;
        const int count = known ? CPU_COUNT_S(bytes, set) : 0;
        CPU_FREE(set);
        if (known) return count;
        if (!too_small) break;
    }
    return static_cast<int>(std::clamp(sysconf(_SC_NPROCESSORS_ONLN), 1L, static_cast<long>(INT_MAX)));
}

} // namespace detail

PLIMSOLL_DEFINED int available_threads(const std::string& root) {
    std::int64_t threads = detail::affinity_threads();
    threads = std::min(threads, detail::cgroup_threads(root).value_or(threads));
    if (const char* wish = std::getenv("OMP_NUM_THREADS")) { // "4" or, for nested regions, "4,2"
        const auto number = detail::leading_number(wish);
        if (number && *number > 0) threads = std::min(threads, *number);
    }
    return static_cast<int>(std::max(threads, std::int64_t{1}));
}

PLIMSOLL_DEFINED std::int64_t available_memory(const std::string& root) {
    std::int64_t bytes = INT64_MAX;
    const std::string system = detail::read_kernel_file(root + "/proc/meminfo").value_or("");
    if (const auto kilobytes = detail::named_number(system, "MemAvailable:")) bytes = *kilobytes * 1024;
    bytes = std::min(bytes, detail::cgroup_memory(root).value_or(bytes));
    rlimit limit{};
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur < static_cast<rlim_t>(INT64_MAX)) {
        const std::int64_t pages = detail::read_number(root + "/proc/self/statm").value_or(0); // VmSize
        bytes = std::min(bytes, static_cast<std::int64_t>(limit.rlim_cur) - pages * sysconf(_SC_PAGESIZE));
    }
    return std::max(bytes, std::int64_t{0});
}

} // namespace plimsoll::inline PLIMSOLL_ABI
