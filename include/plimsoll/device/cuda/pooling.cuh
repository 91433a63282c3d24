#pragma once
/// \file
/// Pooling on a GPU, channels last. Every output, and in backward every input, belongs to one thread: nothing
/// is added by atomics, and results repeat bit for bit.

#include <plimsoll/device/cuda/cuda.cuh>
#include <plimsoll/model/layers/pooling.hpp>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// The geometry that device code of pools reads.
struct PoolShape {
    int height, width, channels, output_height, output_width;
    int kernel, stride, padding;

    explicit PoolShape(const Site& site)
        : height(site.input.height),
          width(site.input.width),
          channels(site.input.channels),
          output_height(site.output.height),
          output_width(site.output.width),
          kernel(site.facts.window.kernel),
          stride(site.facts.window.stride),
          padding(site.facts.window.padding) {}

    __device__ std::int64_t input(std::int64_t n, int y, int x, int c) const {
        return ((n * height + y) * width + x) * channels + c;
    }
    __device__ std::int64_t output(std::int64_t n, int y, int x, int c) const {
        return ((n * output_height + y) * output_width + x) * channels + c;
    }
    /// f(tap, element of the input) for what of an output's window lies in the picture.
    template <class F>
    __device__ void for_taps(const Place& at, F f) const {
        for (int ky = 0; ky < kernel; ++ky) {
            const int iy = at.y * stride - padding + ky;
            if (iy < 0 || iy >= height) continue;
            for (int kx = 0; kx < kernel; ++kx) {
                const int ix = at.x * stride - padding + kx;
                if (ix >= 0 && ix < width) f(ky * kernel + kx, input(at.image, iy, ix, at.channel));
            }
        }
    }
    /// Outputs whose windows hold an input's row or column: [first, last].
    __device__ int first_window(int at) const {
        const int from = at + padding - kernel + 1;
        return from <= 0 ? 0 : (from + stride - 1) / stride;
    }
    __device__ int last_window(int at, int outputs) const {
        const int last = (at + padding) / stride;
        return last < outputs ? last : outputs - 1;
    }
};

template <class T, int Width>
struct MaxPoolForward {
    PoolShape shape;
    const T* x;          // (count, H, W, C)
    T* y;                // (count, H', W', C)
    std::uint8_t* saved; // (count, H', W', C)
    bool rectified;
    __device__ void operator()(std::int64_t i) const {
        const Place at = place_of(i, shape.output_height, shape.output_width, shape.channels / Width, Width);
        Pack<T, Width> best{};
        Pack<std::uint8_t, Width> position{};
        float largest[Width] = {};
        bool found = rectified; // a zero, nowhere
#pragma unroll
        for (int k = 0; k < Width; ++k) position.values[k] = no_position;
        shape.for_taps(at, [&](int tap, std::int64_t from) {
            const auto candidate = *reinterpret_cast<const Pack<T, Width>*>(x + from);
#pragma unroll
            for (int k = 0; k < Width; ++k) {
                const float value = loaded(candidate.values[k]);
                if (found && !(value > largest[k]) && !isnan(value)) continue; // the first of equals wins
                largest[k] = value;
                best.values[k] = candidate.values[k];
                position.values[k] = static_cast<std::uint8_t>(tap);
            }
            found = true;
        });
        const std::int64_t to = shape.output(at.image, at.y, at.x, at.channel);
        *reinterpret_cast<Pack<T, Width>*>(y + to) = best;
        *reinterpret_cast<Pack<std::uint8_t, Width>*>(saved + to) = position;
    }
};

template <class T, int Width>
struct AveragePoolForward {
    PoolShape shape;
    const T* x; // (count, H, W, C)
    T* y;       // (count, H', W', C)
    __device__ void operator()(std::int64_t i) const {
        const Place at = place_of(i, shape.output_height, shape.output_width, shape.channels / Width, Width);
        float sum[Width] = {};
        shape.for_taps(at, [&](int, std::int64_t from) {
            const auto values = *reinterpret_cast<const Pack<T, Width>*>(x + from);
#pragma unroll
            for (int k = 0; k < Width; ++k) sum[k] += loaded(values.values[k]);
        });
        Pack<T, Width> mean;
#pragma unroll
        for (int k = 0; k < Width; ++k)
            mean.values[k] = stored<T>(sum[k] / static_cast<float>(shape.kernel * shape.kernel));
        *reinterpret_cast<Pack<T, Width>*>(y + shape.output(at.image, at.y, at.x, at.channel)) = mean;
    }
};

/// dx of an input: the sum over the windows that hold it. \tparam Maximum of those whose maximum it was
template <class T, int Width, bool Maximum>
struct PoolBackward {
    PoolShape shape;
    const T* dy;               // (count, H', W', C)
    const std::uint8_t* saved; // (count, H', W', C)
    T* dx;                     // (count, H, W, C)
    __device__ void operator()(std::int64_t i) const {
        const Place at = place_of(i, shape.height, shape.width, shape.channels / Width, Width);
        float sum[Width] = {};
        const int last_y = shape.last_window(at.y, shape.output_height);
        const int last_x = shape.last_window(at.x, shape.output_width);
        for (int oy = shape.first_window(at.y); oy <= last_y; ++oy)
            for (int ox = shape.first_window(at.x); ox <= last_x; ++ox) {
                const std::int64_t from = shape.output(at.image, oy, ox, at.channel);
                const int tap = (at.y + shape.padding - oy * shape.stride) * shape.kernel +
                                (at.x + shape.padding - ox * shape.stride);
                const auto gradient = *reinterpret_cast<const Pack<T, Width>*>(dy + from);
                Pack<std::uint8_t, Width> position{};
                if constexpr (Maximum)
                    position = *reinterpret_cast<const Pack<std::uint8_t, Width>*>(saved + from);
#pragma unroll
                for (int k = 0; k < Width; ++k)
                    if (!Maximum || position.values[k] == tap) sum[k] += loaded(gradient.values[k]);
            }
        Pack<T, Width> out;
#pragma unroll
        for (int k = 0; k < Width; ++k)
            out.values[k] =
                stored<T>(Maximum ? sum[k] : sum[k] / static_cast<float>(shape.kernel * shape.kernel));
        *reinterpret_cast<Pack<T, Width>*>(dx + shape.input(at.image, at.y, at.x, at.channel)) = out;
    }
};

/// The same where windows lie side by side: every window, also one that the picture's edge cuts off, writes
/// its inputs.
template <class T, int Width, bool Maximum>
struct SideBySideBackward {
    PoolShape shape;
    const T* dy;               // (count, H', W', C)
    const std::uint8_t* saved; // (count, H', W', C)
    T* dx;                     // (count, H, W, C)

    /// Along an axis.
    PLIMSOLL_HD static constexpr int windows(int extent, int kernel) {
        return (extent + kernel - 1) / kernel;
    }
    __device__ void operator()(std::int64_t i) const {
        const int kernel = shape.kernel;
        const Place at = place_of(i, windows(shape.height, kernel), windows(shape.width, kernel),
                                  shape.channels / Width, Width);
        Pack<T, Width> gradient{};
        Pack<std::uint8_t, Width> position{};
        if (at.y < shape.output_height && at.x < shape.output_width) {
            const std::int64_t from = shape.output(at.image, at.y, at.x, at.channel);
            gradient = *reinterpret_cast<const Pack<T, Width>*>(dy + from);
            if constexpr (Maximum)
                position = *reinterpret_cast<const Pack<std::uint8_t, Width>*>(saved + from);
            else
#pragma unroll
                for (int k = 0; k < Width; ++k)
                    gradient.values[k] =
                        stored<T>(loaded(gradient.values[k]) / static_cast<float>(kernel * kernel));
        }
        for (int y = 0; y < kernel && at.y * kernel + y < shape.height; ++y)
            for (int x = 0; x < kernel && at.x * kernel + x < shape.width; ++x) {
                Pack<T, Width> out = gradient;
                if constexpr (Maximum)
#pragma unroll
                    for (int k = 0; k < Width; ++k)
                        if (position.values[k] != y * kernel + x) out.values[k] = T{};
                *reinterpret_cast<Pack<T, Width>*>(
                    dx + shape.input(at.image, at.y * kernel + y, at.x * kernel + x, at.channel)) = out;
            }
    }
};

template <class T>
struct GlobalAverageForward {
    const T* x; // (count, H, W, C)
    T* y;       // (count, C)
    int area, channels;
    __device__ void operator()(std::int64_t i) const {
        const Quotient at = divide(i, channels);
        const T* first = x + at.quotient * area * channels + at.remainder;
        double sum = 0;
        for (int p = 0; p < area; ++p) sum += loaded(first[std::int64_t{p} * channels]);
        y[i] = stored<T>(static_cast<float>(sum / area));
    }
};
template <class T>
struct GlobalAverageBackward {
    const T* dy; // (count, C)
    T* dx;       // (count, H, W, C)
    int area, channels;
    __device__ void operator()(std::int64_t i) const {
        const Quotient channel = divide(i, channels), pixel = divide(channel.quotient, area);
        dx[i] =
            stored<T>(loaded(dy[pixel.quotient * channels + channel.remainder]) / static_cast<float>(area));
    }
};

} // namespace detail

/// MaxPool and AveragePool. \tparam T of activations
template <class T>
class CudaPool : public NodeKernel {
  public:
    CudaPool(const Site& site, Cuda& device) : site_(site), shape_(site), device_(device) {}
    static constexpr Needs needs(const Site&) { return {}; }

    bool rectify() override { return rectified_ = site_.facts.selects_maximum; }

    void forward(const Call& call) override {
        const auto* x = static_cast<const T*>(call.input);
        auto* y = static_cast<T*>(call.output);
        auto* saved = static_cast<std::uint8_t*>(call.saved);
        detail::for_width<T>(packs(x, y, saved), [&](auto width) {
            constexpr int w = decltype(width)::value;
            const std::int64_t count = site_.output.size() * call.count / w;
            if (site_.facts.selects_maximum)
                device_.for_each(count, detail::MaxPoolForward<T, w>{shape_, x, y, saved, rectified_},
                                 site_.facts.name);
            else
                device_.for_each(count, detail::AveragePoolForward<T, w>{shape_, x, y}, site_.facts.name);
        });
    }
    void backward(const Call& call) override {
        const auto* dy = static_cast<const T*>(call.output_gradient);
        const auto* saved = static_cast<const std::uint8_t*>(call.saved);
        auto* dx = static_cast<T*>(call.input_gradient);
        if (dx == nullptr) return;
        detail::for_width<T>(packs(dy, dx, saved), [&](auto width) {
            constexpr int w = decltype(width)::value;
            if (site_.facts.selects_maximum)
                backward<w, true>(call.count, dy, saved, dx);
            else
                backward<w, false>(call.count, dy, nullptr, dx);
        });
    }

  private:
    template <int Width, bool Maximum>
    void backward(int images, const T* dy, const std::uint8_t* saved, T* dx) const {
        const Window window = site_.facts.window;
        if (window.stride == window.kernel && window.padding == 0) {
            using SideBySide = detail::SideBySideBackward<T, Width, Maximum>;
            const std::int64_t windows =
                std::int64_t{SideBySide::windows(site_.input.height, window.kernel)} *
                SideBySide::windows(site_.input.width, window.kernel);
            device_.for_each(images * windows * site_.input.channels / Width,
                             SideBySide{shape_, dy, saved, dx}, site_.facts.name);
        } else {
            device_.for_each(site_.input.size() * images / Width,
                             detail::PoolBackward<T, Width, Maximum>{shape_, dy, saved, dx},
                             site_.facts.name);
        }
    }
    [[nodiscard]] bool packs(const T* a, const T* b, const std::uint8_t* saved) const {
        return site_.input.channels % detail::wide<T> == 0 && detail::is_aligned(a, 16) &&
               detail::is_aligned(b, 16) && detail::is_aligned(saved, detail::wide<T>);
    }
    Site site_;
    detail::PoolShape shape_;
    Cuda& device_;
    bool rectified_ = false;
};

/// Mean of each channel. \tparam T of activations
template <class T>
class CudaGlobalAveragePool : public NodeKernel {
  public:
    CudaGlobalAveragePool(const Site& site, Cuda& device) : site_(site), device_(device) {}
    static constexpr Needs needs(const Site&) { return {}; }

    void forward(const Call& call) override {
        device_.for_each(site_.output.size() * call.count,
                         detail::GlobalAverageForward<T>{static_cast<const T*>(call.input),
                                                         static_cast<T*>(call.output), area(),
                                                         site_.input.channels},
                         site_.facts.name);
    }
    void backward(const Call& call) override {
        if (call.input_gradient == nullptr) return;
        device_.for_each(site_.input.size() * call.count,
                         detail::GlobalAverageBackward<T>{static_cast<const T*>(call.output_gradient),
                                                          static_cast<T*>(call.input_gradient), area(),
                                                          site_.input.channels},
                         site_.facts.name);
    }

  private:
    [[nodiscard]] int area() const { return static_cast<int>(site_.input.pixels()); }
    Site site_;
    Cuda& device_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
