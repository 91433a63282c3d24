#pragma once
/// \file
/// The weight gradient of a convolution on oneDNN, within a limit of workspace.

#include <plimsoll/device/host/convolution_shape.hpp>
#include <plimsoll/device/host/loops.hpp>
#include <plimsoll/device/host/weight_gradient_way.hpp>
#include <plimsoll/device/kernel.hpp>

#if PLIMSOLL_WITH_ONEDNN

#include <algorithm>
#include <concepts>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI::detail {

/// In 16 bits the library transposes whole pictures in its workspace, which takes as much as a few of them.
/// Where that is over the limit, a picture is cut into bands of rows, and the gradient is the sum over them:
/// a band of a channels-last picture is a picture, as it lies.
///
/// Where the processor multiplies tiles (AMX), the library cuts a row of pixels into equal parts of an even
/// number, at most 32: a row of 36 goes by 18, one of 34 by 2, several times as slow. So zeros are put behind
/// each row of the output's gradient where that makes better parts, and the picture is padded for them to
/// meet. \tparam T float or bfloat16: of activations. The gradient is of floats.
template <class T>
class WeightGradient : public WeightGradientWay {
  public:
    /// \param most_bytes of a gradient in the library's format \param most_scratch of its workspace
    WeightGradient(const Site& site, std::int64_t most_bytes, std::int64_t most_scratch,
                   const std::string& where)
        : WeightGradientWay(site) {
        const bool rows_lie_together = site.input_layout.block == site.input.channels &&
                                       site.output_layout.block == site.output.channels;
        const int most_bands = rows_lie_together ? std::min(most_bands_, site.output.height) : 1;
        const auto try_bands = [&](onednn::Ways ways, int columns) {
            for (int bands = 1; bands <= most_bands && !*this; bands *= 2) {
                const Tries tries{most_bytes, most_scratch, ways, columns, where};
                if (make(site, bands, tries)) continue;
                geometries_.clear();
                bands_.clear();
            }
        };
        // The library's first choice is by far the fastest in 16 bits: rather that in bands than another.
        const int columns = rows_lie_together ? columns_for_tiles(site) : site.output.width;
        if (columns != site.output.width) try_bands(onednn::Ways::first, columns);
        for (const onednn::Ways ways : {onednn::Ways::first, onednn::Ways::any})
            try_bands(ways, site.output.width);
        gradient_bytes_ = onednn::bytes(format());
        for (int worker = 0; *this && worker < std::max(site.lanes, 1); ++worker) {
            std::vector<onednn::Operands>& operands = operands_.emplace_back();
            for (const Geometry& geometry : geometries_)
                operands.push_back(operands_of(geometry, site.output.channels));
        }
    }

    [[nodiscard]] explicit operator bool() const override { return !bands_.empty(); }
    [[nodiscard]] onednn::Desc format() const override {
        return *this ? geometries_[0].primitive.query(dnnl_query_diff_weights_md) : onednn::Desc();
    }
    [[nodiscard]] bool is_by_taps() const override { return false; }
    [[nodiscard]] std::int64_t gradient_bytes() const override { return gradient_bytes_; }
    /// A piece's gradients, and behind them the workspace.
    [[nodiscard]] std::int64_t scratch() const override { return partial_bytes() + workspace(); }
    /// The library's, and what is widened for it.
    [[nodiscard]] std::int64_t workspace() const {
        std::int64_t most = 0;
        for (const Geometry& geometry : geometries_)
            most = std::max(most, geometry.widened_bytes() + geometry.primitive.scratch());
        return most;
    }
    [[nodiscard]] std::string_view implementation() const override {
        return *this ? geometries_[0].primitive.implementation() : std::string_view{};
    }

    /// The library's convolutions cannot add to a gradient: all but a lane's first piece go through scratch.
    void run(const Call& call) override {
        void* workspace = floats_at(call.scratch, partial_bytes());
        bool add = call.accumulate;
        for_pieces(call, [&](auto compute) {
            void* to = add ? call.scratch : call.partial;
            compute(to, floats_at(to, bias_offset()), workspace);
            if (add) add_floats(floats_at(call.partial), floats_at(call.scratch), gradient_bytes_ / 4);
            if (add && site_.has_bias())
                add_floats(floats_at(call.partial, bias_offset()), floats_at(call.scratch, bias_offset()),
                           site_.output.channels);
            add = true;
        });
    }
    /// Calls f(compute) for every piece of a slice whose gradients add up to the slice's; compute(gradient,
    /// bias gradient, workspace) overwrites both. \param call its operands have zeros behind the last image
    template <class F>
    void for_pieces(const Call& call, F f) {
        const int images = bands_.size() == 1 ? 1 : call.count; // whole pictures go all at once
        for (int image = 0; image < images; ++image)
            for (const Band& band : bands_)
                f([&](void* gradient, void* bias, void* workspace) {
                    onednn::Operands& operands =
                        operands_[static_cast<std::size_t>(call.worker)][band.geometry];
                    const T* x = static_cast<const T*>(call.input) + image * input_size_ + band.input;
                    const T* dy =
                        static_cast<const T*>(call.output_gradient) + image * output_size_ + band.output;
                    if (const std::int64_t bytes = geometries_[band.geometry].widened_bytes(); bytes > 0) {
                        dy = widened(geometries_[band.geometry], dy, static_cast<T*>(workspace));
                        workspace = floats_at(workspace, bytes);
                    }
                    if (site_.has_bias())
                        operands.run({x, dy, gradient, bias}, workspace);
                    else
                        operands.run({x, dy, gradient}, workspace);
                });
    }

  private:
    static constexpr int most_bands_ = 64;

    /// Columns of the output, and perhaps some of zeros, so that their tiles are wide; see WeightGradient.
    /// The time of a row is as measured for parts of 2 to 32 pixels.
    static int columns_for_tiles(const Site& site) {
        const int columns = site.output.width;
        if (!std::same_as<T, bfloat16> || !computes_bfloat16_tiles()) return columns;
        const auto time_of = [](int pixels) {
            const int even = pixels + pixels % 2;
            int part = 32;
            while (even % part != 0) part -= 2;
            return even * (1 + 8.0 / part);
        };
        const int most_padding = site.facts.window.kernel - 1; // the library's, behind a picture
        int best = columns;
        for (int more = columns + 1; beyond(site, more) <= most_padding; ++more)
            if (time_of(more) < time_of(best)) best = more;
        return time_of(best) < 0.8 * time_of(columns) ? best : columns; // or the copy costs more
    }
    /// Pixels behind a row of the picture that the windows of so many outputs take.
    static std::int64_t beyond(const Site& site, int columns) {
        return detail::beyond(site.facts.window, site.input.width, columns);
    }

    /// Rows of the pictures and what lies beyond them.
    struct Geometry {
        int input_rows = 0, output_rows = 0, above = 0, below = 0;
        onednn::Desc x{}, y{};
        onednn::Primitive primitive{};
        std::int64_t rows_in_all = 0, row = 0, wide_row = 0; ///< of output gradients; elements of one
        [[nodiscard]] std::int64_t widened_bytes() const {
            return row == wide_row ? 0 : aligned(rows_in_all * wide_row * std::int64_t{sizeof(T)});
        }
        [[nodiscard]] bool is_like(const Geometry& other) const {
            return input_rows == other.input_rows && output_rows == other.output_rows &&
                   above == other.above && below == other.below;
        }
    };
    struct Band {
        std::size_t geometry = 0;
        std::int64_t input = 0, output = 0; ///< elements from the picture's beginning
    };

    /// What is accepted of the library.
    struct Tries {
        std::int64_t most_bytes, most_scratch;
        onednn::Ways ways;
        int columns; ///< of the output as it is multiplied
        const std::string& where;
    };

    bool make(const Site& site, int bands, const Tries& tries) {
        const Window window = site.facts.window;
        const int rows = (site.output.height + bands - 1) / bands;
        input_size_ = site.input.size();
        output_size_ = site.output.size();
        for (int first = 0; first < site.output.height; first += rows) {
            const int end = std::min(first + rows, site.output.height);
            const int top = first * window.stride - window.padding;
            const int bottom = (end - 1) * window.stride - window.padding + window.kernel;
            // The last band ends with the picture: whole pictures must lie at their distance.
            const int input_end =
                end == site.output.height ? site.input.height : std::min(bottom, site.input.height);
            if (input_end <= std::max(top, 0)) return false; // a band of padding alone
            Geometry geometry{.input_rows = input_end - std::max(top, 0),
                              .output_rows = end - first,
                              .above = std::max(-top, 0),
                              .below = bottom - input_end};
            const Band band{geometry_of(geometry),
                            std::int64_t{std::max(top, 0)} * site.input.width * site.input.channels,
                            std::int64_t{first} * site.output.width * site.output.channels};
            if (band.geometry == geometries_.size()) {
                geometries_.push_back(std::move(geometry));
                if (!build(geometries_.back(), site, bands == 1 ? site.images : 1, tries)) return false;
            }
            bands_.push_back(band);
        }
        return true;
    }
    [[nodiscard]] std::size_t geometry_of(const Geometry& wanted) const {
        std::size_t at = 0;
        while (at < geometries_.size() && !geometries_[at].is_like(wanted)) ++at;
        return at;
    }
    /// Empty where the library has no fast way within the limits.
    bool build(Geometry& geometry, const Site& site, int images, const Tries& tries) {
        using onednn::Desc, onednn::Primitive, onednn::tagged;
        const Window window = site.facts.window;
        Shape input = site.input, output = site.output;
        input.height = geometry.input_rows;
        output.height = geometry.output_rows;
        output.width = tries.columns;
        geometry.rows_in_all = std::int64_t{images} * output.height;
        geometry.row = std::int64_t{site.output.width} * output.channels;
        geometry.wide_row = std::int64_t{output.width} * output.channels;
        geometry.x = activation<T>(input, site.input_layout, images);
        geometry.y = activation<T>(output, site.output_layout, images);
        if (geometry.x.get() == nullptr || geometry.y.get() == nullptr) return false;
        const std::int64_t extents[] = {output.channels, input.channels, window.kernel, window.kernel};
        const Desc bias = site_.has_bias() ? tagged({output.channels}, dnnl_x) : Desc();
        const dnnl_dims_t strides = {window.stride, window.stride};
        const dnnl_dims_t before = {geometry.above, window.padding},
                          behind = {geometry.below, beyond(site, tries.columns)};
        const auto convolution = [&](dnnl_prop_kind_t kind, const Desc& weights, const Primitive* hint,
                                     onednn::Ways ways) {
            return Primitive::convolution(kind, geometry.x, weights, bias, geometry.y, strides, before,
                                          behind, hint, tries.most_scratch - geometry.widened_bytes(),
                                          tries.where, ways);
        };
        const Primitive forward = convolution(dnnl_forward_training, tagged<T>(extents, dnnl_format_tag_any),
                                              nullptr, onednn::Ways::any);
        if (!forward) return false;
        const bool is_first = &geometry == geometries_.data();
        const Desc any = tagged(extents, dnnl_format_tag_any);
        geometry.primitive =
            convolution(dnnl_backward_weights, is_first ? any : format(), &forward, tries.ways);
        return geometry.primitive &&
               (geometry.primitive.multiplies_tiles() || tries.columns == site.output.width) &&
               onednn::bytes(geometry.primitive.query(dnnl_query_diff_weights_md)) <= tries.most_bytes;
    }
    /// Rows with zeros behind them. \param dy (rows in all, W', F) \param to (rows in all, columns, F)
    static const T* widened(const Geometry& geometry, const T* dy, T* to) {
        T* out = to;
        for (std::int64_t row = 0; row < geometry.rows_in_all; ++row, dy += geometry.row) {
            out = std::copy_n(dy, geometry.row, out);
            out = std::fill_n(out, geometry.wide_row - geometry.row, T{});
        }
        return to;
    }
    [[nodiscard]] onednn::Operands operands_of(const Geometry& geometry, int filters) const {
        if (site_.has_bias())
            return {geometry.primitive,
                    {{DNNL_ARG_SRC, geometry.x},
                     {DNNL_ARG_DIFF_DST, geometry.y},
                     {DNNL_ARG_DIFF_WEIGHTS, format()},
                     {DNNL_ARG_DIFF_BIAS, onednn::tagged({filters}, dnnl_x)}}};
        return {
            geometry.primitive,
            {{DNNL_ARG_SRC, geometry.x}, {DNNL_ARG_DIFF_DST, geometry.y}, {DNNL_ARG_DIFF_WEIGHTS, format()}}};
    }

    std::int64_t gradient_bytes_ = 0;
    std::int64_t input_size_ = 0, output_size_ = 0;
    std::vector<Geometry> geometries_;
    std::vector<Band> bands_;
    std::vector<std::vector<onednn::Operands>> operands_; ///< of a worker, for each geometry
};

} // namespace plimsoll::inline PLIMSOLL_ABI::detail

#endif
