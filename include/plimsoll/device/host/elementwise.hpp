#pragma once
/// \file
/// Layers computed element by element on the host: value functors over slices.

#include <plimsoll/core/philox.hpp>
#include <plimsoll/core/storage.hpp>
#include <plimsoll/device/host/conversion.hpp>
#include <plimsoll/device/host/parallel.hpp>
#include <plimsoll/device/kernel.hpp>

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// What arithmetic reads: floats of 16 bits from `tile`, as floats, all else as it lies.
template <class T>
const T* loaded(const T* in, std::int64_t, float*) {
    return in;
}
template <stored_in_16_bits T>
const float* loaded(const T* in, std::int64_t count, float* tile) {
    convert(in, tile, count);
    return tile;
}

/// out[i] = f(in[i]...) over `count` elements; `out` may be one of the inputs.
template <class F, class... In>
void transform(F f, std::int64_t count, float* out, const In*... in) {
    // No __restrict: in place is allowed, and each element is read before it is written.
    PLIMSOLL_SIMD
    for (std::int64_t i = 0; i < count; ++i) out[i] = f(in[i]...);
}
template <class F, class T, std::size_t... I, class... In>
void transform_tiles(std::index_sequence<I...>, F f, std::int64_t count, T* out, const In*... in) {
    for (std::int64_t first = 0; first < count; first += conversion_tile) {
        const std::int64_t size = std::min(conversion_tile, count - first);
        float tiles[sizeof...(In)][conversion_tile], result[conversion_tile];
        transform(f, size, result, loaded(in + first, size, tiles[I])...);
        convert(result, out + first, size);
    }
}
/// The same in 16 bits, with f's arithmetic in float where f does not take them as they are.
template <class F, class T, class... In>
void transform(F f, std::int64_t count, T* out, const In*... in) {
    if constexpr (std::is_invocable_r_v<T, F, In...>) {
        PLIMSOLL_SIMD
        for (std::int64_t i = 0; i < count; ++i) out[i] = f(in[i]...);
    } else {
        transform_tiles(std::index_sequence_for<In...>{}, f, count, out, in...);
    }
}

/// The random words of one image's elements, a tile at a time: word e of an image belongs to (seed, node,
/// step, image of the batch, e) alone.
template <class F>
void for_random_tiles(const Site& site, const Call& call, std::int64_t elements, F f) {
    constexpr std::int64_t tile = 256;
    std::uint32_t words[tile];
    const std::uint64_t key = stream_key(site.seed, Purpose::dropout);
    for (int image = 0; image < call.count; ++image)
        for (std::int64_t first = 0; first < elements; first += tile) {
            const std::int64_t size = std::min(tile, elements - first);
            for (std::int64_t group = 0; group < tile / 4; ++group) {
                const Words4 random =
                    philox({static_cast<std::uint32_t>(first / 4 + group),
                            static_cast<std::uint32_t>(call.first + image),
                            static_cast<std::uint32_t>(call.step), static_cast<std::uint32_t>(site.node)},
                           key);
                words[4 * group] = random.x;
                words[4 * group + 1] = random.y;
                words[4 * group + 2] = random.z;
                words[4 * group + 3] = random.w;
            }
            f(image * elements + first, size, words);
        }
}

} // namespace detail

/// Any layer with `Forward` and `Backward` functors. \tparam T float, half or bfloat16: of activations
template <class Layer, class T>
class ElementwiseKernel : public NodeKernel {
  public:
    ElementwiseKernel(const Site& site, const Team&) : site_(site) {}
    static constexpr Needs needs(const Site&) { return {}; }

    void forward(const Call& call) override {
        const auto* x = static_cast<const T*>(call.input); // (count, H, W, C)
        auto* y = static_cast<T*>(call.output);            // (count, H, W, C)
        const std::int64_t elements = site_.input.size();
        if (site_.facts.training_only && !call.training) {
            if (x != y) std::memcpy(y, x, static_cast<std::size_t>(elements * call.count) * sizeof(T));
        } else if constexpr (requires(typename Layer::Forward f) { f(0.0f, std::uint32_t{}); }) {
            detail::for_random_tiles(
                site_, call, elements, [&](std::int64_t at, std::int64_t size, const auto* words) {
                    detail::transform(typename Layer::Forward{}, size, y + at, x + at, words);
                });
        } else {
            detail::transform(typename Layer::Forward{}, elements * call.count, y, x);
        }
    }

    void backward(const Call& call) override {
        const auto* dy = static_cast<const T*>(call.output_gradient); // (count, H, W, C)
        auto* dx = static_cast<T*>(call.input_gradient);              // (count, H, W, C)
        if (dx == nullptr) return;
        const std::int64_t elements = site_.input.size();
        using Backward = typename Layer::Backward;
        if constexpr (requires(Backward f) { f(0.0f, std::uint32_t{}); } && Layer::facts({1, 1, 1}).random) {
            detail::for_random_tiles(site_, call, elements,
                                     [&](std::int64_t at, std::int64_t size, const auto* words) {
                                         detail::transform(Backward{}, size, dx + at, dy + at, words);
                                     });
        } else if constexpr (requires(Backward f) { f(0.0f, 0.0f); }) {
            const auto* value =
                static_cast<const T*>(site_.facts.backward_reads_output ? call.output : call.input);
            detail::transform(Backward{}, elements * call.count, dx, dy, value);
        } else {
            detail::transform(Backward{}, elements * call.count, dx, dy);
        }
    }

  private:
    Site site_;
};

/// Stored pixels (count, H, W, C) to activations, by division by 255 in float32 (so that a file made by the
/// same division matches bit for bit).
template <class Pixel, class T>
class WidenKernel : public NodeKernel {
  public:
    WidenKernel(const Site& site, const Team&) : site_(site) {}
    static constexpr Needs needs(const Site&) { return {}; }

    void forward(const Call& call) override {
        const auto* pixels = static_cast<const Pixel*>(call.input); // (count, H, W, C)
        auto* out = static_cast<T*>(call.output);                   // (count, C / block, H, W, block)
        const int channels = site_.input.channels;
        const std::int64_t area = site_.input.pixels();
        if (site_.output_layout.block == channels) {
            detail::transform([](auto pixel) { return widen(pixel); }, site_.input.size() * call.count, out,
                              pixels);
            return;
        }
        const int block = site_.output_layout.block;
        for (int image = 0; image < call.count; ++image)
            for (int c = 0; c < channels; ++c) {
                const Pixel* from = pixels + image * area * channels + c;
                T* plane = out + (image * channels + c / block * block) * area + c % block;
                for (std::int64_t p = 0; p < area; ++p) plane[p * block] = to<T>(widen(from[p * channels]));
            }
    }
    void backward(const Call&) override {} // integers have no gradient

  private:
    static float widen(u8 pixel) { return static_cast<float>(pixel) / 255.0f; }
    template <class Stored>
    static float widen(Stored pixel) {
        return to_float(pixel);
    }
    Site site_;
};

/// output = input + second.
template <class T>
class AddKernel : public NodeKernel {
  public:
    AddKernel(const Site& site, const Team&) : elements_(site.input.size()) {}
    static constexpr Needs needs(const Site&) { return {}; }

    void forward(const Call& call) override {
        detail::transform([](float a, float b) { return a + b; }, elements_ * call.count,
                          static_cast<T*>(call.output), static_cast<const T*>(call.input),
                          static_cast<const T*>(call.second));
    }
    void backward(const Call& call) override {
        for (void* gradient : {call.input_gradient, call.second_gradient})
            if (gradient != nullptr && gradient != call.output_gradient)
                std::memcpy(gradient, call.output_gradient,
                            static_cast<std::size_t>(elements_ * call.count) * sizeof(T));
    }

  private:
    std::int64_t elements_;
};

/// (count, C / block, H, W, block) to (count, C x H x W) and back.
template <class T>
class FlattenKernel : public NodeKernel {
  public:
    FlattenKernel(const Site& site, const Team&) : site_(site) {}
    static constexpr Needs needs(const Site&) { return {}; }

    void forward(const Call& call) override {
        const auto* in = static_cast<const T*>(call.input); // (count, C / block, H, W, block)
        auto* out = static_cast<T*>(call.output);           // (count, C x H x W)
        walk(call.count, [&](std::int64_t blocked, std::int64_t plain) { out[plain] = in[blocked]; });
    }
    void backward(const Call& call) override {
        const auto* dy = static_cast<const T*>(call.output_gradient); // (count, C x H x W)
        auto* dx = static_cast<T*>(call.input_gradient);              // (count, C / block, H, W, block)
        if (dx != nullptr)
            walk(call.count, [&](std::int64_t blocked, std::int64_t plain) { dx[blocked] = dy[plain]; });
    }

  private:
    template <class F>
    void walk(int count, F move) const {
        const std::int64_t area = site_.input.pixels(), block = site_.input_layout.block;
        const std::int64_t groups = std::int64_t{count} * site_.input.channels / block;
        for (std::int64_t group = 0; group < groups; ++group)
            for (std::int64_t p = 0; p < area; ++p)
                for (std::int64_t c = 0; c < block; ++c)
                    move((group * area + p) * block + c, (group * block + c) * area + p);
    }
    Site site_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
