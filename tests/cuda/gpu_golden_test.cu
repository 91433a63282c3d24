// Trajectories by PyTorch in float64, followed by a GPU.
#include "../golden_test.cpp"
