#pragma once
/// \file
/// Which kernel computes which layer on the host.

#include <plimsoll/device/host/elementwise.hpp>
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

template <elementwise Layer, class Precision>
struct Kernel<Layer, Precision, Host> : ElementwiseKernel<Layer> {
    using ElementwiseKernel<Layer>::ElementwiseKernel;
};

template <int Filters, int Size, int Stride, int Padding, bool Bias, class Precision>
struct Kernel<Conv2d<Filters, Size, Stride, Padding, Bias>, Precision, Host> : ConvolutionKernel {
    Kernel(const Site& site, const Host& host) : ConvolutionKernel(site, host.team()) {}
};

template <int Size, int Stride, int Padding, class Precision>
struct Kernel<MaxPool<Size, Stride, Padding>, Precision, Host> : PoolKernel {
    Kernel(const Site& site, const Host& host) : PoolKernel(site, host.team()) {}
};

template <int Size, int Stride, int Padding, class Precision>
struct Kernel<AveragePool<Size, Stride, Padding>, Precision, Host> : PoolKernel {
    Kernel(const Site& site, const Host& host) : PoolKernel(site, host.team()) {}
};

template <class Precision>
struct Kernel<GlobalAveragePool, Precision, Host> : GlobalAveragePoolKernel {
    Kernel(const Site& site, const Host& host) : GlobalAveragePoolKernel(site, host.team()) {}
};

template <int Features, bool Bias, class Precision>
struct Kernel<Dense<Features, Bias>, Precision, Host> : DenseKernel {
    Kernel(const Site& site, const Host& host) : DenseKernel(site, host.team()) {}
};

template <class Precision>
struct Kernel<BatchNorm, Precision, Host> : BatchNormKernel {
    Kernel(const Site& site, const Host& host)
        : BatchNormKernel(site, host, BatchNorm::epsilon, BatchNorm::momentum) {}
};

template <class Precision>
struct Kernel<Flatten, Precision, Host> : FlattenKernel {
    using FlattenKernel::FlattenKernel;
};

template <class Precision>
struct Kernel<Add, Precision, Host> : AddKernel {
    using AddKernel::AddKernel;
};

template <class Pixel, class Precision>
struct Kernel<Widen<Pixel>, Precision, Host> : WidenKernel<Pixel> {
    using WidenKernel<Pixel>::WidenKernel;
};

template <row_loss Loss, class Precision>
struct Kernel<Loss, Precision, Host> : LossKernel<Loss> {
    using LossKernel<Loss>::LossKernel;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
