#pragma once
/// \file
/// What a layer says about itself: its fact sheet. Everything above (plan, executor, summary, weight names)
/// reads facts; new behaviour is a new fact, not a special case upstairs.

#include <plimsoll/core/list.hpp>
#include <plimsoll/core/shape.hpp>

#include <concepts>
#include <cstdint>
#include <string_view>

namespace plimsoll::inline PLIMSOLL_ABI {

/// How a parameter starts. He: U(-b, b), b = sqrt(6 / fan_in) (He et al., ICCV 2015). Glorot: U(-b, b),
/// b = sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, AISTATS 2010).
enum class Initialise { zeros, ones, he, glorot };

/// One tensor of a layer's state, in PyTorch's name, shape and layout.
struct Parameter {
    std::string_view name{};
    List<int, 4> shape{};
    Initialise initialise = Initialise::zeros;
    int fan_in = 0;
    int fan_out = 0;
    bool trainable = true; ///< false for running statistics: no gradient, no optimizer state

    [[nodiscard]] constexpr std::int64_t size() const {
        std::int64_t product = 1;
        for (const int extent : shape) product *= extent;
        return product;
    }
};

/// A layer's fact sheet, for one input shape. Bytes and FLOPs are per image unless they say otherwise.
struct Facts {
    std::string_view name{};            ///< as `summary` prints it
    Shape output{};                     ///< must be set: a layer whose output has no size does not compile
    List<Parameter, 4> parameters{};    ///< learned tensors and running statistics
    Window window{};                    ///< of convolutions and pools
    bool backward_reads_input = false;  ///< backward needs what the layer was given
    bool backward_reads_output = false; ///< backward needs what the layer returned
    bool in_place = false;              ///< elementwise: output may overwrite input, gradients likewise
    bool random = false;                ///< the functors receive a random word for each element
    bool training_only = false;         ///< the identity outside training (dropout)
    bool monotone = false;              ///< never reorders values: a maximum may be taken before it
    bool rectifies = false;             ///< max(x, 0): a kernel before it may do that, NodeKernel::rectify
    bool selects_maximum = false;       ///< each output is the largest input of its window
    bool recompute = false;             ///< cheaper to run again in backward than to keep
    bool whole_batch = false;           ///< runs over a whole micro-batch at once and splits its own work
    bool couples_images = false;        ///< needs statistics over all images of the batch
    bool reads_labels = false;          ///< a loss
    bool differentiable = true;         ///< false where no gradient passes to the input (integer pixels)
    std::int64_t saved_bytes = 0;       ///< what forward leaves for backward beside activations
    std::int64_t statistics_bytes = 0;  ///< what lives from forward to backward once for the whole batch
    double flops = 0;                   ///< of forward
    std::string_view onnx{};            ///< the ONNX operator with this meaning
};

template <class Layer>
concept layer_has_facts = requires(Shape in) {
    { Layer::facts(in) } -> std::same_as<Facts>;
};

/// An empty type with a fact sheet.
template <class Layer>
concept layer = layer_has_facts<Layer>;

/// A layer that is computed element by element gives two value functors, shared by every device:
/// `Forward` maps x to y; `Backward` maps (dy, x or y, whichever the facts say it reads) to dx. A random
/// layer's functors take the element's random word as a last argument. Its output has its input's shape.
template <class Layer>
concept elementwise = layer<Layer> && requires {
    typename Layer::Forward;
    typename Layer::Backward;
};

namespace detail {

constexpr bool has_size(Shape shape) { return shape.height > 0 && shape.width > 0 && shape.channels > 0; }

/// Empty for a type that is no layer, and behind a layer that has been refused: one mistake, one message.
template <class Layer, Shape In>
constexpr Facts facts_at() {
    if constexpr (layer_has_facts<Layer> && has_size(In))
        return Layer::facts(In);
    else
        return {};
}

/// Named for the error message: shows the layer and the input it cannot take.
template <class Layer, int Height, int Width, int Channels>
inline constexpr bool layer_fits_input = has_size(facts_at<Layer, Shape{Height, Width, Channels}>().output);

/// Whether the facts of an elementwise layer say what its Backward takes beside dy: else it would read
/// nothing.
template <class Layer, Shape In>
constexpr bool backward_is_explained() {
    constexpr Facts facts = facts_at<Layer, In>();
    if constexpr (elementwise<Layer> && has_size(facts.output))
        return facts.random || facts.backward_reads_input || facts.backward_reads_output ||
               requires(typename Layer::Backward backward) {
            backward(0.0f);
        };
    else
        return true;
}

/// Whether an elementwise layer returns what it takes; true for other layers.
template <class Layer, Shape In>
constexpr bool elements_stay() {
    constexpr Shape out = facts_at<Layer, In>().output;
    return !elementwise<Layer> || !has_size(out) || out == In;
}

/// Whether an elementwise layer leaves weights alone: nothing sums their gradients.
template <class Layer, Shape In>
constexpr bool elements_have_no_weights() {
    return !elementwise<Layer> || facts_at<Layer, In>().parameters.empty();
}

} // namespace detail

/// A layer at its place in a model: the facts for its input shape, checked.
template <class Layer, Shape In>
struct Placed {
    static_assert(layer_has_facts<Layer>,
                  "plimsoll: a layer needs a fact sheet: static constexpr Facts facts(Shape in)");
    static_assert(
        !layer_has_facts<Layer> || !detail::has_size(In) ||
            detail::layer_fits_input<Layer, In.height, In.width, In.channels>,
        "plimsoll: this layer has no output for its input <layer, height, width, channels>: a window "
        "larger than the padded picture, Dense without Flatten before it, or a fact sheet that "
        "leaves out the output's size");
    static_assert(
        detail::elements_stay<Layer, In>(),
        "plimsoll: a layer with Forward and Backward functors returns the shape it takes: .output = in");
    static_assert(detail::backward_is_explained<Layer, In>(),
                  "plimsoll: this layer's Backward takes a second argument: its facts must say which, "
                  ".backward_reads_input = true or .backward_reads_output = true");
    static_assert(detail::elements_have_no_weights<Layer, In>(),
                  "plimsoll: a layer with Forward and Backward functors has no weights: give a layer with "
                  "parameters a kernel of its own");
    static constexpr Facts facts = detail::facts_at<Layer, In>();
};

} // namespace plimsoll::inline PLIMSOLL_ABI
