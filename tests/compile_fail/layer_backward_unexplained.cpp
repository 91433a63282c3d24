// A Backward that takes a value beside the gradient: without a fact there would be none to read.
// expect: plimsoll: this layer's Backward takes a second argument: its facts must say which,
// expect: .backward_reads_input = true or .backward_reads_output = true
#include <plimsoll/plimsoll.hpp>
#include <plimsoll/source/example_source.hpp>

using namespace plimsoll;

struct Square {
    static constexpr Facts facts(Shape in) {
        return {.name = "Square",
                .output = in,
#ifdef PLIMSOLL_CONTROL
                .backward_reads_input = true,
#endif
                .in_place = true};
    }
    struct Forward {
        PLIMSOLL_HD float operator()(float x) const { return x * x; }
    };
    struct Backward {
        PLIMSOLL_HD float operator()(float dy, float x) const { return 2 * x * dy; }
    };
};

using Net = Sequential<Image<16, 16, 1>, Square, Flatten, Dense<2>>;

void train(const ExampleSource& source) { Trainer<Net, ExampleSource, Float, Host>{source}.fit(); }
