// A precision names its types and says whether it scales the loss.
// expect: plimsoll: a Precision needs the type activations are stored in: using Storage = float
// expect: plimsoll: a Precision needs to say whether it scales the loss: static constexpr bool scales_loss
#include <plimsoll/plimsoll.hpp>
#include <plimsoll/source/example_source.hpp>

using namespace plimsoll;

struct Exact {
    static constexpr std::string_view name = "Exact";
    using Compute = float;
    using Accumulate = double;
#ifdef PLIMSOLL_CONTROL
    using Storage = float;
    static constexpr bool scales_loss = false;
#endif
};

using Net = Sequential<Image<16, 16, 1>, Flatten, Dense<2>>;

void train(const ExampleSource& source) { Trainer<Net, ExampleSource, Exact, Host>{source}.fit(); }
