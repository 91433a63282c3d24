#pragma once
/// \file
/// All of Plimsoll with the devices of nvcc, as `Devices`. No library header includes it.

#include <plimsoll/cuda.cuh>
#include <plimsoll/trainer/device_list.hpp>

namespace plimsoll::inline PLIMSOLL_ABI {

using Devices = DeviceList<Host, Cuda>;

} // namespace plimsoll::inline PLIMSOLL_ABI
