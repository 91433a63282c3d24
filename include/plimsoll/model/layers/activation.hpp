#pragma once
/// \file
/// Elementwise layers: activations and dropout, each a pair of value functors.

#include <plimsoll/core/storage.hpp>
#include <plimsoll/core/units.hpp>
#include <plimsoll/model/layer.hpp>

#include <cstdint>

namespace plimsoll::inline PLIMSOLL_ABI {

/// max(x, 0).
struct Relu {
    static constexpr Facts facts(Shape in) {
        return {.name = "Relu",
                .output = in,
                .backward_reads_output = true,
                .in_place = true,
                .monotone = true,
                .rectifies = true,
                .flops = static_cast<double>(in.size()),
                .onnx = "Relu"};
    }
    // Floats of 16 bits are told by their bits: a sign in the highest, then magnitudes up to infinity, then
    // NaN.
    struct Forward {
        // NaN passes: a broken loss must show.
        PLIMSOLL_HD float operator()(float x) const { return x < 0 ? 0.0f : x; }
        template <stored_in_16_bits T>
        PLIMSOLL_HD T operator()(T x) const {
            const bool below_zero = static_cast<std::uint16_t>(x.bits - 0x8001u) < infinity_bits<T>;
            return {static_cast<std::uint16_t>(below_zero ? 0 : x.bits)};
        }
    };
    struct Backward {
        PLIMSOLL_HD float operator()(float dy, float y) const { return y > 0 ? dy : 0.0f; }
        template <stored_in_16_bits T>
        PLIMSOLL_HD T operator()(T dy, T y) const {
            const bool above_zero = static_cast<std::uint16_t>(y.bits - 1u) < infinity_bits<T>;
            return {static_cast<std::uint16_t>(above_zero ? dy.bits : 0)};
        }
    };
};

/// x where positive, Slope * x elsewhere. \tparam Slope as in `LeakyRelu<0.01_p>`.
template <Probability Slope = Probability{0.01}>
struct LeakyRelu {
    static_assert(Slope.value > 0 && Slope.value < 1,
                  "plimsoll: LeakyRelu<slope> takes a slope between 0 and 1");

    static constexpr Facts facts(Shape in) {
        return {.name = "LeakyRelu",
                .output = in,
                .backward_reads_output = true, // the sign of y is the sign of x
                .in_place = true,
                .monotone = true,
                .flops = static_cast<double>(in.size()),
                .onnx = "LeakyRelu"};
    }
    struct Forward {
        PLIMSOLL_HD float operator()(float x) const {
            return x > 0 ? x : static_cast<float>(Slope.value) * x;
        }
    };
    struct Backward {
        PLIMSOLL_HD float operator()(float dy, float y) const {
            return y > 0 ? dy : static_cast<float>(Slope.value) * dy;
        }
    };
};

/// Zeroes each element with probability P while training and scales the others by 1 / (1 - P); the identity
/// otherwise. The mask depends on seed, step, sample and element alone, and backward computes it again.
template <Probability P>
struct Dropout {
    static_assert(P.value >= 0 && P.value < 1, "plimsoll: Dropout<p> takes a probability from 0 to below 1");

    static constexpr Facts facts(Shape in) {
        return {.name = "Dropout",
                .output = in,
                .in_place = true,
                .random = true,
                .training_only = true,
                .flops = static_cast<double>(in.size()),
                .onnx = "Dropout"};
    }
    static constexpr std::uint32_t threshold = static_cast<std::uint32_t>(P.value * 4294967296.0);
    struct Forward {
        PLIMSOLL_HD float operator()(float x, std::uint32_t random) const {
            return random >= threshold ? x * static_cast<float>(1 / (1 - P.value)) : 0.0f;
        }
    };
    struct Backward {
        PLIMSOLL_HD float operator()(float dy, std::uint32_t random) const { return Forward{}(dy, random); }
    };
};

} // namespace plimsoll::inline PLIMSOLL_ABI
