// A model begins with the pictures it takes.
// nvcc
// expect: plimsoll: a Model needs the pictures it takes: begin it with Image<height, width, channels>
#include <plimsoll/plimsoll.hpp>
#include <plimsoll/source/example_source.hpp>

using namespace plimsoll;

#ifdef PLIMSOLL_CONTROL
using Net = Sequential<Image<16, 16, 1>, Flatten, Dense<2>>;
#else
using Net = Sequential<Flatten, Dense<2>>;
#endif

void train(const ExampleSource& source) { Trainer<Net, ExampleSource, Float, Host>{source}.fit(); }
