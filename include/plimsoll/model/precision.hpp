#pragma once
/// \file
/// Precision policies: what activations are stored in, computed in and summed in.

#include <plimsoll/core/config.hpp>
#include <plimsoll/core/storage.hpp>

#include <concepts>
#include <string_view>
#include <type_traits>

namespace plimsoll::inline PLIMSOLL_ABI {

// What a precision must have, one atom a requirement.
template <class Precision>
concept precision_has_name = requires {
    { Precision::name } -> std::convertible_to<std::string_view>;
    typename std::bool_constant<(static_cast<void>(std::string_view(Precision::name)), true)>; // a constant
};
template <class Precision>
concept precision_has_storage = requires {
    typename Precision::Storage;
};
template <class Precision>
concept precision_has_compute = requires {
    typename Precision::Compute;
};
template <class Precision>
concept precision_has_accumulate = requires {
    typename Precision::Accumulate;
};
template <class Precision>
concept precision_has_loss_scaling = requires {
    { Precision::scales_loss } -> std::convertible_to<bool>;
};

/// A struct that names the types of activations, their gradients and the weights that layers work with in
/// memory (`Storage`), in arithmetic (`Compute`) and in sums (`Accumulate`), and whether gradients need loss
/// scaling. Weights are kept, and updated, in float32 under every precision. Where a device has no arithmetic
/// in `Compute`, it computes in float32.
template <class Precision>
concept precision =
    precision_has_name<Precision> && precision_has_storage<Precision> && precision_has_compute<Precision> &&
    precision_has_accumulate<Precision> && precision_has_loss_scaling<Precision>;

/// One sentence for each requirement that `Precision` misses.
template <class Precision>
constexpr void check_precision() {
    static_assert(precision_has_name<Precision>,
                  "plimsoll: a Precision needs a name: static constexpr std::string_view name");
    static_assert(precision_has_storage<Precision>,
                  "plimsoll: a Precision needs the type activations are stored in: using Storage = float");
    static_assert(precision_has_compute<Precision>,
                  "plimsoll: a Precision needs the type arithmetic is done in: using Compute = float");
    static_assert(precision_has_accumulate<Precision>,
                  "plimsoll: a Precision needs the type sums are kept in: using Accumulate = float");
    static_assert(precision_has_loss_scaling<Precision>,
                  "plimsoll: a Precision needs to say whether it scales the loss: static constexpr bool "
                  "scales_loss = false");
}

/// IEEE float32 throughout.
struct Float {
    static constexpr std::string_view name = "Float";
    using Storage = float;
    using Compute = float;
    using Accumulate = float;
    static constexpr bool scales_loss = false;
};

/// IEEE float32 in memory, multiplied by a GPU's matrix units in TensorFloat-32: 11 significant bits. The
/// Host computes as for Float; a GPU without them is refused.
struct TF32 {
    static constexpr std::string_view name = "TF32";
    using Storage = float;
    using Compute = tfloat32;
    using Accumulate = float;
    static constexpr bool scales_loss = false;
};

/// 16 bits with float32's range.
struct BFloat16 {
    static constexpr std::string_view name = "BFloat16";
    using Storage = bfloat16;
    using Compute = bfloat16;
    using Accumulate = float;
    static constexpr bool scales_loss = false;
};

/// IEEE binary16: three digits more than BFloat16's two, in a range that gradients are scaled into.
struct Half {
    static constexpr std::string_view name = "Half";
    using Storage = half;
    using Compute = half;
    using Accumulate = float;
    static constexpr bool scales_loss = true;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
