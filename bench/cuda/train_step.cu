// Images a second on the first GPU along the whole way a user's pictures go: bytes in host memory, to the
// device, widened there, forward, backward, Adam. Prints a line of JSON for each budget; jobs with several
// budgets take turns, a round each, so that what else the machine does falls on all alike; where the device
// has no room for all of them, one is measured after the other. One that fails is a line that says why.
// Flags: --help lists them.
#include "device.cuh"

#include "../process.hpp"
#include "../workload.hpp"

#include <cctype>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <map>
#include <span>
#include <tuple>

// To try the program without a GPU: nvcc -DBENCH_DEVICE=Host
#ifdef BENCH_DEVICE
using Target = plimsoll::BENCH_DEVICE;
using Precisions = std::tuple<plimsoll::Float, plimsoll::BFloat16, plimsoll::Half>;
#else
#include <plimsoll/cuda.cuh>
using Target = plimsoll::Cuda;
using Precisions = std::tuple<plimsoll::Float, plimsoll::TF32, plimsoll::BFloat16, plimsoll::Half>;
#endif

namespace {

using namespace workload;

constexpr const char* usage =
    R"(train_step_cuda [flags]
  --network NAME    guide (150 x 150 x 3, with dropout) or resnet18 (32 x 32 x 3) (guide)
  --precision NAME  float, tf32, bfloat16 or half (float)
  --batch N         images of an optimizer step (128)
  --budget WORDS    with commas between them: sizes such as 500MiB, least (the smallest that works), max (what the
                    device has free), curve:N (N steps from least to max, and 500MiB) (max)
  --rounds N        rounds that are timed, after one that is not (7)
  --steps N         least steps of a round, which lasts a fifth of a second at least (60)
  --mode NAME       fit, step (one batch over and over, without the source) or all, with evaluation (all)
  --prefetch N      micro-batches read ahead of the device (-1: as the library chooses)
PLIMSOLL_BEGAN in the environment is when the program was called, in seconds since 1970.)";

double now() { // seconds since 1970
    return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

struct Options {
    std::string network = "guide", precision = "float", budget = "max", mode = "all";
    int batch = 128, rounds = 7, steps = 60, prefetch = -1;
    double began = now();

    /// \throws argument_error naming the flag.
    Options(int count, char** arguments) {
        const std::map<std::string, std::string*> words{
            {"--network", &network}, {"--precision", &precision}, {"--budget", &budget}, {"--mode", &mode}};
        const std::map<std::string, int*> numbers{
            {"--batch", &batch}, {"--rounds", &rounds}, {"--steps", &steps}, {"--prefetch", &prefetch}};
        for (int i = 1; i < count; i += 2) {
            const std::string flag = arguments[i];
            const auto word = words.find(flag);
            const auto number = numbers.find(flag);
            if (word == words.end() && number == numbers.end())
                throw argument_error(text("no flag ", flag, "; --help lists them"));
            if (i + 1 == count) throw argument_error(text(flag, " needs a value"));
            if (word != words.end()) *word->second = arguments[i + 1];
            if (number != numbers.end()) *number->second = std::atoi(arguments[i + 1]);
        }
        for (const char* flag : {"--batch", "--rounds", "--steps"})
            if (*numbers.at(flag) < 1) throw argument_error(text(flag, " is at least 1"));
        if (mode != "fit" && mode != "step" && mode != "all")
            throw argument_error(text("--mode ", mode, " is not fit, step or all"));
        if (const char* called = std::getenv("PLIMSOLL_BEGAN")) began = std::atof(called);
    }
};

/// `size` bytes of noise, quickly: splitmix64 (Steele et al., OOPSLA 2014).
std::vector<u8> noise(std::size_t size) {
    std::vector<u8> bytes(size);
    std::uint64_t state = 1;
    for (std::size_t i = 0; i < size; i += 8) {
        std::uint64_t word = state += 0x9e3779b97f4a7c15;
        word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9;
        word = (word ^ (word >> 27)) * 0x94d049bb133111eb;
        word ^= word >> 31;
        std::memcpy(bytes.data() + i, &word, std::min<std::size_t>(8, size - i));
    }
    return bytes;
}

std::vector<Label> labels_of(std::size_t size, int classes) {
    std::vector<Label> labels(size);
    for (std::size_t i = 0; i < size; ++i) labels[i] = static_cast<Label>(i) % classes;
    return labels;
}

/// A budget as it was asked for, and as the library takes it.
struct Budget {
    std::string word;
    Bytes bytes;
};

template <class Blueprint>
std::vector<Budget> budgets(const std::string& words, const Settings& settings) {
    const Bytes least{Blueprint::least_bytes(settings)};
    std::vector<Budget> all;
    for (std::size_t begin = 0; begin <= words.size();) {
        const std::size_t end = std::min(words.find(',', begin), words.size());
        const std::string word = words.substr(begin, end - begin);
        begin = end + 1;
        if (word == "max") {
            all.push_back({word, all_free_memory});
        } else if (word == "least") {
            all.push_back({word, least});
        } else if (word.starts_with("curve:")) {
            const int points = std::max(std::atoi(word.c_str() + 6), 2);
            const double most = static_cast<double>(Blueprint::peak_bytes(settings)); // of an unlimited plan
            const double growth =
                std::pow(most / static_cast<double>(least.count), 1.0 / std::max(points - 1, 1));
            all.push_back({"max", all_free_memory});
            all.push_back({"least", least});
            for (int point = 1; point + 1 < points; ++point) {
                const double bytes = static_cast<double>(least.count) * std::pow(growth, point);
                const Bytes budget{static_cast<std::int64_t>(bytes)};
                all.push_back({to_string(budget), budget});
            }
            all.push_back({"500MiB", 500_MiB});
        } else {
            all.push_back({word, parse_bytes(word)});
        }
    }
    return all;
}

void add_spread(gpu::JsonLine& line, const std::string& name, const std::vector<double>& values) {
    if (values.empty()) return;
    const process::Spread spread(values);
    line.add(name.c_str(), spread.median);
    line.add((name + "_least").c_str(), spread.least);
    line.add((name + "_most").c_str(), spread.most);
}

template <class Model, class Precision>
class Benchmark {
    using Job = Trainer<Model, InMemory<u8>, Precision, Target>;
    using Blueprint = typename Job::Blueprint;
    static constexpr int classes = DefaultLoss<Model>::classes(output_shape<Model>);
    static constexpr double least_seconds = 0.2;                      // of a round
    static constexpr std::size_t held_bytes = std::size_t{512} << 20; // of pictures, at most

  public:
    Benchmark(const Options& options, const gpu::Device& device)
        : options_(options),
          device_(device),
          settings_{.batch = options.batch, .seed = 1, .prefetch = options.prefetch},
          batch_pixels_(static_cast<std::size_t>(options.batch) *
                        static_cast<std::size_t>(Model::input.size())),
          source_(pictures(static_cast<std::size_t>(options.batch) * steps_an_epoch())),
          images_(noise(batch_pixels_)),
          labels_(labels_of(static_cast<std::size_t>(options.batch), classes)) {
        preparing_ = now() - preparing_;
        for (const Budget& budget : budgets<Blueprint>(options.budget, settings_))
            contestants_.emplace_back(budget);
    }

    void run() {
        std::int64_t together = 0;
        for (const Contestant& each : contestants_) together += arena_bytes(each.budget);
        in_turns_ = static_cast<double>(together) < 0.8 * static_cast<double>(device_.free_bytes());
        const std::span<Contestant> all = contestants_;
        if (in_turns_) return run(all);
        for (std::size_t i = 0; i < all.size(); ++i) run(all.subspan(i, 1));
    }

  private:
    struct Contestant {
        Budget budget;
        std::unique_ptr<Job> job{};
        double first_step = 0; // seconds from the call of the program to the end of step one
        double loss = 0, waiting = 0;
        int steps = 0, evaluations = 1;                // of a round
        std::vector<double> fit{}, step{}, evaluate{}; // images a second
        std::string failed{};                          // why there are no numbers

        explicit Contestant(Budget asked) : budget(std::move(asked)) {}
    };

    [[nodiscard]] std::size_t steps_an_epoch() const {
        return std::clamp<std::size_t>(held_bytes / std::max<std::size_t>(batch_pixels_, 1), 4,
                                       static_cast<std::size_t>(std::max(options_.steps, 4)));
    }
    static InMemory<u8> pictures(std::size_t count) {
        return {noise(count * static_cast<std::size_t>(Model::input.size())), Model::input,
                labels_of(count, classes)};
    }

    /// Of the plan that a budget gives.
    [[nodiscard]] std::int64_t arena_bytes(const Budget& budget) const {
        Settings settings = settings_;
        settings.budget = budget.bytes;
        return Blueprint::peak_bytes(settings);
    }
    void run(std::span<Contestant> contestants) {
        const auto attempt = [](Contestant& each, auto f) {
            if (!each.failed.empty()) return;
            try {
                f(each);
            } catch (const std::exception& problem) {
                each.failed = problem.what();
                each.job.reset();
            }
        };
        const auto for_each = [&](auto f) {
            for (Contestant& each : contestants) attempt(each, f);
        };
        for_each([&](Contestant& each) { begin(each); });
        for (int round = 0; round < options_.rounds; ++round)
            for_each([&](Contestant& each) {
                if (options_.mode != "step") each.fit.push_back(fit(each));
                if (options_.mode != "fit") each.step.push_back(step(each));
                if (options_.mode == "all") each.evaluate.push_back(evaluate(each));
            });
        const std::int64_t process_bytes = device_.process_bytes();
        for (Contestant& each : contestants) {
            tell(each, process_bytes);
            each.job.reset();
        }
    }

    /// Makes the job, takes every way once that will be timed, and finds how long rounds are.
    void begin(Contestant& each) {
        Settings settings = settings_;
        settings.budget = each.budget.bytes;
        each.job = std::make_unique<Job>(source_, settings);
        const auto note_first = [&] {
            if (each.first_step != 0) return;
            device_.wait();
            each.first_step = now() - options_.began - preparing_;
        };
        if (options_.mode != "fit") {
            each.job->step(images_, labels_);
            note_first();
        }
        if (options_.mode != "step")
            each.job->fit({.progress = false, .on_step = [&](const StepRecord&) {
                               note_first();
                               return Control::proceed;
                           }});
        each.steps = options_.steps;
        const double rate = options_.mode == "step" ? step(each) : fit(each);
        each.steps = std::max(each.steps, static_cast<int>(least_seconds * rate / options_.batch) + 1);
        if (options_.mode == "all")
            each.evaluations =
                static_cast<int>(least_seconds * evaluate(each) / static_cast<double>(source_.size())) + 1;
    }

    double fit(Contestant& each) {
        const int of_epoch = static_cast<int>(steps_an_epoch());
        const int epochs = (each.steps + of_epoch - 1) / of_epoch;
        const double began = process::seconds();
        const History history = each.job->fit({.epochs = epochs, .progress = false});
        device_.wait(); // for the last update
        const double seconds = process::seconds() - began;
        each.loss = history.last().train.loss;
        each.waiting = history.last().waiting;
        return static_cast<double>(source_.size()) * epochs / seconds;
    }
    double step(Contestant& each) {
        const double began = process::seconds();
        for (int step = 0; step < each.steps; ++step)
            each.loss = each.job->step(images_, labels_).metrics.loss;
        device_.wait();
        return static_cast<double>(options_.batch) * each.steps / (process::seconds() - began);
    }
    double evaluate(Contestant& each) {
        const double began = process::seconds();
        for (int pass = 0; pass < each.evaluations; ++pass) each.job->evaluate(source_);
        return static_cast<double>(source_.size()) * each.evaluations / (process::seconds() - began);
    }

    void tell(const Contestant& each, std::int64_t process_bytes) const {
        gpu::JsonLine line;
        line.add("way", "plimsoll");
        line.add("network", options_.network);
        line.add("precision", options_.precision);
        line.add("batch", options_.batch);
        line.add("budget", each.budget.word);
        if (each.budget.bytes != all_free_memory) line.add("budget_bytes", each.budget.bytes.count);
        line.add("rounds", options_.rounds);
        line.add("steps", each.steps);
        line.add("in_turns", in_turns_);
        if (!each.failed.empty()) {
            line.add("failed", each.failed);
            return line.print();
        }
        // What a user calls is `fit`; `step` alone stands for it where only that was timed.
        add_spread(line, "images_per_second", each.fit.empty() ? each.step : each.fit);
        add_spread(line, "step_images_per_second", each.step);
        add_spread(line, "evaluate_images_per_second", each.evaluate);
        line.add("waiting", each.waiting);
        line.add("loss", each.loss);
        line.add("arena_bytes", each.job->peak().count);
        line.add("least_bytes", Blueprint::least_bytes(settings_));
        const Cut cut = each.job->cut();
        line.add("micro_batch", cut.micro_batch);
        line.add("lanes", cut.lanes);
        line.add("slice_bytes", cut.slice_bytes);
        line.add("recompute", cut.recompute);
        // Jobs that take turns share the process, so its bytes say something of one job alone.
        if (contestants_.size() == 1 && process_bytes >= 0)
            line.add("process_device_bytes", process_bytes);
        else
            line.add_unknown("process_device_bytes");
        if (contestants_.size() == 1) line.add("seconds_to_first_step", each.first_step);
        device_.describe(line);
        line.print();
    }

    const Options& options_;
    const gpu::Device& device_;
    Settings settings_;
    double preparing_ = now(); // until the pictures are made, then how long it took
    std::size_t batch_pixels_;
    InMemory<u8> source_;
    std::vector<u8> images_;    // (batch, H, W, C)
    std::vector<Label> labels_; // (batch)
    std::vector<Contestant> contestants_;
    bool in_turns_ = true;
};

bool is_name(std::string_view name, std::string_view word) {
    return std::equal(name.begin(), name.end(), word.begin(), word.end(), [](char a, char b) {
        return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
    });
}

template <class Model, class... Precision>
void run_with(const Options& options, const gpu::Device& device, std::tuple<Precision...>) {
    const auto run = [&]<class P>(P) {
        if (!is_name(P::name, options.precision)) return false;
        Benchmark<Model, P>(options, device).run();
        return true;
    };
    if (!(run(Precision{}) || ...)) throw argument_error(text("no precision ", options.precision, " here"));
}

} // namespace

int main(int count, char** arguments) try {
    if (count > 1 && std::string(arguments[1]) == "--help") {
        std::puts(usage);
        return 0;
    }
    const gpu::Device device;
    const Options options(count, arguments);
    if (options.network == "guide")
        run_with<Guide>(options, device, Precisions{});
    else if (options.network == "resnet18")
        run_with<ResNet18>(options, device, Precisions{});
    else
        throw argument_error(text("no network ", options.network, ": guide or resnet18"));
} catch (const std::exception& problem) {
    std::cerr << "train_step_cuda: " << problem.what() << '\n';
    return 1;
}
