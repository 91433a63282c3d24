#pragma once
/// \file
/// Which GPUs there are, and what code a program has for them.

#include <plimsoll/device/cuda/status.cuh>

#include <string>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

inline std::string cuda_version(int number) { return text(number / 1000, ".", number % 1000 / 10); }

/// \returns the ordinal, where there is such a GPU
/// \throws device_error where CUDA can use none, argument_error for an ordinal beyond the last
inline int find_gpu(int ordinal) {
    int count = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    if (status == cudaErrorInsufficientDriver) {
        int driver = 0, runtime = 0;
        static_cast<void>(cudaDriverGetVersion(&driver));
        static_cast<void>(cudaRuntimeGetVersion(&runtime));
        cudaGetLastError();
        if (driver > 0)
            throw device_error(text("the GPU's driver is for CUDA ", cuda_version(driver),
                                    ", this program needs CUDA ", cuda_version(runtime),
                                    ": update the driver, or train on Host"));
    } else if (status != cudaSuccess && status != cudaErrorNoDevice) {
        check(status, "cudaGetDeviceCount");
    }
    cudaGetLastError();
    if (count == 0 || status != cudaSuccess)
        throw device_error("there is no NVIDIA GPU here that CUDA can use (nvidia-smi lists them): train on "
                           "Host, or look at the driver and CUDA_VISIBLE_DEVICES");
    if (ordinal >= count) {
        std::string names;
        for (int gpu = 0; gpu < count; ++gpu) {
            cudaDeviceProp properties{};
            check(cudaGetDeviceProperties(&properties, gpu), "cudaGetDeviceProperties");
            names += text(gpu > 0 ? ", " : "", gpu, " ", properties.name);
        }
        throw argument_error(text(".ordinal = ", ordinal, ": CUDA counts ", names));
    }
    return ordinal;
}

/// A kernel that every program has: tells whether there is code for a GPU in it.
template <class Unused = void>
__global__ void probe_code() {}

/// The compute capability of the code that the current GPU would run, 75 for 7.5.
/// \throws device_error if this program was built for other GPUs, or by a compiler that the driver does not
/// know
inline int compiled_for(const cudaDeviceProp& properties) {
    cudaFuncAttributes attributes{};
    const cudaError_t status =
        cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(probe_code<>));
    const std::string gpu =
        text(properties.name, " (compute capability ", properties.major, ".", properties.minor, ")");
    const int capability = 10 * properties.major + properties.minor;
    if (status == cudaErrorNoKernelImageForDevice || status == cudaErrorInvalidDeviceFunction) {
        cudaGetLastError();
        if (capability < 75) throw device_error(text(gpu, " is too old: the Cuda device needs 7.5 or newer"));
        throw device_error(text("this program has no code for ", gpu,
                                ": build it with CMAKE_CUDA_ARCHITECTURES=", capability));
    }
    if (status == cudaErrorUnsupportedPtxVersion) {
        cudaGetLastError();
        throw device_error(text("the driver is older than the compiler of this program and cannot translate "
                                "its code for ",
                                gpu,
                                ": update the driver, or build with CMAKE_CUDA_ARCHITECTURES=", capability));
    }
    check(status, "cudaFuncGetAttributes");
    return attributes.ptxVersion;
}

} // namespace detail

} // namespace plimsoll::inline PLIMSOLL_ABI
