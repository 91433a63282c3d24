#pragma once
/// \file
/// Convolution by Winograd's algorithm: our transforms, oneDNN's matrix products.

#include <plimsoll/device/host/bias_gradient.hpp>
#include <plimsoll/device/host/elementwise.hpp>
#include <plimsoll/device/host/loops.hpp>
#include <plimsoll/device/host/onednn.hpp>
#include <plimsoll/device/host/winograd_tiles.hpp>

#if PLIMSOLL_WITH_ONEDNN

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail::winograd {

/// Sizes, and what they need, from a site alone.
struct Sizes {
    Tiling outputs, inputs; ///< forward and weight gradient go over outputs, the input gradient over inputs
    std::int64_t images, channels, filters, element_bytes;
    bool input_gradient;

    constexpr Sizes(const Site& site, std::int64_t bytes)
        : outputs{site.output},
          inputs{site.input},
          images(site.images),
          channels(site.input.channels),
          filters(site.output.channels),
          element_bytes(bytes),
          input_gradient(site.input_gradient) {}

    /// Tiles that are multiplied together: a slice's in equal parts, as few as the cache allows. Odd, or (up
    /// to 512 channels) the same place in all 16 matrices would compete for the same lines of a cache.
    [[nodiscard]] constexpr std::int64_t room(const Tiling& tiling) const {
        const std::int64_t most = std::max(least_tiles, most_bytes / (elements * 4 * (channels + filters)));
        const std::int64_t all = images * tiling.of_picture(), blocks = (all + most - 1) / most;
        return (all + blocks - 1) / blocks | 1;
    }
    [[nodiscard]] constexpr std::int64_t most_room() const {
        return input_gradient ? std::max(room(outputs), room(inputs)) : room(outputs);
    }
    /// Of a block's matrices (4 x 4, tiles, depth), whether floats or what is multiplied.
    [[nodiscard]] constexpr std::int64_t matrices(std::int64_t depth) const {
        return aligned(4 * elements * most_room() * depth);
    }
    /// Of weights' elements (4 x 4, C, F).
    [[nodiscard]] constexpr std::int64_t weights(std::int64_t bytes) const {
        return aligned(bytes * elements * channels * filters);
    }
    /// Of the library, for a product: packed columns of the right matrix, or rows of a transposed left one,
    /// in blocks. Ways that want more are passed over.
    [[nodiscard]] constexpr std::int64_t workspace() const {
        return 65536 + 512 * std::max({most_room(), channels, filters});
    }
    [[nodiscard]] constexpr Needs needs() const {
        return {.packed = weights(element_bytes),
                .partial = weights(4) + aligned(4 * filters),
                .scratch = matrices(channels) + matrices(filters) + workspace()};
    }

    static constexpr std::int64_t least_tiles = 32;
    static constexpr std::int64_t most_bytes = std::int64_t{1} << 20; ///< of a block's matrices: an L2 cache
};

} // namespace detail::winograd

/// Convolution with windows of 3 x 3 at every pixel, channels last. Forward, 16 matrices
/// (tiles, C) of transformed inputs are multiplied by 16 (C, F) of transformed weights. The input gradient is
/// the same with windows turned by 180 degrees, whose weights are the same numbers in other places; weights'
/// gradients stay transformed until the lanes have been summed. \tparam T float or bfloat16: of activations
/// and of what is multiplied
template <class T>
class WinogradConvolution : public NodeKernel {
  public:
    WinogradConvolution(const Site& site, const Team& team)
        : site_(site), team_(team), sizes_(site, sizeof(T)) {
        if (site.input_layout == Layout::channels_last(site.input) &&
            site.output_layout == Layout::channels_last(site.output))
            make_products();
    }
    /// Whether the algorithm can do a convolution of these shapes, and is worth it. Of layouts it knows
    /// channels last alone, but there is room for it under any.
    static constexpr bool pays(const Site& site) {
        const Window window = site.facts.window;
        constexpr int at_once = detail::winograd::at_once;
        return window.kernel == 3 && window.stride == 1 && window.padding <= 2 &&
               site.input.channels % at_once == 0 && site.output.channels % at_once == 0 &&
               site.images * Tiling{site.output}.of_picture() >= Sizes::least_tiles;
    }
    static constexpr Needs needs(const Site& site) { return Sizes(site, sizeof(T)).needs(); }
    [[nodiscard]] Needs used() const override {
        Needs used = sizes_.needs();
        used.scratch -= sizes_.workspace();
        used.scratch += std::max({forward_.scratch(), weight_gradient_.scratch(), input_gradient_.scratch()});
        return used;
    }
    /// Whether the layouts are known, and the library has what it takes.
    [[nodiscard]] explicit operator bool() const {
        return forward_ && weight_gradient_ && (input_gradient_ || !site_.input_gradient);
    }
    /// The library's names for its ways.
    [[nodiscard]] std::array<std::string_view, 3> implementations() const {
        return {forward_.implementation(), weight_gradient_.implementation(),
                input_gradient_.implementation()};
    }

    void pack(const Call& call) override;
    void forward(const Call& call) override;
    void backward(const Call& call) override;
    void reduce(const Call& call, int lanes) override;

  private:
    using Primitive = detail::onednn::Primitive;
    using Operands = detail::onednn::Operands;
    using Sizes = detail::winograd::Sizes;
    using Tiling = detail::winograd::Tiling;
    using Block = detail::winograd::Block;
    static constexpr int elements_ = detail::winograd::elements;
    static constexpr int at_once_ = detail::winograd::at_once;

    void make_products();
    template <class F>
    void for_blocks(const Call& call, const Tiling& tiling, F f) const {
        const std::int64_t room = sizes_.room(tiling), tiles = call.count * tiling.of_picture();
        for (std::int64_t first = 0; first < tiles; first += room)
            f(Block{first, std::min(room, tiles - first), room});
    }
    /// Where in a call's scratch the products find their operands.
    struct Places {
        T* of_inputs;  ///< (4 x 4, tiles, C), or floats
        T* of_outputs; ///< (4 x 4, tiles, F), or floats
        void* workspace;
    };
    [[nodiscard]] Places places(const Call& call) const {
        auto* at = static_cast<std::byte*>(call.scratch);
        std::byte* second = at + sizes_.matrices(sizes_.channels);
        return {reinterpret_cast<T*>(at), reinterpret_cast<T*>(second),
                second + sizes_.matrices(sizes_.filters)};
    }
    void weight_gradient(const Call& call);
    void input_gradient(const Call& call);

    Site site_;
    Team team_;
    Sizes sizes_;
    Primitive forward_, weight_gradient_, input_gradient_;
    struct Worker {
        Operands forward, weight_gradient, input_gradient;
    };
    std::vector<Worker> workers_;
};

template <class T>
void WinogradConvolution<T>::make_products() {
    using detail::onednn::Desc, detail::onednn::matrices;
    const std::string where = text(site_.facts.name, " ", to_string(site_.input), " to ",
                                   to_string(site_.output), ", ", site_.images, " images, node ", site_.node);
    const std::int64_t channels = sizes_.channels, filters = sizes_.filters;
    const auto product = [&](const Desc& left, const Desc& right, const Desc& to, bool add) {
        return Primitive::product(left, right, to, add, sizes_.workspace(), where);
    };
    const auto operands = [](const Primitive& made, const Desc& left, const Desc& right, const Desc& to) {
        return Operands(made, {{DNNL_ARG_SRC, left}, {DNNL_ARG_WEIGHTS, right}, {DNNL_ARG_DST, to}});
    };
    workers_.resize(static_cast<std::size_t>(std::max(site_.lanes, 1)));
    const std::int64_t outputs = sizes_.room(sizes_.outputs), inputs = sizes_.room(sizes_.inputs);

    const Desc x = matrices<T>(elements_, outputs, channels), w = matrices<T>(elements_, channels, filters);
    const Desc y = matrices(elements_, outputs, filters);
    forward_ = product(x, w, y, false);
    const Desc x_turned = matrices<T>(elements_, channels, outputs, true);
    const Desc dy = matrices<T>(elements_, outputs, filters);
    const Desc dw = matrices(elements_, channels, filters);
    weight_gradient_ = product(x_turned, dy, dw, true);
    for (Worker& worker : workers_) {
        worker.forward = operands(forward_, x, w, y);
        worker.weight_gradient = operands(weight_gradient_, x_turned, dy, dw);
    }
    if (!site_.input_gradient) return;
    const Desc dy_patches = matrices<T>(elements_, inputs, filters);
    const Desc w_turned = matrices<T>(elements_, filters, channels, true);
    const Desc dx = matrices(elements_, inputs, channels);
    input_gradient_ = product(dy_patches, w_turned, dx, false);
    for (Worker& worker : workers_)
        worker.input_gradient = operands(input_gradient_, dy_patches, w_turned, dx);
}

template <class T>
void WinogradConvolution<T>::pack(const Call& call) {
    const std::int64_t channels = sizes_.channels, filters = sizes_.filters;
    team_.parallel(static_cast<int>(filters / at_once_), [&](int task, int) {
        const std::int64_t first = task * at_once_;
        const float* from = call.parameters[0] + 9 * first * channels; // (F, C, 3, 3)
        T* to_elements = static_cast<T*>(call.packed) + first;         // (4 x 4, C, F)
        for (std::int64_t c = 0; c < channels; ++c) {
            float w[9][at_once_], made[elements_][at_once_];
            for (int f = 0; f < at_once_; ++f)
                for (int i = 0; i < 9; ++i) w[i][f] = from[9 * (f * channels + c) + i];
            detail::winograd::transform_weights(w, made[0]);
            for (int e = 0; e < elements_; ++e)
                detail::convert(made[e], to_elements + (e * channels + c) * filters, at_once_);
        }
    });
}

template <class T>
void WinogradConvolution<T>::forward(const Call& call) {
    const Places at = places(call);
    auto* products = reinterpret_cast<float*>(at.of_outputs);
    for_blocks(call, sizes_.outputs, [&](const Block& block) {
        detail::winograd::from_pictures(static_cast<const T*>(call.input), site_.input, sizes_.outputs, block,
                                        site_.facts.window.padding, false, at.of_inputs);
        block.clear_rest(at.of_inputs, sizes_.channels);
        workers_[static_cast<std::size_t>(call.worker)].forward.run({at.of_inputs, call.packed, products},
                                                                    at.workspace);
        detail::winograd::to_pictures(products, sizes_.outputs, block, false,
                                      site_.has_bias() ? call.parameters[1] : nullptr,
                                      static_cast<T*>(call.output));
    });
}

template <class T>
void WinogradConvolution<T>::backward(const Call& call) {
    weight_gradient(call);
    if (site_.input_gradient) input_gradient(call);
}

template <class T>
void WinogradConvolution<T>::weight_gradient(const Call& call) {
    const Places at = places(call);
    if (!call.accumulate) std::memset(call.partial, 0, static_cast<std::size_t>(sizes_.needs().partial));
    for_blocks(call, sizes_.outputs, [&](const Block& block) {
        detail::winograd::from_pictures(static_cast<const T*>(call.input), site_.input, sizes_.outputs, block,
                                        site_.facts.window.padding, false, at.of_inputs);
        detail::winograd::from_output_gradients(static_cast<const T*>(call.output_gradient), sizes_.outputs,
                                                block, at.of_outputs);
        block.clear_rest(at.of_inputs, sizes_.channels);
        block.clear_rest(at.of_outputs, sizes_.filters);
        workers_[static_cast<std::size_t>(call.worker)].weight_gradient.run(
            {at.of_inputs, at.of_outputs, call.partial}, at.workspace);
    });
    if (site_.has_bias())
        detail::add_bias_gradient(
            static_cast<const T*>(call.output_gradient), call.count, site_.output.pixels(), sizes_.filters,
            reinterpret_cast<float*>(at.of_inputs), detail::floats_at(call.partial, sizes_.weights(4)));
}

template <class T>
void WinogradConvolution<T>::input_gradient(const Call& call) {
    const Places at = places(call);
    auto* products = reinterpret_cast<float*>(at.of_inputs);
    for_blocks(call, sizes_.inputs, [&](const Block& block) {
        detail::winograd::from_pictures(static_cast<const T*>(call.output_gradient), site_.output,
                                        sizes_.inputs, block, 2 - site_.facts.window.padding, true,
                                        at.of_outputs);
        block.clear_rest(at.of_outputs, sizes_.filters);
        workers_[static_cast<std::size_t>(call.worker)].input_gradient.run(
            {at.of_outputs, call.packed, products}, at.workspace);
        detail::winograd::to_pictures(products, sizes_.inputs, block, true, nullptr,
                                      static_cast<T*>(call.input_gradient));
    });
}

template <class T>
void WinogradConvolution<T>::reduce(const Call& call, int lanes) {
    const std::int64_t channels = sizes_.channels, filters = sizes_.filters;
    team_.parallel(static_cast<int>(filters / at_once_), [&](int task, int) {
        const std::int64_t first = task * at_once_;
        float* to_weights = call.gradients[0] + 9 * first * channels; // (F, C, 3, 3)
        for (std::int64_t c = 0; c < channels; ++c) {
            float sum[elements_][at_once_], dw[9][at_once_];
            for (int e = 0; e < elements_; ++e) {
                const std::int64_t offset = 4 * ((e * channels + c) * filters + first);
                std::copy_n(detail::floats_at(call.partial, offset), at_once_, sum[e]);
                for (int lane = 1; lane < lanes; ++lane) {
                    const float* term = detail::floats_at(call.partial, offset + lane * call.partial_stride);
                    PLIMSOLL_SIMD
                    for (int f = 0; f < at_once_; ++f) sum[e][f] += term[f];
                }
            }
            detail::winograd::transform_to_weight_gradient(sum, dw);
            for (int f = 0; f < at_once_; ++f)
                for (int i = 0; i < 9; ++i) {
                    float& gradient = to_weights[9 * (f * channels + c) + i];
                    gradient = call.accumulate ? gradient + dw[i][f] : dw[i][f];
                }
        }
    });
    if (site_.has_bias())
        detail::sum_lanes(call.gradients[1], detail::floats_at(call.partial, sizes_.weights(4)), filters,
                          call.partial_stride, lanes, call.accumulate);
}

} // namespace plimsoll::inline PLIMSOLL_ABI

#endif
