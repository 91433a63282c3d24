#pragma once
/// \file
/// cuDNN's graph API through its C functions (its C++ wrapper takes a minute and gigabytes to compile): one
/// convolution, run by an engine whose results repeat and whose workspace keeps to a limit.
///
/// The graph API, because the calls of before are deprecated, reach fewer kernels and cannot tell an engine's
/// properties.

#include <plimsoll/core/shape.hpp>
#include <plimsoll/device/cuda/cuda.cuh>

#include <algorithm>
#include <array>
#include <span>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail::cudnn {

/// A backend descriptor: attributes are set, then it is finalized.
class Descriptor {
  public:
    Descriptor() = default;
    explicit Descriptor(cudnnBackendDescriptorType_t type) {
        check(cudnnBackendCreateDescriptor(type, descriptor_.out()), "cudnnBackendCreateDescriptor");
    }
    [[nodiscard]] cudnnBackendDescriptor_t get() const { return descriptor_.get(); }
    explicit operator bool() const { return static_cast<bool>(descriptor_); }

    void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t count,
             const void* values) {
        check(cudnnBackendSetAttribute(get(), name, type, count, values), "cudnnBackendSetAttribute");
    }
    void set(cudnnBackendAttributeName_t name, std::span<const std::int64_t> values) {
        set(name, CUDNN_TYPE_INT64, static_cast<std::int64_t>(values.size()), values.data());
    }
    void set(cudnnBackendAttributeName_t name, std::int64_t value) { set(name, CUDNN_TYPE_INT64, 1, &value); }
    void set(cudnnBackendAttributeName_t name, float value) { set(name, CUDNN_TYPE_FLOAT, 1, &value); }
    void set(cudnnBackendAttributeName_t name, cudnnDataType_t value) {
        set(name, CUDNN_TYPE_DATA_TYPE, 1, &value);
    }
    void set(cudnnBackendAttributeName_t name, cudnnHandle_t value) {
        set(name, CUDNN_TYPE_HANDLE, 1, &value);
    }
    void set(cudnnBackendAttributeName_t name, const Descriptor& other) {
        const cudnnBackendDescriptor_t value = other.get();
        set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
    }
    void finalize() { check(cudnnBackendFinalize(get()), "cudnnBackendFinalize"); }
    /// \returns false where the library says that it does not support this, or that it cannot compile it.
    [[nodiscard]] bool finalize_if_supported() {
        const cudnnStatus_t status = cudnnBackendFinalize(get());
        if (CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_NOT_SUPPORTED ||
            status == CUDNN_STATUS_INTERNAL_ERROR_COMPILATION_FAILED)
            return false;
        check(status, "cudnnBackendFinalize");
        return true;
    }

    /// At most as many of an attribute's values as `values` has room for. \returns how many there are
    template <class Value>
    std::int64_t get(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                     std::span<Value> values) const {
        std::int64_t count = 0;
        check(cudnnBackendGetAttribute(get(), name, type, static_cast<std::int64_t>(values.size()), &count,
                                       values.data()),
              "cudnnBackendGetAttribute");
        return std::min<std::int64_t>(count, static_cast<std::int64_t>(values.size()));
    }
    template <class Value>
    [[nodiscard]] bool holds(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                             Value value) const {
        std::array<Value, 16> values{};
        const std::int64_t count = get<Value>(name, type, values);
        return std::find(values.begin(), values.begin() + count, value) != values.begin() + count;
    }

  private:
    Owned<cudnnBackendDescriptor_t, cudnnBackendDestroyDescriptor> descriptor_;
};

/// What a convolution computes.
enum class Direction { forward, input_gradient, weight_gradient };

/// A convolution's operands and limits. Pictures and filters lie channels last.
struct Convolution {
    Direction direction = Direction::forward;
    int images = 0;
    Shape input{}, output{};
    Window window{};
    cudnnDataType_t type = CUDNN_DATA_FLOAT;                  ///< of pictures, filters and their gradients
    float scale = 1;                                          ///< by which the result is multiplied
    bool adds_bias = false;                                   ///< forward, of the same type
    bool tensor_cores = false;                                ///< for floats: whether TF32 will do
    std::int64_t workspace = 0;                               ///< most bytes
    std::int64_t input_alignment = 16, output_alignment = 16; ///< bytes, of the pictures' addresses
};

inline constexpr std::int64_t input_id = 1, filter_id = 2, output_id = 3, bias_id = 4, sums_id = 5;

/// \param extents of (N, C, H, W) or (K, C, R, S) \param is_virtual whether it is never in memory
inline Descriptor tensor(std::int64_t id, cudnnDataType_t type, const std::array<std::int64_t, 4>& extents,
                         std::int64_t alignment, bool is_virtual = false) {
    const auto [n, c, h, w] = extents;
    const std::array<std::int64_t, 4> strides = {c * h * w, 1, w * c, c};
    Descriptor made(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    made.set(CUDNN_ATTR_TENSOR_DATA_TYPE, type);
    made.set(CUDNN_ATTR_TENSOR_DIMENSIONS, extents);
    made.set(CUDNN_ATTR_TENSOR_STRIDES, strides);
    made.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id);
    made.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, alignment);
    if (is_virtual) made.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &is_virtual);
    made.finalize();
    return made;
}

/// The GPU that plans are for. The library can also be asked what it would do on one that is not here: tests
/// have a target that describes one.
struct ThisGpu {
    cudnnHandle_t handle;
    void tell_graph(Descriptor& graph) const { graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, handle); }
    void tell_heuristic(Descriptor&) const {} // the graph has told it
    void tell_plan(Descriptor& plan) const { plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, handle); }
};

/// A convolution with the engine that runs it.
class ConvolutionPlan {
  public:
    ConvolutionPlan() = default;
    /// The first of the library's proposals that will do. Empty where there is none within the limits;
    /// `least_refused` tells why.
    template <class Target>
    ConvolutionPlan(const Target& target, const Convolution& wanted) {
        describe(wanted);
        graph_ = Descriptor(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
        target.tell_graph(graph_);
        const cudnnBackendDescriptor_t operations[] = {operation_.get(), addition_.get()};
        graph_.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, addition_ ? 2 : 1,
                   operations);
        graph_.finalize();
        // Compiling an engine takes seconds and memory: only where there is no other.
        for (const bool compiles : {false, true})
            for (const cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK})
                if (choose(target, wanted, mode, compiles)) return;
    }
    explicit operator bool() const { return static_cast<bool>(plan_); }
    [[nodiscard]] std::int64_t workspace() const { return workspace_; }
    [[nodiscard]] std::int64_t engine() const { return engine_; }
    [[nodiscard]] bool uses_tensor_cores() const { return uses_tensor_cores_; }
    /// Least workspace of the engines that were refused for theirs; 0 if there was none.
    [[nodiscard]] std::int64_t least_refused() const { return least_refused_; }

    /// \param bias where it is added
    void run(const Cuda& device, const void* input, const void* filter, const void* output, void* workspace,
             const void* bias = nullptr) const {
        const void* pointers[] = {input, filter, output, bias};
        const std::int64_t ids[] = {input_id, filter_id, output_id, bias_id}, count = addition_ ? 4 : 3;
        Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
        pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, ids);
        pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, count, pointers);
        pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace);
        pack.finalize();
        check(cudnnBackendExecute(device.cudnn(), plan_.get(), pack.get()), "cudnnBackendExecute");
    }

  private:
    void describe(const Convolution& wanted) {
        const auto& [in, out, window] = std::tie(wanted.input, wanted.output, wanted.window);
        input_ = tensor(input_id, wanted.type, {wanted.images, in.channels, in.height, in.width},
                        wanted.input_alignment);
        filter_ =
            tensor(filter_id, wanted.type, {out.channels, in.channels, window.kernel, window.kernel}, 16);
        output_ = tensor(output_id, wanted.type, {wanted.images, out.channels, out.height, out.width},
                         wanted.output_alignment);
        if (wanted.adds_bias) {
            sums_ = tensor(sums_id, CUDNN_DATA_FLOAT, {wanted.images, out.channels, out.height, out.width},
                           16, true);
            bias_ = tensor(bias_id, wanted.type, {1, out.channels, 1, 1}, 16);
        }
        const std::int64_t padding[] = {window.padding, window.padding},
                           stride[] = {window.stride, window.stride}, dilation[] = {1, 1};
        const auto mode = CUDNN_CROSS_CORRELATION;
        convolution_ = Descriptor(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
        convolution_.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT);
        convolution_.set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
        convolution_.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, std::int64_t{2});
        convolution_.set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, padding);
        convolution_.set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, padding);
        convolution_.set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, stride);
        convolution_.set(CUDNN_ATTR_CONVOLUTION_DILATIONS, dilation);
        convolution_.finalize();
        switch (wanted.direction) {
        case Direction::forward:
            describe_operation(
                CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, wanted.scale,
                {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                 CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                 CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                 CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA});
            if (wanted.adds_bias) describe_addition();
            return;
        case Direction::input_gradient:
            return describe_operation(
                CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR, wanted.scale,
                {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                 CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                 CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                 CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                 CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA});
        case Direction::weight_gradient:
            return describe_operation(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                                      wanted.scale,
                                      {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                                       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                                       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                                       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                                       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                                       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA});
        }
    }
    /// \param names of convolution, input, filter, output, alpha, beta
    void describe_operation(cudnnBackendDescriptorType_t type, float scale,
                            const std::array<cudnnBackendAttributeName_t, 6>& names) {
        operation_ = Descriptor(type);
        operation_.set(names[0], convolution_);
        operation_.set(names[1], input_);
        operation_.set(names[2], filter_);
        operation_.set(names[3], sums_ ? sums_ : output_);
        operation_.set(names[4], scale);
        operation_.set(names[5], 0.0f);
        operation_.finalize();
    }
    void describe_addition() {
        const auto mode = CUDNN_POINTWISE_ADD;
        pointwise_ = Descriptor(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
        pointwise_.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
        pointwise_.set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT);
        pointwise_.finalize();
        addition_ = Descriptor(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
        addition_.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, pointwise_);
        addition_.set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, sums_);
        addition_.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, bias_);
        addition_.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, output_);
        addition_.finalize();
    }
    template <class Target>
    bool choose(const Target& target, const Convolution& wanted, cudnnBackendHeurMode_t mode, bool compiles) {
        Descriptor heuristic(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
        heuristic.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph_);
        heuristic.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
        target.tell_heuristic(heuristic);
        if (!heuristic.finalize_if_supported()) return false; // nothing to propose
        std::int64_t count = 0;
        check(cudnnBackendGetAttribute(heuristic.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                       CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &count, nullptr),
              "cudnnBackendGetAttribute");
        std::vector<Descriptor> proposals;
        std::vector<cudnnBackendDescriptor_t> raw;
        for (std::int64_t i = 0; i < count; ++i) {
            proposals.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
            raw.push_back(proposals.back().get());
        }
        if (count > 0)
            count = heuristic.get<cudnnBackendDescriptor_t>(CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                                            CUDNN_TYPE_BACKEND_DESCRIPTOR, raw);
        for (std::int64_t i = 0; i < count; ++i)
            if (accept(target, wanted, proposals[static_cast<std::size_t>(i)], compiles)) return true;
        return false;
    }
    template <class Target>
    bool accept(const Target& target, const Convolution& wanted, const Descriptor& proposal, bool compiles) {
        Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
        cudnnBackendDescriptor_t raw[] = {engine.get()};
        proposal.get<cudnnBackendDescriptor_t>(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                               raw);
        const auto notes = [&](cudnnBackendNumericalNote_t note) {
            return engine.holds(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, note);
        };
        if (engine.holds(CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE,
                         CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION) != compiles)
            return false;
        for (const auto refused :
             {CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC, CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION,
              CUDNN_NUMERICAL_NOTE_FFT, CUDNN_NUMERICAL_NOTE_WINOGRAD})
            if (notes(refused)) return false;
        if (wanted.type == CUDNN_DATA_FLOAT && !wanted.tensor_cores &&
            (notes(CUDNN_NUMERICAL_NOTE_TENSOR_CORE) || notes(CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS)))
            return false;
        Descriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
        target.tell_plan(plan);
        plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, proposal);
        if (!plan.finalize_if_supported()) return false; // proposed, but not for here
        std::int64_t workspace[1] = {};
        plan.get<std::int64_t>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, workspace);
        if (workspace[0] > wanted.workspace) {
            if (least_refused_ == 0 || workspace[0] < least_refused_) least_refused_ = workspace[0];
            return false;
        }
        std::int64_t index[1] = {};
        engine.get<std::int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, index);
        plan_ = std::move(plan);
        workspace_ = workspace[0];
        engine_ = index[0];
        uses_tensor_cores_ = notes(CUDNN_NUMERICAL_NOTE_TENSOR_CORE);
        return true;
    }

    Descriptor input_, filter_, output_, convolution_, operation_, graph_, plan_;
    Descriptor sums_, bias_, pointwise_, addition_; ///< where a bias is added
    std::int64_t workspace_ = 0, engine_ = -1, least_refused_ = 0;
    bool uses_tensor_cores_ = false;
};

} // namespace detail::cudnn

} // namespace plimsoll::inline PLIMSOLL_ABI
