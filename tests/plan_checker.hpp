#pragma once
/// \file
/// Replays a plan's steps and proves it sound, from the graph's facts and without the planner's reasoning:
/// every read was written and not overwritten since, by any part that shares its bytes; operands are large
/// enough; parts stay inside the arena.

#include <plimsoll/model/graph.hpp>
#include <plimsoll/plan/planner.hpp>

#include <map>
#include <set>
#include <string>
#include <vector>

namespace checker {

using namespace plimsoll;

/// Bytes [from, to) and what was last written there.
class Memory {
  public:
    void write(std::int64_t from, std::int64_t to, const std::string& what) {
        erase(from, to);
        ranges_[from] = {to, what};
    }
    /// Whether all of [from, to) holds `what`.
    bool holds(std::int64_t from, std::int64_t to, const std::string& what) const {
        while (from < to) {
            auto it = ranges_.upper_bound(from);
            if (it == ranges_.begin()) return false;
            --it;
            if (it->second.first <= from || it->second.second != what) return false;
            from = it->second.first;
        }
        return true;
    }

  private:
    void erase(std::int64_t from, std::int64_t to) {
        auto it = ranges_.upper_bound(from);
        if (it != ranges_.begin()) --it;
        while (it != ranges_.end() && it->first < to) {
            const auto [begin, range] = *it;
            if (range.first <= from) {
                ++it;
                continue;
            }
            it = ranges_.erase(it);
            if (begin < from) ranges_[begin] = {from, range.second};
            if (range.first > to) ranges_[to] = {range.first, range.second};
        }
    }
    std::map<std::int64_t, std::pair<std::int64_t, std::string>> ranges_;
};

template <int Nodes>
class Replay {
  public:
    Replay(const Graph<Nodes>& graph, const PlanView& plan, int storage_bytes)
        : graph_(graph), plan_(plan), storage_(storage_bytes) {}

    /// The faults found, empty for a sound plan. Replays training with `count` images in the micro-batch.
    std::vector<std::string> run(int count) {
        for (std::size_t p = 0; p < plan_.parts.size(); ++p) {
            const Part& part = plan_.parts[p];
            if (part.extent != Extent::slice && (part.offset < 0 || part.offset + part.bytes > plan_.total))
                fault(text("part ", p, " lies outside the arena"));
            if (part.offset % alignment != 0) fault(text("part ", p, " is not aligned"));
        }
        for (std::int32_t p = 0; p < static_cast<std::int32_t>(plan_.parts.size()); ++p) {
            const Role role = plan_.parts[static_cast<std::size_t>(p)].role;
            if (role == Role::weight || role == Role::running_statistic || role == Role::pixels ||
                role == Role::labels || role == Role::first_state || role == Role::second_state)
                write(p, 0, whole(p), name(p));
        }
        for (std::size_t s = 0; s < plan_.stages.size(); ++s) {
            stage_ = static_cast<std::int32_t>(s);
            const Stage& stage = plan_.stages[s];
            if (stage.slice == 0) {
                for (int k = 0; k < stage.steps; ++k) step(stage.first_step + k, 0, count, 0);
                continue;
            }
            // Lanes run side by side: replay them step by step in turn, the order in which buffers that are
            // wrongly shared do most harm.
            const int slices = (count + stage.slice - 1) / stage.slice;
            const int lanes = std::min<int>(plan_.shipment.lanes, slices);
            for (int round = 0; round * lanes < slices; ++round)
                for (int k = 0; k < stage.steps; ++k)
                    for (int lane = 0; lane < lanes; ++lane) {
                        const int slice = round * lanes + lane;
                        if (slice >= slices) continue;
                        const int first = slice * stage.slice;
                        step(stage.first_step + k, first, std::min<int>(stage.slice, count - first), lane);
                    }
        }
        // Everything that must outlive the step is still there.
        for (std::int32_t p = 0; p < static_cast<std::int32_t>(plan_.parts.size()); ++p) {
            const Role role = plan_.parts[static_cast<std::size_t>(p)].role;
            if (role == Role::weight || role == Role::first_state || role == Role::second_state ||
                role == Role::running_statistic)
                read(p, 0, whole(p), name(p), "the end");
            if (role == Role::gradient) read(p, 0, whole(p), name(p), "the optimizer");
        }
        for (int n = 0; n < graph_.nodes.size(); ++n)
            if (!forward_.count(n)) fault(text("node ", n, " never runs forward"));
        return faults_;
    }

  private:
    void fault(const std::string& what) {
        if (faults_.size() < 20) faults_.push_back(what);
    }
    std::int64_t whole(std::int32_t p) const { return plan_.parts[static_cast<std::size_t>(p)].bytes; }
    static std::string name(std::int32_t p) { return text("part ", p); }

    std::int64_t begin(std::int32_t p, int lane) const {
        const Part& part = plan_.parts[static_cast<std::size_t>(p)];
        if (part.extent != Extent::slice) return part.offset;
        const Stage& stage = plan_.stages[static_cast<std::size_t>(stage_)];
        if (stage.region < 0) return -1;
        if (part.offset + part.bytes > stage.worker_stride) return -1;
        return plan_.parts[static_cast<std::size_t>(stage.region)].offset + lane * stage.worker_stride +
               part.offset;
    }
    void write(std::int32_t p, std::int64_t from, std::int64_t bytes, const std::string& what, int lane = 0) {
        const std::int64_t base = begin(p, lane);
        if (base < 0) return fault(text("part ", p, " has no room in its worker's region"));
        if (from + bytes > plan_.parts[static_cast<std::size_t>(p)].bytes)
            fault(text("part ", p, " is too small for ", what));
        memory_.write(base + from, base + from + bytes, what);
    }
    void read(std::int32_t p, std::int64_t from, std::int64_t bytes, const std::string& what,
              const std::string& reader, int lane = 0) {
        const std::int64_t base = begin(p, lane);
        if (base < 0) return fault(text("part ", p, " has no room in its worker's region"));
        if (!memory_.holds(base + from, base + from + bytes, what))
            fault(text(reader, " reads ", what, " from part ", p, ", which does not hold it"));
    }

    enum class Access { read, write };
    /// One image of a tensor; `slot` is its place in a part of the slice.
    void image(Access access, std::int32_t p, const std::string& what, std::int64_t unit, int image, int slot,
               int lane, const std::string& reader) {
        const std::int64_t at =
            unit * (plan_.parts[static_cast<std::size_t>(p)].extent == Extent::slice ? slot : image);
        const std::string content = text(what, " image ", image);
        if (access == Access::read)
            read(p, at, unit, content, reader, lane);
        else
            write(p, at, unit, content, lane);
    }
    /// A tensor over images [first, first + count): each image is content of its own.
    void tensor(Access access, std::int32_t p, const std::string& what, std::int64_t unit, int first,
                int count, int lane, const std::string& reader) {
        for (int i = 0; i < count; ++i) image(access, p, what, unit, first + i, i, lane, reader);
    }

    void step(int index, int first, int count, int lane) {
        const Step& step = plan_.steps[static_cast<std::size_t>(index)];
        const Node& node = graph_.nodes[step.node];
        const std::string who = text("step ", index, " (", node.facts.name, ")");
        const auto activation = [&](Access access, std::int32_t p, int value) {
            if (p < 0) return fault(text(who, " has no operand for value ", value));
            if (value == 0) return read(p, 0, whole(p), name(p), who);
            tensor(access, p, text("value ", value), graph_.values[value].shape.size() * storage_, first,
                   count, lane, who);
        };
        const auto parameters = [&](Access access, std::span<const std::int32_t> parts) {
            for (int k = 0; k < node.facts.parameters.size(); ++k) {
                const std::int32_t p = parts[static_cast<std::size_t>(node.first_parameter + k)];
                if (p < 0) continue;
                if (access == Access::read)
                    read(p, 0, whole(p), name(p), who);
                else
                    write(p, 0, whole(p), name(p));
            }
        };
        const std::string statistics = text("statistics of node ", step.node);
        switch (step.phase) {
        case Phase::pack:
            parameters(Access::read, plan_.weights);
            write(step.packed, 0, whole(step.packed), name(step.packed));
            break;
        case Phase::gather:
            activation(Access::read, step.input, node.input);
            scratch(step.partial, lane);
            write(step.statistics, 0, whole(step.statistics), statistics);
            break;
        case Phase::forward:
            forward_.insert(step.node);
            parameters(Access::read, plan_.weights);
            if (step.packed >= 0) read(step.packed, 0, whole(step.packed), name(step.packed), who);
            if (node.facts.couples_images) read(step.statistics, 0, whole(step.statistics), statistics, who);
            activation(Access::read, step.input, node.input);
            if (node.second >= 0) activation(Access::read, step.second, node.second);
            scratch(step.scratch, lane);
            activation(Access::write, step.output, node.output);
            if (node.facts.saved_bytes > 0)
                tensor(Access::write, step.saved, text("saved by ", step.node), node.facts.saved_bytes, first,
                       count, lane, who);
            if (node.facts.reads_labels) write(step.statistics, 0, whole(step.statistics), statistics);
            if (!node.facts.in_place)
                activation(Access::read, step.input, node.input); // outputs spare inputs
            if (node.second >= 0) activation(Access::read, step.second, node.second);
            break;
        case Phase::gather_gradient:
            read(step.statistics, 0, whole(step.statistics), statistics, who);
            activation(Access::read, step.input, node.input);
            read_gradient(step.output_gradient, node.output, first, count, lane, who);
            scratch(step.partial, lane);
            parameters(Access::write, plan_.gradients);
            break;
        case Phase::backward:
            backward(step, node, first, count, lane, who);
            break;
        case Phase::reduce:
            read(step.partial, 0, whole(step.partial) / plan_.shipment.lanes,
                 text("partial of ", step.node, " lane 0"), who);
            parameters(Access::write, plan_.gradients);
            break;
        case Phase::settle:
            read(step.statistics, 0, whole(step.statistics), statistics, who);
            for (int k = 0; k < node.facts.parameters.size(); ++k) {
                const auto parameter = static_cast<std::size_t>(node.first_parameter + k);
                const std::int32_t p = plan_.weights[parameter];
                if (plan_.gradients[parameter] < 0) write(p, 0, whole(p), name(p)); // running statistics
            }
            break;
        }
    }

    void scratch(std::int32_t p, int lane) {
        if (p >= 0) write(p, 0, whole(p), "scratch", lane);
    }
    /// How many consumers' contributions an image's gradient must hold before its producer may read it.
    int contributions(int value) const {
        int count = 0;
        for (const Node& node : graph_.nodes) count += (node.input == value) + (node.second == value);
        return count;
    }
    static std::string gradient_of(int value, int writes) {
        return text("gradient of ", value, " with ", writes, " parts");
    }
    void read_gradient(std::int32_t p, int value, int first, int count, int lane, const std::string& who) {
        if (p < 0) return fault(text(who, " has no gradient to read"));
        tensor(Access::read, p, gradient_of(value, contributions(value)),
               graph_.values[value].shape.size() * storage_, first, count, lane, who);
    }
    void write_gradient(std::int32_t p, std::int32_t staging, int value, int first, int count, int lane,
                        const std::string& who) {
        if (p < 0) return fault(text(who, " has nowhere to write its input's gradient"));
        const std::int64_t unit = graph_.values[value].shape.size() * storage_;
        for (int i = 0; i < count; ++i) {
            int& writes = gradient_writes_[{value, first + i}];
            if (staging >= 0) {
                image(Access::write, staging, "staged", unit, first + i, i, lane, who);
                image(Access::read, p, gradient_of(value, writes), unit, first + i, i, lane, who);
            } else if (writes > 0) {
                fault(text(who, " overwrites a gradient that others have added to"));
            }
            ++writes;
            image(Access::write, p, gradient_of(value, writes), unit, first + i, i, lane, who);
        }
    }
    void backward(const Step& step, const Node& node, int first, int count, int lane,
                  const std::string& who) {
        const auto value_unit = [&](int value) { return graph_.values[value].shape.size() * storage_; };
        for (int k = 0; k < node.facts.parameters.size(); ++k) {
            const std::int32_t p = plan_.weights[static_cast<std::size_t>(node.first_parameter + k)];
            read(p, 0, whole(p), name(p), who);
        }
        if (step.packed >= 0) read(step.packed, 0, whole(step.packed), name(step.packed), who);
        const auto read_operands = [&] {
            if (node.facts.backward_reads_input)
                tensor(Access::read, step.input, text("value ", node.input), value_unit(node.input), first,
                       count, lane, who);
            if (node.facts.backward_reads_output)
                tensor(Access::read, step.output, text("value ", node.output), value_unit(node.output), first,
                       count, lane, who);
            if (node.facts.saved_bytes > 0 && !node.facts.reads_labels)
                tensor(Access::read, step.saved, text("saved by ", step.node), node.facts.saved_bytes, first,
                       count, lane, who);
            if (node.facts.couples_images)
                read(step.statistics, 0, whole(step.statistics), text("statistics of node ", step.node), who);
            if (!node.facts.reads_labels)
                read_gradient(step.output_gradient, node.output, first, count, lane, who);
        };
        read_operands();
        scratch(step.scratch, lane);
        const bool has_weights = !node.facts.parameters.empty() && !node.facts.couples_images;
        if (has_weights && node.facts.whole_batch)
            for (int k = 0; k < node.facts.parameters.size(); ++k) {
                const std::int32_t p = plan_.gradients[static_cast<std::size_t>(node.first_parameter + k)];
                write(p, 0, whole(p), name(p));
            }
        else if (has_weights) {
            const std::int64_t one = whole(step.partial) / plan_.shipment.lanes;
            write(step.partial, lane * one, one, text("partial of ", step.node, " lane ", lane));
        }
        const bool in_place = step.input_gradient >= 0 && step.input_gradient == step.output_gradient;
        if (in_place && contributions(node.input) != 1)
            fault(text(who, " works in place on a gradient with several sources"));
        if (graph_.values[node.input].gradient)
            write_gradient(step.input_gradient, step.input_staging, node.input, first, count, lane, who);
        if (node.second >= 0 && graph_.values[node.second].gradient)
            write_gradient(step.second_gradient, step.second_staging, node.second, first, count, lane, who);
        // Outputs spare inputs, but an elementwise layer's gradient may overwrite what it reads.
        const bool overwrites = node.facts.in_place && step.input_gradient == step.output;
        if (!in_place && !overwrites) read_operands();
    }

    const Graph<Nodes>& graph_;
    PlanView plan_;
    std::int64_t storage_;
    std::int32_t stage_ = 0;
    Memory memory_;
    std::map<std::pair<int, int>, int> gradient_writes_;
    std::set<int> forward_;
    std::vector<std::string> faults_;
};

} // namespace checker
