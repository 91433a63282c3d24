#pragma once
// In place of the library's header: see emulation.hpp.
#include "../../../emulation.hpp"

#include <plimsoll/core/storage.hpp>

#include <cstdint>

namespace plimsoll::inline PLIMSOLL_ABI::detail {

template <class T>
struct WarpProduct {
    static constexpr int depth = 32 / static_cast<int>(sizeof(T));
    static constexpr bool pairs = sizeof(T) == 2;
    static int place(int pair, int half) { return pairs ? 2 * pair + 8 * half : pair + 4 * half; }

    static void multiply_add(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
        constexpr int in_word = pairs ? 2 : 1;
        struct Factors {
            float a[4][2], b[2][2];
        };
        const uint3 own = threadIdx;
        Factors mine{};
        for (int k = 0; k < in_word; ++k) {
            for (int r = 0; r < 4; ++r) mine.a[r][k] = number(a[r], k);
            for (int r = 0; r < 2; ++r) mine.b[r][k] = number(b[r], k);
        }
        const auto* of_warp = static_cast<const Factors*>(emulation::share_in_warp(&mine, sizeof mine));
        const int lane = static_cast<int>(own.x) % 32;
        for (int i = 0; i < 4; ++i) {
            const int row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
            double sum = static_cast<double>(d[i]);
            for (int pair = 0; pair < 4; ++pair)
                for (int half = 0; half < 2; ++half) {
                    const float(&left)[2] = of_warp[row % 8 * 4 + pair].a[row / 8 + 2 * half];
                    const float(&right)[2] = of_warp[column * 4 + pair].b[half];
                    for (int k = 0; k < in_word; ++k)
                        sum += static_cast<double>(left[k]) * static_cast<double>(right[k]);
                }
            d[i] = static_cast<float>(sum);
        }
        emulation::warp_barrier(); // nobody shares anew before all have read
        threadIdx = own;
    }

  private:
    static float number(std::uint32_t word, int which) {
        if constexpr (pairs)
            return to_float(T{static_cast<std::uint16_t>(word >> (16 * which))});
        else
            return bits_as<float>(word);
    }
};

} // namespace plimsoll::inline PLIMSOLL_ABI::detail
