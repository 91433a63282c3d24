// The entry points behind stand_in.hpp, compiled against the libraries' own headers, so that a signature that
// differs is an error. Statuses that no document gives are those of CUDA 13.0 and cuDNN 9.19 without a GPU.
#include "stand_in.hpp"

#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <cudnn.h>

#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <sstream>
#include <thread>
#include <utility>

namespace plimsoll_test::stand_in {
namespace {

// ------------------------------------------------------------------------------------- what there is

constexpr const char* kinds[] = {"device_memory",   "pinned_memory", "stream",        "event",
                                 "graph",           "graph_exec",    "cudnn_handle",  "cudnn_descriptor",
                                 "cublaslt_handle", "matmul_desc",   "matrix_layout", "matmul_preference"};
const char* name_of(Kind kind) { return kinds[static_cast<std::size_t>(kind)]; }

template <class... Parts>
std::string text(const Parts&... parts) {
    std::ostringstream out;
    (out << ... << parts);
    return out.str();
}

/// Memory that some work reads or writes.
struct Range {
    std::string what;
    const void* from = nullptr;
    std::int64_t bytes = 0;
    Kind kind = Kind::device_memory;
    bool exclusive = false; ///< may overlap no other of the same work
};

/// What is put into a stream, and what a graph's node is.
struct Work {
    std::string name;
    std::vector<Range> touches = {};
    std::function<void()> run = {};
};

struct Object {
    virtual ~Object() = default;
    int device = 0;
};
struct Stream;
/// How far into each stream of a capture something comes after.
using Clock = std::map<const Stream*, int>;
struct Capture {
    cudaStreamCaptureMode mode;
    Stream* origin;
    int thread;
    bool invalid = false, ended = false;
    std::vector<Work> nodes = {};
    std::vector<Stream*> streams = {}; ///< the origin and those that joined
};
struct Stream : Object {
    bool blocking = true; ///< with the null stream
    std::shared_ptr<Capture> capture = {};
    Clock seen = {};
};
struct Event : Object {
    bool timed = true, recorded = false;
    std::shared_ptr<Capture> capture = {}; ///< that it was last recorded in
    Clock seen = {};
    std::int64_t at = 0; ///< calls before it was recorded
};
struct Graph : Object {
    std::vector<Work> nodes;
};
/// A library's handle, or a descriptor of cublasLt: bytes by attribute.
struct Settings : Object {
    cudaStream_t stream = nullptr;
    std::map<int, std::vector<std::byte>> fields = {};

    template <class T>
    T get(int field, T fallback) const {
        const auto found = fields.find(field);
        if (found != fields.end()) std::memcpy(&fallback, found->second.data(), sizeof(T));
        return fallback;
    }
    void set(int field, const void* value, std::size_t size) {
        const auto* bytes = static_cast<const std::byte*>(value);
        fields[field].assign(bytes, bytes + size);
    }
};

struct Block {
    std::int64_t bytes;
    Kind kind;
    int device;
};
struct Slot {
    Kind kind;
    std::shared_ptr<Object> object; ///< null once destroyed
};
struct Function {
    std::string name;
    int shared_limit = 48 << 10; ///< of dynamic shared memory
};
struct Failure {
    std::string name; ///< empty: any call that is counted
    int remaining, status;
};
struct PerThread {
    int device = 0;
    cudaError_t last = cudaSuccess;
    std::string cudnn_message = {};
};

struct State {
    std::mutex mutex;
    Options options;
    std::vector<Record> calls;
    std::vector<std::string> violations;
    std::vector<Failure> failures;
    int counted = 0;
    bool failed = false;
    std::int64_t peak = 0;
    std::map<std::uintptr_t, Block> blocks;
    std::set<const void*> freed;
    std::map<const void*, Slot> slots;
    std::uintptr_t next_handle = 0x5a0000000000; // never one twice, so that a dead handle stays dead
    std::shared_ptr<Stream> null_stream = std::make_shared<Stream>();
    std::vector<std::shared_ptr<Capture>> captures; // that have not ended
    std::map<int, PerThread> threads;
    int threads_seen = 0;
    std::map<const void*, Function> functions; // outlive a reset: they are registered once
};

/// Never destroyed: constructors register kernels before main, and destructors free memory after it.
State& state() {
    static State& only = *new State;
    return only;
}

/// A thread's number, because its id may be another's later.
int thread_number() {
    thread_local const int number = ++state().threads_seen;
    return number;
}
PerThread& this_thread() { return state().threads[thread_number()]; }

void violation(const std::string& what) { state().violations.push_back(what); }

// ------------------------------------------------------------------------------------- one call

enum Rule : unsigned {
    ordinary = 0,
    explains = 1,  ///< errors and versions: cannot fail
    cleans = 2,    ///< may follow a failure, to clean up or to say what failed
    destroys = 4,  ///< may follow a failure, and is done even if it fails
    unsafe = 8,    ///< not while a capture that is not relaxed goes on
    anywhere = 16, ///< answers without a driver or a device
};

template <class Status>
constexpr Status broken = cudaErrorUnknown;
template <>
constexpr cudnnStatus_t broken<cudnnStatus_t> = CUDNN_STATUS_INTERNAL_ERROR;
template <>
constexpr cublasStatus_t broken<cublasStatus_t> = CUBLAS_STATUS_INTERNAL_ERROR;

bool refusal(cudaError_t status) { return status == cudaErrorNotReady; }
bool refusal(cudnnStatus_t status) {
    return CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_NOT_SUPPORTED ||
           status == CUDNN_STATUS_INTERNAL_ERROR_COMPILATION_FAILED;
}
bool refusal(cublasStatus_t status) { return status == CUBLAS_STATUS_NOT_SUPPORTED; }

cudaError_t machine() {
    if (state().options.old_driver) return cudaErrorInsufficientDriver;
    return state().options.devices == 0 ? cudaErrorNoDevice : cudaSuccess;
}

/// Whether a call that no capture may see is made during one; that capture is lost.
bool disturbs_capture() {
    bool disturbs = false;
    for (const std::shared_ptr<Capture>& capture : state().captures) {
        const bool own = capture->thread == thread_number();
        if (capture->mode == cudaStreamCaptureModeGlobal ||
            (capture->mode == cudaStreamCaptureModeThreadLocal && own))
            disturbs = capture->invalid = true;
    }
    return disturbs;
}

std::optional<int> failure_of(const std::string& name, bool counted) {
    std::optional<int> status;
    for (Failure& failure : state().failures)
        if (failure.name == name || (failure.name.empty() && counted))
            if (--failure.remaining == 0) status = failure.status;
    std::erase_if(state().failures, [](const Failure& failure) { return failure.remaining == 0; });
    return status;
}

template <class Status, class Body>
Status perform(unsigned rules, Record& record, Body& body) {
    constexpr bool runtime = std::is_same_v<Status, cudaError_t>;
    if constexpr (runtime)
        if ((rules & (anywhere | explains)) == 0 && machine() != cudaSuccess) return machine();
    if ((rules & unsafe) != 0 && disturbs_capture()) {
        if constexpr (runtime) return cudaErrorStreamCaptureUnsupported;
        return broken<Status>;
    }
    try {
        return body(record);
    } catch (const std::exception& thrown) { // none may leave a C function
        violation(text(record.name, ": the stand-in could not follow: ", thrown.what()));
        return broken<Status>;
    }
}

/// Every entry point but those of nvcc's host code: `body(record)` does it, unless it is to fail.
template <class Body, class Status = std::invoke_result_t<Body&, Record&>>
Status entry(const char* name, unsigned rules, Record record, Body body) {
    State& now = state();
    const std::lock_guard lock(now.mutex);
    record.name = name;
    const bool can_fail = (rules & explains) == 0, counted = can_fail && (rules & destroys) == 0;
    now.counted += counted;
    record.continued = now.failed && counted && (rules & cleans) == 0;
    const std::optional<int> failure = can_fail ? failure_of(name, counted) : std::nullopt;
    Status status{}; // 0 is success in all three libraries
    if (!failure || (rules & destroys) != 0) status = perform<Status>(rules, record, body);
    if (failure) status = *failure == 0 ? broken<Status> : static_cast<Status>(*failure);
    if constexpr (std::is_same_v<Status, cudnnStatus_t>)
        if (failure && *failure == 0 && record.name == "cudnnBackendExecute")
            status = CUDNN_STATUS_EXECUTION_FAILED;
    if (can_fail && status != Status{} && !refusal(status)) {
        now.failed = true;
        if constexpr (std::is_same_v<Status, cudaError_t>) this_thread().last = status;
    }
    record.status = static_cast<int>(status);
    now.calls.push_back(std::move(record));
    return status;
}

/// An entry point that answers with a text or a number.
template <class Answer>
Answer answer(const char* name, Answer value) {
    entry(name, explains, {}, [](Record&) { return cudaSuccess; });
    return value;
}

/// Writes an answer to where it was asked for.
template <class T, class Value>
cudaError_t give(T* place, Value value) {
    *place = static_cast<T>(value);
    return cudaSuccess;
}

// ------------------------------------------------------------------------------------- what is alive

template <class Status = cudaError_t, class T, class Handle>
Status create(Kind kind, Handle* handle, Record& record, T object) {
    object.device = this_thread().device;
    *handle = reinterpret_cast<Handle>(state().next_handle += 64);
    record.object = *handle;
    state().slots[*handle] = {kind, std::make_shared<T>(std::move(object))};
    return Status{};
}

/// The object behind a handle, if it is alive and of this kind; else null, and a violation.
template <class T = Object>
std::shared_ptr<T> use(const Record& call, const void* handle, Kind kind) {
    const auto found = state().slots.find(handle);
    const bool known = found != state().slots.end() && found->second.kind == kind;
    if (known && found->second.object) return std::static_pointer_cast<T>(found->second.object);
    violation(text(call.name, ": ", handle, known ? ", destroyed before, was a " : " is no ", name_of(kind)));
    return nullptr;
}

template <class Status>
Status destroy(const char* name, const void* handle, Kind kind, Status bad) {
    return entry(name, destroys, {.object = handle}, [&](Record& record) {
        if (handle == nullptr && kind >= Kind::matmul_desc) return Status{}; // as cublasLt has it
        if (!use(record, handle, kind)) return bad;
        state().slots[handle].object.reset();
        return Status{};
    });
}

std::int64_t bytes_alive(Kind kind, std::optional<int> device = {}) {
    std::int64_t sum = 0;
    for (const auto& [from, block] : state().blocks)
        if (block.kind == kind && (!device || *device == block.device)) sum += block.bytes;
    return sum;
}

std::int64_t bytes_free() {
    const Options& options = state().options;
    return options.memory - options.taken_by_others - bytes_alive(Kind::device_memory, this_thread().device);
}

/// The live allocation that a pointer is in, from its first byte on.
const std::pair<const std::uintptr_t, Block>* block_of(const void* pointer) {
    const auto address = reinterpret_cast<std::uintptr_t>(pointer);
    auto found = state().blocks.upper_bound(address);
    if (found == state().blocks.begin()) return nullptr;
    --found;
    return address - found->first < static_cast<std::uintptr_t>(found->second.bytes) ? &*found : nullptr;
}

bool on_device(const void* pointer) {
    const auto* block = block_of(pointer);
    return block != nullptr && block->second.kind == Kind::device_memory;
}

/// Whether what some work touches is there; a violation for each that is not.
bool sound(const Work& work) {
    const std::size_t before = state().violations.size();
    for (const Range& range : work.touches) {
        if (range.bytes == 0) continue;
        const std::string what =
            text(work.name, ": ", range.what, ", ", range.bytes, " bytes at ", range.from);
        const auto* block = block_of(range.from);
        if (block == nullptr || block->second.kind != range.kind) {
            violation(text(what, ", is in no live ", name_of(range.kind)));
            continue;
        }
        const auto at = reinterpret_cast<std::uintptr_t>(range.from) - block->first;
        if (range.bytes > block->second.bytes - static_cast<std::int64_t>(at))
            violation(
                text(what, ", ends outside its allocation: from byte ", at, " of ", block->second.bytes));
        const auto* begin = static_cast<const char*>(range.from);
        for (const Range& other : work.touches) {
            const auto* other_begin = static_cast<const char*>(other.from);
            if (range.exclusive && &other != &range && begin < other_begin + other.bytes &&
                other_begin < begin + range.bytes)
                violation(text(what, ", overlaps ", other.what));
        }
    }
    return state().violations.size() == before;
}

cudaError_t allocate(const char* name, void** pointer, std::size_t size, Kind kind) {
    const auto bytes = static_cast<std::int64_t>(size);
    return entry(name, unsafe, {.bytes = bytes}, [&](Record& record) {
        *pointer = nullptr;
        if (size == 0) return cudaSuccess;
        const bool room = kind == Kind::pinned_memory || bytes <= bytes_free();
        if (bytes < 0 || !room) return cudaErrorMemoryAllocation;
        void* memory = std::aligned_alloc(256, (size + 255) / 256 * 256);
        if (memory == nullptr) return cudaErrorMemoryAllocation;
        std::memset(memory, 0xA5, size);
        state().freed.erase(memory);
        state().blocks[reinterpret_cast<std::uintptr_t>(memory)] = {bytes, kind, this_thread().device};
        state().peak = std::max(state().peak, bytes_alive(Kind::device_memory));
        record.object = *pointer = memory;
        return cudaSuccess;
    });
}

void release(std::map<std::uintptr_t, Block>::iterator block) {
    auto* memory = reinterpret_cast<void*>(block->first);
    state().blocks.erase(block);
    state().freed.insert(memory);
    std::free(memory);
}

cudaError_t release(const char* name, void* pointer, Kind kind) {
    return entry(name, destroys | unsafe, {.object = pointer}, [&](Record& record) {
        if (pointer == nullptr) return cudaSuccess;
        const auto found = state().blocks.find(reinterpret_cast<std::uintptr_t>(pointer));
        if (found == state().blocks.end() || found->second.kind != kind) {
            const bool before = state().freed.contains(pointer);
            violation(text(name, ": ", pointer, before ? ", freed before, was " : " is no ", name_of(kind)));
            return cudaErrorInvalidValue;
        }
        record.bytes = found->second.bytes;
        release(found);
        return cudaSuccess;
    });
}

// ------------------------------------------------------------------------------------- streams

bool is_null(cudaStream_t stream) {
    return stream == nullptr || stream == cudaStreamLegacy || stream == cudaStreamPerThread;
}

/// The stream of an operation, or why it cannot go there.
cudaError_t enter(const Record& call, cudaStream_t handle, std::shared_ptr<Stream>& stream) {
    stream = is_null(handle) ? state().null_stream : use<Stream>(call, handle, Kind::stream);
    if (!stream) return cudaErrorInvalidResourceHandle;
    if (is_null(handle))
        for (const std::shared_ptr<Capture>& capture : state().captures)
            if (capture->origin->blocking) {
                capture->invalid = true;
                return cudaErrorStreamCaptureImplicit;
            }
    if (stream->capture && stream->capture->invalid) return cudaErrorStreamCaptureInvalidated;
    return cudaSuccess;
}

/// An entry point about a stream: `body(stream, record)`.
template <class Body>
cudaError_t on_stream(const char* name, unsigned rules, cudaStream_t handle, Record record, Body&& body) {
    record.stream = handle;
    return entry(name, rules, std::move(record), [&](Record& call) {
        std::shared_ptr<Stream> stream;
        const cudaError_t error = enter(call, handle, stream);
        return error == cudaSuccess ? body(*stream, call) : error;
    });
}

/// Does the work, or puts it into the graph.
cudaError_t submit(Stream& stream, Work work, Record& record) {
    record.captured = stream.capture != nullptr;
    if (record.captured) {
        ++stream.seen[&stream];
        stream.capture->nodes.push_back(std::move(work));
    } else if (work.run) {
        work.run();
    }
    return cudaSuccess;
}

cudaError_t copy(const char* name, unsigned rules, void* to, const void* from, std::size_t size,
                 cudaMemcpyKind kind, cudaStream_t handle) {
    const Record asked{.bytes = static_cast<std::int64_t>(size), .object = to};
    return on_stream(name, rules, handle, asked, [&](Stream& stream, Record& record) {
        if (kind > cudaMemcpyDefault) return cudaErrorInvalidMemcpyDirection;
        if (size == 0) return cudaSuccess;
        Work work{.name = name, .run = [=] { std::memmove(to, from, size); }};
        const auto touch = [&](const char* what, const void* pointer, cudaMemcpyKind one) {
            const bool infer = kind == cudaMemcpyDefault,
                       said = kind == one || kind == cudaMemcpyDeviceToDevice;
            const bool device = infer ? on_device(pointer) : said;
            const bool pageable = !device && block_of(pointer) == nullptr;
            record.pageable |= pageable && (rules & unsafe) == 0; // the synchronous copy is always unsafe
            const Kind where = device ? Kind::device_memory : Kind::pinned_memory;
            if (!pageable) work.touches.push_back({what, pointer, record.bytes, where});
            return device;
        };
        const bool to_device = touch("destination", to, cudaMemcpyHostToDevice);
        const bool from_device = touch("source", from, cudaMemcpyDeviceToHost);
        record.direction =
            static_cast<Direction>(1 + 2 * from_device + to_device); // in the order of the names
        return sound(work) ? submit(stream, work, record) : cudaErrorInvalidValue;
    });
}

cudaError_t fill(const char* name, unsigned rules, void* to, int value, std::size_t size,
                 cudaStream_t handle) {
    const Record asked{.bytes = static_cast<std::int64_t>(size), .object = to};
    return on_stream(name, rules, handle, asked, [&](Stream& stream, Record& record) {
        const Work work{name, {{"destination", to, record.bytes}}, [=] { std::memset(to, value, size); }};
        if (size == 0) return cudaSuccess;
        return sound(work) ? submit(stream, work, record) : cudaErrorInvalidValue;
    });
}

cudaError_t launch(const void* function, dim3 grid, dim3 block, std::size_t shared, cudaStream_t handle) {
    const std::int64_t threads = std::int64_t{block.x} * block.y * block.z;
    const std::int64_t blocks = std::int64_t{grid.x} * grid.y * grid.z;
    const Record asked{.count = blocks * threads, .object = function};
    return on_stream("cudaLaunchKernel", ordinary, handle, asked, [&](Stream& stream, Record& record) {
        const auto found = state().functions.find(function);
        if (found == state().functions.end()) return cudaErrorInvalidDeviceFunction;
        const Function& kernel = found->second;
        record.kernel = kernel.name;
        if (!is_null(handle) && stream.device != this_thread().device) return cudaErrorInvalidResourceHandle;
        if (blocks == 0 || threads == 0 || threads > 1024 || block.z > 64 || grid.y > 65535 || grid.z > 65535)
            return cudaErrorInvalidConfiguration;
        if (shared > static_cast<std::size_t>(kernel.shared_limit)) return cudaErrorInvalidValue;
        return submit(stream, {.name = kernel.name}, record);
    });
}

cudaError_t wait_for_event(const char* name, cudaEvent_t handle, unsigned rules) {
    return entry(name, rules, {.object = handle}, [&](Record& record) {
        const auto event = use<Event>(record, handle, Kind::event);
        if (!event) return cudaErrorInvalidResourceHandle;
        if (!event->capture) return disturbs_capture() ? cudaErrorStreamCaptureUnsupported : cudaSuccess;
        event->capture->invalid = true;
        return cudaErrorCapturedEvent;
    });
}

cudaError_t instantiate(const char* name, cudaGraphExec_t* exec, cudaGraph_t handle) {
    return entry(name, ordinary, {}, [&](Record& record) {
        const auto graph = use<Graph>(record, handle, Kind::graph);
        return graph ? create(Kind::graph_exec, exec, record, *graph) : cudaErrorInvalidValue;
    });
}

// ------------------------------------------------------------------------------------- devices and errors

/// An entry point about a device that there must be.
template <class Body>
cudaError_t about_device(const char* name, unsigned rules, int device, Body&& body) {
    return entry(name, rules, {}, [&](Record&) {
        return device >= 0 && device < state().options.devices ? body() : cudaErrorInvalidDevice;
    });
}

/// An entry point about a kernel that must be registered.
template <class Body>
cudaError_t about_kernel(const char* name, const void* function, Body&& body) {
    return entry(name, ordinary, {.object = function}, [&](Record&) {
        const auto found = state().functions.find(function);
        return found != state().functions.end() ? body(found->second) : cudaErrorInvalidDeviceFunction;
    });
}

/// What an H100 says, where the options do not.
cudaDeviceProp properties(int device) {
    const Options& options = state().options;
    cudaDeviceProp is{};
    options.device_name.copy(is.name, sizeof(is.name) - 1);
    is.totalGlobalMem = static_cast<std::size_t>(options.memory);
    is.major = options.compute_major;
    is.minor = options.compute_minor;
    is.multiProcessorCount = options.multiprocessors;
    is.warpSize = 32;
    is.maxThreadsPerBlock = is.maxThreadsDim[0] = is.maxThreadsDim[1] = 1024;
    is.maxThreadsDim[2] = 64;
    is.maxThreadsPerMultiProcessor = 2048;
    is.maxBlocksPerMultiProcessor = 32;
    is.maxGridSize[0] = 0x7fffffff;
    is.maxGridSize[1] = is.maxGridSize[2] = 65535;
    is.regsPerBlock = is.regsPerMultiprocessor = 65536;
    is.sharedMemPerBlock = 48 << 10;
    is.sharedMemPerBlockOptin = 227 << 10;
    is.sharedMemPerMultiprocessor = 228 << 10;
    is.reservedSharedMemPerBlock = 1 << 10;
    is.l2CacheSize = 50 << 20;
    is.concurrentKernels = is.unifiedAddressing = is.canMapHostMemory = 1;
    is.asyncEngineCount = 3;
    is.pciBusID = device + 1;
    return is;
}

cudaError_t occupancy(const char* name, int* blocks, const void* function, int threads, std::size_t shared) {
    return about_kernel(name, function, [&](const Function&) {
        if (threads < 1) return cudaErrorInvalidValue;
        const int by_shared = static_cast<int>((228u << 10) / (shared + 1024));
        return give(blocks, threads > 1024 ? 0 : std::min({2048 / threads, by_shared, 32}));
    });
}

struct Named {
    int status;
    const char* name;
};
// clang-format off
#define CUDA(name) {cudaError##name, "cudaError" #name}
#define CUDNN(name) {CUDNN_STATUS_##name, "CUDNN_STATUS_" #name}
#define CUBLAS(name) {CUBLAS_STATUS_##name, "CUBLAS_STATUS_" #name}
constexpr Named cuda_errors[] = {
    {cudaSuccess, "cudaSuccess"},
    CUDA(InvalidValue), CUDA(MemoryAllocation), CUDA(InvalidConfiguration), CUDA(InvalidMemcpyDirection),
    CUDA(InsufficientDriver), CUDA(InvalidDeviceFunction), CUDA(NoDevice), CUDA(InvalidDevice),
    CUDA(NoKernelImageForDevice), CUDA(InvalidResourceHandle), CUDA(IllegalState), CUDA(NotReady),
    CUDA(IllegalAddress), CUDA(LaunchOutOfResources), CUDA(LaunchFailure), CUDA(NotSupported),
    CUDA(StreamCaptureUnsupported), CUDA(StreamCaptureInvalidated), CUDA(StreamCaptureMerge),
    CUDA(StreamCaptureUnmatched), CUDA(StreamCaptureUnjoined), CUDA(StreamCaptureIsolation),
    CUDA(StreamCaptureImplicit), CUDA(CapturedEvent), CUDA(StreamCaptureWrongThread), CUDA(Unknown),
};
constexpr Named cudnn_errors[] = {
    CUDNN(SUCCESS), CUDNN(NOT_INITIALIZED), CUDNN(BAD_PARAM), CUDNN(BAD_PARAM_NULL_POINTER),
    CUDNN(BAD_PARAM_NOT_FINALIZED), CUDNN(BAD_PARAM_ATTRIBUTE_TYPE), CUDNN(NOT_SUPPORTED),
    CUDNN(NOT_SUPPORTED_DATA_TYPE), CUDNN(INTERNAL_ERROR), CUDNN(EXECUTION_FAILED),
    CUDNN(EXECUTION_FAILED_CUDART),
};
constexpr Named cublas_errors[] = {
    CUBLAS(SUCCESS), CUBLAS(NOT_INITIALIZED), CUBLAS(ALLOC_FAILED), CUBLAS(INVALID_VALUE),
    CUBLAS(EXECUTION_FAILED), CUBLAS(INTERNAL_ERROR), CUBLAS(NOT_SUPPORTED),
};
#undef CUDA
#undef CUDNN
#undef CUBLAS
// clang-format on

/// The texts are the names: what the libraries say beside is theirs.
template <class Table>
const char* look_up(const Table& table, int status) {
    for (const Named& row : table)
        if (row.status == status) return row.name;
    return "unrecognized error code";
}

// ------------------------------------------------------------------------------------- cuDNN

struct Descriptor;
struct Attribute {
    cudnnBackendAttributeType_t type;
    std::int64_t count = 0;
    std::vector<std::byte> bytes = {};
    /// Held by what names them: cuDNN lets a descriptor be destroyed as soon as it is set as an attribute.
    std::vector<std::shared_ptr<Descriptor>> children = {};
};
struct Tensor {
    std::int64_t id, bytes, alignment;
};
struct Descriptor : Object {
    cudnnBackendDescriptorType_t type;
    bool finalized = false;
    std::map<cudnnBackendAttributeName_t, Attribute> attributes = {};
    Engine engine = {};               ///< of an engine and a plan
    std::vector<Tensor> tensors = {}; ///< that a plan needs pointers for

    explicit Descriptor(cudnnBackendDescriptorType_t is) : type(is) {}

    template <class T>
    std::vector<T> values(cudnnBackendAttributeName_t name) const {
        const std::vector<std::byte>& bytes = attributes.at(name).bytes;
        std::vector<T> all(bytes.size() / sizeof(T));
        if (!all.empty()) std::memcpy(all.data(), bytes.data(), bytes.size());
        return all;
    }
    template <class T>
    T value(cudnnBackendAttributeName_t name) const {
        return values<T>(name).at(0);
    }
    [[nodiscard]] bool flag(cudnnBackendAttributeName_t name) const {
        return attributes.contains(name) && value<char>(name) != 0;
    }
    [[nodiscard]] const std::vector<std::shared_ptr<Descriptor>>&
    children(cudnnBackendAttributeName_t name) const {
        return attributes.at(name).children;
    }
    template <class T>
    void store(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t as, const std::vector<T>& all) {
        const auto* bytes = reinterpret_cast<const std::byte*>(all.data());
        attributes[name] = {as, std::ssize(all), {bytes, bytes + all.size() * sizeof(T)}};
    }
    void store(cudnnBackendAttributeName_t name, const std::vector<std::shared_ptr<Descriptor>>& all) {
        attributes[name] = {CUDNN_TYPE_BACKEND_DESCRIPTOR, std::ssize(all), {}, all};
    }
};

/// A descriptor's attributes have the names from `first` to `last`.
struct Names {
    cudnnBackendDescriptorType_t of;
    int first, last;
};
struct Needed {
    cudnnBackendAttributeName_t name;
    cudnnBackendAttributeType_t type;
};
// clang-format off
constexpr Names names[] = {
    {CUDNN_BACKEND_POINTWISE_DESCRIPTOR, 0, 99}, {CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, 100, 199},
    {CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, 200, 299}, {CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, 300, 399},
    {CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, 400, 499},
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, 700, 705},
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR, 706, 711},
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR, 712, 717},
    {CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, 750, 769},
    {CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, 800, 899}, {CUDNN_BACKEND_TENSOR_DESCRIPTOR, 900, 999},
    {CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, 1000, 1099}, {CUDNN_BACKEND_ENGINE_DESCRIPTOR, 1300, 1399},
};
/// What they cannot do without. cuDNN 9.19 itself has defaults for a few; the stand-in wants them said.
#define OF(name, type) {CUDNN_ATTR_##name, CUDNN_TYPE_##type}
#define PART(name) OF(name, BACKEND_DESCRIPTOR)
constexpr Needed needed[] = {
    OF(POINTWISE_MODE, POINTWISE_MODE), OF(POINTWISE_MATH_PREC, DATA_TYPE),
    OF(CONVOLUTION_COMP_TYPE, DATA_TYPE), OF(CONVOLUTION_CONV_MODE, CONVOLUTION_MODE),
    OF(CONVOLUTION_DILATIONS, INT64), OF(CONVOLUTION_FILTER_STRIDES, INT64),
    OF(CONVOLUTION_POST_PADDINGS, INT64), OF(CONVOLUTION_PRE_PADDINGS, INT64),
    OF(CONVOLUTION_SPATIAL_DIMS, INT64), OF(ENGINEHEUR_MODE, HEUR_MODE), PART(ENGINEHEUR_OPERATION_GRAPH),
    PART(ENGINECFG_ENGINE), OF(EXECUTION_PLAN_HANDLE, HANDLE), PART(EXECUTION_PLAN_ENGINE_CONFIG),
    PART(OPERATION_CONVOLUTION_FORWARD_CONV_DESC), PART(OPERATION_CONVOLUTION_FORWARD_W),
    PART(OPERATION_CONVOLUTION_FORWARD_X), PART(OPERATION_CONVOLUTION_FORWARD_Y),
    PART(OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC), PART(OPERATION_CONVOLUTION_BWD_DATA_W),
    PART(OPERATION_CONVOLUTION_BWD_DATA_DX), PART(OPERATION_CONVOLUTION_BWD_DATA_DY),
    PART(OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC), PART(OPERATION_CONVOLUTION_BWD_FILTER_DW),
    PART(OPERATION_CONVOLUTION_BWD_FILTER_X), PART(OPERATION_CONVOLUTION_BWD_FILTER_DY),
    PART(OPERATION_POINTWISE_PW_DESCRIPTOR), OF(OPERATIONGRAPH_HANDLE, HANDLE), PART(OPERATIONGRAPH_OPS),
    OF(TENSOR_BYTE_ALIGNMENT, INT64), OF(TENSOR_DATA_TYPE, DATA_TYPE), OF(TENSOR_DIMENSIONS, INT64),
    OF(TENSOR_STRIDES, INT64), OF(TENSOR_UNIQUE_ID, INT64), OF(VARIANT_PACK_UNIQUE_IDS, INT64),
    OF(VARIANT_PACK_DATA_POINTERS, VOID_PTR), OF(VARIANT_PACK_WORKSPACE, VOID_PTR),
    PART(ENGINE_OPERATION_GRAPH), OF(ENGINE_GLOBAL_INDEX, INT64),
};
#undef PART
#undef OF
// clang-format on

/// Whether the descriptor can have the attribute; a descriptor that is not in the table can have any.
bool can_have(cudnnBackendDescriptorType_t type, int name, bool otherwise) {
    for (const Names& row : names)
        if (row.of == type) return row.first <= name && name <= row.last;
    return otherwise;
}

/// The bytes of a type in a table of types by size; else `otherwise`.
template <class Type>
using Sizes = std::initializer_list<std::pair<std::int64_t, std::vector<Type>>>;
template <class Type>
std::int64_t look_up(Sizes<Type> sizes, Type type, std::int64_t otherwise) {
    for (const auto& [bytes, types] : sizes)
        if (std::find(types.begin(), types.end(), type) != types.end()) return bytes;
    return otherwise;
}
std::size_t bytes_of(cudnnBackendAttributeType_t type) {
    const Sizes<cudnnBackendAttributeType_t> sizes{
        {1, {CUDNN_TYPE_BOOLEAN, CUDNN_TYPE_CHAR}},
        {8,
         {CUDNN_TYPE_HANDLE, CUDNN_TYPE_BACKEND_DESCRIPTOR, CUDNN_TYPE_VOID_PTR, CUDNN_TYPE_INT64,
          CUDNN_TYPE_DOUBLE}},
        {16, {CUDNN_TYPE_FRACTION}}};
    return static_cast<std::size_t>(look_up(sizes, type, 4)); // floats and enumerations
}
std::int64_t bytes_of(cudnnDataType_t type) {
    const Sizes<cudnnDataType_t> sizes{
        {1,
         {CUDNN_DATA_INT8, CUDNN_DATA_UINT8, CUDNN_DATA_BOOLEAN, CUDNN_DATA_FP8_E4M3, CUDNN_DATA_FP8_E5M2}},
        {2, {CUDNN_DATA_HALF, CUDNN_DATA_BFLOAT16}},
        {4, {CUDNN_DATA_FLOAT, CUDNN_DATA_INT32}},
        {8, {CUDNN_DATA_DOUBLE, CUDNN_DATA_INT64}}};
    return look_up(sizes, type, 0);
}
std::int64_t bytes_of(cudaDataType_t type) {
    const Sizes<cudaDataType_t> sizes{{1, {CUDA_R_8I, CUDA_R_8U, CUDA_R_8F_E4M3, CUDA_R_8F_E5M2}},
                                      {2, {CUDA_R_16F, CUDA_R_16BF}},
                                      {4, {CUDA_R_32F, CUDA_R_32I}},
                                      {8, {CUDA_R_64F}}};
    return look_up(sizes, type, 0);
}

cudnnStatus_t refuse(cudnnStatus_t status, const std::string& why) {
    this_thread().cudnn_message = "stand-in: " + why;
    return status;
}

void make_engine(Descriptor& engine, const Engine& is) {
    engine.engine = is;
    engine.store<std::int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, {is.global_index});
    engine.store(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, is.numerical_notes);
    engine.store(CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE, is.behavior_notes);
}

void propose_engines(Descriptor& heuristics) {
    std::vector<std::shared_ptr<Descriptor>> results;
    for (const Engine& is : state().options.engines) {
        const auto engine = std::make_shared<Descriptor>(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
        const auto configuration = std::make_shared<Descriptor>(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
        make_engine(*engine, is);
        engine->store(CUDNN_ATTR_ENGINE_OPERATION_GRAPH,
                      heuristics.children(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH));
        configuration->store(CUDNN_ATTR_ENGINECFG_ENGINE, {engine});
        engine->finalized = configuration->finalized = true;
        results.push_back(configuration);
    }
    heuristics.store(CUDNN_ATTR_ENGINEHEUR_RESULTS, results);
}

cudnnStatus_t choose_engine(Descriptor& it) {
    const auto index = it.value<std::int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX);
    for (const Engine& engine : state().options.engines)
        if (engine.global_index == index) {
            make_engine(it, engine);
            return CUDNN_STATUS_SUCCESS;
        }
    return refuse(CUDNN_STATUS_NOT_SUPPORTED, text("there is no engine ", index));
}

/// The bytes from a tensor's first element to its last.
std::int64_t extent_of(const Descriptor& tensor) {
    const auto dimensions = tensor.values<std::int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS);
    const auto strides = tensor.values<std::int64_t>(CUDNN_ATTR_TENSOR_STRIDES);
    std::int64_t last = 0;
    for (std::size_t i = 0; i < dimensions.size(); ++i) last += (dimensions[i] - 1) * strides[i];
    return (last + 1) * bytes_of(tensor.value<cudnnDataType_t>(CUDNN_ATTR_TENSOR_DATA_TYPE));
}

cudnnStatus_t make_plan(Descriptor& plan) {
    const auto configuration = plan.children(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG).at(0);
    const auto engine = configuration->children(CUDNN_ATTR_ENGINECFG_ENGINE).at(0);
    const auto graph = engine->children(CUDNN_ATTR_ENGINE_OPERATION_GRAPH).at(0);
    plan.engine = engine->engine;
    if (!plan.engine.compiles)
        return refuse(CUDNN_STATUS_INTERNAL_ERROR_COMPILATION_FAILED,
                      text("engine ", plan.engine.global_index));
    if (!plan.engine.supported)
        return refuse(CUDNN_STATUS_NOT_SUPPORTED, text("engine ", plan.engine.global_index));
    std::set<std::int64_t> ids;
    for (const auto& operation : graph->children(CUDNN_ATTR_OPERATIONGRAPH_OPS))
        for (const auto& [name, attribute] : operation->attributes)
            for (const auto& it : attribute.children) {
                if (it->type != CUDNN_BACKEND_TENSOR_DESCRIPTOR || it->flag(CUDNN_ATTR_TENSOR_IS_VIRTUAL) ||
                    it->flag(CUDNN_ATTR_TENSOR_IS_BY_VALUE))
                    continue;
                const auto id = it->value<std::int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID);
                const auto alignment = it->value<std::int64_t>(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT);
                if (ids.insert(id).second) plan.tensors.push_back({id, extent_of(*it), alignment});
            }
    plan.store<std::int64_t>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64,
                             {plan.engine.workspace});
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t check_tensor(const Descriptor& tensor) {
    const std::int64_t size = bytes_of(tensor.value<cudnnDataType_t>(CUDNN_ATTR_TENSOR_DATA_TYPE));
    const auto alignment = tensor.value<std::int64_t>(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT);
    if (size == 0) return refuse(CUDNN_STATUS_NOT_SUPPORTED_DATA_TYPE, "a data type without whole bytes");
    const bool good = alignment > 0 && alignment % size == 0 &&
                      tensor.attributes.at(CUDNN_ATTR_TENSOR_DIMENSIONS).count ==
                          tensor.attributes.at(CUDNN_ATTR_TENSOR_STRIDES).count;
    return good ? CUDNN_STATUS_SUCCESS : refuse(CUDNN_STATUS_BAD_PARAM, "a tensor's strides or alignment");
}

cudnnStatus_t finalize(Descriptor& it) {
    if (it.finalized) return refuse(CUDNN_STATUS_BAD_PARAM, "finalized before");
    for (const Needed& row : needed)
        if (can_have(it.type, row.name, false) &&
            (!it.attributes.contains(row.name) || it.attributes.at(row.name).count == 0))
            return refuse(CUDNN_STATUS_BAD_PARAM,
                          text("descriptor ", it.type, " lacks attribute ", row.name));
    for (const auto& [name, attribute] : it.attributes)
        for (const auto& child : attribute.children)
            if (!child->finalized)
                return refuse(CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED, text("attribute ", name));
    cudnnStatus_t status = CUDNN_STATUS_SUCCESS;
    if (it.type == CUDNN_BACKEND_TENSOR_DESCRIPTOR) status = check_tensor(it);
    if (it.type == CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR) propose_engines(it);
    if (it.type == CUDNN_BACKEND_ENGINE_DESCRIPTOR) status = choose_engine(it);
    if (it.type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR) status = make_plan(it);
    if (it.type == CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR &&
        it.attributes.at(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS).count !=
            it.attributes.at(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS).count)
        status = refuse(CUDNN_STATUS_BAD_PARAM, "not as many pointers as unique ids");
    it.finalized = status == CUDNN_STATUS_SUCCESS;
    return status;
}

/// Says what a plan touches; false where the variant pack lacks a pointer.
bool find_operands(const Descriptor& plan, const Descriptor& pack, Work& work) {
    const auto ids = pack.values<std::int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
    const auto pointers = pack.values<const void*>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
    bool all = true;
    for (const Tensor& tensor : plan.tensors) {
        const auto place = std::find(ids.begin(), ids.end(), tensor.id) - ids.begin();
        const std::string name = text("tensor ", tensor.id);
        if (place == std::ssize(ids)) {
            violation(text(work.name, ": no pointer for ", name));
            all = false;
            continue;
        }
        const void* pointer = pointers[static_cast<std::size_t>(place)];
        if (reinterpret_cast<std::uintptr_t>(pointer) % static_cast<std::uintptr_t>(tensor.alignment) != 0)
            violation(text(work.name, ": ", name, " at ", pointer, " is not aligned to ", tensor.alignment));
        work.touches.push_back({name, pointer, tensor.bytes});
    }
    const auto* workspace = pack.value<const void*>(CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
    work.touches.push_back({"workspace", workspace, plan.engine.workspace, Kind::device_memory, true});
    return all;
}

// ------------------------------------------------------------------------------------- cublasLt

/// The bytes of attributes 0, 1, 2 and so on, as the library wants them; 0 where there is none.
std::string attribute_bytes(Kind kind) {
    if (kind == Kind::matrix_layout) return "448884884";
    if (kind == Kind::matmul_preference) return "4804044444008";
    return "444444448088888448888848814000044444848";
}

cublasStatus_t set_field(const char* name, const void* handle, Kind kind, int field, const void* value,
                         std::size_t size) {
    const Record asked{.count = field, .object = handle};
    return entry(name, ordinary, asked, [&](Record& record) {
        const auto settings = use<Settings>(record, handle, kind);
        const auto right =
            static_cast<std::size_t>(attribute_bytes(kind).at(static_cast<std::size_t>(field)) - '0');
        if (!settings || value == nullptr || size == 0 || size != right) return CUBLAS_STATUS_INVALID_VALUE;
        settings->set(field, value, size);
        return CUBLAS_STATUS_SUCCESS;
    });
}

struct Matrix {
    std::int64_t rows = 0, cols = 0, bytes = 0, element = 0;
    bool good = false;
};
Matrix matrix_of(const Record& call, cublasLtMatrixLayout_t handle) {
    const auto layout = use<Settings>(call, handle, Kind::matrix_layout);
    if (!layout) return {};
    const std::int64_t rows = layout->get(CUBLASLT_MATRIX_LAYOUT_ROWS, std::int64_t{0});
    const std::int64_t cols = layout->get(CUBLASLT_MATRIX_LAYOUT_COLS, std::int64_t{0});
    const std::int64_t leading = layout->get(CUBLASLT_MATRIX_LAYOUT_LD, std::int64_t{0});
    const std::int64_t apart = layout->get(CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, std::int64_t{0});
    const std::int64_t element = bytes_of(layout->get(CUBLASLT_MATRIX_LAYOUT_TYPE, CUDA_R_32F));
    const int batch = layout->get(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, 1);
    const auto order = layout->get(CUBLASLT_MATRIX_LAYOUT_ORDER, CUBLASLT_ORDER_COL);
    const bool by_rows = order == CUBLASLT_ORDER_ROW;
    const std::int64_t line = by_rows ? cols : rows, lines = by_rows ? rows : cols;
    const bool good = element != 0 && line > 0 && lines > 0 && leading >= line && batch > 0 &&
                      (by_rows || order == CUBLASLT_ORDER_COL);
    return {rows, cols, ((lines - 1) * leading + line + (batch - 1) * apart) * element, element, good};
}

struct Product {
    Matrix a, b, c, d;
    bool good = false; ///< the shapes fit together
};
Product product_of(const Record& call, const Settings& settings, cublasLtMatrixLayout_t a,
                   cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d) {
    Product is{matrix_of(call, a), matrix_of(call, b), matrix_of(call, c), matrix_of(call, d)};
    const auto turned = [&](int field, const Matrix& matrix) {
        const bool turn = settings.get(field, CUBLAS_OP_N) != CUBLAS_OP_N;
        return std::pair{turn ? matrix.cols : matrix.rows, turn ? matrix.rows : matrix.cols};
    };
    const auto [m, k] = turned(CUBLASLT_MATMUL_DESC_TRANSA, is.a);
    const auto [k_again, n] = turned(CUBLASLT_MATMUL_DESC_TRANSB, is.b);
    is.good = is.a.good && is.b.good && is.c.good && is.d.good && k == k_again && is.d.rows == m &&
              is.d.cols == n && is.c.rows == m && is.c.cols == n;
    return is;
}

constexpr std::uint64_t algorithm_mark = 0x9e3779b97f4a7c15; // no algorithm but ours has it

/// The state, for one expression.
struct Locked {
    std::lock_guard<std::mutex> lock{state().mutex};
    State* operator->() { return &state(); }
};

} // namespace

// ------------------------------------------------------------------------------------- what tests see

void reset(const Options& options) {
    Locked now;
    while (!now->blocks.empty()) release(now->blocks.begin());
    for (auto& [handle, slot] : now->slots) slot.object.reset();
    for (auto& [pointer, function] : now->functions) function.shared_limit = 48 << 10;
    now->captures.clear();
    now->threads.clear();
    now->null_stream = std::make_shared<Stream>();
    now->calls.clear();
    now->violations.clear();
    now->failures.clear();
    now->counted = 0;
    now->failed = false;
    now->peak = 0;
    now->options = options;
}

void change(const Options& options) { Locked()->options = options; }
Options options() { return Locked()->options; }
void fail_call(int nth, int status) { fail_named("", nth, status); }
void fail_named(const std::string& name, int nth, int status) {
    Locked()->failures.push_back({name, nth, status});
}
int counted_calls() { return Locked()->counted; }
int pending_failures() { return static_cast<int>(Locked()->failures.size()); }
const std::vector<Record>& calls() { return Locked()->calls; }
std::int64_t device_bytes() { return Locked(), bytes_alive(Kind::device_memory); }
std::int64_t peak_device_bytes() { return Locked()->peak; }
std::int64_t pinned_bytes() { return Locked(), bytes_alive(Kind::pinned_memory); }
std::vector<std::string> violations() { return Locked()->violations; }
void forgive() { Locked()->failed = false; }

int count(const std::string& name) {
    Locked now;
    return static_cast<int>(std::count_if(now->calls.begin(), now->calls.end(),
                                          [&](const Record& record) { return record.name == name; }));
}

int live(Kind kind) {
    Locked now;
    int sum = 0;
    for (const auto& [from, block] : now->blocks) sum += block.kind == kind;
    for (const auto& [handle, slot] : now->slots) sum += slot.kind == kind && slot.object != nullptr;
    return sum;
}

std::string alive() {
    std::string all;
    for (std::size_t i = 0; i < std::size(kinds); ++i)
        if (const int n = live(static_cast<Kind>(i))) all += text(all.empty() ? "" : ", ", n, " ", kinds[i]);
    return all;
}

std::vector<std::string> continued() {
    Locked now;
    std::vector<std::string> all;
    for (const Record& record : now->calls)
        if (record.continued) all.push_back(record.name);
    return all;
}

std::string trace() {
    const char* directions[] = {"", " host to host", " host to device", " device to host",
                                " device to device"};
    Locked now;
    std::ostringstream out;
    for (const Record& is : now->calls) {
        out << is.name << directions[static_cast<std::size_t>(is.direction)];
        if (!is.kernel.empty()) out << ", " << is.kernel;
        if (is.bytes != 0) out << ", " << is.bytes << " bytes";
        if (is.count != 0) out << ", count " << is.count;
        if (is.object != nullptr) out << ", " << is.object;
        if (is.stream != nullptr) out << ", stream " << is.stream;
        if (is.status != 0) out << ", status " << is.status;
        out << (is.captured ? ", captured" : "") << (is.pageable ? ", pageable" : "")
            << (is.continued ? ", continued after an error" : "") << "\n";
    }
    return out.str();
}

} // namespace plimsoll_test::stand_in

// ------------------------------------------------------------------------------------- entry points

using namespace plimsoll_test::stand_in;

extern "C" {

// What nvcc's host code asks for, as crt/host_runtime.h and crt/device_functions.h declare it, to nvcc alone.
void** __cudaRegisterFatBinary(void*) {
    static void* binary = nullptr;
    return &binary;
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
char __cudaInitModule(void**) { return 0; }
void __cudaRegisterVar(void**, char*, char*, const char*, int, std::size_t, int, int) {}
void __cudaRegisterManagedVar(void**, void**, char*, const char*, int, std::size_t, int, int) {}
void __cudaRegisterFunction(void**, const char* host, char*, const char* name, int, uint3*, uint3*, dim3*,
                            dim3*, int*) {
    int status = 0;
    const std::unique_ptr<char, void (*)(void*)> plain(abi::__cxa_demangle(name, nullptr, nullptr, &status),
                                                       std::free);
    Locked()->functions[host] = {status == 0 ? plain.get() : name};
}
thread_local struct {
    dim3 grid, block;
    std::size_t shared;
    CUstream_st* stream;
} configuration; // of the launch that is under way
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, std::size_t shared, CUstream_st* stream) {
    configuration = {grid, block, shared, stream};
    return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, std::size_t* shared, void* stream) {
    give(grid, configuration.grid);
    give(block, configuration.block);
    give(shared, configuration.shared);
    return give(static_cast<CUstream_st**>(stream), configuration.stream);
}
// Asked once a kernel, and the answer is kept: it must not depend on the machine.
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function) {
    *kernel = static_cast<cudaKernel_t>(const_cast<void*>(function));
    return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void**, std::size_t shared,
                               cudaStream_t stream) {
    return launch(kernel, grid, block, shared, stream);
}
cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void**, std::size_t shared,
                             cudaStream_t stream) {
    return launch(function, grid, block, shared, stream);
}
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* how, const void* function, void**) {
    return launch(function, how->gridDim, how->blockDim, how->dynamicSmemBytes, how->stream);
}

// Devices.
cudaError_t cudaGetDeviceCount(int* count) {
    return entry(__func__, anywhere, {}, [&](Record&) {
        if (machine() != cudaErrorInsufficientDriver) *count = state().options.devices;
        return machine();
    });
}
cudaError_t cudaGetDevice(int* device) {
    return entry(__func__, cleans, {}, [&](Record&) { return give(device, this_thread().device); });
}
cudaError_t cudaSetDevice(int device) {
    return about_device(__func__, cleans, device, [&] { return give(&this_thread().device, device); });
}
cudaError_t cudaInitDevice(int device, unsigned, unsigned) {
    return about_device(__func__, ordinary, device, [] { return cudaSuccess; });
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* answer, int device) {
    return about_device(__func__, ordinary, device, [&] { return give(answer, properties(device)); });
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
    return about_device(__func__, ordinary, device, [&] {
        const cudaDeviceProp is = properties(device);
        const std::map<int, std::size_t> known{
            {cudaDevAttrComputeCapabilityMajor, is.major},
            {cudaDevAttrComputeCapabilityMinor, is.minor},
            {cudaDevAttrMultiProcessorCount, is.multiProcessorCount},
            {cudaDevAttrWarpSize, is.warpSize},
            {cudaDevAttrMaxThreadsPerBlock, is.maxThreadsPerBlock},
            {cudaDevAttrMaxThreadsPerMultiProcessor, is.maxThreadsPerMultiProcessor},
            {cudaDevAttrMaxBlocksPerMultiprocessor, is.maxBlocksPerMultiProcessor},
            {cudaDevAttrMaxGridDimX, is.maxGridSize[0]},
            {cudaDevAttrMaxGridDimY, is.maxGridSize[1]},
            {cudaDevAttrMaxSharedMemoryPerBlock, is.sharedMemPerBlock},
            {cudaDevAttrMaxSharedMemoryPerBlockOptin, is.sharedMemPerBlockOptin},
            {cudaDevAttrMaxSharedMemoryPerMultiprocessor, is.sharedMemPerMultiprocessor},
            {cudaDevAttrL2CacheSize, is.l2CacheSize},
            {cudaDevAttrIntegrated, is.integrated},
        };
        if (known.contains(attribute)) return give(value, known.at(attribute));
        violation(text("cudaDeviceGetAttribute: the stand-in does not know attribute ", attribute));
        return cudaErrorInvalidValue;
    });
}
cudaError_t cudaDeviceGetPCIBusId(char* id, int length, int device) {
    return about_device(__func__, ordinary, device, [&] {
        const std::string is = text("0000:0", device + 1, ":00.0");
        if (length <= std::ssize(is)) return cudaErrorInvalidValue;
        return give(&id[is.copy(id, is.size())], '\0');
    });
}
cudaError_t cudaDriverGetVersion(int* version) {
    return entry(__func__, anywhere | cleans, {}, [&](Record&) {
        return give(version, state().options.old_driver ? CUDART_VERSION - 1000 : CUDART_VERSION);
    });
}
cudaError_t cudaRuntimeGetVersion(int* version) {
    return entry(__func__, anywhere | cleans, {}, [&](Record&) { return give(version, CUDART_VERSION); });
}
cudaError_t cudaDeviceSynchronize() {
    return entry(__func__, cleans, {}, [](Record&) {
        for (const auto& capture : state().captures) capture->invalid = true;
        return state().captures.empty() ? cudaSuccess : cudaErrorStreamCaptureUnsupported;
    });
}
cudaError_t cudaDeviceReset() {
    return entry(__func__, destroys | unsafe, {}, [](Record&) {
        auto& blocks = state().blocks;
        for (auto next = blocks.begin(); next != blocks.end();)
            if (const auto block = next++; block->second.device == this_thread().device) release(block);
        for (auto& [handle, slot] : state().slots)
            if (slot.object && slot.kind <= Kind::graph_exec && slot.object->device == this_thread().device)
                slot.object.reset();
        return cudaSuccess;
    });
}

// Memory.
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
    return entry(__func__, cleans, {}, [&](Record&) {
        give(free, std::max<std::int64_t>(bytes_free(), 0));
        return give(total, state().options.memory);
    });
}
cudaError_t cudaMalloc(void** pointer, std::size_t bytes) {
    return allocate(__func__, pointer, bytes, Kind::device_memory);
}
cudaError_t cudaMallocHost(void** pointer, std::size_t bytes) {
    return allocate(__func__, pointer, bytes, Kind::pinned_memory);
}
cudaError_t cudaHostAlloc(void** pointer, std::size_t bytes, unsigned) {
    return allocate(__func__, pointer, bytes, Kind::pinned_memory);
}
cudaError_t cudaFree(void* pointer) { return release(__func__, pointer, Kind::device_memory); }
cudaError_t cudaFreeHost(void* pointer) { return release(__func__, pointer, Kind::pinned_memory); }
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
    return copy(__func__, unsafe, to, from, bytes, kind, nullptr);
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
    return copy(__func__, ordinary, to, from, bytes, kind, stream);
}
cudaError_t cudaMemset(void* to, int value, std::size_t bytes) {
    return fill(__func__, unsafe, to, value, bytes, nullptr);
}
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
    return fill(__func__, ordinary, to, value, bytes, stream);
}

// Streams and captures.
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
    return entry(__func__, ordinary, {}, [&](Record& record) {
        Stream made;
        made.blocking = (flags & cudaStreamNonBlocking) == 0;
        return create(Kind::stream, stream, record, made);
    });
}
cudaError_t cudaStreamDestroy(cudaStream_t handle) {
    return entry(__func__, destroys, {.object = handle}, [&](Record& record) {
        const auto stream = use<Stream>(record, handle, Kind::stream);
        if (!stream) return cudaErrorInvalidResourceHandle;
        if (const auto capture = stream->capture) {
            violation("cudaStreamDestroy: the stream is capturing");
            for (Stream* joined : capture->streams) joined->capture.reset();
            std::erase(state().captures, capture);
            capture->ended = true;
        }
        state().slots[handle].object.reset();
        return cudaSuccess;
    });
}
cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
    return on_stream(__func__, cleans, handle, {}, [](Stream& stream, Record&) {
        if (stream.capture) stream.capture->invalid = true;
        return stream.capture || disturbs_capture() ? cudaErrorStreamCaptureUnsupported : cudaSuccess;
    });
}
cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t waited, unsigned) {
    return on_stream(__func__, ordinary, handle, {.object = waited}, [&](Stream& stream, Record& record) {
        const auto event = use<Event>(record, waited, Kind::event);
        if (!event) return cudaErrorInvalidResourceHandle;
        if (!event->capture) {
            if (!stream.capture || !event->recorded) return cudaSuccess;
            stream.capture->invalid = true; // a graph cannot wait for what is outside it
            return cudaErrorStreamCaptureIsolation;
        }
        if (event->capture->ended) return cudaErrorCapturedEvent;
        if (is_null(handle)) return cudaErrorStreamCaptureImplicit;
        if (stream.capture && stream.capture != event->capture) {
            stream.capture->invalid = event->capture->invalid = true;
            return cudaErrorStreamCaptureMerge;
        }
        if (!stream.capture) {
            stream.capture = event->capture;
            stream.capture->streams.push_back(&stream);
            stream.seen.clear();
        }
        record.captured = true;
        for (const auto& [other, at] : event->seen) stream.seen[other] = std::max(stream.seen[other], at);
        return cudaSuccess;
    });
}
cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
    return on_stream(__func__, ordinary, handle, {}, [&](Stream& stream, Record&) {
        if (is_null(handle)) return cudaErrorStreamCaptureUnsupported;
        if (stream.capture) return cudaErrorIllegalState;
        stream.capture = std::make_shared<Capture>(Capture{mode, &stream, thread_number()});
        stream.capture->streams = {&stream};
        stream.seen.clear();
        state().captures.push_back(stream.capture);
        return cudaSuccess;
    });
}
cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph) {
    return entry(__func__, cleans, {.stream = handle}, [&](Record& record) {
        *graph = nullptr;
        const auto stream = use<Stream>(record, handle, Kind::stream);
        if (!stream) return cudaErrorInvalidResourceHandle;
        const auto capture = stream->capture;
        if (!capture) return cudaErrorIllegalState;
        if (capture->origin != stream.get()) {
            capture->invalid = true;
            return cudaErrorStreamCaptureUnmatched;
        }
        if (capture->mode != cudaStreamCaptureModeRelaxed && capture->thread != thread_number())
            return cudaErrorStreamCaptureWrongThread;
        bool joined = true;
        for (Stream* other : capture->streams) {
            joined = joined && other->seen[other] <= stream->seen[other];
            other->capture.reset();
        }
        capture->ended = true;
        std::erase(state().captures, capture);
        if (capture->invalid) return cudaErrorStreamCaptureInvalidated;
        if (!joined) return cudaErrorStreamCaptureUnjoined;
        Graph made;
        made.nodes = std::move(capture->nodes);
        record.count = std::ssize(made.nodes);
        return create(Kind::graph, graph, record, std::move(made));
    });
}
cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
    return entry(__func__, cleans, {.stream = handle}, [&](Record& record) {
        std::shared_ptr<Stream> stream;
        const cudaError_t error = enter(record, handle, stream);
        if (error != cudaSuccess && error != cudaErrorStreamCaptureInvalidated) return error;
        if (!stream->capture) return give(status, cudaStreamCaptureStatusNone);
        return give(status, error ? cudaStreamCaptureStatusInvalidated : cudaStreamCaptureStatusActive);
    });
}

// Events.
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
    return entry(__func__, ordinary, {}, [&](Record& record) {
        Event made;
        made.timed = (flags & cudaEventDisableTiming) == 0;
        return create(Kind::event, event, record, made);
    });
}
cudaError_t cudaEventRecord(cudaEvent_t recorded, cudaStream_t handle) {
    return on_stream(__func__, ordinary, handle, {.object = recorded}, [&](Stream& stream, Record& record) {
        const auto event = use<Event>(record, recorded, Kind::event);
        if (!event || (!is_null(handle) && stream.device != event->device))
            return cudaErrorInvalidResourceHandle;
        record.captured = stream.capture != nullptr;
        event->recorded = true;
        event->capture = stream.capture;
        event->seen = stream.seen;
        event->at = std::ssize(state().calls);
        return cudaSuccess;
    });
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) { return wait_for_event(__func__, event, cleans); }
cudaError_t cudaEventQuery(cudaEvent_t event) { return wait_for_event(__func__, event, ordinary); }
// A microsecond a call: no time that passed, but one that does not run backwards.
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
    return entry(__func__, ordinary, {.object = end}, [&](Record& record) {
        const auto from = use<Event>(record, start, Kind::event), to = use<Event>(record, end, Kind::event);
        if (!from || !to || !from->timed || !to->timed || !from->recorded || !to->recorded)
            return cudaErrorInvalidResourceHandle;
        return give(milliseconds, 0.001 * static_cast<double>(to->at - from->at));
    });
}

// Graphs.
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
    return instantiate(__func__, exec, graph);
}
cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
    return instantiate(__func__, exec, graph);
}
cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t handle) {
    return on_stream(__func__, ordinary, handle, {.object = exec}, [&](Stream&, Record& record) {
        return use(record, exec, Kind::graph_exec) ? cudaSuccess : cudaErrorInvalidValue;
    });
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t handle) {
    return on_stream(__func__, ordinary, handle, {.object = exec}, [&](Stream& stream, Record& record) {
        const auto graph = use<Graph>(record, exec, Kind::graph_exec);
        if (!graph) return cudaErrorInvalidValue;
        record.count = std::ssize(graph->nodes);
        for (Work work : graph->nodes) {
            if (!sound(work)) work.run = {};
            submit(stream, std::move(work), record);
        }
        return cudaSuccess;
    });
}

// What is destroyed by its handle alone.
#define PLIMSOLL_DESTROY(function, Handle, kind, bad)                                                        \
    decltype(bad) function(Handle handle) { return destroy(__func__, handle, kind, bad); }
PLIMSOLL_DESTROY(cudaEventDestroy, cudaEvent_t, Kind::event, cudaErrorInvalidResourceHandle);
PLIMSOLL_DESTROY(cudaGraphDestroy, cudaGraph_t, Kind::graph, cudaErrorInvalidValue);
PLIMSOLL_DESTROY(cudaGraphExecDestroy, cudaGraphExec_t, Kind::graph_exec, cudaErrorInvalidValue);
PLIMSOLL_DESTROY(cudnnDestroy, cudnnHandle_t, Kind::cudnn_handle, CUDNN_STATUS_BAD_PARAM);
PLIMSOLL_DESTROY(cudnnBackendDestroyDescriptor, cudnnBackendDescriptor_t, Kind::cudnn_descriptor,
                 CUDNN_STATUS_BAD_PARAM);
PLIMSOLL_DESTROY(cublasLtDestroy, cublasLtHandle_t, Kind::cublaslt_handle, CUBLAS_STATUS_NOT_INITIALIZED);
PLIMSOLL_DESTROY(cublasLtMatmulDescDestroy, cublasLtMatmulDesc_t, Kind::matmul_desc,
                 CUBLAS_STATUS_INVALID_VALUE);
PLIMSOLL_DESTROY(cublasLtMatrixLayoutDestroy, cublasLtMatrixLayout_t, Kind::matrix_layout,
                 CUBLAS_STATUS_INVALID_VALUE);
PLIMSOLL_DESTROY(cublasLtMatmulPreferenceDestroy, cublasLtMatmulPreference_t, Kind::matmul_preference,
                 CUBLAS_STATUS_INVALID_VALUE);
#undef PLIMSOLL_DESTROY

// Errors and versions.
#define PLIMSOLL_EXPLAIN(Answer, function, Status, value)                                                    \
    Answer function(Status) { return answer(__func__, value); }
PLIMSOLL_EXPLAIN(const char*, cudaGetErrorName, cudaError_t error, look_up(cuda_errors, error));
PLIMSOLL_EXPLAIN(const char*, cudaGetErrorString, cudaError_t error, look_up(cuda_errors, error));
PLIMSOLL_EXPLAIN(const char*, cudnnGetErrorString, cudnnStatus_t status, look_up(cudnn_errors, status));
PLIMSOLL_EXPLAIN(const char*, cublasLtGetStatusName, cublasStatus_t status, look_up(cublas_errors, status));
PLIMSOLL_EXPLAIN(const char*, cublasLtGetStatusString, cublasStatus_t status, look_up(cublas_errors, status));
PLIMSOLL_EXPLAIN(std::size_t, cudnnGetVersion, , std::size_t{CUDNN_VERSION});
PLIMSOLL_EXPLAIN(std::size_t, cublasLtGetVersion, , std::size_t{CUBLAS_VERSION});
#undef PLIMSOLL_EXPLAIN
cudaError_t cudaGetLastError() {
    return entry(__func__, explains, {},
                 [](Record&) { return std::exchange(this_thread().last, cudaSuccess); });
}
cudaError_t cudaPeekAtLastError() {
    return entry(__func__, explains, {}, [](Record&) { return this_thread().last; });
}

// Kernels.
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* function) {
    return about_kernel(__func__, function, [&](const Function& kernel) {
        *attributes = {};
        attributes->maxThreadsPerBlock = 1024; // launch bounds are in the kernel's image, which is not read
        attributes->maxDynamicSharedSizeBytes = kernel.shared_limit;
        attributes->numRegs = 32;
        attributes->ptxVersion = attributes->binaryVersion = state().options.compiled_for;
        return cudaSuccess;
    });
}
cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
    return about_kernel(__func__, function, [&](Function& kernel) {
        if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
        return value < 0 || value > 227 << 10 ? cudaErrorInvalidValue : give(&kernel.shared_limit, value);
    });
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* function, int threads,
                                                          std::size_t shared) {
    return occupancy(__func__, blocks, function, threads, shared);
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void* function,
                                                                   int threads, std::size_t shared,
                                                                   unsigned) {
    return occupancy(__func__, blocks, function, threads, shared);
}

// cuDNN.
void cudnnGetLastErrorString(char* message, std::size_t size) {
    entry(__func__, explains, {}, [&](Record&) {
        return size == 0 ? cudaSuccess
                         : give(&message[this_thread().cudnn_message.copy(message, size - 1)], '\0');
    });
}
cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
    return entry(__func__, unsafe, {}, [&](Record& record) {
        if (machine() != cudaSuccess) return refuse(CUDNN_STATUS_NOT_INITIALIZED, "there is no device");
        return create<cudnnStatus_t>(Kind::cudnn_handle, handle, record, Settings{});
    });
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
    return entry(__func__, ordinary, {.stream = stream, .object = handle}, [&](Record& record) {
        const auto library = use<Settings>(record, handle, Kind::cudnn_handle);
        if (!library || (!is_null(stream) && !use(record, stream, Kind::stream)))
            return CUDNN_STATUS_BAD_PARAM;
        library->stream = stream;
        return CUDNN_STATUS_SUCCESS;
    });
}
cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type,
                                           cudnnBackendDescriptor_t* made) {
    return entry(__func__, ordinary, {.count = type}, [&](Record& record) {
        return create<cudnnStatus_t>(Kind::cudnn_descriptor, made, record, Descriptor(type));
    });
}
cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, std::int64_t count,
                                       const void* values) {
    const Record asked{.count = name, .object = descriptor};
    return entry(__func__, ordinary, asked, [&](Record& record) {
        const auto it = use<Descriptor>(record, descriptor, Kind::cudnn_descriptor);
        if (!it || it->finalized)
            return refuse(CUDNN_STATUS_BAD_PARAM, "the descriptor is finalized or none");
        if (count < 0 || (count > 0 && values == nullptr))
            return refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, text("attribute ", name, " without values"));
        if (!can_have(it->type, name, true))
            return refuse(CUDNN_STATUS_BAD_PARAM, text("descriptor ", it->type, " has no attribute ", name));
        for (const Needed& row : needed)
            if (row.name == name && row.type != type)
                return refuse(CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE, text("attribute ", name));
        const auto* bytes = static_cast<const std::byte*>(values);
        Attribute set{type, count, {bytes, bytes + static_cast<std::size_t>(count) * bytes_of(type)}};
        const bool children = type == CUDNN_TYPE_BACKEND_DESCRIPTOR;
        for (std::int64_t i = 0; i < count && (children || type == CUDNN_TYPE_HANDLE); ++i) {
            const void* handle = static_cast<void* const*>(values)[i];
            const auto object = use(record, handle, children ? Kind::cudnn_descriptor : Kind::cudnn_handle);
            if (!object) return refuse(CUDNN_STATUS_BAD_PARAM, text("attribute ", name, " is destroyed"));
            if (children) set.children.push_back(std::static_pointer_cast<Descriptor>(object));
        }
        it->attributes[name] = std::move(set);
        return CUDNN_STATUS_SUCCESS;
    });
}
cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t const descriptor,
                                       cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                                       std::int64_t room, std::int64_t* count, void* values) {
    const Record asked{.count = name, .object = descriptor};
    return entry(__func__, ordinary, asked, [&](Record& record) {
        const auto it = use<Descriptor>(record, descriptor, Kind::cudnn_descriptor);
        if (!it) return refuse(CUDNN_STATUS_BAD_PARAM, "the descriptor is none");
        if (!it->finalized) return refuse(CUDNN_STATUS_NOT_INITIALIZED, "the descriptor is not finalized");
        const auto found = it->attributes.find(name);
        if (found == it->attributes.end()) return refuse(CUDNN_STATUS_BAD_PARAM, text("no attribute ", name));
        const Attribute& has = found->second;
        if (has.type != type) return refuse(CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE, text("attribute ", name));
        const std::int64_t given = std::min(room, has.count);
        if (count != nullptr) *count = room == 0 ? has.count : given;
        if (has.children.empty() && given > 0)
            std::memcpy(values, has.bytes.data(), static_cast<std::size_t>(given) * bytes_of(type));
        for (std::size_t i = 0; std::cmp_less(i, given) && i < has.children.size(); ++i) {
            const void* handle = static_cast<void* const*>(values)[i];
            const auto filled = use<Descriptor>(record, handle, Kind::cudnn_descriptor);
            if (!filled || filled->type != has.children[i]->type)
                return refuse(CUDNN_STATUS_BAD_PARAM, text("attribute ", name, " is another descriptor"));
            *filled = *has.children[i];
        }
        return CUDNN_STATUS_SUCCESS;
    });
}
cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor) {
    return entry(__func__, ordinary, {.object = descriptor}, [&](Record& record) {
        const auto it = use<Descriptor>(record, descriptor, Kind::cudnn_descriptor);
        if (it) record.count = it->type;
        return it ? finalize(*it) : refuse(CUDNN_STATUS_BAD_PARAM, "the descriptor is none");
    });
}
cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan_handle,
                                  cudnnBackendDescriptor_t pack_handle) {
    return entry(__func__, ordinary, {.object = plan_handle}, [&](Record& record) {
        const auto library = use<Settings>(record, handle, Kind::cudnn_handle);
        const auto plan = use<Descriptor>(record, plan_handle, Kind::cudnn_descriptor);
        const auto pack = use<Descriptor>(record, pack_handle, Kind::cudnn_descriptor);
        if (!library || !plan || !pack || plan->type != CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR ||
            pack->type != CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR)
            return refuse(CUDNN_STATUS_BAD_PARAM, "no plan, variant pack or handle");
        if (!plan->finalized || !pack->finalized)
            return refuse(CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED, "the plan or the variant pack");
        record.bytes = plan->engine.workspace;
        record.stream = library->stream;
        Work work{.name = record.name};
        const bool all = find_operands(*plan, *pack, work);
        sound(work); // cuDNN would not notice
        if (!all) return refuse(CUDNN_STATUS_BAD_PARAM, "a tensor without a pointer");
        std::shared_ptr<Stream> stream;
        if (enter(record, library->stream, stream) != cudaSuccess)
            return refuse(CUDNN_STATUS_EXECUTION_FAILED_CUDART, "the stream does not take it");
        submit(*stream, std::move(work), record);
        return CUDNN_STATUS_SUCCESS;
    });
}

// cublasLt.
cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
    return entry(__func__, unsafe, {}, [&](Record& record) {
        if (machine() != cudaSuccess) return CUBLAS_STATUS_NOT_INITIALIZED;
        return create<cublasStatus_t>(Kind::cublaslt_handle, handle, record, Settings{});
    });
}
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* made, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
    return entry(__func__, ordinary, {}, [&](Record& record) {
        Settings settings;
        settings.set(CUBLASLT_MATMUL_DESC_COMPUTE_TYPE, &compute, sizeof(compute));
        settings.set(CUBLASLT_MATMUL_DESC_SCALE_TYPE, &scale, sizeof(scale));
        return create<cublasStatus_t>(Kind::matmul_desc, made, record, settings);
    });
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* made, cudaDataType type, std::uint64_t rows,
                                          std::uint64_t cols, std::int64_t leading) {
    return entry(__func__, ordinary, {}, [&](Record& record) {
        Settings settings;
        settings.set(CUBLASLT_MATRIX_LAYOUT_TYPE, &type, sizeof(type));
        settings.set(CUBLASLT_MATRIX_LAYOUT_ROWS, &rows, sizeof(rows));
        settings.set(CUBLASLT_MATRIX_LAYOUT_COLS, &cols, sizeof(cols));
        settings.set(CUBLASLT_MATRIX_LAYOUT_LD, &leading, sizeof(leading));
        return create<cublasStatus_t>(Kind::matrix_layout, made, record, settings);
    });
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* made) {
    return entry(__func__, ordinary, {}, [&](Record& record) {
        return create<cublasStatus_t>(Kind::matmul_preference, made, record, Settings{});
    });
}
#define PLIMSOLL_SET(function, Handle, Field, kind)                                                          \
    cublasStatus_t function(Handle it, Field field, const void* value, std::size_t size) {                   \
        return set_field(__func__, it, kind, field, value, size);                                            \
    }
PLIMSOLL_SET(cublasLtMatmulDescSetAttribute, cublasLtMatmulDesc_t, cublasLtMatmulDescAttributes_t,
             Kind::matmul_desc);
PLIMSOLL_SET(cublasLtMatrixLayoutSetAttribute, cublasLtMatrixLayout_t, cublasLtMatrixLayoutAttribute_t,
             Kind::matrix_layout);
PLIMSOLL_SET(cublasLtMatmulPreferenceSetAttribute, cublasLtMatmulPreference_t,
             cublasLtMatmulPreferenceAttributes_t, Kind::matmul_preference);
#undef PLIMSOLL_SET
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t asked, int room,
                                              cublasLtMatmulHeuristicResult_t results[], int* count) {
    return entry(__func__, ordinary, {.object = desc}, [&](Record& record) {
        const auto settings = use<Settings>(record, desc, Kind::matmul_desc);
        const auto preference = use<Settings>(record, asked, Kind::matmul_preference);
        *count = 0;
        if (!use(record, handle, Kind::cublaslt_handle) || !settings || !preference || room < 1 ||
            !product_of(record, *settings, a, b, c, d).good)
            return CUBLAS_STATUS_INVALID_VALUE;
        const auto limit = preference->get(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::int64_t{0});
        for (const std::int64_t workspace : state().options.matmul_workspaces) {
            if (workspace > limit || *count == room) continue;
            cublasLtMatmulHeuristicResult_t& result = results[(*count)++] = {};
            result.algo.data[0] = algorithm_mark;
            result.algo.data[1] = result.workspaceSize = static_cast<std::size_t>(workspace);
            result.wavesCount = 1;
        }
        return *count > 0 ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
    });
}
cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void* alpha,
                              const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                              cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                              cublasLtMatrixLayout_t c_layout, void* d, cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* algorithm, void* workspace,
                              std::size_t workspace_bytes, cudaStream_t stream_handle) {
    const auto bytes = static_cast<std::int64_t>(workspace_bytes);
    const Record asked{.bytes = bytes, .stream = stream_handle, .object = d};
    return entry(__func__, ordinary, asked, [&](Record& record) {
        const auto settings = use<Settings>(record, desc, Kind::matmul_desc);
        if (!use(record, handle, Kind::cublaslt_handle) || !settings || alpha == nullptr || beta == nullptr)
            return CUBLAS_STATUS_INVALID_VALUE;
        const Product is = product_of(record, *settings, a_layout, b_layout, c_layout, d_layout);
        const bool ours = algorithm == nullptr ||
                          (algorithm->data[0] == algorithm_mark && algorithm->data[1] <= workspace_bytes);
        if (!is.good || !ours) return CUBLAS_STATUS_INVALID_VALUE;
        Work work{.name = record.name,
                  .touches = {{"A", a, is.a.bytes},
                              {"B", b, is.b.bytes},
                              {"C", c, is.c.bytes},
                              {"D", d, is.d.bytes},
                              {"workspace", workspace, bytes, Kind::device_memory, true}}};
        const int epilogue = settings->get(CUBLASLT_MATMUL_DESC_EPILOGUE, 1);
        const void* bias =
            settings->get(CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<const void*>(nullptr));
        const bool by_column = (epilogue & CUBLASLT_EPILOGUE_BGRADB) != 0;
        if (by_column || (epilogue & (CUBLASLT_EPILOGUE_BIAS | 16 | CUBLASLT_EPILOGUE_BGRADA)) != 0)
            work.touches.push_back({"bias", bias, (by_column ? is.d.cols : is.d.rows) * is.d.element});
        if (bytes != 0 && reinterpret_cast<std::uintptr_t>(workspace) % 256 != 0)
            violation(text(record.name, ": the workspace at ", workspace, " is not aligned to 256"));
        sound(work); // cublasLt would not notice
        std::shared_ptr<Stream> stream;
        if (enter(record, stream_handle, stream) != cudaSuccess) return CUBLAS_STATUS_EXECUTION_FAILED;
        submit(*stream, std::move(work), record);
        return CUBLAS_STATUS_SUCCESS;
    });
}

} // extern "C"
