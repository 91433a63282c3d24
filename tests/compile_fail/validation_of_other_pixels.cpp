// The ring has room for the training source's pixels.
// expect: plimsoll: this source's pixels are not of the training source's type: use the same <u8>, <float> or <half>
// expect: for both
#include <plimsoll/plimsoll.hpp>

using namespace plimsoll;

using Net = Sequential<Image<16, 16, 1>, Flatten, Dense<2>>;
#ifdef PLIMSOLL_CONTROL
using Validation = InMemory<u8>;
#else
using Validation = InMemory<float>;
#endif

void train(const InMemory<u8>& source, const Validation& validation) {
    Trainer<Net, InMemory<u8>, Float, Host>{source}.fit({.epochs = 2}, validation);
}
