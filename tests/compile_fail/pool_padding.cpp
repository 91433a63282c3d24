// PyTorch's rule: a window may not lie in the padding alone.
// expect: plimsoll: MaxPool<kernel, stride, padding> needs a padding of at most half the kernel
// expect: 3, 2, 2>
#include <plimsoll/plimsoll.hpp>
#include <plimsoll/source/example_source.hpp>

using namespace plimsoll;

#ifdef PLIMSOLL_CONTROL
using Pool = MaxPool<3, 2, 1>;
#else
using Pool = MaxPool<3, 2, 2>;
#endif
using Net = Sequential<Image<16, 16, 1>, Conv2d<4, 3>, Relu, Pool, Flatten, Dense<2>>;

void train(const ExampleSource& source) { Trainer<Net, ExampleSource, Float, Host>{source}.fit(); }
