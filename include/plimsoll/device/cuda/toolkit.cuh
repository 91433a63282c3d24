#pragma once
/// \file
/// The one place that includes the headers of CUDA's C libraries.

// Without it their `half` meets ours wherever a program says `using namespace plimsoll`.
#if !defined(CUDA_NO_HALF)
#define CUDA_NO_HALF
#endif

#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <cudnn.h>
