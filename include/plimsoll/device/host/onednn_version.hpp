#pragma once
/// \file
/// What differs between oneDNN 2.x and 3.x, and nothing else: how a memory is described, and how a primitive
/// is.

#include <plimsoll/core/config.hpp>

#if PLIMSOLL_WITH_ONEDNN

#include <oneapi/dnnl/dnnl.h>

#include <cstddef>
#include <utility>

namespace plimsoll::inline PLIMSOLL_ABI::detail::onednn {

#if DNNL_VERSION_MAJOR >= 3

/// Shape, element type and format of a memory, owned.
class Desc {
  public:
    Desc() = default;
    explicit Desc(const_dnnl_memory_desc_t from) {
        if (from != nullptr) static_cast<void>(dnnl_memory_desc_clone(&desc_, from));
    }
    Desc(const Desc& other) : Desc(other.desc_) {}
    Desc(Desc&& other) noexcept : desc_(std::exchange(other.desc_, nullptr)) {}
    Desc& operator=(Desc other) noexcept {
        std::swap(desc_, other.desc_);
        return *this;
    }
    ~Desc() {
        if (desc_ != nullptr) static_cast<void>(dnnl_memory_desc_destroy(desc_));
    }
    dnnl_status_t by_tag(int rank, const dnnl_dims_t dims, dnnl_data_type_t type, dnnl_format_tag_t tag) {
        *this = Desc();
        return dnnl_memory_desc_create_with_tag(&desc_, rank, dims, type, tag);
    }
    dnnl_status_t by_strides(int rank, const dnnl_dims_t dims, dnnl_data_type_t type,
                             const dnnl_dims_t strides) {
        *this = Desc();
        return dnnl_memory_desc_create_with_strides(&desc_, rank, dims, type, strides);
    }
    /// What the library's functions take; null for no memory.
    [[nodiscard]] const_dnnl_memory_desc_t get() const { return desc_; }

  private:
    dnnl_memory_desc_t desc_ = nullptr;
};

/// The first of the library's ways to do an operation that is accepted; `*out` is null where none is.
template <class Accept>
dnnl_status_t first_accepted(dnnl_status_t described, dnnl_primitive_desc_t* out, Accept accept) {
    while (described == dnnl_success && !accept(*out)) {
        described = dnnl_primitive_desc_next_impl(*out);
        if (described == dnnl_success) continue;
        static_cast<void>(dnnl_primitive_desc_destroy(*out));
        *out = nullptr;
        return dnnl_unimplemented;
    }
    return described;
}

inline dnnl_status_t describe(dnnl_primitive_desc_t* out, dnnl_engine_t engine, dnnl_prop_kind_t kind,
                              const Desc& source, const Desc& weights, const Desc& bias,
                              const Desc& destination, const dnnl_dims_t strides, const dnnl_dims_t before,
                              const dnnl_dims_t after, const_dnnl_primitive_attr_t attributes,
                              const_dnnl_primitive_desc_t hint) {
    const dnnl_dims_t dilations = {0, 0};
    switch (kind) {
    case dnnl_backward_data:
        return dnnl_convolution_backward_data_primitive_desc_create(
            out, engine, dnnl_convolution_direct, source.get(), weights.get(), destination.get(), strides,
            dilations, before, after, hint, attributes);
    case dnnl_backward_weights:
        return dnnl_convolution_backward_weights_primitive_desc_create(
            out, engine, dnnl_convolution_direct, source.get(), weights.get(), bias.get(), destination.get(),
            strides, dilations, before, after, hint, attributes);
    default:
        return dnnl_convolution_forward_primitive_desc_create(
            out, engine, kind, dnnl_convolution_direct, source.get(), weights.get(), bias.get(),
            destination.get(), strides, dilations, before, after, attributes);
    }
}

/// \param accept of a description: whether this way is taken, or the next one is asked for
template <class Accept>
dnnl_status_t describe_convolution(dnnl_primitive_desc_t* out, dnnl_engine_t engine, dnnl_prop_kind_t kind,
                                   const Desc& source, const Desc& weights, const Desc& bias,
                                   const Desc& destination, const dnnl_dims_t strides,
                                   const dnnl_dims_t before, const dnnl_dims_t after,
                                   const_dnnl_primitive_attr_t attributes, const_dnnl_primitive_desc_t hint,
                                   Accept accept) {
    return first_accepted(describe(out, engine, kind, source, weights, bias, destination, strides, before,
                                   after, attributes, hint),
                          out, accept);
}

template <class Accept>
dnnl_status_t describe_product(dnnl_primitive_desc_t* out, dnnl_engine_t engine, const Desc& left,
                               const Desc& right, const Desc& product, const_dnnl_primitive_attr_t attributes,
                               Accept accept) {
    return first_accepted(dnnl_matmul_primitive_desc_create(out, engine, left.get(), right.get(), nullptr,
                                                            product.get(), attributes),
                          out, accept);
}

inline dnnl_status_t append_sum(dnnl_post_ops_t operations) {
    return dnnl_post_ops_append_sum(operations, 1.0f, 0, dnnl_data_type_undef);
}

#else

/// Shape, element type and format of a memory.
class Desc {
  public:
    Desc() = default;
    explicit Desc(const dnnl_memory_desc_t* from) : desc_(from != nullptr ? *from : dnnl_memory_desc_t{}) {}
    dnnl_status_t by_tag(int rank, const dnnl_dims_t dims, dnnl_data_type_t type, dnnl_format_tag_t tag) {
        return dnnl_memory_desc_init_by_tag(&desc_, rank, dims, type, tag);
    }
    dnnl_status_t by_strides(int rank, const dnnl_dims_t dims, dnnl_data_type_t type,
                             const dnnl_dims_t strides) {
        return dnnl_memory_desc_init_by_strides(&desc_, rank, dims, type, strides);
    }
    /// What the library's functions take; null for no memory.
    [[nodiscard]] const dnnl_memory_desc_t* get() const { return desc_.ndims == 0 ? nullptr : &desc_; }

  private:
    dnnl_memory_desc_t desc_{};
};

/// The first of the library's ways to do an operation that is accepted; `*out` is null where none is.
template <class Accept>
dnnl_status_t first_accepted(dnnl_primitive_desc_t* out, const_dnnl_op_desc_t operation,
                             const_dnnl_primitive_attr_t attributes, dnnl_engine_t engine,
                             const_dnnl_primitive_desc_t hint, Accept accept) {
    dnnl_primitive_desc_iterator_t ways = nullptr;
    dnnl_status_t status = dnnl_primitive_desc_iterator_create(&ways, operation, attributes, engine, hint);
    if (status == dnnl_iterator_ends) return dnnl_unimplemented;
    for (*out = nullptr; status == dnnl_success; status = dnnl_primitive_desc_iterator_next(ways)) {
        *out = dnnl_primitive_desc_iterator_fetch(ways);
        if (*out == nullptr || accept(*out)) break;
        static_cast<void>(dnnl_primitive_desc_destroy(*out));
        *out = nullptr;
    }
    static_cast<void>(dnnl_primitive_desc_iterator_destroy(ways));
    if (status == dnnl_iterator_ends) return dnnl_unimplemented;
    return status == dnnl_success && *out == nullptr ? dnnl_out_of_memory : status;
}

/// \param accept of a description: whether this way is taken, or the next one is asked for
template <class Accept>
dnnl_status_t describe_convolution(dnnl_primitive_desc_t* out, dnnl_engine_t engine, dnnl_prop_kind_t kind,
                                   const Desc& source, const Desc& weights, const Desc& bias,
                                   const Desc& destination, const dnnl_dims_t strides,
                                   const dnnl_dims_t before, const dnnl_dims_t after,
                                   const_dnnl_primitive_attr_t attributes, const_dnnl_primitive_desc_t hint,
                                   Accept accept) {
    dnnl_convolution_desc_t operation;
    dnnl_status_t status = dnnl_success;
    switch (kind) {
    case dnnl_backward_data:
        status = dnnl_convolution_backward_data_desc_init(&operation, dnnl_convolution_direct, source.get(),
                                                          weights.get(), destination.get(), strides, before,
                                                          after);
        break;
    case dnnl_backward_weights:
        status = dnnl_convolution_backward_weights_desc_init(&operation, dnnl_convolution_direct,
                                                             source.get(), weights.get(), bias.get(),
                                                             destination.get(), strides, before, after);
        break;
    default:
        status = dnnl_convolution_forward_desc_init(&operation, kind, dnnl_convolution_direct, source.get(),
                                                    weights.get(), bias.get(), destination.get(), strides,
                                                    before, after);
    }
    if (status != dnnl_success) return status;
    return first_accepted(out, &operation, attributes, engine, hint, accept);
}

template <class Accept>
dnnl_status_t describe_product(dnnl_primitive_desc_t* out, dnnl_engine_t engine, const Desc& left,
                               const Desc& right, const Desc& product, const_dnnl_primitive_attr_t attributes,
                               Accept accept) {
    dnnl_matmul_desc_t operation;
    const dnnl_status_t status =
        dnnl_matmul_desc_init(&operation, left.get(), right.get(), nullptr, product.get());
    if (status != dnnl_success) return status;
    return first_accepted(out, &operation, attributes, engine, nullptr, accept);
}

inline dnnl_status_t append_sum(dnnl_post_ops_t operations) {
    return dnnl_post_ops_append_sum(operations, 1.0f);
}

#endif

} // namespace plimsoll::inline PLIMSOLL_ABI::detail::onednn

#endif
