#pragma once
/// \file
/// Handles of the CUDA libraries, destroyed with their owners.

#include <plimsoll/device/cuda/status.cuh>

#include <utility>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// A handle and how to give it back; what giving back says is not heard, because it happens in destructors.
template <class Handle, auto Destroy>
class Owned {
  public:
    Owned() = default;
    Owned(Owned&& other) noexcept : handle_(std::exchange(other.handle_, Handle{})) {}
    Owned& operator=(Owned&& other) noexcept {
        std::swap(handle_, other.handle_);
        return *this;
    }
    ~Owned() {
        if (handle_ != Handle{}) static_cast<void>(Destroy(handle_));
    }
    [[nodiscard]] Handle get() const { return handle_; }
    /// For functions that make a handle.
    [[nodiscard]] Handle* out() { return &handle_; }
    explicit operator bool() const { return handle_ != Handle{}; }

  private:
    Handle handle_{};
};

using CudaStream = Owned<cudaStream_t, cudaStreamDestroy>;
using CudaEvent = Owned<cudaEvent_t, cudaEventDestroy>;
using CudaRecording = Owned<cudaGraphExec_t, cudaGraphExecDestroy>;
using CudaGraph = Owned<cudaGraph_t, cudaGraphDestroy>;
using CudnnHandle = Owned<cudnnHandle_t, cudnnDestroy>;
using CublasLtHandle = Owned<cublasLtHandle_t, cublasLtDestroy>;

inline CudaStream make_stream() {
    CudaStream stream;
    check(cudaStreamCreateWithFlags(stream.out(), cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    return stream;
}
inline CudaEvent make_event() {
    CudaEvent event;
    check(cudaEventCreateWithFlags(event.out(), cudaEventDisableTiming), "cudaEventCreateWithFlags");
    return event;
}

/// Records what is given to a stream, till it is told to end; what is thrown meanwhile ends it too.
class CudaCapture {
  public:
    explicit CudaCapture(cudaStream_t stream) : stream_(stream) {
        check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    }
    CudaCapture(const CudaCapture&) = delete;
    CudaCapture& operator=(const CudaCapture&) = delete;
    ~CudaCapture() {
        CudaGraph graph;
        if (!ended_ && cudaStreamEndCapture(stream_, graph.out()) != cudaSuccess) cudaGetLastError();
    }
    [[nodiscard]] CudaGraph end() {
        CudaGraph graph;
        check(cudaStreamEndCapture(stream_, graph.out()), "cudaStreamEndCapture");
        ended_ = true;
        return graph;
    }

  private:
    cudaStream_t stream_;
    bool ended_ = false;
};

} // namespace detail

} // namespace plimsoll::inline PLIMSOLL_ABI
