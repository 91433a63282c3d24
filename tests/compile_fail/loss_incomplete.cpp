// A loss of one's own has six functions.
// expect: plimsoll: a Loss needs facts, fits, classes, loss, gradient and probabilities, as
// expect: SoftmaxCrossEntropy has them
#include <plimsoll/plimsoll.hpp>
#include <plimsoll/source/example_source.hpp>

using namespace plimsoll;

#ifdef PLIMSOLL_CONTROL
struct Loss : BinaryCrossEntropy {};
#else
struct Loss {
    static RowLoss loss(const float* logits, int, Label label) { return {logits[0] - label, false}; }
};
#endif

using Net = Sequential<Image<16, 16, 1>, Flatten, Dense<1>>;

void train(const ExampleSource& source) { Trainer<Net, ExampleSource, Float, Host, Loss>{source}.fit(); }
