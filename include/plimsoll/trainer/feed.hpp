#pragma once
/// \file
/// Samples on their way from a source to the device.

#include <plimsoll/device/batch_ring.hpp>
#include <plimsoll/source/prefetch.hpp>

#include <exception>
#include <functional>
#include <utility>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

/// Reads a source's samples into the batch ring, ahead where the ring has room for it, and sends them to the
/// device: where that takes time, the next while the device works on the last.
template <class Pixel, class Device>
class Feed {
  public:
    /// Looks at samples and labels that were read; may write labels, and throws what is wrong with them.
    using Check = std::function<void(std::span<const std::uint64_t> samples, std::span<Label> labels)>;

    /// \param holder of the ring, null where there is none: this while it lives, and what was before is set
    /// aside. The source, the ring and the holder must outlive this.
    Feed(detail::SourceRef<Pixel> source, BatchRing<Device>& ring, Feed*& holder,
         typename Prefetch<Pixel>::Plan samples, Check check)
        : ring_(ring),
          holder_(holder, this),
          check_(std::move(check)),
          reading_(source, slots_of(source, ring), ring.size() > 1 ? std::max(source.reader_threads(), 1) : 0,
                   std::move(samples)) {}

    /// The slot with the next samples, on its way to the device. \throws what reading or checking threw.
    int next() {
        if (!ahead_) fetch();
        ahead_ = false;
        if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
        return slot_;
    }

    /// Sends the samples after these, where that can be done while the device works on these.
    void look_ahead() {
        if (host_addressable<Device> || ahead_ || ring_.size() < 2) return;
        fetch();
        ahead_ = true;
    }

    /// Leaves the ring to others until `next` is called again.
    void set_aside() {
        if (slot_ >= 0) ring_.wait_sent(slot_);
        reading_.set_aside(std::exchange(ahead_, false));
        error_ = nullptr;
    }

    /// Seconds that callers have waited for the source.
    [[nodiscard]] double waited_seconds() const { return reading_.waited_seconds(); }

  private:
    /// Sets the holder aside while this lives.
    class Hold {
      public:
        Hold(Feed*& holder, Feed* now) : holder_(holder), before_(holder) {
            if (before_ != nullptr) before_->set_aside();
            holder_ = now;
        }
        Hold(const Hold&) = delete;
        Hold& operator=(const Hold&) = delete;
        ~Hold() { holder_ = before_; }

      private:
        Feed*& holder_;
        Feed* before_;
    };
    static std::vector<typename Prefetch<Pixel>::Slot> slots_of(detail::SourceRef<Pixel> source,
                                                                const BatchRing<Device>& ring) {
        std::vector<typename Prefetch<Pixel>::Slot> slots;
        for (int number = 0; number < ring.size(); ++number) {
            const RingSlot room = ring.host(number);
            const auto images = static_cast<std::size_t>(room.images);
            const auto pixels = static_cast<std::size_t>(source.shape().size());
            slots.push_back({std::span(reinterpret_cast<Pixel*>(room.pixels), images * pixels),
                             std::span(room.labels, images)});
        }
        return slots;
    }
    /// What the device refuses is thrown at once, what is wrong with samples in their turn.
    void fetch() {
        if (slot_ >= 0) ring_.wait_sent(slot_); // reading lets others fill it anew
        int images = 0;
        try {
            const auto filled = reading_.next();
            if (filled.samples.empty()) return; // after the last
            slot_ = filled.slot;
            check_(filled.samples, filled.labels);
            images = static_cast<int>(filled.samples.size());
        } catch (...) {
            error_ = std::current_exception();
            return;
        }
        ring_.send(slot_, images);
    }

    BatchRing<Device>& ring_;
    Hold holder_;
    Check check_;
    Prefetch<Pixel> reading_;
    int slot_ = -1;      ///< fetched last
    bool ahead_ = false; ///< and not handed out yet
    std::exception_ptr error_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
