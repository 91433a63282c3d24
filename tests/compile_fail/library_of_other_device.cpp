// With PLIMSOLL_COMPILED=1 a trainer of another device must bring its functions.
// expect: plimsoll: PLIMSOLL_COMPILED=1 has trainers for Host alone: for another device include <plimsoll/trainer/training_loop_definitions.hpp>
#define PLIMSOLL_COMPILED 1
#include <plimsoll/plimsoll.hpp>
#include <plimsoll/source/example_source.hpp>
#ifdef PLIMSOLL_CONTROL
#include <plimsoll/trainer/training_loop_definitions.hpp>
#endif

using namespace plimsoll;

struct Second : Host { // another type is enough
    static constexpr std::string_view name = "Second";
    using Host::Host;
};

template <class Layer, class Precision>
struct plimsoll::Kernel<Layer, Precision, Second> : plimsoll::Kernel<Layer, Precision, Host> {
    using plimsoll::Kernel<Layer, Precision, Host>::Kernel;
};

using Net = Sequential<Image<16, 16, 1>, Flatten, Dense<2>>;

void train(const ExampleSource& source) { Trainer<Net, ExampleSource, Float, Second>{source}.fit(); }
