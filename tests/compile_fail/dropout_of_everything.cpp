// Dropout that keeps nothing cannot scale what it keeps.
// expect: plimsoll: Dropout<p> takes a probability from 0 to below 1
#include <plimsoll/plimsoll.hpp>
#include <plimsoll/source/example_source.hpp>

using namespace plimsoll;

#ifdef PLIMSOLL_CONTROL
using Drop = Dropout<0.99_p>;
#else
using Drop = Dropout<1.0_p>;
#endif
using Net = Sequential<Image<16, 16, 1>, Flatten, Drop, Dense<2>>;

void train(const ExampleSource& source) { Trainer<Net, ExampleSource, Float, Host>{source}.fit(); }
