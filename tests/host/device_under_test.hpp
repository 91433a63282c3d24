#pragma once
/// \file
/// The device that tests of all devices run on.

#include <plimsoll/plimsoll.hpp>

using DeviceUnderTest = plimsoll::Host;

/// Whether it computes under a precision.
template <class Precision>
constexpr bool computes() {
    return true;
}
