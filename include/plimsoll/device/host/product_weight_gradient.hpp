#pragma once
/// \file
/// The weight gradient of a convolution as matrix products.

#include <plimsoll/device/host/bias_gradient.hpp>
#include <plimsoll/device/host/loops.hpp>
#include <plimsoll/device/host/onednn.hpp>

#if PLIMSOLL_WITH_ONEDNN

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI::detail {

/// For each tap of the window: (C, pixels) of the inputs that meet it, times (pixels, F) of output gradients,
/// over all pixels of a slice. Products add to what is there, which the library's convolutions cannot.
/// Channels last alone. \tparam T float or bfloat16: of activations. The gradient is of floats.
template <class T>
class ProductWeightGradient {
  public:
    ProductWeightGradient() = default;
    /// \param most_scratch bytes of workspace, the taps' inputs among them
    ProductWeightGradient(const Site& site, std::int64_t most_scratch, const std::string& where)
        : site_(site) {
        using onednn::Desc, onednn::Primitive, onednn::matrix;
        const std::int64_t left = most_scratch - tap_bytes(), channels = site.input.channels;
        if (site.input_layout != Layout::channels_last(site.input) ||
            site.output_layout != Layout::channels_last(site.output) || left < 0)
            return;
        const Desc x = matrix<T>(channels, pixels(), true), dy = matrix<T>(pixels(), site.output.channels);
        const Desc dw = matrix(channels, site.output.channels);
        product_ = Primitive::product(x, dy, dw, false, left, where);
        sum_ = Primitive::product(x, dy, dw, true, left, where);
        if (!*this) return;
        for (int worker = 0; worker < std::max(site.lanes, 1); ++worker)
            for (const Primitive* made : {&product_, &sum_})
                operands_.emplace_back(*made,
                                       std::initializer_list<onednn::Operands::Operand>{
                                           {DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, dy}, {DNNL_ARG_DST, dw}});
    }
    ProductWeightGradient(ProductWeightGradient&&) = delete; // operands point to their product

    /// Whether it is worth it: for gradients of a mebibyte, which are slow to add up apart, and for
    /// windows of one pixel apart from each other, which the library gathers a picture at a time.
    static constexpr bool pays(const Site& site) {
        const Window window = site.facts.window;
        return site.facts.parameters[0].size() >= std::int64_t{1} << 18 ||
               (window.kernel == 1 && window.stride > 1);
    }
    [[nodiscard]] explicit operator bool() const { return product_ && sum_; }
    /// The gradient as it lies: (K, K, C, F).
    [[nodiscard]] onednn::Desc format() const {
        const std::int64_t kernel = site_.facts.window.kernel;
        return onednn::tagged({site_.output.channels, site_.input.channels, kernel, kernel}, dnnl_hwio);
    }
    [[nodiscard]] std::int64_t scratch() const {
        const std::int64_t of_bias = aligned(4 * std::int64_t{site_.output.channels});
        return *this ? std::max(of_bias, tap_bytes() + std::max(product_.scratch(), sum_.scratch())) : 0;
    }
    [[nodiscard]] std::string_view implementation() const { return sum_.implementation(); }

    /// Makes the gradient, or adds to it. \param call its operands have zeros behind the last image
    /// \param bias (F), or null
    void run(const Call& call, float* gradient, float* bias) {
        const auto* dy = static_cast<const T*>(call.output_gradient); // (images, H', W', F)
        auto* tap = static_cast<T*>(call.scratch);                    // (pixels, C)
        const int kernel = site_.facts.window.kernel;
        const std::int64_t size = std::int64_t{site_.input.channels} * site_.output.channels;
        onednn::Operands& operands =
            operands_[static_cast<std::size_t>(2 * call.worker + (call.accumulate ? 1 : 0))];
        for (int i = 0; i < kernel; ++i)
            for (int j = 0; j < kernel; ++j, gradient += size) {
                gather(static_cast<const T*>(call.input), i, j, tap);
                operands.run({tap, dy, gradient}, floats_at(call.scratch, tap_bytes()));
            }
        if (bias == nullptr) return;
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

    Site site_{};
    onednn::Primitive product_, sum_;
    std::vector<onednn::Operands> operands_; ///< of a worker: to make a gradient, and to add to one
};

} // namespace plimsoll::inline PLIMSOLL_ABI::detail

#endif
