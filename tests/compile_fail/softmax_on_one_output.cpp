// Softmax over one number is always 1.
// expect: plimsoll: this loss cannot follow this model's outputs <loss, height, width, outputs>: softmax
// expect: takes two or more outputs, binary cross-entropy one
// expect: 1, 1, 1>
#include <plimsoll/plimsoll.hpp>
#include <plimsoll/source/example_source.hpp>

using namespace plimsoll;

#ifdef PLIMSOLL_CONTROL
using Net = Sequential<Image<16, 16, 1>, Flatten, Dense<2>>;
#else
using Net = Sequential<Image<16, 16, 1>, Flatten, Dense<1>>;
#endif

void train(const ExampleSource& source) {
    Trainer<Net, ExampleSource, Float, Host, SoftmaxCrossEntropy<>>{source}.fit();
}
