#pragma once
/// \file
/// What the ways that make a weight gradient by matrix products share.

#include <plimsoll/device/host/onednn.hpp>
#include <plimsoll/device/kernel.hpp>

#if PLIMSOLL_WITH_ONEDNN

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI::detail {

/// A product that makes a gradient or adds to one, with operands for each worker.
class GradientProduct {
  public:
    /// \param most_scratch bytes of the library's workspace
    GradientProduct(const onednn::Desc& x, const onednn::Desc& dy, const onednn::Desc& dw, int workers,
                    std::int64_t most_scratch, const std::string& where)
        : product_(onednn::Primitive::product(x, dy, dw, false, most_scratch, where)),
          sum_(onednn::Primitive::product(x, dy, dw, true, most_scratch, where)) {
        if (!*this) return;
        for (int worker = 0; worker < std::max(workers, 1); ++worker)
            for (const onednn::Primitive* made : {&product_, &sum_})
                operands_.emplace_back(*made,
                                       std::initializer_list<onednn::Operands::Operand>{
                                           {DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, dy}, {DNNL_ARG_DST, dw}});
    }
    GradientProduct(GradientProduct&&) = delete; // operands point to their product

    /// Whether the library has a fast way within the limit.
    [[nodiscard]] explicit operator bool() const { return product_ && sum_; }
    [[nodiscard]] std::int64_t scratch() const { return std::max(product_.scratch(), sum_.scratch()); }
    [[nodiscard]] std::string_view implementation() const { return sum_.implementation(); }

    void run(int worker, bool add, const void* x, const void* dy, float* dw, void* workspace) {
        operands_[static_cast<std::size_t>(2 * worker + (add ? 1 : 0))].run({x, dy, dw}, workspace);
    }

  private:
    onednn::Primitive product_, sum_;
    std::vector<onednn::Operands> operands_; ///< of a worker: to make a gradient, and to add to one
};

/// A gradient as products make it: (K, K, C, F).
inline onednn::Desc by_taps(const Site& site) {
    const std::int64_t kernel = site.facts.window.kernel;
    return onednn::tagged({site.output.channels, site.input.channels, kernel, kernel}, dnnl_hwio);
}
/// The same of some of the filters, as it lies among all of them.
inline onednn::Desc by_taps(const Site& site, std::int64_t filters) {
    const std::int64_t kernel = site.facts.window.kernel, channels = site.input.channels;
    const std::int64_t tap = channels * site.output.channels;
    return onednn::strided({filters, channels, kernel, kernel}, {1, site.output.channels, kernel * tap, tap});
}

} // namespace plimsoll::inline PLIMSOLL_ABI::detail

#endif
