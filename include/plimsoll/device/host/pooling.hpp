#pragma once
/// \file
/// Pooling.

#include <plimsoll/device/host/pool_loops.hpp>

#include <algorithm>
#include <cstdint>

namespace plimsoll::inline PLIMSOLL_ABI {

/// MaxPool and AveragePool. `saved` holds the position of each maximum in its window, in the output's order,
/// where there is training.
template <class T>
class PoolKernel : public NodeKernel {
  public:
    PoolKernel(const Site& site, const Team&)
        : at_(site), maximum_(site.facts.selects_maximum), tiles_(site.facts.window == Window{2, 2, 0}) {}
    static constexpr Needs needs(const Site&) { return {}; }

    bool rectify() override { return rectified_ = maximum_; }

    // From the end on: what the layer before wrote last is still in the cache, where a whole picture is not.
    void forward(const Call& call) override {
        for (std::int64_t plane = call.count * at_.channel_blocks; plane-- > 0;) {
            const T* x = static_cast<const T*>(call.input) + plane * at_.input_plane(); // (H, W, block)
            T* y = static_cast<T*>(call.output) + plane * at_.output_plane();           // (H', W', block)
            std::uint8_t* saved = call.training ? saved_of(call, plane) : nullptr;
            for (int row = at_.rows; row-- > 0;) {
                if (maximum_ && tiles_) {
                    if (saved != nullptr)
                        select_tiles<true>(x, row, y, saved);
                    else
                        select_tiles<false>(x, row, y, saved);
                    continue;
                }
                for (int column = 0; column < at_.columns; ++column) {
                    const std::int64_t to = (std::int64_t{row} * at_.columns + column) * at_.block;
                    if (maximum_)
                        detail::max_pixel(at_, row, column, rectified_, x, y + to,
                                          saved != nullptr ? saved + to : nullptr);
                    else
                        detail::average_pixel(at_, row, column, x, y + to);
                }
            }
        }
    }

    void backward(const Call& call) override {
        const std::int64_t planes = call.count * at_.channel_blocks;
        for (std::int64_t plane = 0; plane < planes; ++plane) {
            const T* dy = static_cast<const T*>(call.output_gradient) + plane * at_.output_plane();
            T* dx = static_cast<T*>(call.input_gradient) + plane * at_.input_plane();
            const std::uint8_t* saved = saved_of(call, plane);
            if (maximum_ && tiles_) {
                scatter_tiles(dy, saved, dx);
                continue;
            }
            for (int y = 0; y < at_.height; ++y)
                for (int x = 0; x < at_.width; ++x)
                    detail::gather_pixel(at_, y, x, dy, saved,
                                         dx + (std::int64_t{y} * at_.width + x) * at_.block);
        }
    }

  private:
    [[nodiscard]] std::uint8_t* saved_of(const Call& call, std::int64_t plane) const {
        return maximum_ ? static_cast<std::uint8_t*>(call.saved) + plane * at_.output_plane() : nullptr;
    }

    /// A row of outputs from windows of 2 x 2. \tparam Saves whether positions are
    template <bool Saves>
    void select_tiles(const T* x, int row, T* y, std::uint8_t* saved) const {
        const T* top = x + std::int64_t{2} * row * at_.width * at_.block;
        const std::int64_t to = std::int64_t{row} * at_.columns * at_.block;
        detail::with_lanes(at_.block, [&](auto lanes) {
            detail::max_row_2x2<T, Saves>(detail::plain(top), detail::plain(top + at_.width * at_.block),
                                          detail::plain(y + to), Saves ? saved + to : nullptr, at_.columns,
                                          at_.block, rectified_, lanes);
        });
    }

    /// Windows of 2 x 2 that touch each input once; an odd last row or column belongs to none.
    void scatter_tiles(const T* dy, const std::uint8_t* saved, T* dx) const {
        const std::int64_t line = at_.width * at_.block, odd = (at_.width - 2 * at_.columns) * at_.block;
        for (int row = 0; row < at_.rows; ++row) {
            const std::int64_t from = std::int64_t{row} * at_.columns * at_.block;
            T* top = dx + 2 * row * line;
            detail::with_lanes(at_.block, [&](auto lanes) {
                detail::scatter_row_2x2(detail::plain(dy + from), saved + from, detail::plain(top),
                                        detail::plain(top + line), at_.columns, at_.block, lanes);
            });
            std::fill_n(top + line - odd, odd, T{});
            std::fill_n(top + 2 * line - odd, odd, T{});
        }
        std::fill_n(dx + 2 * at_.rows * line, (at_.height - 2 * at_.rows) * line, T{});
    }

    detail::PoolGeometry at_;
    bool maximum_;
    bool tiles_; ///< the hot case: windows of 2 x 2, side by side
    bool rectified_ = false;
};

/// Mean of each channel, summed in double: (N, H, W, C) to (N, C).
template <class T>
class GlobalAveragePoolKernel : public NodeKernel {
  public:
    GlobalAveragePoolKernel(const Site& site, const Team&)
        : pixels_(site.input.pixels()),
          block_(site.input_layout.block),
          channel_blocks_(site.input.channels / site.input_layout.block) {}
    static constexpr Needs needs(const Site&) { return {}; }

    void forward(const Call& call) override {
        for (std::int64_t plane = 0; plane < call.count * channel_blocks_; ++plane) {
            const T* x = static_cast<const T*>(call.input) + plane * pixels_ * block_; // (H, W, block)
            T* y = static_cast<T*>(call.output) + plane * block_;                      // (block)
            detail::for_channel_tiles(block_, [&](std::int64_t first, std::int64_t size) {
                double sums[detail::channel_tile] = {};
                for (std::int64_t pixel = 0; pixel < pixels_; ++pixel) {
                    const T* __restrict in = x + pixel * block_ + first;
                    PLIMSOLL_SIMD
                    for (std::int64_t c = 0; c < size; ++c) sums[c] += static_cast<double>(to_float(in[c]));
                }
                for (std::int64_t c = 0; c < size; ++c)
                    y[first + c] = to<T>(static_cast<float>(sums[c] / static_cast<double>(pixels_)));
            });
        }
    }

    void backward(const Call& call) override {
        const float pixels = static_cast<float>(pixels_);
        for (std::int64_t plane = 0; plane < call.count * channel_blocks_; ++plane) {
            const T* __restrict dy = static_cast<const T*>(call.output_gradient) + plane * block_;
            T* __restrict dx = static_cast<T*>(call.input_gradient) + plane * pixels_ * block_;
            for (std::int64_t pixel = 0; pixel < pixels_; ++pixel) PLIMSOLL_SIMD
            for (std::int64_t c = 0; c < block_; ++c)
                dx[pixel * block_ + c] = to<T>(to_float(dy[c]) / pixels);
        }
    }

  private:
    std::int64_t pixels_, block_, channel_blocks_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
