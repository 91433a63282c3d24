#pragma once
/// \file
/// Layers that are computed in float and stored in 16 bits.

#include <plimsoll/device/host/elementwise.hpp>
#include <plimsoll/device/host/loops.hpp>

namespace plimsoll::inline PLIMSOLL_ABI {

/// A sliced layer's float kernel on 16-bit activations, an image at a time through floats in scratch. The
/// weights it works with are rounded to 16 bits too, as they are where a device computes in them.
template <class Inner, class T>
class StagedKernel : public NodeKernel {
  public:
    StagedKernel(const Site& site, const Team& team) : site_(site), inner_(of_one(site), team) {}

    static constexpr Needs needs(const Site& site) {
        Needs needs = Inner::needs(of_one(site));
        needs.scratch += staged_bytes(site);
        return needs;
    }
    [[nodiscard]] Needs used() const override {
        Needs used = inner_.used();
        used.scratch += staged_bytes(site_);
        return used;
    }

    void pack(const Call& call) override {
        Call inner = within(call);
        auto* weights = static_cast<float*>(call.scratch); // (F, C, K, K)
        const std::int64_t count = site_.facts.parameters[0].size();
        const float* kept = call.parameters[0];
        PLIMSOLL_SIMD
        for (std::int64_t i = 0; i < count; ++i) weights[i] = to_float(to<T>(kept[i]));
        inner.parameters[0] = weights;
        inner_.pack(inner);
    }
    void forward(const Call& call) override {
        Call inner = within(call);
        float* x = static_cast<float*>(call.scratch);                       // (1, input shape)
        float* y = detail::floats_at(call.scratch, 2 * input_bytes(site_)); // (1, output shape)
        inner.input = x;
        inner.output = y;
        for (int image = 0; image < call.count; ++image) {
            detail::convert(at<const T>(call.input, site_.input, image), x, site_.input.size());
            inner.first = call.first + image;
            inner_.forward(inner);
            detail::convert(y, at<T>(call.output, site_.output, image), site_.output.size());
        }
    }
    void backward(const Call& call) override {
        Call inner = within(call);
        float* x = static_cast<float*>(call.scratch);                        // (1, input shape)
        float* dx = detail::floats_at(call.scratch, input_bytes(site_));     // (1, input shape)
        float* dy = detail::floats_at(call.scratch, 2 * input_bytes(site_)); // (1, output shape)
        inner.input = x;
        inner.output_gradient = dy;
        inner.input_gradient = call.input_gradient == nullptr ? nullptr : dx;
        for (int image = 0; image < call.count; ++image) {
            detail::convert(at<const T>(call.input, site_.input, image), x, site_.input.size());
            detail::convert(at<const T>(call.output_gradient, site_.output, image), dy, site_.output.size());
            inner.first = call.first + image;
            inner.accumulate = call.accumulate || image > 0;
            inner_.backward(inner);
            if (call.input_gradient != nullptr)
                detail::convert(dx, at<T>(call.input_gradient, site_.input, image), site_.input.size());
        }
    }
    void reduce(const Call& call, int lanes) override { inner_.reduce(within(call), lanes); }

  private:
    static constexpr Site of_one(Site site) {
        site.images = 1;
        return site;
    }
    static constexpr std::int64_t input_bytes(const Site& site) { return aligned(4 * site.input.size()); }
    static constexpr std::int64_t output_bytes(const Site& site) { return aligned(4 * site.output.size()); }
    static constexpr std::int64_t weight_bytes(const Site& site) {
        return aligned(4 * site.facts.parameters[0].size());
    }
    /// Bytes of scratch before the inner kernel's. Weights are rounded when no image is staged.
    static constexpr std::int64_t staged_bytes(const Site& site) {
        return std::max(2 * input_bytes(site) + output_bytes(site), weight_bytes(site));
    }
    Call within(const Call& call) const {
        Call inner = call;
        inner.count = 1;
        inner.scratch = static_cast<std::byte*>(call.scratch) + staged_bytes(site_);
        return inner;
    }
    template <class Stored, class Pointer>
    static Stored* at(Pointer* first, Shape shape, int image) {
        return static_cast<Stored*>(first) + image * shape.size();
    }

    Site site_;
    Inner inner_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
