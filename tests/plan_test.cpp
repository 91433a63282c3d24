// The plan: proven sound by replay, for many networks, batches and budgets.
#include "plan_checker.hpp"
#include "support.hpp"

#include <plimsoll/plimsoll.hpp>

using namespace plimsoll;

namespace {

using Guide = Sequential<Image<150, 150, 3>, Conv2d<32, 3>, Relu, MaxPool<2>, Conv2d<64, 3>, Relu, MaxPool<2>,
                         Conv2d<128, 3>, Relu, MaxPool<2>, Conv2d<128, 3>, Relu, MaxPool<2>, Flatten,
                         Dropout<0.5_p>, Dense<512>, Relu, Dense<1>>;

template <int Filters>
using Block = Residual<Sequential<Conv2d<Filters, 3, 1, 1, no_bias>, BatchNorm, Relu,
                                  Conv2d<Filters, 3, 1, 1, no_bias>, BatchNorm>>;
template <int Filters>
using Down = Residual<Sequential<Conv2d<Filters, 3, 2, 1, no_bias>, BatchNorm, Relu,
                                 Conv2d<Filters, 3, 1, 1, no_bias>, BatchNorm>,
                      Sequential<Conv2d<Filters, 1, 2, 0, no_bias>, BatchNorm>>;
using ResNet18 = Sequential<Image<32, 32, 3>, Conv2d<64, 3, 1, 1, no_bias>, BatchNorm, Relu, Block<64>, Relu,
                            Block<64>, Relu, Down<128>, Relu, Block<128>, Relu, Down<256>, Relu, Block<256>,
                            Relu, Down<512>, Relu, Block<512>, Relu, GlobalAveragePool, Dense<10>>;

// Odd on purpose: dropout on the picture, a residual around a pool's output without weights between,
// activations that read their output behind activations that read theirs, a pool of averages at the end, two
// dense layers in a row.
using Odd = Sequential<Image<9, 14, 5>, Dropout<0.1_p>, Conv2d<3, 3, 2, 1>, LeakyRelu<>, Relu,
                       Residual<Sequential<AveragePool<3, 1, 1>, Dropout<0.2_p>>>,
                       Residual<Sequential<Relu, Conv2d<3, 1>>, Sequential<Conv2d<3, 3, 1, 1>, BatchNorm>>,
                       MaxPool<2, 1>, BatchNorm, Dropout<0.3_p>, Flatten, Dense<4>, Dense<3>>;

// No layer learns before the last one: backward ends there.
using Linear = Sequential<Image<4, 4, 1>, Relu, Flatten, Dense<2>>;

template <class Net, class Precision>
void prove(const Cut& cut, int layout_block, int images) {
    using Plan = Blueprint<Net, u8, Precision, Host, DefaultLoss<Net>, Adam::states, true>;
    const auto plan = std::make_unique<const plimsoll::Plan<Plan::nodes>>(
        Plan::plan({.batch = cut.micro_batch}, cut, layout_block));
    checker::Replay<Plan::nodes> replay(Plan::graph(), plan->view(), sizeof(typename Precision::Storage));
    CAPTURE(Precision::name);
    CAPTURE(cut.micro_batch);
    CAPTURE(cut.lanes);
    CAPTURE(cut.slice_bytes);
    CAPTURE(cut.recompute);
    CAPTURE(images);
    for (const std::string& fault : replay.run(images)) FAIL_CHECK(fault);
}

template <class Net>
void prove_all() {
    for (const int micro_batch : {1, 7, 32, 100})
        for (const int lanes : {1, 3, 8})
            for (int recompute = 0; recompute <= Cut::most_recompute; ++recompute) {
                Cut cut{.micro_batch = micro_batch,
                        .lanes = std::min(lanes, micro_batch),
                        .recompute = recompute};
                prove<Net, Float>(cut, recompute % 2 * 16, micro_batch);
                prove<Net, BFloat16>(cut, recompute % 2 * 16, micro_batch);
                cut.slice_bytes = 0;
                prove<Net, Float>(cut, 0, micro_batch / 2 + 1);
                prove<Net, Half>(cut, 0, micro_batch / 2 + 1);
            }
}

} // namespace

TEST_CASE("plans are sound: every read was written and nothing live is overwritten") {
    prove_all<Guide>();
    prove_all<ResNet18>();
    prove_all<Odd>();
    prove_all<Linear>();
}

TEST_CASE("the checker finds parts that are moved onto others they live with") {
    using Plan = Blueprint<Odd, u8, Float, Host, DefaultLoss<Odd>, 2, true>;
    const auto sound = std::make_unique<plimsoll::Plan<Plan::nodes>>(
        Plan::plan({.batch = 8}, {.micro_batch = 8, .lanes = 8, .recompute = 2}));
    int found = 0, tried = 0;
    const auto movable = [](const Part& part) {
        // Gradients and workspaces may be lost before they are first written: no fault to find.
        return part.extent != Extent::slice && part.role != Role::gradient && part.role != Role::labels &&
               part.role != Role::workspace && part.role != Role::statistics;
    };
    for (int a = 0; a < sound->parts.size(); ++a)
        for (int b = 0; b < sound->parts.size(); ++b) {
            if (a == b || !movable(sound->parts[a]) || !movable(sound->parts[b])) continue;
            if (!live_together(sound->parts[a], sound->parts[b])) continue;
            auto broken = std::make_unique<plimsoll::Plan<Plan::nodes>>(*sound);
            broken->parts[a].offset = sound->parts[b].offset;
            checker::Replay<Plan::nodes> replay(Plan::graph(), broken->view(), 4);
            ++tried;
            found += !replay.run(8).empty();
        }
    CHECK(tried > 500);
    MESSAGE(found << " of " << tried << " found");
    CHECK(found > tried * 98 / 100);
}

TEST_CASE("the plan is the same constant at compile time and at run time") {
    using Job = Trainer<Guide, InMemory<u8>, Float, Host>;
    constexpr Settings settings{.batch = 32};
    constexpr Bytes peak = peak_bytes<Job>(settings);
    const Settings same = settings;
    CHECK(peak_bytes<Job>(same) == peak);
    const Cut cut = Job::Blueprint::choose_cut(settings, all_free_memory);
    for (const int block : {0, 8, 16})
        CHECK(Job::Blueprint::plan(settings, cut, block).total == peak.count); // layouts have equal bytes
}

TEST_CASE("no slice holds more elements than 32 bits count") {
    using Wide =
        Sequential<Image<64, 64, 8>, Conv2d<128, 3, 1, 1>, BatchNorm, Relu, GlobalAveragePool, Dense<2>>;
    using Plans = Trainer<Wide, InMemory<u8>, BFloat16, Host>::Blueprint;
    const Settings settings{.batch = 5000}; // 2,621,440,000 elements
    const auto plan =
        Plans::plan(settings, {.micro_batch = 5000, .lanes = 1, .slice_bytes = std::int64_t{1} << 40});
    int slices = 0;
    for (const Stage& stage : plan.stages) {
        slices = std::max<int>(slices, stage.slice);
        CHECK(std::int64_t{stage.slice} * 64 * 64 * 128 <= std::numeric_limits<std::int32_t>::max());
    }
    CHECK(slices == 2048);
}

TEST_CASE("names sum to the total") {
    using Plan = Blueprint<ResNet18, u8, Float, Host, DefaultLoss<ResNet18>, 2, true>;
    const auto plan = std::make_unique<const plimsoll::Plan<Plan::nodes>>(
        Plan::plan({.batch = 8}, {.micro_batch = 8, .lanes = 8, .recompute = 2}));
    const PlanReport report = plan_report<Plan>(plan->view(), {.batch = 8});
    std::int64_t sum = 0;
    for (const PlanRow& row : report.rows()) {
        CHECK_FALSE(row.name.empty());
        if (!row.shared) sum += row.bytes;
    }
    CHECK(sum == plan->total);
    CHECK(report.picture.total == plan->total);
}

TEST_CASE("a smaller budget gives smaller micro-batches, batch normalisation keeps them whole") {
    using Job = Trainer<Guide, InMemory<u8>, Float, Host>;
    const Bytes free = peak_bytes<Job>({.batch = 64});
    const Bytes tight = peak_bytes<Job>({.batch = 64, .budget = free - 1_B});
    CHECK(tight < free);
    CHECK(would_fit<Job>({.batch = 64, .budget = tight}));
    const std::int64_t least = Job::Blueprint::least_bytes({.batch = 64});
    CHECK(would_fit<Job>({.batch = 64, .budget = {least}}));
    CHECK_FALSE(would_fit<Job>({.batch = 64, .budget = {least - 1}}));
    using Coupled = Trainer<ResNet18, InMemory<u8>, Float, Host>;
    CHECK(Coupled::Blueprint::choose_cut({.batch = 64}, 1_MiB).micro_batch == 64);
}

TEST_CASE("settings that no job can have fit nothing and have no peak") {
    using Job = Trainer<Guide, InMemory<u8>, Float, Host>;
    for (const Settings& wrong : {Settings{.batch = 0}, Settings{.batch = -3}, Settings{.lanes = 0},
                                  Settings{.lanes = -1}, Settings{.threads = -1}}) {
        CHECK_FALSE(would_fit<Job>(wrong));
        CHECK_THROWS_AS(peak_bytes<Job>(wrong), argument_error);
    }
}

TEST_CASE("memory that buys no speed is not taken") {
    using Plans = Trainer<Guide, InMemory<u8>, Float, Host>::Blueprint;
    const Cut usual = Plans::choose_cut({.batch = 128}, all_free_memory);
    CHECK(usual.micro_batch < 128);
    CHECK(usual.lanes == 8);
    const Cut huge = Plans::choose_cut({.batch = 8192}, all_free_memory);
    CHECK(huge.micro_batch <= 128);
    const detail::Flow<Plans::nodes> flow(Plans::graph(), 0, true, 0);
    const detail::Work work(Plans::graph(), flow, Speeds{}, Cut{}.slice_bytes);
    CHECK(work.seconds(usual, 128, Speeds{}) <= 1.03 * work.seconds({128, 8}, 128, Speeds{}));
}
