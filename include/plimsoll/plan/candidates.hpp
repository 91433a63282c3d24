#pragma once
/// \file
/// The ways of cutting a step that are worth a plan, fastest first.

#include <plimsoll/plan/cost.hpp>

#include <memory>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// Hands out cuts by rising cost. Where the fastest are as good as equal, the one with the smallest
/// micro-batch comes first: memory that buys no speed is not taken.
template <int Nodes>
class Candidates {
  public:
    constexpr Candidates(const Graph<Nodes>& graph, int batch, int least_micro_batch, int most_lanes,
                         bool training, const Cutting& cutting) {
        if (most_lanes > cutting.most_lanes) most_lanes = cutting.most_lanes;
        // A network whose images are independent saves more by smaller micro-batches than by recompute.
        const int levels = training && least_micro_batch == batch ? Cut::most_recompute : 0;
        for (int level = 0; level <= levels; ++level) {
            const Flow<Nodes> flow(graph, 0, training, level);
            for (const std::int64_t slice_bytes : cutting.slice_bytes) {
                const Work work(graph, flow, cutting.speeds, slice_bytes);
                for (int micro_batch = batch;; micro_batch = (micro_batch + 1) / 2) {
                    for (int lanes = most_lanes;; lanes = (lanes + 1) / 2) {
                        if (lanes <= micro_batch)
                            add({micro_batch, lanes, slice_bytes, level}, work, batch, cutting.speeds);
                        if (lanes == 1) break;
                    }
                    if (micro_batch <= least_micro_batch) break;
                }
            }
        }
        const double equal = count_ > 0 ? equal_ * seconds_[fastest_] : 0;
        for (int c = 0; c < count_; ++c)
            if (seconds_[c] <= equal) seconds_[c] = 0;
    }

    /// The next best. \returns false after the last.
    constexpr bool next(Cut& cut) {
        int best = -1;
        for (int c = 0; c < count_; ++c)
            if (seconds_[c] >= 0 && (best < 0 || before(c, best))) best = c;
        if (best < 0) return false;
        cut = cuts_[best];
        seconds_[best] = -1;
        return true;
    }

  private:
    static constexpr int most_ = 32 * 16 * 4; // halvings of a batch or levels of recompute, lanes and slices
    static constexpr double equal_ = 1.025;

    constexpr void add(const Cut& cut, const Work& work, int batch, const Speeds& speeds) {
        seconds_[count_] = work.seconds(cut, batch, speeds);
        cuts_[count_] = cut;
        if (seconds_[count_] < seconds_[fastest_]) fastest_ = count_;
        ++count_;
    }
    constexpr bool before(int a, int b) const {
        const Cut &x = cuts_[a], &y = cuts_[b];
        if (seconds_[a] != seconds_[b]) return seconds_[a] < seconds_[b];
        if (x.micro_batch != y.micro_batch) return x.micro_batch < y.micro_batch;
        if (x.recompute != y.recompute) return x.recompute < y.recompute;
        return x.lanes != y.lanes ? x.lanes > y.lanes : x.slice_bytes > y.slice_bytes;
    }

    Cut cuts_[most_]{};
    double seconds_[most_]{};
    int count_ = 0, fastest_ = 0;
};

} // namespace detail

} // namespace plimsoll::inline PLIMSOLL_ABI
