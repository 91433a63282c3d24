// What a user's first program does: trains a small network on pictures of its own.
#include <plimsoll/plimsoll.hpp>

#include <iostream>

using namespace plimsoll;

using Net = Sequential<Image<6, 6, 1>, Conv2d<4, 3>, Relu, Flatten, Dense<1>>;
using Job = Trainer<Net, InMemory<u8>, Float, Host>;
constexpr Settings settings{.batch = 8, .budget = 4_MiB};
static_assert(fits<Job, settings>);

int main() {
    std::vector<u8> images; // (16, 6, 6, 1): dark ones and light ones
    std::vector<Label> labels;
    for (int i = 0; i < 16; ++i) {
        images.insert(images.end(), 36, i % 2 ? u8{200} : u8{20});
        labels.push_back(i % 2);
    }
    const InMemory<u8> data(images, Shape{6, 6, 1}, labels);
    Job job{data, settings, Adam{.learning_rate = 0.02}};
    const History history = job.fit({.epochs = 20});
    std::cout << job.plan() << "loss " << history.last().train.loss << '\n';
    return history.last().train.loss < history.epochs.front().train.loss / 2 ? 0 : 1;
}
