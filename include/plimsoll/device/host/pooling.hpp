#pragma once
/// \file
/// Pooling, vectorised over the innermost channels of any layout.

#include <plimsoll/device/host/loops.hpp>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// One tensor of `planes` = images x channel blocks, each (H, W, block).
struct PoolGeometry {
    Window window;
    int height, width;         ///< of the input
    int rows, columns;         ///< of the output
    std::int64_t block;        ///< innermost channels
    std::int64_t channel_blocks;

    explicit PoolGeometry(const Site& site)
        : window(site.facts.window), height(site.input.height), width(site.input.width),
          rows(site.output.height), columns(site.output.width), block(site.input_layout.block),
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

/// Two rows of inputs to one row of outputs, windows of 2 x 2 side by side.
/// \param top, below (2 * columns, block)  \param y, saved (columns, block)
inline void max_row_2x2(const float* __restrict top, const float* __restrict below, float* __restrict y,
                        std::uint8_t* __restrict saved, int columns, std::int64_t block) {
    for (int column = 0; column < columns; ++column, top += 2 * block, below += 2 * block, y += block, saved += block) {
#pragma omp simd
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
    }
}

/// One row of output gradients to two rows of input gradients.
inline void scatter_row_2x2(const float* __restrict dy, const std::uint8_t* __restrict saved, float* __restrict top,
                            float* __restrict below, int columns, std::int64_t block) {
    for (int column = 0; column < columns; ++column, top += 2 * block, below += 2 * block, dy += block, saved += block) {
#pragma omp simd
        for (std::int64_t c = 0; c < block; ++c) {
            const float gradient = dy[c];
            const int position = saved[c];
            top[c] = position == 0 ? gradient : 0.0f;
            top[c + block] = position == 1 ? gradient : 0.0f;
            below[c] = position == 2 ? gradient : 0.0f;
            below[c + block] = position == 3 ? gradient : 0.0f;
        }
    }
}

/// One output pixel: the largest of each channel over a window's taps.
inline void max_pixel(const PoolGeometry& at, int row, int column, const float* x, float* __restrict y,
                      std::uint8_t* __restrict saved) {
    bool first = true;
    at.for_taps(row, column, [&](std::int64_t offset, int tap) {
        const float* __restrict in = x + offset; // (block)
        const auto position = static_cast<std::uint8_t>(tap);
        if (first) {
            std::copy_n(in, at.block, y);
            std::fill_n(saved, at.block, position);
        } else {
#pragma omp simd
            for (std::int64_t c = 0; c < at.block; ++c) {
                const bool better = replaces(in[c], y[c]);
                y[c] = better ? in[c] : y[c];
                saved[c] = better ? position : saved[c];
            }
        }
        first = false;
    });
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
            const float* x = static_cast<const float*>(call.input) + plane * at_.input_plane();    // (H, W, block)
            float* y = static_cast<float*>(call.output) + plane * at_.output_plane();              // (H', W', block)
            auto* saved = static_cast<std::uint8_t*>(call.saved) + plane * at_.output_plane() * (maximum_ ? 1 : 0);
            for (int row = 0; row < at_.rows; ++row) {
                if (maximum_ && tiles_) {
                    const float* top = x + std::int64_t{2} * row * at_.width * at_.block;
                    const std::int64_t to = std::int64_t{row} * at_.columns * at_.block;
                    detail::max_row_2x2(top, top + at_.width * at_.block, y + to, saved + to, at_.columns, at_.block);
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
            const auto* saved =
                static_cast<const std::uint8_t*>(call.saved) + plane * at_.output_plane() * (maximum_ ? 1 : 0);
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

    void average_pixel(int row, int column, const float* x, float* __restrict y) const {
        std::fill_n(y, at_.block, 0.0f);
        at_.for_taps(row, column, [&](std::int64_t offset, int) {
            const float* __restrict in = x + offset; // (block)
#pragma omp simd
            for (std::int64_t c = 0; c < at_.block; ++c) y[c] += in[c];
        });
        const float factor = share();
#pragma omp simd
        for (std::int64_t c = 0; c < at_.block; ++c) y[c] *= factor;
    }

    /// Windows of 2 x 2 that touch each input once; an odd last row or column belongs to none.
    void scatter_tiles(const float* dy, const std::uint8_t* saved, float* dx) const {
        const std::int64_t line = at_.width * at_.block, odd = (at_.width - 2 * at_.columns) * at_.block;
        for (int row = 0; row < at_.rows; ++row) {
            const std::int64_t from = std::int64_t{row} * at_.columns * at_.block;
            float* top = dx + 2 * row * line;
            detail::scatter_row_2x2(dy + from, saved + from, top, top + line, at_.columns, at_.block);
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
                const float* __restrict gradient = dy + from;             // (block)
                const std::uint8_t* __restrict positions = saved + from;  // (block)
                at_.for_taps(row, column, [&](std::int64_t offset, int tap) {
                    float* __restrict out = dx + offset; // (block)
                    if (maximum_) {
#pragma omp simd
                        for (std::int64_t c = 0; c < at_.block; ++c)
                            out[c] += positions[c] == tap ? gradient[c] : 0.0f;
                    } else {
#pragma omp simd
                        for (std::int64_t c = 0; c < at_.block; ++c) out[c] += gradient[c] * factor;
                    }
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
        : pixels_(site.input.pixels()), block_(site.input_layout.block),
          channel_blocks_(site.input.channels / site.input_layout.block) {}
    static constexpr Needs needs(const Site&) { return {}; }

    void forward(const Call& call) override {
        constexpr std::int64_t tile = 64;
        for (std::int64_t plane = 0; plane < call.count * channel_blocks_; ++plane) {
            const float* x = static_cast<const float*>(call.input) + plane * pixels_ * block_; // (H, W, block)
            float* y = static_cast<float*>(call.output) + plane * block_;                      // (block)
            for (std::int64_t first = 0; first < block_; first += tile) {
                const std::int64_t size = std::min(tile, block_ - first);
                double sums[tile] = {};
                for (std::int64_t pixel = 0; pixel < pixels_; ++pixel) {
                    const float* __restrict in = x + pixel * block_ + first;
#pragma omp simd
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
            for (std::int64_t pixel = 0; pixel < pixels_; ++pixel)
#pragma omp simd
                for (std::int64_t c = 0; c < block_; ++c) dx[pixel * block_ + c] = dy[c] / pixels;
        }
    }

  private:
    std::int64_t pixels_, block_, channel_blocks_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
