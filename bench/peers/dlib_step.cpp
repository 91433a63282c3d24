// The network of docs/design.md in dlib, float, trained at a driver's word (see protocol.py). It includes
// nothing of ours, so that what it costs to compile is dlib's. g++ -std=c++17 -O3 -DNDEBUG -march=native
// dlib_step.cpp -ldlib -lblas -llapack Usage: dlib_step --data PREFIX --weights FILE --batch N
// [--no-dropout]; OPENBLAS_NUM_THREADS is the threads.
#include <dlib/dnn.h>
#include <dlib/revision.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

template <long Filters, typename Below>
using conv3 = dlib::relu<dlib::add_layer<dlib::con_<Filters, 3, 3, 1, 1, 0, 0>, Below>>;
template <typename Below>
using pool2 = dlib::max_pool<2, 2, 2, 2, Below>;
template <typename Below>
using nothing = Below;

using pixels = dlib::input<std::array<dlib::matrix<float>, 3>>;
using features = pool2<conv3<128, pool2<conv3<128, pool2<conv3<64, pool2<conv3<32, pixels>>>>>>>>;
template <template <typename> class Drop>
using guide = dlib::loss_binary_log<dlib::fc<1, dlib::relu<dlib::fc<512, Drop<features>>>>>;

std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error("cannot read " + path);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// Where the data of a .npy file begins, as NumPy and ours write it: version 1.
std::size_t npy_data(const std::string& file) {
    return 10 + static_cast<unsigned char>(file[8]) +
           256 * static_cast<std::size_t>(static_cast<unsigned char>(file[9]));
}

/// A tensor of a safetensors file, float32.
std::vector<float> tensor_of(const std::string& file, const std::string& name) {
    std::uint64_t header = 0;
    std::copy_n(file.data(), 8, reinterpret_cast<char*>(&header));
    std::size_t at = file.find("\"" + name + "\"");
    if (at > header) throw std::runtime_error("the weights have no " + name);
    at = file.find("[", file.find("\"data_offsets\"", at)) + 1;
    const std::size_t begin = std::stoull(file.substr(at, 20));
    const std::size_t end = std::stoull(file.substr(file.find(",", at) + 1, 20));
    std::vector<float> values((end - begin) / 4);
    std::copy_n(file.data() + 8 + header + begin, end - begin, reinterpret_cast<char*>(values.data()));
    return values;
}

std::uint64_t status_bytes(const std::string& name) {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);)
        if (line.rfind(name + ":", 0) == 0) return std::stoull(line.substr(name.size() + 1)) * 1024;
    return 0;
}

/// Bytes of pictures 150 x 150 x 3 in host memory, and their labels.
struct Pictures {
    static constexpr long height = 150, width = 150, channels = 3;
    std::string images, labels;
    long batch;

    Pictures(const std::string& prefix, long batch_)
        : images(read_file(prefix + "_images.npy")),
          labels(read_file(prefix + "_labels.npy")),
          batch(batch_) {}
    long size() const {
        return static_cast<long>((images.size() - npy_data(images)) / (height * width * channels));
    }
    /// Batch number `step`, which begins again after the last: (N, C, H, W) of floats, and labels of +1 and
    /// -1.
    void fill(long step, dlib::resizable_tensor& x, std::vector<float>& y) const {
        const long first = step % (size() / batch) * batch;
        x.set_size(batch, channels, height, width);
        y.resize(static_cast<std::size_t>(batch));
        const auto* from = reinterpret_cast<const unsigned char*>(images.data() + npy_data(images)) +
                           first * height * width * channels;
        float* to = x.host();
        for (long n = 0; n < batch; ++n) {
            for (long c = 0; c < channels; ++c)
                for (long p = 0; p < height * width; ++p)
                    to[(n * channels + c) * height * width + p] =
                        static_cast<float>(from[(n * height * width + p) * channels + c]) / 255.0f;
            std::int32_t label = 0;
            std::copy_n(labels.data() + npy_data(labels) + 4 * (first + n), 4,
                        reinterpret_cast<char*>(&label));
            y[static_cast<std::size_t>(n)] = label == 1 ? 1.0f : -1.0f;
        }
    }
};

template <typename Net>
class Training {
  public:
    Training(const Pictures& pictures, const std::string& weights, double rate)
        : pictures_(pictures),
          rate_(rate),
          solvers_(Net::num_computational_layers, dlib::adam(0, 0.9f, 0.999f)) {
        // Parameters are there after a first forward pass.
        std::array<dlib::matrix<float>, 3> black;
        for (auto& plane : black) plane = dlib::zeros_matrix<float>(Pictures::height, Pictures::width);
        net_.to_tensor(&black, &black + 1, x_);
        net_.subnet().forward(x_);
        if (!weights.empty()) load(read_file(weights));
    }
    double step(long number) {
        pictures_.fill(number, x_, y_);
        const double loss = net_.compute_parameter_gradients(x_, y_.begin());
        net_.update_parameters(solvers_, rate_);
        return loss;
    }

  private:
    void load(const std::string& file) {
        std::vector<dlib::tensor*> tensors; // from the output to the input
        dlib::visit_layer_parameters(net_, [&](dlib::tensor& t) {
            if (t.size() > 0) tensors.push_back(&t);
        });
        const char* names[] = {"16", "14", "9", "6", "3", "0"};
        if (tensors.size() != std::size(names)) throw std::runtime_error("the network has other layers");
        for (std::size_t i = 0; i < tensors.size(); ++i) {
            std::vector<float> weight = tensor_of(file, std::string(names[i]) + ".weight");
            const std::vector<float> bias = tensor_of(file, std::string(names[i]) + ".bias");
            if (tensors[i]->size() != weight.size() + bias.size())
                throw std::runtime_error("a layer has another size");
            if (i < 2) { // (out, in) to (in, out)
                const std::vector<float> from = weight;
                const std::size_t outputs = bias.size(), inputs = weight.size() / outputs;
                for (std::size_t o = 0; o < outputs; ++o)
                    for (std::size_t k = 0; k < inputs; ++k) weight[k * outputs + o] = from[o * inputs + k];
            }
            std::copy(bias.begin(), bias.end(), std::copy(weight.begin(), weight.end(), tensors[i]->host()));
        }
    }

    const Pictures& pictures_;
    double rate_;
    Net net_;
    std::vector<dlib::adam> solvers_;
    dlib::resizable_tensor x_;
    std::vector<float> y_;
};

template <typename Net>
void serve(const Pictures& pictures, const std::string& weights) {
    Training<Net> training(pictures, weights, 1e-3);
    std::cout.precision(9);
    const char* threads = std::getenv("OPENBLAS_NUM_THREADS");
    std::cout << "ready {\"program\": \"dlib " << DLIB_MAJOR_VERSION << '.' << DLIB_MINOR_VERSION
              << "\", \"threads\": " << (threads != nullptr ? threads : "0")
              << ", \"pictures\": " << pictures.size() << ", \"resident_bytes\": " << status_bytes("VmRSS")
              << '}' << std::endl;
    for (std::string line; std::getline(std::cin, line) && line != "quit";) {
        std::istringstream words(line);
        std::string command;
        long steps = 0;
        double rate = 0, loss = 0;
        words >> command >> steps >> rate;
        if (command == "train") {
            const auto began = std::chrono::steady_clock::now();
            for (long step = 0; step < steps; ++step) loss = training.step(step);
            const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
            std::cout << took.count() << ' ' << loss << std::endl;
        } else if (command == "losses") {
            Training<guide<nothing>> plain(pictures, weights, rate);
            for (long step = 0; step < steps; ++step) std::cout << (step > 0 ? " " : "") << plain.step(step);
            std::cout << std::endl;
        } else {
            throw std::runtime_error("no command " + line);
        }
    }
    std::cout << status_bytes("VmHWM") << std::endl;
}

} // namespace

int main(int count, char** arguments) try {
    std::string data, weights;
    long batch = 32;
    bool dropout = true;
    for (int i = 1; i < count; ++i) {
        const std::string name = arguments[i];
        if (name == "--no-dropout")
            dropout = false;
        else if (name == "--data" && i + 1 < count)
            data = arguments[++i];
        else if (name == "--weights" && i + 1 < count)
            weights = arguments[++i];
        else if (name == "--batch" && i + 1 < count)
            batch = std::atol(arguments[++i]);
        else
            throw std::runtime_error("what is " + name + "?");
    }
    const Pictures pictures(data, batch);
    if (batch < 1 || pictures.size() % batch != 0)
        throw std::runtime_error(std::to_string(pictures.size()) +
                                 " pictures are no whole number of batches");
    if (dropout)
        serve<guide<dlib::dropout>>(pictures, weights);
    else
        serve<guide<nothing>>(pictures, weights);
} catch (const std::exception& problem) {
    std::cerr << "dlib_step: " << problem.what() << '\n';
    return 1;
}
