#pragma once
/// \file
/// What the benchmarks ask the system: memory of this process, medians of what was timed, files to remove.

#include <plimsoll/core/units.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace process {

/// A number of bytes that Linux keeps about this process: "VmHWM" is the most memory that was resident at
/// once, "VmPeak" the most address space. Unlike getrusage's ru_maxrss, VmHWM begins with this program, not
/// with whatever started it.
inline plimsoll::Bytes status_bytes(const std::string& name) {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);)
        if (line.starts_with(name + ":")) return {std::stoll(line.substr(name.size() + 1)) * 1024}; // in kB
    throw std::runtime_error("/proc/self/status does not tell " + name);
}

inline double mib(plimsoll::Bytes bytes) { return static_cast<double>(bytes.count) / (1 << 20); }

/// Seconds since some moment.
inline double seconds() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Median and extremes of at least one value.
struct Spread {
    double median = 0, least = 0, most = 0;

    explicit Spread(std::vector<double> values) {
        std::sort(values.begin(), values.end());
        const std::size_t half = values.size() / 2;
        median = values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
        least = values.front();
        most = values.back();
    }
};

/// Removes a file when it goes.
class TemporaryFile {
  public:
    explicit TemporaryFile(std::string path) : path_(std::move(path)) {}
    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;
    ~TemporaryFile() { std::remove(path_.c_str()); }
    [[nodiscard]] const std::string& path() const { return path_; }

  private:
    std::string path_;
};

} // namespace process
