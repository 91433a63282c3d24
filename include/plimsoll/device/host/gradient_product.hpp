#pragma once
/// \file
/// What the ways that make a weight gradient by matrix products share.

#include <plimsoll/core/units.hpp>
#include <plimsoll/device/host/onednn.hpp>

#if PLIMSOLL_WITH_ONEDNN

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI::detail {

/// A product that makes a gradient or adds to one, with operands for each worker.
class GradientProduct {
  public:
    /// \param most_scratch bytes of the library's workspace
    GradientProduct(const onednn::Desc& x, const onednn::Desc& dy, const onednn::Desc& dw, int workers,
                    std::int64_t most_scratch, const std::string& where)
        : product_(onednn::Primitive::product(x, dy, dw, false, most_scratch, where)),
          sum_(onednn::Primitive::product(x, dy, dw, true, most_scratch, where)) {
        if (!*this) return;
        for (int worker = 0; worker < std::max(workers, 1); ++worker)
            for (const onednn::Primitive* made : {&product_, &sum_})
                operands_.emplace_back(*made,
                                       std::initializer_list<onednn::Operands::Operand>{
                                           {DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, dy}, {DNNL_ARG_DST, dw}});
    }
    GradientProduct(GradientProduct&&) = delete; // operands point to their product

    /// Whether the library has a fast way within the limit.
    [[nodiscard]] explicit operator bool() const { return product_ && sum_; }
    [[nodiscard]] std::int64_t scratch() const { return std::max(product_.scratch(), sum_.scratch()); }
    [[nodiscard]] std::string_view implementation() const { return sum_.implementation(); }

    void run(int worker, bool add, const void* x, const void* dy, float* dw, void* workspace) {
        operands_[static_cast<std::size_t>(2 * worker + (add ? 1 : 0))].run({x, dy, dw}, workspace);
    }

  private:
    onednn::Primitive product_, sum_;
    std::vector<onednn::Operands> operands_; ///< of a worker: to make a gradient, and to add to one
};

/// How products of 16 bits take their right operand, (pixels, F), without copying it: filters in blocks, and
/// of a block (pixels / 32, 16, filters, 2), two pixels beside each other, with zeros behind both. There is
/// none for floats. \tparam T float or bfloat16
template <class T>
struct PackedPairs {
    /// What is copied: compilers know its vectors.
    using Word = std::conditional_t<sizeof(T) == 2, std::uint16_t, T>;
    static constexpr int depth = 32; ///< pixels that are multiplied at a time

    static constexpr int block_of(std::int64_t filters) {
        return filters <= 16 ? 16 : filters <= 32 ? 32 : 64;
    }
    static onednn::Desc format(std::int64_t pixels, std::int64_t filters) {
        if constexpr (sizeof(T) == 4) return {};
        const int block = block_of(filters);
        return onednn::tagged<T>({pixels, filters}, block == 16   ? dnnl_BA16a16b2a
                                                    : block == 32 ? dnnl_BA16a32b2a
                                                                  : dnnl_BA16a64b2a);
    }
    /// \param dy (pixels, F)
    static void pack([[maybe_unused]] const Word* dy, [[maybe_unused]] std::int64_t pixels,
                     [[maybe_unused]] std::int64_t filters, [[maybe_unused]] std::uint32_t* pairs) {
        if constexpr (sizeof(T) == 2) {
            const int block = block_of(filters);
            if (block == 16) return pack_blocks<16>(dy, pixels, filters, pairs);
            if (block == 32) return pack_blocks<32>(dy, pixels, filters, pairs);
            pack_blocks<64>(dy, pixels, filters, pairs);
        }
    }

  private:
    template <int Block>
    static void pack_blocks(const Word* dy, std::int64_t pixels, std::int64_t filters,
                            std::uint32_t* __restrict pairs) {
        const auto pair = [](Word first, Word second) {
            return first | static_cast<std::uint32_t>(second) << 16;
        };
        for (std::int64_t first = 0; first < filters; first += Block) {
            const auto count = static_cast<int>(std::min<std::int64_t>(Block, filters - first));
            for (std::int64_t pixel = 0; pixel < round_up(pixels, depth); pixel += 2, pairs += Block) {
                const Word* __restrict one = dy + pixel * filters + first;
                const Word* __restrict next = one + filters;
                if (count == Block && pixel + 1 < pixels) {
                    PLIMSOLL_SIMD
                    for (int f = 0; f < Block; ++f) pairs[f] = pair(one[f], next[f]);
                    continue;
                }
                for (int f = 0; f < Block; ++f)
                    pairs[f] = pair(f < count && pixel < pixels ? one[f] : Word{},
                                    f < count && pixel + 1 < pixels ? next[f] : Word{});
            }
        }
    }
};

} // namespace plimsoll::inline PLIMSOLL_ABI::detail

#endif
