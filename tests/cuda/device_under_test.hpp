#pragma once
/// \file
/// The device that tests of all devices run on.

#include <plimsoll/cuda.cuh>

using DeviceUnderTest = plimsoll::Cuda;
