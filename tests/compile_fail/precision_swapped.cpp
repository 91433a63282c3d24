// Precision and Device in the wrong order.
// expect: plimsoll: a Precision needs the type activations are stored in: using Storage = float
// expect: plimsoll: a Device needs a constructor from a number of threads and int workers()
#include <plimsoll/plimsoll.hpp>
#include <plimsoll/source/example_source.hpp>

using namespace plimsoll;

using Net = Sequential<Image<16, 16, 1>, Flatten, Dense<2>>;
#ifdef PLIMSOLL_CONTROL
using Job = Trainer<Net, ExampleSource, Float, Host>;
#else
using Job = Trainer<Net, ExampleSource, Host, Float>;
#endif

void train(const ExampleSource& source) { Job{source}.fit(); }
