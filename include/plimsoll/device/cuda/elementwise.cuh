#pragma once
/// \file
/// Layers computed element by element on a GPU: the value functors of the Host, 16 bytes at a time.

#include <plimsoll/core/philox.hpp>
#include <plimsoll/device/cuda/cuda.cuh>
#include <plimsoll/model/layer.hpp>

#include <type_traits>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// The random word of an element, as on the Host: word e of an image belongs to (seed, node, step, image of
/// the batch, e) alone. Four elements share a call of the generator.
template <class F, class T>
struct RandomTransform {
    F f;
    T* out;
    const T* in;
    const PassState* pass;
    std::uint64_t key;
    std::int64_t elements; ///< of an image
    int image;             ///< the slice's first, within the micro-batch
    std::uint32_t node;
    int groups; ///< of four elements, an image
    __device__ void operator()(std::int64_t i) const {
        const Quotient at = divide(i, groups);
        const auto number = static_cast<std::uint32_t>(pass->first + image + at.quotient);
        const Words4 random = philox(
            {static_cast<std::uint32_t>(at.remainder), number, static_cast<std::uint32_t>(pass->step), node},
            key);
        const std::uint32_t words[4] = {random.x, random.y, random.z, random.w};
        const std::int64_t first = std::int64_t{4} * at.remainder;
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            if (first + k >= elements) return;
            const std::int64_t e = at.quotient * elements + first + k;
            out[e] = stored<T>(f(loaded(in[e]), words[k]));
        }
    }
};

template <int Width, class Pixel, class T>
struct WidenPixels {
    const Pack<Pixel, Width>* pixels;
    Pack<T, Width>* out;
    __device__ void operator()(std::int64_t i) const {
        const Pack<Pixel, Width> from = pixels[i];
        Pack<T, Width> to;
#pragma unroll
        for (int k = 0; k < Width; ++k)
            if constexpr (std::is_same_v<Pixel, u8>)
                to.values[k] =
                    stored<T>(quotient(static_cast<float>(from.values[k]), 255.0f)); // the Host's bits
            else
                to.values[k] = stored<T>(loaded(from.values[k]));
        out[i] = to;
    }
};

/// (count, H, W, C) to (count, C x H x W), or back.
template <class T>
struct Reorder {
    const T* from;
    T* to;
    int area, channels;
    bool back;
    __device__ void operator()(std::int64_t i) const {
        const Quotient channel = divide(i, channels), pixel = divide(channel.quotient, area);
        const std::int64_t plain = (pixel.quotient * channels + channel.remainder) * area + pixel.remainder;
        if (back)
            to[i] = from[plain];
        else
            to[plain] = from[i];
    }
};

} // namespace detail

/// Any layer with `Forward` and `Backward` functors, marked PLIMSOLL_HD. \tparam T of activations
template <class Layer, class T>
class CudaElementwise : public NodeKernel {
  public:
    CudaElementwise(const Site& site, Cuda& device) : site_(site), device_(device) {}
    static constexpr Needs needs(const Site&) { return {}; }

    void forward(const Call& call) override {
        const auto* x = static_cast<const T*>(call.input); // (count, H, W, C)
        auto* y = static_cast<T*>(call.output);            // (count, H, W, C)
        const std::int64_t count = site_.input.size() * call.count;
        if (site_.facts.training_only && !call.training) {
            if (x != y) device_.copy_within(y, x, count * static_cast<std::int64_t>(sizeof(T)));
        } else if constexpr (Layer::facts({1, 1, 1}).random) {
            random(typename Layer::Forward{}, call, y, x);
        } else {
            device_.transform(typename Layer::Forward{}, count, y, x, nullptr, site_.facts.name);
        }
    }

    void backward(const Call& call) override {
        const auto* dy = static_cast<const T*>(call.output_gradient); // (count, H, W, C)
        auto* dx = static_cast<T*>(call.input_gradient);              // (count, H, W, C)
        if (dx == nullptr) return;
        using Backward = typename Layer::Backward;
        const std::int64_t count = site_.input.size() * call.count;
        if constexpr (Layer::facts({1, 1, 1}).random) {
            random(Backward{}, call, dx, dy);
        } else if constexpr (std::is_invocable_v<Backward, float, float>) {
            const auto* value =
                static_cast<const T*>(site_.facts.backward_reads_output ? call.output : call.input);
            device_.transform(Backward{}, count, dx, dy, value, site_.facts.name);
        } else {
            device_.transform(Backward{}, count, dx, dy, nullptr, site_.facts.name);
        }
    }

  private:
    template <class F>
    void random(F f, const Call& call, T* out, const T* in) const {
        const std::int64_t elements = site_.input.size();
        const int groups = static_cast<int>((elements + 3) / 4);
        device_.for_each(std::int64_t{groups} * call.count,
                         detail::RandomTransform<F, T>{
                             f, out, in, call.pass, stream_key(site_.seed, Purpose::dropout), elements,
                             call.image, static_cast<std::uint32_t>(site_.node), groups},
                         site_.facts.name);
    }
    Site site_;
    Cuda& device_;
};

/// Stored pixels (count, H, W, C) to activations, by division by 255 in float32.
template <class Pixel, class T>
class CudaWiden : public NodeKernel {
  public:
    CudaWiden(const Site& site, Cuda& device) : site_(site), device_(device) {}
    static constexpr Needs needs(const Site&) { return {}; }
    void forward(const Call& call) override {
        const auto* pixels = static_cast<const Pixel*>(call.input);
        auto* out = static_cast<T*>(call.output);
        constexpr int width = detail::wide<T>;
        const bool packs =
            detail::is_aligned(pixels, width * std::int64_t{sizeof(Pixel)}) && detail::is_aligned(out, 16);
        const std::int64_t count = site_.input.size() * call.count, done = packs ? count / width * width : 0;
        widen<width>(done, pixels, out);
        widen<1>(count - done, pixels + done, out + done);
    }
    void backward(const Call&) override {} // integers have no gradient

  private:
    template <int Width>
    void widen(std::int64_t count, const Pixel* pixels, T* out) const {
        device_.for_each(
            count / Width,
            detail::WidenPixels<Width, Pixel, T>{reinterpret_cast<const detail::Pack<Pixel, Width>*>(pixels),
                                                 reinterpret_cast<detail::Pack<T, Width>*>(out)},
            site_.facts.name);
    }
    Site site_;
    Cuda& device_;
};

/// output = input + second.
template <class T>
class CudaAdd : public NodeKernel {
  public:
    CudaAdd(const Site& site, Cuda& device) : elements_(site.input.size()), device_(device) {}
    static constexpr Needs needs(const Site&) { return {}; }
    void forward(const Call& call) override {
        device_.transform(detail::Plus{}, elements_ * call.count, static_cast<T*>(call.output),
                          static_cast<const T*>(call.input), static_cast<const T*>(call.second), "Add");
    }
    void backward(const Call& call) override {
        for (void* gradient : {call.input_gradient, call.second_gradient})
            if (gradient != nullptr && gradient != call.output_gradient)
                device_.copy_within(gradient, call.output_gradient,
                                    elements_ * call.count * static_cast<std::int64_t>(sizeof(T)));
    }

  private:
    std::int64_t elements_;
    Cuda& device_;
};

/// (count, H, W, C) to (count, C x H x W), PyTorch's order, and back.
template <class T>
class CudaFlatten : public NodeKernel {
  public:
    CudaFlatten(const Site& site, Cuda& device) : site_(site), device_(device) {}
    static constexpr Needs needs(const Site&) { return {}; }
    void forward(const Call& call) override { move(call.input, call.output, call.count, false); }
    void backward(const Call& call) override {
        if (call.input_gradient != nullptr) move(call.output_gradient, call.input_gradient, call.count, true);
    }

  private:
    void move(const void* from, void* to, int count, bool back) const {
        device_.for_each(site_.input.size() * count,
                         detail::Reorder<T>{static_cast<const T*>(from), static_cast<T*>(to),
                                            static_cast<int>(site_.input.pixels()), site_.input.channels,
                                            back},
                         site_.facts.name);
    }
    Site site_;
    Cuda& device_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
