#pragma once
/// \file
/// Device memory outside the arena: what CUDA's context and libraries take.

#include <plimsoll/device/cuda/status.cuh>

#include <dlfcn.h>

#include <cstdint>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// Asks the driver's management library (NVML), which needs no context and may be absent: it comes with the
/// driver and has no header in some toolkits, so it is opened when it is asked.
class ManagementLibrary {
  public:
    ManagementLibrary() : library_(dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL)) {
        if (library_ == nullptr) return;
        const auto initialise = function<int (*)()>("nvmlInit_v2");
        ready_ = initialise != nullptr && initialise() == 0;
    }
    ManagementLibrary(const ManagementLibrary&) = delete;
    ManagementLibrary& operator=(const ManagementLibrary&) = delete;
    ~ManagementLibrary() {
        if (ready_)
            if (const auto shut_down = function<int (*)()>("nvmlShutdown")) shut_down();
        if (library_ != nullptr) dlclose(library_);
    }

    /// Bytes of a device that nobody uses; -1 where that cannot be told.
    [[nodiscard]] std::int64_t free_bytes(const char* bus_id) const {
        struct Memory {
            unsigned long long total, free, used;
        } memory{};
        void* device = nullptr;
        const auto find = function<int (*)(const char*, void**)>("nvmlDeviceGetHandleByPciBusId_v2");
        const auto ask = function<int (*)(void*, Memory*)>("nvmlDeviceGetMemoryInfo");
        if (!ready_ || find == nullptr || ask == nullptr || find(bus_id, &device) != 0 ||
            ask(device, &memory) != 0)
            return -1;
        return static_cast<std::int64_t>(memory.free);
    }

  private:
    template <class Function>
    [[nodiscard]] Function function(const char* name) const {
        return reinterpret_cast<Function>(dlsym(library_, name));
    }
    void* library_ = nullptr;
    bool ready_ = false;
};

/// Free memory of a device before and after a job's libraries are in place. Another process that takes or
/// gives memory meanwhile is counted too.
class Footprint {
  public:
    /// Before the device's context is made, where this process has none yet.
    explicit Footprint(int ordinal) {
        check(cudaDeviceGetPCIBusId(bus_id_, sizeof bus_id_, ordinal), "cudaDeviceGetPCIBusId");
        before_ = library_.free_bytes(bus_id_);
    }
    /// \param free as CUDA says, of the current device
    void context_made(std::int64_t free) { with_context_ = free; }
    /// \param free as CUDA says now \param arena bytes of it that are the job's
    void measure(std::int64_t free, std::int64_t arena) {
        libraries_ = with_context_ - free - arena;
        const std::int64_t now = before_ < 0 ? -1 : library_.free_bytes(bus_id_);
        if (now >= 0) context_ = before_ - now - arena - libraries_;
    }

    /// Of the context; -1 where that cannot be told. 0 where another job of this process made it.
    [[nodiscard]] std::int64_t context() const { return context_; }
    /// Of cuDNN, cuBLASLt, kernels and recorded passes.
    [[nodiscard]] std::int64_t libraries() const { return libraries_; }

  private:
    ManagementLibrary library_;
    char bus_id_[32] = "";
    std::int64_t before_ = -1, with_context_ = 0, context_ = -1, libraries_ = 0;
};

} // namespace detail

} // namespace plimsoll::inline PLIMSOLL_ABI
