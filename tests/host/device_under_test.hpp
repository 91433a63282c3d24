#pragma once
/// \file
/// The device that tests of all devices run on.

#include <plimsoll/plimsoll.hpp>

using DeviceUnderTest = plimsoll::Host;
