// A 5x5 window does not fit the 3x4 picture that is left; the message has the picture's size.
// nvcc
// expect: plimsoll: this layer has no output for its input <layer, height, width, channels>: a window larger
// expect: than the padded picture
// expect: 3, 4, 8
#include <plimsoll/plimsoll.hpp>
#include <plimsoll/source/example_source.hpp>

using namespace plimsoll;

#ifdef PLIMSOLL_CONTROL
constexpr int kernel = 3;
#else
constexpr int kernel = 5;
#endif
using Net =
    Sequential<Image<8, 10, 1>, Conv2d<8, 3>, Relu, MaxPool<2>, Conv2d<16, kernel>, Relu, Flatten, Dense<2>>;

void train(const ExampleSource& source) { Trainer<Net, ExampleSource, Float, Host>{source}.fit(); }
