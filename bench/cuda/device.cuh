#pragma once
/// \file
/// What the GPU benchmarks ask the driver: who the device is, and how much of its memory this process takes.

#include <cuda_runtime.h>
#include <dlfcn.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

namespace gpu {

/// \throws std::runtime_error naming what failed.
inline void check(cudaError_t result, const char* what) {
    if (result != cudaSuccess)
        throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(result));
}

/// One line of JSON, a member at a time.
class JsonLine {
  public:
    void add(const char* name, const std::string& value) {
        std::string quoted = "\"";
        for (const char c : value) {
            if (c == '"' || c == '\\') quoted += '\\';
            if (static_cast<unsigned char>(c) >= 0x20) quoted += c;
        }
        put(name, quoted + '"');
    }
    void add(const char* name, const char* value) { add(name, std::string(value)); }
    void add(const char* name, bool value) { put(name, value ? "true" : "false"); }
    void add(const char* name, int value) { put(name, std::to_string(value)); }
    void add(const char* name, std::int64_t value) { put(name, std::to_string(value)); }
    void add(const char* name, double value) {
        if (!std::isfinite(value)) return add_unknown(name); // JSON has no word for it
        char digits[64];
        std::snprintf(digits, sizeof digits, "%.6g", value);
        put(name, digits);
    }
    void add_unknown(const char* name) { put(name, "null"); }
    /// At once: what follows may be stopped.
    void print() const {
        std::printf("{%s}\n", members_.c_str());
        std::fflush(stdout);
    }

  private:
    void put(const char* name, const std::string& value) {
        if (!members_.empty()) members_ += ", ";
        members_ += '"' + std::string(name) + "\": " + value;
    }
    std::string members_;
};

/// The driver's own accounts. They are loaded at run time, because they come with the driver and not with the
/// toolkit, and unlike cudaMemGetInfo they can be asked without a context, which itself takes memory.
class Nvml {
  public:
    Nvml() : library_(dlopen("libnvidia-ml.so.1", RTLD_NOW)) {
        if (library_ == nullptr) return;
        ready_ = call("nvmlInit_v2") == 0;
    }
    Nvml(const Nvml&) = delete;
    Nvml& operator=(const Nvml&) = delete;
    ~Nvml() {
        if (library_ == nullptr) return;
        if (ready_) call("nvmlShutdown");
        dlclose(library_);
    }

    [[nodiscard]] std::string driver_version() const {
        char version[96] = "unknown";
        if (ready_) call("nvmlSystemGetDriverVersion", version, static_cast<unsigned>(sizeof version));
        return version;
    }
    /// Bytes in use by whomever, of each device; -1 where they are not told.
    [[nodiscard]] std::vector<std::int64_t> used_bytes() const {
        unsigned count = 0;
        if (ready_) call("nvmlDeviceGetCount_v2", &count);
        std::vector<std::int64_t> used(count, -1);
        for (unsigned index = 0; index < count; ++index) {
            Handle handle = nullptr;
            struct {
                unsigned long long total, free, used;
            } memory{}; // nvmlMemory_t
            if (call("nvmlDeviceGetHandleByIndex_v2", index, &handle) == 0 &&
                call("nvmlDeviceGetMemoryInfo", handle, &memory) == 0)
                used[index] = static_cast<std::int64_t>(memory.used);
        }
        return used;
    }
    /// Which of them has this PCI address; -1 if none.
    [[nodiscard]] int index_of(const char* bus) const {
        Handle handle = nullptr;
        unsigned index = 0;
        if (ready_ && call("nvmlDeviceGetHandleByPciBusId_v2", bus, &handle) == 0 &&
            call("nvmlDeviceGetIndex", handle, &index) == 0)
            return static_cast<int>(index);
        return -1;
    }

  private:
    using Handle = void*;

    template <class... Arguments>
    int call(const char* name, Arguments... arguments) const {
        const auto function = reinterpret_cast<int (*)(Arguments...)>(dlsym(library_, name));
        return function == nullptr ? -1 : function(arguments...);
    }

    void* library_;
    bool ready_ = false;
};

/// The first device as this process finds it. To be made before anything else touches the device.
class Device {
  public:
    Device() : before_(nvml_.used_bytes()) {
        int count = 0;
        present_ = cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
        char bus[32] = "";
        if (!present_ || cudaDeviceGetPCIBusId(bus, sizeof bus, 0) != cudaSuccess) return;
        index_ = nvml_.index_of(bus);
    }

    [[nodiscard]] bool present() const { return present_; }

    /// Waits until the device has done all it was given.
    void wait() const {
        if (present_) check(cudaDeviceSynchronize(), "the device");
    }

    /// Bytes that nobody uses.
    [[nodiscard]] std::int64_t free_bytes() const {
        std::size_t free = 0, total = 0;
        if (present_) check(cudaMemGetInfo(&free, &total), "what is free");
        return static_cast<std::int64_t>(free);
    }

    /// Bytes of the device's memory that came into use since this object was made, the context included; -1
    /// where the driver does not tell. This process's, if nobody else uses the device.
    [[nodiscard]] std::int64_t process_bytes() const {
        if (index_ < 0) return -1;
        const auto index = static_cast<std::size_t>(index_);
        const std::vector<std::int64_t> now = nvml_.used_bytes();
        if (index >= now.size() || index >= before_.size() || now[index] < 0 || before_[index] < 0) return -1;
        return now[index] - before_[index];
    }

    /// Adds names and versions. After the work: libraries tell their versions once they are loaded.
    void describe(JsonLine& line) const {
        cudaDeviceProp properties{};
        int driver = 0, runtime = 0;
        if (present_) check(cudaGetDeviceProperties(&properties, 0), "the device's properties");
        if (present_) check(cudaDriverGetVersion(&driver), "the driver's version");
        check(cudaRuntimeGetVersion(&runtime), "the runtime's version");
        const auto cudnn = reinterpret_cast<std::size_t (*)()>(dlsym(RTLD_DEFAULT, "cudnnGetVersion"));
        line.add("device", present_ ? properties.name : "none");
        line.add("driver", nvml_.driver_version());
        line.add("cuda_driver", driver);
        line.add("cuda_runtime", runtime);
        line.add("cudnn", cudnn == nullptr ? std::int64_t{0} : static_cast<std::int64_t>(cudnn()));
    }

  private:
    Nvml nvml_;
    std::vector<std::int64_t> before_;
    bool present_ = false;
    int index_ = -1;
};

} // namespace gpu
