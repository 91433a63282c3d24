// Jobs on a GPU.
#include "device_test.cpp"
