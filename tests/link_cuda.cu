// The unit that nvcc compiles; it links with units of the host compiler. It needs no GPU to run: without one
// the Cuda device says so in a sentence.
#include <plimsoll/cuda.cuh>

#include "link_train.hpp"

double unit_cuda();
double unit_gpu(char* refusal, int room);

double unit_cuda() { return train_a_little<plimsoll::Host>(); }
/// \param refusal becomes what the device said where there is no GPU
double unit_gpu(char* refusal, int room) try {
    return train_a_little<plimsoll::Cuda>();
} catch (const plimsoll::device_error& refused) {
    std::snprintf(refusal, static_cast<std::size_t>(room), "%s", refused.what());
    return 0;
}
