#pragma once
/// \file
/// Batch normalisation on the host.

#include <plimsoll/device/host/elementwise.hpp>
#include <plimsoll/device/host/parallel.hpp>
#include <plimsoll/device/kernel.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>

namespace plimsoll::inline PLIMSOLL_ABI {

/// \tparam Layer has the constants `epsilon` and `momentum`. Statistics are summed in double over fixed
/// groups of images, one a lane of the plan, and combined in order.
/// \tparam T float, half or bfloat16: of activations
template <class Layer, class T>
class BatchNormKernel : public NodeKernel {
  public:
    BatchNormKernel(const Site& site, const Team& team) : site_(site), team_(team) {}

    static constexpr Needs needs(const Site& site) {
        return {.partial = 2 * static_cast<std::int64_t>(sizeof(double)) * site.input.channels};
    }

    void gather(const Call& call) override {
        const auto* x = static_cast<const T*>(call.input); // (count, C / block, H, W, block)
        auto* sums = static_cast<double*>(call.partial);   // (lanes, 2, C)
        sum_groups(call.count, sums, [x](std::int64_t at, int) {
            const double value = static_cast<double>(to_float(x[at]));
            return std::pair<double, double>(value, value * value);
        });
        const double n = static_cast<double>(site_.input.pixels()) * call.count;
        const Statistics s = statistics(call);
        for (int c = 0; c < channels(); ++c) {
            const double mean = sums[c] / n;
            const double variance = std::max(sums[channels() + c] / n - mean * mean, 0.0);
            s.mean[c] = static_cast<float>(mean);
            s.scale[c] = static_cast<float>(1 / std::sqrt(variance + Layer::epsilon));
            s.unbiased_variance[c] = static_cast<float>(variance * n / (n - 1));
        }
    }

    void settle(const Call& call) override {
        const Statistics s = statistics(call);
        float *running_mean = call.parameters[2], *running_variance = call.parameters[3];
        const bool several = site_.input.pixels() * call.count > 1; // one value has no unbiased variance
        for (int c = 0; c < channels(); ++c) {
            running_mean[c] += Layer::momentum * (s.mean[c] - running_mean[c]);
            if (several)
                running_variance[c] += Layer::momentum * (s.unbiased_variance[c] - running_variance[c]);
        }
    }

    void forward(const Call& call) override {
        const auto* x = static_cast<const T*>(call.input); // (count, C / block, H, W, block)
        auto* y = static_cast<T*>(call.output);            // (count, C / block, H, W, block)
        const float *weight = call.parameters[0], *bias = call.parameters[1];
        const Statistics s = statistics(call);
        const float* mean = call.training ? s.mean : call.parameters[2];
        const float* running_variance = call.parameters[3];
        for_runs(call.count, [&](int first, int size, auto for_pixels) {
            float of_running[run];
            for (int c = 0; c < size && !call.training; ++c)
                of_running[c] = 1 / std::sqrt(running_variance[first + c] + Layer::epsilon);
            const float* scale = call.training ? s.scale + first : of_running;
            for_pixels([&](std::int64_t at) {
                detail::transform(
                    [](float value, float m, float k, float w, float b) { return (value - m) * k * w + b; },
                    size, y + at, x + at, mean + first, scale, weight + first, bias + first);
            });
        });
    }

    void gather_gradient(const Call& call) override {
        const auto* x = static_cast<const T*>(call.input);            // (count, C / block, H, W, block)
        const auto* dy = static_cast<const T*>(call.output_gradient); // (count, C / block, H, W, block)
        auto* sums = static_cast<double*>(call.partial);              // (lanes, 2, C)
        const Statistics s = statistics(call);
        sum_groups(call.count, sums, [&](std::int64_t at, int c) {
            const double gradient = static_cast<double>(to_float(dy[at]));
            const double normalised = (static_cast<double>(to_float(x[at])) - s.mean[c]) * s.scale[c];
            return std::pair<double, double>(gradient, gradient * normalised);
        });
        const double n = static_cast<double>(site_.input.pixels()) * call.count;
        for (int c = 0; c < channels(); ++c) {
            const double sum = sums[c], dot = sums[channels() + c];
            s.mean_gradient[c] = static_cast<float>(sum / n);
            s.mean_product[c] = static_cast<float>(dot / n);
            call.gradients[0][c] = static_cast<float>(dot) + (call.accumulate ? call.gradients[0][c] : 0.0f);
            call.gradients[1][c] = static_cast<float>(sum) + (call.accumulate ? call.gradients[1][c] : 0.0f);
        }
    }

    void backward(const Call& call) override {
        const auto* x = static_cast<const T*>(call.input);            // (count, C / block, H, W, block)
        const auto* dy = static_cast<const T*>(call.output_gradient); // (count, C / block, H, W, block)
        auto* dx = static_cast<T*>(call.input_gradient);              // (count, C / block, H, W, block)
        if (dx == nullptr) return;
        const float* weight = call.parameters[0];
        const Statistics s = statistics(call);
        for_runs(call.count, [&](int first, int size, auto for_pixels) {
            for_pixels([&](std::int64_t at) {
                detail::transform(
                    [](float gradient, float value, float m, float k, float w, float mean_gradient,
                       float mean_product) {
                        const float normalised = (value - m) * k;
                        return w * k * (gradient - mean_gradient - normalised * mean_product);
                    },
                    size, dx + at, dy + at, x + at, s.mean + first, s.scale + first, weight + first,
                    s.mean_gradient + first, s.mean_product + first);
            });
        });
    }

  private:
    /// (C) each: of the batch, and for backward.
    struct Statistics {
        float *mean, *scale, *mean_gradient, *mean_product, *unbiased_variance;
    };
    [[nodiscard]] int channels() const { return site_.input.channels; }
    [[nodiscard]] Statistics statistics(const Call& call) const {
        auto* first = static_cast<float*>(call.statistics);
        return {first, first + channels(), first + 2 * channels(), first + 3 * channels(),
                first + 4 * channels()};
    }

    static constexpr int run = detail::conversion_tile; ///< channels that are worked on at once, at most

    /// Calls f(first channel, size, for_pixels) for runs of innermost channels; for_pixels(g) calls g(offset
    /// of the run's first element) for each pixel of `count` images.
    template <class F>
    void for_runs(int count, F f) const {
        const std::int64_t area = site_.input.pixels();
        const int block = site_.input_layout.block, groups = channels() / block;
        for (int first = 0; first < channels(); first += std::min(run, block - first % block))
            f(first, std::min(run, block - first % block), [&](auto g) {
                for (std::int64_t image = 0; image < count; ++image)
                    for (std::int64_t p = 0; p < area; ++p)
                        g(((image * groups + first / block) * area + p) * block + first % block);
            });
    }

    /// Sums of f's pair over all images and pixels of a channel into sums (2, C), by lanes.
    template <class F>
    void sum_groups(int count, double* sums, F f) const {
        const std::int64_t area = site_.input.pixels();
        const int block = site_.input_layout.block, groups = channels() / block, lanes = site_.lanes;
        team_.parallel(lanes, [&](int lane, int) {
            double* sum = sums + std::int64_t{2} * lane * channels();
            double* dot = sum + channels();
            std::memset(sum, 0, static_cast<std::size_t>(2 * channels()) * sizeof(double));
            const std::int64_t from = std::int64_t{count} * lane / lanes,
                               to = std::int64_t{count} * (lane + 1) / lanes;
            for (std::int64_t image = from; image < to; ++image)
                for (int group = 0; group < groups; ++group) {
                    const std::int64_t start = (image * groups + group) * area * block;
                    double* group_sum = sum + group * block;
                    double* group_dot = dot + group * block;
                    std::int64_t p = 0;
                    for (; p + 4 <= area; p += 4) PLIMSOLL_SIMD
                    for (int c = 0; c < block; ++c) { // four at once: fewer additions to memory
                        const std::int64_t at = start + p * block + c;
                        const int channel = group * block + c;
                        const auto [a, b] = f(at, channel);
                        const auto [a1, b1] = f(at + block, channel);
                        const auto [a2, b2] = f(at + 2 * block, channel);
                        const auto [a3, b3] = f(at + 3 * block, channel);
                        group_sum[c] += (a + a1) + (a2 + a3);
                        group_dot[c] += (b + b1) + (b2 + b3);
                    }
                    for (; p < area; ++p)
                        for (int c = 0; c < block; ++c) {
                            const auto [a, b] = f(start + p * block + c, group * block + c);
                            group_sum[c] += a;
                            group_dot[c] += b;
                        }
                }
        });
        for (int lane = 1; lane < lanes; ++lane)
            for (int i = 0; i < 2 * channels(); ++i) sums[i] += sums[std::int64_t{2} * lane * channels() + i];
    }

    Site site_;
    Team team_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
