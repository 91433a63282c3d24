#pragma once
/// \file
/// A network's first convolution on a GPU: pictures of few channels, for whose gradient nobody asks. The
/// library's kernels are made for many channels; with three of them they are many times slower than
/// what memory allows, and copy the pictures.

#include <plimsoll/device/cuda/arithmetic.cuh>
#include <plimsoll/device/cuda/column_sums.cuh>
#include <plimsoll/device/cuda/first_convolution_direct.cuh>
#include <plimsoll/device/cuda/first_convolution_tensor.cuh>

#include <algorithm>
#include <concepts>
#include <string>
#include <type_traits>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail::first_convolution {

/// Sums (depth + 1, F) into the gradients of weights (F, C, K, K) and of the bias, if there is one.
struct ToGradients {
    float *weights, *bias;
    int depth, filters;
    bool add;
    __device__ void operator()(int column, const double (&totals)[1]) const {
        const int d = column / filters, f = column % filters;
        if (d == depth && bias == nullptr) return;
        float& to = d < depth ? weights[std::int64_t{f} * depth + d] : bias[f];
        to = static_cast<float>((add ? static_cast<double>(to) : 0.0) + totals[0]);
    }
};

} // namespace detail::first_convolution

/// Forward adds the bias; backward sums the gradients of weights and bias in one pass over the outputs'.
/// Sums are float32 under every precision. \tparam T of activations and, as they are multiplied, of weights
/// \tparam TensorFloat whether floats are multiplied as TF32
template <class T, bool TensorFloat>
class CudaFirstConvolution : public NodeKernel {
  public:
    CudaFirstConvolution(const Site& site, Cuda& device)
        : site_(site), geometry_(geometry(site)), device_(device) {}

    /// Whether these kernels can do a convolution.
    static constexpr bool fits(const Site& site) {
        const Geometry g = geometry(site);
        return !site.input_gradient && g.depth() <= detail::first_convolution::most_depth &&
               g.patch_rows() * g.patch_stride() <= detail::first_convolution::most_patch;
    }
    static constexpr Needs needs(const Site& site) {
        if (!site.training) return {};
        return {.scratch = sums_bytes(site) + detail::column_sums_bytes(1, columns(site))};
    }

    [[nodiscard]] std::string choice() const override {
        return multiplies_tensors_ ? "own kernels, by tensor cores" : "own kernels";
    }

    void forward(const Call& call) override {
        using namespace detail::first_convolution;
        constexpr int blocks_at_once = 2; // of a multiprocessor
        const int tiles = call.count * geometry_.tiles();
        const dim3 blocks(static_cast<unsigned>(std::clamp(
                              blocks_at_once * device_.properties().multiProcessorCount, 1, tiles)),
                          filter_blocks());
        const auto convolve = [&](auto kernel) {
            detail::launch(kernel, blocks, dim3(threads), device_.stream(), site_.facts.name, geometry_,
                           static_cast<const T*>(call.input), static_cast<const float*>(call.parameters[0]),
                           static_cast<const float*>(site_.has_bias() ? call.parameters[1] : nullptr),
                           static_cast<T*>(call.output), tiles);
        };
        if constexpr (multiplies_tensors_) {
            for_sixteens(geometry_.depth(),
                         [&](auto sixteens) { convolve(forward_by_products<T, decltype(sixteens)::value>); });
        } else {
            if (site_.facts.window.kernel == 3 && site_.facts.window.stride == 1)
                convolve(detail::first_convolution::forward<3>);
            else
                convolve(detail::first_convolution::forward<0>);
        }
    }
    void backward(const Call& call) override {
        using namespace detail::first_convolution;
        const int tiles = call.count * geometry_.tiles();
        const int chunks = static_cast<int>(CudaFirstConvolution::chunks(site_, call.count));
        const dim3 blocks(static_cast<unsigned>(chunks), filter_blocks());
        auto* sums = static_cast<float*>(call.scratch); // (chunks, depth + 1, F)
        sum_chunks([&](auto kernel) {
            detail::launch(kernel, blocks, dim3(threads), device_.stream(), site_.facts.name, geometry_,
                           static_cast<const T*>(call.input), static_cast<const T*>(call.output_gradient),
                           tiles, sums);
        });
        const int columns = static_cast<int>(CudaFirstConvolution::columns(site_));
        detail::sum_columns_of<1, float>(
            device_, chunks, columns, columns % detail::wide<float> == 0,
            detail::Elements<float>{sums, columns},
            ToGradients{call.gradients[0], site_.has_bias() ? call.gradients[1] : nullptr, geometry_.depth(),
                        site_.output.channels, call.first > 0},
            static_cast<std::byte*>(call.scratch) + sums_bytes(site_), site_.facts.name);
    }

  private:
    static constexpr bool multiplies_tensors_ = !std::same_as<T, float> || TensorFloat;

    /// Calls f(kernel) with the kernel that sums weight gradients.
    template <class F>
    void sum_chunks(F f) const {
        using namespace detail::first_convolution;
        if constexpr (multiplies_tensors_) {
            for_sixteens(geometry_.depth() + 1, [&](auto sixteens) {
                f(weight_gradient_by_products<T, decltype(sixteens)::value>);
            });
        } else {
            if (geometry_.depth() < 32)
                f(weight_gradient<4>);
            else
                f(weight_gradient<8>);
        }
    }
    template <class F>
    static void for_sixteens(int count, F f) {
        if (count <= 16)
            f(std::integral_constant<int, 1>{});
        else if (count <= 32)
            f(std::integral_constant<int, 2>{});
        else
            f(std::integral_constant<int, 4>{});
    }
    using Geometry = detail::first_convolution::Geometry;
    static constexpr Geometry geometry(const Site& site) {
        return {site.input, site.output, site.facts.window};
    }
    static constexpr std::int64_t columns(const Site& site) {
        return std::int64_t{geometry(site).depth() + 1} * site.output.channels;
    }
    static constexpr std::int64_t chunks(const Site& site, int images) {
        return std::min<std::int64_t>(std::int64_t{images} * geometry(site).tiles(),
                                      detail::first_convolution::most_chunks);
    }
    static constexpr std::int64_t sums_bytes(const Site& site) {
        return aligned(4 * chunks(site, site.images) * columns(site));
    }
    [[nodiscard]] unsigned filter_blocks() const {
        constexpr int at_once = detail::first_convolution::filters_at_once;
        return static_cast<unsigned>((site_.output.channels + at_once - 1) / at_once);
    }

    Site site_;
    Geometry geometry_;
    Cuda& device_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
