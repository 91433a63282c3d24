// The unit that nvcc compiles; it links with units of the host compiler. It needs no GPU to run.
#if __has_include(<plimsoll/cuda.cuh>)
#include <plimsoll/cuda.cuh>
#else
#include <plimsoll/plimsoll.hpp>
#endif

int unit_cuda();
int unit_cuda() { return PLIMSOLL_VERSION_PATCH; }
