#pragma once
/// \file
/// Which kernel computes which layer on the host.

#include <plimsoll/device/host/elementwise.hpp>
#include <plimsoll/device/host/host.hpp>
#include <plimsoll/device/host/loss.hpp>
#include <plimsoll/device/host/matrix.hpp>
#include <plimsoll/device/host/normalization.hpp>
#include <plimsoll/device/host/staged.hpp>
#include <plimsoll/device/host/windows.hpp>
#include <plimsoll/model/layers/activation.hpp>
#include <plimsoll/model/layers/convolution.hpp>
#include <plimsoll/model/layers/dense.hpp>
#include <plimsoll/model/layers/normalization.hpp>
#include <plimsoll/model/layers/plumbing.hpp>
#include <plimsoll/model/layers/pooling.hpp>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

template <class T>
concept host_storage = std::same_as<T, float> || std::same_as<T, half> || std::same_as<T, bfloat16>;

/// How the host computes under a precision: activations as they are stored, and what is multiplied, which is
/// bfloat16 where both storage and arithmetic are, and float otherwise.
template <class Precision>
struct HostArithmetic {
    using Storage = typename Precision::Storage;
    static_assert(host_storage<Storage>,
                  "plimsoll: the Host device stores activations as float, half or bfloat16: "
                  "use a Precision with one of them as its Storage");
    static constexpr bool bfloat =
        std::same_as<Storage, bfloat16> && std::same_as<typename Precision::Compute, bfloat16>;
    using Element = std::conditional_t<bfloat, bfloat16, float>;
    using Convolution =
        std::conditional_t<std::same_as<Storage, Element> || PLIMSOLL_WITH_ONEDNN == 0,
                           ConvolutionKernel<Storage>, StagedKernel<ConvolutionKernel<float>, Storage>>;
};

/// A host kernel under a precision.
template <class Base>
struct HostKernel : Base {
    HostKernel(const Site& site, const Host& host) : Base(site, host.team()) {}
    ~HostKernel() override;
};
/// Not inline: once for all layers that share it.
template <class Base>
HostKernel<Base>::~HostKernel() = default;

} // namespace detail

template <class Precision>
struct PrecisionAdvice<Precision, Host> {
    static std::string_view text(const Host&) {
        using Arithmetic = detail::HostArithmetic<Precision>;
        if constexpr (std::same_as<typename Arithmetic::Storage, float>)
            return "";
        else if constexpr (!Arithmetic::bfloat)
            return "it stores 16 bits and computes in float32, which is slower than Float";
        else if (!detail::computes_bfloat16())
            return "this processor has no arithmetic for bfloat16: it is imitated, which is slower than "
                   "Float";
        else
            return "";
    }
};

template <elementwise Layer, class Precision>
struct Kernel<Layer, Precision, Host>
    : detail::HostKernel<ElementwiseKernel<Layer, typename detail::HostArithmetic<Precision>::Storage>> {
    using detail::HostKernel<
        ElementwiseKernel<Layer, typename detail::HostArithmetic<Precision>::Storage>>::HostKernel;
};

template <int Filters, int Size, int Stride, int Padding, bool Bias, class Precision>
struct Kernel<Conv2d<Filters, Size, Stride, Padding, Bias>, Precision, Host>
    : detail::HostKernel<typename detail::HostArithmetic<Precision>::Convolution> {
    using detail::HostKernel<typename detail::HostArithmetic<Precision>::Convolution>::HostKernel;
};

template <int Size, int Stride, int Padding, class Precision>
struct Kernel<MaxPool<Size, Stride, Padding>, Precision, Host>
    : detail::HostKernel<PoolKernel<typename detail::HostArithmetic<Precision>::Storage>> {
    using detail::HostKernel<PoolKernel<typename detail::HostArithmetic<Precision>::Storage>>::HostKernel;
};

template <int Size, int Stride, int Padding, class Precision>
struct Kernel<AveragePool<Size, Stride, Padding>, Precision, Host>
    : detail::HostKernel<PoolKernel<typename detail::HostArithmetic<Precision>::Storage>> {
    using detail::HostKernel<PoolKernel<typename detail::HostArithmetic<Precision>::Storage>>::HostKernel;
};

template <class Precision>
struct Kernel<GlobalAveragePool, Precision, Host>
    : detail::HostKernel<GlobalAveragePoolKernel<typename detail::HostArithmetic<Precision>::Storage>> {
    using detail::HostKernel<
        GlobalAveragePoolKernel<typename detail::HostArithmetic<Precision>::Storage>>::HostKernel;
};

template <int Features, bool Bias, class Precision>
struct Kernel<Dense<Features, Bias>, Precision, Host>
    : detail::HostKernel<DenseKernel<typename detail::HostArithmetic<Precision>::Storage,
                                     typename detail::HostArithmetic<Precision>::Element>> {
    using detail::HostKernel<DenseKernel<typename detail::HostArithmetic<Precision>::Storage,
                                         typename detail::HostArithmetic<Precision>::Element>>::HostKernel;
};

template <class Precision>
struct Kernel<BatchNorm, Precision, Host>
    : detail::HostKernel<BatchNormKernel<BatchNorm, typename detail::HostArithmetic<Precision>::Storage>> {
    using detail::HostKernel<
        BatchNormKernel<BatchNorm, typename detail::HostArithmetic<Precision>::Storage>>::HostKernel;
};

template <class Precision>
struct Kernel<Flatten, Precision, Host>
    : detail::HostKernel<FlattenKernel<typename detail::HostArithmetic<Precision>::Storage>> {
    using detail::HostKernel<FlattenKernel<typename detail::HostArithmetic<Precision>::Storage>>::HostKernel;
};

template <class Precision>
struct Kernel<Add, Precision, Host>
    : detail::HostKernel<AddKernel<typename detail::HostArithmetic<Precision>::Storage>> {
    using detail::HostKernel<AddKernel<typename detail::HostArithmetic<Precision>::Storage>>::HostKernel;
};

template <class Pixel, class Precision>
struct Kernel<Widen<Pixel>, Precision, Host>
    : detail::HostKernel<WidenKernel<Pixel, typename detail::HostArithmetic<Precision>::Storage>> {
    using detail::HostKernel<
        WidenKernel<Pixel, typename detail::HostArithmetic<Precision>::Storage>>::HostKernel;
};

template <row_loss Loss, class Precision>
struct Kernel<Loss, Precision, Host>
    : detail::HostKernel<LossKernel<Loss, typename detail::HostArithmetic<Precision>::Storage>> {
    using detail::HostKernel<
        LossKernel<Loss, typename detail::HostArithmetic<Precision>::Storage>>::HostKernel;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
