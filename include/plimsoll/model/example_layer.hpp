#pragma once
/// \file
/// A complete layer to copy: an activation, its fact sheet and its two functors.

#include <plimsoll/core/config.hpp>
#include <plimsoll/model/layer.hpp>

#include <cmath>

namespace plimsoll::inline PLIMSOLL_ABI {

/// Swish, x * sigmoid(x) (Ramachandran et al., arXiv 1710.05941; PyTorch's SiLU).
///
/// To make an elementwise layer of your own, copy this struct, say in `facts` what is true of yours (a fact
/// left out is false or nothing), and write both functors. Then it goes into a model like any other layer:
/// every device computes it, the plan counts its memory and `summary` prints it. The functors are copied by
/// value and hold no state; constants of the layer are template parameters, as in `LeakyRelu<0.01_p>`.
struct ExampleLayer {
    /// \param in shape of one image's input.
    static constexpr Facts facts(Shape in) {
        return {.name = "ExampleLayer",
                .output = in,                 // required: the shape of one image's output
                .backward_reads_input = true, // the slope cannot be told from the output: two inputs share it
                .in_place = true,             // element by element: the output may overwrite the input
                .flops = 4.0 * static_cast<double>(in.size())};
    }

    /// x to y.
    struct Forward {
        PLIMSOLL_HD float operator()(float x) const { return x / (1 + std::exp(-x)); }
    };
    /// (dy, x) to dx: the second argument is the input, because the facts say that backward reads it.
    struct Backward {
        PLIMSOLL_HD float operator()(float dy, float x) const {
            const float sigmoid = 1 / (1 + std::exp(-x));
            return dy * sigmoid * (1 + x * (1 - sigmoid));
        }
    };
};

static_assert(elementwise<ExampleLayer>);

} // namespace plimsoll::inline PLIMSOLL_ABI
