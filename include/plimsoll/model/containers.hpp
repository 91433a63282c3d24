#pragma once
/// \file
/// What layers are put into: Image, Sequential, Residual, and the one walk over them that everything shares.

#include <plimsoll/model/layer.hpp>
#include <plimsoll/model/layers/plumbing.hpp>

#include <type_traits>

namespace plimsoll::inline PLIMSOLL_ABI {

/// The pictures a model takes: Height x Width x Channels.
template <int Height, int Width, int Channels>
struct Image {
    static_assert(Height > 0 && Width > 0 && Channels > 0,
                  "plimsoll: Image<height, width, channels> takes positive numbers");
    static constexpr Shape shape{Height, Width, Channels};
};

/// Layers one after the other. A whole model begins with the pictures it takes:
/// `Sequential<Image<28, 28, 1>, Conv2d<32, 3>, Relu, ...>`; inside a Residual there is no Image.
template <class... Layers>
struct Sequential {};

template <int Height, int Width, int Channels, class... Layers>
struct Sequential<Image<Height, Width, Channels>, Layers...> {
    static constexpr Shape input = Image<Height, Width, Channels>::shape;
    using Body = Sequential<Layers...>;
};

/// The skip path that changes nothing.
struct Identity {};

/// x + Body(x), or Skip(x) + Body(x) where the shape changes (a projection).
template <class Body, class Skip = Identity>
struct Residual {};

/// Where a layer stands in its model: indices into Sequentials, `body` and `skip` of Residuals.
struct Path {
    static constexpr std::int16_t body = -1, skip = -2;
    List<std::int16_t, 8> steps{};

    [[nodiscard]] constexpr Path then(int step) const {
        Path longer = *this;
        longer.steps.push(static_cast<std::int16_t>(step));
        return longer;
    }
};

namespace detail {

/// The walk: calls `visitor.template visit<Layer, In>(path, input, second)` for every layer in execution
/// order and returns the number of the value it ends with. Specialised for containers; a layer visits itself.
template <class Layer, Shape In>
struct Walk {
    static constexpr Shape output = Placed<Layer, In>::facts.output;
    static constexpr int nodes = 1;

    template <class Visitor>
    static constexpr int run(Visitor& visitor, Path path, int input) {
        return visitor.template visit<Layer, In>(path, input, -1);
    }
};

template <Shape In>
struct Walk<Identity, In> {
    static constexpr Shape output = In;
    static constexpr int nodes = 0;
    template <class Visitor>
    static constexpr int run(Visitor&, Path, int input) {
        return input;
    }
};

/// A maximum taken before a monotone activation gives the same values for a fraction of the work and memory.
template <class First, class Second, Shape In>
constexpr bool pool_comes_first() {
    if constexpr (layer<First> && layer<Second>)
        return First::facts(In).monotone && Second::facts(In).selects_maximum;
    else
        return false;
}

template <Shape In, class... Layers>
struct WalkChain {
    static constexpr Shape output = In;
    static constexpr int nodes = 0;
    template <class Visitor>
    static constexpr int run(Visitor&, Path, int, int input) {
        return input;
    }
};

template <Shape In, class First, class... Rest>
struct WalkChain<In, First, Rest...> {
    using Head = Walk<First, In>;
    using Tail = WalkChain<Head::output, Rest...>;
    static constexpr Shape output = Tail::output;
    static constexpr int nodes = Head::nodes + Tail::nodes;
    template <class Visitor>
    static constexpr int run(Visitor& visitor, Path path, int index, int input) {
        return Tail::run(visitor, path, index + 1, Head::run(visitor, path.then(index), input));
    }
};

template <Shape In, class First, class Second, class... Rest>
    requires(pool_comes_first<First, Second, In>())
struct WalkChain<In, First, Second, Rest...> {
    using Pool = Walk<Second, In>;
    using Activation = Walk<First, Pool::output>;
    using Tail = WalkChain<Activation::output, Rest...>;
    static constexpr Shape output = Tail::output;
    static constexpr int nodes = 2 + Tail::nodes;
    template <class Visitor>
    static constexpr int run(Visitor& visitor, Path path, int index, int input) {
        if constexpr (!Visitor::rewrites) {
            const int activated = Walk<First, In>::run(visitor, path.then(index), input);
            return Tail::run(
                visitor, path, index + 2,
                Walk<Second, Walk<First, In>::output>::run(visitor, path.then(index + 1), activated));
        }
        const int pooled = Pool::run(visitor, path.then(index + 1), input);
        return Tail::run(visitor, path, index + 2, Activation::run(visitor, path.then(index), pooled));
    }
};

template <class... Layers, Shape In>
struct Walk<Sequential<Layers...>, In> {
    using Chain = WalkChain<In, Layers...>;
    static constexpr Shape output = Chain::output;
    static constexpr int nodes = Chain::nodes;
    template <class Visitor>
    static constexpr int run(Visitor& visitor, Path path, int input) {
        return Chain::run(visitor, path, 0, input);
    }
};

/// Named for the error message: shows what both paths of a Residual return.
template <int BodyHeight, int BodyWidth, int BodyChannels, int SkipHeight, int SkipWidth, int SkipChannels>
struct residual_paths {
    static_assert(
        BodyHeight == SkipHeight && BodyWidth == SkipWidth && BodyChannels == SkipChannels,
        "plimsoll: the body and the skip path of a Residual return different shapes <body height, "
        "width, channels, skip height, width, channels>: give it a projection, Residual<Body, Skip>");
    static constexpr bool agree = true;
};

template <Shape Body, Shape Skip>
constexpr bool paths_agree() {
    if constexpr (has_size(Body) && has_size(Skip)) // else a layer of theirs has been refused already
        return residual_paths<Body.height, Body.width, Body.channels, Skip.height, Skip.width,
                              Skip.channels>::agree;
    return true;
}

template <class Body, class Skip, Shape In>
struct Walk<Residual<Body, Skip>, In> {
    using BodyWalk = Walk<Body, In>;
    using SkipWalk = Walk<Skip, In>;
    static constexpr Shape output = BodyWalk::output;
    static constexpr int nodes = BodyWalk::nodes + SkipWalk::nodes + 1;
    static_assert(paths_agree<output, SkipWalk::output>());
    template <class Visitor>
    static constexpr int run(Visitor& visitor, Path path, int input) {
        const int body = BodyWalk::run(visitor, path.then(Path::body), input);
        const int skip = SkipWalk::run(visitor, path.then(Path::skip), input);
        return visitor.template visit<Add, output>(path, body, skip);
    }
};

} // namespace detail

// What a model must have, one atom a requirement, so that an error names what is missing.
template <class Model>
concept model_has_input = requires {
    { Model::input } -> std::convertible_to<Shape>;
};
template <class Model>
concept model_has_body = requires {
    typename Model::Body;
};

/// A model: `static constexpr Shape input` and `Body`, the layers applied to it.
template <class Model>
concept model = model_has_input<Model> && model_has_body<Model>;

/// One sentence for each requirement that `Model` misses.
template <class Model>
constexpr void check_model() {
    static_assert(
        model_has_input<Model>,
        "plimsoll: a Model needs the pictures it takes: begin it with Image<height, width, channels>");
    static_assert(model_has_body<Model>, "plimsoll: a Model needs its layers: using Body = Sequential<...>");
}

} // namespace plimsoll::inline PLIMSOLL_ABI
