#pragma once
/// \file
/// The one place that chooses Thrust's backend and headers. Only this file names Thrust's types.
///
/// Thrust wants its device system named before its first header: OpenMP with a host compiler, CUDA under nvcc
/// (there OpenMP as device system would break `thrust::cuda::par`). `thrust/execution_policy.h` would double
/// the compile time of this file, so with our own choice of device system the iterator's tag picks the
/// backend.

#include <plimsoll/core/config.hpp>

#if !defined(__CUDACC__) && !defined(THRUST_DEVICE_SYSTEM)
#if defined(_OPENMP)
#define THRUST_DEVICE_SYSTEM THRUST_DEVICE_SYSTEM_OMP
#else
#define THRUST_DEVICE_SYSTEM THRUST_DEVICE_SYSTEM_CPP
#endif
#define PLIMSOLL_THRUST_SYSTEM thrust::device_system_tag
#elif defined(_OPENMP)
#include <thrust/system/omp/execution_policy.h>
#define PLIMSOLL_THRUST_SYSTEM thrust::system::omp::tag
#else
#include <thrust/system/cpp/execution_policy.h>
#define PLIMSOLL_THRUST_SYSTEM thrust::system::cpp::tag
#endif

#include <thrust/for_each.h>
#include <thrust/iterator/counting_iterator.h>

#include <cstdint>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// Calls `f(i)` for every i in [0, count), on as many threads as OpenMP's current setting says; `f` must not
/// throw. A template only so that a program which never calls it does not instantiate Thrust's loop.
template <class F>
void thrust_for_each(std::int64_t count, F f) {
    using Index = thrust::counting_iterator<std::int64_t, PLIMSOLL_THRUST_SYSTEM>;
    thrust::for_each(Index(0), Index(count), f);
}

} // namespace detail

} // namespace plimsoll::inline PLIMSOLL_ABI

#undef PLIMSOLL_THRUST_SYSTEM
