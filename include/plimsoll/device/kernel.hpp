#pragma once
/// \file
/// The kernel interface: how a layer is computed on a device.

#include <plimsoll/core/storage.hpp>
#include <plimsoll/model/loss_scaling.hpp>
#include <plimsoll/plan/site.hpp>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace plimsoll::inline PLIMSOLL_ABI {

/// What the calls of a pass depend on, beside its PassState: passes with the same key make the same calls.
struct PassKey {
    int count = 0, slot = 0;
    bool training = false, accumulate = false, pack = false;
    friend constexpr bool operator==(const PassKey&, const PassKey&) = default;
};

/// What changes from pass to pass, in the memory of a device that repeats recorded passes: there the fields
/// of a Call that depend on it are those of the pass that was recorded.
struct PassState {
    std::uint64_t step = 0; ///< as Call::step
    std::int32_t first = 0; ///< the micro-batch's first image, counted within the user's batch
    std::int32_t batch = 0; ///< as Call::batch
};

/// Everything one call may touch. Pointers lie in the arena and address the first image of the slice; the
/// kernel touches nothing else. A pointer the site does not call for is null.
struct Call {
    int first = 0;  ///< the slice's first image, counted within the user's batch
    int image = 0;  ///< the same, counted within the micro-batch
    int count = 0;  ///< images to compute, 1 ... Site::images; operands have room for Site::images
    int lane = 0;   ///< whose partial gradients these are
    int worker = 0; ///< whose scratch this is: two calls with the same worker never overlap in time
    bool training = true;
    bool accumulate = false; ///< add to weight gradients instead of overwriting them
    std::uint64_t step = 0;  ///< optimizer step, from 0
    int batch = 0;           ///< images of the user's batch (the loss's divisor)

    const void* input = nullptr;           ///< (count, input shape)
    const void* second = nullptr;          ///< (count, input shape): the other summand
    void* output = nullptr;                ///< (count, output shape)
    const void* output_gradient = nullptr; ///< (count, output shape)
    void* input_gradient = nullptr;        ///< (count, input shape): overwritten
    void* second_gradient = nullptr;       ///< (count, input shape): overwritten
    void* saved = nullptr;                 ///< (count, Facts::saved_bytes)
    void* statistics = nullptr;            ///< Facts::statistics_bytes
    void* packed = nullptr;                ///< Needs::packed
    void* partial = nullptr;               ///< Needs::partial: of this lane; in `reduce`: of lane 0
    std::int64_t partial_stride = 0;       ///< in `reduce`: bytes from one lane's partial to the next
    void* input_staging = nullptr;         ///< executor's: see Step
    void* second_staging = nullptr;        ///< executor's
    void* scratch = nullptr;               ///< Needs::scratch, of this worker
    const Label* labels = nullptr;         ///< (count)
    const LossScaling* scaling = nullptr;  ///< of the precision; null: the loss is not scaled
    const PassState* pass = nullptr;       ///< in the device's memory, where it keeps one
    std::array<float*, 4> parameters{};    ///< PyTorch's layouts; running statistics are written in training
    std::array<float*, 4> gradients{};     ///< as parameters
};

/// A layer on a device: made once by its constructor from a Site, then called without allocating. Kernels of
/// sliced layers run one slice on one thread; kernels of layers with `whole_batch`, and the batch phases
/// below, run alone and may use the whole device.
class NodeKernel {
  public:
    NodeKernel() = default;
    NodeKernel(const NodeKernel&) = delete;
    NodeKernel& operator=(const NodeKernel&) = delete;
    virtual ~NodeKernel() = default;

    /// What of `needs` is in use on this machine; zeros where that is all of it.
    [[nodiscard]] virtual Needs used() const { return {}; }
    /// A library's names for the ways it was told to go; empty where there is nothing to choose.
    [[nodiscard]] virtual std::string choice() const { return {}; }

    /// Asks the kernel to return max(output, 0), as the layer that alone reads it would, and to take the
    /// gradient of that. \returns whether it does from now on
    virtual bool rectify() { return false; }

    /// Batch phase, after weights have changed: fills `packed` from `parameters`.
    virtual void pack(const Call&) {}
    /// Batch phase before forward, for layers that couple images: fills `statistics` from `input`.
    virtual void gather(const Call&) {}
    /// A slice: `input` to `output` (and `saved`).
    virtual void forward(const Call&) = 0;
    /// Batch phase before backward, for layers that couple images: sums over the batch into `statistics`, and
    /// the weight gradients that follow from them.
    virtual void gather_gradient(const Call&) {}
    /// A slice: `output_gradient` to `input_gradient` where it is asked for, and this slice's share of the
    /// weight gradient into `partial` (added if `accumulate`, which is set from a lane's second slice on), or
    /// for whole-batch layers straight into `gradients` (added if `accumulate`).
    virtual void backward(const Call&) = 0;
    /// Batch phase after backward: sums the lanes' partials, in lane order, into `gradients` (added if
    /// `accumulate`, which is set from the second micro-batch on).
    virtual void reduce(const Call&, int lanes) { static_cast<void>(lanes); }
    /// Batch phase after an update of the weights: what a layer learns beside gradients (running statistics).
    /// Not called for a step that was skipped or failed.
    virtual void settle(const Call&) {}
};

/// The kernel of a layer on a device: specialise it for a layer or a device of your own. A specialisation
/// derives from NodeKernel, is built from (const Site&, Device&) and declares
/// `static constexpr Needs needs(const Site&)`.
template <class Layer, class Precision, class Device>
struct Kernel;

/// What a device has to say about a precision on this machine; empty where there is nothing. Specialise it
/// for a device of your own.
template <class Precision, class Device>
struct PrecisionAdvice {
    static std::string_view text(const Device&) { return ""; }
};

} // namespace plimsoll::inline PLIMSOLL_ABI
