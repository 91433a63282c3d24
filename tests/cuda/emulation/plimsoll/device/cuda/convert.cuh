#pragma once
// In place of the library's header: see emulation.hpp.
#include <plimsoll/core/storage.hpp>
#include <plimsoll/device/cuda/toolkit.cuh>

#include <cmath>

namespace plimsoll::inline PLIMSOLL_ABI::detail {

template <class T>
float loaded(T value) {
    return to_float(value);
}
template <class T>
T stored(float value) {
    return to<T>(value);
}
inline float quotient(float a, float b) { return a / b; }
using std::isfinite, std::isnan;

} // namespace plimsoll::inline PLIMSOLL_ABI::detail
