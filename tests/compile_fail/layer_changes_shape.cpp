// Functors of one element cannot change the picture's size.
// expect: plimsoll: a layer with Forward and Backward functors returns the shape it takes: .output = in
#include <plimsoll/plimsoll.hpp>
#include <plimsoll/source/example_source.hpp>

using namespace plimsoll;

struct Double {
    static constexpr Facts facts(Shape in) {
#ifndef PLIMSOLL_CONTROL
        in.channels *= 2;
#endif
        return {.name = "Double", .output = in};
    }
    struct Forward {
        PLIMSOLL_HD float operator()(float x) const { return 2 * x; }
    };
    struct Backward {
        PLIMSOLL_HD float operator()(float dy) const { return 2 * dy; }
    };
};

using Net = Sequential<Image<16, 16, 1>, Double, Flatten, Dense<2>>;

void train(const ExampleSource& source) { Trainer<Net, ExampleSource, Float, Host>{source}.fit(); }
