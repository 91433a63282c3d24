#pragma once
/// \file
/// Names of the element types that files, sources and devices share.

#include <plimsoll/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace plimsoll::inline PLIMSOLL_ABI {

/// One channel of a stored picture, 0 to 255.
using u8 = std::uint8_t;

/// The class of a sample; labels reach the device as 32-bit integers.
using Label = std::int32_t;

/// The word a user writes for a pixel type: "u8" or "float".
template <class T>
inline constexpr std::string_view type_name = "";
template <>
inline constexpr std::string_view type_name<u8> = "u8";
template <>
inline constexpr std::string_view type_name<float> = "float";

} // namespace plimsoll::inline PLIMSOLL_ABI
