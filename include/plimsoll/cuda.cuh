#pragma once
/// \file
/// All of Plimsoll, with the Cuda device; compile with nvcc. No library header includes it.

#include <plimsoll/device/cuda/attach.cuh>
#include <plimsoll/plimsoll.hpp>
