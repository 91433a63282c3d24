// Dense takes vectors; the message has the size of the picture it was given.
// expect: plimsoll: this layer has no output for its input <layer, height, width, channels>
// expect: Dense without Flatten before it
// expect: , 14, 14, 4>
#include <plimsoll/plimsoll.hpp>

using namespace plimsoll;

#ifdef PLIMSOLL_CONTROL
using Net = Sequential<Image<16, 16, 1>, Conv2d<4, 3>, Relu, Flatten, Dense<2>>;
#else
using Net = Sequential<Image<16, 16, 1>, Conv2d<4, 3>, Relu, Dense<2>>;
#endif

std::string text_of_net() { return summary<Net>(); }
