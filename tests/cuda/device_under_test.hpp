#pragma once
/// \file
/// The device that tests of all devices run on.

#include <plimsoll/cuda.cuh>

#include <doctest/doctest.h>

#include <string>
#include <type_traits>

using DeviceUnderTest = plimsoll::Cuda;

/// Whether the GPU, and the code for it, computes under a precision; says where it does not.
template <class Precision>
bool computes() {
    if constexpr (std::is_same_v<Precision, plimsoll::BFloat16> ||
                  std::is_same_v<Precision, plimsoll::TF32>) {
        static const bool is_new = [] {
            const plimsoll::Cuda device;
            return device.properties().major >= 8 && device.compiled_for() >= 80;
        }();
        if (!is_new) MESSAGE("left out: " << std::string(Precision::name) << " on an older GPU");
        return is_new;
    } else {
        return true;
    }
}
