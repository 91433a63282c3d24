#pragma once
/// \file
/// The weight gradient of a convolution as products with patches.

#include <plimsoll/core/units.hpp>
#include <plimsoll/device/host/gradient_product.hpp>
#include <plimsoll/device/host/loops.hpp>
#include <plimsoll/device/host/weight_gradient_way.hpp>

#if PLIMSOLL_WITH_ONEDNN

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>

namespace plimsoll::inline PLIMSOLL_ABI::detail {

/// Products of (K K C + 1, pixels) and (pixels, F), the output gradients of some rows. A row of the left
/// matrix is what one weight meets: rows of the picture, of one channel, from the weight's place in the
/// window on. The last row is ones, for the bias. Channels last alone. \tparam T float or bfloat16: of
/// activations. The gradient is of floats.
///
/// For few channels, which fill little of a vector where the library's convolutions take them innermost; and
/// where the processor multiplies tiles (AMX) for many: gathering costs about what the product does, and both
/// less than the library's way.
template <class T>
class PatchWeightGradient : public WeightGradientWay {
  public:
    /// \param most_scratch bytes of workspace, `gathered_bytes` among them
    PatchWeightGradient(const Site& site, std::int64_t most_scratch, const std::string& where)
        : WeightGradientWay(site) {
        if (site.input_layout != Layout::channels_last(site.input) ||
            site.output_layout != Layout::channels_last(site.output))
            return;
        if (!pays(site)) rows_at_once_ = tiled_rows_at_once(site, most_scratch);
        if (rows_at_once_ == 0) return;
        pieces_[0].pixels = rows_at_once_ * site.output.width;
        pieces_[1].pixels = all_rows(site) % rows_at_once_ * site.output.width;
        is_made_ = std::all_of(pieces_.begin(), pieces_.end(), [&](Piece& piece) {
            const std::int64_t filters = site.output.channels, depth = padded(piece.pixels);
            return piece.pixels == 0 ||
                   make(piece, depth, Pairs::format(depth, filters), true, most_scratch, where) ||
                   (pays(site) && make(piece, piece.pixels, onednn::matrix<T>(piece.pixels, filters), false,
                                       most_scratch, where));
        });
    }

    static constexpr bool pays(const Site& site) {
        return site.input.channels <= most_channels && bytes_of_row(site) <= 4 * most_patch_bytes;
    }
    /// Whether it is worth it for many channels, within the limits of the library's way.
    static bool pays_in_tiles(const Site& site) {
        const Window window = site.facts.window;
        return sizeof(T) == 2 && computes_bfloat16_tiles() && window.stride == 1 && window.kernel > 1 &&
               site.input.channels >= 16 && site.input.channels % channels_at_once == 0 &&
               site.output.channels >= 16;
    }
    /// Workspace to give: ours, and what the library takes, which was measured over AVX-512 and AMX.
    static constexpr std::int64_t wanted_scratch(const Site& site) {
        const std::int64_t rows = rows_at_once(site);
        return gathered_bytes(site, rows) + (sizeof(T) == 4 ? 4096 : packed_bytes(site, rows) + 32768) +
               4 * height(site) * site.output.channels;
    }
    [[nodiscard]] explicit operator bool() const override { return is_made_; }
    [[nodiscard]] onednn::Desc format() const override { return by_taps(site_, site_.output.channels); }
    // The last row of the product, which is there without a bias too.
    [[nodiscard]] std::int64_t bias_offset() const override { return gradient_bytes(); }
    [[nodiscard]] std::int64_t partial_bytes() const override {
        return aligned(4 * height(site_) * site_.output.channels);
    }
    [[nodiscard]] std::int64_t scratch() const override {
        std::int64_t most = 0;
        for (const Piece& piece : pieces_)
            if (piece.product) most = std::max(most, piece.packed_bytes + piece.product->scratch());
        return gathered_bytes(site_, rows_at_once_) + most;
    }
    [[nodiscard]] std::string_view implementation() const override {
        return pieces_[0].product->implementation();
    }

    void run(const Call& call) override {
        float* gradient = floats_at(call.partial);                       // (K K C + 1, F)
        const auto* dy = static_cast<const Word*>(call.output_gradient); // (images, H', W', F)
        const std::int64_t row = std::int64_t{site_.output.width} * site_.output.channels;
        char* scratch = static_cast<char*>(call.scratch);
        auto* patches = reinterpret_cast<Word*>(scratch); // (K K C + 1, depth)
        auto* channels = reinterpret_cast<Word*>(scratch + patch_bytes(site_, rows_at_once_));
        const std::int64_t rows_in_all = all_rows(site_);
        for (std::int64_t first = 0; first < rows_in_all; first += rows_at_once_) {
            const std::int64_t rows = std::min(rows_at_once_, rows_in_all - first);
            const bool add = call.accumulate || first > 0;
            Piece& piece = pieces_[rows == rows_at_once_ ? 0 : 1];
            gather(static_cast<const Word*>(call.input), first, rows, piece.depth, channels, patches);
            const Word* right = dy + first * row;
            char* workspace = scratch + gathered_bytes(site_, rows_at_once_);
            if (piece.packed_bytes > 0) {
                Pairs::pack(right, piece.pixels, site_.output.channels,
                            reinterpret_cast<std::uint32_t*>(workspace));
                right = reinterpret_cast<const Word*>(workspace);
                workspace += piece.packed_bytes;
            }
            piece.product->run(call.worker, add, patches, right, gradient, workspace);
        }
    }

  private:
    static constexpr int most_channels = 4;
    // Patches stay in a core's cache: of few channels in the first, of many in the second, where 256 to 960
    // KiB are as fast.
    static constexpr std::int64_t most_patch_bytes = std::int64_t{68} << 10;
    static constexpr std::int64_t most_tiled_patch_bytes = std::int64_t{640} << 10;
    static constexpr int channels_at_once = 8; ///< that are transposed
    using Pairs = PackedPairs<T>;
    using Word = typename Pairs::Word;

    struct Piece {
        std::int64_t pixels = 0;       ///< 0: there is no such piece
        std::int64_t depth = 0;        ///< of the product: with zeros behind the pixels, as tiles want them
        std::int64_t packed_bytes = 0; ///< of the output gradients; 0: they are taken as they lie
        std::optional<GradientProduct> product;
    };
    /// \param dy output gradients as they lie, or packed \returns whether there is a fast way within the
    /// limit
    bool make(Piece& piece, std::int64_t depth, const onednn::Desc& dy, bool packs, std::int64_t most_scratch,
              const std::string& where) {
        if (dy.get() == nullptr) return false;
        piece.depth = depth;
        piece.packed_bytes = packs ? aligned(onednn::bytes(dy)) : 0;
        const std::int64_t left = most_scratch - gathered_bytes(site_, rows_at_once_) - piece.packed_bytes;
        piece.product.emplace(onednn::matrix<T>(height(site_), depth), dy,
                              onednn::matrix(height(site_), site_.output.channels), site_.lanes, left, where);
        return static_cast<bool>(*piece.product);
    }

    static constexpr std::int64_t padded(std::int64_t pixels) {
        return sizeof(T) == 2 ? round_up(pixels, Pairs::depth) : pixels;
    }
    /// Of the left matrix.
    static constexpr std::int64_t height(const Site& site) {
        const std::int64_t kernel = site.facts.window.kernel;
        return kernel * kernel * site.input.channels + 1;
    }
    /// Of patches, for a row of outputs.
    static constexpr std::int64_t bytes_of_row(const Site& site) {
        return height(site) * site.output.width * std::int64_t{sizeof(T)};
    }
    static constexpr std::int64_t all_rows(const Site& site) {
        return site.images * std::int64_t{site.output.height};
    }
    /// As equal parts of all rows as there can be, of whole tiles where they can be.
    static constexpr std::int64_t rows_at_once(const Site& site) {
        const std::int64_t most = std::max(std::int64_t{1}, most_patch_bytes / bytes_of_row(site));
        const std::int64_t whole = Pairs::depth / std::gcd(Pairs::depth, site.output.width);
        if (sizeof(T) == 2 && whole <= most) return std::min(most / whole * whole, all_rows(site));
        const std::int64_t pieces = (all_rows(site) + most - 1) / most;
        return (all_rows(site) + pieces - 1) / pieces;
    }
    /// Pixels of a row that windows meet, padding among them.
    static constexpr std::int64_t wide(const Site& site) {
        const Window window = site.facts.window;
        return std::int64_t{site.output.width - 1} * window.stride + window.kernel;
    }
    /// For so many rows of outputs: of patches; of pictures by channels, (C, wide) for few of them and else
    /// (C, rows, wide); and of both.
    static constexpr std::int64_t patch_bytes(const Site& site, std::int64_t rows) {
        return aligned(height(site) * padded(rows * site.output.width) * std::int64_t{sizeof(T)});
    }
    static constexpr std::int64_t channel_bytes(const Site& site, std::int64_t rows) {
        const std::int64_t planes = pays(site) ? 1 : plane_rows(site, rows);
        return aligned(site.input.channels * planes * wide(site) * std::int64_t{sizeof(T)});
    }
    static constexpr std::int64_t gathered_bytes(const Site& site, std::int64_t rows) {
        return patch_bytes(site, rows) + channel_bytes(site, rows);
    }
    /// Of a picture, that so many rows of outputs meet.
    static constexpr std::int64_t plane_rows(const Site& site, std::int64_t rows) {
        return std::min<std::int64_t>(rows, site.output.height) + site.facts.window.kernel - 1;
    }
    /// Workspace of ours and, as measured, of the library's product of packed operands.
    static std::int64_t tiled_scratch(const Site& site, std::int64_t rows) {
        return gathered_bytes(site, rows) + packed_bytes(site, rows) + 8192;
    }
    /// Of output gradients, in 16 bits.
    static constexpr std::int64_t packed_bytes(const Site& site, std::int64_t rows) {
        const std::int64_t filters = site.output.channels;
        return aligned(2 * padded(rows * site.output.width) * round_up(filters, Pairs::block_of(filters)));
    }
    /// Equal parts of all rows within the limits; 0: there are none.
    static std::int64_t tiled_rows_at_once(const Site& site, std::int64_t most_scratch) {
        std::int64_t most = std::min(all_rows(site), most_tiled_patch_bytes / bytes_of_row(site));
        while (most > 0 && tiled_scratch(site, most) > most_scratch) --most;
        if (most == 0) return 0;
        const std::int64_t pieces = (all_rows(site) + most - 1) / most;
        return (all_rows(site) + pieces - 1) / pieces;
    }

    /// \param x (images, H, W, C) \param first of all pictures' output rows \param channels workspace
    /// \param patches (K K C + 1, depth), of which `rows` give the first pixels, with zeros behind
    void gather(const Word* x, std::int64_t first, std::int64_t rows, std::int64_t depth, Word* channels,
                Word* patches) const {
        const std::int64_t height = site_.output.height, pixels = rows * site_.output.width;
        for (std::int64_t done = 0; done < rows;) {
            const std::int64_t image = (first + done) / height, top = (first + done) % height;
            const std::int64_t count = std::min(height - top, rows - done);
            const Word* picture = x + image * site_.input.size();
            Word* out = patches + done * site_.output.width;
            done += count;
            if (pays(site_))
                gather_rows(picture, top, count, depth, channels, out);
            else
                gather_planes(picture, top, count, depth, channels, out, depth - (out - patches));
        }
        std::fill_n(patches + (this->height(site_) - 1) * depth, pixels, std::bit_cast<Word>(to<T>(1.0f)));
        if (depth == pixels) return;
        for (std::int64_t row = 0; row < this->height(site_); ++row)
            std::fill_n(patches + row * depth + pixels, depth - pixels, Word{});
    }
    /// A row of the picture at a time. \param x (H, W, C) \param top and count of output rows
    /// \param depth from a row of `patches` to the next
    void gather_rows(const Word* x, std::int64_t top, std::int64_t count, std::int64_t depth, Word* channels,
                     Word* patches) const {
        const Window window = site_.facts.window;
        const std::int64_t size = window.kernel, stride = window.stride, width = site_.output.width;
        for (std::int64_t row = 0; row < (count - 1) * stride + size; ++row) {
            take_row(x, top * stride - window.padding + row, channels);
            // The window's rows i that meet it, each for another row of outputs.
            for (std::int64_t i = row % stride; i < std::min(size, row + 1); i += stride) {
                const std::int64_t output = (row - i) / stride;
                if (output >= count) continue;
                Word* out = patches + i * size * site_.input.channels * depth + output * width;
                for (std::int64_t j = 0; j < size; ++j)
                    for (std::int64_t c = 0; c < site_.input.channels; ++c, out += depth) {
                        const Word* from = channels + c * wide(site_) + j;
                        if (stride == 1)
                            std::copy_n(from, width, out);
                        else
                            for (std::int64_t at = 0; at < width; ++at) out[at] = from[at * stride];
                    }
            }
        }
    }
    /// All rows by channels first, which then are copied a plane at a time: many planes at once would fight
    /// for the same lines of a core's first cache. Copies run over the ends of rows, where there is room:
    /// what follows is written later. \param planes (C, rows, wide) \param room in a row of `patches`
    void gather_planes(const Word* x, std::int64_t top, std::int64_t count, std::int64_t depth, Word* planes,
                       Word* patches, std::int64_t room) const {
        constexpr std::int64_t copied = 64 / sizeof(Word);
        const Window window = site_.facts.window;
        const std::int64_t size = window.kernel, width = site_.output.width, across = wide(site_);
        const std::int64_t rows = count + size - 1, plane = rows * across, run = round_up(width, copied);
        const std::int64_t loose = room < run ? 0 : std::min(count, (room - run) / width + 1);
        for (std::int64_t row = 0; row < rows; ++row)
            take_row_of_many(x, top - window.padding + row, plane, planes + row * across);
        for (std::int64_t i = 0; i < size; ++i)
            for (std::int64_t j = 0; j < size; ++j)
                for (std::int64_t c = 0; c < site_.input.channels; ++c, patches += depth) {
                    const Word* from = planes + c * plane + i * across + j;
                    Word* out = patches;
                    for (std::int64_t row = 0; row < loose; ++row, from += across, out += width)
                        for (std::int64_t at = 0; at < width; at += copied)
                            std::memcpy(out + at, from + at, copied * sizeof(Word));
                    for (std::int64_t row = loose; row < count; ++row, from += across, out += width)
                        std::copy_n(from, width, out);
                }
    }
    /// A row of the picture by channels, zeros beyond it. \param x (H, W, C)
    /// \param plane from a channel to the next \param channels (C, wide)
    void take_row_of_many(const Word* x, std::int64_t y, std::int64_t plane, Word* channels) const {
        const std::int64_t width = site_.input.width, count = site_.input.channels, all = wide(site_);
        const std::int64_t padding = std::min<std::int64_t>(site_.facts.window.padding, all);
        const std::int64_t taken = std::min(width, all - padding);
        const bool is_beyond = y < 0 || y >= site_.input.height;
        for (std::int64_t c = 0; c < count && (is_beyond || taken < all); ++c)
            std::fill_n(channels + c * plane, all, Word{});
        if (is_beyond) return;
        const Word* pixels = x + y * width * count;
        if (taken < channels_at_once) {
            for (std::int64_t c = 0; c < count; ++c)
                for (std::int64_t at = 0; at < taken; ++at)
                    channels[c * plane + padding + at] = pixels[at * count + c];
            return;
        }
        for (std::int64_t c = 0; c < count; c += channels_at_once)
            for (std::int64_t at = 0; at < taken; at += channels_at_once) {
                const std::int64_t from =
                    std::min(at, taken - channels_at_once); // the last may be taken twice
                transpose(pixels + from * count + c, count, channels + c * plane + padding + from, plane);
            }
    }
    /// Eight pixels of eight channels. \param from (8, channels) \param to (8, plane)
    static void transpose([[maybe_unused]] const Word* from, [[maybe_unused]] std::int64_t channels,
                          [[maybe_unused]] Word* to, [[maybe_unused]] std::int64_t plane) {
        if constexpr (sizeof(T) == 2) {
            typedef std::uint16_t Eight __attribute__((vector_size(16)));
            Eight even[8], odd[8];
            for (int pixel = 0; pixel < 8; ++pixel)
                std::memcpy(&even[pixel], from + pixel * channels, sizeof(Eight));
            const auto interleave = [](const Eight* in, Eight* out) { // three times makes columns of rows
                for (int i = 0; i < 4; ++i) {
                    out[2 * i] = __builtin_shufflevector(in[i], in[i + 4], 0, 8, 1, 9, 2, 10, 3, 11);
                    out[2 * i + 1] = __builtin_shufflevector(in[i], in[i + 4], 4, 12, 5, 13, 6, 14, 7, 15);
                }
            };
            interleave(even, odd);
            interleave(odd, even);
            interleave(even, odd);
            for (int channel = 0; channel < 8; ++channel)
                std::memcpy(to + channel * plane, &odd[channel], sizeof(Eight));
        }
    }
    /// A row of the picture by channels, zeros beyond it. \param x (H, W, C) \param channels (C, wide)
    void take_row(const Word* x, std::int64_t y, Word* channels) const {
        if (y < 0 || y >= site_.input.height) {
            std::fill_n(channels, site_.input.channels * wide(site_), Word{});
            return;
        }
        const Word* pixels = x + y * site_.input.width * site_.input.channels;
        switch (site_.input.channels) {
        case 1:
            return take_pixels<1>(pixels, channels);
        case 2:
            return take_pixels<2>(pixels, channels);
        case 3:
            return take_pixels<3>(pixels, channels);
        default:
            return take_pixels<most_channels>(pixels, channels);
        }
    }
    template <int Channels>
    void take_pixels(const Word* __restrict pixels, Word* __restrict channels) const {
        const std::int64_t all = wide(site_),
                           padding = std::min<std::int64_t>(site_.facts.window.padding, all);
        const std::int64_t count = std::min<std::int64_t>(site_.input.width, all - padding);
        for (int c = 0; c < Channels; ++c, channels += all) {
            std::fill_n(channels, padding, Word{});
            PLIMSOLL_SIMD
            for (std::int64_t at = 0; at < count; ++at) channels[padding + at] = pixels[at * Channels + c];
            std::fill_n(channels + padding + count, all - padding - count, Word{});
        }
    }

    std::int64_t rows_at_once_ = rows_at_once(site_);
    std::array<Piece, 2> pieces_; ///< of rows_at_once_, and of what is left at the end
    bool is_made_ = false;
};

} // namespace plimsoll::inline PLIMSOLL_ABI::detail

#endif
