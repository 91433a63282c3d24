// expect: plimsoll: this source's pixels are not the predictor's
#include <plimsoll/plimsoll.hpp>

using namespace plimsoll;

using Net = Sequential<Image<4, 4, 1>, Flatten, Dense<2>>;

void predict(Predictor<Net, Float, Host>& predictor, const InMemory<u8>& pictures,
             const InMemory<float>& others) {
    predictor.predict(pictures);
#ifndef PLIMSOLL_CONTROL
    predictor.predict(others);
#else
    static_cast<void>(others);
#endif
}
