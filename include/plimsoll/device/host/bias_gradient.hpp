#pragma once
/// \file
/// The gradient of a convolution's bias.

#include <plimsoll/core/storage.hpp>

#include <algorithm>
#include <cstdint>

namespace plimsoll::inline PLIMSOLL_ABI::detail {

/// Adds the sums over all pixels, of a picture four at a time, then of the pictures.
/// \param dy (images, pixels, F) \param of_picture (F), workspace \param bias (F)
template <class T>
void add_bias_gradient(const T* __restrict dy, int images, std::int64_t pixels, std::int64_t filters,
                       float* __restrict of_picture, float* __restrict bias) {
    float* __restrict sum = of_picture;
    for (int picture = 0; picture < images; ++picture) {
        std::fill_n(sum, filters, 0.0f);
        std::int64_t left = pixels;
        for (; left >= 4; left -= 4, dy += 4 * filters) {
            PLIMSOLL_SIMD
            for (std::int64_t f = 0; f < filters; ++f)
                sum[f] += (to_float(dy[f]) + to_float(dy[filters + f])) +
                          (to_float(dy[2 * filters + f]) + to_float(dy[3 * filters + f]));
        }
        for (; left > 0; --left, dy += filters) {
            PLIMSOLL_SIMD
            for (std::int64_t f = 0; f < filters; ++f) sum[f] += to_float(dy[f]);
        }
        PLIMSOLL_SIMD
        for (std::int64_t f = 0; f < filters; ++f) bias[f] += sum[f];
    }
}

} // namespace plimsoll::inline PLIMSOLL_ABI::detail
