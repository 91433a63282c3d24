// Trains the network of docs/design.md or ResNet-18 at a driver's word, so that programs can take turns: a
// command a line on stdin, its answer a line on stdout. bench/peers/protocol.py says which, and has the
// peers' side of it. `train_peer --write PREFIX` makes up pictures and initial weights for all of them.
#include "process.hpp"
#include "workload.hpp"
#ifndef TRAIN_PEER_SMALL // with it: what bench/peers/dlib_step.cpp does, and no more
#include "pictures.hpp"
#endif

#include <cstdio>
#include <iostream>
#include <optional>
#include <sstream>
#include <string>
#include <utility>

namespace {

using namespace workload;

constexpr const char* usage = R"(usage: train_peer [flags]
  --network NAME    guide or resnet18 (guide)
  --precision NAME  float or bfloat16 (float)
  --batch N         pictures of an optimizer step (32)
  --threads N       0: as many as there are (0)
  --budget SIZE     of the arena, as in 100MiB; without it what is free
  --weights FILE    initial weights, safetensors
  --data PREFIX     <PREFIX>_images.npy and <PREFIX>_labels.npy
  --records PATTERN train from JPEGs in TFRecord files instead (guide)
  --train N         on the first N of the records; the others are for `validate` (0: on all)
  --seed N          of shuffles, dropout and the weights of --write (1)
  --no-dropout      train without dropout
  --plans           print the bytes of the plans there are for these settings, and end
  --write PREFIX    write <PREFIX>_images.npy, <PREFIX>_labels.npy and <PREFIX>.safetensors, and end
  --write-records FILE  write a TFRecord file of JPEGs, and end
  --pictures N      how many pictures are written (512)
)";

struct Flags {
    std::string network = "guide", precision = "float", weights, data, records, write, write_records;
    Settings settings{.batch = 32, .seed = 1};
    std::uint64_t pictures = 512, train = 0;
    bool dropout = true, plans = false;
};

Flags parse(int count, char** arguments) {
    Flags flags;
    const auto whole = [](const std::string& name, const std::string& value, int least) {
        std::size_t end = 0;
        const int number = std::stoi(value, &end);
        if (end != value.size() || number < least) throw argument_error(name + " " + value + " is no number");
        return number;
    };
    for (int i = 1; i < count; ++i) {
        const std::string name = arguments[i];
        if (name == "--no-dropout") {
            flags.dropout = false;
            continue;
        }
        if (name == "--plans") {
            flags.plans = true;
            continue;
        }
        if (i + 1 == count) throw argument_error(text("what is ", name, "?\n", usage));
        const std::string value = arguments[++i];
        if (name == "--network")
            flags.network = value;
        else if (name == "--precision")
            flags.precision = value;
        else if (name == "--batch")
            flags.settings.batch = whole(name, value, 1);
        else if (name == "--threads")
            flags.settings.threads = whole(name, value, 0);
        else if (name == "--budget")
            flags.settings.budget = parse_bytes(value);
        else if (name == "--weights")
            flags.weights = value;
        else if (name == "--data")
            flags.data = value;
        else if (name == "--records")
            flags.records = value;
        else if (name == "--train")
            flags.train = static_cast<std::uint64_t>(whole(name, value, 0));
        else if (name == "--seed")
            flags.settings.seed = static_cast<std::uint64_t>(whole(name, value, 0));
        else if (name == "--write")
            flags.write = value;
        else if (name == "--write-records")
            flags.write_records = value;
        else if (name == "--pictures")
            flags.pictures = static_cast<std::uint64_t>(whole(name, value, 1));
        else
            throw argument_error(text("what is ", name, "?\n", usage));
    }
    if (flags.train > 0 && flags.records.empty()) throw argument_error("--train is for --records");
    // Said out loud, so that a plan does not reckon with a thread for every lane.
    if (flags.settings.threads == 0) flags.settings.threads = Host().workers();
    return flags;
}

/// A network whose dropout drops nothing; its weights keep their names.
template <class Layer>
struct Undropped {
    using type = Layer;
};
template <Probability P>
struct Undropped<Dropout<P>> {
    using type = Dropout<0_p>;
};
template <class... Layers>
struct Undropped<Sequential<Layers...>> {
    using type = Sequential<typename Undropped<Layers>::type...>;
};

/// A job that listens. \tparam Plain the same network without dropout \tparam Source what it trains on
template <class Model, class Plain, class Source, class Precision>
class Session {
  public:
    using Job = Trainer<Model, Source, Precision, Host>;

    /// \param held_out what `validate` evaluates
    Session(const Flags& flags, View<Source> source, std::optional<View<Source>> held_out = {})
        : flags_(flags),
          source_(std::move(source)),
          held_out_(std::move(held_out)),
          job_(source_, flags.settings) {
        if (!flags.weights.empty()) job_.load(flags.weights);
    }

    void serve() {
        answer("ready {\"program\": \"Plimsoll ", PLIMSOLL_VERSION_MAJOR, ".", PLIMSOLL_VERSION_MINOR, ".",
               PLIMSOLL_VERSION_PATCH, "\", \"threads\": ", flags_.settings.threads,
               ", \"pictures\": ", source_.size(), ", \"micro_batch\": ", job_.cut().micro_batch,
               ", \"arena_bytes\": ", job_.peak().count,
               ", \"resident_bytes\": ", process::status_bytes("VmRSS").count, "}");
        for (std::string line; std::getline(std::cin, line) && line != "quit";) {
            std::istringstream words(line);
            std::string command;
            std::uint64_t number = 0;
            words >> command >> number;
            const double began = process::seconds();
            if (command == "train" && number > 0) {
                const double loss = run(job_, number).back();
                answer(process::seconds() - began, " ", loss);
            } else if (command == "evaluate") {
                const Metrics metrics = job_.evaluate(source_);
                answer(process::seconds() - began, " ", metrics.samples);
            } else if (command == "losses" && number > 0) {
                double rate = 0;
                words >> rate;
                answer_losses(number, rate);
            } else if (command == "pass") { // all pictures once, in a new order
                const EpochRecord record = job_.fit({.progress = false}).last();
                answer(process::seconds() - began, " ", record.train.samples, " ", record.train.loss);
            } else if (command == "validate" && held_out_) {
                const Metrics metrics = job_.evaluate(*held_out_);
                answer(process::seconds() - began, " ", metrics.samples, " ", metrics.accuracy);
            } else {
                throw argument_error(text("no command \"", line, "\""));
            }
        }
        answer(process::status_bytes("VmHWM").count);
    }

  private:
    template <class... Words>
    static void answer(const Words&... words) {
        std::ostringstream line;
        line.precision(9);
        (line << ... << words);
        std::cout << line.str() << std::endl; // flushed: somebody waits for it
    }
    /// Losses of `steps` steps over the pictures in their order, from the first.
    template <class AnyJob>
    std::vector<double> run(AnyJob& job, std::uint64_t steps) {
        if (source_.size() % static_cast<std::uint64_t>(flags_.settings.batch) != 0)
            throw argument_error(text(source_.size(), " pictures are no whole number of batches"));
        std::vector<double> losses;
        job.fit({.epochs = static_cast<int>(steps),
                 .shuffle = false,
                 .progress = false,
                 .on_step = [&](const StepRecord& step) {
                     losses.push_back(step.metrics.loss);
                     return losses.size() == steps ? Control::stop : Control::proceed;
                 }});
        return losses;
    }
    /// Of steps without dropout from the given weights: by a job of its own.
    void answer_losses(std::uint64_t steps, double rate) {
        Trainer<Plain, Source, Precision, Host> job(source_, flags_.settings, {.learning_rate = rate});
        job.load(flags_.weights);
        std::string line;
        for (const double loss : run(job, steps)) line += text(line.empty() ? "" : " ", std::to_string(loss));
        answer(line);
    }

    const Flags& flags_;
    View<Source> source_;
    std::optional<View<Source>> held_out_;
    Job job_;
};

template <class Model, class Precision>
void start_with_arrays(const Flags& flags) {
    using Plain = typename Undropped<Model>::type;
    const InMemory<u8> arrays(flags.data + "_images.npy", flags.data + "_labels.npy");
    const View source(arrays);
    if (flags.dropout)
        Session<Model, Plain, InMemory<u8>, Precision>(flags, source).serve();
    else
        Session<Plain, Plain, InMemory<u8>, Precision>(flags, source).serve();
}

#ifdef TRAIN_PEER_SMALL

void run(const Flags& flags) { start_with_arrays<Guide, Float>(flags); }

#else

/// Bytes of the smallest plan and of the one without a budget.
template <class Blueprint>
void print_plans(Settings settings) {
    settings.budget = all_free_memory;
    std::cout << "{\"least\": " << Blueprint::least_bytes(settings)
              << ", \"usual\": " << Blueprint::peak_bytes(settings) << "}\n";
}

template <class Model, class Precision>
void start(const Flags& flags) {
    if (flags.plans) {
        print_plans<typename Trainer<Model, InMemory<u8>, Precision, Host>::Blueprint>(flags.settings);
    } else if (flags.records.empty()) {
        start_with_arrays<Model, Precision>(flags);
    } else if constexpr (std::same_as<Model, Guide>) {
        const Streaming<u8> records(flags.records, Model::input);
        using Listening = Session<Model, Model, Streaming<u8>, Precision>;
        if (flags.train == 0) return Listening(flags, View(records)).serve();
        if (flags.train >= records.size())
            throw argument_error(text("--train ", flags.train, " of ", records.size(), " records"));
        Listening(flags, records.take(flags.train), records.skip(flags.train)).serve();
    } else {
        throw argument_error("--records is for --network guide");
    }
}

/// Pictures that the network can learn, and weights to begin with.
template <class Model>
void write(const Flags& flags) {
    constexpr int outputs = output_shape<Model>.channels, classes = outputs == 1 ? 2 : outputs;
    pictures::write_arrays(flags.write, Model::input, classes, flags.pictures);
    const InMemory<u8> source(flags.write + "_images.npy", flags.write + "_labels.npy");
    Trainer<Model, InMemory<u8>, Float, Host> job(source, {.batch = 1, .seed = flags.settings.seed});
    job.save(flags.write + ".safetensors");
}

template <class Model>
void start_network(const Flags& flags) {
    if (!flags.write.empty())
        write<Model>(flags);
    else if (flags.precision == "float")
        start<Model, Float>(flags);
    else if (flags.precision == "bfloat16")
        start<Model, BFloat16>(flags);
    else
        throw argument_error(text("no precision ", flags.precision));
}

void run(const Flags& flags) {
    if (!flags.write_records.empty())
        pictures::write_records(flags.write_records, flags.pictures);
    else if (flags.network == "guide")
        start_network<Guide>(flags);
    else if (flags.network == "resnet18")
        start_network<ResNet18>(flags);
    else
        throw argument_error(text("no network ", flags.network));
}

#endif

} // namespace

int main(int count, char** arguments) try {
    run(parse(count, arguments));
} catch (const std::exception& problem) {
    std::cerr << "train_peer: " << problem.what() << '\n';
    return 1;
}
