#pragma once
/// \file
/// The one allocation of a job, and the debug checks that nothing lives outside its parts.

#include <plimsoll/core/error.hpp>
#include <plimsoll/device/device.hpp>
#include <plimsoll/plan/placement.hpp>
#include <plimsoll/plan/plan.hpp>

#include <cstring>
#include <utility>

#if PLIMSOLL_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

inline constexpr unsigned char canary = 0xC5;

/// Writes or verifies the bytes behind a part; outside the sanitizer's sight, which may have poisoned them.
#if PLIMSOLL_ASAN
__attribute__((no_sanitize("address"), noinline))
#endif
inline bool
canary_holds(unsigned char* guard, bool write) {
    for (std::int64_t i = 0; i < guard_bytes; ++i) {
        if (write) guard[i] = canary;
        if (guard[i] != canary) return false;
    }
    return true;
}

} // namespace detail

/// The arena of a plan on a device. Parts are addressed by their index; bytes outside live parts are poisoned
/// under AddressSanitizer, and canaries between parts are checked in debug builds (host memory only).
template <class Device>
class Arena {
  public:
    /// Allocates `plan.total` bytes, zeroed. \throws device_error naming the bytes if the device has not as
    /// many.
    Arena(Device& device, const PlanView& plan) : plan_(plan), memory_(device.allocate(plan.total)) {
        device.fill_zero(memory_.data(), plan.total);
        poison_from(0, [&](const Part& part) { return part.offset < plan_.shared; });
    }
    ~Arena() {
#if PLIMSOLL_ASAN
        if constexpr (host_addressable<Device>)
            __asan_unpoison_memory_region(memory_.data(), static_cast<std::size_t>(plan_.total));
#endif
    }
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;

    /// First byte of a part that is not in a worker's region.
    [[nodiscard]] std::byte* at(std::int32_t part) const {
        return memory_.data() + plan_.parts[static_cast<std::size_t>(part)].offset;
    }
    [[nodiscard]] std::byte* base() const { return memory_.data(); }

    /// Before a stage: plants canaries behind parts whose life begins and poisons what does not live.
    void enter([[maybe_unused]] std::int32_t stage) {
        if constexpr (guard_bytes > 0 && host_addressable<Device>)
            for (const Part& part : plan_.parts)
                if (part.extent != Extent::slice && part.first == stage && guarded(part))
                    detail::canary_holds(guard(part), true);
        // Permanent parts stay as they are: readers fill the batch ring meanwhile.
        poison_from(plan_.shared, [&](const Part& part) {
            return part.offset >= plan_.shared && part.first <= stage && stage <= part.last;
        });
    }

    /// After a stage. \throws error naming the part behind which something wrote.
    void leave([[maybe_unused]] std::int32_t stage) const {
        if constexpr (guard_bytes > 0 && host_addressable<Device>)
            for (const Part& part : plan_.parts)
                if (part.extent != Extent::slice && part.last == stage && part.first <= stage &&
                    guarded(part))
                    if (!detail::canary_holds(guard(part), false))
                        throw error(text("plimsoll: something wrote past the end of ",
                                         role_names[static_cast<int>(part.role)], " ", part.owner, " (",
                                         part.bytes, " B at ", part.offset, ")"));
    }

  private:
    /// Under AddressSanitizer: nobody may touch the bytes from `begin` on but those of the parts that live.
    template <class Lives>
    void poison_from([[maybe_unused]] std::int64_t begin, [[maybe_unused]] Lives lives) {
#if PLIMSOLL_ASAN
        if constexpr (!host_addressable<Device>) return;
        __asan_poison_memory_region(memory_.data() + begin, static_cast<std::size_t>(plan_.total - begin));
        for (const Part& part : plan_.parts)
            if (part.extent != Extent::slice && lives(part))
                __asan_unpoison_memory_region(memory_.data() + part.offset,
                                              static_cast<std::size_t>(owned(part)));
#endif
    }
    // Parameters lie side by side without guards, and the optimizer passes over the padding between them.
    static std::int64_t owned(const Part& part) { return guarded(part) ? part.bytes : aligned(part.bytes); }
    static bool guarded(const Part& part) { return part.role > Role::second_state; }
    unsigned char* guard(const Part& part) const {
        return reinterpret_cast<unsigned char*>(memory_.data()) + part.offset + aligned(part.bytes);
    }

    PlanView plan_;
    typename Device::Memory memory_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
