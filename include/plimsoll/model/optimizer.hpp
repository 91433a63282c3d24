#pragma once
/// \file
/// Optimizers: value functors over (weight, gradient, state), with PyTorch's definitions and defaults.

#include <plimsoll/core/config.hpp>
#include <plimsoll/core/error.hpp>

#include <cmath>
#include <concepts>
#include <cstdint>

namespace plimsoll::inline PLIMSOLL_ABI {

// What an optimizer must have, one atom a requirement.
template <class Optimizer>
concept optimizer_has_states = requires {
    { Optimizer::states } -> std::convertible_to<int>;
};
template <class Optimizer>
concept optimizer_has_rule = requires(const Optimizer optimizer, std::uint64_t step, float& w, float& a,
                                      float& b) {
    optimizer.rule(step)(w, 0.0f, a, b);
};

/// `states`: floats it keeps a weight (0 to 2). `rule(step)`: the update of step 1, 2, ... as a functor
/// `(float& weight, float gradient, float& first, float& second)`; unused states are dummies.
template <class Optimizer>
concept optimizer = optimizer_has_states<Optimizer> && optimizer_has_rule<Optimizer>;

template <class Optimizer>
constexpr void check_optimizer() {
    static_assert(optimizer_has_states<Optimizer>,
                  "plimsoll: an Optimizer needs the floats it keeps a weight: static constexpr int states");
    static_assert(
        optimizer_has_rule<Optimizer>,
        "plimsoll: an Optimizer needs its update: rule(step) returning a functor (float& weight, float "
        "gradient, float& first, float& second)");
}

/// Stochastic gradient descent with momentum, Nesterov momentum and L2 weight decay (torch.optim.SGD).
struct Sgd {
    double learning_rate = 1e-3;
    double momentum = 0;
    double weight_decay = 0;
    bool nesterov = false;

    static constexpr int states = 1;

    struct Rule {
        float rate, momentum, decay;
        bool nesterov;
        PLIMSOLL_HD void operator()(float& w, float g, float& velocity, float&) const {
            g += decay * w;
            velocity = momentum * velocity + g;
            w -= rate * (nesterov ? g + momentum * velocity : velocity);
        }
    };
    [[nodiscard]] Rule rule(std::uint64_t) const {
        return {static_cast<float>(learning_rate), static_cast<float>(momentum),
                static_cast<float>(weight_decay), nesterov};
    }
};

namespace detail {

/// The scalars of Adam's step, the bias corrections folded in (computed in double).
struct AdamRule {
    float beta1, one_minus_beta1, beta2, one_minus_beta2;
    float rate;            ///< learning rate over 1 - beta1^t
    float root_correction; ///< 1 / sqrt(1 - beta2^t)
    float epsilon;
    float l2;    ///< added to the gradient (Adam)
    float decay; ///< of the weight itself (AdamW): the small number, because 1 - decay would lose its digits
    PLIMSOLL_HD void operator()(float& w, float g, float& m, float& v) const {
        g += l2 * w;
        m = beta1 * m + one_minus_beta1 * g;
        v = beta2 * v + one_minus_beta2 * g * g;
        w -= decay * w + rate * m / (std::sqrt(v) * root_correction + epsilon);
    }
};

inline AdamRule adam_rule(double rate, double beta1, double beta2, double epsilon, double l2, double decay,
                          std::uint64_t step) {
    const double t = static_cast<double>(step);
    return {static_cast<float>(beta1),
            static_cast<float>(1 - beta1),
            static_cast<float>(beta2),
            static_cast<float>(1 - beta2),
            static_cast<float>(rate / (1 - std::pow(beta1, t))),
            static_cast<float>(1 / std::sqrt(1 - std::pow(beta2, t))),
            static_cast<float>(epsilon),
            static_cast<float>(l2),
            static_cast<float>(decay)};
}

} // namespace detail

/// Adam (Kingma and Ba, ICLR 2015), as torch.optim.Adam; `weight_decay` is L2.
struct Adam {
    double learning_rate = 1e-3;
    double beta1 = 0.9;
    double beta2 = 0.999;
    double epsilon = 1e-8;
    double weight_decay = 0;

    static constexpr int states = 2;

    [[nodiscard]] detail::AdamRule rule(std::uint64_t step) const {
        return detail::adam_rule(learning_rate, beta1, beta2, epsilon, weight_decay, 0, step);
    }
};

/// Adam with decoupled weight decay (Loshchilov and Hutter, ICLR 2019), as torch.optim.AdamW.
struct AdamW {
    double learning_rate = 1e-3;
    double beta1 = 0.9;
    double beta2 = 0.999;
    double epsilon = 1e-8;
    double weight_decay = 1e-2;

    static constexpr int states = 2;

    [[nodiscard]] detail::AdamRule rule(std::uint64_t step) const {
        return detail::adam_rule(learning_rate, beta1, beta2, epsilon, 0, learning_rate * weight_decay, step);
    }
};

/// RMSprop (Hinton, lecture 6e), as torch.optim.RMSprop without momentum: the root is taken before epsilon.
struct RmsProp {
    double learning_rate = 1e-2;
    double alpha = 0.99;
    double epsilon = 1e-8;
    double weight_decay = 0;

    static constexpr int states = 1;

    struct Rule {
        float rate, alpha, one_minus_alpha, epsilon, decay;
        PLIMSOLL_HD void operator()(float& w, float g, float& square, float&) const {
            g += decay * w;
            square = alpha * square + one_minus_alpha * g * g;
            w -= rate * g / (std::sqrt(square) + epsilon);
        }
    };
    [[nodiscard]] Rule rule(std::uint64_t) const {
        return {static_cast<float>(learning_rate), static_cast<float>(alpha), static_cast<float>(1 - alpha),
                static_cast<float>(epsilon), static_cast<float>(weight_decay)};
    }
};

} // namespace plimsoll::inline PLIMSOLL_ABI
