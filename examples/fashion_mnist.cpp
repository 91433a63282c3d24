// Trains a small network on 60,000 pictures of clothes, in a budget smaller than the data set.
#include PLIMSOLL_DEVICES // <plimsoll/devices.hpp>, or with nvcc <plimsoll/devices.cuh>

#include <CLI/CLI.hpp>

#include <cstdio>
#include <iostream>

using namespace plimsoll;

// clang-format off: a line a stage
using Net =
    Sequential<Image<28, 28, 1>, Conv2d<32, 3, 1, 1>, Relu, MaxPool<2>, Conv2d<64, 3, 1, 1>, Relu,
               Conv2d<64, 3, 1, 1>, Relu, MaxPool<2>, Flatten, Dropout<0.25_p>, Dense<128>, Relu, Dense<10>>;
// clang-format on
template <class Precision, class Device>
using Job = Trainer<Net, InMemory<u8>, Precision, Device>;

constexpr Settings defaults{.batch = 64, .budget = 32_MiB, .seed = 1};
static_assert(fits<Job<Float, Host>, defaults>); // out of memory is a compile error

struct Flags {
    int epochs = 3;
    Settings settings = defaults;
    std::string budget = "32MiB", data = "/usr/share/datasets/fashion-mnist", precision = "float",
                device = "auto", weights = "fashion_mnist.safetensors";
};

template <class Precision, class Device>
int run(const Flags& flags) {
    if (!path_exists(flags.data))
        throw io_error(text("there is no folder \"", flags.data,
                            "\"; Debian's package dataset-fashion-mnist brings the pictures"));
    InMemory<u8> train{flags.data + "/train"}, test{flags.data + "/t10k"};
    train.set_class_names({"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt",
                           "Sneaker", "Bag", "Ankle boot"});
    Job<Precision, Device> job{train, flags.settings};
    std::cout << summary<Net>() << '\n' << job.plan() << '\n' << std::flush;

    const History history = job.fit({.epochs = flags.epochs}, test);
    job.save(flags.weights);
    std::printf("%sweights saved to %s\n", history.interrupted ? "stopped; " : "", flags.weights.c_str());
    std::printf("test accuracy: %.2f %%\n", 100 * job.evaluate(test).accuracy);
    return history.interrupted ? 130 : 0;
}

int main(int argc, char** argv) try {
    Flags flags;
    CLI::App app{"Trains a convolutional network on Fashion-MNIST (Debian's package dataset-fashion-mnist)."};
    app.add_option("--epochs", flags.epochs, "times all training pictures are seen")
        ->capture_default_str()
        ->check(CLI::NonNegativeNumber);
    app.add_option("--batch", flags.settings.batch, "pictures per optimizer step")->capture_default_str();
    app.add_option("--precision", flags.precision, "float, bfloat16 or half")
        ->capture_default_str()
        ->check(CLI::IsMember({"float", "bfloat16", "half"}));
    app.add_option("--device", flags.device, text(Devices::names(), ", or auto: a GPU where there is one"))
        ->capture_default_str();
    app.add_option("--ordinal", flags.settings.ordinal, "which of several GPUs")->capture_default_str();
    app.add_option("--budget", flags.budget, "bytes of the one allocation, as in 2.7GB or 500MiB")
        ->capture_default_str();
    app.add_option("--seed", flags.settings.seed, "of initial weights, order and dropout")
        ->capture_default_str();
    app.add_option("--threads", flags.settings.threads,
                   "threads; 0 for all this process may use; results do not depend on it")
        ->capture_default_str();
    app.add_option("--data", flags.data, "folder of the four IDX files")->capture_default_str();
    app.add_option("--weights", flags.weights, "where to save the weights (safetensors)")
        ->capture_default_str();
    CLI11_PARSE(app, argc, argv);
    flags.settings.budget = parse_bytes(flags.budget);
    return Devices::with(flags.device, [&]<class Device>(std::type_identity<Device>) {
        return flags.precision == "half"       ? run<Half, Device>(flags)
               : flags.precision == "bfloat16" ? run<BFloat16, Device>(flags)
                                               : run<Float, Device>(flags);
    });
} catch (const plimsoll::error& problem) {
    std::fprintf(stderr, "fashion_mnist: %s\n", problem.what());
    return 1;
}
