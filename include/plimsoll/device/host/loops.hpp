#pragma once
/// \file
/// Kernels as plain loops, for any layout, summed in double: the oracle in tests, and the fall-back where a
/// library has nothing better.

#include <plimsoll/core/units.hpp>
#include <plimsoll/device/host/parallel.hpp>
#include <plimsoll/device/kernel.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// A batch of activations in its layout: element (n, y, x, c) of (N, C / block, H, W, block).
template <class T>
struct View {
    T* data;
    Shape shape;
    Layout layout;

    [[nodiscard]] std::int64_t index(int n, int y, int x, int c) const {
        const int block = layout.block;
        const std::int64_t plane = std::int64_t{n} * (shape.channels / block) + c / block;
        return ((plane * shape.height + y) * shape.width + x) * block + c % block;
    }
    T& operator()(int n, int y, int x, int c) const { return data[index(n, y, x, c)]; }
    [[nodiscard]] bool contains(int y, int x) const {
        return y >= 0 && y < shape.height && x >= 0 && x < shape.width;
    }
};

template <class T>
View<T> view_of_input(const Site& site, std::conditional_t<std::is_const_v<T>, const void, void>* data) {
    return {static_cast<T*>(data), site.input, site.input_layout};
}
template <class T>
View<T> view_of_output(const Site& site, std::conditional_t<std::is_const_v<T>, const void, void>* data) {
    return {static_cast<T*>(data), site.output, site.output_layout};
}
template <class T>
double value_of(T stored) {
    return static_cast<double>(to_float(stored));
}
/// A weight as layers work with it: rounded to the type that activations have.
template <class T>
double rounded_weight(float weight) {
    return value_of(to<T>(weight));
}
/// Floats that begin `bytes` into a part.
inline float* floats_at(void* part, std::int64_t bytes = 0) {
    return reinterpret_cast<float*>(static_cast<char*>(part) + bytes);
}

inline void store(float& to, double value, bool add) {
    to = static_cast<float>(add ? static_cast<double>(to) + value : value);
}

/// sum[i] += term[i].
inline void add_floats(float* __restrict sum, const float* __restrict term, std::int64_t count) {
    PLIMSOLL_SIMD
    for (std::int64_t i = 0; i < count; ++i) sum[i] += term[i];
}

/// to[i] (+)= the sum of every lane's from[i], in lane order. \param stride bytes from lane to lane.
inline void sum_lanes(float* to, const void* from, std::int64_t count, std::int64_t stride, int lanes,
                      bool add) {
    for (std::int64_t i = 0; i < count; ++i) {
        double sum = 0;
        for (int lane = 0; lane < lanes; ++lane)
            sum += reinterpret_cast<const float*>(static_cast<const char*>(from) + lane * stride)[i];
        store(to[i], sum, add);
    }
}

} // namespace detail

/// Convolution. A lane's partial: weight gradient (F, C, K, K), then from the next multiple of 64 bytes on
/// the bias gradient (F).
template <class T>
class LoopConvolution : public NodeKernel {
  public:
    LoopConvolution(const Site& site, const Team&) : site_(site) {}

    static constexpr Needs needs(const Site& site) {
        const auto& parameters = site.facts.parameters;
        const auto float_bytes = static_cast<std::int64_t>(sizeof(float));
        Needs needs;
        needs.partial = aligned(parameters[0].size() * float_bytes);
        if (parameters.size() > 1) needs.partial += aligned(parameters[1].size() * float_bytes);
        return needs;
    }

    void forward(const Call& call) override {
        const auto x = detail::view_of_input<const T>(site_, call.input);
        const auto y = detail::view_of_output<T>(site_, call.output);
        const float* weight = call.parameters[0]; // (F, C, K, K)
        const Window window = site_.facts.window;
        for_outputs(call.count, [&](int n, int oy, int ox, int f) {
            double sum = site_.has_bias() ? static_cast<double>(call.parameters[1][f]) : 0;
            for (int ky = 0; ky < window.kernel; ++ky)
                for (int kx = 0; kx < window.kernel; ++kx) {
                    const int iy = oy * window.stride - window.padding + ky;
                    const int ix = ox * window.stride - window.padding + kx;
                    if (!x.contains(iy, ix)) continue;
                    for (int c = 0; c < site_.input.channels; ++c)
                        sum += detail::value_of(x(n, iy, ix, c)) *
                               detail::rounded_weight<T>(weight[weight_index(f, c, ky, kx)]);
                }
            y(n, oy, ox, f) = to<T>(static_cast<float>(sum));
        });
    }

    void backward(const Call& call) override {
        weight_gradient(call);
        if (site_.input_gradient) input_gradient(call);
    }

    /// dW[f, c, ky, kx] = sum over n, oy, ox of dy[n, oy, ox, f] x[n, oy S - P + ky, ox S - P + kx, c].
    void weight_gradient(const Call& call) const {
        const auto x = detail::view_of_input<const T>(site_, call.input);
        const auto dy = detail::view_of_output<const T>(site_, call.output_gradient);
        float* partial = detail::floats_at(call.partial); // (F, C, K, K)
        const Window window = site_.facts.window;
        for (int f = 0; f < site_.output.channels; ++f)
            for (int c = 0; c < site_.input.channels; ++c)
                for (int ky = 0; ky < window.kernel; ++ky)
                    for (int kx = 0; kx < window.kernel; ++kx) {
                        double sum = 0;
                        for (int n = 0; n < call.count; ++n)
                            for (int oy = 0; oy < site_.output.height; ++oy)
                                for (int ox = 0; ox < site_.output.width; ++ox) {
                                    const int iy = oy * window.stride - window.padding + ky;
                                    const int ix = ox * window.stride - window.padding + kx;
                                    if (!x.contains(iy, ix)) continue;
                                    sum += detail::value_of(dy(n, oy, ox, f)) *
                                           detail::value_of(x(n, iy, ix, c));
                                }
                        detail::store(partial[weight_index(f, c, ky, kx)], sum, call.accumulate);
                    }
        if (!site_.has_bias()) return;
        float* bias = detail::floats_at(call.partial, bias_offset()); // (F)
        for (int f = 0; f < site_.output.channels; ++f) {
            double sum = 0;
            for (int n = 0; n < call.count; ++n)
                for (int oy = 0; oy < site_.output.height; ++oy)
                    for (int ox = 0; ox < site_.output.width; ++ox) sum += detail::value_of(dy(n, oy, ox, f));
            detail::store(bias[f], sum, call.accumulate);
        }
    }

    /// dx[n, iy, ix, c] = sum over the outputs whose window holds (iy, ix).
    void input_gradient(const Call& call) const {
        const auto dy = detail::view_of_output<const T>(site_, call.output_gradient);
        const auto dx = detail::view_of_input<T>(site_, call.input_gradient);
        const float* weight = call.parameters[0]; // (F, C, K, K)
        const Window window = site_.facts.window;
        for (int n = 0; n < call.count; ++n)
            for (int iy = 0; iy < site_.input.height; ++iy)
                for (int ix = 0; ix < site_.input.width; ++ix)
                    for (int c = 0; c < site_.input.channels; ++c) {
                        double sum = 0;
                        for (int ky = 0; ky < window.kernel; ++ky)
                            for (int kx = 0; kx < window.kernel; ++kx) {
                                const int oy = iy + window.padding - ky, ox = ix + window.padding - kx;
                                if (oy % window.stride != 0 || ox % window.stride != 0) continue;
                                if (!dy.contains(oy / window.stride, ox / window.stride)) continue;
                                for (int f = 0; f < site_.output.channels; ++f)
                                    sum +=
                                        detail::value_of(dy(n, oy / window.stride, ox / window.stride, f)) *
                                        detail::rounded_weight<T>(weight[weight_index(f, c, ky, kx)]);
                            }
                        dx(n, iy, ix, c) = to<T>(static_cast<float>(sum));
                    }
    }

    void reduce(const Call& call, int lanes) override {
        detail::sum_lanes(call.gradients[0], call.partial, site_.facts.parameters[0].size(),
                          call.partial_stride, lanes, call.accumulate);
        if (site_.has_bias())
            detail::sum_lanes(call.gradients[1], detail::floats_at(call.partial, bias_offset()),
                              site_.output.channels, call.partial_stride, lanes, call.accumulate);
    }

  private:
    [[nodiscard]] std::int64_t bias_offset() const {
        return aligned(site_.facts.parameters[0].size() * static_cast<std::int64_t>(sizeof(float)));
    }
    [[nodiscard]] std::int64_t weight_index(int f, int c, int ky, int kx) const {
        const int kernel = site_.facts.window.kernel;
        return ((std::int64_t{f} * site_.input.channels + c) * kernel + ky) * kernel + kx;
    }
    template <class F>
    void for_outputs(int count, F f) const {
        for (int n = 0; n < count; ++n)
            for (int oy = 0; oy < site_.output.height; ++oy)
                for (int ox = 0; ox < site_.output.width; ++ox)
                    for (int c = 0; c < site_.output.channels; ++c) f(n, oy, ox, c);
    }

    Site site_;
};

/// MaxPool and AveragePool.
template <class T>
class LoopPool : public NodeKernel {
  public:
    LoopPool(const Site& site, const Team&) : site_(site) {}
    static constexpr Needs needs(const Site&) { return {}; }

    void forward(const Call& call) override {
        const auto x = detail::view_of_input<const T>(site_, call.input);
        const auto y = detail::view_of_output<T>(site_, call.output);
        const auto saved = detail::view_of_output<std::uint8_t>(site_, call.saved);
        for_windows(call.count, [&](int n, int oy, int ox, int c, auto&& taps) {
            if (!site_.facts.selects_maximum) {
                double sum = 0;
                taps([&](int iy, int ix, int) { sum += detail::value_of(x(n, iy, ix, c)); });
                y(n, oy, ox, c) = to<T>(static_cast<float>(sum / area()));
                return;
            }
            int best = -1;
            float largest = -std::numeric_limits<float>::infinity();
            taps([&](int iy, int ix, int tap) {
                const float candidate = to_float(x(n, iy, ix, c));
                if (best >= 0 && !(candidate > largest) && !std::isnan(candidate)) return; // the first wins
                best = tap;
                largest = candidate;
            });
            y(n, oy, ox, c) = to<T>(largest);
            saved(n, oy, ox, c) = static_cast<std::uint8_t>(best);
        });
    }

    void backward(const Call& call) override {
        const auto dy = detail::view_of_output<const T>(site_, call.output_gradient);
        const auto dx = detail::view_of_input<T>(site_, call.input_gradient);
        const auto saved = detail::view_of_output<const std::uint8_t>(site_, call.saved);
        std::fill_n(dx.data, site_.input.size() * call.count, T{});
        for_windows(call.count, [&](int n, int oy, int ox, int c, auto&& taps) {
            const float gradient = to_float(dy(n, oy, ox, c));
            taps([&](int iy, int ix, int tap) {
                const bool mean = !site_.facts.selects_maximum;
                if (!mean && saved(n, oy, ox, c) != tap) return;
                T& sum = dx(n, iy, ix, c);
                sum = to<T>(to_float(sum) + (mean ? gradient / static_cast<float>(area()) : gradient));
            });
        });
    }

  private:
    [[nodiscard]] int area() const { return site_.facts.window.kernel * site_.facts.window.kernel; }

    /// f(n, oy, ox, c, taps) for every output; taps(g) calls g(iy, ix, position) for every input of its
    /// window.
    template <class F>
    void for_windows(int count, F f) const {
        const Window window = site_.facts.window;
        const auto bounds = detail::View<const float>{nullptr, site_.input, site_.input_layout};
        for (int n = 0; n < count; ++n)
            for (int oy = 0; oy < site_.output.height; ++oy)
                for (int ox = 0; ox < site_.output.width; ++ox)
                    for (int c = 0; c < site_.output.channels; ++c)
                        f(n, oy, ox, c, [&](auto&& g) {
                            for (int tap = 0; tap < area(); ++tap) {
                                const int iy = oy * window.stride - window.padding + tap / window.kernel;
                                const int ix = ox * window.stride - window.padding + tap % window.kernel;
                                if (bounds.contains(iy, ix)) g(iy, ix, tap);
                            }
                        });
    }

    Site site_;
};

/// Mean of each channel: (N, H, W, C) to (N, C).
template <class T>
class LoopGlobalAveragePool : public NodeKernel {
  public:
    LoopGlobalAveragePool(const Site& site, const Team&) : site_(site) {}
    static constexpr Needs needs(const Site&) { return {}; }

    void forward(const Call& call) override {
        const auto x = detail::view_of_input<const T>(site_, call.input);
        const auto y = detail::view_of_output<T>(site_, call.output);
        for (int n = 0; n < call.count; ++n)
            for (int c = 0; c < site_.input.channels; ++c) {
                double sum = 0;
                for (int iy = 0; iy < site_.input.height; ++iy)
                    for (int ix = 0; ix < site_.input.width; ++ix) sum += detail::value_of(x(n, iy, ix, c));
                y(n, 0, 0, c) = to<T>(static_cast<float>(sum / static_cast<double>(site_.input.pixels())));
            }
    }

    void backward(const Call& call) override {
        const auto dy = detail::view_of_output<const T>(site_, call.output_gradient);
        const auto dx = detail::view_of_input<T>(site_, call.input_gradient);
        for (int n = 0; n < call.count; ++n)
            for (int iy = 0; iy < site_.input.height; ++iy)
                for (int ix = 0; ix < site_.input.width; ++ix)
                    for (int c = 0; c < site_.input.channels; ++c)
                        dx(n, iy, ix, c) =
                            to<T>(to_float(dy(n, 0, 0, c)) / static_cast<float>(site_.input.pixels()));
    }

  private:
    Site site_;
};

/// y = x W^T + b: (N, K) to (N, F).
template <class T>
class LoopDense : public NodeKernel {
  public:
    LoopDense(const Site& site, const Team&)
        : inputs_(site.input.channels),
          outputs_(site.output.channels),
          input_gradient_(site.input_gradient),
          bias_(site.has_bias()) {}
    static constexpr Needs needs(const Site&) { return {}; }

    void forward(const Call& call) override {
        const T* x = static_cast<const T*>(call.input); // (N, K)
        const float* weight = call.parameters[0];       // (F, K)
        T* y = static_cast<T*>(call.output);            // (N, F)
        for (std::int64_t n = 0; n < call.count; ++n)
            for (std::int64_t f = 0; f < outputs_; ++f) {
                double sum = bias_ ? static_cast<double>(call.parameters[1][f]) : 0;
                for (std::int64_t k = 0; k < inputs_; ++k)
                    sum += detail::value_of(x[n * inputs_ + k]) *
                           detail::rounded_weight<T>(weight[f * inputs_ + k]);
                y[n * outputs_ + f] = to<T>(static_cast<float>(sum));
            }
    }

    void backward(const Call& call) override {
        weight_gradient(call);
        if (input_gradient_) input_gradient(call);
    }

    void weight_gradient(const Call& call) const {
        const T* x = static_cast<const T*>(call.input);            // (N, K)
        const T* dy = static_cast<const T*>(call.output_gradient); // (N, F)
        for (std::int64_t f = 0; f < outputs_; ++f) {
            for (std::int64_t k = 0; k < inputs_; ++k) {
                double sum = 0;
                for (std::int64_t n = 0; n < call.count; ++n)
                    sum += detail::value_of(dy[n * outputs_ + f]) * detail::value_of(x[n * inputs_ + k]);
                detail::store(call.gradients[0][f * inputs_ + k], sum, call.accumulate); // (F, K)
            }
            double sum = 0;
            for (std::int64_t n = 0; n < call.count; ++n) sum += detail::value_of(dy[n * outputs_ + f]);
            if (bias_) detail::store(call.gradients[1][f], sum, call.accumulate); // (F)
        }
    }

    void input_gradient(const Call& call) const {
        const T* dy = static_cast<const T*>(call.output_gradient); // (N, F)
        const float* weight = call.parameters[0];                  // (F, K)
        T* dx = static_cast<T*>(call.input_gradient);              // (N, K)
        for (std::int64_t n = 0; n < call.count; ++n)
            for (std::int64_t k = 0; k < inputs_; ++k) {
                double sum = 0;
                for (std::int64_t f = 0; f < outputs_; ++f)
                    sum += detail::value_of(dy[n * outputs_ + f]) *
                           detail::rounded_weight<T>(weight[f * inputs_ + k]);
                dx[n * inputs_ + k] = to<T>(static_cast<float>(sum));
            }
    }

  private:
    std::int64_t inputs_, outputs_;
    bool input_gradient_, bias_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
