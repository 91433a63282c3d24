#pragma once
#include <cub/cub.cuh>
#include <cudnn.h>
#include <plimsoll/model/layers/conv.hpp>
#include <oneapi/dnnl/dnnl.h>
