#pragma once
/// \file
/// What a convolution asks of a way to make its weight gradient on oneDNN.

#include <plimsoll/core/units.hpp>
#include <plimsoll/device/host/onednn.hpp>
#include <plimsoll/device/kernel.hpp>
#include <plimsoll/plan/site.hpp>

#if PLIMSOLL_WITH_ONEDNN

#include <cstdint>
#include <string_view>

namespace plimsoll::inline PLIMSOLL_ABI::detail {

/// A lane's partial gradient is of floats: the weights' in a format of the way's own, and behind it the
/// bias's (F).
class WeightGradientWay {
  public:
    explicit WeightGradientWay(const Site& site) : site_(site) {}
    virtual ~WeightGradientWay() = default;
    WeightGradientWay(const WeightGradientWay&) = delete; // operands point to their primitives
    WeightGradientWay& operator=(const WeightGradientWay&) = delete;

    /// Whether the library has a fast way within the limits.
    [[nodiscard]] virtual explicit operator bool() const = 0;
    /// How the weights' gradient lies.
    [[nodiscard]] virtual onednn::Desc format() const = 0;
    /// Whether that is (K, K, C, F).
    [[nodiscard]] virtual bool is_by_taps() const { return true; }
    /// Bytes of the weights' gradient.
    [[nodiscard]] virtual std::int64_t gradient_bytes() const { return 4 * site_.facts.parameters[0].size(); }
    /// Bytes from a partial's start to the bias's gradient.
    [[nodiscard]] virtual std::int64_t bias_offset() const { return aligned(gradient_bytes()); }
    [[nodiscard]] virtual std::int64_t partial_bytes() const {
        return aligned(bias_offset() + (site_.has_bias() ? 4 * std::int64_t{site_.output.channels} : 0));
    }
    [[nodiscard]] virtual std::int64_t scratch() const = 0;
    [[nodiscard]] virtual std::string_view implementation() const = 0;

    /// Makes the lane's gradients in call.partial, or adds to them.
    /// \param call its operands have zeros behind the last image
    virtual void run(const Call& call) = 0;

  protected:
    Site site_;
};

/// A gradient by taps, (K, K, C, F), of all filters or of some, as it lies among all of them.
inline onednn::Desc by_taps(const Site& site, std::int64_t filters) {
    const std::int64_t kernel = site.facts.window.kernel, channels = site.input.channels;
    const std::int64_t tap = channels * site.output.channels;
    return onednn::strided({filters, channels, kernel, kernel}, {1, site.output.channels, kernel * tap, tap});
}

} // namespace plimsoll::inline PLIMSOLL_ABI::detail

#endif
