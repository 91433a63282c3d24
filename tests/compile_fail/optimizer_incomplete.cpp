// An optimizer says how many floats it keeps a weight, and has a rule.
// expect: plimsoll: an Optimizer needs the floats it keeps a weight: static constexpr int states
// expect: plimsoll: an Optimizer needs its update: rule(step) returning a functor (float& weight, float
// expect: gradient, float& first, float& second)
#include <plimsoll/plimsoll.hpp>
#include <plimsoll/source/example_source.hpp>

using namespace plimsoll;

#ifdef PLIMSOLL_CONTROL
using Optimizer = Sgd;
#else
struct Optimizer {
    double learning_rate = 1e-3;
};
#endif

using Net = Sequential<Image<16, 16, 1>, Flatten, Dense<1>>;

void train(const ExampleSource& source) {
    Trainer<Net, ExampleSource, Float, Host, BinaryCrossEntropy, Optimizer>{source}.fit();
}
