#pragma once
/// \file
/// Ctrl-C asks training to stop at the next step; a second one kills.

#include <plimsoll/core/config.hpp>

#include <atomic>
#include <csignal>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

inline constexpr int interrupt_signals[] = {SIGINT, SIGTERM};

/// The process's signal handlers while any `InterruptGuard` is enabled; guards share it.
struct InterruptState {
    static_assert(std::atomic<int>::is_always_lock_free, "a signal handler may only touch lock-free atomics");

    std::atomic<int> received{0}; ///< the first signal since the outermost guard began, 0 for none
    std::atomic<int> guards{0};
    std::atomic_flag lock{}; ///< taken by guards, never by the handler
    struct sigaction before[2] = {};
};
constinit inline InterruptState interrupt_state;

inline void handle_interrupt(int signal) {
    int none = 0;
    const bool first = interrupt_state.received.compare_exchange_strong(none, signal);
    // SIGTERM never counts as the second: `timeout` and supervisors send it to a process and again to its
    // group.
    if (interrupt_state.guards.load() > 0 && (first || signal == SIGTERM)) return;
    struct sigaction fatal = {};
    fatal.sa_handler = SIG_DFL;
    sigaction(signal, &fatal, nullptr);
    raise(signal); // held back until this handler returns
}

/// A guard begins: the first one installs the handlers.
inline void enter_interrupts() {
    InterruptState& state = interrupt_state;
    while (state.lock.test_and_set(std::memory_order_acquire)) {
    }
    if (state.guards.fetch_add(1) == 0) {
        state.received.store(0);
        struct sigaction ours = {};
        ours.sa_handler = handle_interrupt;
        ours.sa_flags = SA_RESTART; // reads under way go on
        sigemptyset(&ours.sa_mask);
        for (int i = 0; i < 2; ++i) {
            sigaction(interrupt_signals[i], nullptr, &state.before[i]);
            const bool ignored =
                !(state.before[i].sa_flags & SA_SIGINFO) && state.before[i].sa_handler == SIG_IGN;
            if (!ignored) sigaction(interrupt_signals[i], &ours, nullptr);
        }
    }
    state.lock.clear(std::memory_order_release);
}

/// A guard ends: the last one restores the handlers that are still ours.
inline void leave_interrupts() {
    InterruptState& state = interrupt_state;
    while (state.lock.test_and_set(std::memory_order_acquire)) {
    }
    if (state.guards.load() == 1) {
        for (int i = 0; i < 2; ++i) {
            struct sigaction now = {};
            sigaction(interrupt_signals[i], nullptr, &now);
            const bool ours = !(now.sa_flags & SA_SIGINFO) && now.sa_handler == handle_interrupt;
            if (ours) sigaction(interrupt_signals[i], &state.before[i], nullptr);
        }
    }
    state.guards.fetch_sub(1);
    state.lock.clear(std::memory_order_release);
}

} // namespace detail

/// While alive, the first SIGINT (Ctrl-C) or SIGTERM only sets a flag, and a SIGINT after that kills the
/// process, whatever handler there was before. On destruction the handlers are what they were before, unless
/// somebody else replaced ours meanwhile. A signal that was ignored (nohup, background jobs) stays ignored.
///
/// Guards nest, also in different threads: the outermost one installs and restores, all of them see the flag,
/// and it is cleared when the next outermost one begins.
class InterruptGuard {
  public:
    /// \param enabled if false, nothing is touched and the guard is never interrupted.
    explicit InterruptGuard(bool enabled = true) : enabled_(enabled) {
        if (enabled_) detail::enter_interrupts();
    }
    ~InterruptGuard() {
        if (enabled_) detail::leave_interrupts();
    }
    InterruptGuard(const InterruptGuard&) = delete;
    InterruptGuard& operator=(const InterruptGuard&) = delete;

    /// Whether a signal asked to stop.
    [[nodiscard]] bool interrupted() const { return signal() != 0; }

    /// The signal that asked to stop (SIGINT or SIGTERM), 0 for none. Shells expect exit status 128 + this.
    [[nodiscard]] int signal() const {
        return enabled_ ? detail::interrupt_state.received.load(std::memory_order_relaxed) : 0;
    }

  private:
    bool enabled_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
