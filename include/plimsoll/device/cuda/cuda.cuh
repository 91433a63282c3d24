#pragma once
/// \file
/// The Cuda device: an NVIDIA GPU, one stream of work, recorded passes.

#include <plimsoll/core/units.hpp>
#include <plimsoll/device/cuda/footprint.cuh>
#include <plimsoll/device/cuda/gpu.cuh>
#include <plimsoll/device/cuda/launch.cuh>
#include <plimsoll/device/cuda/numbers.cuh>
#include <plimsoll/device/cuda/owned.cuh>
#include <plimsoll/device/cuda/transform.cuh>
#include <plimsoll/device/device.hpp>
#include <plimsoll/device/kernel.hpp>
#include <plimsoll/plan/cost.hpp>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <type_traits>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

struct WritePassState {
    PassState* at;
    PassState state;
    __device__ void operator()(std::int64_t) const { *at = state; }
};

struct FindOverflow {
    const Pack<float, 4>* gradients;
    LossScaling* scaling;
    __device__ void operator()(std::int64_t i) const {
        const Pack<float, 4> g = gradients[i];
#pragma unroll
        for (int k = 0; k < 4; ++k)
            if (!isfinite(g.values[k])) scaling->overflowed = 1; // whoever writes, writes the same
    }
};
struct ClearOverflow {
    LossScaling* scaling;
    __device__ void operator()(std::int64_t) const { scaling->overflowed = 0; }
};
struct JudgeOverflow {
    LossScaling* scaling;
    __device__ void operator()(std::int64_t) const { scaling->judge(scaling->overflowed == 0); }
};

/// An optimizer's rule, four weights at once.
template <class Rule, int States>
struct Update {
    using Four = Pack<float, 4>;
    Rule rule;
    Four* weights;
    const Four* gradients;
    Four* first;
    Four* second;
    const LossScaling* scaling;
    __device__ void operator()(std::int64_t i) const {
        if (scaling != nullptr && scaling->overflowed != 0) return;
        const float unscale = scaling == nullptr ? 1.0f : scaling->unscale;
        Four w = weights[i];
        const Four g = gradients[i];
        Four a{}, b{};
        if constexpr (States > 0) a = first[i];
        if constexpr (States > 1) b = second[i];
#pragma unroll
        for (int k = 0; k < 4; ++k) rule(w.values[k], g.values[k] * unscale, a.values[k], b.values[k]);
        weights[i] = w;
        if constexpr (States > 0) first[i] = a;
        if constexpr (States > 1) second[i] = b;
    }
};

/// Libraries' kernels for Hopper take workspaces that begin on a multiple of 256, as parts of an arena need
/// not: with the slack beside its bytes, one can.
inline constexpr std::int64_t workspace_alignment = 256, workspace_slack = workspace_alignment - alignment;
inline std::byte* well_aligned(void* workspace) {
    const auto address = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(workspace));
    return static_cast<std::byte*>(workspace) + (round_up(address, workspace_alignment) - address);
}

} // namespace detail

/// Trains on an NVIDIA GPU, with cuDNN and cuBLASLt. A job makes one device allocation; passes are recorded
/// as CUDA graphs when they come a second time and repeated from then on. PLIMSOLL_CUDA_GRAPHS=0 in the
/// environment turns that off, so that a debugger sees every call.
class Cuda {
  public:
    static constexpr std::string_view name = "Cuda";
    static constexpr bool host_addressable = false;
    static constexpr bool repeats_passes = true;

    /// A GPU wants slices as large as the budget allows, and runs one after the other.
    [[nodiscard]] static constexpr Cutting cutting() {
        return {.speeds = {.flops = 100e12, .bytes = 2.5e12, .memory = 2.5e12, .call = 4e-6, .stage = 2e-6},
                .most_lanes = 1,
                .ring_slots = 2,
                .slice_bytes = {std::int64_t{1} << 40, std::int64_t{256} << 20, std::int64_t{64} << 20,
                                std::int64_t{16} << 20, std::int64_t{4} << 20, 0}};
    }

    /// \param ordinal which GPU, as CUDA counts them.
    /// \throws device_error where there is none or its driver is too old, argument_error for an ordinal
    /// beyond.
    explicit Cuda([[maybe_unused]] int threads = 0, int ordinal = 0)
        : ordinal_(detail::find_gpu(ordinal)), footprint_(ordinal) {
        select();
        detail::check(cudaFree(nullptr), "making CUDA's context");
        detail::check(cudaGetDeviceProperties(&properties_, ordinal), "cudaGetDeviceProperties");
        footprint_.context_made(free_bytes());
        compiled_for_ = detail::compiled_for(properties_);
        stream_ = detail::make_stream();
        detail::check(cudnnCreate(cudnn_.out()), "cudnnCreate");
        detail::check(cudnnSetStream(cudnn_.get(), stream_.get()), "cudnnSetStream");
        detail::check(cublasLtCreate(cublas_.out()), "cublasLtCreate");
        const char* wanted = std::getenv("PLIMSOLL_CUDA_GRAPHS");
        records_ = wanted == nullptr || std::string_view(wanted) != "0";
    }
    /// Why there is no GPU that CUDA can use; empty where there is one.
    [[nodiscard]] static std::string why_unavailable() {
        try {
            static_cast<void>(detail::find_gpu(0));
        } catch (const device_error& none) {
            return none.what();
        }
        return {};
    }
    Cuda(const Cuda&) = delete;
    Cuda& operator=(const Cuda&) = delete;

    [[nodiscard]] int ordinal() const { return ordinal_; }
    /// Which GPU this is, and cuDNN's version.
    [[nodiscard]] std::string description() const {
        const std::size_t version = cudnnGetVersion();
        return text("GPU ", ordinal_, ", ", properties_.name, " (compute capability ", properties_.major, ".",
                    properties_.minor, "), cuDNN ", version / 10000, ".", version / 100 % 100, ".",
                    version % 100);
    }
    [[nodiscard]] const cudaDeviceProp& properties() const { return properties_; }
    /// The compute capability that the program's code was compiled for, 75 for 7.5. It may be older than the
    /// GPU's, whose driver then translates it.
    [[nodiscard]] int compiled_for() const { return compiled_for_; }
    [[nodiscard]] cudaStream_t stream() const { return stream_.get(); }
    [[nodiscard]] cudnnHandle_t cudnn() const { return cudnn_.get(); }
    [[nodiscard]] cublasLtHandle_t cublas() const { return cublas_.get(); }

    [[nodiscard]] static constexpr int workers() { return 1; }
    [[nodiscard]] static constexpr int layout_block() { return 0; } // channels last: what tensor cores want
    [[nodiscard]] std::int64_t free_bytes() const {
        select();
        std::size_t free = 0, total = 0;
        detail::check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
        return static_cast<std::int64_t>(free);
    }

    /// Device memory, owned.
    class Memory {
      public:
        Memory() = default;
        /// \throws device_error naming the bytes and what is free.
        explicit Memory(std::int64_t bytes) {
            const cudaError_t status = cudaMalloc(reinterpret_cast<void**>(data_.out()),
                                                  static_cast<std::size_t>(bytes > 0 ? bytes : 1));
            if (status == cudaSuccess) return;
            cudaGetLastError();
            std::size_t free = 0, total = 0;
            if (cudaMemGetInfo(&free, &total) != cudaSuccess) cudaGetLastError();
            throw device_error(text("the GPU has no ", bytes, " B (", to_string(Bytes{bytes}),
                                    ") to give: ", cudaGetErrorString(status), "; ", free, " B (",
                                    to_string(Bytes{static_cast<std::int64_t>(free)}),
                                    ") are free, perhaps in pieces, or another process took them meanwhile"));
        }
        [[nodiscard]] std::byte* data() const { return data_.get(); }

      private:
        static cudaError_t give_back(std::byte* data) { return cudaFree(data); }
        detail::Owned<std::byte*, give_back> data_;
    };
    [[nodiscard]] Memory allocate(std::int64_t bytes) {
        select();
        Memory memory(bytes);
        allocated_ += bytes;
        return memory;
    }

    /// One lane after the other: what a GPU does at once is inside its kernels.
    template <class F>
    void for_lanes(int lanes, F&& f) const {
        for (int lane = 0; lane < lanes; ++lane) f(lane, 0);
    }

    void upload(void* to, const void* from, std::int64_t bytes) const {
        copy(to, from, bytes, cudaMemcpyHostToDevice);
        synchronize(); // the caller may let go of what is copied
    }
    void download(void* to, const void* from, std::int64_t bytes) const {
        copy(to, from, bytes, cudaMemcpyDeviceToHost);
        synchronize();
    }
    /// Inside the device, in order with its work.
    void copy_within(void* to, const void* from, std::int64_t bytes) const {
        copy(to, from, bytes, cudaMemcpyDeviceToDevice);
    }
    void fill_zero(void* to, std::int64_t bytes) const {
        select();
        detail::check(cudaMemsetAsync(to, 0, static_cast<std::size_t>(bytes), stream()), "cudaMemsetAsync");
    }
    /// Waits for all work. \throws device_error for what failed in it.
    void synchronize() const {
        select();
        detail::check(cudaStreamSynchronize(stream()), "waiting for the GPU");
    }

    /// Calls body(i) on the device for every i in [0, count), in order with its work. \param body a functor
    /// of device code, copied.
    template <class Body>
    void for_each(std::int64_t count, const Body& body, std::string_view what) const {
        if (count > 0) detail::check(detail::for_each_index(count, body, stream()), what);
    }

    /// out[i] = f(first[i]), or f(first[i], second[i]); `out` may be one of them. \param f a functor of
    /// floats
    template <class F, class T>
    void transform(F f, std::int64_t count, T* out, const T* first, const std::type_identity_t<T>* second,
                   std::string_view what) const {
        detail::check(detail::transform(f, count, out, first, second, stream()), what);
    }

    /// to[i] += from[i], elements of the precision's storage.
    template <class T>
    void add(T* to, const T* from, std::int64_t count) const {
        transform(detail::Plus{}, count, to, to, from, "adding gradients");
    }

    /// Judges a step by its gradients, `count` floats, without asking the host.
    void judge(LossScaling* scaling, const float* gradients, std::int64_t count) const {
        select();
        for_each(1, detail::ClearOverflow{scaling}, "looking for overflow");
        for_each(count / 4, detail::FindOverflow{reinterpret_cast<const Four*>(gradients), scaling},
                 "looking for overflow");
        for_each(1, detail::JudgeOverflow{scaling}, "looking for overflow");
    }

    /// An optimizer's rule over all weights, in one launch; see Host::update.
    template <class Rule>
    void update(const Rule& rule, float* weights, const float* gradients, float* first, float* second,
                std::int64_t count, const LossScaling* scaling) const {
        select();
        if (first == nullptr)
            update<0>(rule, weights, gradients, first, second, count, scaling);
        else if (second == nullptr)
            update<1>(rule, weights, gradients, first, second, count, scaling);
        else
            update<2>(rule, weights, gradients, first, second, count, scaling);
    }

    /// A pass: its state is written, then f() runs, is recorded the second time it comes, and repeated from
    /// the third time on.
    template <class F>
    void pass(const PassKey& key, PassState* at, const PassState& state, F f) {
        select();
        for_each(1, detail::WritePassState{at, state}, "beginning a pass");
        Pass* known = find(key);
        if (known == nullptr || (!known->recording && !records_)) return f();
        if (!known->seen) { // libraries load now what they may not load while they are recorded
            known->seen = true;
            return f();
        }
        if (!known->recording) known->recording = record(f);
        detail::check(cudaGraphLaunch(known->recording.get(), stream()), "cudaGraphLaunch");
    }

    /// After every kind of pass has run: measures what lies outside the arena.
    void warmed_up() {
        synchronize();
        footprint_.measure(free_bytes(), allocated_);
    }
    /// Device memory that is not the arena's.
    [[nodiscard]] std::vector<OutsideBytes> outside() const {
        std::vector<OutsideBytes> out;
        if (footprint_.context() > 0) out.push_back({"CUDA's context", footprint_.context()});
        out.push_back({"CUDA's libraries, kernels and recorded passes",
                       std::max<std::int64_t>(footprint_.libraries(), 0)});
        return out;
    }

  private:
    using Four = detail::Pack<float, 4>;
    static_assert(alignment % sizeof(Four) == 0, "passes over all weights take whole packs");
    struct Pass {
        PassKey key;
        bool seen = false;
        detail::CudaRecording recording{};
    };
    static constexpr std::size_t most_passes_ = 32; ///< ragged ends of several sources included

    void select() const { detail::check(cudaSetDevice(ordinal_), "cudaSetDevice"); }
    void copy(void* to, const void* from, std::int64_t bytes, cudaMemcpyKind kind) const {
        select();
        detail::check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), kind, stream()),
                      "cudaMemcpyAsync");
    }

    template <int States, class Rule>
    void update(const Rule& rule, float* weights, const float* gradients, float* first, float* second,
                std::int64_t count, const LossScaling* scaling) const {
        for_each(count / 4,
                 detail::Update<Rule, States>{
                     rule, reinterpret_cast<Four*>(weights), reinterpret_cast<const Four*>(gradients),
                     reinterpret_cast<Four*>(first), reinterpret_cast<Four*>(second), scaling},
                 "the optimizer");
    }

    Pass* find(const PassKey& key) {
        for (Pass& pass : passes_)
            if (pass.key == key) return &pass;
        if (passes_.size() == most_passes_) return nullptr;
        return &passes_.emplace_back(Pass{key});
    }
    template <class F>
    detail::CudaRecording record(F f) const {
        detail::CudaCapture capture(stream());
        f();
        const detail::CudaGraph graph = capture.end();
        detail::CudaRecording recording;
        detail::check(cudaGraphInstantiate(recording.out(), graph.get(), 0), "cudaGraphInstantiate");
        return recording;
    }

    int ordinal_;
    detail::Footprint footprint_;
    cudaDeviceProp properties_{};
    int compiled_for_ = 0;
    detail::CudaStream stream_;
    detail::CudnnHandle cudnn_;
    detail::CublasLtHandle cublas_;
    std::vector<Pass> passes_;
    bool records_ = true;
    std::int64_t allocated_ = 0;
};

static_assert(device<Cuda>);

} // namespace plimsoll::inline PLIMSOLL_ABI
