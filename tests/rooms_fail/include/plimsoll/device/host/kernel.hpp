#pragma once
#include <oneapi/dnnl/dnnl.h>
#include <plimsoll/device/cuda/kernel.cuh>
template <>
struct Kernel<Conv<3>> {
    dnnl_memory_t memory;
};
