#pragma once
/// \file
/// What depends on no network, compiled once and not with every program: under PLIMSOLL_COMPILED=1 it is
/// declared here, and defined in the one file that defines PLIMSOLL_IMPLEMENTATION first. For Host alone;
/// what else there is, layers of a program's own among it, is compiled where it is used. Included by
/// `plimsoll.hpp`.

#include <plimsoll/device/host/attach.hpp>
#include <plimsoll/source/in_memory.hpp>
#include <plimsoll/source/memory_mapped.hpp>
#include <plimsoll/trainer/trainer.hpp>

#if defined(PLIMSOLL_IMPLEMENTATION)
#include <plimsoll/source/streaming.hpp>
#define PLIMSOLL_TEMPLATE template
#define PLIMSOLL_ENGINE(Pixel, T)
#else
#define PLIMSOLL_TEMPLATE extern template
#define PLIMSOLL_ENGINE(Pixel, T)                                                                            \
    template <>                                                                                              \
    inline constexpr bool detail::engine_is_defined<Pixel, T, Host> = true;
#endif

/// A kernel and what the Host's devices make of it.
#define PLIMSOLL_KERNEL(...)                                                                                 \
    PLIMSOLL_TEMPLATE class __VA_ARGS__;                                                                     \
    PLIMSOLL_TEMPLATE struct detail::HostKernel<__VA_ARGS__>;

#define PLIMSOLL_RULE(T, ...)                                                                                \
    PLIMSOLL_TEMPLATE bool Executor<Host, T>::update<__VA_ARGS__>(const __VA_ARGS__&, int, const MicroBatch&);

#define PLIMSOLL_TRAINER(Pixel, T)                                                                           \
    PLIMSOLL_KERNEL(WidenKernel<Pixel, T>)                                                                   \
    PLIMSOLL_ENGINE(Pixel, T)                                                                                \
    PLIMSOLL_TEMPLATE class Engine<Pixel, T, Host>;                                                          \
    PLIMSOLL_TEMPLATE class detail::TrainingLoop<Pixel, T, Host>;

#define PLIMSOLL_STORAGE(T)                                                                                  \
    PLIMSOLL_KERNEL(ElementwiseKernel<Relu, T>)                                                              \
    PLIMSOLL_KERNEL(PoolKernel<T>)                                                                           \
    PLIMSOLL_KERNEL(GlobalAveragePoolKernel<T>)                                                              \
    PLIMSOLL_KERNEL(BatchNormKernel<BatchNorm, T>)                                                           \
    PLIMSOLL_KERNEL(FlattenKernel<T>)                                                                        \
    PLIMSOLL_KERNEL(AddKernel<T>)                                                                            \
    PLIMSOLL_KERNEL(LossKernel<BinaryCrossEntropy, T>)                                                       \
    PLIMSOLL_KERNEL(LossKernel<SoftmaxCrossEntropy<>, T>)                                                    \
    PLIMSOLL_TEMPLATE class Executor<Host, T>;                                                               \
    PLIMSOLL_RULE(T, detail::AdamRule)                                                                       \
    PLIMSOLL_RULE(T, Sgd::Rule)                                                                              \
    PLIMSOLL_RULE(T, RmsProp::Rule)                                                                          \
    PLIMSOLL_TRAINER(u8, T)                                                                                  \
    PLIMSOLL_TRAINER(float, T)                                                                               \
    PLIMSOLL_TRAINER(half, T)

#if PLIMSOLL_WITH_ONEDNN
#define PLIMSOLL_CONVOLUTION(T)                                                                              \
    PLIMSOLL_KERNEL(ConvolutionKernel<T>)                                                                    \
    PLIMSOLL_TEMPLATE class DirectConvolution<T>;                                                            \
    PLIMSOLL_TEMPLATE class WinogradConvolution<T>;                                                          \
    PLIMSOLL_TEMPLATE class LoopConvolution<T>;                                                              \
    PLIMSOLL_TEMPLATE class detail::InputGradient<T>;                                                        \
    PLIMSOLL_TEMPLATE class detail::PatchWeightGradient<T>;                                                  \
    PLIMSOLL_TEMPLATE class detail::ProductWeightGradient<T>;                                                \
    PLIMSOLL_TEMPLATE class detail::WeightGradient<T>;
#define PLIMSOLL_STAGED PLIMSOLL_KERNEL(StagedKernel<ConvolutionKernel<float>, half>)
#else
#define PLIMSOLL_CONVOLUTION(T) PLIMSOLL_KERNEL(LoopConvolution<T>)
#define PLIMSOLL_STAGED PLIMSOLL_KERNEL(LoopConvolution<half>)
#endif

#define PLIMSOLL_SOURCES(Pixel)                                                                              \
    PLIMSOLL_TEMPLATE class InMemory<Pixel>;                                                                 \
    PLIMSOLL_TEMPLATE class MemoryMapped<Pixel>;

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// Settings that a program and its library must have in common, or they do not link.
template <bool OneDNN, bool OpenMP, bool Canaries>
struct LibraryOf {
    static const char settings;
};
#if defined(_OPENMP)
#define PLIMSOLL_LIBRARY LibraryOf<PLIMSOLL_WITH_ONEDNN, true, PLIMSOLL_CANARIES>
#else
#define PLIMSOLL_LIBRARY LibraryOf<PLIMSOLL_WITH_ONEDNN, false, PLIMSOLL_CANARIES>
#endif
#if defined(PLIMSOLL_IMPLEMENTATION)
template <>
const char PLIMSOLL_LIBRARY::settings = 0;
#else
[[gnu::used]] static const char* const library_settings = &PLIMSOLL_LIBRARY::settings;
#endif

} // namespace detail

PLIMSOLL_CONVOLUTION(float)
PLIMSOLL_CONVOLUTION(bfloat16)
PLIMSOLL_STAGED
PLIMSOLL_KERNEL(DenseKernel<float, float>)
PLIMSOLL_KERNEL(DenseKernel<half, float>)
PLIMSOLL_KERNEL(DenseKernel<bfloat16, bfloat16>)
PLIMSOLL_STORAGE(float)
PLIMSOLL_STORAGE(half)
PLIMSOLL_STORAGE(bfloat16)
PLIMSOLL_SOURCES(u8)
PLIMSOLL_SOURCES(float)
PLIMSOLL_SOURCES(half)
#if defined(PLIMSOLL_IMPLEMENTATION)
template class Streaming<u8>;
#endif

} // namespace plimsoll::inline PLIMSOLL_ABI

#undef PLIMSOLL_TEMPLATE
#undef PLIMSOLL_KERNEL
#undef PLIMSOLL_RULE
#undef PLIMSOLL_TRAINER
#undef PLIMSOLL_STORAGE
#undef PLIMSOLL_CONVOLUTION
#undef PLIMSOLL_STAGED
#undef PLIMSOLL_SOURCES
#undef PLIMSOLL_LIBRARY
#undef PLIMSOLL_ENGINE
