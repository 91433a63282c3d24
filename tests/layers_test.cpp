// Every layer's gradient against central differences of its own forward, over odd sizes, through its Host
// kernel.
#include "support.hpp"

#include <plimsoll/plimsoll.hpp>

#include <cmath>
#include <random>

using namespace plimsoll;

namespace {

/// A layer's kernel on buffers of its own: `images` images in channels-last layout.
template <class Layer>
class Bench {
  public:
    Bench(Shape in, int count, int images) : count_(count) {
        site_.facts = Layer::facts(in);
        site_.input = in;
        site_.output = site_.facts.output;
        site_.input_layout = Layout::channels_last(in);
        site_.output_layout = Layout::channels_last(site_.output);
        site_.images = images;
        site_.lanes = lanes;
        site_.input_gradient = true;
        site_.seed = 11;
        kernel_ = std::make_unique<Kernel<Layer, Float, Host>>(site_, host_);
        const Needs needs = Kernel<Layer, Float, Host>::needs(site_);
        x.resize(size(in));
        second.resize(size(in));
        y.resize(size(site_.output));
        dy.resize(size(site_.output));
        dx.resize(size(in));
        dsecond.resize(size(in));
        saved_.resize(static_cast<std::size_t>(site_.facts.saved_bytes * images) + alignment);
        statistics_.resize(static_cast<std::size_t>(site_.facts.statistics_bytes) + alignment);
        packed_.resize(static_cast<std::size_t>(needs.packed) + alignment);
        partial_stride_ = aligned(needs.partial);
        partial_.resize(static_cast<std::size_t>(partial_stride_ * lanes + alignment));
        scratch_.resize(static_cast<std::size_t>(needs.scratch * lanes + alignment));
        for (const Parameter& parameter : site_.facts.parameters) {
            parameters.emplace_back(static_cast<std::size_t>(parameter.size()));
            gradients.emplace_back(static_cast<std::size_t>(parameter.size()));
        }
        std::mt19937 random(5);
        // A shuffled grid, none near zero and, where a maximum is taken, no two equal: no difference crosses
        // a kink.
        const std::size_t levels = site_.facts.selects_maximum ? x.size() | 1 : 199;
        for (std::vector<float>* values : {&x, &second}) {
            for (std::size_t i = 0; i < values->size(); ++i)
                (*values)[i] = 0.02f * (static_cast<float>(i % levels) - static_cast<float>(levels) / 2);
            std::shuffle(values->begin(), values->end(), random);
        }
        std::uniform_real_distribution<float> uniform(-1, 1);
        for (float& value : dy) value = uniform(random);
        for (auto& parameter : parameters)
            for (float& value : parameter) value = uniform(random);
    }

    /// Sum over outputs of dy * y, in double.
    double forward() {
        Call call = make_call();
        kernel_->pack(call);
        if (site_.facts.couples_images) kernel_->gather(call);
        kernel_->forward(call);
        double sum = 0;
        for (std::size_t i = 0; i < static_cast<std::size_t>(site_.output.size() * count_); ++i)
            sum += static_cast<double>(dy[i]) * y[i];
        return sum;
    }
    void backward() {
        Call call = make_call();
        if (site_.facts.couples_images) kernel_->gather_gradient(call);
        kernel_->backward(call);
        if (!site_.facts.whole_batch && !site_.facts.couples_images) kernel_->reduce(call, 1);
    }

    std::vector<float> x, second, y, dy, dx, dsecond; // (images, H, W, C)
    std::vector<std::vector<float>> parameters, gradients;

  private:
    static constexpr int lanes = 2;
    std::size_t size(Shape shape) const { return static_cast<std::size_t>(shape.size() * site_.images); }
    static void* at(std::vector<std::byte>& bytes) {
        auto address = reinterpret_cast<std::uintptr_t>(bytes.data());
        return reinterpret_cast<void*>((address + alignment - 1) / alignment * alignment);
    }
    Call make_call() {
        Call call{.count = count_, .training = true, .step = 3, .batch = count_};
        call.input = x.data();
        call.second = second.data();
        call.output = y.data();
        call.output_gradient = dy.data();
        call.input_gradient = dx.data();
        call.second_gradient = dsecond.data();
        call.saved = at(saved_);
        call.statistics = at(statistics_);
        call.packed = at(packed_);
        call.partial = at(partial_);
        call.partial_stride = partial_stride_;
        call.scratch = at(scratch_);
        for (std::size_t p = 0; p < parameters.size(); ++p) {
            call.parameters[p] = parameters[p].data();
            call.gradients[p] = gradients[p].data();
        }
        return call;
    }

    Host host_{2};
    Site site_;
    int count_;
    std::unique_ptr<NodeKernel> kernel_;
    std::int64_t partial_stride_ = 0;
    std::vector<std::byte> saved_, statistics_, packed_, partial_, scratch_;
};

/// Compares `gradient` with differences of `bench.forward()` along random directions of `values`.
template <class B>
void compare(B& bench, std::vector<float>& values, const std::vector<float>& gradient, std::size_t used,
             double step) {
    std::mt19937 random(9);
    const std::vector<float> original = values;
    for (int direction = 0; direction < 3; ++direction) {
        std::vector<float> d(used);
        for (float& component : d) component = random() % 2 ? 1.0f : -1.0f;
        const auto moved = [&](double by) {
            for (std::size_t i = 0; i < used; ++i) values[i] = original[i] + static_cast<float>(by) * d[i];
            return bench.forward();
        };
        const double measured = (moved(step) - moved(-step)) / (2 * step);
        double expected = 0, scale = 0;
        for (std::size_t i = 0; i < used; ++i) {
            expected += static_cast<double>(gradient[i]) * d[i];
            scale += static_cast<double>(gradient[i]) * gradient[i];
        }
        values = original;
        CHECK(std::abs(measured - expected) <= 4e-3 * std::sqrt(scale) + 1e-4);
    }
}

template <class Layer>
void check_gradients(Shape shape) {
    if (Layer::facts(shape).output.size() == 0) return;
    for (const int images : {1, 4}) {
        const int count = images == 1 ? 1 : 3; // ragged
        Bench<Layer> bench(shape, count, images);
        INFO(Layer::facts(shape).name, " on ", to_string(shape), ", ", count, " of ", images);
        bench.forward();
        bench.backward();
        const std::vector<float> dx = bench.dx, dsecond = bench.dsecond;
        const std::vector<std::vector<float>> gradients = bench.gradients;
        const auto used = static_cast<std::size_t>(shape.size() * count);
        // BatchNorm over few values bends: small steps. The rest is linear between kinks.
        const double step = Layer::facts(shape).couples_images ? 2e-3 : 4e-3;
        compare(bench, bench.x, dx, used, step);
        if constexpr (std::is_same_v<Layer, Add>) compare(bench, bench.second, dsecond, used, step);
        for (std::size_t p = 0; p < gradients.size(); ++p)
            if (Layer::facts(shape).parameters[static_cast<int>(p)].trainable)
                compare(bench, bench.parameters[p], gradients[p], gradients[p].size(), step);
    }
}

template <class... Layers>
void check_all() {
    for (const int channels : {1, 3, 5, 17})
        for (const Shape shape :
             {Shape{1, 1, channels}, Shape{5, 3, channels}, Shape{4, 7, channels}, Shape{8, 9, channels}})
            (check_gradients<Layers>(shape), ...);
}

} // namespace

TEST_CASE("windows: gradients agree with finite differences") {
    check_all<Conv2d<5, 3>, Conv2d<1, 1>, Conv2d<17, 3, 2, 1>, Conv2d<3, 3, 1, 1, no_bias>,
              Conv2d<4, 5, 3, 2>>();
    check_all<MaxPool<2>, MaxPool<3, 2, 1>, AveragePool<2>, AveragePool<3, 1, 1>, GlobalAveragePool>();
}
TEST_CASE("elementwise layers and plumbing: gradients agree with finite differences") {
    check_all<Relu, LeakyRelu<>, LeakyRelu<0.3_p>, Dropout<0.5_p>, Dropout<0.1_p>, Flatten, Add>();
}
TEST_CASE("batch normalisation: gradients agree with finite differences") {
    for (const int channels : {1, 3, 5, 17})
        for (const Shape shape : {Shape{5, 3, channels}, Shape{8, 9, channels}})
            check_gradients<BatchNorm>(shape);
}
TEST_CASE("dense: gradients agree with finite differences") {
    for (const int inputs : {1, 3, 5, 17, 130}) {
        check_gradients<Dense<1>>({1, 1, inputs});
        check_gradients<Dense<5>>({1, 1, inputs});
        check_gradients<Dense<70, no_bias>>({1, 1, inputs});
    }
}
