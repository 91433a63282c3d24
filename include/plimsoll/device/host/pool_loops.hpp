#pragma once
/// \file
/// The loops of pools, vectorised over the innermost channels of any layout.

#include <plimsoll/device/host/elementwise.hpp>
#include <plimsoll/model/layers/pooling.hpp>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// One tensor of `planes` = images x channel blocks, each (H, W, block).
struct PoolGeometry {
    Window window;
    int height, width;  ///< of the input
    int rows, columns;  ///< of the output
    std::int64_t block; ///< innermost channels
    std::int64_t channel_blocks;

    explicit PoolGeometry(const Site& site)
        : window(site.facts.window),
          height(site.input.height),
          width(site.input.width),
          rows(site.output.height),
          columns(site.output.width),
          block(site.input_layout.block),
          channel_blocks(site.input.channels / site.input_layout.block) {}

    [[nodiscard]] std::int64_t input_plane() const { return std::int64_t{height} * width * block; }
    [[nodiscard]] std::int64_t output_plane() const { return std::int64_t{rows} * columns * block; }

    /// Calls f(offset of the tap in the input plane, position in the window) for the inputs of a window.
    template <class F>
    void for_taps(int row, int column, F f) const {
        const int top = row * window.stride - window.padding, left = column * window.stride - window.padding;
        const int first_y = std::max(0, -top), last_y = std::min(window.kernel, height - top);
        const int first_x = std::max(0, -left), last_x = std::min(window.kernel, width - left);
        for (int y = first_y; y < last_y; ++y)
            for (int x = first_x; x < last_x; ++x)
                f((std::int64_t{top + y} * width + left + x) * block, y * window.kernel + x);
    }

    /// Calls f(offset of the output in its plane, position in its window) for the windows of an input.
    template <class F>
    void for_windows(int y, int x, F f) const {
        const auto first = [&](int at) { // the first window that ends behind it
            const int before = at + window.padding - window.kernel + 1;
            return before > 0 ? (before + window.stride - 1) / window.stride : 0;
        };
        for (int row = first(y); row < rows && row * window.stride <= y + window.padding; ++row)
            for (int column = first(x); column < columns && column * window.stride <= x + window.padding;
                 ++column)
                f((std::int64_t{row} * columns + column) * block,
                  (y + window.padding - row * window.stride) * window.kernel + x + window.padding -
                      column * window.stride);
    }

    /// Of one input in a mean.
    [[nodiscard]] float share() const { return 1.0f / static_cast<float>(window.kernel * window.kernel); }
};

/// Whether `candidate` replaces `best`: the first of equals stays, and NaN passes.
constexpr bool replaces(float candidate, float best) { return (candidate > best) | (candidate != candidate); }

/// `value` or 0, without a branch: one would keep the loop around it from being vectorised.
template <class T>
constexpr T only_if(bool keep, T value) {
    using Bits = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int16_t>;
    return std::bit_cast<T>(static_cast<Bits>(std::bit_cast<Bits>(value) & -Bits{keep}));
}

/// Calls f with a number of channels that divides the innermost ones, a constant where there is one that
/// fills vectors, so that the loop over them is none.
template <class F>
void with_lanes(std::int64_t block, F f) {
    if (block % 32 == 0)
        f(std::integral_constant<std::int64_t, 32>{});
    else if (block % 8 == 0)
        f(std::integral_constant<std::int64_t, 8>{});
    else
        f(block);
}

/// The hot loops of windows of 2 x 2 see 16-bit floats as the integers they are made of, which the compiler
/// puts twice as many of into a vector.
inline const float* plain(const float* stored) { return stored; }
inline float* plain(float* stored) { return stored; }
template <class T>
const std::uint16_t* plain(const T* stored) {
    return &stored->bits;
}
template <class T>
std::uint16_t* plain(T* stored) {
    return &stored->bits;
}

/// A number with the order of a stored one, T, in as many bits. NaN comes last, and zeros are equal.
template <class T>
constexpr float order_of(float value) {
    return value;
}
template <class T>
constexpr std::int16_t order_of(std::uint16_t bits) {
    constexpr auto infinity = static_cast<std::int16_t>(infinity_bits<T>);
    const auto magnitude = static_cast<std::int16_t>(bits & 0x7fff);
    const auto negative = static_cast<std::int16_t>(-magnitude);
    const std::int16_t order = static_cast<std::int16_t>(bits) < 0 ? negative : magnitude;
    return magnitude > infinity ? std::int16_t{0x7fff} : order;
}
constexpr bool replaces(std::int16_t candidate, std::int16_t best) { return candidate > best; }

/// Two rows of inputs to one row of outputs, windows of 2 x 2 side by side, `rectified` or not. \tparam T
/// what is stored as Plain \tparam Saves whether positions are \param top, below (2 * columns, block)
/// \param y, saved (columns, block)
template <class T, bool Saves, class Plain, class Lanes>
void max_row_2x2(const Plain* __restrict top, const Plain* __restrict below, Plain* __restrict y,
                 std::uint8_t* __restrict saved, int columns, std::int64_t block, bool rectified,
                 Lanes lanes) {
    using Position = std::conditional_t<sizeof(Plain) == 4, int, std::int16_t>;
    using Order = decltype(order_of<T>(Plain{}));
    // What is there before the window: 0, or what any number replaces (of infinities the first one stands).
    Plain least{};
    Order order_of_least{};
    Position nowhere = no_position;
    if (!rectified) {
        nowhere = 0;
        if constexpr (sizeof(Plain) == 4)
            order_of_least = least = -std::numeric_limits<float>::infinity();
        else
            order_of_least = std::numeric_limits<Order>::lowest();
    }
    for (int column = 0; column < columns; ++column, top += block, below += block)
        for (std::int64_t first = 0; first < block; first += lanes) {
            PLIMSOLL_SIMD
            for (std::int64_t c = 0; c < lanes; ++c) {
                Plain value = least;
                Order best = order_of_least;
                Position position = nowhere;
                const auto compare = [&](Plain candidate, Position at) {
                    const auto order = order_of<T>(candidate);
                    const bool larger = replaces(order, best);
                    position = larger ? at : position;
                    value = larger ? candidate : value;
                    best = larger ? order : best;
                };
                compare(top[c], 0);
                compare(top[c + block], 1);
                compare(below[c], 2);
                compare(below[c + block], 3);
                y[c] = value;
                if constexpr (Saves) saved[c] = static_cast<std::uint8_t>(position);
            }
            top += lanes, below += lanes, y += lanes;
            if constexpr (Saves) saved += lanes;
        }
}

/// One row of output gradients to two rows of input gradients.
template <class Plain, class Lanes>
void scatter_row_2x2(const Plain* __restrict dy, const std::uint8_t* __restrict saved, Plain* __restrict top,
                     Plain* __restrict below, int columns, std::int64_t block, Lanes lanes) {
    using Position = std::conditional_t<sizeof(Plain) == 4, int, std::int16_t>;
    const auto window = [&] {
        PLIMSOLL_SIMD
        for (std::int64_t c = 0; c < lanes; ++c) {
            const Plain gradient = dy[c];
            const Position position = saved[c];
            top[c] = only_if(position == 0, gradient);
            top[c + block] = only_if(position == 1, gradient);
            below[c] = only_if(position == 2, gradient);
            below[c + block] = only_if(position == 3, gradient);
        }
    };
    for (int column = 0; column < columns; ++column, top += block, below += block)
        for (std::int64_t c = 0; c < block; c += lanes) {
            window();
            top += lanes, below += lanes, dy += lanes, saved += lanes;
        }
}

// The loops of general windows, over a run of channels.

/// best = max(best, in), and where it came from.
template <class T>
void take_larger(float* __restrict best, int* __restrict position, const T* __restrict in, int tap,
                 std::int64_t size) {
    PLIMSOLL_SIMD
    for (std::int64_t c = 0; c < size; ++c) {
        const float value = to_float(in[c]), before = best[c];
        const int from = position[c];
        position[c] = replaces(value, before) ? tap : from;
        best[c] = replaces(value, before) ? value : before;
    }
}

/// sum += in where the maximum came from `tap`.
template <class T>
void add_where(float* __restrict sum, const T* __restrict in, const std::uint8_t* __restrict saved, int tap,
               std::int64_t size) {
    PLIMSOLL_SIMD
    for (std::int64_t c = 0; c < size; ++c) sum[c] += only_if(saved[c] == tap, to_float(in[c]));
}

/// sum += factor in.
template <class T>
void add_scaled(float* __restrict sum, const T* __restrict in, float factor, std::int64_t size) {
    PLIMSOLL_SIMD
    for (std::int64_t c = 0; c < size; ++c) sum[c] += to_float(in[c]) * factor;
}

/// Channels that a general window works on at once, in local memory.
inline constexpr std::int64_t channel_tile = 64;

/// Calls f(first, size) for runs of channels that fit a tile.
template <class F>
void for_channel_tiles(std::int64_t block, F f) {
    for (std::int64_t first = 0; first < block; first += channel_tile)
        f(first, std::min(channel_tile, block - first));
}

/// One output pixel: the largest of each channel over a window's taps, `rectified` or not. \param saved may
/// be null
template <class T>
void max_pixel(const PoolGeometry& at, int row, int column, bool rectified, const T* x, T* y,
               std::uint8_t* saved) {
    for_channel_tiles(at.block, [&](std::int64_t start, std::int64_t size) {
        float best[channel_tile];
        int position[channel_tile];
        bool first = true;
        at.for_taps(row, column, [&](std::int64_t offset, int tap) {
            const T* in = x + offset + start; // (size)
            if (first) {
                convert(in, best, size);
                std::fill_n(position, size, tap);
            } else {
                take_larger(best, position, in, tap, size);
            }
            first = false;
        });
        for (std::int64_t c = 0; c < size && rectified; ++c) {
            if (!(best[c] <= 0)) continue; // NaN passes
            best[c] = 0;
            position[c] = no_position;
        }
        convert(best, y + start, size);
        for (std::int64_t c = 0; c < size && saved != nullptr; ++c)
            saved[start + c] = static_cast<std::uint8_t>(position[c]);
    });
}

/// One output pixel: the mean of each channel over a window's taps, padding counted.
template <class T>
void average_pixel(const PoolGeometry& at, int row, int column, const T* x, T* y) {
    for_channel_tiles(at.block, [&](std::int64_t start, std::int64_t size) {
        float sum[channel_tile] = {};
        at.for_taps(row, column,
                    [&](std::int64_t offset, int) { add_scaled(sum, x + offset + start, 1.0f, size); });
        for (std::int64_t c = 0; c < size; ++c) sum[c] *= at.share();
        convert(sum, y + start, size);
    });
}

/// One input pixel's gradient: the sum over the windows that hold it, in float whatever is stored.
/// \param saved where each window's maximum came from; null for a mean
template <class T>
void gather_pixel(const PoolGeometry& at, int y, int x, const T* dy, const std::uint8_t* saved, T* dx) {
    for_channel_tiles(at.block, [&](std::int64_t start, std::int64_t size) {
        float sum[channel_tile] = {};
        at.for_windows(y, x, [&](std::int64_t offset, int tap) {
            if (saved != nullptr)
                add_where(sum, dy + offset + start, saved + offset + start, tap, size);
            else
                add_scaled(sum, dy + offset + start, at.share(), size);
        });
        convert(sum, dx + start, size);
    });
}

} // namespace detail

} // namespace plimsoll::inline PLIMSOLL_ABI
