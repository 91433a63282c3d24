#pragma once
/// \file
/// Batch normalisation on a GPU.

#include <plimsoll/device/cuda/column_sums.cuh>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// (C) each: of the batch, and for backward; in a layer's statistics.
struct BatchStatistics {
    float *mean, *scale, *mean_gradient, *mean_product, *unbiased_variance;
    BatchStatistics(void* at, int channels)
        : mean(static_cast<float*>(at)),
          scale(mean + channels),
          mean_gradient(scale + channels),
          mean_product(mean_gradient + channels),
          unbiased_variance(mean_product + channels) {}
};

/// Moments about a channel's first value: its variance does not drown in its mean.
template <class T>
struct Moments {
    const T* x; // (rows, C)
    int channels;
    template <int Width>
    __device__ void operator()(std::int64_t row, int channel, float (&out)[2][Width]) const {
        float first[Width];
        load_pack(first, x + channel);
        load_pack(out[0], x + row * channels + channel);
#pragma unroll
        for (int k = 0; k < Width; ++k) {
            out[0][k] -= first[k];
            out[1][k] = out[0][k] * out[0][k];
        }
    }
};
template <class T>
struct FinishMoments {
    BatchStatistics statistics;
    const T* x;
    double n;
    float epsilon;
    __device__ void operator()(int channel, const double (&totals)[2]) const {
        const double shift = totals[0] / n;
        const double spread = totals[1] / n - shift * shift;
        const double variance = spread > 0 || isnan(spread) ? spread : 0;
        statistics.mean[channel] = static_cast<float>(loaded(x[channel]) + shift);
        statistics.scale[channel] = static_cast<float>(1 / sqrt(variance + epsilon));
        statistics.unbiased_variance[channel] = static_cast<float>(variance * n / (n - 1));
    }
};

struct SettleStatistics {
    BatchStatistics statistics;
    float *running_mean, *running_variance;
    float momentum;
    bool several; ///< one value has no unbiased variance
    __device__ void operator()(std::int64_t c) const {
        running_mean[c] += momentum * (statistics.mean[c] - running_mean[c]);
        if (several)
            running_variance[c] += momentum * (statistics.unbiased_variance[c] - running_variance[c]);
    }
};

/// `Width` channels of a row at once.
template <class T, int Width>
struct Normalise {
    const Pack<T, Width>* x;              // (rows, C)
    Pack<T, Width>* y;                    // (rows, C)
    const float *mean, *scale, *variance; ///< outside training the variance instead of the scale
    const float *weight, *bias;
    float epsilon;
    int groups; ///< of `Width` channels
    __device__ void operator()(std::int64_t i) const {
        const int first = divide(i, groups).remainder * Width;
        const Pack<T, Width> from = x[i];
        Pack<T, Width> to;
#pragma unroll
        for (int k = 0; k < Width; ++k) {
            const int c = first + k;
            const float factor = scale != nullptr ? scale[c] : 1 / sqrtf(variance[c] + epsilon);
            to.values[k] = stored<T>((loaded(from.values[k]) - mean[c]) * factor * weight[c] + bias[c]);
        }
        y[i] = to;
    }
};

template <class T>
struct GradientMoments {
    const T *x, *dy; // (rows, C)
    BatchStatistics statistics;
    int channels;
    template <int Width>
    __device__ void operator()(std::int64_t row, int channel, float (&out)[2][Width]) const {
        const std::int64_t i = row * channels + channel;
        float value[Width];
        load_pack(value, x + i);
        load_pack(out[0], dy + i);
#pragma unroll
        for (int k = 0; k < Width; ++k)
            out[1][k] =
                out[0][k] * ((value[k] - statistics.mean[channel + k]) * statistics.scale[channel + k]);
    }
};
struct FinishGradientMoments {
    BatchStatistics statistics;
    float *weight_gradient, *bias_gradient;
    double n;
    bool add;
    __device__ void operator()(int c, const double (&totals)[2]) const {
        statistics.mean_gradient[c] = static_cast<float>(totals[0] / n);
        statistics.mean_product[c] = static_cast<float>(totals[1] / n);
        weight_gradient[c] = static_cast<float>(totals[1]) + (add ? weight_gradient[c] : 0.0f);
        bias_gradient[c] = static_cast<float>(totals[0]) + (add ? bias_gradient[c] : 0.0f);
    }
};

template <class T, int Width>
struct NormaliseBackward {
    const Pack<T, Width>*x, *dy; // (rows, C)
    Pack<T, Width>* dx;          // (rows, C)
    BatchStatistics s;
    const float* weight;
    int groups; ///< of `Width` channels
    __device__ void operator()(std::int64_t i) const {
        const int first = divide(i, groups).remainder * Width;
        const Pack<T, Width> value = x[i], gradient = dy[i];
        Pack<T, Width> to;
#pragma unroll
        for (int k = 0; k < Width; ++k) {
            const int c = first + k;
            const float normalised = (loaded(value.values[k]) - s.mean[c]) * s.scale[c];
            to.values[k] =
                stored<T>(weight[c] * s.scale[c] *
                          (loaded(gradient.values[k]) - s.mean_gradient[c] - normalised * s.mean_product[c]));
        }
        dx[i] = to;
    }
};

} // namespace detail

/// \tparam Layer has the constants `epsilon` and `momentum`. \tparam T of activations
template <class Layer, class T>
class CudaBatchNorm : public NodeKernel {
  public:
    CudaBatchNorm(const Site& site, Cuda& device) : site_(site), device_(device) {}

    static constexpr Needs needs(const Site& site) {
        return {.partial = detail::column_sums_bytes(2, site.input.channels)};
    }

    void gather(const Call& call) override {
        const auto* x = static_cast<const T*>(call.input); // (count, H, W, C)
        detail::sum_columns_of<2, T>(
            device_, rows(call), channels(), packs(x, x), detail::Moments<T>{x, channels()},
            detail::FinishMoments<T>{statistics(call), x, static_cast<double>(rows(call)), Layer::epsilon},
            call.partial, "BatchNorm's statistics");
    }
    void settle(const Call& call) override {
        device_.for_each(channels(),
                         detail::SettleStatistics{statistics(call), call.parameters[2], call.parameters[3],
                                                  Layer::momentum, rows(call) > 1},
                         "BatchNorm's running statistics");
    }
    void forward(const Call& call) override {
        const detail::BatchStatistics s = statistics(call);
        detail::for_width<T>(packs(call.input, call.output), [&](auto width) {
            constexpr int w = decltype(width)::value;
            using P = detail::Pack<T, w>;
            device_.for_each(rows(call) * channels() / w,
                             detail::Normalise<T, w>{
                                 static_cast<const P*>(call.input), static_cast<P*>(call.output),
                                 call.training ? s.mean : call.parameters[2],
                                 call.training ? s.scale : nullptr, call.parameters[3], call.parameters[0],
                                 call.parameters[1], Layer::epsilon, channels() / w},
                             "BatchNorm");
        });
    }
    void gather_gradient(const Call& call) override {
        const detail::BatchStatistics s = statistics(call);
        detail::sum_columns_of<2, T>(
            device_, rows(call), channels(), packs(call.input, call.output_gradient),
            detail::GradientMoments<T>{static_cast<const T*>(call.input),
                                       static_cast<const T*>(call.output_gradient), s, channels()},
            detail::FinishGradientMoments{s, call.gradients[0], call.gradients[1],
                                          static_cast<double>(rows(call)), call.accumulate},
            call.partial, "BatchNorm's gradient statistics");
    }
    void backward(const Call& call) override {
        if (call.input_gradient == nullptr) return;
        const bool wide = packs(call.input, call.output_gradient) && packs(call.input, call.input_gradient);
        detail::for_width<T>(wide, [&](auto width) {
            constexpr int w = decltype(width)::value;
            using P = detail::Pack<T, w>;
            device_.for_each(rows(call) * channels() / w,
                             detail::NormaliseBackward<T, w>{static_cast<const P*>(call.input),
                                                             static_cast<const P*>(call.output_gradient),
                                                             static_cast<P*>(call.input_gradient),
                                                             statistics(call), call.parameters[0],
                                                             channels() / w},
                             "BatchNorm");
        });
    }

  private:
    [[nodiscard]] int channels() const { return site_.input.channels; }
    [[nodiscard]] bool packs(const void* a, const void* b) const {
        return channels() % detail::wide<T> == 0 && detail::is_aligned(a, 16) && detail::is_aligned(b, 16);
    }
    [[nodiscard]] std::int64_t rows(const Call& call) const { return site_.input.pixels() * call.count; }
    [[nodiscard]] detail::BatchStatistics statistics(const Call& call) const {
        return {call.statistics, channels()};
    }
    Site site_;
    Cuda& device_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
