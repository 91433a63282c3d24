// A model of one's own says which layers it has.
// expect: plimsoll: a Model needs its layers: using Body = Sequential<...>
#include <plimsoll/plimsoll.hpp>
#include <plimsoll/source/example_source.hpp>

using namespace plimsoll;

struct Net {
    static constexpr Shape input{16, 16, 1};
#ifdef PLIMSOLL_CONTROL
    using Body = Sequential<Flatten, Dense<2>>;
#endif
};

std::vector<float> predict(const ExampleSource& source) {
    return Predictor<Net, Float, Host>{"weights.safetensors"}.predict(source);
}
