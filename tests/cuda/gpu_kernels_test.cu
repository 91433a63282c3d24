// Kernels on a GPU.
#include "kernels_device_test.cpp"
