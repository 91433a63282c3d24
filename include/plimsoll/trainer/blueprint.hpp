#pragma once
/// \file
/// From types and settings to a plan: what a job's words mean in bytes.

#include <plimsoll/core/error.hpp>
#include <plimsoll/device/device.hpp>
#include <plimsoll/device/kernel.hpp>
#include <plimsoll/model/loss.hpp>
#include <plimsoll/model/precision.hpp>
#include <plimsoll/plan/candidates.hpp>
#include <plimsoll/plan/planner.hpp>
#include <plimsoll/trainer/settings.hpp>

#include <memory>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// Collects the function of every node's kernel that tells its needs.
template <class Precision, class Device, int Nodes>
struct NeedsCollector {
    static constexpr bool rewrites = true;
    List<NeedsFunction, Nodes> functions{};

    template <class Layer, Shape In>
    constexpr int visit(const Path&, int, int) {
        functions.push([](const Site& site) { return Kernel<Layer, Precision, Device>::needs(site); });
        return 0;
    }
};

/// Whether a device has kernels for all layers of a model under a precision.
template <class Precision, class Device>
struct KernelsExist {
    static constexpr bool rewrites = true;
    bool all = true;

    template <class Layer, Shape In>
    constexpr int visit(const Path&, int, int) {
        all = all && requires(const Site& site) { Kernel<Layer, Precision, Device>::needs(site); };
        return 0;
    }
};

template <class Blueprint, class Precision>
constexpr bool has_kernels() {
    KernelsExist<Precision, typename Blueprint::Device> kernels{};
    walk_graph<typename Blueprint::Model, typename Blueprint::Pixel, typename Blueprint::Loss>(kernels);
    return kernels.all;
}

} // namespace detail

/// The words of a job whose state is part of its plan.
/// \tparam ReadAhead micro-batches of pictures that the ring holds beside the one in work, by default.
template <class Model_, class Pixel_, class Precision_, class Device_, class Loss_, int OptimizerStates,
          bool Training, int ReadAhead = 0>
struct Blueprint {
    using Model = Model_;
    using Pixel = Pixel_;
    using Precision = Precision_;
    using Device = Device_;
    using Loss = Loss_;
    static constexpr int nodes = node_count<Model>;
    static constexpr bool is_training = Training;
    /// The same job under another precision.
    template <class Other>
    using With = Blueprint<Model, Pixel, Other, Device, Loss, OptimizerStates, Training, ReadAhead>;

    static constexpr const Graph<nodes>& graph() { return graph_of<Model, Pixel, Loss>; }

    /// Layers whose statistics are over the whole batch keep it in one micro-batch.
    static constexpr bool couples_images() {
        for (const Node& node : graph().nodes)
            if (Training && node.facts.couples_images) return true;
        return false;
    }

    static constexpr Request request(const Settings& settings, const Cut& cut, int layout_block) {
        const int workers =
            settings.threads > 0 && settings.threads < cut.lanes ? settings.threads : cut.lanes;
        return {.batch = settings.batch,
                .cut = cut,
                .workers = workers,
                .ring_slots = ring_slots(settings),
                .pixel_bytes = sizeof(Pixel),
                .storage_bytes = sizeof(typename Precision::Storage),
                .scaling_bytes = Training && Precision::scales_loss ? int{sizeof(LossScaling)} : 0,
                .pass_bytes = repeats_passes<Device> ? int{sizeof(PassState)} : 0,
                .training = Training,
                .optimizer_states = OptimizerStates,
                .layout_block = layout_block,
                .seed = settings.seed};
    }

    static constexpr int ring_slots(const Settings& settings) {
        if (settings.prefetch >= 0) return 1 + settings.prefetch;
        const int wanted = detail::cutting_of<Device>().ring_slots;
        return wanted > 1 + ReadAhead ? wanted : 1 + ReadAhead;
    }

    static constexpr Plan<nodes> plan(const Settings& settings, const Cut& cut, int layout_block = 0) {
        detail::NeedsCollector<Precision, Device, nodes> needs{};
        walk_graph<Model, Pixel, Loss>(needs);
        return make_plan(graph(), request(settings, cut, layout_block), needs.functions.begin());
    }

    /// The smallest micro-batch a plan may have.
    static constexpr int least_micro_batch(const Settings& settings) {
        return couples_images() ? settings.batch : 1;
    }

    /// How the smallest plan is cut.
    static constexpr Cut least_cut(const Settings& settings) {
        return {.micro_batch = least_micro_batch(settings),
                .lanes = 1,
                .slice_bytes = 0,
                .recompute = couples_images() ? detail::Flow<nodes>::least_recompute(graph()) : 0};
    }

    /// Bytes of the smallest plan for the settings' batch.
    static constexpr std::int64_t least_bytes(const Settings& settings) {
        return plan(settings, least_cut(settings)).total;
    }

    /// Bytes of the plan that a job with these settings gets; of the smallest plan if none fits.
    static constexpr std::int64_t peak_bytes(const Settings& settings) {
        return plan(settings, choose_cut(settings, settings.budget)).total;
    }

    /// The fastest cut whose plan stays within a budget, by the cost model; the least one if none does. It
    /// does not depend on the number of threads, which only sizes buffers: otherwise a result would.
    static constexpr Cut choose_cut(const Settings& settings, Bytes budget) {
        if (budget != all_free_memory && least_bytes(settings) > budget.count) return least_cut(settings);
        Settings any_threads = settings;
        any_threads.threads = 0;
        detail::Candidates<nodes> candidates(graph(), settings.batch, least_micro_batch(settings),
                                             settings.lanes, Training, detail::cutting_of<Device>());
        for (Cut cut; candidates.next(cut);)
            if (budget == all_free_memory || plan(any_threads, cut).total <= budget.count) return cut;
        return least_cut(settings);
    }

    /// \throws argument_error naming the setting.
    static void check(const Settings& settings) {
        if (settings.batch < 1)
            throw argument_error(text(".batch = ", settings.batch, ": a batch has at least 1 image"));
        if (settings.lanes < 1)
            throw argument_error(text(".lanes = ", settings.lanes, ": a plan has at least 1 lane"));
        if (settings.threads < 0)
            throw argument_error(text(".threads = ", settings.threads, ": 0 means as many as there are"));
        if (settings.prefetch < -1)
            throw argument_error(text(".prefetch = ", settings.prefetch, ": -1 means as the source wants"));
        if (settings.ordinal < 0)
            throw argument_error(text(".ordinal = ", settings.ordinal, ": devices are counted from 0"));
        if (settings.budget != all_free_memory && settings.budget.count <= 0)
            throw budget_error(text(".budget = ", settings.budget.count, " B: this job needs at least ",
                                    least_bytes(settings), " B"));
    }

    /// \throws argument_error naming what of a cut cannot be.
    static void check(const Settings& settings, const Cut& cut) {
        const auto refuse = [](const auto&... words) { throw argument_error(text("a cut with ", words...)); };
        if (cut.micro_batch < least_micro_batch(settings) || cut.micro_batch > settings.batch)
            refuse("micro-batches of ", cut.micro_batch, " images: this job's have ",
                   least_micro_batch(settings), " to ", settings.batch);
        if (cut.lanes < 1 || cut.lanes > cut.micro_batch)
            refuse(cut.lanes, " lanes: a micro-batch of ", cut.micro_batch, " has work for 1 to that many");
        if (cut.slice_bytes < 0) refuse("slices of ", cut.slice_bytes, " B");
        if (cut.recompute < 0 || cut.recompute > Cut::most_recompute)
            refuse("recompute ", cut.recompute, ": levels are 0 to ", Cut::most_recompute);
    }

    /// The plan for a device with `free` bytes. \param fixed the cut to use; null: the fastest that fits.
    /// \throws budget_error naming what is needed, what there is and what would fit.
    static std::unique_ptr<const Plan<nodes>> choose_plan(const Settings& settings, std::int64_t free,
                                                          int layout_block, const Cut* fixed = nullptr) {
        check(settings);
        if (fixed != nullptr) check(settings, *fixed);
        const bool by_free = settings.budget == all_free_memory;
        const Bytes budget = by_free ? Bytes{free - free / 10} : settings.budget;
        const Cut cut = fixed != nullptr ? *fixed : choose_cut(settings, budget);
        auto chosen = std::make_unique<const Plan<nodes>>(plan(settings, cut, layout_block));
        if (chosen->total > budget.count) throw over_budget(settings, budget, chosen->total, by_free);
        if (chosen->total > free)
            throw budget_error(text("the plan takes ", chosen->total, " B (", to_string(Bytes{chosen->total}),
                                    "), within its budget, but ", Device::name, " has only ", free, " B (",
                                    to_string(Bytes{free}), ") free"));
        return chosen;
    }

  private:
    static budget_error over_budget(const Settings& settings, Bytes budget, std::int64_t needed,
                                    bool by_free) {
        std::string message =
            text("this job needs at least ", needed, " B (", to_string(Bytes{needed}), ") for batch ",
                 settings.batch, "; ", by_free ? "nine tenths of the free memory are " : "the budget is ",
                 budget.count, " B (", to_string(budget), "), ", needed - budget.count, " B too little");
        // The planner itself tells what would fit: where statistics couple the batch fewer images, then an
        // optimizer with less state.
        Settings fewer = settings;
        if (couples_images()) {
            while (fewer.batch > 1 && least_bytes(fewer) > budget.count) fewer.batch /= 2;
            if (least_bytes(fewer) <= budget.count)
                return budget_error(text(
                    message, "; batch normalisation keeps a batch whole: .batch = ", fewer.batch, " fits"));
        }
        if constexpr (sizeof(typename Precision::Storage) > 2 && detail::has_kernels<Blueprint, BFloat16>())
            if (With<BFloat16>::least_bytes(fewer) <= budget.count) {
                if constexpr (!host_addressable<Device> && detail::has_kernels<Blueprint, Half>())
                    if (With<Half>::least_bytes(fewer) <= budget.count) // older GPUs have no other
                        return budget_error(text(message, "; the precisions BFloat16 and Half fit"));
                return budget_error(text(message, "; the precision BFloat16 fits"));
            }
        if constexpr (OptimizerStates > 1) {
            using Lighter = Blueprint<Model, Pixel, Precision, Device, Loss, 1, Training, ReadAhead>;
            if (Lighter::least_bytes(fewer) <= budget.count)
                return budget_error(
                    text(message, "; an optimizer that keeps one number a weight (Sgd, RmsProp) fits"));
        }
        return budget_error(text(message, "; no other batch, precision or optimizer fits"));
    }
};

} // namespace plimsoll::inline PLIMSOLL_ABI
