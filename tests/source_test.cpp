// Where samples come from: numbers and orders, labels, the sources; and the units that users write.

#include "support.hpp"

#include <plimsoll/core/permutation.hpp>
#include <plimsoll/core/philox.hpp>
#include <plimsoll/core/units.hpp>
#include <plimsoll/format/npy.hpp>
#include <plimsoll/source/example_source.hpp>
#include <plimsoll/source/in_memory.hpp>
#include <plimsoll/source/labels.hpp>
#include <plimsoll/source/memory_mapped.hpp>
#include <plimsoll/source/order.hpp>
#include <plimsoll/source/picture_folder.hpp>
#include <plimsoll/source/source.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <numeric>
#include <span>
#include <string>
#include <thread>
#include <vector>

using namespace plimsoll;
using namespace support;
using namespace std::string_literals;

namespace {

using Indexes = std::vector<std::uint64_t>;

template <class T>
Array array_of(std::vector<std::uint64_t> dims, const std::vector<T>& values) {
    Array array{dtype_of<T>, std::move(dims), std::vector<u8>(values.size() * sizeof(T))};
    if (!values.empty()) std::memcpy(array.bytes.data(), values.data(), array.bytes.size());
    return array;
}

template <class T>
std::string save(const std::string& path, const std::vector<std::uint64_t>& dims,
                 const std::vector<T>& values) {
    write_npy(path, dims, std::span(values));
    return path;
}

/// Bytes 0, 1, 2, ...
template <class T = u8>
std::vector<T> counting(std::size_t count) {
    std::vector<T> values(count);
    for (std::size_t i = 0; i < count; ++i) values[i] = static_cast<T>(static_cast<u8>(i));
    return values;
}

/// An IDX file of counting bytes.
std::string idx_bytes(const std::vector<std::uint32_t>& dims) {
    std::string out = "\0\0\x08"s + static_cast<char>(dims.size());
    std::size_t count = 1;
    for (const std::uint32_t dim : dims) {
        for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(dim >> shift & 255);
        count *= dim;
    }
    for (const u8 byte : counting(count)) out += static_cast<char>(byte);
    return out;
}

template <class Source>
std::vector<Label> labels_of(const Source& data, const Indexes& samples) {
    std::vector<typename Source::Pixel> images(samples.size() *
                                               static_cast<std::size_t>(data.shape().size()));
    std::vector<Label> labels(samples.size());
    data.read(samples, images, labels);
    return labels;
}

template <class Source>
auto images_of(const Source& data, const Indexes& samples) {
    std::vector<typename Source::Pixel> images(samples.size() *
                                               static_cast<std::size_t>(data.shape().size()));
    std::vector<Label> labels(samples.size());
    data.read(samples, images, labels);
    return images;
}

/// What every source promises.
template <class Source>
void check_conforms(const Source& data) {
    static_assert(source<Source>);
    check_source<Source>();
    const std::uint64_t size = data.size();
    REQUIRE(size > 1);
    REQUIRE(data.shape().size() > 0);
    CHECK((data.class_names().empty() ||
           data.class_names().size() >= static_cast<std::size_t>(data.classes())));
    Indexes all(size);
    std::iota(all.begin(), all.end(), std::uint64_t{0});
    const auto labels = labels_of(data, all);
    CHECK(*std::min_element(labels.begin(), labels.end()) >= 0);
    CHECK(*std::max_element(labels.begin(), labels.end()) == data.classes() - 1);

    const auto images = images_of(data, all);
    const auto stride = static_cast<std::ptrdiff_t>(data.shape().size());
    const Indexes picked{size - 1, 0, size / 2, 0};
    const auto some = images_of(data, picked);
    for (std::size_t i = 0; i < picked.size(); ++i) {
        CHECK(labels_of(data, picked)[i] == labels[picked[i]]);
        const auto first = images.begin() + static_cast<std::ptrdiff_t>(picked[i]) * stride;
        CHECK(std::equal(first, first + stride, some.begin() + static_cast<std::ptrdiff_t>(i) * stride));
    }
    CHECK(labels_of(data, {}).empty());
    CHECK(contains(message_of<argument_error>([&] {
                       labels_of(data, {0, size});
                   }),
                   text("sample ", size, " was asked for, it has ", size)));
    CHECK(contains(message_of<argument_error>([&] { labels_of(data, {~0ull}); }), data.name()));
    auto wrong = images;
    std::vector<Label> two(2);
    CHECK(contains(message_of<argument_error>([&] { data.read(Indexes{0}, wrong, two); }),
                   "reading 1 samples"));

    bool same[2] = {false, false}; // several threads at once
    std::thread threads[2];
    for (int t = 0; t < 2; ++t)
        threads[t] = std::thread([&, t] { same[t] = images_of(data, all) == images; });
    for (std::thread& thread : threads) thread.join();
    CHECK(same[0]);
    CHECK(same[1]);
}

} // namespace

// ----------------------------------------------------------------------------------------------------- core

TEST_CASE("bytes are written with literals, printed and parsed") {
    static_assert(500_MiB == Bytes{524288000});
    static_assert(2.7_GB == Bytes{2700000000});
    static_assert(1_KiB + 1_B == Bytes{1025});
    static_assert(2_GiB - 1_GB == Bytes{1147483648});
    static_assert(0.5_MiB == 512_KiB);
    static_assert((0.5_p).value == 0.5);
    CHECK(to_string(0_B) == "0 B");
    CHECK(to_string(1023_B) == "1023 B");
    CHECK(to_string(1_KiB) == "1.00 KiB");
    CHECK(to_string(Bytes{94686412}) == "90.30 MiB");
    CHECK(to_string(Bytes{4'396'410'000}) == "4.09 GiB");
    CHECK(to_string(Bytes{1048575}) == "1.00 MiB");
    CHECK(to_string(Bytes{-2048}) == "-2.00 KiB");
    for (const char* same : {"524288000", "500MiB", "500 MiB", "500mib", "0.48828125 GiB", "512000KiB"}) {
        CAPTURE(same);
        CHECK(parse_bytes(same) == 500_MiB);
    }
    CHECK(parse_bytes("2.7GB") == 2.7_GB);
    CHECK(parse_bytes("64k") == Bytes{64000});
    CHECK(parse_bytes("1.5T") == Bytes{1'500'000'000'000});
    CHECK(parse_bytes("12B") == 12_B);
    for (const char* wrong :
         {"", " ", "MiB", "-1", "1.2.3", "5 parsecs", "1e9", "1 GiB ", "0x10", ".", "99999999999TB"}) {
        CAPTURE(wrong);
        CHECK(contains(message_of<argument_error>([&] { parse_bytes(wrong); }),
                       text("\"", wrong, "\" is not a size")));
    }
}

TEST_CASE("philox gives Random123's known answers") {
    static_assert(philox({0, 0, 0, 0}, 0) == Words4{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
    CHECK(philox({~0u, ~0u, ~0u, ~0u}, ~0ull) == Words4{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
    CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0x299f31d0'a4093822ull) ==
          Words4{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
    CHECK(stream_key(1, Purpose::shuffle) != stream_key(1, Purpose::dropout));
    CHECK(stream_key(1, Purpose::shuffle) != stream_key(2, Purpose::shuffle));
    CHECK(unit_float(0) == 0.0f);
    CHECK(unit_float(~0u) < 1.0f);
}

TEST_CASE("every order is a permutation, exactly") {
    const auto is_permutation = [](const Order& order) {
        std::vector<bool> seen(order.size(), false);
        for (std::uint64_t i = 0; i < order.size(); ++i) {
            const std::uint64_t sample = order[i];
            if (sample >= order.size() || seen[sample]) return false;
            seen[sample] = true;
        }
        return true;
    };
    for (std::uint64_t size = 1; size <= 1000; ++size) {
        CAPTURE(size);
        REQUIRE(is_permutation(Order(size, 7, size, true)));
    }
    CHECK(is_permutation(Order(60'000, 1, 0, true)));
    CHECK(is_permutation(Order(60'000, 1, 1, true)));
    CHECK(Order(0, 1, 1, true).size() == 0);
    const Permutation vast(1ull << 62, 5);
    CHECK(vast[0] < 1ull << 62);
}

TEST_CASE("orders differ by seed and epoch, are spread, and resume anywhere") {
    constexpr std::uint64_t size = 5000;
    const auto whole = [](std::uint64_t seed, std::uint64_t epoch, bool shuffle = true) {
        Indexes samples(size);
        Order(size, seed, epoch, shuffle).fill(0, samples);
        return samples;
    };
    const auto fixed_points = [](const Indexes& a, const Indexes& b) {
        int same = 0;
        for (std::size_t i = 0; i < a.size(); ++i) same += a[i] == b[i] ? 1 : 0;
        return same;
    };
    const Indexes first = whole(1, 0), straight = whole(1, 0, false);
    CHECK(straight.front() == 0);
    CHECK(std::is_sorted(straight.begin(), straight.end()));
    CHECK(first == whole(1, 0));
    // Two random permutations agree at one place on average.
    CHECK(fixed_points(first, straight) < 10);
    CHECK(fixed_points(first, whole(1, 1)) < 10);
    CHECK(fixed_points(first, whole(2, 0)) < 10);
    CHECK(fixed_points(first, whole(1, 1ull << 32)) < 10);
    CHECK(fixed_points(whole(1, 1), whole(2, 0)) < 10);
    double mean = 0; // of the first tenth: 2499.5, deviation of a mean of 500 about 65
    for (std::size_t i = 0; i < 500; ++i) mean += static_cast<double>(first[i]) / 500;
    CHECK(mean == doctest::Approx(2499.5).epsilon(0.12));

    const Order order(size, 1, 0, true);
    Indexes part(100);
    order.fill(4900, part);
    CHECK(std::equal(part.begin(), part.end(), first.begin() + 4900));
    CHECK(order[1234] == first[1234]);
    CHECK(contains(message_of<argument_error>([&] { order.fill(4901, part); }), "positions 4901 to 5001"));
    CHECK(contains(message_of<argument_error>([&] { static_cast<void>(order[size]); }), "position 5000"));
    CHECK(!message_of<argument_error>([] { Order(~0ull, 1, 1, true); }).empty());
    static_assert(Order(10, 1, 2, false)[9] == 9);
}

// --------------------------------------------------------------------------------------------------- labels

TEST_CASE("labels come from every type that holds whole numbers") {
    const std::vector<Label> expected{3, 0, 127};
    const auto same = [&]<class T>(T) {
        CHECK(to_labels(array_of<T>({3}, {T(3), T(0), T(127)}), "a") == expected);
        CHECK(to_labels(array_of<T>({3, 1}, {T(3), T(0), T(127)}), "a") == expected);
    };
    same(std::uint8_t{}), same(std::int8_t{}), same(std::uint16_t{}), same(std::int16_t{}),
        same(std::uint32_t{});
    same(std::int32_t{}), same(std::uint64_t{}), same(std::int64_t{}), same(float{}), same(double{});
    const Array halves{{ElementKind::floating, 2}, {2}, {0x00, 0x3c, 0x00, 0x42}};
    CHECK(to_labels(halves, "a") == std::vector<Label>{1, 3});
    const Array flags{dtype_of<bool>, {3}, {1, 0, 1}};
    CHECK(to_labels(flags, "a") == std::vector<Label>{1, 0, 1});
    CHECK(to_labels(array_of<std::int64_t>({1}, {2147483646}), "a")[0] == 2147483646);
    CHECK(to_labels(array_of<u8>({0}, {}), "a").empty());
}

TEST_CASE("labels that are none are refused with their index and value") {
    const auto refused = [](const Array& array) {
        return message_of<data_error>([&] { to_labels(array, "y.npy"); });
    };
    CHECK(contains(refused(array_of<float>({3}, {1, 0, 0.5f})),
                   "\"y.npy\", label 2 is 0.5: labels are whole numbers"));
    CHECK(contains(refused(array_of<double>({2}, {1, std::nan("")})), "label 1 is nan"));
    CHECK(contains(refused(array_of<double>({1}, {std::numeric_limits<double>::infinity()})),
                   "label 0 is inf"));
    CHECK(contains(refused(array_of<std::int8_t>({2}, {1, -1})), "label 1 is -1: labels are from 0"));
    CHECK(contains(refused(array_of<std::int64_t>({1}, {2147483647})), "label 0 is 2.14748365e+09"));
    CHECK(contains(refused(array_of<std::uint64_t>({1}, {~0ull})), "labels are from 0 to 2147483646"));
    CHECK(contains(refused(array_of<u8>({2, 2, 1}, {0, 0, 0, 0})),
                   "(2, 2, 1): labels are (N,), (N, 1) or one-hot"));
    CHECK(contains(refused(array_of<u8>({}, {0})), "shape ()"));
    CHECK(contains(refused(array_of<u8>({2, 0}, {})), "(2, 0)"));
}

TEST_CASE("one-hot labels have exactly one 1 a row") {
    CHECK(to_labels(array_of<float>({2, 3}, {0, 0, 1, 1, 0, 0}), "a") == std::vector<Label>{2, 0});
    CHECK(to_labels(array_of<u8>({2, 2}, {0, 1, 1, 0}), "a") == std::vector<Label>{1, 0});
    CHECK(to_labels(Array{dtype_of<bool>, {1, 2}, {0, 1}}, "a") == std::vector<Label>{1});
    const auto refused = [](const Array& array) {
        return message_of<data_error>([&] { to_labels(array, "y"); });
    };
    CHECK(contains(refused(array_of<u8>({2, 2}, {0, 1, 0, 0})), "row 1 of one-hot (2, 2): no column is 1"));
    CHECK(contains(refused(array_of<u8>({2, 2}, {0, 1, 1, 1})),
                   "row 1 of one-hot (2, 2): columns 0 and 1 are both 1"));
    CHECK(
        contains(refused(array_of<float>({1, 2}, {0.5f, 0.5f})), "row 0 of one-hot (1, 2): column 0 is 0.5"));
    CHECK(contains(refused(array_of<float>({1, 2}, {1, std::nanf("")})), "column 1 is nan"));
    CHECK(contains(refused(array_of<std::int32_t>({1, 2}, {2, 0})), "column 0 is 2"));
}

// -------------------------------------------------------------------------------------------------- sources

namespace {

struct NoRead {
    using Pixel = float;
    [[nodiscard]] std::uint64_t size() const { return 0; }
    [[nodiscard]] Shape shape() const { return {}; }
    [[nodiscard]] int classes() const { return 0; }
    [[nodiscard]] const std::vector<std::string>& class_names() const;
    [[nodiscard]] std::string name() const;
};
struct WrongPixel : NoRead {
    using Pixel = double;
    void read(std::span<const std::uint64_t>, std::span<double>, std::span<Label>) const;
};
struct WrongSize : NoRead {
    [[nodiscard]] int size() const { return 0; }
    void read(std::span<const std::uint64_t>, std::span<float>, std::span<Label>) const;
};
static_assert(source_has_pixel<NoRead> && !source_reads_samples<NoRead> && !source<NoRead>);
static_assert(!source_has_pixel<WrongPixel> && source_has_name<WrongPixel> && !source<WrongPixel>);
static_assert(!source_has_size<WrongSize> && source_reads_samples<WrongSize> && !source<WrongSize>);
static_assert(!source_has_pixel<int> && !source_has_shape<int> && !source<int>);

} // namespace

TEST_CASE("the example is a source, striped and plain") {
    const ExampleSource data(200, {12, 10, 3}, 5);
    check_conforms(data);
    CHECK(data.classes() == 2);
    Indexes all(200);
    std::iota(all.begin(), all.end(), std::uint64_t{0});
    const auto labels = labels_of(data, all);
    const auto striped = std::accumulate(labels.begin(), labels.end(), 0);
    CHECK(striped > 70);
    CHECK(striped < 130);
    const auto images = images_of(data, all);
    for (std::size_t i = 0; i < 200;
         ++i) { // the classes can be told apart by eye: stripes are brighter than noise
        const auto first = images.begin() + static_cast<std::ptrdiff_t>(i * 360);
        CHECK((*std::max_element(first, first + 360) >= 160) == (labels[i] == 1));
    }
    CHECK(images_of(ExampleSource(200, {12, 10, 3}, 5), all) == images);
    CHECK(images_of(ExampleSource(200, {12, 10, 3}, 6), all) != images);
    CHECK(contains(message_of<argument_error>([] { ExampleSource(1, {0, 1, 1}); }), "0x1x1 is empty"));
}

TEST_CASE("InMemory holds vectors") {
    InMemory<u8> data(counting(5 * 6), {1, 2, 3}, {0, 1, 2, 1, 0}, "made up");
    check_conforms(data);
    CHECK(data.size() == 5);
    CHECK(data.classes() == 3);
    CHECK(data.name() == "made up");
    CHECK(images_of(data, {1}) == std::vector<u8>{6, 7, 8, 9, 10, 11});
    check_conforms(InMemory<float>(std::vector<float>(30, 0.5f), {1, 2, 3}, {0, 1, 2, 1, 0}));
    CHECK(contains(message_of<argument_error>([&] {
                       data.set_class_names({"a", "b"});
                   }),
                   "3 classes, found 2 names"));
    data.set_class_names({"a", "b", "c", "spare"});
    CHECK(data.class_names().size() == 4);

    const auto refused = [](std::size_t pixels, Shape shape, std::vector<Label> labels) {
        return message_of<data_error>([&] { InMemory<u8>(counting(pixels), shape, std::move(labels)); });
    };
    CHECK(contains(refused(7, {1, 2, 3}, {0}),
                   "7 pixels are no whole number of images of 1x2x3, 6 pixels each"));
    CHECK(contains(refused(6, {1, 2, 3}, {0, 1}), "\"memory\" has 1 images, \"memory\" has 2 labels"));
    CHECK(contains(refused(6, {1, 2, 0}, {0}), "1x2x0 is empty"));
    CHECK(contains(refused(0, {1, 2, 3}, {}), "\"memory\" is empty"));
    CHECK(contains(refused(12, {1, 2, 3}, {0, -1}), "label 1 is -1"));
    CHECK(contains(refused(12, {1, 2, 3}, {2147483647, 1}), "label 0 is 2147483647"));
}

TEST_CASE("float pixels are finite, and suspicious above 1") {
    const auto make = [](std::vector<float> pixels) {
        InMemory<float>(std::move(pixels), {1, 1, 2}, {0, 1}, "x.npy");
    };
    const float nan = std::nanf(""), infinity = std::numeric_limits<float>::infinity();
    CHECK(contains(message_of<data_error>([&] {
                       make({0, 0, 0, nan});
                   }),
                   "\"x.npy\", sample 1, pixel 1 is nan"));
    CHECK(contains(message_of<data_error>([&] { make({0, 0, -nan, 0}); }), "sample 1, pixel 0 is -nan"));
    CHECK(contains(message_of<data_error>([&] { make({0, infinity, nan, 0}); }), "sample 0, pixel 1 is inf"));
    CHECK(contains(message_of<data_error>([&] { make({-infinity, 0, 0, 0}); }), "sample 0, pixel 0 is -inf"));
    const auto make_half = [](std::vector<half> pixels) {
        InMemory<half>(std::move(pixels), {1, 1, 2}, {0, 1}, "h.npy");
    };
    CHECK(contains(message_of<data_error>([&] {
                       make_half({{}, {}, {}, {0xfc00}});
                   }),
                   "sample 1, pixel 1 is -inf"));
    CHECK(contains(message_of<data_error>([&] {
                       make_half({{}, {0x7c01}, {}, {}});
                   }),
                   "sample 0, pixel 1 is nan"));
    CHECK(contains(stderr_of([&] {
                       make_half({{}, to<half>(255), {0xbc00}, {}});
                   }),
                   "float pixels up to 255"));
    CHECK(stderr_of([&] { make_half({{}, to<half>(1), {0xfbff}, {}}); }).empty());
    CHECK(stderr_of([&] { make({0, 1, -3, 0.5f}); }).empty());
    const std::string warning = stderr_of([&] { make({0, 255, -3, 17}); });
    CHECK(contains(
        warning, "plimsoll: warning: \"x.npy\" holds float pixels up to 255: divide by 255, or save uint8"));
    CHECK(std::count(warning.begin(), warning.end(), '\n') == 1);
}

TEST_CASE("InMemory finds NumPy files by prefix") {
    const TemporaryFolder folder;
    save(folder / "train_images.npy", {4, 2, 3, 3}, counting(72));
    save<std::int64_t>(folder / "train_labels.npy", {4}, {1, 0, 2, 1});
    const InMemory<u8> data{folder / "train"};
    check_conforms(data);
    CHECK(data.shape() == Shape{2, 3, 3});
    CHECK(labels_of(data, {2, 0}) == std::vector<Label>{2, 1});
    CHECK(images_of(data, {3})[0] == 54);
    CHECK(data.name() == folder / "train_images.npy");

    save(folder / "gray.dat", {4, 2, 3},
         std::vector<float>(24, 0.25f)); // told by its first bytes, not its name
    save<float>(folder / "hot", {4, 2}, {0, 1, 1, 0, 0, 1, 0, 1});
    const InMemory<float> gray(folder / "gray.dat", folder / "hot");
    check_conforms(gray);
    CHECK(gray.shape() == Shape{2, 3, 1});
    CHECK(labels_of(gray, {0, 1, 2, 3}) == std::vector<Label>{1, 0, 1, 1});

    write_file(folder / "train-images-idx3-ubyte", idx_bytes({9, 2, 2})); // .npy comes first
    write_file(folder / "train-labels-idx1-ubyte", idx_bytes({9}));
    CHECK(InMemory<u8>(folder / "train").size() == 4);
}

TEST_CASE("InMemory reads IDX by prefix") {
    const TemporaryFolder folder;
    write_file(folder / "t-images-idx3-ubyte", idx_bytes({4, 2, 3}));
    write_file(folder / "t-labels-idx1-ubyte", idx_bytes({4}));
    const InMemory<u8> data(folder / "t");
    check_conforms(data);
    CHECK(data.shape() == Shape{2, 3, 1});
    CHECK(data.classes() == 4);
    CHECK(images_of(data, {1}) == std::vector<u8>{6, 7, 8, 9, 10, 11});
    save<u8>(folder / "labels.npy", {4}, {1, 1, 1, 0});
    CHECK(InMemory<u8>(folder / "t-images-idx3-ubyte", folder / "labels.npy").classes() == 2);
    CHECK(contains(message_of<data_error>([&] { InMemory<float>{folder / "t"}; }),
                   "t-images-idx3-ubyte\" holds uint8: write InMemory<u8>"));
}

TEST_CASE("InMemory refuses what it cannot train on, naming the way out") {
    const TemporaryFolder folder;
    const std::string labels = save<u8>(folder / "two.npy", {2}, {0, 1}), images = folder / "x.npy";
    const auto refused = [&]<class T>(const std::vector<std::uint64_t>& dims, T) {
        std::uint64_t count = 1;
        for (const std::uint64_t dim : dims) count *= dim;
        save(images, dims, std::vector<T>(count));
        return message_of<data_error>([&] { InMemory<u8>(images, labels); });
    };
    CHECK(contains(refused({2, 3, 3}, 0.0f), "x.npy\" holds float32: write InMemory<float>"));
    CHECK(contains(refused({2, 3, 3}, 0.0), "holds float64: save it as float32, a.astype('<f4')"));
    CHECK(contains(refused({2, 3, 3}, std::int64_t{0}), "holds int64: save it as uint8"));
    CHECK(contains(refused({2, 3, 20, 21}, u8{0}), "looks like (N, C, H, W) = (2, 3, 20, 21): Plimsoll reads "
                                                   "(N, H, W, C); np.transpose(a, (0, 2, 3, 1))"));
    CHECK(contains(refused({2, 1, 20, 21}, u8{0}), "looks like (N, C, H, W)"));
    CHECK(contains(refused({2, 12}, u8{0}), "(2, 12): images are (N, H, W, C) or (N, H, W)"));
    CHECK(contains(refused({2, 1, 2, 3, 4}, u8{0}), "images are"));
    CHECK(contains(refused({2, 0, 3}, u8{0}), "(2, 0, 3): an image has 1 to"));
    CHECK(contains(refused({3, 4, 4}, u8{0}), "x.npy\" has 3 images, \"" + labels + "\" has 2 labels"));
    save<u8>(labels, {0}, {});
    CHECK(contains(refused({0, 4, 4}, u8{0}), "x.npy\" is empty"));
    save<u8>(labels, {2}, {0, 1});
    save(images, {2, 4, 4}, counting(32));
    CHECK(contains(message_of<data_error>([&] { InMemory<float>(images, labels); }),
                   "holds uint8: write InMemory<u8>"));
    // A strip, a few columns of few channels, and a vector are no channels-first images.
    for (const std::vector<std::uint64_t>& dims :
         {Indexes{2, 3, 5, 3}, Indexes{2, 1, 1, 9}, Indexes{2, 5, 5, 16}, Indexes{2, 3, 7, 1}}) {
        save(images, dims, std::vector<u8>(dims[0] * dims[1] * dims[2] * dims[3]));
        CHECK(InMemory<u8>(images, labels).shape().channels == static_cast<int>(dims[3]));
    }

    write_file(images, "\x89PNG\r\n");
    CHECK(contains(message_of<format_error>([&] { InMemory<u8>(images, labels); }),
                   "x.npy\", offset 0: neither .npy nor IDX"));
    write_file(images, "");
    CHECK(contains(message_of<format_error>([&] { InMemory<u8>(images, labels); }), "neither .npy nor IDX"));
}

TEST_CASE("a data set that is not there is named with what was looked for") {
    const TemporaryFolder folder;
    const std::string none = message_of<io_error>([&] { InMemory<u8>{folder / "val"}; });
    CHECK(contains(none, folder / "val_images.npy"));
    CHECK(contains(none, folder / "val-images-idx3-ubyte.gz"));
    save(folder / "half_images.npy", {1, 1, 1}, counting(1));
    const std::string half = message_of<io_error>([&] { InMemory<u8>{folder / "half"}; });
    CHECK(contains(half, "half_labels.npy"));
    CHECK(half.find("half_images.npy") == std::string::npos);
    CHECK(contains(message_of<io_error>([&] { InMemory<u8>("no/x.npy", "no/y.npy"); }), "no/x.npy"));
    CHECK(contains(message_of<io_error>([] { InMemory<u8>{"/usr/share/datasets/fashion-mnist/absent"}; }),
                   "apt-get install dataset-fashion-mnist"));
}

TEST_CASE("Fashion-MNIST as Debian packages it") {
    const std::string folder = "/usr/share/datasets/fashion-mnist";
    if (!path_exists(folder)) {
        MESSAGE("skipped: " << folder << " is not there");
        return;
    }
    const InMemory<u8> train(folder + "/train"), test(folder + "/t10k");
    CHECK(train.size() == 60'000);
    CHECK(test.size() == 10'000);
    for (const auto* data : {&train, &test}) {
        CHECK(data->shape() == Shape{28, 28, 1});
        CHECK(data->classes() == 10);
    }
    CHECK(labels_of(train, {0, 1, 2, 59'999}) == std::vector<Label>{9, 0, 0, 5});
    std::vector<int> count(10);
    Indexes all(60'000);
    Order(60'000, 1, 0, true).fill(0, all);
    for (const Label label : labels_of(train, all)) ++count[static_cast<std::size_t>(label)];
    CHECK(count == std::vector<int>(10, 6000));
    check_conforms(test);
}

TEST_CASE("classes.txt beside the arrays names their classes") {
    const TemporaryFolder folder;
    const std::uint64_t dims[] = {3, 2, 2, 1}, count[] = {3};
    const std::vector<u8> pixels(12, 7);
    const std::vector<Label> labels{0, 1, 2};
    const std::string prefix = folder / "train";
    write_npy(prefix + "_images.npy", dims, std::span(pixels));
    write_npy(prefix + "_labels.npy", count, std::span(labels));
    CHECK(InMemory<u8>(prefix).class_names().empty());
    write_file(folder / "classes.txt", "cat\r\nblue bird\ndog\nfish\n"); // a split may lack the last class
    const std::vector<std::string> names{"cat", "blue bird", "dog", "fish"};
    CHECK(InMemory<u8>(prefix).class_names() == names);
    CHECK(MemoryMapped<u8>(prefix).class_names() == names);
    write_file(folder / "classes.txt", "cat\nblue bird\ndog\nfish\n\n\r\n"); // blank lines are no classes
    CHECK(InMemory<u8>(prefix).class_names() == names);
    write_file(folder / "classes.txt", "cat\ndog\n");
    const std::string said = stderr_of([&] { CHECK(InMemory<u8>(prefix).class_names().empty()); });
    CHECK(contains(said, "holds 2 names"));
    CHECK(contains(said, "has 3 classes"));
}

TEST_CASE("a folder of training and test pictures is not taken for two classes") {
    const TemporaryFolder folder;
    for (const char* below : {"train/cat", "train/dog", "test/cat", "test/dog"}) {
        std::filesystem::create_directories(folder / below);
        write_file(folder / below + "/1.jpg", "");
    }
    CHECK(contains(message_of<data_error>([&] { list_pictures(folder.path()); }),
                   "holds parts of a data set, not classes: name one of them, \"" + (folder / "test")));
    CHECK(list_pictures(folder / "train").class_names == std::vector<std::string>{"cat", "dog"});
    write_file(folder / "train/steam.jpg", ""); // these are trains, and tests
    CHECK(list_pictures(folder.path()).class_names == std::vector<std::string>{"test", "train"});

    const TemporaryFolder named;
    for (const char* below : {"Train", "Validation"}) {
        std::filesystem::create_directories(named / below);
        write_file(named / below + "/cat.1.jpg", "");
        write_file(named / below + "/dog.1.jpg", "");
    }
    CHECK(
        contains(message_of<data_error>([&] { list_pictures(named.path()); }), "holds parts of a data set"));
}

TEST_CASE("a hidden folder in a class holds none of its pictures") {
    const TemporaryFolder folder;
    for (const char* below : {"cat/.ipynb_checkpoints", "cat/more", "dog"})
        std::filesystem::create_directories(folder / below);
    for (const char* picture : {"cat/.ipynb_checkpoints/1-checkpoint.jpg", "cat/more/1.jpg", "dog/1.jpg"})
        write_file(folder / picture, "");
    const PictureFolder listed = list_pictures(folder.path());
    REQUIRE(listed.pictures.size() == 2);
    CHECK(listed.pictures[0].path == folder / "cat/more/1.jpg");
    CHECK(listed.pictures[1].path == folder / "dog/1.jpg");
    CHECK(listed.strays == 1); // the hidden folder, as one beside the classes is
}
