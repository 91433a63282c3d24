#pragma once
/// \file
/// What a Device must be: memory in one piece, lanes that run side by side, and copies.

#include <plimsoll/core/config.hpp>
#include <plimsoll/model/loss_scaling.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {
struct LaneProbe {
    void operator()(int lane, int worker) const;
};
struct RuleProbe {
    void operator()(float& weight, float gradient, float& first, float& second) const;
};
} // namespace detail

// What a device must have, one atom a requirement.
template <class Device>
concept device_has_name = requires {
    { Device::name } -> std::convertible_to<std::string_view>;
};
template <class Device>
concept device_has_threads = std::constructible_from<Device, int> && requires(Device device) {
    { device.workers() } -> std::convertible_to<int>;
};
template <class Device>
concept device_has_memory = requires(Device device, typename Device::Memory memory, std::int64_t bytes) {
    typename Device::Memory;
    { device.allocate(bytes) } -> std::same_as<typename Device::Memory>;
    { memory.data() } -> std::convertible_to<std::byte*>;
};
template <class Device>
concept device_reports_free_memory = requires(const Device device) {
    { device.free_bytes() } -> std::convertible_to<std::int64_t>;
};
template <class Device>
concept device_has_layout = requires(const Device device) {
    { device.layout_block() } -> std::convertible_to<int>;
};
template <class Device>
concept device_runs_lanes = requires(Device device) {
    device.for_lanes(1, detail::LaneProbe{});
};
template <class Device>
concept device_copies = requires(Device device, void* to, const void* from, std::int64_t bytes) {
    device.upload(to, from, bytes);
    device.download(to, from, bytes);
    device.fill_zero(to, bytes);
};
template <class Device>
concept device_has_arithmetic = requires(Device device, float* a, const float* b, std::int64_t count,
                                         LossScaling* scaling) {
    device.add(a, b, count);
    device.judge(scaling, b, count);
    device.update(detail::RuleProbe{}, a, b, a, a, count, scaling);
};

/// Whether the host reads and writes a device's memory by address. A device that says
/// `host_addressable = false` has a `BatchRing` of its own.
template <class Device>
inline constexpr bool host_addressable = [] {
    if constexpr (requires { Device::host_addressable; })
        return Device::host_addressable;
    else
        return true;
}();

/// Memory that a job takes beside its arena, as a device measures it.
struct OutsideBytes {
    std::string name;
    std::int64_t bytes = 0;
};

/// Whether a device records passes and repeats them: it has `pass(key, state, f)`, which does what f() does
/// after writing what changes from pass to pass to `state`.
template <class Device>
inline constexpr bool repeats_passes = [] {
    if constexpr (requires { Device::repeats_passes; })
        return Device::repeats_passes;
    else
        return false;
}();

/// A device: an object made from a number of threads (0: as many as there are) that owns what its libraries
/// need. `ExampleDevice` writes every requirement out. Kernels attach to it by `Kernel<Layer, Precision,
/// Device>`.
template <class Device>
concept device = device_has_name<Device> && device_has_threads<Device> && device_has_memory<Device> &&
    device_reports_free_memory<Device> && device_has_layout<Device> && device_runs_lanes<Device> &&
    device_copies<Device> && device_has_arithmetic<Device>;

/// One sentence for each requirement that `Device` misses.
template <class Device>
constexpr void check_device() {
    static_assert(device_has_name<Device>,
                  "plimsoll: a Device needs a name: static constexpr std::string_view name");
    static_assert(device_has_threads<Device>,
                  "plimsoll: a Device needs a constructor from a number of threads and int workers()");
    static_assert(device_has_memory<Device>,
                  "plimsoll: a Device needs a type Memory with std::byte* data() and Memory allocate(bytes)");
    static_assert(device_reports_free_memory<Device>,
                  "plimsoll: a Device needs to say what is free: std::int64_t free_bytes() const");
    static_assert(
        device_has_layout<Device>,
        "plimsoll: a Device needs to say its layout: int layout_block() const (0 for channels last)");
    static_assert(device_runs_lanes<Device>,
                  "plimsoll: a Device needs to run lanes: for_lanes(lanes, f) calling f(lane, worker)");
    static_assert(device_copies<Device>,
                  "plimsoll: a Device needs upload(to, from, bytes), download(to, from, "
                  "bytes) and fill_zero(to, bytes)");
    static_assert(device_has_arithmetic<Device>,
                  "plimsoll: a Device needs add(to, from, count), judge(scaling, gradients, count) and "
                  "update(rule, weights, gradients, first, second, count, scaling)");
}

} // namespace plimsoll::inline PLIMSOLL_ABI
