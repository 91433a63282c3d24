#pragma once
/// \file
/// The same training in every unit of link_test: the units must link, and agree to the bit.

#include <plimsoll/plimsoll.hpp>

namespace {

template <class Device>
double train_a_little() {
    using namespace plimsoll;
    using Net = Sequential<Image<8, 7, 3>, Conv2d<6, 3, 1, 1>, BatchNorm, Relu, MaxPool<2>, Flatten,
                           Dropout<0.5_p>, Dense<3>>;
    std::vector<u8> images(std::size_t{8} * 7 * 3 * 12);
    for (std::size_t i = 0; i < images.size(); ++i) images[i] = static_cast<u8>(i * 37 % 251);
    const InMemory<u8> data(images, Shape{8, 7, 3}, {0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2});
    Trainer<Net, InMemory<u8>, Float, Device> job(data, {.batch = 5, .seed = 3});
    return job.fit({.epochs = 2, .progress = false}).last().train.loss;
}

} // namespace
