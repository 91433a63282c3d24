#pragma once
// In place of the library's header: see emulation.hpp.
#include "../../../emulation.hpp"

#include <plimsoll/core/storage.hpp>

#include <cstdint>
#include <cstring>

namespace plimsoll::inline PLIMSOLL_ABI::detail {

template <class T>
struct WarpProduct {
    static constexpr int depth = 32 / static_cast<int>(sizeof(T));
    static constexpr bool pairs = sizeof(T) == 2;
    static int place(int pair, int half) { return pairs ? 2 * pair + 8 * half : pair + 4 * half; }

    static void multiply_add(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
        struct Words {
            std::uint32_t a[4], b[2];
        };
        const uint3 own = threadIdx;
        Words mine{};
        std::memcpy(mine.a, a, sizeof a);
        std::memcpy(mine.b, b, sizeof b);
        const auto* words = static_cast<const Words*>(emulation::share_in_warp(&mine, sizeof mine));
        threadIdx = own;
        const int lane = static_cast<int>(own.x) % 32;
        for (int i = 0; i < 4; ++i) {
            const int row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
            double sum = static_cast<double>(d[i]);
            for (int half = 0; half < 2; ++half)
                for (int pair = 0; pair < 4; ++pair)
                    for (int k = 0; k < (pairs ? 2 : 1); ++k)
                        sum +=
                            static_cast<double>(number(words[row % 8 * 4 + pair].a[row / 8 + 2 * half], k)) *
                            static_cast<double>(number(words[column * 4 + pair].b[half], k));
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
