// A type without a fact sheet is no layer.
// expect: plimsoll: a layer needs a fact sheet: static constexpr Facts facts(Shape in)
#include <plimsoll/plimsoll.hpp>
#include <plimsoll/source/example_source.hpp>

using namespace plimsoll;

#ifdef PLIMSOLL_CONTROL
using Activation = Relu;
#else
struct Activation {
    struct Forward {
        float operator()(float x) const { return x * x; }
    };
    struct Backward {
        float operator()(float dy, float x) const { return 2 * x * dy; }
    };
};
#endif

using Net = Sequential<Image<16, 16, 1>, Conv2d<4, 3>, Activation, MaxPool<2>, Flatten, Dense<2>>;

void train(const ExampleSource& source) { Trainer<Net, ExampleSource, Float, Host>{source}.fit(); }
