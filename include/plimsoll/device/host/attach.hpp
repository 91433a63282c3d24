#pragma once
/// \file
/// Which kernel computes which layer on the host.

#include <plimsoll/device/host/elementwise.hpp>
#include <plimsoll/device/host/host.hpp>
#include <plimsoll/device/host/loss.hpp>
#include <plimsoll/device/host/matrix.hpp>
#include <plimsoll/device/host/normalization.hpp>
#include <plimsoll/device/host/windows.hpp>
#include <plimsoll/model/layers/activation.hpp>
#include <plimsoll/model/layers/convolution.hpp>
#include <plimsoll/model/layers/dense.hpp>
#include <plimsoll/model/layers/normalization.hpp>
#include <plimsoll/model/layers/plumbing.hpp>
#include <plimsoll/model/layers/pooling.hpp>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// A host kernel under a precision.
template <class Base, class Precision>
struct HostKernel : Base {
    static_assert(
        std::same_as<typename Precision::Storage, float>,
        "plimsoll: the Host device stores activations as float: use a Precision with Storage = float");
    HostKernel(const Site& site, const Host& host) : Base(site, host.team()) {}
};

} // namespace detail

template <elementwise Layer, class Precision>
struct Kernel<Layer, Precision, Host> : detail::HostKernel<ElementwiseKernel<Layer>, Precision> {
    using detail::HostKernel<ElementwiseKernel<Layer>, Precision>::HostKernel;
};

template <int Filters, int Size, int Stride, int Padding, bool Bias, class Precision>
struct Kernel<Conv2d<Filters, Size, Stride, Padding, Bias>, Precision, Host>
    : detail::HostKernel<ConvolutionKernel, Precision> {
    using detail::HostKernel<ConvolutionKernel, Precision>::HostKernel;
};

template <int Size, int Stride, int Padding, class Precision>
struct Kernel<MaxPool<Size, Stride, Padding>, Precision, Host> : detail::HostKernel<PoolKernel, Precision> {
    using detail::HostKernel<PoolKernel, Precision>::HostKernel;
};

template <int Size, int Stride, int Padding, class Precision>
struct Kernel<AveragePool<Size, Stride, Padding>, Precision, Host>
    : detail::HostKernel<PoolKernel, Precision> {
    using detail::HostKernel<PoolKernel, Precision>::HostKernel;
};

template <class Precision>
struct Kernel<GlobalAveragePool, Precision, Host> : detail::HostKernel<GlobalAveragePoolKernel, Precision> {
    using detail::HostKernel<GlobalAveragePoolKernel, Precision>::HostKernel;
};

template <int Features, bool Bias, class Precision>
struct Kernel<Dense<Features, Bias>, Precision, Host> : detail::HostKernel<DenseKernel, Precision> {
    using detail::HostKernel<DenseKernel, Precision>::HostKernel;
};

template <class Precision>
struct Kernel<BatchNorm, Precision, Host> : detail::HostKernel<BatchNormKernel<BatchNorm>, Precision> {
    using detail::HostKernel<BatchNormKernel<BatchNorm>, Precision>::HostKernel;
};

template <class Precision>
struct Kernel<Flatten, Precision, Host> : detail::HostKernel<FlattenKernel, Precision> {
    using detail::HostKernel<FlattenKernel, Precision>::HostKernel;
};

template <class Precision>
struct Kernel<Add, Precision, Host> : detail::HostKernel<AddKernel, Precision> {
    using detail::HostKernel<AddKernel, Precision>::HostKernel;
};

template <class Pixel, class Precision>
struct Kernel<Widen<Pixel>, Precision, Host> : detail::HostKernel<WidenKernel<Pixel>, Precision> {
    using detail::HostKernel<WidenKernel<Pixel>, Precision>::HostKernel;
};

template <row_loss Loss, class Precision>
struct Kernel<Loss, Precision, Host> : detail::HostKernel<LossKernel<Loss>, Precision> {
    using detail::HostKernel<LossKernel<Loss>, Precision>::HostKernel;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
