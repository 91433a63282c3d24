#pragma once
/// \file
/// Reads samples ahead of the device, into a fixed number of slots.

#include <plimsoll/source/source_ref.hpp>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <functional>
#include <limits>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

/// Fills slots with a source's samples, in the order that a function tells, ahead of whoever empties them.
/// What is read where depends on that order alone, never on the number of threads. A read that throws does so
/// to the caller of `next`, when its turn has come; nothing waits for ever.
template <class PixelType>
class Prefetch {
  public:
    using Pixel = PixelType;
    /// Room for the same number of samples in every slot.
    struct Slot {
        std::span<Pixel> images; // (room, H, W, C)
        std::span<Label> labels; // (room)
    };
    /// Writes the samples of the `fill`-th filling, at most `room`, and returns how many: 0 after the last.
    /// Called once for each, in order, by one thread at a time.
    using Plan = std::function<std::size_t(std::uint64_t fill, std::span<std::uint64_t> samples)>;
    /// One slot, filled.
    struct Filled {
        int slot = 0;
        std::span<const std::uint64_t> samples{}; ///< empty after the last
        std::span<Label> labels{};
    };

    /// \param threads 0: `next` reads, in its caller's thread. The source must outlive this.
    Prefetch(detail::SourceRef<Pixel> source, std::vector<Slot> slots, int threads, Plan plan)
        : source_(source), plan_(std::move(plan)), threads_wanted_(threads) {
        for (Slot& slot : slots) {
            fills_.push_back({.slot = slot});
            fills_.back().samples.resize(slot.labels.size());
        }
        try {
            for (int t = 0; t < threads; ++t) threads_.emplace_back([this] { work(); });
        } catch (const std::system_error&) { // the process may have no more: those there are read, or `next`
        }
    }
    Prefetch(const Prefetch&) = delete;
    Prefetch& operator=(const Prefetch&) = delete;
    ~Prefetch() {
        {
            const std::lock_guard lock(mutex_);
            stopped_ = true;
        }
        wake_readers_.notify_all();
        for (std::thread& thread : threads_) thread.join();
    }

    /// The next slot, filled; the one before may be filled anew from now on. \throws what `read` threw.
    Filled next() {
        const auto began = std::chrono::steady_clock::now();
        std::unique_lock lock(mutex_);
        if (ended_ && begun_ == taken_) return {};
        emptied_ = taken_;
        is_set_aside_ = false;
        wake_readers_.notify_all();
        Fill& fill = at(taken_);
        if (threads_.empty()) {
            begin(fill);
            while (left_ > 0) read(fill, take_piece(fill));
        } else {
            wake_caller_.wait(lock, [&] { return begun_ > taken_ && fill.pending == 0; });
        }
        ++taken_;
        waited_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
        if (fill.error) std::rethrow_exception(fill.error);
        return {static_cast<int>((taken_ - 1) % fills_.size()),
                {fill.samples.data(), fill.count},
                fill.slot.labels.first(fill.count)};
    }

    /// Leaves the slots to others until `next` is called again: what was read ahead is then read anew.
    /// \param last_too whether this goes for the slot that `next` has returned last, too
    void set_aside(bool last_too) {
        std::unique_lock lock(mutex_);
        is_set_aside_ = true;
        wake_caller_.wait(lock, [&] { return reading_ == 0; });
        if (last_too) emptied_ = --taken_;
        if (begun_ == taken_) return;
        begun_ = taken_;
        left_ = 0;
        ended_ = false;
    }

    /// Seconds that callers of `next` have waited.
    [[nodiscard]] double waited_seconds() const { return waited_; }

  private:
    struct Fill {
        Slot slot{};
        std::vector<std::uint64_t> samples{};
        std::size_t count = 0;   ///< samples wanted
        std::size_t pending = 0; ///< not read yet
        std::exception_ptr error{};
        std::size_t error_at = 0; ///< the first sample that failed: which error is told depends on no timing
    };
    struct Piece {
        std::size_t first = 0, count = 0;
    };

    Fill& at(std::uint64_t fill) { return fills_[static_cast<std::size_t>(fill % fills_.size())]; }

    void begin(Fill& fill) {
        if (begun_ == planned_) plan(fill);
        fill.pending = left_ = fill.count;
        ended_ = fill.count == 0;
        ++begun_;
    }
    void plan(Fill& fill) {
        fill.error = nullptr;
        fill.error_at = std::numeric_limits<std::size_t>::max();
        try {
            fill.count = plan_(planned_, fill.samples);
        } catch (...) {
            fill.count = 0;
            fill.error = std::current_exception();
        }
        ++planned_;
    }
    Piece take_piece(const Fill& fill) {
        // One reader asks for all at once, so that the disk sees them all; several share them out.
        const std::size_t share = threads_wanted_ > 1
                                      ? fill.count / (4 * static_cast<std::size_t>(threads_wanted_)) + 1
                                      : fill.count;
        const Piece piece{fill.count - left_, std::min(share, left_)};
        left_ -= piece.count;
        return piece;
    }
    /// Called with the lock held where there are threads; gives it up while reading.
    void read(Fill& fill, Piece piece, std::unique_lock<std::mutex>* lock = nullptr) {
        const auto pixels = static_cast<std::size_t>(source_.shape().size());
        std::exception_ptr error;
        ++reading_;
        if (lock != nullptr) lock->unlock();
        try {
            source_.read(std::span<const std::uint64_t>(fill.samples).subspan(piece.first, piece.count),
                         fill.slot.images.subspan(piece.first * pixels, piece.count * pixels),
                         fill.slot.labels.subspan(piece.first, piece.count));
        } catch (...) {
            error = std::current_exception();
        }
        if (lock != nullptr) lock->lock();
        --reading_;
        if (error && piece.first < fill.error_at) {
            fill.error = error;
            fill.error_at = piece.first;
        }
        fill.pending -= piece.count;
    }
    void work() {
        std::unique_lock lock(mutex_);
        for (;;) {
            wake_readers_.wait(lock, [&] {
                return stopped_ ||
                       (!is_set_aside_ && (left_ > 0 || (!ended_ && begun_ < emptied_ + fills_.size())));
            });
            if (stopped_) return;
            if (left_ == 0) begin(at(begun_));
            Fill& fill = at(begun_ - 1);
            if (left_ > 0) read(fill, take_piece(fill), &lock);
            if (fill.pending == 0 || (is_set_aside_ && reading_ == 0)) wake_caller_.notify_all();
        }
    }

    detail::SourceRef<Pixel> source_;
    Plan plan_;
    int threads_wanted_;
    std::vector<Fill> fills_;
    std::size_t left_ = 0;      ///< samples of the fill begun last that no reader has taken yet
    std::uint64_t planned_ = 0; ///< fills whose samples are known
    std::uint64_t begun_ = 0;   ///< fills that readers have begun
    std::uint64_t taken_ = 0;   ///< fills that `next` has returned
    std::uint64_t emptied_ = 0; ///< fills whose slot may be filled anew
    int reading_ = 0;           ///< reads that are under way
    bool ended_ = false, is_set_aside_ = false, stopped_ = false;
    double waited_ = 0;
    std::mutex mutex_;
    std::condition_variable wake_readers_, wake_caller_;
    std::vector<std::thread> threads_; // last: they use all the rest
};

} // namespace plimsoll::inline PLIMSOLL_ABI
