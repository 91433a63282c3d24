#pragma once
/// \file
/// A thin owner around oneDNN's C interface (its C++ header costs too much to compile): primitives for one
/// thread, with workspace of the caller's, executed on the caller's memory.

#include <plimsoll/core/error.hpp>
#include <plimsoll/core/storage.hpp>
#include <plimsoll/device/host/onednn_version.hpp>
#include <plimsoll/device/host/parallel.hpp>

#if PLIMSOLL_WITH_ONEDNN

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace plimsoll::inline PLIMSOLL_ABI::detail::onednn {

/// \throws device_error naming the call, the place and the library's reason.
inline void check(dnnl_status_t status, std::string_view call, const std::string& where) {
    if (status == dnnl_success) return;
    const std::string_view reason = status == dnnl_out_of_memory       ? "out of memory"
                                    : status == dnnl_invalid_arguments ? "invalid arguments"
                                    : status == dnnl_unimplemented     ? "not implemented"
                                    : status == dnnl_runtime_error     ? "run-time error"
                                                                       : "other";
    throw device_error(
        text("oneDNN's ", call, " failed (", reason, ", status ", static_cast<int>(status), ") for ", where));
}

struct Destroy {
    void operator()(dnnl_engine_t engine) const { static_cast<void>(dnnl_engine_destroy(engine)); }
    void operator()(dnnl_stream_t stream) const { static_cast<void>(dnnl_stream_destroy(stream)); }
    void operator()(dnnl_memory_t memory) const { static_cast<void>(dnnl_memory_destroy(memory)); }
    void operator()(dnnl_primitive_t primitive) const {
        static_cast<void>(dnnl_primitive_destroy(primitive));
    }
    void operator()(dnnl_primitive_desc_t desc) const {
        static_cast<void>(dnnl_primitive_desc_destroy(desc));
    }
    void operator()(dnnl_primitive_attr_t attr) const {
        static_cast<void>(dnnl_primitive_attr_destroy(attr));
    }
    void operator()(dnnl_post_ops_t operations) const {
        static_cast<void>(dnnl_post_ops_destroy(operations));
    }
};
template <class Handle>
using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, Destroy>;

/// The processor, as the library sees it: one for the process.
inline dnnl_engine_t engine() {
    static const Owned<dnnl_engine_t> cpu = [] {
        dnnl_engine_t made = nullptr;
        check(dnnl_engine_create(&made, dnnl_cpu, 0), "dnnl_engine_create", "the processor");
        return Owned<dnnl_engine_t>(made);
    }();
    return cpu.get();
}

[[nodiscard]] inline std::int64_t bytes(const Desc& desc) {
    return desc.get() == nullptr ? 0 : static_cast<std::int64_t>(dnnl_memory_desc_get_size(desc.get()));
}

/// The library's name for an element type.
template <class T>
inline constexpr dnnl_data_type_t data_type = dnnl_f32;
template <>
inline constexpr dnnl_data_type_t data_type<bfloat16> = dnnl_bf16;

/// Elements of T in a format with a name.
template <class T = float, std::size_t Rank>
Desc tagged(const std::int64_t (&extents)[Rank], dnnl_format_tag_t tag) {
    dnnl_dims_t dims{};
    for (std::size_t i = 0; i < Rank; ++i) dims[i] = extents[i];
    Desc desc;
    check(desc.by_tag(static_cast<int>(Rank), dims, data_type<T>, tag), "memory descriptor by tag",
          "a tensor");
    return desc;
}

/// Floats that lie apart as `strides` says.
template <std::size_t Rank>
Desc strided(const std::int64_t (&extents)[Rank], const std::int64_t (&strides)[Rank]) {
    dnnl_dims_t dims{}, apart{};
    for (std::size_t i = 0; i < Rank; ++i) {
        dims[i] = extents[i];
        apart[i] = strides[i];
    }
    Desc desc;
    check(desc.by_strides(static_cast<int>(Rank), dims, data_type<float>, apart),
          "memory descriptor by strides", "a tensor");
    return desc;
}

/// A dense matrix of T (rows, columns), stored by columns where `transposed`.
template <class T = float>
Desc matrix(std::int64_t rows, std::int64_t columns, bool transposed = false) {
    const dnnl_dims_t dims = {rows, columns};
    const dnnl_dims_t strides = {transposed ? 1 : columns, transposed ? rows : 1};
    Desc desc;
    check(desc.by_strides(2, dims, data_type<T>, strides), "memory descriptor by strides", "a matrix");
    return desc;
}

/// `count` dense matrices of T (rows, columns), one behind the other, stored by columns where `transposed`.
template <class T = float>
Desc matrices(std::int64_t count, std::int64_t rows, std::int64_t columns, bool transposed = false) {
    const dnnl_dims_t dims = {count, rows, columns};
    const dnnl_dims_t strides = {rows * columns, transposed ? 1 : columns, transposed ? rows : 1};
    Desc desc;
    check(desc.by_strides(3, dims, data_type<T>, strides), "memory descriptor by strides", "matrices");
    return desc;
}

/// Attributes of every primitive here: workspace from the caller; with `add`, results are added to.
inline Owned<dnnl_primitive_attr_t> attributes(const std::string& where, bool add = false) {
    dnnl_primitive_attr_t made = nullptr;
    check(dnnl_primitive_attr_create(&made), "dnnl_primitive_attr_create", where);
    Owned<dnnl_primitive_attr_t> attr(made);
    check(dnnl_primitive_attr_set_scratchpad_mode(made, dnnl_scratchpad_mode_user), "scratchpad mode", where);
    if (!add) return attr;
    dnnl_post_ops_t operations = nullptr;
    check(dnnl_post_ops_create(&operations), "dnnl_post_ops_create", where);
    const Owned<dnnl_post_ops_t> owner(operations);
    check(append_sum(operations), "dnnl_post_ops_append_sum", where);
    check(dnnl_primitive_attr_set_post_ops(made, operations), "dnnl_primitive_attr_set_post_ops", where);
    return attr;
}

/// Which of the library's ways to compute something may be taken, of those that are fast and within a limit
/// of workspace: its first choice or none, or the first that is.
enum class Ways { first, any };

/// One computation, compiled for one thread; empty where the library has no fast way to do it.
class Primitive {
  public:
    Primitive() = default;

    /// A convolution, always by the direct algorithm: `kind` is dnnl_forward_training, dnnl_backward_data or
    /// dnnl_backward_weights. \param hint the forward one, for the backward ones.
    /// \param most_scratch bytes of workspace: ways that want more are passed over.
    static Primitive convolution(dnnl_prop_kind_t kind, const Desc& source, const Desc& weights,
                                 const Desc& bias, const Desc& destination, const dnnl_dims_t strides,
                                 const dnnl_dims_t before, const dnnl_dims_t after, const Primitive* hint,
                                 std::int64_t most_scratch, const std::string& where, Ways ways = Ways::any) {
        return make(
            [&](dnnl_primitive_desc_t* out) {
                return describe_convolution(out, engine(), kind, source, weights, bias, destination, strides,
                                            before, after, attributes(where).get(),
                                            hint == nullptr ? nullptr : hint->desc_.get(),
                                            IsFastWithin{most_scratch, ways});
            },
            "convolution", where);
    }

    /// product = left x right, or += with `add`; matrices as (rows, columns), or as many of them each.
    static Primitive product(const Desc& left, const Desc& right, const Desc& product, bool add,
                             std::int64_t most_scratch, const std::string& where) {
        return make(
            [&](dnnl_primitive_desc_t* out) {
                return describe_product(out, engine(), left, right, product, attributes(where, add).get(),
                                        IsFastWithin{most_scratch});
            },
            "matrix product", where);
    }

    /// The same tensor in another format. A reorder is a copy, so a plain implementation of it is accepted.
    static Primitive reorder(const Desc& from, const Desc& to, const std::string& where) {
        return make(
            [&](dnnl_primitive_desc_t* out) {
                return dnnl_reorder_primitive_desc_create(out, from.get(), engine(), to.get(), engine(),
                                                          attributes(where).get());
            },
            "reorder", where);
    }

    explicit operator bool() const { return primitive_ != nullptr; }
    [[nodiscard]] dnnl_primitive_t get() const { return primitive_.get(); }
    [[nodiscard]] Desc query(dnnl_query_t what) const {
        return Desc(dnnl_primitive_desc_query_md(desc_.get(), what, 0));
    }
    /// How it reads its weights; empty without a primitive.
    [[nodiscard]] Desc weights() const { return *this ? query(dnnl_query_weights_md) : Desc(); }
    [[nodiscard]] std::int64_t scratch() const { return *this ? scratch_of(desc_.get()) : 0; }
    /// What the library calls its way of doing it ("jit:avx512_core"); empty where it has none.
    [[nodiscard]] std::string_view implementation() const {
        return *this ? implementation_of(desc_.get()) : std::string_view{};
    }
    /// Whether it multiplies tiles (AMX).
    [[nodiscard]] bool multiplies_tiles() const {
        return implementation().find("amx") != std::string_view::npos;
    }
    [[nodiscard]] const std::string& where() const { return where_; }

  private:
    static std::string_view implementation_of(const_dnnl_primitive_desc_t desc) {
        const char* name = nullptr;
        const dnnl_status_t status = dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, &name);
        return status == dnnl_success && name != nullptr ? std::string_view(name) : std::string_view{};
    }

    static std::int64_t scratch_of(const_dnnl_primitive_desc_t desc) {
        return bytes(Desc(dnnl_primitive_desc_query_md(desc, dnnl_query_scratchpad_md, 0)));
    }
    /// Which of the library's ways are taken; "ref..." is hundreds of times slower than the rest.
    struct IsFastWithin {
        std::int64_t most_scratch;
        Ways ways = Ways::any;
        bool is_first = true;
        bool operator()(const_dnnl_primitive_desc_t desc) {
            if (!std::exchange(is_first, false) && ways == Ways::first) return false;
            return implementation_of(desc).find("ref") == std::string_view::npos &&
                   scratch_of(desc) <= most_scratch;
        }
    };

    template <class Describe>
    static Primitive make(Describe describe, std::string_view what, const std::string& where) {
        const SingleThreaded single; // the number of threads is compiled in
        dnnl_primitive_desc_t desc = nullptr;
        const dnnl_status_t status = describe(&desc);
        Primitive made;
        if (status == dnnl_unimplemented) return made;
        check(status, text(what, " descriptor"), where);
        made.desc_.reset(desc);
        dnnl_primitive_t primitive = nullptr;
        check(dnnl_primitive_create(&primitive, desc), text(what, " creation"), where);
        made.primitive_.reset(primitive);
        made.where_ = where;
        return made;
    }

    Owned<dnnl_primitive_desc_t> desc_;
    Owned<dnnl_primitive_t> primitive_;
    std::string where_;
};

/// A primitive's operands and its stream for one worker: made once, pointed at memory before each execution.
class Operands {
  public:
    struct Operand {
        int argument; ///< DNNL_ARG_...
        Desc desc;
    };

    Operands() = default;
    /// The workspace becomes the last operand by itself. An empty primitive has no operands.
    Operands(const Primitive& primitive, std::initializer_list<Operand> operands) : primitive_(&primitive) {
        if (!primitive) return;
        dnnl_stream_t stream = nullptr;
        check(dnnl_stream_create(&stream, engine(), dnnl_stream_default_flags), "dnnl_stream_create",
              primitive.where());
        stream_.reset(stream);
        for (const Operand& operand : operands) add(operand.argument, operand.desc);
        if (primitive.scratch() > 0) {
            scratch_ = count_;
            add(DNNL_ARG_SCRATCHPAD, primitive.query(dnnl_query_scratchpad_md));
        }
    }

    /// Executes on `pointers`, in the order of the constructor's operands, with `scratch` as workspace.
    void run(std::initializer_list<const void*> pointers, void* scratch = nullptr) {
        int i = 0;
        for (const void* pointer : pointers) point(i++, pointer);
        if (scratch_ >= 0) point(scratch_, scratch);
        check(dnnl_primitive_execute(primitive_->get(), stream_.get(), count_, arguments_.data()),
              "execution", primitive_->where());
        check(dnnl_stream_wait(stream_.get()), "dnnl_stream_wait", primitive_->where());
    }

  private:
    static constexpr std::size_t capacity = 6;

    void add(int argument, const Desc& desc) {
        dnnl_memory_t memory = nullptr;
        check(dnnl_memory_create(&memory, desc.get(), engine(), DNNL_MEMORY_NONE), "dnnl_memory_create",
              primitive_->where());
        const auto at = static_cast<std::size_t>(count_++);
        memories_.at(at).reset(memory);
        arguments_.at(at) = {argument, memory};
    }

    /// Only where the pointer is another one: setting it also writes zeros where a format pads.
    void point(int i, const void* pointer) {
        const auto at = static_cast<std::size_t>(i);
        if (pointers_[at] == pointer) return;
        pointers_[at] = const_cast<void*>(pointer); // the library's interface knows no const
        check(dnnl_memory_set_data_handle(memories_[at].get(), pointers_[at]), "dnnl_memory_set_data_handle",
              primitive_->where());
    }

    const Primitive* primitive_ = nullptr;
    Owned<dnnl_stream_t> stream_;
    std::array<Owned<dnnl_memory_t>, capacity> memories_;
    std::array<void*, capacity> pointers_{};
    std::array<dnnl_exec_arg_t, capacity> arguments_{};
    int count_ = 0;
    int scratch_ = -1;
};

} // namespace plimsoll::inline PLIMSOLL_ABI::detail::onednn

namespace plimsoll::inline PLIMSOLL_ABI::detail {

/// Whether the processor has the instructions, as far as the library may use them.
inline bool computes(dnnl_cpu_isa_t instructions) {
    return (dnnl_get_effective_cpu_isa() & instructions) == instructions;
}
/// Whether it has arithmetic for bfloat16.
inline bool computes_bfloat16() { return computes(dnnl_cpu_isa_avx512_core_bf16); }
/// Whether it multiplies matrices of bfloat16 in tiles (AMX), many times as fast as otherwise.
inline bool computes_bfloat16_tiles() { return computes(dnnl_cpu_isa_avx512_core_amx); }

} // namespace plimsoll::inline PLIMSOLL_ABI::detail

#else

namespace plimsoll::inline PLIMSOLL_ABI::detail {
inline bool computes_bfloat16() { return false; } // without the library nobody uses them
} // namespace plimsoll::inline PLIMSOLL_ABI::detail

#endif
