#pragma once
/// \file
/// A stand-in for the CUDA runtime, cuDNN's backend and cublasLt, for tests without a GPU. It computes
/// nothing: a kernel, a plan or a matrix product that runs leaves no trace but a record. Allocations, copies
/// and fills are real, in host memory, at once. What it knows, it knows from the headers and from the
/// libraries' answers without a GPU; what a GPU does with the same calls it cannot say.
///
/// stand_in.cpp takes the libraries' place when linking (`nvcc -cudart none`, and no -lcudart, -lcudnn,
/// -lcublasLt).

#include <cstdint>
#include <string>
#include <vector>

namespace plimsoll_test::stand_in {

/// What can be alive.
enum class Kind {
    device_memory,
    pinned_memory,
    stream,
    event,
    graph,
    graph_exec,
    cudnn_handle,
    cudnn_descriptor,
    cublaslt_handle,
    matmul_desc,
    matrix_layout,
    matmul_preference,
};

/// An engine that cuDNN's heuristics propose, in the order of `Options::engines`.
struct Engine {
    std::int64_t global_index = 0;
    std::int64_t workspace = 0;            ///< bytes, of any plan made of it
    std::vector<int> numerical_notes = {}; ///< cudnnBackendNumericalNote_t
    std::vector<int> behavior_notes = {};  ///< cudnnBackendBehaviorNote_t
    bool supported = true;                 ///< else its plans are refused: CUDNN_STATUS_NOT_SUPPORTED
    bool compiles = true; ///< else they are refused: CUDNN_STATUS_INTERNAL_ERROR_COMPILATION_FAILED
};

/// The machine that is simulated.
struct Options {
    int devices = 1;         ///< 0: cudaErrorNoDevice
    bool old_driver = false; ///< older than the runtime: cudaErrorInsufficientDriver
    /// Of each device. What is allocated of it is filled, so the host must have it.
    std::int64_t memory = std::int64_t{4} << 30;
    std::int64_t taken_by_others = 0; ///< of it, neither free nor ours
    int compute_major = 9, compute_minor = 0;
    /// What cudaFuncGetAttributes says of kernels. CUB launches none if it is not nvcc's -arch.
    int compiled_for = 80;
    int multiprocessors = 132;
    std::string device_name = "Stand-in";
    std::vector<Engine> engines = {{.global_index = 1, .workspace = 1 << 20}, {.global_index = 0}};
    std::vector<std::int64_t> matmul_workspaces = {1 << 20, 0}; ///< bytes, an algorithm each
};

enum class Direction { none, host_to_host, host_to_device, device_to_host, device_to_device };

/// A call. Every way to launch a kernel is called "cudaLaunchKernel"; what nvcc's host code asks for beside
/// (registration, launch configurations) is no call.
struct Record {
    std::string name = {};
    std::int64_t bytes = 0;       ///< allocated, copied or filled; the workspace of what is executed
    std::int64_t count = 0;       ///< threads of a launch, nodes of a graph, cuDNN's descriptor or attribute
    const void* stream = nullptr; ///< null where there is none, and for the null stream
    const void* object = nullptr; ///< the memory, handle or descriptor that it is about
    Direction direction = Direction::none;
    std::string kernel = {}; ///< that was launched, as C++ writes it
    bool captured = false;   ///< went into a graph and was not done
    bool pageable = false;   ///< an asynchronous copy whose host side is not pinned
    int status = 0;          ///< what it returned: cudaError_t, cudnnStatus_t or cublasStatus_t
    bool continued = false;  ///< came after a failure: see continued()
};

/// A new machine: forgets records, failures and violations, and takes everything back that is alive. For when
/// no other thread is in a call.
void reset(const Options& options = {});
/// Changes the machine under what is alive.
void change(const Options& options);
/// What it is now.
Options options();

/// The n-th call from now fails, 1 being the next: with `status`, or where that is 0 with an error that its
/// library might give. Counted is what can fail, but for calls that destroy. A call that fails has done
/// nothing; a launch's failure is what cudaGetLastError says next.
void fail_call(int nth, int status = 0);
/// The n-th call of that name from now fails. A call that destroys has destroyed all the same, as one that
/// reports the failure of earlier work.
void fail_named(const std::string& name, int nth = 1, int status = 0);
/// The calls that fail_call counts, since reset.
int counted_calls();
/// The failures asked for that have not come yet.
int pending_failures();

/// The calls since reset, in order. For when no other thread is in a call.
const std::vector<Record>& calls();
/// How many of them have that name.
int count(const std::string& name);
/// The calls as text, one a line, for messages.
std::string trace();

/// What is alive of a kind.
int live(Kind kind);
/// What is alive, as text: "2 stream, 1 event"; empty where nothing is.
std::string alive();
std::int64_t device_bytes();
std::int64_t peak_device_bytes();
std::int64_t pinned_bytes();

/// What no program may do and the libraries need not notice: memory or handles used after their end, copies,
/// tensors, matrices and workspaces outside one live allocation, a workspace that is also an operand.
std::vector<std::string> violations();
/// The calls after the first failed one, by name, but for those that clean up or say what failed: what
/// destroys, frees, waits or ends a capture, asks for or selects the device, explains errors, asks for
/// versions or free memory. A refusal is no failure: cudaErrorNotReady, CUDNN_STATUS_NOT_SUPPORTED and its
/// kin, an engine that cannot be compiled, CUBLAS_STATUS_NOT_SUPPORTED.
std::vector<std::string> continued();
/// From here on nothing has failed.
void forgive();

} // namespace plimsoll_test::stand_in
