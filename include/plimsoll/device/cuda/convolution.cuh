#pragma once
/// \file
/// The way in which a GPU computes a convolution.

#include <plimsoll/device/cuda/cudnn_convolution.cuh>
#include <plimsoll/device/cuda/first_convolution.cuh>
#include <plimsoll/device/cuda/winograd.cuh>

#include <concepts>
#include <memory>
#include <string>

namespace plimsoll::inline PLIMSOLL_ABI {

/// Convolution by our kernel for pictures of few channels where it fits, in float32 by Winograd's algorithm
/// where that pays, else by cuDNN. \tparam T of activations \tparam TensorFloat whether floats are multiplied
/// as TF32
template <class T, bool TensorFloat>
class CudaConvolution : public NodeKernel {
  public:
    CudaConvolution(const Site& site, Cuda& device)
        : kernel_(choose(site, [&]<class Chosen>(Type<Chosen>) -> std::unique_ptr<NodeKernel> {
              return std::make_unique<Chosen>(site, device);
          })) {}
    static constexpr Needs needs(const Site& site) {
        return choose(site, [&]<class Chosen>(Type<Chosen>) { return Chosen::needs(site); });
    }
    [[nodiscard]] Needs used() const override { return kernel_->used(); }
    [[nodiscard]] std::string choice() const override { return kernel_->choice(); }

    void pack(const Call& call) override { kernel_->pack(call); }
    void forward(const Call& call) override { kernel_->forward(call); }
    void backward(const Call& call) override { kernel_->backward(call); }

  private:
    template <class Chosen>
    struct Type {};
    template <class F>
    static constexpr auto choose(const Site& site, F f) {
        using First = CudaFirstConvolution<T, TensorFloat>;
        if (First::fits(site)) return f(Type<First>{});
        if constexpr (std::same_as<T, float> && !TensorFloat)
            if (CudaWinogradConvolution::pays(site)) return f(Type<CudaWinogradConvolution>{});
        return f(Type<CudnnConvolution<T, TensorFloat>>{});
    }

    std::unique_ptr<NodeKernel> kernel_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
