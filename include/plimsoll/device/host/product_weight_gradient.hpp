#pragma once
/// \file
/// The weight gradient of a convolution as matrix products.

#include <plimsoll/device/host/bias_gradient.hpp>
#include <plimsoll/device/host/gradient_product.hpp>
#include <plimsoll/device/host/loops.hpp>
#include <plimsoll/device/host/weight_gradient_way.hpp>

#if PLIMSOLL_WITH_ONEDNN

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

namespace plimsoll::inline PLIMSOLL_ABI::detail {

/// For each tap of the window: (C, pixels) of the inputs that meet it, times (pixels, F) of output gradients,
/// over all pixels of a slice. Products add to what is there, which the library's convolutions cannot.
/// Channels last alone. \tparam T float or bfloat16: of activations. The gradient is of floats.
template <class T>
class ProductWeightGradient : public WeightGradientWay {
  public:
    /// \param most_scratch bytes of workspace, the taps' inputs among them
    ProductWeightGradient(const Site& site, std::int64_t most_scratch, const std::string& where)
        : WeightGradientWay(site) {
        using onednn::matrix;
        const std::int64_t left = most_scratch - tap_bytes(), channels = site.input.channels;
        if (site.input_layout != Layout::channels_last(site.input) ||
            site.output_layout != Layout::channels_last(site.output) || left < 0)
            return;
        product_.emplace(matrix<T>(channels, pixels(), true), matrix<T>(pixels(), site.output.channels),
                         matrix(channels, site.output.channels), site.lanes, left, where);
    }

    /// Whether it is worth it: for gradients of a mebibyte, which are slow to add up apart, and for
    /// windows of one pixel apart from each other, which the library gathers a picture at a time.
    static constexpr bool pays(const Site& site) {
        const Window window = site.facts.window;
        return site.facts.parameters[0].size() >= std::int64_t{1} << 18 ||
               (window.kernel == 1 && window.stride > 1);
    }
    [[nodiscard]] explicit operator bool() const override { return product_ && *product_; }
    [[nodiscard]] onednn::Desc format() const override { return by_taps(site_, site_.output.channels); }
    [[nodiscard]] std::int64_t scratch() const override {
        const std::int64_t of_bias = aligned(4 * std::int64_t{site_.output.channels});
        return *this ? std::max(of_bias, tap_bytes() + product_->scratch()) : 0;
    }
    [[nodiscard]] std::string_view implementation() const override { return product_->implementation(); }

    void run(const Call& call) override {
        float* gradient = floats_at(call.partial);                    // (K, K, C, F)
        const auto* dy = static_cast<const T*>(call.output_gradient); // (images, H', W', F)
        auto* tap = static_cast<T*>(call.scratch);                    // (pixels, C)
        const int kernel = site_.facts.window.kernel;
        const std::int64_t size = std::int64_t{site_.input.channels} * site_.output.channels;
        for (int i = 0; i < kernel; ++i)
            for (int j = 0; j < kernel; ++j, gradient += size) {
                gather(static_cast<const T*>(call.input), i, j, tap);
                product_->run(call.worker, call.accumulate, tap, dy, gradient,
                              floats_at(call.scratch, tap_bytes()));
            }
        if (!site_.has_bias()) return;
        float* bias = floats_at(call.partial, bias_offset()); // (F)
        const std::int64_t filters = site_.output.channels;
        if (!call.accumulate) std::fill_n(bias, filters, 0.0f);
        detail::add_bias_gradient(dy, call.count, site_.output.pixels(), filters,
                                  static_cast<float*>(call.scratch), bias);
    }

  private:
    [[nodiscard]] std::int64_t pixels() const { return site_.images * site_.output.pixels(); }
    [[nodiscard]] std::int64_t tap_bytes() const {
        return aligned(pixels() * site_.input.channels * std::int64_t{sizeof(T)});
    }
    /// The input of each output pixel at a tap, zeros beyond the picture. \param x (images, H, W, C)
    void gather(const T* x, int tap_row, int tap_column, T* out) const {
        const Window window = site_.facts.window;
        const Shape in = site_.input, to = site_.output;
        for (int image = 0; image < site_.images; ++image, x += in.size())
            for (int row = 0; row < to.height; ++row)
                for (int column = 0; column < to.width; ++column, out += in.channels) {
                    const int y = row * window.stride - window.padding + tap_row;
                    const int at = column * window.stride - window.padding + tap_column;
                    if (y >= 0 && y < in.height && at >= 0 && at < in.width)
                        std::copy_n(x + (std::int64_t{y} * in.width + at) * in.channels, in.channels, out);
                    else
                        std::fill_n(out, in.channels, T{});
                }
    }

    std::optional<GradientProduct> product_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI::detail

#endif
