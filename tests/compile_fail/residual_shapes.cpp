// Both paths of a Residual return the same shape; the message has both.
// expect: plimsoll: the body and the skip path of a Residual return different shapes <body height, width,
// expect: channels, skip height, width, channels>: give it a projection, Residual<Body, Skip>
// expect: 8, 8, 8, 16, 16, 4>
#include <plimsoll/plimsoll.hpp>
#include <plimsoll/source/example_source.hpp>

using namespace plimsoll;

using Body = Sequential<Conv2d<8, 3, 2, 1>, Relu, Conv2d<8, 3, 1, 1>>;
#ifdef PLIMSOLL_CONTROL
using Block = Residual<Body, Conv2d<8, 1, 2>>;
#else
using Block = Residual<Body>;
#endif
using Net = Sequential<Image<16, 16, 1>, Conv2d<4, 3, 1, 1>, Block, Flatten, Dense<2>>;

void train(const ExampleSource& source) { Trainer<Net, ExampleSource, Float, Host>{source}.fit(); }
