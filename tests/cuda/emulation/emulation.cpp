#include "emulation.hpp"

#include <plimsoll/core/storage.hpp>
#include <plimsoll/device/cuda/toolkit.cuh>

#include <csetjmp>
#include <ucontext.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace {

[[noreturn]] void stop(const char* why) {
    std::fprintf(stderr, "emulation: %s\n", why);
    std::abort();
}
void require(bool holds, const char* what) {
    if (!holds) stop(what);
}

// ------------------------------------------------------------------------------------------ streams, events
struct Event {
    std::uint64_t recorded = 0, completed = 0;
};
struct Operation {
    std::function<void()> work{}; ///< or, where there is none, `event`:
    Event* event = nullptr;
    std::uint64_t ticket = 0;
    bool waits = false; ///< for the ticket, else completes it
};
struct Stream {
    std::deque<Operation> queue;
    bool records = false;
    std::vector<std::function<void()>> recorded;
};
using Recording = std::vector<std::function<void()>>;

std::set<Stream*> streams;
std::map<std::byte*, std::int64_t> device_memory;
emulation::Allocations allocations;
emulation::Others order = emulation::Others::eager;
int launched = 0;
constexpr std::int64_t device_bytes = std::int64_t{4} << 30;

Stream* stream_of(cudaStream_t stream) {
    auto* found = reinterpret_cast<Stream*>(stream);
    require(streams.count(found) == 1, "a stream that is none");
    return found;
}
bool run_one(Stream& stream) {
    if (stream.queue.empty()) return false;
    if (const Operation& next = stream.queue.front(); next.waits && next.event->completed < next.ticket)
        return false;
    const Operation next = std::move(stream.queue.front());
    stream.queue.pop_front();
    if (next.work)
        next.work();
    else if (!next.waits)
        next.event->completed = next.ticket;
    return true;
}
bool run_others(const Stream* one) {
    bool any = false;
    for (Stream* other : streams)
        if (other != one && run_one(*other)) any = true;
    return any;
}
template <class Done>
void run_until(Stream* mine, Done done) {
    while (!done()) {
        if (order == emulation::Others::eager)
            while (run_others(mine)) {
            }
        if (mine != nullptr && run_one(*mine)) continue;
        if (!done() && !run_others(mine)) stop("streams wait for each other for ever");
    }
}

} // namespace

namespace emulation {

void set_order(Others others) { order = others; }
void enqueue(cudaStream_t stream, std::function<void()> work) {
    Stream& to = *stream_of(stream);
    if (to.records)
        to.recorded.push_back(std::move(work));
    else
        to.queue.push_back({.work = std::move(work)});
}
Allocations device_allocations() { return allocations; }
int launched_recordings() { return launched; }

// -------------------------------------------------------------------------------------------------- blocks
namespace {
struct Fiber {
    ucontext_t context{};
    std::jmp_buf resume{};
    std::vector<char> stack = std::vector<char>(64 << 10);
    bool begun = false, ended = false;
};
/// Where some threads wait for each other.
struct Meeting {
    std::size_t there = 0;
    int times = 0;
};
std::vector<std::unique_ptr<Fiber>> fibers;
std::size_t running_threads = 0;
Meeting of_block;
std::vector<Meeting> of_warps;
std::vector<std::vector<char>> shared_in_warps;
std::jmp_buf scheduler;
std::size_t current = 0;
const std::function<void(int)>* body = nullptr;
std::vector<double> block_values;

// Contexts only begin fibers, which go on from block to block: changing them asks the kernel for signal
// masks, jumping does not.
/// To whoever resumed this fiber.
void yield() {
    if (_setjmp(fibers[current]->resume) == 0) _longjmp(scheduler, 1);
}
void live_as_fiber() {
    for (;;) {
        (*body)(static_cast<int>(current));
        fibers[current]->ended = true;
        --running_threads;
        yield();
    }
}
/// Runs the current fiber till it yields.
void resume() {
    Fiber& fiber = *fibers[current];
    if (_setjmp(scheduler) != 0) return;
    if (fiber.begun) _longjmp(fiber.resume, 1);
    fiber.begun = true;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.data();
    fiber.context.uc_stack.ss_size = fiber.stack.size();
    makecontext(&fiber.context, live_as_fiber, 0);
    setcontext(&fiber.context);
}
void meet(Meeting& meeting, const std::size_t& expected) {
    const int times = meeting.times;
    for (++meeting.there; meeting.times == times;) {
        if (meeting.there >= expected) {
            meeting.there = 0;
            ++meeting.times;
        } else {
            yield();
        }
    }
}
} // namespace

void run_block(int threads, const std::function<void(int)>& thread) {
    const auto count = static_cast<std::size_t>(threads);
    while (fibers.size() < count) fibers.push_back(std::make_unique<Fiber>());
    block_values.assign(count, 0);
    running_threads = count;
    of_block = {};
    of_warps.assign((count + 31) / 32, {});
    shared_in_warps.resize(of_warps.size());
    body = &thread;
    for (std::size_t f = 0; f < count; ++f) fibers[f]->ended = false;
    static bool forward = false; // a GPU promises no order
    forward = !forward;
    for (bool running = true; running;) {
        running = false;
        for (std::size_t turn = 0; turn < count; ++turn) {
            current = forward ? turn : count - 1 - turn;
            if (!fibers[current]->ended) {
                resume();
                running = running || !fibers[current]->ended;
            }
        }
    }
}
void barrier() { meet(of_block, running_threads); } // without those that have ended
void warp_barrier() {
    static constexpr std::size_t threads = 32;
    meet(of_warps[current / threads], threads);
}
const void* share_in_warp(const void* mine, std::size_t bytes) {
    static constexpr std::size_t threads = 32;
    std::vector<char>& shared = shared_in_warps[current / threads];
    shared.resize(threads * bytes);
    std::memcpy(shared.data() + current % threads * bytes, mine, bytes);
    warp_barrier();
    return shared.data();
}
double sum_over_block(double value) {
    block_values[current] = value;
    barrier();
    double sum = 0;
    for (const double each : block_values) sum += each;
    barrier();
    return sum;
}

} // namespace emulation

// ------------------------------------------------------------------------------------------------- runtime
extern "C" {

cudaError_t cudaGetDeviceCount(int* count) { return *count = 1, cudaSuccess; }
cudaError_t cudaDriverGetVersion(int* version) { return *version = CUDART_VERSION, cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int* version) { return *version = CUDART_VERSION, cudaSuccess; }
cudaError_t cudaSetDevice(int) { return cudaSuccess; }
cudaError_t cudaDeviceGetPCIBusId(char* id, int, int) { return *id = '\0', cudaSuccess; }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
    *properties = {};
    std::strcpy(properties->name, "emulation");
    properties->major = 8;
    properties->multiProcessorCount = 3;
    return cudaSuccess;
}
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
    *total = static_cast<std::size_t>(device_bytes);
    *free = static_cast<std::size_t>(device_bytes - allocations.bytes);
    return cudaSuccess;
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) {
    attributes->ptxVersion = 80;
    return cudaSuccess;
}
cudaError_t cudaGetLastError() { return cudaSuccess; }
const char* cudaGetErrorName(cudaError_t) { return "an error"; }
const char* cudaGetErrorString(cudaError_t) { return "an error"; }

cudaError_t cudaMalloc(void** out, std::size_t bytes) {
    if (static_cast<std::int64_t>(bytes) > device_bytes - allocations.bytes) return cudaErrorMemoryAllocation;
    *out = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    std::memset(*out, 0xff, bytes); // NaN
    device_memory[static_cast<std::byte*>(*out)] = static_cast<std::int64_t>(bytes);
    ++allocations.made;
    ++allocations.live;
    allocations.bytes += static_cast<std::int64_t>(bytes);
    return cudaSuccess;
}
cudaError_t cudaFree(void* data) {
    if (data == nullptr) return cudaSuccess;
    const auto found = device_memory.find(static_cast<std::byte*>(data));
    require(found != device_memory.end(), "memory is freed that was not allocated");
    for (Stream* stream : streams) run_until(stream, [&] { return stream->queue.empty(); });
    --allocations.live;
    allocations.bytes -= found->second;
    device_memory.erase(found);
    std::free(data);
    return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** out, std::size_t bytes, unsigned) {
    return *out = std::aligned_alloc(256, (bytes + 255) / 256 * 256), cudaSuccess;
}
cudaError_t cudaFreeHost(void* data) { return std::free(data), cudaSuccess; }
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
    return emulation::enqueue(stream, [=] { std::memmove(to, from, bytes); }), cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
    return emulation::enqueue(stream, [=] { std::memset(to, value, bytes); }), cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* out, unsigned) {
    auto* stream = new Stream;
    streams.insert(stream);
    return *out = reinterpret_cast<cudaStream_t>(stream), cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    Stream* mine = stream_of(stream);
    if (mine->records) return cudaErrorStreamCaptureUnsupported;
    return run_until(mine, [&] { return mine->queue.empty(); }), cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    cudaStreamSynchronize(stream);
    Stream* mine = stream_of(stream);
    streams.erase(mine);
    return delete mine, cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
    auto* waited = reinterpret_cast<Event*>(event);
    Stream& mine = *stream_of(stream);
    require(!mine.records, "an event of another stream is waited for while a pass is recorded");
    mine.queue.push_back({.event = waited, .ticket = waited->recorded, .waits = true});
    return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* out, unsigned) {
    return *out = reinterpret_cast<cudaEvent_t>(new Event), cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
    for (Stream* stream : streams) run_until(stream, [&] { return stream->queue.empty(); });
    return delete reinterpret_cast<Event*>(event), cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    auto* recorded = reinterpret_cast<Event*>(event);
    stream_of(stream)->queue.push_back({.event = recorded, .ticket = ++recorded->recorded});
    return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    const auto* waited = reinterpret_cast<Event*>(event);
    return run_until(nullptr, [&] { return waited->completed >= waited->recorded; }), cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
    return stream_of(stream)->records = true, cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* out) {
    Stream& mine = *stream_of(stream);
    mine.records = false;
    *out = reinterpret_cast<cudaGraph_t>(new Recording(std::move(mine.recorded)));
    mine.recorded.clear();
    return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* out, cudaGraph_t graph, unsigned long long) {
    *out = reinterpret_cast<cudaGraphExec_t>(new Recording(*reinterpret_cast<Recording*>(graph)));
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    return delete reinterpret_cast<Recording*>(graph), cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t recording) {
    for (Stream* stream : streams) run_until(stream, [&] { return stream->queue.empty(); });
    return delete reinterpret_cast<Recording*>(recording), cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t recording, cudaStream_t stream) {
    const auto* pass = reinterpret_cast<Recording*>(recording);
    ++launched;
    emulation::enqueue(stream, [pass] {
        for (const auto& work : *pass) work();
    });
    return cudaSuccess;
}

} // extern "C"

// ------------------------------------------------------------------------------------------------ products
namespace {

using namespace plimsoll;

/// Stored numbers whose type is known when the program runs.
class Numbers {
  public:
    Numbers(const void* data, cudaDataType_t type) : data_(const_cast<void*>(data)), type_(type) {}
    [[nodiscard]] float operator[](std::int64_t i) const {
        if (type_ == CUDA_R_32F) return static_cast<const float*>(data_)[i];
        if (type_ == CUDA_R_16F) return to_float(static_cast<const half*>(data_)[i]);
        return to_float(static_cast<const bfloat16*>(data_)[i]);
    }
    void set(std::int64_t i, float value) const {
        if (type_ == CUDA_R_32F)
            static_cast<float*>(data_)[i] = value;
        else if (type_ == CUDA_R_16F)
            static_cast<half*>(data_)[i] = to<half>(value);
        else
            static_cast<bfloat16*>(data_)[i] = to<bfloat16>(value);
    }

  private:
    void* data_;
    cudaDataType_t type_;
};
std::int64_t size_of(cudaDataType_t type) { return type == CUDA_R_32F ? 4 : 2; }

/// That an operand lies inside one allocation.
void check_range(const void* data, std::int64_t bytes, const char* what) {
    const auto* first = static_cast<const std::byte*>(data);
    auto found = device_memory.upper_bound(const_cast<std::byte*>(first));
    require(found != device_memory.begin(), what);
    --found;
    require(first + bytes <= found->first + found->second, what);
}

struct Product {
    cublasOperation_t a = CUBLAS_OP_N, b = CUBLAS_OP_N;
    cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    const void* bias = nullptr;
};
struct Matrix {
    cudaDataType_t type = CUDA_R_32F;
    std::uint64_t rows = 0, columns = 0;
    std::int64_t stride = 0;
    std::int32_t batch = 1;
    std::int64_t apart = 0; ///< matrices of a batch
};

template <class Made, class Handle, class... Values>
cublasStatus_t make(Handle* out, Values... values) {
    return *out = reinterpret_cast<Handle>(new Made{values...}), CUBLAS_STATUS_SUCCESS;
}
template <class Made, class Handle>
cublasStatus_t destroy(Handle handle) {
    return delete reinterpret_cast<Made*>(handle), CUBLAS_STATUS_SUCCESS;
}

} // namespace

cublasStatus_t cublasLtCreate(cublasLtHandle_t* out) { return make<int>(out, 0); }
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) { return destroy<int>(handle); }
const char* cublasLtGetStatusName(cublasStatus_t) { return "an error"; }
const char* cublasLtGetStatusString(cublasStatus_t) { return "an error"; }
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* out, cublasComputeType_t, cudaDataType_t) {
    return make<Product>(out);
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t product) { return destroy<Product>(product); }
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t name,
                                              const void* value, std::size_t bytes) {
    auto& product = *reinterpret_cast<Product*>(desc);
    if (name == CUBLASLT_MATMUL_DESC_TRANSA) std::memcpy(&product.a, value, bytes);
    if (name == CUBLASLT_MATMUL_DESC_TRANSB) std::memcpy(&product.b, value, bytes);
    if (name == CUBLASLT_MATMUL_DESC_EPILOGUE) std::memcpy(&product.epilogue, value, bytes);
    if (name == CUBLASLT_MATMUL_DESC_BIAS_POINTER) std::memcpy(&product.bias, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* out, cudaDataType_t type,
                                          std::uint64_t rows, std::uint64_t columns, std::int64_t stride) {
    return make<Matrix>(out, type, rows, columns, stride);
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                cublasLtMatrixLayoutAttribute_t name, const void* value,
                                                std::size_t bytes) {
    auto& matrix = *reinterpret_cast<Matrix*>(layout);
    if (name == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT) std::memcpy(&matrix.batch, value, bytes);
    if (name == CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET) std::memcpy(&matrix.apart, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) { return destroy<Matrix>(layout); }
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* out) {
    return make<std::size_t>(out, std::size_t{0});
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p) {
    return destroy<std::size_t>(p);
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t name,
                                                    const void* value, std::size_t bytes) {
    if (name == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES) std::memcpy(preference, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
}
/// Takes all the workspace it may have.
std::size_t cudnnGetVersion() { return CUDNN_VERSION; }
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatmulPreference_t preference,
                                              int, cublasLtMatmulHeuristicResult_t* found, int* count) {
    *found = {};
    found->workspaceSize = *reinterpret_cast<std::size_t*>(preference);
    return *count = 1, CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void*, const void* a,
                              cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout,
                              const void* beta, const void*, cublasLtMatrixLayout_t, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t*, void* workspace,
                              std::size_t workspace_bytes, cudaStream_t stream) {
    const Product product = *reinterpret_cast<Product*>(desc);
    const Matrix A = *reinterpret_cast<Matrix*>(a_layout), B = *reinterpret_cast<Matrix*>(b_layout),
                 D = *reinterpret_cast<Matrix*>(d_layout);
    const float before = *static_cast<const float*>(beta);
    // As for the library's kernels for Hopper.
    if (reinterpret_cast<std::uintptr_t>(workspace) % 256 != 0) return CUBLAS_STATUS_INVALID_VALUE;
    if (workspace_bytes > 0)
        check_range(workspace, static_cast<std::int64_t>(workspace_bytes),
                    "a workspace reaches beyond its memory");
    for (const auto& [data, layout] :
         {std::pair{a, A}, std::pair{b, B}, std::pair<const void*, Matrix>{d, D}})
        check_range(
            data,
            (layout.stride * static_cast<std::int64_t>(layout.columns) + layout.apart * (layout.batch - 1)) *
                size_of(layout.type),
            "a matrix reaches beyond its memory");
    const std::int64_t depth = static_cast<std::int64_t>(product.a == CUBLAS_OP_N ? A.columns : A.rows);
    require(depth == static_cast<std::int64_t>(product.b == CUBLAS_OP_N ? B.rows : B.columns) &&
                D.rows == (product.a == CUBLAS_OP_N ? A.rows : A.columns) &&
                D.columns == (product.b == CUBLAS_OP_N ? B.columns : B.rows) && A.batch == D.batch &&
                B.batch == D.batch,
            "matrices do not fit each other");
    const auto multiply = [=](std::int64_t a_first, std::int64_t b_first, std::int64_t d_first) {
        const Numbers x(a, A.type), y(b, B.type), out(d, D.type), bias(product.bias, D.type);
        for (std::int64_t column = 0; column < static_cast<std::int64_t>(D.columns); ++column)
            for (std::int64_t row = 0; row < static_cast<std::int64_t>(D.rows); ++row) {
                double sum = 0;
                for (std::int64_t k = 0; k < depth; ++k)
                    sum +=
                        static_cast<double>(x[a_first + (product.a == CUBLAS_OP_N ? k * A.stride + row
                                                                                  : row * A.stride + k)]) *
                        static_cast<double>(y[b_first + (product.b == CUBLAS_OP_N ? column * B.stride + k
                                                                                  : k * B.stride + column)]);
                const std::int64_t at = d_first + column * D.stride + row;
                if (before != 0) sum += static_cast<double>(before) * static_cast<double>(out[at]);
                if (product.epilogue == CUBLASLT_EPILOGUE_BIAS) sum += static_cast<double>(bias[row]);
                out.set(at, static_cast<float>(sum));
            }
    };
    emulation::enqueue(stream, [=] {
        for (std::int64_t i = 0; i < D.batch; ++i) multiply(i * A.apart, i * B.apart, i * D.apart);
    });
    return CUBLAS_STATUS_SUCCESS;
}

// ------------------------------------------------------------------------------------------------- cuDNN
namespace {

struct Convolved;

struct Descriptor {
    cudnnBackendDescriptorType_t type;
    std::map<cudnnBackendAttributeName_t, std::vector<unsigned char>> attributes{};
    int engine = -1;                                 ///< of configurations, engines and plans
    std::shared_ptr<const Convolved> convolved = {}; ///< of plans, which outlive what they were made from

    template <class Value>
    [[nodiscard]] std::vector<Value> all(cudnnBackendAttributeName_t name) const {
        const auto found = attributes.find(name);
        require(found != attributes.end(), "an attribute is missing");
        std::vector<Value> values(found->second.size() / sizeof(Value));
        std::memcpy(values.data(), found->second.data(), found->second.size());
        return values;
    }
    template <class Value>
    [[nodiscard]] Value one(cudnnBackendAttributeName_t name) const {
        return all<Value>(name).at(0);
    }
    [[nodiscard]] Descriptor& other(cudnnBackendAttributeName_t name) const {
        return *static_cast<Descriptor*>(one<cudnnBackendDescriptor_t>(name));
    }
};

struct Tensor {
    std::int64_t id = 0;
    cudaDataType_t type = CUDA_R_32F;
    std::vector<std::int64_t> extents{}, strides{};

    explicit Tensor(const Descriptor& from)
        : id(from.one<std::int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID)),
          extents(from.all<std::int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS)),
          strides(from.all<std::int64_t>(CUDNN_ATTR_TENSOR_STRIDES)) {
        const auto stored = from.one<cudnnDataType_t>(CUDNN_ATTR_TENSOR_DATA_TYPE);
        type = stored == CUDNN_DATA_HALF       ? CUDA_R_16F
               : stored == CUDNN_DATA_BFLOAT16 ? CUDA_R_16BF
                                               : CUDA_R_32F;
    }
    [[nodiscard]] std::int64_t at(std::int64_t a, std::int64_t b, std::int64_t c, std::int64_t d) const {
        return a * strides[0] + b * strides[1] + c * strides[2] + d * strides[3];
    }
    [[nodiscard]] std::int64_t size() const { return extents[0] * extents[1] * extents[2] * extents[3]; }
};

struct Convolved {
    cudnnBackendDescriptorType_t what;
    Tensor x, w, y;
    std::int64_t padding, stride;
    float scale;
    std::optional<Tensor> bias{}; ///< added to y
};

/// Engines that are proposed: one whose results vary, one of a huge workspace, one that is compiled, one that
/// will do.
constexpr int engines = 4;
std::int64_t workspace_of(int engine) { return engine == 1 ? std::int64_t{1} << 40 : 4096; }

/// Of a convolution alone, or one to whose result a bias is added.
Convolved convolution_of(const Descriptor& graph) {
    const auto operations = graph.all<cudnnBackendDescriptor_t>(CUDNN_ATTR_OPERATIONGRAPH_OPS);
    const Descriptor& operation = *static_cast<Descriptor*>(operations.at(0));
    const auto name = [&](cudnnBackendAttributeName_t f, cudnnBackendAttributeName_t d,
                          cudnnBackendAttributeName_t w) {
        return operation.type == CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR         ? f
               : operation.type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR ? d
                                                                                                : w;
    };
    const Descriptor& how = operation.other(name(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                                                 CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                                                 CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC));
    Convolved made{operation.type,
                   Tensor(operation.other(name(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                                               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                                               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X))),
                   Tensor(operation.other(name(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                                               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                                               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW))),
                   Tensor(operation.other(name(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
                                               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                                               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY))),
                   how.one<std::int64_t>(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS),
                   how.one<std::int64_t>(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES),
                   operation.one<float>(name(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                                             CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                                             CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA))};
    if (operations.size() > 1) {
        const Descriptor& addition = *static_cast<Descriptor*>(operations[1]);
        const auto mode = addition.other(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR)
                              .one<cudnnPointwiseMode_t>(CUDNN_ATTR_POINTWISE_MODE);
        require(mode == CUDNN_POINTWISE_ADD, "what follows a convolution is no addition");
        const Tensor sums(addition.other(CUDNN_ATTR_OPERATION_POINTWISE_XDESC));
        require(sums.id == made.y.id, "what is added to is not the convolution's result");
        made.bias.emplace(addition.other(CUDNN_ATTR_OPERATION_POINTWISE_BDESC));
        made.y = Tensor(addition.other(CUDNN_ATTR_OPERATION_POINTWISE_YDESC));
    }
    return made;
}

void convolve(const Convolved& c, const std::map<std::int64_t, void*>& pointers) {
    const Numbers stored[] = {
        {pointers.at(c.x.id), c.x.type}, {pointers.at(c.w.id), c.w.type}, {pointers.at(c.y.id), c.y.type}};
    const Tensor* tensors[] = {&c.x, &c.w, &c.y};
    const int result = c.what == CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR         ? 2
                       : c.what == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR ? 0
                                                                                                : 1;
    std::vector<double> values[3];
    for (int t = 0; t < 3; ++t) {
        values[t].assign(static_cast<std::size_t>(tensors[t]->size()), 0);
        if (t != result)
            for (std::int64_t i = 0; i < tensors[t]->size(); ++i)
                values[t][static_cast<std::size_t>(i)] = static_cast<double>(stored[t][i]);
    }
    const auto& [x, w, y] = values;
    const auto value = [](const std::vector<double>& of, std::int64_t i) -> double& {
        return const_cast<double&>(of[static_cast<std::size_t>(i)]);
    };
    for (std::int64_t n = 0; n < c.y.extents[0]; ++n)
        for (std::int64_t oy = 0; oy < c.y.extents[2]; ++oy)
            for (std::int64_t ox = 0; ox < c.y.extents[3]; ++ox)
                for (std::int64_t ky = 0; ky < c.w.extents[2]; ++ky)
                    for (std::int64_t kx = 0; kx < c.w.extents[3]; ++kx) {
                        const std::int64_t iy = oy * c.stride - c.padding + ky,
                                           ix = ox * c.stride - c.padding + kx;
                        if (iy < 0 || iy >= c.x.extents[2] || ix < 0 || ix >= c.x.extents[3]) continue;
                        for (std::int64_t f = 0; f < c.w.extents[0]; ++f)
                            for (std::int64_t k = 0; k < c.w.extents[1]; ++k) {
                                double& at_x = value(x, c.x.at(n, k, iy, ix));
                                double& at_w = value(w, c.w.at(f, k, ky, kx));
                                double& at_y = value(y, c.y.at(n, f, oy, ox));
                                if (result == 2) at_y += at_x * at_w;
                                if (result == 0) at_x += at_y * at_w;
                                if (result == 1) at_w += at_x * at_y;
                            }
                    }
    if (c.bias) {
        const Numbers bias(pointers.at(c.bias->id), c.bias->type);
        for (std::int64_t n = 0; n < c.y.extents[0]; ++n)
            for (std::int64_t f = 0; f < c.y.extents[1]; ++f)
                for (std::int64_t oy = 0; oy < c.y.extents[2]; ++oy)
                    for (std::int64_t ox = 0; ox < c.y.extents[3]; ++ox)
                        value(y, c.y.at(n, f, oy, ox)) += static_cast<double>(bias[c.bias->at(0, f, 0, 0)]);
    }
    for (std::int64_t i = 0; i < tensors[result]->size(); ++i)
        stored[result].set(i, static_cast<float>(static_cast<double>(c.scale) *
                                                 values[result][static_cast<std::size_t>(i)]));
}

std::size_t size_of(cudnnBackendAttributeType_t type) {
    switch (type) {
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR:
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_DOUBLE:
        return 8;
    case CUDNN_TYPE_BOOLEAN:
        return 1;
    default:
        return 4;
    }
}

struct CudnnHandle {
    cudaStream_t stream = nullptr;
};

} // namespace

cudnnStatus_t cudnnCreate(cudnnHandle_t* out) {
    return *out = reinterpret_cast<cudnnHandle_t>(new CudnnHandle), CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
    return delete reinterpret_cast<CudnnHandle*>(handle), CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
    return reinterpret_cast<CudnnHandle*>(handle)->stream = stream, CUDNN_STATUS_SUCCESS;
}
const char* cudnnGetErrorString(cudnnStatus_t) { return "an error"; }
void cudnnGetLastErrorString(char* message, std::size_t) { *message = '\0'; }
cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t* out) {
    return *out = new Descriptor{type}, CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
    return delete static_cast<Descriptor*>(descriptor), CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, std::int64_t count,
                                       const void* values) {
    const auto* bytes = static_cast<const unsigned char*>(values);
    static_cast<Descriptor*>(descriptor)
        ->attributes[name]
        .assign(bytes, bytes + static_cast<std::size_t>(count) * size_of(type));
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor) {
    auto& done = *static_cast<Descriptor*>(descriptor);
    if (done.type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR) {
        const Descriptor& configuration = done.other(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
        done.engine = configuration.engine;
        done.convolved = std::make_shared<const Convolved>(
            convolution_of(configuration.other(CUDNN_ATTR_ENGINE_OPERATION_GRAPH)));
    }
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t const descriptor,
                                       cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t,
                                       std::int64_t room, std::int64_t* count, void* values) {
    const auto& asked = *static_cast<Descriptor*>(descriptor);
    const auto answer = [&](auto value) {
        *count = 1;
        if (room > 0) std::memcpy(values, &value, sizeof value);
    };
    switch (name) {
    case CUDNN_ATTR_ENGINEHEUR_RESULTS: {
        const bool fallback =
            asked.one<cudnnBackendHeurMode_t>(CUDNN_ATTR_ENGINEHEUR_MODE) == CUDNN_HEUR_MODE_FALLBACK;
        *count = fallback ? 0 : engines;
        for (std::int64_t i = 0; i < std::min(room, *count); ++i) {
            auto& proposed = *static_cast<Descriptor*>(static_cast<cudnnBackendDescriptor_t*>(values)[i]);
            proposed.engine = static_cast<int>(i);
            proposed.attributes[CUDNN_ATTR_ENGINE_OPERATION_GRAPH] =
                asked.attributes.at(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
        }
        break;
    }
    case CUDNN_ATTR_ENGINECFG_ENGINE:
        *count = 1;
        static_cast<Descriptor*>(*static_cast<cudnnBackendDescriptor_t*>(values))->engine = asked.engine;
        break;
    case CUDNN_ATTR_ENGINE_NUMERICAL_NOTE:
        *count = 0;
        if (asked.engine == 0) answer(CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC);
        break;
    case CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE:
        *count = 0;
        if (asked.engine == 2) answer(CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION);
        break;
    case CUDNN_ATTR_ENGINE_GLOBAL_INDEX:
        answer(std::int64_t{asked.engine});
        break;
    case CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE:
        answer(workspace_of(asked.engine));
        break;
    default:
        stop("an attribute that nobody was expected to ask for");
    }
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan,
                                  cudnnBackendDescriptor_t pack) {
    const auto &planned = *static_cast<Descriptor*>(plan), &given = *static_cast<Descriptor*>(pack);
    const Convolved& convolved = *planned.convolved;
    const auto ids = given.all<std::int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
    const auto pointers = given.all<void*>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
    auto* workspace = given.one<void*>(CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
    const std::int64_t workspace_bytes = workspace_of(planned.engine);
    std::map<std::int64_t, void*> operands;
    for (std::size_t i = 0; i < ids.size(); ++i) operands[ids[i]] = pointers[i];
    for (const Tensor* tensor : {&convolved.x, &convolved.w, &convolved.y})
        check_range(operands.at(tensor->id), tensor->size() * size_of(tensor->type),
                    "a tensor reaches beyond its memory");
    if (convolved.bias)
        check_range(operands.at(convolved.bias->id), convolved.bias->size() * size_of(convolved.bias->type),
                    "a bias reaches beyond its memory");
    check_range(workspace, workspace_bytes, "workspace reaches beyond its memory");
    emulation::enqueue(reinterpret_cast<CudnnHandle*>(handle)->stream,
                       [convolved, operands, workspace, workspace_bytes] {
                           std::memset(workspace, 0xff, static_cast<std::size_t>(workspace_bytes));
                           convolve(convolved, operands);
                       });
    return CUDNN_STATUS_SUCCESS;
}
