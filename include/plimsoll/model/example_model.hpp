#pragma once
/// \file
/// A complete Model to copy: the pictures it takes and the layers applied to them.

#include <plimsoll/model/containers.hpp>
#include <plimsoll/model/layers/activation.hpp>
#include <plimsoll/model/layers/convolution.hpp>
#include <plimsoll/model/layers/dense.hpp>
#include <plimsoll/model/layers/pooling.hpp>

namespace plimsoll::inline PLIMSOLL_ABI {

/// Tells two classes of 16 x 16 gray pictures apart.
///
/// `Sequential<Image<16, 16, 1>, Conv2d<8, 3, 1, 1>, ...>` is the same model in one line. To give a model a
/// name of its own, which keeps compiler messages short, copy this struct and keep its two members, those
/// that `check_model<YourModel>()` asks for. Only the types count: no object of a model is ever made.
struct ExampleModel {
    /// Height, width and channels of the pictures; a source that holds others is refused.
    static constexpr Shape input{16, 16, 1};

    /// What is applied to them. It ends in a vector, one number a class (or a single one for two classes).
    using Body = Sequential<Conv2d<8, 3, 1, 1>, Relu, MaxPool<2>,
                            Residual<Sequential<Conv2d<8, 3, 1, 1>, Relu>>, Flatten, Dense<2>>;
};

static_assert(model<ExampleModel>);

} // namespace plimsoll::inline PLIMSOLL_ABI
