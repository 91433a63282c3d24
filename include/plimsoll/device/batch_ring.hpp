#pragma once
/// \file
/// The batch ring as readers fill it.

#include <plimsoll/core/storage.hpp>
#include <plimsoll/device/device.hpp>

#include <utility>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

/// Where a slot of the ring lies in the device's memory.
struct RingSlot {
    std::byte* pixels = nullptr; ///< (images, H, W, C)
    Label* labels = nullptr;     ///< (images)
    std::int64_t image_bytes = 0;
    int images = 0;
};

/// The slots that the host writes, and how they reach the device. Where the host addresses the device's
/// memory they are the ring itself; a device that it does not address specialises this.
template <class Device>
class BatchRing {
  public:
    static_assert(host_addressable<Device>,
                  "plimsoll: a Device with host_addressable = false specialises BatchRing");

    BatchRing(Device&, std::vector<RingSlot> slots) : slots_(std::move(slots)) {}

    [[nodiscard]] int size() const { return static_cast<int>(slots_.size()); }
    /// Where the host writes the pixels and labels of a slot.
    [[nodiscard]] RingSlot host(int slot) const { return slots_[static_cast<std::size_t>(slot)]; }
    /// Bytes of the host's memory beside the device's.
    [[nodiscard]] static constexpr std::int64_t host_bytes() { return 0; }

    /// Begins to bring what the host has written to the device; passes that follow see it.
    void send(int, int /*images*/) {}
    /// Waits until the host may write a slot again that it has sent.
    void wait_sent(int) {}
    /// Tells that the passes which read a slot have been begun.
    void passes_begun(int) {}

  private:
    std::vector<RingSlot> slots_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
