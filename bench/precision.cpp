// Training steps of the network of docs/design.md under each precision, side by side: the jobs take turns, a
// step each, so that what else the machine does falls on all alike. Usage: precision [rounds] [batch...]
#include "process.hpp"
#include "workload.hpp"

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>

namespace {

using namespace workload;

struct Contestant {
    std::string name;
    Bytes arena, least;
    std::function<void()> step;
    std::vector<double> seconds{};
};

template <class Precision>
Contestant contestant(const Pictures<Guide>& pictures, int batch) {
    using Job = Trainer<Guide, InMemory<u8>, Precision, Host>;
    const Settings settings{.batch = batch, .seed = 1};
    const auto job = std::make_shared<Job>(pictures.source, settings);
    return {std::string(Precision::name),
            job->peak(),
            {Job::Blueprint::least_bytes(settings)},
            [job, &pictures] { job->step(pictures.images, pictures.labels); }};
}

void compare(int batch, int rounds) {
    const Pictures<Guide> pictures(batch);
    Contestant contestants[] = {contestant<Float>(pictures, batch), contestant<BFloat16>(pictures, batch),
                                contestant<Half>(pictures, batch)};
    for (Contestant& each : contestants) each.step(); // pages and threads
    for (int round = 0; round < rounds; ++round)
        for (Contestant& each : contestants) {
            const double began = process::seconds();
            each.step();
            each.seconds.push_back(process::seconds() - began);
        }
    for (const Contestant& each : contestants) {
        std::vector<double> speeds, ratios;
        for (std::size_t r = 0; r < each.seconds.size(); ++r) {
            speeds.push_back(batch / each.seconds[r]);
            ratios.push_back(contestants[0].seconds[r] / each.seconds[r]);
        }
        const process::Spread speed(speeds), ratio(ratios);
        std::printf("| %d | %s | %.0f | %.0f to %.0f | %.2f | %.2f MiB | %.2f MiB |\n", batch,
                    each.name.c_str(), speed.median, speed.least, speed.most, ratio.median,
                    process::mib(each.arena), process::mib(each.least));
    }
}

/// Bytes by precision, from plans alone.
template <class Model>
void tell_bytes(const char* network, int batch) {
    const PlanReport report = plan<Job<Model>>({.batch = batch});
    const std::vector<PrecisionBytes>& all = report.picture.precisions;
    for (const PrecisionBytes& each : all)
        std::printf("| %s | %d | %s | %.2f MiB | %+.0f %% | %.2f MiB | %+.0f %% |\n", network, batch,
                    each.name.c_str(), process::mib({each.same_cut}),
                    100.0 * static_cast<double>(each.same_cut - all[0].same_cut) /
                        static_cast<double>(all[0].same_cut),
                    process::mib({each.least}),
                    100.0 * static_cast<double>(each.least - all[0].least) /
                        static_cast<double>(all[0].least));
}

} // namespace

int main(int count, char** arguments) try {
    const int rounds = count > 1 ? std::max(std::atoi(arguments[1]), 1) : 15;
    std::printf("Host with %d threads; medians of %d steps each\n\n", Host().workers(), rounds);
    std::printf(
        "| batch | precision | images a second | least to most | of Float, by rounds | arena | smallest "
        "arena |\n| ---: | --- | ---: | ---: | ---: | ---: | ---: |\n");
    if (count < 3) {
        compare(32, rounds);
        compare(128, rounds);
    }
    for (int i = 2; i < count; ++i) compare(std::max(std::atoi(arguments[i]), 1), rounds);
    std::printf(
        "\n| network | batch | precision | same cut | | smallest | |\n| --- | ---: | --- | ---: | ---: | "
        "---: | ---: |\n");
    tell_bytes<Guide>("of docs/design.md", 32);
    tell_bytes<ResNet18>("ResNet-18", 32);
    tell_bytes<ResNet18>("ResNet-18", 128);
    tell_bytes<ResNet18>("ResNet-18", 512);
} catch (const std::exception& problem) {
    std::fprintf(stderr, "precision: %s\n", problem.what());
    return 1;
}
