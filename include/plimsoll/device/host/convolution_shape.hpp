#pragma once
/// \file
/// The shapes of a convolution as oneDNN is told them.

#include <plimsoll/device/host/onednn.hpp>
#include <plimsoll/plan/site.hpp>

#if PLIMSOLL_WITH_ONEDNN

#include <cstdint>

namespace plimsoll::inline PLIMSOLL_ABI::detail {

/// A batch of T in its layout; empty where the library has no name for it.
template <class T>
onednn::Desc activation(Shape shape, Layout layout, int images) {
    const std::int64_t extents[] = {images, shape.channels, shape.height, shape.width};
    if (layout.block == shape.channels) return onednn::tagged<T>(extents, dnnl_nhwc);
    if (layout.block == 1) return onednn::tagged<T>(extents, dnnl_nchw);
    if (layout.block == 8) return onednn::tagged<T>(extents, dnnl_nChw8c);
    if (layout.block == 16) return onednn::tagged<T>(extents, dnnl_nChw16c);
    return {};
}

/// Pixels behind a row (or rows behind a column) of the picture that the windows of so many outputs take.
inline std::int64_t beyond(const Window& window, int input, int output) {
    return std::int64_t{output - 1} * window.stride + window.kernel - input - window.padding;
}

/// Batches of T before and behind windows that slide, or their gradients.
template <class T>
struct ConvolutionShape {
    onednn::Desc x, y; ///< empty where the library has no name for a layout
    dnnl_dims_t strides, before, behind;

    explicit ConvolutionShape(const Site& site)
        : x(activation<T>(site.input, site.input_layout, site.images)),
          y(activation<T>(site.output, site.output_layout, site.images)),
          strides{site.facts.window.stride, site.facts.window.stride},
          before{site.facts.window.padding, site.facts.window.padding},
          behind{beyond(site.facts.window, site.input.height, site.output.height),
                 beyond(site.facts.window, site.input.width, site.output.width)} {}

    explicit operator bool() const { return x.get() != nullptr && y.get() != nullptr; }
};

} // namespace plimsoll::inline PLIMSOLL_ABI::detail

#endif
