#pragma once
#include <plimsoll/format/npy.hpp>
#include <plimsoll/plimsoll.hpp>
#include "beside.hpp"
#include <cuda_runtime.h>
