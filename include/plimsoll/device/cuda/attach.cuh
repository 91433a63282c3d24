#pragma once
/// \file
/// Which kernel computes which layer on a GPU.

#include <plimsoll/device/cuda/arithmetic.cuh>
#include <plimsoll/device/cuda/batch_ring.cuh>
#include <plimsoll/device/cuda/convolution.cuh>
#include <plimsoll/device/cuda/dense.cuh>
#include <plimsoll/device/cuda/elementwise.cuh>
#include <plimsoll/device/cuda/loss.cuh>
#include <plimsoll/device/cuda/normalization.cuh>
#include <plimsoll/device/cuda/pooling.cuh>
#include <plimsoll/model/layers/activation.hpp>
#include <plimsoll/model/layers/convolution.hpp>
#include <plimsoll/model/layers/dense.hpp>
#include <plimsoll/model/layers/normalization.hpp>
#include <plimsoll/model/layers/plumbing.hpp>
#include <plimsoll/model/layers/pooling.hpp>
#include <plimsoll/model/precision.hpp>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// A kernel under a precision that the GPU can compute in.
template <class Base, class Precision>
struct CudaKernel : Base {
    CudaKernel(const Site& site, Cuda& device)
        : Base((require_arithmetic<Precision>(device), site), device) {}
};
template <class Precision>
using CudaStored = typename CudaArithmetic<Precision>::Storage;

} // namespace detail

template <elementwise Layer, class Precision>
struct Kernel<Layer, Precision, Cuda>
    : detail::CudaKernel<CudaElementwise<Layer, detail::CudaStored<Precision>>, Precision> {
    using detail::CudaKernel<CudaElementwise<Layer, detail::CudaStored<Precision>>, Precision>::CudaKernel;
};

template <int Filters, int Size, int Stride, int Padding, bool Bias, class Precision>
struct Kernel<Conv2d<Filters, Size, Stride, Padding, Bias>, Precision, Cuda>
    : detail::CudaKernel<
          CudaConvolution<detail::CudaStored<Precision>, detail::CudaArithmetic<Precision>::tf32>,
          Precision> {
    using detail::CudaKernel<
        CudaConvolution<detail::CudaStored<Precision>, detail::CudaArithmetic<Precision>::tf32>,
        Precision>::CudaKernel;
};

template <int Size, int Stride, int Padding, class Precision>
struct Kernel<MaxPool<Size, Stride, Padding>, Precision, Cuda>
    : detail::CudaKernel<CudaPool<detail::CudaStored<Precision>>, Precision> {
    using detail::CudaKernel<CudaPool<detail::CudaStored<Precision>>, Precision>::CudaKernel;
};

template <int Size, int Stride, int Padding, class Precision>
struct Kernel<AveragePool<Size, Stride, Padding>, Precision, Cuda>
    : detail::CudaKernel<CudaPool<detail::CudaStored<Precision>>, Precision> {
    using detail::CudaKernel<CudaPool<detail::CudaStored<Precision>>, Precision>::CudaKernel;
};

template <class Precision>
struct Kernel<GlobalAveragePool, Precision, Cuda>
    : detail::CudaKernel<CudaGlobalAveragePool<detail::CudaStored<Precision>>, Precision> {
    using detail::CudaKernel<CudaGlobalAveragePool<detail::CudaStored<Precision>>, Precision>::CudaKernel;
};

template <int Features, bool Bias, class Precision>
struct Kernel<Dense<Features, Bias>, Precision, Cuda>
    : detail::CudaKernel<CudaDense<detail::CudaStored<Precision>, detail::CudaArithmetic<Precision>::tf32>,
                         Precision> {
    using detail::CudaKernel<
        CudaDense<detail::CudaStored<Precision>, detail::CudaArithmetic<Precision>::tf32>,
        Precision>::CudaKernel;
};

template <class Precision>
struct Kernel<BatchNorm, Precision, Cuda>
    : detail::CudaKernel<CudaBatchNorm<BatchNorm, detail::CudaStored<Precision>>, Precision> {
    using detail::CudaKernel<CudaBatchNorm<BatchNorm, detail::CudaStored<Precision>>, Precision>::CudaKernel;
};

template <class Precision>
struct Kernel<Flatten, Precision, Cuda>
    : detail::CudaKernel<CudaFlatten<detail::CudaStored<Precision>>, Precision> {
    using detail::CudaKernel<CudaFlatten<detail::CudaStored<Precision>>, Precision>::CudaKernel;
};

template <class Precision>
struct Kernel<Add, Precision, Cuda> : detail::CudaKernel<CudaAdd<detail::CudaStored<Precision>>, Precision> {
    using detail::CudaKernel<CudaAdd<detail::CudaStored<Precision>>, Precision>::CudaKernel;
};

template <class Pixel, class Precision>
struct Kernel<Widen<Pixel>, Precision, Cuda>
    : detail::CudaKernel<CudaWiden<Pixel, detail::CudaStored<Precision>>, Precision> {
    using detail::CudaKernel<CudaWiden<Pixel, detail::CudaStored<Precision>>, Precision>::CudaKernel;
};

template <row_loss Loss, class Precision>
struct Kernel<Loss, Precision, Cuda>
    : detail::CudaKernel<CudaLoss<Loss, detail::CudaStored<Precision>>, Precision> {
    using detail::CudaKernel<CudaLoss<Loss, detail::CudaStored<Precision>>, Precision>::CudaKernel;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
