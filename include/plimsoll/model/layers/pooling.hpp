#pragma once
/// \file
/// Pooling.

#include <plimsoll/model/layer.hpp>

#include <cstdint>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// PyTorch's rule, so that no window lies in the padding alone.
template <int Kernel, int Stride, int Padding>
inline constexpr bool pool_is_sound = Kernel > 0 && Stride > 0 && Padding >= 0 && 2 * Padding <= Kernel;

/// Instead of a maximum's position where a rectified window has none above zero.
inline constexpr std::uint8_t no_position = 255;

} // namespace detail

/// Largest value of each window: (N, H, W, C) to (N, H', W', C). Forward leaves the position of the maximum
/// in its window, one byte an output; the first of equals wins, as in PyTorch.
template <int Kernel, int Stride = Kernel, int Padding = 0>
struct MaxPool {
    static_assert(detail::pool_is_sound<Kernel, Stride, Padding>,
                  "plimsoll: MaxPool<kernel, stride, padding> needs a padding of at most half the kernel");
    static_assert(Kernel <= 15,
                  "plimsoll: MaxPool keeps a window's maximum in one byte: a kernel of at most 15");

    static constexpr Facts facts(Shape in) {
        constexpr Window window{Kernel, Stride, Padding};
        const Shape out{window.output(in.height), window.output(in.width), in.channels};
        return {.name = "MaxPool",
                .output = out,
                .window = window,
                .selects_maximum = true,
                .saved_bytes = out.size(),
                .flops = static_cast<double>(out.size()) * Kernel * Kernel,
                .onnx = "MaxPool"};
    }
};

/// Mean of each window: (N, H, W, C) to (N, H', W', C). Padding counts as zeros and the divisor is always
/// Kernel x Kernel, PyTorch's default.
template <int Kernel, int Stride = Kernel, int Padding = 0>
struct AveragePool {
    static_assert(
        detail::pool_is_sound<Kernel, Stride, Padding>,
        "plimsoll: AveragePool<kernel, stride, padding> needs a padding of at most half the kernel");

    static constexpr Facts facts(Shape in) {
        constexpr Window window{Kernel, Stride, Padding};
        const Shape out{window.output(in.height), window.output(in.width), in.channels};
        return {.name = "AveragePool",
                .output = out,
                .window = window,
                .flops = static_cast<double>(out.size()) * Kernel * Kernel,
                .onnx = "AveragePool"};
    }
};

/// Mean of each channel over the whole picture: (N, H, W, C) to (N, 1, 1, C).
struct GlobalAveragePool {
    static constexpr Facts facts(Shape in) {
        return {.name = "GlobalAveragePool",
                .output = {1, 1, in.channels},
                .flops = static_cast<double>(in.size()),
                .onnx = "GlobalAveragePool"};
    }
};

} // namespace plimsoll::inline PLIMSOLL_ABI
