// Writes a small network's weights, each tensor a ramp 0, 1/8, 2/8, ..., for readers.py to open.
#include <plimsoll/plimsoll.hpp>

#include <cstdio>

using namespace plimsoll;

using Net =
    Sequential<Image<6, 5, 3>, Conv2d<8, 3>, BatchNorm, Relu,
               Residual<Sequential<Conv2d<8, 3, 1, 1, no_bias>>>, GlobalAveragePool, Flatten, Dense<3>>;

int main(int argc, char** argv) try {
    if (argc != 2) return 2;
    const std::vector<NamedParameter> parameters = named_parameters(graph_of<Net, u8, DefaultLoss<Net>>);
    std::vector<std::vector<float>> values;
    for (const NamedParameter& parameter : parameters) {
        std::vector<float>& ramp = values.emplace_back(static_cast<std::size_t>(parameter.facts.size()));
        for (std::size_t i = 0; i < ramp.size(); ++i) ramp[i] = static_cast<float>(i) / 8;
    }
    save_weights(argv[1], parameters, values, {.class_names = {"night", "\u00e9t\u00e9", "day"}});
} catch (const error& problem) {
    std::fprintf(stderr, "%s\n", problem.what());
    return 1;
}
