#pragma once
/// \file
/// Pooling, vectorised over the innermost channels of any layout.

#include <plimsoll/device/host/loops.hpp>

#include <algorithm>
#include <bit>
#include <cstdint>
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
};

/// Whether `candidate` replaces `best`: the first of equals stays, and NaN passes.
constexpr bool replaces(float candidate, float best) { return (candidate > best) | (candidate != candidate); }

/// `value` or 0, without a branch: one would keep the loop around it from being vectorised.
constexpr float only_if(bool keep, float value) {
    return std::bit_cast<float>(std::bit_cast<std::int32_t>(value) & -std::int32_t{keep});
}

/// Calls f with the number of innermost channels, as a constant where that lets the compiler unroll.
template <class F>
void with_block(std::int64_t block, F f) {
    if (block == 16)
        f(std::integral_constant<std::int64_t, 16>{});
    else if (block == 8)
        f(std::integral_constant<std::int64_t, 8>{});
    else
        f(block);
}

/// Two rows of inputs to one row of outputs, windows of 2 x 2 side by side.
/// \param top, below (2 * columns, block)  \param y, saved (columns, block)
template <class Block>
void max_row_2x2(const float* __restrict top, const float* __restrict below, float* __restrict y,
                 std::uint8_t* __restrict saved, int columns, Block block) {
    for (int column = 0; column < columns; ++column) {
        PLIMSOLL_SIMD
        for (std::int64_t c = 0; c < block; ++c) {
            const float second = top[c + block], third = below[c], fourth = below[c + block];
            float best = top[c];
            int position = 0;
            position = replaces(second, best) ? 1 : position;
            best = replaces(second, best) ? second : best;
            position = replaces(third, best) ? 2 : position;
            best = replaces(third, best) ? third : best;
            position = replaces(fourth, best) ? 3 : position;
            best = replaces(fourth, best) ? fourth : best;
            y[c] = best;
            saved[c] = static_cast<std::uint8_t>(position);
        }
        top += 2 * block, below += 2 * block, y += block, saved += block;
    }
}

/// One row of output gradients to two rows of input gradients.
template <class Block>
void scatter_row_2x2(const float* __restrict dy, const std::uint8_t* __restrict saved, float* __restrict top,
                     float* __restrict below, int columns, Block block) {
    for (int column = 0; column < columns; ++column) {
        PLIMSOLL_SIMD
        for (std::int64_t c = 0; c < block; ++c) {
            const float gradient = dy[c];
            const int position = saved[c];
            top[c] = only_if(position == 0, gradient);
            top[c + block] = only_if(position == 1, gradient);
            below[c] = only_if(position == 2, gradient);
            below[c + block] = only_if(position == 3, gradient);
        }
        top += 2 * block, below += 2 * block, dy += block, saved += block;
    }
}

// The loops of general windows, over a run of channels.

/// best = max(best, in), and where it came from.
inline void take_larger(float* __restrict best, int* __restrict position, const float* __restrict in, int tap,
                        std::int64_t size) {
    PLIMSOLL_SIMD
    for (std::int64_t c = 0; c < size; ++c) {
        const float value = in[c], before = best[c];
        const int from = position[c];
        position[c] = replaces(value, before) ? tap : from;
        best[c] = replaces(value, before) ? value : before;
    }
}

/// out += in where the maximum came from `tap`.
inline void add_where(float* __restrict out, const float* __restrict in, const int* __restrict position,
                      int tap, std::int64_t size) {
    PLIMSOLL_SIMD
    for (std::int64_t c = 0; c < size; ++c) out[c] += only_if(position[c] == tap, in[c]);
}

/// out += factor in.
inline void add_scaled(float* __restrict out, const float* __restrict in, float factor, std::int64_t size) {
    PLIMSOLL_SIMD
    for (std::int64_t c = 0; c < size; ++c) out[c] += in[c] * factor;
}

/// Channels that a general window works on at once, in local memory.
inline constexpr std::int64_t channel_tile = 64;

/// One output pixel: the largest of each channel over a window's taps.
inline void max_pixel(const PoolGeometry& at, int row, int column, const float* x, float* y,
                      std::uint8_t* saved) {
    for (std::int64_t start = 0; start < at.block; start += channel_tile) {
        const std::int64_t size = std::min(channel_tile, at.block - start);
        float best[channel_tile];
        int position[channel_tile];
        bool first = true;
        at.for_taps(row, column, [&](std::int64_t offset, int tap) {
            const float* in = x + offset + start; // (size)
            if (first) {
                std::copy_n(in, size, best);
                std::fill_n(position, size, tap);
            } else {
                take_larger(best, position, in, tap, size);
            }
            first = false;
        });
        std::copy_n(best, size, y + start);
        for (std::int64_t c = 0; c < size; ++c) saved[start + c] = static_cast<std::uint8_t>(position[c]);
    }
}

/// One output pixel's gradient to the inputs that were largest.
inline void scatter_pixel(const PoolGeometry& at, int row, int column, const float* dy,
                          const std::uint8_t* saved, float* dx) {
    for (std::int64_t start = 0; start < at.block; start += channel_tile) {
        const std::int64_t size = std::min(channel_tile, at.block - start);
        int position[channel_tile];
        for (std::int64_t c = 0; c < size; ++c) position[c] = saved[start + c];
        const float* gradient = dy + start; // (size)
        at.for_taps(row, column, [&](std::int64_t offset, int tap) {
            add_where(dx + offset + start, gradient, position, tap, size);
        });
    }
}

} // namespace detail

/// MaxPool and AveragePool. `saved` holds the position of each maximum in its window, in the output's order.
class PoolKernel : public NodeKernel {
  public:
    PoolKernel(const Site& site, const Team&)
        : at_(site), maximum_(site.facts.selects_maximum), tiles_(site.facts.window == Window{2, 2, 0}) {}
    static constexpr Needs needs(const Site&) { return {}; }

    void forward(const Call& call) override {
        const std::int64_t planes = call.count * at_.channel_blocks;
        for (std::int64_t plane = 0; plane < planes; ++plane) {
            const float* x =
                static_cast<const float*>(call.input) + plane * at_.input_plane();    // (H, W, block)
            float* y = static_cast<float*>(call.output) + plane * at_.output_plane(); // (H', W', block)
            auto* saved =
                static_cast<std::uint8_t*>(call.saved) + plane * at_.output_plane() * (maximum_ ? 1 : 0);
            for (int row = 0; row < at_.rows; ++row) {
                if (maximum_ && tiles_) {
                    const float* top = x + std::int64_t{2} * row * at_.width * at_.block;
                    const std::int64_t to = std::int64_t{row} * at_.columns * at_.block;
                    detail::with_block(at_.block, [&](auto block) {
                        detail::max_row_2x2(top, top + at_.width * block, y + to, saved + to, at_.columns,
                                            block);
                    });
                    continue;
                }
                for (int column = 0; column < at_.columns; ++column) {
                    const std::int64_t to = (std::int64_t{row} * at_.columns + column) * at_.block;
                    if (maximum_)
                        detail::max_pixel(at_, row, column, x, y + to, saved + to);
                    else
                        average_pixel(row, column, x, y + to);
                }
            }
        }
    }

    void backward(const Call& call) override {
        const std::int64_t planes = call.count * at_.channel_blocks;
        for (std::int64_t plane = 0; plane < planes; ++plane) {
            const float* dy = static_cast<const float*>(call.output_gradient) + plane * at_.output_plane();
            float* dx = static_cast<float*>(call.input_gradient) + plane * at_.input_plane();
            const auto* saved = static_cast<const std::uint8_t*>(call.saved) +
                                plane * at_.output_plane() * (maximum_ ? 1 : 0);
            if (maximum_ && tiles_)
                scatter_tiles(dy, saved, dx);
            else
                scatter(dy, saved, dx);
        }
    }

  private:
    [[nodiscard]] float share() const {
        return 1.0f / static_cast<float>(at_.window.kernel * at_.window.kernel);
    }

    void average_pixel(int row, int column, const float* x, float* y) const {
        std::fill_n(y, at_.block, 0.0f);
        at_.for_taps(row, column,
                     [&](std::int64_t offset, int) { detail::add_scaled(y, x + offset, 1.0f, at_.block); });
        const float factor = share();
        for (std::int64_t c = 0; c < at_.block; ++c) y[c] *= factor;
    }

    /// Windows of 2 x 2 that touch each input once; an odd last row or column belongs to none.
    void scatter_tiles(const float* dy, const std::uint8_t* saved, float* dx) const {
        const std::int64_t line = at_.width * at_.block, odd = (at_.width - 2 * at_.columns) * at_.block;
        for (int row = 0; row < at_.rows; ++row) {
            const std::int64_t from = std::int64_t{row} * at_.columns * at_.block;
            float* top = dx + 2 * row * line;
            detail::with_block(at_.block, [&](auto block) {
                detail::scatter_row_2x2(dy + from, saved + from, top, top + line, at_.columns, block);
            });
            std::fill_n(top + line - odd, odd, 0.0f);
            std::fill_n(top + 2 * line - odd, odd, 0.0f);
        }
        std::fill_n(dx + 2 * at_.rows * line, (at_.height - 2 * at_.rows) * line, 0.0f);
    }

    void scatter(const float* dy, const std::uint8_t* saved, float* dx) const {
        std::fill_n(dx, at_.input_plane(), 0.0f);
        const float factor = share();
        for (int row = 0; row < at_.rows; ++row)
            for (int column = 0; column < at_.columns; ++column) {
                const std::int64_t from = (std::int64_t{row} * at_.columns + column) * at_.block;
                if (maximum_) {
                    detail::scatter_pixel(at_, row, column, dy + from, saved + from, dx);
                    continue;
                }
                const float* gradient = dy + from; // (block)
                at_.for_taps(row, column, [&](std::int64_t offset, int) {
                    detail::add_scaled(dx + offset, gradient, factor, at_.block);
                });
            }
    }

    detail::PoolGeometry at_;
    bool maximum_;
    bool tiles_; ///< the hot case: windows of 2 x 2, side by side
};

/// Mean of each channel, summed in double: (N, H, W, C) to (N, C).
class GlobalAveragePoolKernel : public NodeKernel {
  public:
    GlobalAveragePoolKernel(const Site& site, const Team&)
        : pixels_(site.input.pixels()),
          block_(site.input_layout.block),
          channel_blocks_(site.input.channels / site.input_layout.block) {}
    static constexpr Needs needs(const Site&) { return {}; }

    void forward(const Call& call) override {
        constexpr std::int64_t tile = 64;
        for (std::int64_t plane = 0; plane < call.count * channel_blocks_; ++plane) {
            const float* x =
                static_cast<const float*>(call.input) + plane * pixels_ * block_; // (H, W, block)
            float* y = static_cast<float*>(call.output) + plane * block_;         // (block)
            for (std::int64_t first = 0; first < block_; first += tile) {
                const std::int64_t size = std::min(tile, block_ - first);
                double sums[tile] = {};
                for (std::int64_t pixel = 0; pixel < pixels_; ++pixel) {
                    const float* __restrict in = x + pixel * block_ + first;
                    PLIMSOLL_SIMD
                    for (std::int64_t c = 0; c < size; ++c) sums[c] += static_cast<double>(in[c]);
                }
                for (std::int64_t c = 0; c < size; ++c)
                    y[first + c] = static_cast<float>(sums[c] / static_cast<double>(pixels_));
            }
        }
    }

    void backward(const Call& call) override {
        const float pixels = static_cast<float>(pixels_);
        for (std::int64_t plane = 0; plane < call.count * channel_blocks_; ++plane) {
            const float* __restrict dy = static_cast<const float*>(call.output_gradient) + plane * block_;
            float* __restrict dx = static_cast<float*>(call.input_gradient) + plane * pixels_ * block_;
            for (std::int64_t pixel = 0; pixel < pixels_; ++pixel) PLIMSOLL_SIMD
            for (std::int64_t c = 0; c < block_; ++c) dx[pixel * block_ + c] = dy[c] / pixels;
        }
    }

  private:
    std::int64_t pixels_, block_, channel_blocks_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
