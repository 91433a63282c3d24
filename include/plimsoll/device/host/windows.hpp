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
#include <type_traits>

namespace plimsoll::inline PLIMSOLL_ABI {

#if PLIMSOLL_WITH_ONEDNN

/// Convolution by Winograd's algorithm where that is faster, directly elsewhere. There is room for either:
/// the library may lack what the first takes. \tparam T float or bfloat16: of activations
template <class T>
class ConvolutionKernel : public NodeKernel {
  public:
    ConvolutionKernel(const Site& site, const Team& team) {
        if constexpr (has_winograd_) {
            if (Winograd::pays(site)) winograd_.emplace(site, team);
            if (winograd_ && !*winograd_) winograd_.reset();
        }
        if (!winograd_) direct_.emplace(site, team);
    }

    static constexpr Needs needs(const Site& site) {
        const Needs direct = DirectConvolution<T>::needs(site);
        if constexpr (has_winograd_)
            if (Winograd::pays(site)) {
                const Needs other = Winograd::needs(site);
                return {.packed = std::max(direct.packed, other.packed),
                        .partial = std::max(direct.partial, other.partial),
                        .scratch = std::max(direct.scratch, other.scratch)};
            }
        return direct;
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
    static constexpr bool has_winograd_ = std::same_as<T, float>;
    using Winograd = WinogradConvolution<std::conditional_t<has_winograd_, T, float>>;

    NodeKernel& kernel() {
        if (winograd_) return *winograd_;
        return *direct_;
    }

    std::optional<DirectConvolution<T>> direct_;
    std::optional<Winograd> winograd_;
};

#else

template <class T>
using ConvolutionKernel = LoopConvolution<T>;

#endif

} // namespace plimsoll::inline PLIMSOLL_ABI
