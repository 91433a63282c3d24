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

#include <memory>

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

/// What computes a layer; layers of the same kind share it.
template <class Layer, class Precision>
struct HostKernelOf {};

template <class Base_>
struct IsOf {
    using Base = Base_;
};
template <class Precision>
using StorageOf = typename HostArithmetic<Precision>::Storage;

template <elementwise Layer, class Precision>
struct HostKernelOf<Layer, Precision> : IsOf<ElementwiseKernel<Layer, StorageOf<Precision>>> {};
template <int Filters, int Size, int Stride, int Padding, bool Bias, class Precision>
struct HostKernelOf<Conv2d<Filters, Size, Stride, Padding, Bias>, Precision>
    : IsOf<typename HostArithmetic<Precision>::Convolution> {};
template <int Size, int Stride, int Padding, class Precision>
struct HostKernelOf<MaxPool<Size, Stride, Padding>, Precision> : IsOf<PoolKernel<StorageOf<Precision>>> {};
template <int Size, int Stride, int Padding, class Precision>
struct HostKernelOf<AveragePool<Size, Stride, Padding>, Precision> : IsOf<PoolKernel<StorageOf<Precision>>> {
};
template <class Precision>
struct HostKernelOf<GlobalAveragePool, Precision> : IsOf<GlobalAveragePoolKernel<StorageOf<Precision>>> {};
template <int Features, bool Bias, class Precision>
struct HostKernelOf<Dense<Features, Bias>, Precision>
    : IsOf<DenseKernel<StorageOf<Precision>, typename HostArithmetic<Precision>::Element>> {};
template <class Precision>
struct HostKernelOf<BatchNorm, Precision> : IsOf<BatchNormKernel<BatchNorm, StorageOf<Precision>>> {};
template <class Precision>
struct HostKernelOf<Flatten, Precision> : IsOf<FlattenKernel<StorageOf<Precision>>> {};
template <class Precision>
struct HostKernelOf<Add, Precision> : IsOf<AddKernel<StorageOf<Precision>>> {};
template <class Pixel, class Precision>
struct HostKernelOf<Widen<Pixel>, Precision> : IsOf<WidenKernel<Pixel, StorageOf<Precision>>> {};
template <row_loss Loss, class Precision>
struct HostKernelOf<Loss, Precision> : IsOf<LossKernel<Loss, StorageOf<Precision>>> {};

template <class Layer, class Precision>
using HostKernelBase = typename HostKernelOf<Layer, Precision>::Base;

/// A kernel with its device. Made in the library where that has it: what inherits from it is another's.
template <class Base>
struct HostKernel : Base {
    HostKernel(const Site& site, const Host& host) : Base(site, host.team()) {}
    static std::unique_ptr<NodeKernel> make(const Site& site, const Host& host);
};
/// Not inline: once for all layers that share it.
template <class Base>
std::unique_ptr<NodeKernel> HostKernel<Base>::make(const Site& site, const Host& host) {
    return std::make_unique<HostKernel>(site, host);
}

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

template <class Layer, class Precision>
    requires requires { typename detail::HostKernelBase<Layer, Precision>; }
struct Kernel<Layer, Precision, Host> : detail::HostKernel<detail::HostKernelBase<Layer, Precision>> {
    using detail::HostKernel<detail::HostKernelBase<Layer, Precision>>::HostKernel;
    using Shared = Kernel; ///< what inherits from this is not what `make` makes
};

} // namespace plimsoll::inline PLIMSOLL_ABI
