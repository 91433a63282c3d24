#pragma once
/// \file
/// A complete Device to copy: one thread, the heap and plain loops.

#include <plimsoll/core/error.hpp>
#include <plimsoll/core/storage.hpp>
#include <plimsoll/core/units.hpp>
#include <plimsoll/device/device.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <string_view>

namespace plimsoll::inline PLIMSOLL_ABI {

/// The simplest device there can be. Like every device it knows memory and lanes, no layer.
///
/// To make a Device of your own, copy this class and keep what `check_device<YourDevice>()` asks for. Then
/// give it kernels, one specialisation `Kernel<Layer, Precision, YourDevice>` for each layer that your models
/// use. Addresses are the device's: the library reads and writes them only through `upload`, `download` and
/// `fill_zero`.
class ExampleDevice {
  public:
    /// What tables and messages call it.
    static constexpr std::string_view name = "ExampleDevice";

    /// \param threads as the user's Settings say; 0: as many as there are. This device has one.
    explicit ExampleDevice([[maybe_unused]] int threads = 0) {}

    /// Most lanes that run at once.
    [[nodiscard]] static int workers() { return 1; }

    /// What the device can still give. A real device asks its driver.
    [[nodiscard]] static std::int64_t free_bytes() { return std::int64_t{1} << 30; }

    /// Channels of a blocked layout that the kernels prefer; 0: channels last.
    [[nodiscard]] static int layout_block() { return 0; }

    /// One block of bytes, aligned to `alignment`, freed with the object. A job asks for one.
    class Memory {
      public:
        explicit Memory(std::int64_t bytes)
            : data_(static_cast<std::byte*>(
                  ::operator new(static_cast<std::size_t>(bytes), align, std::nothrow))) {
            if (data_ == nullptr) throw device_error(text("ExampleDevice has no ", bytes, " B to give"));
        }
        [[nodiscard]] std::byte* data() const { return data_.get(); }

      private:
        static constexpr std::align_val_t align{static_cast<std::size_t>(alignment)};
        struct Free {
            void operator()(std::byte* data) const { ::operator delete(data, align); }
        };
        std::unique_ptr<std::byte, Free> data_;
    };
    /// \throws device_error naming the bytes.
    [[nodiscard]] static Memory allocate(std::int64_t bytes) { return Memory(bytes); }

    /// Calls f(lane, worker) for every lane. Lanes may run at the same time if their workers differ; when
    /// this returns all have run.
    template <class F>
    static void for_lanes(int lanes, F&& f) {
        for (int lane = 0; lane < lanes; ++lane) f(lane, 0);
    }

    /// From the host's memory to the device's.
    static void upload(void* to, const void* from, std::int64_t bytes) {
        std::memcpy(to, from, static_cast<std::size_t>(bytes));
    }
    /// From the device's memory to the host's.
    static void download(void* to, const void* from, std::int64_t bytes) {
        std::memcpy(to, from, static_cast<std::size_t>(bytes));
    }
    static void fill_zero(void* to, std::int64_t bytes) {
        std::memset(to, 0, static_cast<std::size_t>(bytes));
    }

    /// to[i] += from[i], elements of the precision's storage.
    template <class T>
    static void add(T* destination, const T* from, std::int64_t count) {
        for (std::int64_t i = 0; i < count; ++i)
            destination[i] = to<T>(to_float(destination[i]) + to_float(from[i]));
    }

    /// Judges a step by its gradients, where the precision scales the loss.
    static void judge(LossScaling* scaling, const float* gradients, std::int64_t count) {
        bool finite = true;
        for (std::int64_t i = 0; i < count; ++i) finite = finite && std::isfinite(gradients[i]);
        scaling->judge(finite);
    }

    /// An optimizer's step: `rule(weight, gradient, first, second)` for each weight. A state that the
    /// optimizer does not keep is null; the rule is then given a dummy. Nothing happens to a step whose
    /// gradients have overflowed. \param scaling null where the loss is not scaled
    template <class Rule>
    static void update(const Rule& rule, float* weights, const float* gradients, float* first_state,
                       float* second_state, std::int64_t count, const LossScaling* scaling) {
        if (scaling != nullptr && scaling->overflowed != 0) return;
        const float unscale = scaling == nullptr ? 1 : scaling->unscale;
        for (std::int64_t i = 0; i < count; ++i) {
            float unused = 0;
            rule(weights[i], gradients[i] * unscale, first_state == nullptr ? unused : first_state[i],
                 second_state == nullptr ? unused : second_state[i]);
        }
    }
};

static_assert(device<ExampleDevice>);

} // namespace plimsoll::inline PLIMSOLL_ABI
