// What the Cuda device asks of CUDA, cuDNN and cuBLASLt, and what it does when they refuse: against a
// stand-in for them that records, and computes nothing. No number that is trained here means anything.
#include "stand_in.hpp"
#include "support.hpp"

#include <plimsoll/cuda.cuh>
#include <plimsoll/trainer/device_list.hpp>

#include <algorithm>
#include <numeric>

using namespace plimsoll;
namespace stand_in = plimsoll_test::stand_in;

namespace {

// Its second convolution is computed by Winograd's algorithm in Float, else by cuDNN.
using Net = Sequential<Image<10, 9, 3>, Conv2d<16, 3>, BatchNorm, Relu, MaxPool<2>, Conv2d<16, 3, 1, 1>, Relu,
                       Flatten, Dropout<0.5_p>, Dense<3>>;
using Small = Sequential<Image<8, 8, 1>, Conv2d<4, 3>, Relu, Conv2d<4, 3>, Relu, Flatten, Dense<1>>;

/// A machine that CUB launches kernels on: it looks at what they were compiled for.
stand_in::Options machine(stand_in::Options options) {
    options.compiled_for = PLIMSOLL_TEST_ARCHITECTURE;
    return options;
}
stand_in::Options two_gpus() {
    stand_in::Options options;
    options.devices = 2;
    return machine(options);
}
/// A fresh one. CUB remembers how many GPUs there were when it was first asked: two.
void reset() { stand_in::reset(two_gpus()); }

template <class Model>
InMemory<u8> pictures(int count) {
    std::vector<u8> images(static_cast<std::size_t>(Model::input.size() * count));
    std::iota(images.begin(), images.end(), u8{0});
    std::vector<Label> labels(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<Label>(i % 2);
    return InMemory<u8>(images, Model::input, labels);
}

/// Requires that nothing is left alive and nothing was done that may not be done.
void check_clean() {
    CHECK(stand_in::alive() == "");
    for (const std::string& violation : stand_in::violations()) FAIL_CHECK(violation);
}

template <class Model, class Precision>
using Job = Trainer<Model, InMemory<u8>, Precision, Cuda>;

int launches_of(const std::string& kernel) {
    int count = 0;
    for (const stand_in::Record& call : stand_in::calls())
        count += call.kernel.find(kernel) != std::string::npos ? 1 : 0;
    return count;
}

} // namespace

TEST_CASE_TEMPLATE("one device allocation, made at construction, of the plan's bytes", Precision, Float,
                   Half) {
    reset();
    const InMemory<u8> train = pictures<Net>(23), validation = pictures<Net>(7);
    {
        Job<Net, Precision> job(train, {.batch = 6, .budget = 32_MiB});
        CHECK(stand_in::count("cudaMalloc") == 1);
        CHECK(stand_in::device_bytes() == job.peak().count);
        CHECK(stand_in::count("cudaHostAlloc") == 1);
        const std::int64_t pinned = stand_in::pinned_bytes();
        const std::vector<OutsideBytes> outside = job.plan().outside;
        CHECK(std::any_of(outside.begin(), outside.end(),
                          [&](const OutsideBytes& each) { return each.bytes == pinned; }));

        static_cast<void>(job.fit({.epochs = 3, .progress = false}, validation));
        static_cast<void>(job.evaluate(validation));
        static_cast<void>(job.predict(validation));
        CHECK(stand_in::count("cudaMalloc") == 1);
        CHECK(stand_in::count("cudaHostAlloc") == 1);
        CHECK(stand_in::peak_device_bytes() == job.peak().count);
    }
    check_clean();
}

TEST_CASE("passes are recorded and repeated; the optimizer is one launch; pixels come from pinned memory") {
    reset();
    const InMemory<u8> train = pictures<Net>(24);
    {
        Job<Net, Float> job(train, {.batch = 6, .budget = 32_MiB});
        const int recorded = stand_in::count("cudaGraphInstantiate"),
                  repeated = stand_in::count("cudaGraphLaunch");
        const int updates = launches_of("Update");
        const std::size_t before = stand_in::calls().size();
        static_cast<void>(job.fit({.epochs = 2, .progress = false}));
        CHECK(stand_in::count("cudaGraphInstantiate") == recorded); // all were known from construction
        CHECK(stand_in::count("cudaGraphLaunch") == repeated + 8);
        CHECK(launches_of("Update") == updates + 8);
        const void* copies = nullptr;
        const void* work = nullptr;
        int sent = 0;
        for (std::size_t i = before; i < stand_in::calls().size(); ++i) {
            const stand_in::Record& call = stand_in::calls()[i];
            if (call.name == "cudaGraphLaunch") work = call.stream;
            if (call.name != "cudaMemcpyAsync" || call.direction != stand_in::Direction::host_to_device)
                continue;
            CHECK(!call.pageable);
            copies = call.stream;
            ++sent;
        }
        CHECK(sent == 2 * 8); // pixels and labels of each batch
        CHECK(copies != nullptr);
        CHECK(copies != work);
    }
    check_clean();
}

TEST_CASE("the next batch is sent before the host waits for this one") {
    reset();
    const InMemory<u8> train = pictures<Net>(24);
    Job<Net, Float> job(train, {.batch = 6, .budget = 32_MiB});
    const std::size_t before = stand_in::calls().size();
    static_cast<void>(job.fit({.progress = false}));
    std::string order; // p: pixels sent, g: a pass begun, w: waited for
    for (std::size_t i = before; i < stand_in::calls().size(); ++i) {
        const stand_in::Record& call = stand_in::calls()[i];
        if (call.name == "cudaGraphLaunch") order += 'g';
        if (call.name == "cudaMemcpyAsync" && call.bytes == 6 * Net::input.size()) order += 'p';
        if (call.name == "cudaStreamSynchronize" && order.back() != 'w') order += 'w';
    }
    CHECK(order == "pgpwgpwgpwgw");
}

TEST_CASE(
    "whichever call fails is told with its name and place, nothing is called after it, all is given back") {
    int calls = 0; // but for those of destructors
    const auto work = [&] {
        const InMemory<u8> train = pictures<Small>(5);
        Job<Small, Half> job(train, {.batch = 3, .budget = 32_MiB});
        static_cast<void>(job.fit({.progress = false}, train));
        calls = stand_in::counted_calls();
    };
    reset();
    work();
    MESSAGE(calls << " calls of a job's life fail in turn");
    for (int nth = 1; nth <= calls; ++nth) {
        reset();
        stand_in::fail_call(nth);
        CAPTURE(nth);
        std::string said;
        try {
            work();
            FAIL_CHECK("nothing was thrown");
        } catch (const device_error& failed) {
            said = failed.what();
        }
        const bool names_call =
            said.find(" failed") != std::string::npos && said.find(".cuh:") != std::string::npos;
        const bool names_bytes =
            said.find(" B (") != std::string::npos && said.find("to give") != std::string::npos;
        if (!names_call && !names_bytes) FAIL_CHECK(said);
        for (const std::string& call : stand_in::continued()) FAIL_CHECK(call << " after: " << said);
        check_clean();
    }
}

TEST_CASE("what fails in the GPU's own time is told by what meets it first, with what was under way") {
    const InMemory<u8> train = pictures<Small>(9);
    const auto said = [&](const char* call, int nth, auto use) {
        reset();
        Job<Small, Float> job(train, {.batch = 3, .budget = 32_MiB});
        stand_in::fail_named(call, nth, 700); // cudaErrorIllegalAddress
        std::string message = support::message_of<device_error>([&] { use(job); });
        if (!support::contains(message, ".cuh:")) FAIL_CHECK(message);
        return message;
    };
    const auto fit = [](auto& job) { job.fit({.progress = false}); };
    const auto evaluate = [&](auto& job) { job.evaluate(train); };
    const auto predict = [&](auto& job) { job.predict(train); };
    CHECK(support::contains(said("cudaStreamSynchronize", 3, fit), "(by step 3)"));
    for (const char* call : {"cudaEventSynchronize", "cudaStreamWaitEvent", "cudaMemcpyAsync",
                             "cudaEventRecord", "cudaGraphLaunch", "cudaMemsetAsync", "cudaLaunchKernel"}) {
        CAPTURE(call);
        CHECK(support::contains(said(call, 1, fit), "(by step 1)"));
        CHECK(support::contains(said(call, 1, predict), "(while predicting)"));
        CHECK(support::contains(said(call, 1, evaluate), "(while evaluating)"));
    }
    const std::string ring = said("cudaEventRecord", 1, fit);
    CHECK(support::contains(ring, "batch_ring.cuh:"));
}

TEST_CASE("where there is no room for libraries both numbers are told") {
    const InMemory<u8> train = pictures<Small>(9);
    // cudaErrorMemoryAllocation, CUDNN_STATUS_EXECUTION_FAILED
    for (const auto& [call, status] : {std::pair("cudaGraphInstantiate", 2), {"cudnnBackendExecute", 5000}}) {
        reset();
        stand_in::fail_named(call, 1, status);
        const std::string said = support::message_of<device_error>(
            [&] { Job<Small, Half> job(train, {.batch = 3, .budget = 32_MiB}); });
        CAPTURE(said);
        CHECK(support::contains(said, call));
        CHECK(support::contains(said, "a .budget below this arena's "));
        CHECK(support::contains(said, " leaves Cuda's libraries more than "));
        check_clean();
    }
}

TEST_CASE("engines are chosen by what they promise") {
    enum : int { tensor_core = 0, down_converts = 1, reduced = 2, varies = 4, winograd = 5 };
    const auto chosen = [](auto precision, std::vector<stand_in::Engine> engines) {
        stand_in::Options options = two_gpus();
        options.engines = std::move(engines);
        stand_in::reset(options);
        const InMemory<u8> train = pictures<Small>(5);
        Job<Small, decltype(precision)> job(train, {.batch = 3, .budget = 32_MiB});
        return job.plan().choices.at(1); // the second convolution's: the first is by our kernels
    };
    const std::vector<stand_in::Engine> engines{
        {.global_index = 1, .numerical_notes = {varies}},
        {.global_index = 2, .workspace = std::int64_t{1} << 30},
        {.global_index = 3, .supported = false},
        {.global_index = 10, .compiles = false},
        {.global_index = 4, .behavior_notes = {0}}, // compiled when it is chosen
        {.global_index = 5, .numerical_notes = {tensor_core, reduced}},
        {.global_index = 6, .numerical_notes = {tensor_core}},
        {.global_index = 7, .numerical_notes = {winograd}},
        {.global_index = 8, .numerical_notes = {down_converts}},
        {.global_index = 9, .workspace = 512}};
    CHECK(support::contains(chosen(Float{}, engines), "forward 9 (512 B)"));
    CHECK(support::contains(chosen(Half{}, engines), "forward 6 (0 B)"));
    CHECK(
        support::contains(chosen(Float{}, {{.global_index = 4, .behavior_notes = {0}}}), "forward 4 (0 B)"));

    { // jobs in TF32 want a newer GPU than this may have been compiled for
        stand_in::Options options = two_gpus();
        options.engines = engines;
        stand_in::reset(options);
        const Cuda device;
        detail::cudnn::Convolution wanted{.images = 2,
                                          .input = {6, 6, 4},
                                          .output = {4, 4, 4},
                                          .window = {.kernel = 3},
                                          .tensor_cores = true,
                                          .workspace = 1 << 20};
        const detail::cudnn::ThisGpu gpu{device.cudnn()};
        CHECK(detail::cudnn::ConvolutionPlan(gpu, wanted).engine() == 6);
        wanted.tensor_cores = false;
        CHECK(detail::cudnn::ConvolutionPlan(gpu, wanted).engine() == 9);
    }

    const std::string too_large = support::message_of<device_error>([&] {
        static_cast<void>(
            chosen(Float{}, {{.workspace = std::int64_t{1} << 30}, {.workspace = 999'999'999}}));
    });
    CHECK(support::contains(too_large, "Conv2d 6x6x4 to 4x4x4, kernel 3, 2 images"));
    CHECK(support::contains(too_large, "the least it asks for is 999999999 B"));
    const std::string varying = support::message_of<device_error>(
        [&] { static_cast<void>(chosen(Half{}, {{.numerical_notes = {varies}}})); });
    CHECK(support::contains(varying, "repeats its results"));
    check_clean();
}

TEST_CASE("machines that will not do are refused in a sentence") {
    const InMemory<u8> train = pictures<Small>(5);
    const Settings settings{.batch = 3, .budget = 32_MiB};
    const auto refusal = [&](auto precision, const stand_in::Options& options, Settings wanted) {
        stand_in::reset(machine(options));
        std::string said;
        try {
            Job<Small, decltype(precision)> job(train, wanted);
            FAIL_CHECK("nothing was thrown");
        } catch (const error& refused) {
            said = refused.what();
        }
        check_clean();
        return said;
    };
    CHECK(support::contains(refusal(Float{}, {.devices = 0}, settings), "there is no NVIDIA GPU here"));
    CHECK(support::contains(refusal(Float{}, {.old_driver = true}, settings), "update the driver"));
    Settings second = settings;
    second.ordinal = 2;
    CHECK(support::contains(refusal(Float{}, {.devices = 2}, second),
                            ".ordinal = 2: CUDA counts 0 Stand-in, 1 Stand-in"));
    CHECK(support::contains(
        refusal(BFloat16{}, {.compute_major = 7, .compute_minor = 5}, settings),
        "BFloat16 needs a GPU of compute capability 8.0 or newer, Stand-in has 7.5; use Half"));
    CHECK(support::contains(
        refusal(TF32{}, {.compute_major = 7, .compute_minor = 5}, settings),
        "TF32 needs a GPU of compute capability 8.0 or newer, Stand-in has 7.5; use Float"));
    if (PLIMSOLL_TEST_ARCHITECTURE < 80) // whose code the driver of a newer GPU translates
        CHECK(support::contains(refusal(BFloat16{}, {.compute_major = 9, .compute_minor = 0}, settings),
                                "needs code for compute capability 8.0 or newer, this program's is for "));
    const std::string full =
        refusal(Float{}, {.memory = std::int64_t{1} << 30, .taken_by_others = (std::int64_t{1} << 30) - 4096},
                settings);
    CHECK(support::contains(full, "has only 4096 B"));

    const auto without_code = [&](int status, int major, int minor) {
        stand_in::reset(machine({.compute_major = major, .compute_minor = minor}));
        stand_in::fail_named("cudaFuncGetAttributes", 1, status);
        std::string said = support::message_of<device_error>([&] { Job<Small, Float> job(train, settings); });
        check_clean();
        return said;
    };
    CHECK(support::contains(without_code(209, 8, 6), // cudaErrorNoKernelImageForDevice
                            "no code for Stand-in (compute capability 8.6): build it with "
                            "CMAKE_CUDA_ARCHITECTURES=86"));
    CHECK(support::contains(
        without_code(209, 6, 1),
        "Stand-in (compute capability 6.1) is too old: the Cuda device needs 7.5 or newer"));
    CHECK(support::contains(without_code(222, 12, 0), // cudaErrorUnsupportedPtxVersion
                            "the driver is older than the compiler of this program"));

    reset();
    stand_in::fail_named("cudaMalloc", 1, 2); // cudaErrorMemoryAllocation: another process was faster
    const std::string taken =
        support::message_of<device_error>([&] { Job<Small, Float> job(train, settings); });
    CHECK(support::contains(taken, "the GPU has no"));
    CHECK(support::contains(taken, "another process took them"));
    check_clean();
}

TEST_CASE("two jobs on two GPUs each keep to theirs") {
    reset();
    const InMemory<u8> train = pictures<Small>(5);
    {
        Job<Small, Float> first(train, {.batch = 3, .budget = 32_MiB});
        Job<Small, Half> second(train, {.batch = 3, .budget = 32_MiB, .ordinal = 1});
        static_cast<void>(first.fit({.progress = false}));
        static_cast<void>(second.fit({.progress = false}));
        static_cast<void>(first.evaluate(train));
    }
    check_clean();
}

TEST_CASE("a plan names the GPU; a GPU that is passed over is told why") {
    reset();
    const InMemory<u8> train = pictures<Small>(5);
    {
        Job<Small, Float> job(train, {.batch = 3, .budget = 32_MiB, .ordinal = 1});
        const std::string plan = job.plan().str();
        CHECK(support::contains(plan, "\nGPU 1, Stand-in (compute capability 9.0), cuDNN 9."));
        CHECK(support::contains(plan, "\n  2 Conv2d: cuDNN engines: forward "));
    }
    check_clean();
    using Both = DeviceList<Host, Cuda>;
    CHECK(Both::passed_over() == "");
    stand_in::reset(machine({.old_driver = true}));
    CHECK(support::contains(Both::passed_over(), "Cuda: the GPU's driver is for CUDA "));
    CHECK(Both::with("auto", []<class D>(std::type_identity<D>) { return std::string(D::name); }) == "Host");
    stand_in::reset(machine({.devices = 0}));
    CHECK(support::contains(Both::passed_over(), "Cuda: there is no NVIDIA GPU here"));
    CHECK(DeviceList<Host>::passed_over() == "");
}

TEST_CASE_TEMPLATE("a predictor asks for no gradients", Precision, Float, Half) {
    reset();
    const support::TemporaryFolder folder;
    const InMemory<u8> train = pictures<Net>(5);
    const std::string path = folder / "weights.safetensors";
    {
        Job<Net, Precision>(train, {.batch = 3, .budget = 32_MiB}).save(path);
        Predictor<Net, Precision, Cuda> predictor(path, {.batch = 3});
        const std::vector<std::string> choices = predictor.plan().choices;
        CHECK(choices.size() == 3); // two convolutions and a Dense layer
        for (const std::string& choice : choices) CHECK(choice.find("gradient") == std::string::npos);
        static_cast<void>(predictor.predict(train));
    }
    check_clean();
}
