#pragma once
#include <plimsoll/plimsoll.hpp>
#include <plimsoll/device/cuda/kernel.cuh>
