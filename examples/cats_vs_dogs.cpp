// Cats and dogs at 150x150x3, all of them, inside a budget: from TFRecord files, processed arrays or
// pictures; in memory, on disk or decoded as they are needed.
#include PLIMSOLL_DEVICES // <plimsoll/devices.hpp>, or with nvcc <plimsoll/devices.cuh>
#include <plimsoll/source/open.hpp>

#include <CLI/CLI.hpp>

#include <glob.h>
#include <sys/resource.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>

using namespace plimsoll;

// clang-format off: a line a stage
using Net = Sequential<Image<150, 150, 3>, Conv2d<32, 3>, Relu, MaxPool<2>, Conv2d<64, 3>, Relu, MaxPool<2>,
                       Conv2d<128, 3>, Relu, MaxPool<2>, Conv2d<128, 3>, Relu, MaxPool<2>, Flatten,
                       Dropout<0.5_p>, Dense<512>, Relu, Dense<1>>;
// clang-format on
using Pictures = AnySource<u8>; // which source it is, --source says when the program runs
template <class Precision, class Device>
using Job = Trainer<Net, Pictures, Precision, Device>;

constexpr Settings defaults{.batch = 128, .budget = 500_MiB};
static_assert(fits<Job<Float, Host>, defaults>); // out of memory is a compile error

namespace {

struct Flags {
    std::string data, source = "auto", split = "train", validation, budget = "500MiB", precision = "float";
    std::string device = "auto", csv, save, plan;
    int epochs = 10;
    Settings settings = defaults;
};

struct Parts {
    Pictures train, validation;
};

/// "val" of "val[:50%]".
std::string split_of(const std::string& slice) { return slice.substr(0, slice.find('[')); }

/// What is read, before anything is held in memory. \param split of processed arrays in a folder
Pictures open_data(const Flags& flags, const std::string& split) {
    const bool folder = std::filesystem::is_directory(flags.data);
    const std::string prefix = folder ? flags.data + "/" + split : flags.data;
    const bool arrays = path_exists(prefix + "_images.npy");
    if (split != "train" && !(folder && arrays))
        throw argument_error(text("there is no split \"", split, "\": \"", flags.data, "\" holds no ", split,
                                  "_images.npy; without it, all pictures are \"train\""));
    if (flags.source == "mapped") {
        if (!arrays)
            throw io_error(text("no \"", prefix,
                                "_images.npy\": --source mapped reads processed arrays; where \"", flags.data,
                                "\" is TFRecord files or pictures, run plimsoll-preprocess first"));
        return Pictures(MemoryMapped<u8>(prefix));
    }
    if (flags.source == "streaming") {
        if (arrays && !folder)
            throw io_error(text("\"", prefix,
                                "_images.npy\" is an array: --source streaming decodes TFRecord "
                                "files and pictures; use mapped or memory"));
        return Pictures(Streaming<u8>(flags.data, Net::input));
    }
    return plimsoll::open(flags.data, Net::input, {}, split);
}

/// Training and validation, which share no picture.
Parts part(const Pictures& all, const Flags& flags) {
    const std::string split = split_of(flags.split), other = split_of(flags.validation);
    const Pictures used = all.slice(flags.split.substr(split.size()));
    if (!other.empty() && other != split)
        return {used, open_data(flags, other).slice(flags.validation.substr(other.size()))};
    if (flags.validation.empty()) {
        const bool arrays = all.name().ends_with(".npy") && std::filesystem::is_directory(flags.data);
        if (arrays && split == "train" && path_exists(flags.data + "/val_images.npy"))
            return {used, open_data(flags, "val")};
        return {used.slice("[:85%]"), used.slice("[85%:]")};
    }
    const SampleRange train = parse_slice(flags.split, all.size(), split);
    const SampleRange validation = parse_slice(flags.validation, all.size(), split);
    if (train.first < validation.first + validation.count && validation.first < train.first + train.count)
        throw argument_error(text("--split \"", flags.split, "\" and --validation \"", flags.validation,
                                  "\" share pictures: what is trained on cannot be validated on"));
    return {used, all.slice(flags.validation.substr(other.size()))};
}

/// Bytes on disk of what `all` reads.
std::uint64_t stored_bytes(const Pictures& all, const std::string& data) {
    namespace fs = std::filesystem;
    const bool folder = fs::is_directory(data);
    std::string pattern = folder ? data + "/*.tfrecord*" : data;
    if (all.name().ends_with(".npy")) pattern = all.name();
    std::uint64_t bytes = 0;
    ::glob_t found{};
    ::glob(pattern.c_str(), GLOB_BRACE | GLOB_TILDE, nullptr, &found);
    for (std::size_t i = 0; i < found.gl_pathc; ++i)
        if (const std::string path = found.gl_pathv[i]; !path.ends_with(record_index_suffix))
            bytes += fs::file_size(path);
    ::globfree(&found);
    if (bytes > 0 || !folder) return bytes;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(data))
        if (entry.is_regular_file()) bytes += entry.file_size();
    return bytes;
}

/// What pictures would take as the guide's arrays, and take on disk.
void describe(const char* name, const Pictures& pictures, double stored_each) {
    const Shape shape = pictures.shape();
    const auto count = static_cast<std::int64_t>(pictures.size());
    const Bytes as_float{count * shape.size() * 4};
    const Bytes stored{static_cast<std::int64_t>(static_cast<double>(count) * stored_each)};
    std::printf("%-11s %lld x %d x %d x %d: %s as float32, %s on disk\n", name, static_cast<long long>(count),
                shape.height, shape.width, shape.channels, to_string(as_float).c_str(),
                to_string(stored).c_str());
}

/// \throws data_error naming a class of which there is no picture.
void require_classes(const char* purpose, const Pictures& pictures) {
    std::vector<std::uint64_t> counts = class_counts(pictures);
    counts.resize(std::max<std::size_t>(counts.size(), 2)); // all labels may be 0
    const std::vector<std::string>& names = pictures.class_names();
    for (std::size_t c = 0; c < counts.size(); ++c)
        if (counts[c] == 0)
            throw data_error(text("none of the ", pictures.size(), " pictures for ", purpose, ", \"",
                                  pictures.name(), "\", is of class ", c,
                                  c < names.size() ? text(" (", names[c], ")") : "",
                                  ": choose another --split or --validation"));
}

/// The most memory that this process has had at once.
std::int64_t resident_peak() {
    ::rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return std::int64_t{usage.ru_maxrss} * 1024;
}

/// A line an epoch, on disk as soon as it is written.
class Csv {
  public:
    /// \throws io_error where it cannot be written.
    explicit Csv(const std::string& path) : path_(path), out_(path) {
        line("epoch,train_loss,train_accuracy,val_loss,val_accuracy,images_per_second,arena_peak_bytes,"
             "rss_peak_bytes");
    }
    void add(const EpochRecord& epoch, Bytes arena) {
        char numbers[160]; // 17 digits: read back, they are the same doubles
        std::snprintf(numbers, sizeof numbers, "%.17g,%.17g,%.17g,%.17g,%.1f", epoch.train.loss,
                      epoch.train.accuracy, epoch.validation.loss, epoch.validation.accuracy,
                      epoch.images_per_second);
        line(text(epoch.epoch, ',', numbers, ',', arena.count, ',', resident_peak()));
    }

  private:
    void line(std::string_view content) {
        if (!(out_ << content << '\n' << std::flush))
            throw io_error(text("cannot write \"", path_, "\": ", std::strerror(errno)));
    }
    std::string path_;
    std::ofstream out_;
};

template <class Precision, class Device>
int train(const Flags& flags) {
    const std::string split = split_of(flags.split);
    const Pictures all = open_data(flags, split.empty() ? "train" : split);
    Parts parts = part(all, flags);
    const double stored_each =
        static_cast<double>(stored_bytes(all, flags.data)) / static_cast<double>(all.size());
    describe("all", all, stored_each);
    describe("training", parts.train, stored_each);
    describe("validation", parts.validation, stored_each);
    require_classes("training", parts.train);
    require_classes("validation", parts.validation);
    std::fflush(stdout);
    if (flags.source == "memory")
        parts = {Pictures(InMemory<u8>(parts.train)), Pictures(InMemory<u8>(parts.validation))};

    Job<Precision, Device> job(parts.train, flags.settings); // makes the one allocation
    const PlanReport plan = job.plan();
    std::printf("device peak %s of a budget of %s, however many pictures there are\n%s\n",
                to_string(job.peak()).c_str(), to_string(flags.settings.budget).c_str(),
                plan.picture.title.c_str());
    if (!plan.machine.empty()) std::printf("%s\n", plan.machine.c_str());
    for (const OutsideBytes& beside : plan.outside)
        std::printf("outside: %s, %s\n", beside.name.c_str(), to_string(Bytes{beside.bytes}).c_str());
    std::fflush(stdout);
    if (!flags.plan.empty()) plan.write_html(flags.plan);
    if (!flags.save.empty()) const AtomicFile writable(flags.save); // better refused now than after training
    std::optional<Csv> csv;
    if (!flags.csv.empty()) csv.emplace(flags.csv);

    const auto on_epoch = [&](const EpochRecord& epoch) {
        if (csv) csv->add(epoch, job.peak());
        return Control::proceed;
    };
    const History history = job.fit({.epochs = flags.epochs, .on_epoch = on_epoch}, parts.validation);
    if (!flags.save.empty()) {
        job.save(flags.save);
        std::printf("weights saved to %s\n", flags.save.c_str());
    }
    if (!history.empty())
        std::printf("validation accuracy %.2f %%, %.0f pictures a second, resident peak %s\n",
                    100 * history.last().validation.accuracy, history.last().images_per_second,
                    to_string(Bytes{resident_peak()}).c_str());
    return history.interrupted ? 130 : 0;
}

int fail(const char* why, int code) {
    std::fprintf(stderr, "cats_vs_dogs: %s\n", why);
    return code;
}

} // namespace

int main(int argc, char** argv) try {
    Flags flags;
    CLI::App app{"Trains a convolutional network on cats and dogs inside a fixed memory budget."};
    app.add_option(
           "--data", flags.data,
           "TFRecord files (a pattern), a folder of them, of pictures or of arrays, or a prefix of arrays")
        ->required();
    app.add_option("--source", flags.source, "memory, mapped, streaming, or auto: by what is there")
        ->capture_default_str()
        ->check(CLI::IsMember({"memory", "mapped", "streaming", "auto"}));
    app.add_option("--split", flags.split,
                   "which pictures, as in train[:1000]; val_images.npy or the last 15 % validate")
        ->capture_default_str();
    app.add_option("--validation", flags.validation,
                   "which pictures validate instead, as in train[85%:] or test");
    app.add_option("--budget", flags.budget, "bytes of the one allocation, as in 2.7GB or 500MiB")
        ->capture_default_str();
    app.add_option("--batch", flags.settings.batch, "pictures per optimizer step")->capture_default_str();
    app.add_option("--epochs", flags.epochs, "times all training pictures are seen")
        ->capture_default_str()
        ->check(CLI::Range(0, 1000000));
    app.add_option("--seed", flags.settings.seed, "of initial weights, order and dropout")
        ->capture_default_str();
    app.add_option("--threads", flags.settings.threads,
                   "threads; 0 for all this process may use; results do not depend on it")
        ->capture_default_str();
    app.add_option("--precision", flags.precision, "float, tf32, bfloat16 or half")
        ->capture_default_str()
        ->check(CLI::IsMember({"float", "tf32", "bfloat16", "half"}));
    app.add_option("--device", flags.device, text(Devices::names(), ", or auto: a GPU where there is one"))
        ->capture_default_str();
    app.add_option("--ordinal", flags.settings.ordinal, "which of several GPUs")->capture_default_str();
    app.add_option("--csv", flags.csv, "file for a line an epoch");
    app.add_option("--save", flags.save, "file for the weights (safetensors)");
    app.add_option("--plan", flags.plan, "file for the memory plan (HTML)");
    try {
        app.parse(argc, argv);
    } catch (const CLI::Success& asked_for_help) {
        return app.exit(asked_for_help);
    }
    flags.settings.budget = parse_bytes(flags.budget);
    return Devices::with(flags.device, [&]<class Device>(std::type_identity<Device>) {
        return flags.precision == "half"       ? train<Half, Device>(flags)
               : flags.precision == "bfloat16" ? train<BFloat16, Device>(flags)
               : flags.precision == "tf32"     ? train<TF32, Device>(flags)
                                               : train<Float, Device>(flags);
    });
} catch (const CLI::ParseError& problem) {
    return fail(problem.what(), 2);
} catch (const argument_error& problem) {
    return fail(problem.what(), 2);
} catch (const std::exception& problem) {
    return fail(problem.what(), 1);
}
