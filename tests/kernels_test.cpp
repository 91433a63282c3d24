/// \file
/// Host kernels against plain loops, and plain loops against finite differences: odd sizes, every layout,
/// ragged slices, lanes, micro-batches, threads.

#include <plimsoll/device/host/attach.hpp>
#include <plimsoll/model/layers/convolution.hpp>
#include <plimsoll/model/layers/dense.hpp>
#include <plimsoll/model/layers/pooling.hpp>
#include <plimsoll/model/precision.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <concepts>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

using namespace plimsoll;

namespace {

constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

/// Bytes of an arena: aligned, filled with NaN, with a guard behind them.
class Memory {
  public:
    explicit Memory(std::int64_t bytes) : bytes_(static_cast<std::size_t>((bytes + 63) / 64 * 64)) {
        data_.reset(static_cast<char*>(std::aligned_alloc(64, bytes_ + guard)));
        std::memset(data_.get(), 0xff, bytes_ + guard);
    }
    [[nodiscard]] void* get() const { return data_.get(); }
    [[nodiscard]] bool intact() const {
        return std::all_of(data_.get() + bytes_, data_.get() + bytes_ + guard,
                           [](char c) { return c == '\xff'; });
    }

  private:
    static constexpr std::size_t guard = 256;
    struct Free {
        void operator()(char* data) const { std::free(data); }
    };
    std::size_t bytes_;
    std::unique_ptr<char, Free> data_;
};

/// A number in [-1, 1) from its place.
float noise(std::uint32_t stream, std::int64_t i) {
    std::uint32_t x = static_cast<std::uint32_t>(i) * 2654435761u + stream * 40503u + 12345u;
    x = (x ^ (x >> 15)) * 2246822519u;
    x = (x ^ (x >> 13)) * 3266489917u;
    return static_cast<float>((x ^ (x >> 16)) >> 8) / 8388608.0f - 1.0f;
}

struct Result {
    std::vector<float> output, input_gradient; ///< (N, H, W, C)
    std::vector<float> gradients[2];
};

/// What a kernel is made of, without its type.
struct Maker {
    std::unique_ptr<NodeKernel> (*make)(const Site&, const Team&);
    Needs (*needs)(const Site&);
};
template <class K>
constexpr Maker maker{[](const Site& site, const Team& team) -> std::unique_ptr<NodeKernel> {
                          return std::make_unique<K>(site, team);
                      },
                      [](const Site& site) { return K::needs(site); }};

/// How a step is cut.
struct Cut {
    int batch = 1; ///< images
    int micro = 1; ///< images of a micro-batch
    int slice = 1; ///< images of a slice
    int lanes = 1;
    int threads = 1;
    bool in_place =
        false; ///< input gradients overwrite inputs, as plans have it where nobody reads these later
};

template <class Layer>
Site site_of(Shape in, Layout input_layout, Layout output_layout) {
    const Facts facts = Layer::facts(in);
    return {.facts = facts,
            .input = in,
            .output = facts.output,
            .input_layout = input_layout,
            .output_layout = output_layout,
            .input_gradient = true};
}
template <class Layer>
Site channels_last(Shape in) {
    return site_of<Layer>(in, Layout::channels_last(in), Layout::channels_last(Layer::facts(in).output));
}

template <class T>
void to_layout(const std::vector<float>& plain, std::int64_t first, int count, Shape shape, Layout layout,
               void* into) {
    const detail::View<T> view{static_cast<T*>(into), shape, layout};
    for (int n = 0; n < count; ++n)
        for (int y = 0; y < shape.height; ++y)
            for (int x = 0; x < shape.width; ++x)
                for (int c = 0; c < shape.channels; ++c)
                    view(n, y, x, c) = to<T>(plain[static_cast<std::size_t>(
                        (((first + n) * shape.height + y) * shape.width + x) * shape.channels + c)]);
}
template <class T>
void from_layout(const void* from, std::int64_t first, int count, Shape shape, Layout layout,
                 std::vector<float>& plain) {
    const detail::View<const T> view{static_cast<const T*>(from), shape, layout};
    for (int n = 0; n < count; ++n)
        for (int y = 0; y < shape.height; ++y)
            for (int x = 0; x < shape.width; ++x)
                for (int c = 0; c < shape.channels; ++c)
                    plain[static_cast<std::size_t>(
                        (((first + n) * shape.height + y) * shape.width + x) * shape.channels + c)] =
                        to_float(view(n, y, x, c));
}

struct Data {
    std::vector<float> input, output_gradient, parameters[2];

    Data(const Site& site, int batch) {
        fill(input, site.input.size() * batch, 1);
        fill(output_gradient, site.output.size() * batch, 2);
        for (int p = 0; p < site.facts.parameters.size(); ++p)
            fill(parameters[p], site.facts.parameters[p].size(), 3 + static_cast<std::uint32_t>(p));
    }
    static void fill(std::vector<float>& to, std::int64_t size, std::uint32_t stream) {
        for (std::int64_t i = 0; i < size; ++i) to.push_back(noise(stream, i));
    }
};

template <class T>
Data rounded(Data data) {
    for (auto* values : {&data.input, &data.output_gradient, &data.parameters[0], &data.parameters[1]})
        for (float& value : *values) value = to_float(to<T>(value));
    return data;
}

/// One step of one layer, cut as the executor cuts it. Slices begin in fresh memory full of NaN.
/// \tparam T what activations are stored in
template <class T = float>
Result run(const Maker& maker, Site site, Cut cut, const Data& data) {
    const bool whole = site.facts.whole_batch;
    site.images = whole ? cut.micro : cut.slice;
    site.lanes = cut.lanes;
    const Team team(cut.threads);
    const auto kernel = maker.make(site, team);
    const Needs needs = maker.needs(site);
    const Memory packed(needs.packed), partial(needs.partial * cut.lanes), scratch(needs.scratch * cut.lanes);
    Result result;
    result.output.assign(static_cast<std::size_t>(site.output.size() * cut.batch), not_a_number);
    result.input_gradient.assign(static_cast<std::size_t>(site.input.size() * cut.batch), not_a_number);
    Call base{.batch = cut.batch,
              .packed = packed.get(),
              .partial = partial.get(),
              .partial_stride = needs.partial,
              .scratch = scratch.get()};
    std::vector<float> parameters[2] = {data.parameters[0], data.parameters[1]};
    for (std::size_t p = 0; p < static_cast<std::size_t>(site.facts.parameters.size()); ++p) {
        result.gradients[p].assign(parameters[p].size(), not_a_number);
        base.parameters[p] = parameters[p].data();
        base.gradients[p] = result.gradients[p].data();
    }
    kernel->pack(base);
    for (int first = 0; first < cut.batch; first += cut.micro) {
        const int micro = std::min(cut.micro, cut.batch - first);
        const int slices = whole ? 1 : (micro + cut.slice - 1) / cut.slice;
        const int lanes = std::min(cut.lanes, slices);
        const auto do_slice = [&](int lane, int worker, int slice) {
            Call call = base;
            const int begin = slice * site.images;
            call.first = first + begin;
            call.count = std::min(site.images, micro - begin);
            call.lane = lane;
            call.worker = worker;
            if (!whole) {
                call.partial = static_cast<char*>(partial.get()) + lane * needs.partial;
                call.scratch = static_cast<char*>(scratch.get()) + worker * needs.scratch;
            }
            call.accumulate = whole ? first > 0 : slice >= cut.lanes;
            const std::int64_t images = std::int64_t{sizeof(T)} * site.images;
            const Memory x(site.input.size() * images), y(site.output.size() * images);
            const Memory dx(site.input.size() * images), dy(site.output.size() * images);
            const Memory saved(site.facts.saved_bytes * site.images);
            to_layout<T>(data.input, call.first, call.count, site.input, site.input_layout, x.get());
            to_layout<T>(data.output_gradient, call.first, call.count, site.output, site.output_layout,
                         dy.get());
            call.input = x.get();
            call.output = y.get();
            call.saved = saved.get();
            kernel->forward(call);
            from_layout<T>(y.get(), call.first, call.count, site.output, site.output_layout, result.output);
            if (!site.training) return;
            call.output = nullptr;
            call.output_gradient = dy.get();
            const Memory& into = cut.in_place ? x : dx;
            call.input_gradient = into.get();
            kernel->backward(call);
            from_layout<T>(into.get(), call.first, call.count, site.input, site.input_layout,
                           result.input_gradient);
            CHECK(x.intact());
            CHECK(y.intact());
            CHECK(dx.intact());
            CHECK(dy.intact());
            CHECK(saved.intact());
        };
        if (whole)
            do_slice(0, 0, 0);
        else
            team.parallel(cut.lanes, [&](int lane, int worker) {
                for (int slice = lane; slice < slices; slice += cut.lanes) do_slice(lane, worker, slice);
            });
        base.accumulate = first > 0;
        if (site.training && !whole && site.facts.parameters.size() > 0) kernel->reduce(base, lanes);
    }
    CHECK(packed.intact());
    CHECK(partial.intact());
    CHECK(scratch.intact());
    return result;
}

/// Largest difference, over the largest value.
double distance(const std::vector<float>& a, const std::vector<float>& b) {
    double worst = 0, largest = 1e-30;
    REQUIRE(a.size() == b.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
        const double difference = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
        if (std::isnan(difference)) return difference;
        worst = std::max(worst, difference);
        largest = std::max(largest, std::abs(static_cast<double>(b[i])));
    }
    return worst / largest;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() &&
           (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}
bool same_bits(const Result& a, const Result& b) {
    return same_bits(a.output, b.output) && same_bits(a.input_gradient, b.input_gradient) &&
           same_bits(a.gradients[0], b.gradients[0]) && same_bits(a.gradients[1], b.gradients[1]);
}

/// What activations and weight gradients may differ by for the numbers that are rounded on the way.
struct Rounding {
    double activations, gradients;
};
/// Of kernels that round what is stored and nothing else.
template <class T>
constexpr Rounding of_storage{sizeof(T) == 4          ? 0
                              : std::same_as<T, half> ? 0x1p-11
                                                      : 0x1p-8,
                              0};
/// Of Winograd's algorithm in bfloat16, which rounds what is transformed too.
constexpr Rounding of_transforms{0x1p-6, 0x1p-6};

void check_close(const Result& found, const Result& expected, Rounding rounding) {
    CHECK(distance(found.output, expected.output) < 1e-5 + rounding.activations);
    CHECK(distance(found.input_gradient, expected.input_gradient) < 1e-5 + rounding.activations);
    CHECK(distance(found.gradients[0], expected.gradients[0]) < 2e-5 + rounding.gradients);
    CHECK(distance(found.gradients[1], expected.gradients[1]) < 2e-5);
}

std::string name_of(const Site& site) {
    return text(site.facts.name, " ", to_string(site.input), " to ", to_string(site.output), " kernel ",
                site.facts.window.kernel, " stride ", site.facts.window.stride, " padding ",
                site.facts.window.padding, " layout ", site.input_layout.block, " to ",
                site.output_layout.block);
}

/// A kernel against the oracle in float: whole, sliced, ragged, in lanes and micro-batches; bits for 1, 2 and
/// 3 threads. In 16 bits both are given numbers that 16 bits hold.
template <class T = float>
void check_kernel(const Maker& kernel, const Maker& oracle, const Site& site,
                  Rounding rounding = of_storage<T>) {
    INFO(name_of(site));
    Site plain = site;
    plain.input_layout = Layout::channels_last(site.input);
    plain.output_layout = Layout::channels_last(site.output);
    for (const Cut cut : {Cut{1, 1, 1, 1, 1}, Cut{5, 5, 2, 2, 2}, Cut{7, 5, 4, 3, 2}, Cut{6, 3, 1, 2, 1}}) {
        INFO("batch ", cut.batch, " micro ", cut.micro, " slice ", cut.slice, " lanes ", cut.lanes);
        const Data data = rounded<T>(Data(site, cut.batch));
        const Result expected = run(oracle, plain, {cut.batch, cut.batch, cut.batch, 1, 1}, data);
        check_close(run<T>(kernel, site, cut, data), expected, rounding);
    }
    Cut cut{7, 5, 1, 3, 1};
    const Data data(site, cut.batch);
    const Result one = run<T>(kernel, site, cut, data);
    for (cut.threads = 2; cut.threads <= 3; ++cut.threads)
        CHECK(same_bits(run<T>(kernel, site, cut, data), one));
}

/// Loss = sum of y dy: moves each number by +-1/4 and asks how the loss follows. Convolutions and means are
/// linear in each number, and `spread` keeps maxima a unit apart, so the step need not be small.
void check_differences(const Maker& oracle, const Site& site, bool spread = false) {
    INFO(name_of(site));
    const Cut cut{2, 2, 2, 1, 1};
    Data data(site, cut.batch);
    if (spread)
        for (std::size_t i = 0; i < data.input.size(); ++i)
            data.input[i] =
                static_cast<float>(i * 7919 % 10007 % data.input.size()) + noise(9, std::int64_t(i)) / 8;
    const Result result = run(oracle, site, cut, data);
    const auto loss = [&] {
        const std::vector<float> output = run(oracle, site, cut, data).output;
        double sum = 0;
        for (std::size_t i = 0; i < output.size(); ++i)
            sum += static_cast<double>(output[i]) * static_cast<double>(data.output_gradient[i]);
        return sum;
    };
    const auto check = [&](std::vector<float>& values, const std::vector<float>& gradient) {
        REQUIRE(values.size() == gradient.size());
        const std::size_t stride = std::max<std::size_t>(1, values.size() / 40);
        for (std::size_t i = 0; i < values.size(); i += stride) {
            const float before = values[i];
            values[i] = before + 0.25f;
            double slope = loss();
            values[i] = before - 0.25f;
            slope -= loss();
            const double step = static_cast<double>(before + 0.25f) - static_cast<double>(before - 0.25f);
            values[i] = before;
            CHECK(slope / step == doctest::Approx(static_cast<double>(gradient[i])).epsilon(1e-4).scale(1));
        }
    };
    check(data.input, result.input_gradient);
    for (int p = 0; p < site.facts.parameters.size(); ++p) check(data.parameters[p], result.gradients[p]);
}

#if PLIMSOLL_WITH_ONEDNN
/// Whether some slice of a bfloat16 convolution goes by Winograd's algorithm.
bool may_transform(Site site) {
    site.images = 1 << 20;
    return WinogradConvolution<bfloat16>::pays(site);
}
#else
bool may_transform(const Site&) { return false; }
#endif

/// Under every precision.
template <class Layer>
void convolution(const Site& site) {
    const Maker& oracle = maker<LoopConvolution<float>>;
    check_kernel(maker<ConvolutionKernel<float>>, oracle, site);
#if PLIMSOLL_WITH_ONEDNN
    check_kernel(maker<DirectConvolution<float>>, oracle, site);
    check_kernel<bfloat16>(maker<DirectConvolution<bfloat16>>, oracle, site);
#endif
    const bool transformed = may_transform(site);
    check_kernel<bfloat16>(maker<typename detail::HostArithmetic<BFloat16>::Convolution>, oracle, site,
                           transformed ? of_transforms : of_storage<bfloat16>);
    check_kernel<half>(maker<typename detail::HostArithmetic<Half>::Convolution>, oracle, site);
}
template <class Layer>
void convolution(Shape in) {
    convolution<Layer>(channels_last<Layer>(in));
}
template <class Layer>
void blocked(Shape in, int from, int to) {
    convolution<Layer>(site_of<Layer>(in, {from}, {to}));
}
/// A maximum's kernel that was asked to rectify.
template <class T>
struct RectifiedPool : PoolKernel<T> {
    RectifiedPool(const Site& site, const Team& team) : PoolKernel<T>(site, team) { CHECK(this->rectify()); }
};
/// ReLU behind plain loops, for one call.
struct RectifiedLoops : LoopPool<float> {
    RectifiedLoops(const Site& site, const Team& team)
        : LoopPool<float>(site, team), size_(site.output.size()) {}
    void forward(const Call& call) override {
        LoopPool<float>::forward(call);
        auto* y = static_cast<float*>(call.output);
        kept_.assign(y, y + size_ * call.count);
        for (std::int64_t i = 0; i < size_ * call.count; ++i) y[i] = Relu::Forward{}(y[i]);
    }
    void backward(const Call& call) override {
        const auto* dy = static_cast<const float*>(call.output_gradient);
        for (std::size_t i = 0; i < kept_.size(); ++i) kept_[i] = Relu::Backward{}(dy[i], kept_[i]);
        Call masked = call;
        masked.output_gradient = kept_.data();
        LoopPool<float>::backward(masked);
    }

  private:
    std::int64_t size_;
    std::vector<float> kept_;
};

template <class Layer>
void pool(Shape in) {
    for (const int block : {in.channels, 16, 8, 1}) {
        if (in.channels % block != 0) continue;
        const Site site = site_of<Layer>(in, {block}, {block});
        check_kernel(maker<PoolKernel<float>>, maker<LoopPool<float>>, site);
        check_kernel<bfloat16>(maker<PoolKernel<bfloat16>>, maker<LoopPool<float>>, site);
        check_kernel<half>(maker<PoolKernel<half>>, maker<LoopPool<float>>, site);
        if (!Layer::facts(in).selects_maximum) continue;
        check_kernel(maker<RectifiedPool<float>>, maker<RectifiedLoops>, site);
        check_kernel<bfloat16>(maker<RectifiedPool<bfloat16>>, maker<RectifiedLoops>, site);
        check_kernel<half>(maker<RectifiedPool<half>>, maker<RectifiedLoops>, site);
    }
}
void global_average_pool(const Site& site) {
    const Maker& oracle = maker<LoopGlobalAveragePool<float>>;
    check_kernel(maker<GlobalAveragePoolKernel<float>>, oracle, site);
    check_kernel<bfloat16>(maker<GlobalAveragePoolKernel<bfloat16>>, oracle, site);
    check_kernel<half>(maker<GlobalAveragePoolKernel<half>>, oracle, site);
}
template <class Layer>
void dense(int inputs) {
    const Site site = channels_last<Layer>({1, 1, inputs});
    check_kernel(maker<DenseKernel<float, float>>, maker<LoopDense<float>>, site);
    check_kernel<bfloat16>(maker<DenseKernel<bfloat16, bfloat16>>, maker<LoopDense<float>>, site);
    check_kernel<half>(maker<DenseKernel<half, float>>, maker<LoopDense<float>>, site);
}

} // namespace

TEST_CASE("plain loops follow finite differences") {
    check_differences(maker<LoopConvolution<float>>, channels_last<Conv2d<3, 3>>({5, 4, 2}));
    check_differences(maker<LoopConvolution<float>>, channels_last<Conv2d<2, 3, 2, 1>>({6, 5, 3}));
    check_differences(maker<LoopConvolution<float>>, channels_last<Conv2d<2, 5, 1, 2, no_bias>>({3, 4, 1}));
    check_differences(maker<LoopConvolution<float>>, channels_last<Conv2d<5, 1>>({1, 1, 3}));
    check_differences(maker<LoopPool<float>>, channels_last<MaxPool<2>>({5, 4, 3}), true);
    check_differences(maker<LoopPool<float>>, channels_last<MaxPool<3, 2, 1>>({6, 5, 2}), true);
    check_differences(maker<LoopPool<float>>, channels_last<AveragePool<2>>({4, 5, 3}));
    check_differences(maker<LoopPool<float>>, channels_last<AveragePool<3, 2, 1>>({6, 5, 2}));
    check_differences(maker<LoopGlobalAveragePool<float>>, channels_last<GlobalAveragePool>({4, 3, 2}));
    check_differences(maker<LoopDense<float>>, channels_last<Dense<4>>({1, 1, 6}));
    check_differences(maker<LoopDense<float>>, channels_last<Dense<1, false>>({1, 1, 5}));
}

TEST_CASE("convolution, channels last") {
    convolution<Conv2d<32, 3>>({7, 9, 3});
    convolution<Conv2d<5, 3, 2, 1>>({8, 6, 17});
    convolution<Conv2d<17, 3, 1, 1>>({5, 8, 5});
    convolution<Conv2d<16, 3, 1, 1, no_bias>>({6, 11, 16});
    convolution<Conv2d<16, 5, 2, 2>>({9, 12, 1});
    convolution<Conv2d<3, 1>>({4, 3, 32});
    convolution<Conv2d<32, 1, 2>>({7, 5, 16});
    convolution<Conv2d<1, 3, 2>>({8, 10, 3});
    convolution<Conv2d<8, 3, 1, 1>>({1, 1, 5});
    convolution<Conv2d<4, 2>>({2, 2, 3});
    convolution<Conv2d<6, 3, 1, 1, no_bias>>({9, 7, 4});
    convolution<Conv2d<5, 5, 3, 2>>({11, 17, 2});
    convolution<Conv2d<70, 3>>({7, 10, 3});
    convolution<Conv2d<4, 3>>(
        {38, 151, 3}); // patches of several rows at a time, and pictures' ends among them
    convolution<Conv2d<64, 3, 1, 1>>({6, 5, 48});
    convolution<Conv2d<16, 3, 1, 1>>({12, 12, 16});
    convolution<Conv2d<32, 3>>({40, 37, 16}); // where tiles are multiplied: patches too
    convolution<Conv2d<24, 2>>({9, 20, 24});
    // Where tiles are multiplied, input gradients go forward over turned windows: of even sizes, of one
    // pixel, padded; not where pictures' own padding is as wide as the window.
    convolution<Conv2d<48, 5, 1, 1>>({9, 12, 32});
    convolution<Conv2d<33, 4, 1, 3>>({6, 5, 24});
    convolution<Conv2d<64, 1>>({5, 7, 32});
    convolution<Conv2d<16, 3, 1, 3>>({6, 7, 32});
    convolution<Conv2d<64, 1, 1, 2>>({4, 4, 16}); // rows of padding alone
    // Weight gradients that are made of products.
    convolution<Conv2d<24, 1, 3>>({7, 8, 16});
    convolution<Conv2d<256, 3, 1, 1>>({2, 3, 128});
    convolution<Conv2d<512, 3, 2, 1, no_bias>>({3, 2, 64});
}

#if PLIMSOLL_WITH_ONEDNN

namespace {

/// Whether the library has what the algorithm takes, in slices of one picture and of several.
template <class T>
bool is_there(Site site) {
    for (const int images : {1, 2, 4}) {
        site.images = images;
        const WinogradConvolution<T> kernel(site, Team(1));
        if (kernel) continue;
        MESSAGE("skipped: the library has no fast products for ", name_of(site), ", ", images, " images");
        return false;
    }
    return true;
}

template <class Layer>
void winograd(Shape in) {
    Site site = channels_last<Layer>(in);
    const Maker &single = maker<WinogradConvolution<float>>, &oracle = maker<LoopConvolution<float>>;
    if (!is_there<float>(site)) return;
    check_kernel(single, oracle, site);
    if (detail::computes_bfloat16() && is_there<bfloat16>(site))
        check_kernel<bfloat16>(maker<WinogradConvolution<bfloat16>>, oracle, site, of_transforms);
    const Data data(site, 5);
    Cut cut{5, 5, 2, 2, 1};
    const Result apart = run(single, site, cut, data);
    cut.in_place = true;
    CHECK(same_bits(run(single, site, cut, data), apart));
    site.input_gradient = false;
    Result without = run(single, site, cut, data);
    without.input_gradient = apart.input_gradient; // nobody wrote one
    CHECK(same_bits(without, apart));
}

} // namespace

TEST_CASE("many floats are rounded to 16 bits as one is, wherever they lie") {
    std::vector<float> floats;
    for (std::uint64_t bits = 0; bits < (std::uint64_t{1} << 32);
         bits += 40009) // halves, halfway ones, all ranges
        for (const std::uint32_t last : {0x0000u, 0x7fffu, 0x8000u, 0x8001u})
            floats.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(bits & 0xffff0000u) | last));
    for (const std::uint32_t bits :
         {0x7f7fffffu, 0xff7f8000u, 0x7f800000u, 0xff800000u, 0x7f800001u, 0x007fffffu})
        floats.push_back(std::bit_cast<float>(bits));
    const auto check = [](float from, bfloat16 found) {
        if (std::isnan(from)) return std::isnan(to_float(found));
        if (std::fabs(from) < std::numeric_limits<float>::min() && (found.bits & 0x7fffu) == 0) return true;
        return found == to<bfloat16>(from);
    };
    std::vector<bfloat16> rounded(floats.size());
    detail::convert(floats.data(), rounded.data(), static_cast<std::int64_t>(floats.size()));
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < floats.size(); ++i) wrong += check(floats[i], rounded[i]) ? 0 : 1;
    CHECK(wrong == 0);
    for (std::size_t count = 0; count <= 50; ++count) { // none behind the last is written
        const std::size_t first = 3 * count;
        std::vector<bfloat16> some(count + 1, bfloat16{0x1234});
        detail::convert(&floats[first], some.data(), static_cast<std::int64_t>(count));
        CHECK(std::equal(some.begin(), some.end() - 1, rounded.begin() + static_cast<std::ptrdiff_t>(first)));
        CHECK(some.back().bits == 0x1234);
    }
}

namespace {

/// The functors of a layer on stored bits, against themselves on floats, for every number but NaN's own bits.
template <class Layer, class T>
void on_bits_as_on_floats() {
    const auto same = [](T found, float expected) {
        return std::isnan(expected) ? std::isnan(to_float(found)) : found == to<T>(expected);
    };
    std::size_t wrong = 0;
    for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
        const T x{static_cast<std::uint16_t>(bits)}, dy{static_cast<std::uint16_t>(40503 * bits)};
        wrong += same(typename Layer::Forward{}(x), typename Layer::Forward{}(to_float(x))) ? 0 : 1;
        wrong +=
            same(typename Layer::Backward{}(dy, x), typename Layer::Backward{}(to_float(dy), to_float(x)))
                ? 0
                : 1;
    }
    CHECK(wrong == 0);
}

} // namespace

TEST_CASE("ReLU on the bits of 16-bit floats") {
    on_bits_as_on_floats<Relu, half>();
    on_bits_as_on_floats<Relu, bfloat16>();
}

TEST_CASE("convolution by Winograd's algorithm") {
    winograd<Conv2d<16, 3>>({3, 3, 16});
    winograd<Conv2d<32, 3>>({9, 7, 16});
    winograd<Conv2d<16, 3, 1, 1>>({5, 8, 48});
    winograd<Conv2d<48, 3, 1, 1, no_bias>>({6, 11, 32});
    winograd<Conv2d<16, 3, 1, 2>>({1, 4, 16});
    winograd<Conv2d<64, 3, 1, 2>>({10, 13, 32});
    winograd<Conv2d<80, 3>>({34, 21, 64}); // several blocks of tiles
    winograd<Conv2d<256, 3, 1, 1, no_bias>>({8, 8, 256});
}

namespace {

/// Distances to the loops', as a share of their length: of outputs, input gradients and weight gradients.
template <class Kernel, class T>
std::array<double, 3> rounding_of(const Site& site) {
    const Cut cut{2, 2, 2, 1, 1};
    const Data data = rounded<T>(Data(site, cut.batch));
    const Result expected = run(maker<LoopConvolution<float>>, site, cut, data);
    const Result found = run<T>(maker<Kernel>, site, cut, data);
    const auto share = [](const std::vector<float>& a, const std::vector<float>& b) {
        double apart = 0, length = 0;
        for (std::size_t i = 0; i < a.size(); ++i) {
            apart += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
            length += std::pow(static_cast<double>(b[i]), 2);
        }
        return std::sqrt(apart / length);
    };
    return {share(found.output, expected.output), share(found.input_gradient, expected.input_gradient),
            share(found.gradients[0], expected.gradients[0])};
}

} // namespace

TEST_CASE("what Winograd's algorithm rounds, beside the direct one") {
    const Site site = channels_last<Conv2d<128, 3>>({17, 17, 64});
    const auto check = [](const std::string& what, std::array<double, 3> found, double activations,
                          double weights) {
        MESSAGE(what << ": output " << found[0] << ", input gradient " << found[1] << ", weight gradient "
                     << found[2]);
        CHECK(found[0] < activations);
        CHECK(found[1] < activations);
        CHECK(found[2] < weights);
    };
    check("direct, Float", rounding_of<DirectConvolution<float>, float>(site), 1e-6, 1e-6);
    check("Winograd's, Float", rounding_of<WinogradConvolution<float>, float>(site), 2e-6, 2e-6);
    if (!detail::computes_bfloat16()) return;
    check("direct, BFloat16", rounding_of<DirectConvolution<bfloat16>, bfloat16>(site), 0x1p-8, 1e-6);
    check("Winograd's, BFloat16", rounding_of<WinogradConvolution<bfloat16>, bfloat16>(site), 0x1p-7, 0x1p-7);
}

#endif

TEST_CASE("convolution, blocked and channels first") {
    blocked<Conv2d<32, 3>>({7, 9, 3}, 1, 16);
    blocked<Conv2d<32, 3, 2, 1>>({8, 7, 16}, 16, 16);
    blocked<Conv2d<16, 1, 2>>({7, 5, 32}, 16, 16);
    blocked<Conv2d<32, 3, 1, 1>>({6, 5, 16}, 8, 8);
    blocked<Conv2d<16, 3>>({5, 6, 1}, 1, 8);
    blocked<Conv2d<6, 3>>({5, 6, 4}, 1, 1);
    blocked<Conv2d<6, 3>>({5, 6, 4}, 2, 3); // no library knows this one
}

TEST_CASE("pooling") {
    pool<MaxPool<2>>({6, 8, 16});
    pool<MaxPool<2>>({7, 5, 17});
    pool<MaxPool<2>>({1 + 1, 3, 1});
    pool<MaxPool<3, 2, 1>>({7, 6, 32});
    pool<MaxPool<3, 1, 1>>({4, 5, 5});
    pool<MaxPool<2, 3>>({8, 9, 3});
    pool<AveragePool<2>>({7, 6, 16});
    pool<AveragePool<3, 2, 1>>({6, 7, 5});
    global_average_pool(channels_last<GlobalAveragePool>({3, 5, 17}));
    global_average_pool(site_of<GlobalAveragePool>({5, 2, 32}, {16}, {16}));
}

namespace {

template <class T>
void check_equal_maxima(const Maker& kernel) {
    const Site site = channels_last<MaxPool<2>>({2, 2, 5});
    Data data(site, 1);
    // (2, 2, 5): channel 0 all equal, 1 has a NaN second, 2 is minus infinity, 3 has its maximum third, 4
    // begins with minus zero
    const float infinity = std::numeric_limits<float>::infinity();
    data.input = {1, 1,         -infinity, 0,  -0.0f, 1, -not_a_number, -infinity, 1, 0, 1,
                  2, -infinity, 2,         -1, 1,     3, -infinity,     2,         0};
    data.output_gradient = {1, 2, 3, 4, 5};
    const Result result = run<T>(kernel, site, {1, 1, 1, 1, 1}, data);
    CHECK(result.output[0] == 1);
    CHECK(std::isnan(result.output[1]));
    CHECK(result.output[2] == -infinity);
    CHECK(result.output[3] == 2);
    CHECK(result.output[4] == 0);
    CHECK(result.input_gradient ==
          std::vector<float>{1, 0, 3, 0, 5, 0, 2, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0});
}

/// Windows without a number above zero give zero and take no gradient; NaN passes.
template <class T, class Layer>
void check_rectified_maxima(Shape in) {
    const Site site = channels_last<Layer>(in);
    Data data(site, 1);
    const float infinity = std::numeric_limits<float>::infinity(), none = -infinity;
    // (2, 2, 5): channel 0 below zero, 1 zeros of either sign, 2 minus infinity, 3 has a NaN, 4 its maximum
    // last
    data.input = {-3,   0,  none, -1, -1,    -1,   -0.0f, none, not_a_number, 1, -2, 0,
                  none, -1, 1,    -4, -0.0f, none, 5,     2};
    data.output_gradient = {1, 2, 3, 4, 5};
    const Result result = run<T>(maker<RectifiedPool<T>>, site, {1, 1, 1, 1, 1}, data);
    for (const std::size_t c : {0, 1, 2}) CHECK(result.output[c] == 0);
    CHECK(std::isnan(result.output[3]));
    CHECK(result.output[4] == 2);
    CHECK(result.input_gradient ==
          std::vector<float>{0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5});
}

/// Stored numbers are ordered as integers as they are as floats.
template <class T>
void check_order() {
    for (unsigned a = 0; a < 65536; a += 97)
        for (unsigned b = 0; b < 65536; b += 89) {
            const T x{static_cast<std::uint16_t>(a)}, y{static_cast<std::uint16_t>(b)};
            if (std::isnan(to_float(x)) && std::isnan(to_float(y))) continue; // either will do
            REQUIRE(detail::replaces(detail::order_of<T>(x.bits), detail::order_of<T>(y.bits)) ==
                    (detail::replaces(to_float(x), to_float(y)) && !std::isnan(to_float(y))));
        }
}

/// Without training the same outputs, and nothing saved.
template <class T, class Layer>
void check_pool_evaluates(Shape in) {
    const Site site = channels_last<Layer>(in);
    const Data data(site, 3);
    std::vector<T> x(static_cast<std::size_t>(3 * site.input.size())); // (3, H, W, C)
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = to<T>(data.input[i]);
    x[1] = to<T>(not_a_number);
    for (const bool rectified : {false, true}) {
        PoolKernel<T> kernel(site, Team(1));
        if (rectified) kernel.rectify();
        const auto outputs = static_cast<std::size_t>(3 * site.output.size());
        std::vector<T> trained(outputs), evaluated(outputs); // (3, H', W', C)
        std::vector<std::uint8_t> saved(outputs);            // (3, H', W', C)
        Call call{.count = 3, .input = x.data(), .output = trained.data(), .saved = saved.data()};
        kernel.forward(call);
        call.training = false;
        call.output = evaluated.data();
        call.saved = nullptr;
        kernel.forward(call);
        CHECK(std::memcmp(trained.data(), evaluated.data(), outputs * sizeof(T)) == 0);
    }
}

} // namespace

TEST_CASE("pools save nothing where there is no training") {
    for (const int channels : {1, 5, 8, 32, 70}) {
        check_pool_evaluates<float, MaxPool<2>>({7, 8, channels});
        check_pool_evaluates<half, MaxPool<2>>({6, 9, channels});
        check_pool_evaluates<bfloat16, MaxPool<2>>({5, 4, channels});
        check_pool_evaluates<float, MaxPool<3, 2, 1>>({7, 8, channels});
        check_pool_evaluates<bfloat16, MaxPool<3, 2, 1>>({7, 8, channels});
    }
}

TEST_CASE("the first of equal maxima takes the gradient, and NaN passes") {
    check_equal_maxima<float>(maker<PoolKernel<float>>);
    check_equal_maxima<float>(maker<LoopPool<float>>);
    check_equal_maxima<half>(maker<PoolKernel<half>>);
    check_equal_maxima<bfloat16>(maker<PoolKernel<bfloat16>>);
    check_order<half>();
    check_order<bfloat16>();
    check_rectified_maxima<float, MaxPool<2>>({2, 2, 5});
    check_rectified_maxima<half, MaxPool<2>>({2, 2, 5});
    check_rectified_maxima<bfloat16, MaxPool<2>>({2, 2, 5});
    check_rectified_maxima<float, MaxPool<3, 3, 1>>({2, 2, 5}); // not the way of windows of 2 x 2
    check_rectified_maxima<bfloat16, MaxPool<3, 3, 1>>({2, 2, 5});
}

TEST_CASE("dense") {
    dense<Dense<1>>(1);
    dense<Dense<1>>(37);
    dense<Dense<10>>(128);
    dense<Dense<10, false>>(33);
    dense<Dense<64>>(100);
    dense<Dense<70>>(520);
    dense<Dense<130>>(1100);
    dense<Dense<3>>(2050);
}

#if PLIMSOLL_WITH_ONEDNN

namespace {

template <class K>
void check_limits(Site site, bool fast) {
    INFO(name_of(site), " images ", site.images);
    const K kernel(site, Team(1));
    const Needs used = kernel.used(), needs = K::needs(site);
    CHECK(used.packed <= needs.packed);
    CHECK(used.partial <= needs.partial);
    CHECK(used.scratch <= needs.scratch);
    if (!fast) return;
    for (const std::string_view name : kernel.implementations()) CHECK(!name.empty());
}

/// Whether an input gradient is made as an output is.
template <class T, class Layer>
bool input_gradient_goes_forward(Shape in) {
    Site site = channels_last<Layer>(in);
    site.images = 2;
    const std::array<std::string_view, 3> ways = DirectConvolution<T>(site, Team(1)).implementations();
    return ways[2] == ways[0] && ways[0].starts_with("brg"); // the older kernels have one name for both
}

} // namespace

TEST_CASE("where a network is not trained, convolutions pack weights once and give the same outputs") {
    const auto check = [](auto type, Site trained) {
        using T = decltype(type);
        INFO(name_of(trained));
        trained.images = trained.lanes = 2;
        const Maker& convolution = maker<DirectConvolution<T>>;
        Site site = trained;
        site.training = false;
        const Cut cut{5, 5, 2, 2, 2};
        const Data data(site, cut.batch);
        CHECK(same_bits(run<T>(convolution, site, cut, data).output,
                        run<T>(convolution, trained, cut, data).output));
        const Needs needs = convolution.needs(site), more = convolution.needs(trained);
        CHECK(needs.packed < more.packed);
        CHECK(needs.partial == 0);
        CHECK(needs.scratch < more.scratch);
        check_limits<DirectConvolution<T>>(site, false);
    };
    for (const Site& site :
         {channels_last<Conv2d<64, 3>>({9, 12, 32}), channels_last<Conv2d<16, 1, 2>>({7, 5, 64}),
          channels_last<Conv2d<24, 5, 3, 2>>({11, 9, 3})}) {
        check(float{}, site);
        check(bfloat16{}, site);
    }
}

TEST_CASE("input gradients go forward where tiles are multiplied") {
    if (!detail::computes_bfloat16_tiles()) {
        MESSAGE("skipped: this processor has no AMX");
        return;
    }
    CHECK(input_gradient_goes_forward<bfloat16, Conv2d<48, 5, 1, 1>>({9, 12, 32}));
    CHECK(input_gradient_goes_forward<bfloat16, Conv2d<128, 3>>({17, 17, 128}));
    CHECK(!input_gradient_goes_forward<bfloat16, Conv2d<16, 3, 1, 3>>({6, 7, 32}));
}

namespace {

/// A bfloat16 convolution's weight gradient within `most_scratch`, against plain loops.
/// \returns pieces an image; 0 where the library has no way within it
template <class Layer>
int pieces_of_weight_gradient(Shape in, std::int64_t most_scratch) {
    constexpr int images = 2;
    Site site = channels_last<Layer>(in);
    site.images = images;
    INFO(name_of(site), ", workspace ", most_scratch);
    const Data data = rounded<bfloat16>(Data(site, images));
    const Result expected = run(maker<LoopConvolution<float>>, site, {images, images, images, 1, 1}, data);
    const Parameter& facts = site.facts.parameters[0];
    detail::WeightGradient<bfloat16> gradient(site, 8 * 1024 * facts.size(), most_scratch, "a test");
    if (!gradient) return 0;
    CHECK(gradient.workspace() <= most_scratch);
    const std::int64_t bytes = detail::onednn::bytes(gradient.format());
    const Memory x(site.input.size() * images * 2), dy(site.output.size() * images * 2);
    const Memory piece(bytes), sum(bytes), scratch(most_scratch), plain(facts.size() * 4);
    const Memory bias(4 * std::int64_t{site.output.channels});
    to_layout<bfloat16>(data.input, 0, images, site.input, site.input_layout, x.get());
    to_layout<bfloat16>(data.output_gradient, 0, images, site.output, site.output_layout, dy.get());
    std::vector<float> total(expected.gradients[0].size()), total_bias(expected.gradients[1].size());
    detail::onednn::Primitive unpack = detail::onednn::Primitive::reorder(
        gradient.format(),
        detail::onednn::tagged({facts.shape[0], facts.shape[1], facts.shape[2], facts.shape[3]}, dnnl_oihw),
        "a test");
    int pieces = 0;
    gradient.for_pieces({.count = images, .input = x.get(), .output_gradient = dy.get()}, [&](auto compute) {
        compute(piece.get(), bias.get(), scratch.get());
        detail::onednn::Operands operands(
            unpack, {{DNNL_ARG_FROM, gradient.format()}, {DNNL_ARG_TO, unpack.query(dnnl_query_dst_md)}});
        operands.run({piece.get(), plain.get()});
        for (std::size_t i = 0; i < total.size(); ++i) total[i] += static_cast<const float*>(plain.get())[i];
        for (std::size_t i = 0; i < total_bias.size(); ++i)
            total_bias[i] += static_cast<const float*>(bias.get())[i];
        ++pieces;
    });
    CHECK(distance(total, expected.gradients[0]) < 2e-5);
    CHECK(distance(total_bias, expected.gradients[1]) < 2e-5);
    CHECK(scratch.intact());
    return pieces == 1 ? 1 : pieces / images;
}

template <class Layer>
void weight_gradient_in_bands(Shape in) {
    int most = 0, least = 0;
    for (std::int64_t most_scratch = 1 << 20; most_scratch > 1 << 12; most_scratch /= 2) {
        const int pieces = pieces_of_weight_gradient<Layer>(in, most_scratch);
        if (pieces > 0 && least == 0) least = pieces;
        most = std::max(most, pieces);
    }
    if (!detail::computes_bfloat16()) return; // each processor's ways want other workspaces
    CHECK(least == 1);
    CHECK(most > 2);
}

} // namespace

TEST_CASE("a weight gradient is summed over bands of rows, where whole pictures want too much workspace") {
    weight_gradient_in_bands<Conv2d<8, 3>>({23, 20, 4});
    weight_gradient_in_bands<Conv2d<24, 3, 1, 1>>({17, 20, 33});
    weight_gradient_in_bands<Conv2d<33, 5, 2, 2>>({24, 19, 6});
    weight_gradient_in_bands<Conv2d<5, 1, 3>>({29, 12, 16});
    // Rows that tiles (AMX) do not divide well: with zeros behind them, without and with padding beside them.
    weight_gradient_in_bands<Conv2d<24, 3>>({13, 36, 16});
    weight_gradient_in_bands<Conv2d<16, 5, 1, 2>>({16, 37, 3});
}

TEST_CASE("what oneDNN takes stays within the limits") {
    bool fast = std::getenv("DNNL_MAX_CPU_ISA") == nullptr;
#if defined(__x86_64__)
    fast = fast && __builtin_cpu_supports("avx2");
#else
    fast = false;
#endif
    const bool fast_bfloat16 = fast && detail::computes_bfloat16();
    Site site = channels_last<Conv2d<32, 3>>({24, 22, 3});
    for (const int images : {1, 4})
        for (const int channels : {1, 3, 8, 17, 32, 64})
            for (const int filters : {1, 5, 16, 48, 64, 80, 100})
                for (const int kernel : {1, 3, 5})
                    for (const int stride : {1, 2}) {
                        if (kernel == 5 && (channels > 32 || filters > 64)) continue;
                        site.images = images;
                        site.facts.window = {kernel, stride, kernel / 2};
                        site.input.channels = channels;
                        site.output = {site.facts.window.output(24), site.facts.window.output(22), filters};
                        site.facts.parameters[0].shape = {filters, channels, kernel, kernel};
                        site.facts.parameters[1].shape = {filters};
                        site.input_layout = Layout::channels_last(site.input);
                        site.output_layout = Layout::channels_last(site.output);
                        check_limits<ConvolutionKernel<float>>(site, fast);
                        check_limits<ConvolutionKernel<bfloat16>>(site, fast_bfloat16);
                        check_limits<DirectConvolution<float>>(site, fast);
                        check_limits<DirectConvolution<bfloat16>>(site, fast_bfloat16);
                        if (!WinogradConvolution<float>::pays(site)) continue;
                        check_limits<WinogradConvolution<float>>(site, fast);
                        check_limits<WinogradConvolution<bfloat16>>(site, fast_bfloat16);
                    }
    Site dense = channels_last<Dense<64>>({1, 1, 64});
    for (const int images : {1, 2, 17, 32, 128, 500, 1024})
        for (const int inputs : {1, 3, 64, 512, 1024, 1537, 6272})
            for (const int outputs : {1, 2, 10, 64, 512, 1000}) {
                dense.images = images;
                dense.input.channels = inputs;
                dense.output.channels = outputs;
                check_limits<DenseKernel<float, float>>(dense, fast);
                check_limits<DenseKernel<bfloat16, bfloat16>>(dense, fast_bfloat16);
            }
}

TEST_CASE("a failing library call names the call, the place and the reason") {
    CHECK_THROWS_WITH_AS(detail::onednn::check(dnnl_invalid_arguments, "dnnl_memory_create", "Conv2d 3x3x3"),
                         "oneDNN's dnnl_memory_create failed (invalid arguments, status 2) for Conv2d 3x3x3",
                         device_error);
}

#endif
