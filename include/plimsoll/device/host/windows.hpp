#pragma once
/// \file
/// The layers that slide a window: pools, and the way in which a convolution is computed.

#include <plimsoll/device/host/direct_convolution.hpp>
#include <plimsoll/device/host/pooling.hpp>
#include <plimsoll/device/host/winograd.hpp>

#include <algorithm>
#include <array>
#include <concepts>
#include <optional>
#include <string_view>

namespace plimsoll::inline PLIMSOLL_ABI {

#if PLIMSOLL_WITH_ONEDNN

/// Convolution by Winograd's algorithm where that is faster, directly elsewhere. There is room for either:
/// the library may lack what the first takes, and where a processor multiplies bfloat16 in tiles, products
/// cost less than transforms. \tparam T float or bfloat16: of activations
template <class T>
class ConvolutionKernel : public NodeKernel {
  public:
    ConvolutionKernel(const Site& site, const Team& team) {
        if (WinogradConvolution<T>::pays(site) && products_cost_most()) winograd_.emplace(site, team);
        if (winograd_ && !*winograd_) winograd_.reset();
        if (!winograd_) direct_.emplace(site, team);
    }

    static constexpr Needs needs(const Site& site) {
        const Needs direct = DirectConvolution<T>::needs(site);
        if (!WinogradConvolution<T>::pays(site)) return direct;
        const Needs winograd = WinogradConvolution<T>::needs(site);
        return {.packed = std::max(direct.packed, winograd.packed),
                .partial = std::max(direct.partial, winograd.partial),
                .scratch = std::max(direct.scratch, winograd.scratch)};
    }
    [[nodiscard]] Needs used() const override { return winograd_ ? winograd_->used() : direct_->used(); }
    /// The library's names for its ways (forward, weight and input gradient); empty where plain loops do it.
    [[nodiscard]] std::array<std::string_view, 3> implementations() const {
        return winograd_ ? winograd_->implementations() : direct_->implementations();
    }

    void pack(const Call& call) override { kernel().pack(call); }
    void forward(const Call& call) override { kernel().forward(call); }
    void backward(const Call& call) override { kernel().backward(call); }
    void reduce(const Call& call, int lanes) override { kernel().reduce(call, lanes); }

  private:
    static bool products_cost_most() {
        if constexpr (std::same_as<T, float>)
            return true;
        else
            return detail::computes_bfloat16() && !detail::computes_bfloat16_tiles();
    }
    NodeKernel& kernel() {
        if (winograd_) return *winograd_;
        return *direct_;
    }

    std::optional<DirectConvolution<T>> direct_;
    std::optional<WinogradConvolution<T>> winograd_;
};

#else

template <class T>
using ConvolutionKernel = LoopConvolution<T>;

#endif

} // namespace plimsoll::inline PLIMSOLL_ABI
