// Whether cuDNN has engines for plans' convolutions within their workspaces, on GPUs that are not here: it is
// asked by descriptions of them, and nothing runs.
#include "networks.hpp"
#include "support.hpp"

#include <plimsoll/cuda.cuh>

#include <map>
#include <set>
#include <tuple>

using namespace plimsoll;

#if CUDNN_VERSION >= 90800 // older ones take no descriptions

namespace {

using detail::cudnn::Descriptor;
using detail::cudnn::Direction;

/// As cuDNN describes a GPU to itself.
struct Gpu {
    const char* name;
    int capability; ///< 75 for 7.5
    int multiprocessors, threads_of_one, blocks_of_one;
    int shared_bytes; ///< that a block can have
    int l2_mebibytes;
    std::int64_t gibibytes;

    [[nodiscard]] std::string json() const {
        return text(
            R"({"deviceVer":)", 10 * capability, R"(,"driverVer":13000,"cudaDeviceId":0,"totalGlobalMem":)",
            gibibytes << 30, R"(,"maxGridSize":[2147483647,65535,65535],"maxBlockSize":[1024,1024,64],)",
            R"("regsPerBlock":65536,"multiProcessorCount":)", multiprocessors,
            R"(,"warpSize":32,"maxSharedMemoryPerBlock":49152,"maxSharedMemoryPerBlockOptin":)", shared_bytes,
            R"(,"reservedSharedMemoryPerBlock":1024,"maxRegistersPerSM":65536,"maxCtasPerSM":)",
            blocks_of_one, R"(,"maxThreadsPerBlock":1024,"maxThreadsPerSM":)", threads_of_one,
            R"(,"pciDeviceId":0,"isTccDriver":0,"supportCoopLaunch":1,"smClockRateKHz":1500000,)",
            R"("memClockRateKHz":5500000,"l2CacheSize":)", l2_mebibytes << 20, R"(,"deviceName":")", name,
            R"("})");
    }
};
constexpr Gpu gpus[] = {{"NVIDIA GeForce GTX 1650", 75, 14, 1024, 16, 65536, 1, 4},
                        {"NVIDIA A100-SXM4-40GB", 80, 108, 2048, 32, 166912, 40, 40},
                        {"NVIDIA GeForce RTX 3050 Laptop GPU", 86, 16, 1536, 16, 101376, 2, 4},
                        {"NVIDIA GeForce RTX 4060 Laptop GPU", 89, 24, 1536, 24, 101376, 32, 8},
                        {"NVIDIA H100 80GB HBM3", 90, 132, 2048, 32, 232448, 50, 80},
                        {"NVIDIA GeForce RTX 5060 Laptop GPU", 120, 26, 1536, 24, 101376, 32, 8}};

struct Described {
    Descriptor properties;
    explicit Described(const Gpu& gpu) : properties(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR) {
        const std::string json = gpu.json();
        properties.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                       static_cast<std::int64_t>(json.size()) + 1, json.c_str());
        properties.finalize();
    }
    void tell_graph(Descriptor&) const {}
    void tell_heuristic(Descriptor& heuristic) const {
        heuristic.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, properties);
    }
    void tell_plan(Descriptor& plan) const { plan.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, properties); }
};

struct Count {
    int asked = 0, other_engine = 0;
};

/// Asks for every convolution of a plan that is cuDNN's.
template <class Blueprint>
void ask(const Gpu& gpu, const Settings& settings, Count& count) {
    using Arithmetic = detail::CudaArithmetic<typename Blueprint::Precision>;
    using T = typename Arithmetic::Storage;
    using Convolution = CudnnConvolution<T, Arithmetic::tf32>;
    const Described described(gpu);
    const auto plan = Blueprint::plan(settings, Blueprint::choose_cut(settings, settings.budget));
    std::set<std::tuple<int, int, int, int, int, int>> seen;
    for (int n = 0; n < Blueprint::nodes; ++n) {
        const Site site = site_of(Blueprint::graph(), plan.shipment, plan.layouts.begin(), n,
                                  plan.node_slices[n], Blueprint::is_training, settings.seed);
        if (site.facts.name != "Conv2d" || CudaFirstConvolution<T, Arithmetic::tf32>::fits(site)) continue;
        if (std::is_same_v<typename Blueprint::Precision, Float> && CudaWinogradConvolution::pays(site))
            continue;
        const Window window = site.facts.window;
        if (!seen.insert({site.images, site.input.height, site.input.channels, site.output.channels,
                          window.kernel, window.stride})
                 .second)
            continue;
        for (const Direction direction :
             {Direction::forward, Direction::input_gradient, Direction::weight_gradient}) {
            if (direction == Direction::input_gradient && !site.input_gradient) continue;
            detail::cudnn::Convolution wanted = Convolution::wanted(site, direction);
            const detail::cudnn::ConvolutionPlan made(described, wanted);
            const std::string what =
                text(gpu.name, ", ", Blueprint::Precision::name, ", ", site.images, " images of ",
                     to_string(site.input), " to ", to_string(site.output), ", kernel ", window.kernel,
                     ", direction ", static_cast<int>(direction), ", workspace ", wanted.workspace,
                     ", least refused ", made.least_refused());
            CAPTURE(what);
            ++count.asked;
            CHECK(static_cast<bool>(made));
            if (!made) continue;
            CHECK(made.workspace() <= wanted.workspace);
            wanted.workspace = std::int64_t{1} << 50;
            const detail::cudnn::ConvolutionPlan free(described, wanted);
            CAPTURE(free.workspace());
            // The plan's limit never costs the tensor cores.
            CHECK((made.uses_tensor_cores() || !free.uses_tensor_cores()));
            count.other_engine += made.engine() != free.engine();
            // Nor does the bias that it adds.
            wanted.adds_bias = false;
            const detail::cudnn::ConvolutionPlan alone(described, wanted);
            CHECK((made.uses_tensor_cores() || !alone.uses_tensor_cores()));
        }
    }
}

template <class Net, class Precision>
void ask_all(const char* network, std::initializer_list<Settings> all) {
    using Blueprint = typename Trainer<Net, InMemory<u8>, Precision, Cuda>::Blueprint;
    for (const Gpu& gpu : gpus) {
        if (gpu.capability < 80 && !std::is_same_v<Precision, Float> && !std::is_same_v<Precision, Half>)
            continue;
        Count count;
        for (const Settings& settings : all) {
            ask<Blueprint>(gpu, settings, count);
            Settings least = settings;
            least.budget = {Blueprint::least_bytes(settings)};
            ask<Blueprint>(gpu, least, count);
        }
        if (count.asked > 0)
            MESSAGE(std::string(network)
                    << ", " << std::string(Precision::name) << ", " << std::string(gpu.name) << ": "
                    << count.asked << " asked, " << count.other_engine
                    << " would have another engine without a limit");
    }
}

// Channels that come in no eights.
using Odd = Sequential<Image<33, 31, 5>, Conv2d<9, 3>, Relu, Conv2d<20, 5, 1, 2>, Relu, MaxPool<2>,
                       Conv2d<50, 3, 2>, Relu, Flatten, Dense<3>>;

constexpr Settings b32{.batch = 32, .budget = 4_GiB}, b128{.batch = 128, .budget = 4_GiB},
    guides{.batch = 128, .budget = 500_MiB};

} // namespace

TEST_CASE_TEMPLATE("cuDNN has engines within the plan's workspaces", Precision, Float, TF32, BFloat16, Half) {
    ask_all<networks::Guide, Precision>("guide", {b32, b128, guides});
    ask_all<networks::ResNet18, Precision>("resnet18", {b128});
    ask_all<Odd, Precision>("odd channels", {b32, b128});
}

#else

TEST_CASE("cuDNN has engines within the plan's workspaces") {
    MESSAGE("SKIPPED: this cuDNN takes no descriptions of GPUs");
}

#endif
