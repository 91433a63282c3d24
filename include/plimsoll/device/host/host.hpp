#pragma once
/// \file
/// The Host device: the machine's own processor and memory.

#include <plimsoll/core/error.hpp>
#include <plimsoll/core/process.hpp>
#include <plimsoll/core/storage.hpp>
#include <plimsoll/core/units.hpp>
#include <plimsoll/device/device.hpp>
#include <plimsoll/device/host/elementwise.hpp>
#include <plimsoll/device/host/parallel.hpp>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstring>
#include <string_view>
#include <utility>

#include <sys/mman.h>

namespace plimsoll::inline PLIMSOLL_ABI {

/// Elements a task of an elementwise pass takes: fixed, so that results do not depend on threads.
inline constexpr std::int64_t chunk_elements = 8192;

/// Trains on the processor, with oneDNN where it is installed and plain loops where it is not.
class Host {
  public:
    static constexpr std::string_view name = "Host";

    /// \param threads 0: as many as this process may use (affinity, cgroup limits, OMP_NUM_THREADS).
    explicit Host(int threads = 0) : team_(threads > 0 ? threads : available_threads()) {}

    [[nodiscard]] const Team& team() const { return team_; }
    [[nodiscard]] int workers() const { return team_.threads(); }
    [[nodiscard]] std::int64_t free_bytes() const { return available_memory(); }

    /// Channels last: over a whole network oneDNN's kernels for it are as fast as those for its blocked
    /// layouts, they exist for every number of channels, and they need no AVX-512.
    [[nodiscard]] static constexpr int layout_block() { return 0; }

    /// Anonymous pages, owned.
    class Memory {
      public:
        Memory() = default;
        /// \throws device_error naming the bytes.
        explicit Memory(std::int64_t bytes) : bytes_(static_cast<std::size_t>(bytes > 0 ? bytes : 1)) {
            void* pages = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (pages == MAP_FAILED)
                throw device_error(
                    text("the host has no ", bytes, " B (", to_string(Bytes{bytes}), ") to give"));
            data_ = static_cast<std::byte*>(pages);
            madvise(data_, bytes_, MADV_HUGEPAGE); // a hint: without it the pages are small
        }
        Memory(Memory&& other) noexcept
            : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
        Memory& operator=(Memory&& other) noexcept {
            std::swap(data_, other.data_);
            std::swap(bytes_, other.bytes_);
            return *this;
        }
        ~Memory() {
            if (data_ != nullptr) munmap(data_, bytes_);
        }
        [[nodiscard]] std::byte* data() const { return data_; }

      private:
        std::byte* data_ = nullptr;
        std::size_t bytes_ = 0;
    };
    [[nodiscard]] static Memory allocate(std::int64_t bytes) { return Memory(bytes); }

    /// Calls f(lane, worker) for every lane, on the team.
    template <class F>
    void for_lanes(int lanes, F&& f) const {
        team_.parallel(lanes, std::forward<F>(f));
    }

    static void upload(void* to, const void* from, std::int64_t bytes) {
        std::memcpy(to, from, static_cast<std::size_t>(bytes));
    }
    static void download(void* to, const void* from, std::int64_t bytes) { upload(to, from, bytes); }
    static void fill_zero(void* to, std::int64_t bytes) {
        std::memset(to, 0, static_cast<std::size_t>(bytes));
    }

    /// to[i] += from[i], elements of the precision's storage.
    template <class T>
    void add(T* destination, const T* from, std::int64_t count) const {
        team_.for_chunks(count, chunk_elements, [=](std::int64_t, std::int64_t first, std::int64_t size) {
            detail::transform([](float a, float b) { return a + b; }, size, destination + first,
                              destination + first, from + first);
        });
    }

    /// Judges a step by its gradients, `count` floats.
    void judge(LossScaling* scaling, const float* gradients, std::int64_t count) const {
        std::atomic<bool> finite{true};
        team_.for_chunks(count, chunk_elements, [&](std::int64_t, std::int64_t first, std::int64_t size) {
            std::int32_t widest = 0; // as integers, what is not finite comes last
            for (std::int64_t i = 0; i < size; ++i)
                widest = std::max(widest, std::bit_cast<std::int32_t>(gradients[first + i]) & 0x7fffffff);
            if (widest >= 0x7f800000) finite = false;
        });
        scaling->judge(finite);
    }

    /// An optimizer's rule over (weights, gradients, states), each `count` floats; a state it does not keep
    /// is null. Nothing happens to a step whose gradients have overflowed.
    /// \param scaling null where the loss is not scaled
    template <class Rule>
    void update(const Rule& rule, float* weights, const float* gradients, float* first_state,
                float* second_state, std::int64_t count, const LossScaling* scaling) const {
        if (scaling != nullptr && scaling->overflowed != 0) return;
        const float unscale = scaling == nullptr ? 1 : scaling->unscale; // a power of two: exact
        team_.for_chunks(count, chunk_elements, [=](std::int64_t, std::int64_t first, std::int64_t size) {
            float* w = weights + first;
            const float* g = gradients + first;
            if (first_state == nullptr)
                update_chunk<0>(rule, unscale, w, g, nullptr, nullptr, size);
            else if (second_state == nullptr)
                update_chunk<1>(rule, unscale, w, g, first_state + first, nullptr, size);
            else
                update_chunk<2>(rule, unscale, w, g, first_state + first, second_state + first, size);
        });
    }

  private:
    template <int States, class Rule>
    static void update_chunk(const Rule rule, float unscale, float* __restrict w, const float* __restrict g,
                             float* __restrict a, float* __restrict b, std::int64_t size) {
        PLIMSOLL_SIMD
        for (std::int64_t i = 0; i < size; ++i) {
            float weight = w[i], first = 0, second = 0;
            if constexpr (States > 0) first = a[i];
            if constexpr (States > 1) second = b[i];
            rule(weight, g[i] * unscale, first, second);
            if constexpr (States > 0) a[i] = first;
            if constexpr (States > 1) b[i] = second;
            w[i] = weight;
        }
    }

    Team team_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
