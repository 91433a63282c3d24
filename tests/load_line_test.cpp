// The load line: a job touches no byte beyond its plan, its process grows by no more, and a budget is either
// kept or refused before the first step.
#include "networks.hpp"
#include "plan_checker.hpp"
#include "support.hpp"

#include <plimsoll/plimsoll.hpp>

#include <cmath>
#include <cstring>
#include <numeric>
#include <set>

#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

using namespace plimsoll;

namespace {

// Between stages the sanitizer lets nobody look at the arena's bytes.
#if PLIMSOLL_ASAN
#define UNSEEN __attribute__((no_sanitize("address"), noinline))
#else
#define UNSEEN
#endif

/// Bytes [from, to).
struct Range {
    std::byte* from = nullptr;
    std::byte* to = nullptr;

    void fill(std::byte pattern) const { std::fill(from, to, pattern); }
    /// Past the highest byte that is another than `pattern`; `from` if there is none.
    UNSEEN std::byte* touched(std::byte pattern) const {
        std::byte* at = to;
        while (at > from && at[-1] == pattern) --at;
        return at;
    }
};

/// Host, with the arena between pages that fault when touched. The arena ends where the page behind it
/// begins; what is left of its first page is filled with a pattern, and so are the few bytes behind it if its
/// size is no multiple of the alignment.
class Fenced : public Host {
  public:
    static constexpr std::string_view name = "Fenced";
    static constexpr std::byte pattern{0x5A};
    using Host::Host;

    class Memory {
      public:
        explicit Memory(std::int64_t bytes) {
            const std::int64_t page = sysconf(_SC_PAGESIZE), inside = round_up(bytes, page);
            bytes_ = static_cast<std::size_t>(inside + 2 * page);
            void* pages =
                mmap(nullptr, bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
            REQUIRE(pages != MAP_FAILED);
            pages_ = static_cast<std::byte*>(pages);
            REQUIRE(mprotect(pages_ + page, static_cast<std::size_t>(inside), PROT_READ | PROT_WRITE) == 0);
            std::byte* const end = pages_ + page + inside;
            std::byte* const start = end - aligned(bytes);
            arena = {start, start + bytes};
            before = {pages_ + page, arena.from};
            behind = {arena.to, end};
            before.fill(pattern);
            behind.fill(pattern);
            last = this;
        }
        Memory(const Memory&) = delete;
        Memory& operator=(const Memory&) = delete;
        ~Memory() {
            last = nullptr;
            munmap(pages_, bytes_);
        }
        [[nodiscard]] std::byte* data() const { return arena.from; }

        Range before, arena, behind;

      private:
        std::byte* pages_ = nullptr;
        std::size_t bytes_ = 0;
    };
    [[nodiscard]] static Memory allocate(std::int64_t bytes) { return Memory(bytes); }

    static inline const Memory* last = nullptr; ///< of the one job at a time that these tests have
};

} // namespace

template <class Layer, class Precision>
struct plimsoll::Kernel<Layer, Precision, Fenced> : plimsoll::Kernel<Layer, Precision, Host> {
    Kernel(const Site& site, const Fenced& device)
        : plimsoll::Kernel<Layer, Precision, Host>(site, static_cast<const Host&>(device)) {}
};

namespace {

using namespace networks;

// The golden three.
using Plain = Sequential<Image<20, 20, 3>, Conv2d<8, 3>, Relu, MaxPool<2>, Conv2d<16, 3, 1, 1>, Relu,
                         MaxPool<2>, Flatten, Dense<32>, Relu, Dense<5>>;
using ShortDown = Residual<Sequential<Conv2d<16, 3, 2, 1, no_bias>, BatchNorm>,
                           Sequential<Conv2d<16, 1, 2, 0, no_bias>, BatchNorm>>;
using Small = Sequential<Image<16, 16, 3>, Conv2d<8, 3, 1, 1, no_bias>, BatchNorm, Relu, Block<8>, Relu,
                         ShortDown, Relu, GlobalAveragePool, Flatten, Dense<4>>;
using Binary = Sequential<Image<15, 13, 3>, Conv2d<6, 3>, Relu, MaxPool<2>, Conv2d<10, 3>, Relu,
                          AveragePool<2>, Flatten, Dense<12>, Relu, Dense<1>>;

template <class Net, class Optimizer = Adam, class Precision = Float>
using Job = Trainer<Net, InMemory<u8>, Precision, Fenced, DefaultLoss<Net>, Optimizer>;

/// Pictures without a pattern, with any labels.
InMemory<u8> noise(Shape shape, int count, int classes) {
    const auto words = [](std::size_t i) { return philox({static_cast<std::uint32_t>(i), 1, 0, 0}, 11); };
    std::vector<u8> images(static_cast<std::size_t>(shape.size()) * static_cast<std::size_t>(count));
    std::vector<Label> labels(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < images.size(); ++i) images[i] = static_cast<u8>(words(i).x >> 24);
    for (std::size_t i = 0; i < labels.size(); ++i)
        labels[i] = static_cast<Label>(words(i).y % static_cast<std::uint32_t>(classes));
    return InMemory<u8>(std::move(images), shape, std::move(labels), "noise");
}

template <class Net>
constexpr int classes = DefaultLoss<Net>::classes(output_shape<Net>);

/// A line of /proc/self/status, in bytes.
std::int64_t process_bytes(std::string_view line_name) {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);)
        if (line.starts_with(line_name)) return std::stoll(line.substr(line_name.size() + 1)) * 1024;
    FAIL("/proc/self/status has no " << std::string(line_name));
    return 0;
}
/// From now on VmHWM is the most memory the process had since now. \returns what it has now.
std::int64_t mark_process() {
    malloc_trim(0); // what earlier jobs gave back would hide what this one takes
    std::ofstream("/proc/self/clear_refs") << "5";
    return process_bytes("VmRSS");
}

/// What a process takes beside its arena: kernel objects, code that oneDNN generates, and the stacks and
/// buffers of its threads. Sanitizers keep records of their own.
constexpr Bytes beside = 48_MiB;
constexpr bool sanitized = PLIMSOLL_ASAN != 0 || PLIMSOLL_TSAN != 0;

/// How a job of the grid is loaded.
enum class Load { whole, none, between, least };
constexpr Load loads[] = {Load::whole, Load::none, Load::between, Load::least};
constexpr int batches[] = {1, 7, 32, 128};

struct Seen {
    int proven = 0, executed = 0;
    Bytes growth{}, largest{};
    double tightest = 1;
};

/// One cell of the grid: network, optimizer, precision, batch and load.
template <class Net, class Optimizer, class Precision>
class Cell {
  public:
    using Job = ::Job<Net, Optimizer, Precision>;
    using Plan = typename Job::Blueprint;

    Cell(int batch, Load load) : settings_{.batch = batch}, whole_(load == Load::whole) {
        const std::int64_t least = Plan::least_bytes(settings_), free = Plan::peak_bytes(settings_);
        CHECK(least <= free);
        if (load == Load::least) settings_.budget = {least};
        if (load == Load::between) settings_.budget = {least + (free - least) / 2};
        cut_ = whole_ ? Cut{.micro_batch = batch, .lanes = std::min(batch, settings_.lanes)}
                      : Plan::choose_cut(settings_, settings_.budget);
        settings_.threads = 2;
    }

    /// Replays the plan, on as many workers as lanes: the checker has all of them run at once.
    void prove(Seen& seen) const {
        Settings settings = settings_;
        settings.threads = 0;
        const auto plan = std::make_unique<const plimsoll::Plan<Plan::nodes>>(Plan::plan(settings, cut_));
        if (settings.budget != all_free_memory) CHECK(plan->total <= settings.budget.count);
        if (!whole_) CHECK(plan->total == Plan::peak_bytes(settings));
        CHECK(Plan::plan(settings_, cut_).total <= plan->total);
        checker::Replay<Plan::nodes> replay(Plan::graph(), plan->view(), sizeof(typename Precision::Storage));
        const int ragged = cut_.micro_batch - (cut_.micro_batch > 8 ? 3 : 0);
        for (const std::string& fault : replay.run(ragged)) FAIL_CHECK(fault);
        ++seen.proven;
    }

    /// Trains on a whole batch and on a ragged one, evaluates and saves, between the fences.
    void execute(const InMemory<u8>& data, std::span<const u8> images, std::span<const Label> labels,
                 Seen& seen) const {
        const support::TemporaryFolder folder;
        const std::int64_t total = Plan::plan(settings_, cut_).total;
        const std::int64_t shared = Plan::plan(settings_, cut_).shared;
        const auto batch = static_cast<std::size_t>(settings_.batch);
        const std::int64_t process = mark_process();
        const auto job =
            whole_ ? std::make_unique<Job>(data, settings_, cut_) : std::make_unique<Job>(data, settings_);
        REQUIRE(Fenced::last != nullptr);
        const Fenced::Memory& memory = *Fenced::last;
        CHECK(job->cut() == cut_);
        CHECK(job->peak() == Bytes{total});
        CHECK(memory.arena.to - memory.arena.from == total);
        CHECK(reinterpret_cast<std::uintptr_t>(memory.data()) % alignment == 0);
        // Bytes that parts take turns at are NaN to whoever reads them before they are written.
        constexpr std::byte untouched{0xFF};
        const Range turns{memory.arena.from + shared, memory.arena.to};
        turns.fill(untouched);

        const std::size_t image = static_cast<std::size_t>(Net::input.size());
        for (const std::size_t count : {batch, std::min<std::size_t>(batch, batch / 2 + 1)}) {
            const auto few = heavy && count < batch ? std::min<std::size_t>(count, 3) : count;
            const StepRecord record = job->step(images.first(few * image), labels.first(few));
            CHECK(std::isfinite(record.metrics.loss));
            for (std::size_t p = 0; p < job->parameters().size(); ++p) {
                double sum = 0;
                for (const float g : job->gradient(p)) sum += std::abs(static_cast<double>(g));
                CHECK(std::isfinite(sum));
            }
        }
        CHECK(std::isfinite(job->evaluate(data).loss));
        const std::int64_t growth = process_bytes("VmHWM") - process;
        if (!sanitized) CHECK(growth <= total + beside.count);
        job->save(folder / "weights.safetensors");

        const std::int64_t touched = turns.touched(untouched) - memory.arena.from;
        CHECK(touched <= total);
        // The plan is tight. With more workers than one the topmost buffers may wait for a lane in vain, and
        // in 16 bits libraries differ much in the workspace that they ask for.
        if (cut_.lanes == 1 && std::same_as<Precision, Float>)
            CHECK(static_cast<double>(touched) > 0.9 * static_cast<double>(total));
        CHECK(memory.before.touched(Fenced::pattern) == memory.before.from);
        CHECK(memory.behind.touched(Fenced::pattern) == memory.behind.from);
        ++seen.executed;
        if (growth - total > seen.growth.count) seen.growth = {growth - total};
        if (total > seen.largest.count) seen.largest = {total};
        if (cut_.lanes == 1)
            seen.tightest =
                std::min(seen.tightest, static_cast<double>(touched) / static_cast<double>(total));
    }

    static constexpr bool heavy = Net::input.height > 20;

  private:
    Settings settings_;
    bool whole_;
    Cut cut_;
};

/// The bytes that the compiler tells are those that the job takes.
template <class Net>
void compare_constants() {
    static constexpr Bytes constants[] = {
        peak_bytes<Job<Net>>({.batch = batches[0]}), peak_bytes<Job<Net>>({.batch = batches[1]}),
        peak_bytes<Job<Net>>({.batch = batches[2]}), peak_bytes<Job<Net>>({.batch = batches[3]})};
    const InMemory<u8> few = noise(Net::input, 3, classes<Net>);
    for (std::size_t i = 0; i < std::size(batches); ++i)
        CHECK(Job<Net>(few, {.batch = batches[i]}).peak() == constants[i]);
}

/// What is executed beside being proven: everything of the small networks and, the whole batch without slices
/// aside, of the guide's. A step of a deep one takes seconds on two cores, so of these batches of 1 and 7
/// with both optimizers, batch 32 with Adam and batch 128 once: what is new there is numbers only.
template <class Net>
constexpr bool executed(bool adam, int batch, Load load) {
    if (Net::input.height <= 20) return true;
    if (load == Load::whole) return false;
    if (sanitized) return batch < 32 && adam;
    if (Net::input.height == 150) return true;
    return batch < 32 || (adam && (batch == 32 || load == Load::between));
}

template <class Net, class Optimizer, class Precision>
void fill_grid(Seen& seen) {
    const InMemory<u8> data = noise(Net::input, 128, classes<Net>), few = noise(Net::input, 3, classes<Net>);
    std::vector<u8> images(static_cast<std::size_t>(Net::input.size()) * 128);
    std::vector<Label> labels(128);
    std::vector<std::uint64_t> samples(128);
    std::iota(samples.begin(), samples.end(), std::uint64_t{0});
    data.read(samples, images, labels);
    const bool adam = Optimizer::states == 2;
    for (const int batch : batches)
        for (const Load load : loads) {
            CAPTURE(adam);
            CAPTURE(batch);
            CAPTURE(static_cast<int>(load));
            const Cell<Net, Optimizer, Precision> cell(batch, load);
            cell.prove(seen);
            if (executed<Net>(adam, batch, load)) cell.execute(few, images, labels, seen);
        }
}

template <class Net, class Precision = Float>
void fill_grid() {
    Seen seen;
    fill_grid<Net, Adam, Precision>(seen);
    if (std::same_as<Precision, Float>) fill_grid<Net, Sgd, Precision>(seen);
    MESSAGE(seen.proven << " plans proven, " << seen.executed << " executed, the largest of "
                        << to_string(seen.largest) << "; the process grew by " << to_string(seen.growth)
                        << " more than the plan at most; a plan was used to " << seen.tightest
                        << " at least");
}

/// Mean loss of the fifth step, from the same start.
template <class Net>
double fifth_loss(const InMemory<u8>& data, const Settings& settings) {
    Job<Net> job(data, settings);
    CHECK((settings.budget == all_free_memory || job.peak() <= settings.budget));
    double loss = 0;
    FitOptions options{.progress = false, .handle_interrupts = false};
    options.on_step = [&](const StepRecord& record) {
        loss = record.metrics.loss;
        return record.step == 5 ? Control::stop : Control::proceed;
    };
    job.fit(options);
    CHECK(job.steps() == 5);
    return loss;
}

/// Goes through the budgets from nothing to what the job takes without one. Jobs that are cut alike are the
/// same job, so each cut is trained once.
template <class Net>
std::vector<Cut> sweep(int batch) {
    using Plan = typename Job<Net>::Blueprint;
    const InMemory<u8> data = noise(Net::input, 5 * batch, classes<Net>);
    const Settings free{.batch = batch, .threads = 2};
    const std::int64_t least = Plan::least_bytes(free), most = Plan::peak_bytes(free);
    const double expected = fifth_loss<Net>(data, free);
    std::vector<Cut> cuts;
    int refused = 0, kept = 0;
    double largest = 0;
    const auto try_budget = [&](std::int64_t bytes) {
        CAPTURE(bytes);
        Settings settings = free;
        settings.budget = {bytes};
        if (bytes < least) {
            const std::string message =
                support::message_of<budget_error>([&] { Job<Net> job(data, settings); });
            CHECK(support::contains(message, text("needs at least ", least, " B")));
            ++refused;
            return;
        }
        ++kept;
        const Cut cut = Plan::choose_cut(settings, settings.budget);
        CHECK(Plan::plan(settings, cut).total <= bytes);
        if (std::find(cuts.begin(), cuts.end(), cut) != cuts.end()) return;
        cuts.push_back(cut);
        const double loss = fifth_loss<Net>(data, settings);
        CAPTURE(loss);
        CAPTURE(expected);
        CHECK(std::abs(loss - expected) <= 1e-4 * expected);
        largest = std::max(largest, std::abs(loss - expected) / expected);
    };
    constexpr std::int64_t step = (1_MiB).count;
    for (std::int64_t budget = 0; budget < most + step; budget += step) try_budget(budget);
    try_budget(least);
    try_budget(least - 1);
    CHECK(refused > 0);
    MESSAGE(refused << " budgets refused, " << kept << " kept by " << cuts.size()
                    << " cuts; losses differ by " << largest << " at most");
    return cuts;
}

} // namespace

TEST_CASE_TEMPLATE("load line: a small plain network", Precision, Float, BFloat16, Half) {
    fill_grid<Plain, Precision>();
}
TEST_CASE_TEMPLATE("load line: a small residual network", Precision, Float, BFloat16, Half) {
    fill_grid<Small, Precision>();
}
TEST_CASE_TEMPLATE("load line: a small binary network", Precision, Float, BFloat16, Half) {
    fill_grid<Binary, Precision>();
}
TEST_CASE("load line: the guide's network") { fill_grid<Guide>(); }
TEST_CASE("load line: ResNet-18") { fill_grid<ResNet18>(); }
TEST_CASE("load line: sixty residual blocks") { fill_grid<SixtyBlocks>(); }

TEST_CASE("load line: constants are what jobs take") {
    compare_constants<Plain>();
    compare_constants<Small>();
    compare_constants<Binary>();
}

TEST_CASE("load line: every budget is kept or refused, for independent images") {
    const std::vector<Cut> cuts = sweep<GuideWith<>>(sanitized ? 8 : 16);
    CHECK(std::any_of(cuts.begin(), cuts.end(), [](const Cut& cut) { return cut.micro_batch == 1; }));
    CHECK(cuts.size() > 5);
}

TEST_CASE("load line: every budget is kept or refused, where batch normalisation keeps the batch whole") {
    const std::vector<Cut> cuts = sweep<Stacked<3>::type>(32);
    std::set<int> levels;
    for (const Cut& cut : cuts) {
        CHECK(cut.micro_batch == 32);
        levels.insert(cut.recompute);
    }
    CHECK(levels.size() > 1);
}
