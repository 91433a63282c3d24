// The unit that nvcc compiles; it links with units of the host compiler. It needs no GPU to run.
#include "link_train.hpp"

double unit_cuda();
double unit_cuda() { return train_a_little(); }
