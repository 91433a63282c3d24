#pragma once
/// \file
/// All of Plimsoll with the devices of a host compiler, as `Devices`. No library header includes it.

#include <plimsoll/plimsoll.hpp>
#include <plimsoll/trainer/device_list.hpp>

namespace plimsoll::inline PLIMSOLL_ABI {

using Devices = DeviceList<Host>;

} // namespace plimsoll::inline PLIMSOLL_ABI
