// expect: deleted
#include <plimsoll/plimsoll.hpp>

using namespace plimsoll;

using Net = Sequential<Image<4, 4, 1>, Flatten, Dense<2>>;
using Job = Trainer<Net, InMemory<u8>, Float, Host>;

void train() {
#ifdef PLIMSOLL_CONTROL
    const InMemory<u8> data("train");
    Job job{data};
#else
    Job job{InMemory<u8>("train")};
#endif
    job.fit();
}
