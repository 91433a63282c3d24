// A model returns a vector.
// expect: plimsoll: the model ends in a picture: end it with Flatten or GlobalAveragePool and Dense<classes>
#include <plimsoll/plimsoll.hpp>
#include <plimsoll/source/example_source.hpp>

using namespace plimsoll;

#ifdef PLIMSOLL_CONTROL
using Net = Sequential<Image<16, 16, 1>, Conv2d<4, 3>, Relu, GlobalAveragePool, Dense<2>>;
#else
using Net = Sequential<Image<16, 16, 1>, Conv2d<4, 3>, Relu>;
#endif

void train(const ExampleSource& source) { Trainer<Net, ExampleSource, Float, Host>{source}.fit(); }
