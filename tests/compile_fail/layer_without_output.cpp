// A layer of one's own whose fact sheet leaves out the output's size.
// expect: plimsoll: this layer has no output for its input <layer, height, width, channels>
// expect: a fact sheet that leaves out the output's size
// expect: Square, 16, 16, 1>
#include <plimsoll/plimsoll.hpp>
#include <plimsoll/source/example_source.hpp>

using namespace plimsoll;

struct Square {
    static constexpr Facts facts([[maybe_unused]] Shape in) {
        return {.name = "Square",
#ifdef PLIMSOLL_CONTROL
                .output = in,
#endif
                .backward_reads_input = true};
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
