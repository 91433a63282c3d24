#pragma once
/// \file
/// Between channels-last pictures and the matrices of transformed tiles that Winograd's algorithm multiplies.

#include <plimsoll/device/host/winograd_transforms.hpp>

#include <algorithm>

namespace plimsoll::inline PLIMSOLL_ABI::detail::winograd {

/// Some tiles that are multiplied together: element (i, j) of all of them is a matrix (room, channels).
struct Block {
    std::int64_t first, count;
    std::int64_t room; ///< rows of the matrices, at least `count`

    /// Calls f(tile in the block, picture, row and column of its first pixel).
    template <class F>
    void for_tiles(const Tiling& tiling, F f) const {
        std::int64_t picture = first / tiling.of_picture();
        const auto within = static_cast<int>(first % tiling.of_picture());
        int row = within / tiling.columns(), column = within % tiling.columns();
        for (std::int64_t tile = 0; tile < count; ++tile) {
            f(tile, picture, 2 * row, 2 * column);
            if (++column < tiling.columns()) continue;
            column = 0;
            if (++row < tiling.rows()) continue;
            row = 0;
            ++picture;
        }
    }
    /// Zeros to the rows behind the last tile: what is summed over tiles reads them.
    template <class E>
    void clear_rest(E* matrices, std::int64_t channels) const {
        for (int i = 0; i < elements && count < room; ++i)
            std::fill_n(matrices + (i * room + count) * channels, (room - count) * channels, E{});
    }
};

/// The 4 x 4 pixels around each tile, zeros beyond the picture, to the tile's elements.
/// \param x pictures (H, W, C) of the tiling \param before pixels by which patches begin before their tile
/// \param turned see Tile
template <class T, class E>
void from_pictures(const T* x, Shape shape, const Tiling& tiling, const Block& block, int before, bool turned,
                   E* matrices) {
    const std::int64_t channels = shape.channels, row_length = shape.width * channels;
    block.for_tiles(tiling, [&](std::int64_t tile, std::int64_t picture, int row, int column) {
        const int top = row - before, left = column - before;
        const std::int64_t corner = picture * shape.size() + top * row_length + left * channels;
        const int first_i = std::max(0, -top), end_i = std::min(4, shape.height - top);
        const int first_j = std::max(0, -left), end_j = std::min(4, shape.width - left);
        const bool inside = first_i == 0 && first_j == 0 && end_i == 4 && end_j == 4;
        for (std::int64_t c = 0; c < channels; c += at_once) {
            const Tile<E> to{matrices + tile * channels + c, block.room * channels, turned};
            if (inside) {
                transform_input(Pixels<const T>{x + corner + c, row_length, channels}, to);
                continue;
            }
            T patch[16 * at_once]{}; // (4, 4, at_once)
            for (int i = first_i; i < end_i; ++i)
                for (int j = first_j; j < end_j; ++j)
                    std::copy_n(x + corner + i * row_length + j * channels + c, at_once,
                                patch + (4 * i + j) * at_once);
            transform_input(Pixels<const T>{patch, 4 * at_once, at_once}, to);
        }
    });
}

/// Tiles' elements to their pixels. \param bias (C), or null \param y pictures (H, W, C) of the tiling
template <class T>
void to_pictures(const float* matrices, const Tiling& tiling, const Block& block, bool turned,
                 const float* bias, T* y) {
    static constexpr float zeros[at_once]{};
    const Shape shape = tiling.shape;
    const std::int64_t channels = shape.channels, row_length = shape.width * channels;
    block.for_tiles(tiling, [&](std::int64_t tile, std::int64_t picture, int row, int column) {
        T* corner = y + picture * shape.size() + row * row_length + column * channels;
        const int rows = std::min(2, shape.height - row), columns = std::min(2, shape.width - column);
        for (std::int64_t c = 0; c < channels; c += at_once) {
            const Tile<const float> from{matrices + tile * channels + c, block.room * channels, turned};
            const float* more = bias == nullptr ? zeros : bias + c;
            if (rows == 2 && columns == 2) {
                transform_to_outputs(from, more, Pixels<T>{corner + c, row_length, channels});
                continue;
            }
            T patch[4 * at_once]; // (2, 2, at_once)
            transform_to_outputs(from, more, Pixels<T>{patch, 2 * at_once, at_once});
            for (int i = 0; i < rows; ++i)
                for (int j = 0; j < columns; ++j)
                    std::copy_n(patch + (2 * i + j) * at_once, at_once,
                                corner + i * row_length + j * channels + c);
        }
    });
}

/// Gradients of tiles' pixels, zeros beyond the picture, to gradients of their elements.
/// \param dy pictures (H, W, C) of the tiling
template <class T, class E>
void from_output_gradients(const T* dy, const Tiling& tiling, const Block& block, E* matrices) {
    const Shape shape = tiling.shape;
    const std::int64_t channels = shape.channels, row_length = shape.width * channels;
    block.for_tiles(tiling, [&](std::int64_t tile, std::int64_t picture, int row, int column) {
        const T* corner = dy + picture * shape.size() + row * row_length + column * channels;
        const int rows = std::min(2, shape.height - row), columns = std::min(2, shape.width - column);
        for (std::int64_t c = 0; c < channels; c += at_once) {
            const Tile<E> to{matrices + tile * channels + c, block.room * channels};
            if (rows == 2 && columns == 2) {
                transform_output_gradient(Pixels<const T>{corner + c, row_length, channels}, to);
                continue;
            }
            T patch[4 * at_once]{}; // (2, 2, at_once)
            for (int i = 0; i < rows; ++i)
                for (int j = 0; j < columns; ++j)
                    std::copy_n(corner + i * row_length + j * channels + c, at_once,
                                patch + (2 * i + j) * at_once);
            transform_output_gradient(Pixels<const T>{patch, 2 * at_once, at_once}, to);
        }
    });
}

} // namespace plimsoll::inline PLIMSOLL_ABI::detail::winograd
