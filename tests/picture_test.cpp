// Pictures: decoded to TensorFlow's bits, resized to the exact value, and never crashed by what is damaged.

#include "allocations.hpp"
#include "support.hpp"

#include <plimsoll/format/npy.hpp>
#include <plimsoll/format/picture.hpp>

#include <doctest/doctest.h>

#if PLIMSOLL_WITH_PNG
#include <zlib.h>
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

using namespace plimsoll;
using namespace support;
using namespace std::string_literals;

// ----------------------------------------------------------------------------------------------------
// resize.hpp

namespace {

/// Waves of each channel, and some noise where `noise` is given.
std::vector<u8> waves(int height, int width, int channels, int noise = 0) {
    std::vector<u8> out;
    std::minstd_rand random(7);
    for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x)
            for (int c = 0; c < channels; ++c) {
                const double wave = 128 + 60 * std::sin(0.03 * x * (c + 1)) + 50 * std::cos(0.02 * y + c);
                const int more = noise > 0 ? static_cast<int>(random() >> 8) % noise - noise / 2 : 0;
                out.push_back(static_cast<u8>(std::clamp(static_cast<int>(wave) + more, 0, 255)));
            }
    return out;
}

/// The weights of output pixel x by the textbook, in double: pixel -> weight.
std::map<int, double> reference_weights(int in, int out, int x, Resampling how) {
    const double scale = static_cast<double>(in) / out, center = (x + 0.5) * scale - 0.5;
    std::map<int, double> weights;
    if (how == Resampling::bilinear) {
        const double low = std::floor(center);
        weights[std::clamp(static_cast<int>(low), 0, in - 1)] += 1 - (center - low);
        weights[std::clamp(static_cast<int>(low) + 1, 0, in - 1)] += center - low;
        return weights;
    }
    double sum = 0;
    for (int i = 0; i < in; ++i) {
        const double weight = std::max(0.0, 1 - std::abs(i - center) / std::max(scale, 1.0));
        if (weight > 0) weights[i] = weight;
        sum += weight;
    }
    for (auto& [pixel, weight] : weights) weight /= sum;
    return weights;
}

std::vector<double> reference_resize(Shape in, std::span<const u8> pixels, Shape out, Resampling how) {
    std::vector<double> made;
    const auto at = [&](int y, int x, int c) {
        return pixels[static_cast<std::size_t>((y * in.width + x) * in.channels + c)];
    };
    for (int y = 0; y < out.height; ++y) {
        const auto rows = reference_weights(in.height, out.height, y, how);
        for (int x = 0; x < out.width; ++x) {
            const auto columns = reference_weights(in.width, out.width, x, how);
            for (int c = 0; c < out.channels; ++c) {
                double sum = 0;
                for (const auto& [row, wy] : rows)
                    for (const auto& [column, wx] : columns) sum += wy * wx * at(row, column, c);
                made.push_back(sum);
            }
        }
    }
    return made;
}

/// The largest difference from the reference. 8-bit results must be the reference's, rounded, unless that is
/// as close to a half as the difference allowed.
double resize_error(Shape in, std::span<const u8> pixels, Shape out, Resampling how, double allowed) {
    const std::vector<double> exact = reference_resize(in, pixels, out, how);
    Resizer resizer(out, how);
    std::vector<u8> levels(exact.size());
    std::vector<float> floats(exact.size()), units(exact.size());
    resizer.resize(in, pixels, levels);
    resizer.resize(in, pixels, floats);
    resizer.resize(in, pixels, units, Levels::unit);
    double largest = 0;
    int wrong = 0;
    for (std::size_t i = 0; i < exact.size(); ++i) {
        largest = std::max(largest, std::abs(exact[i] - double{floats[i]}));
        wrong += std::abs(exact[i] - levels[i]) > 0.5 + allowed;
        wrong += units[i] != floats[i] / 255.0f;
    }
    CHECK(wrong == 0);
    return largest;
}

struct Sizes {
    int in_height, in_width, out_height, out_width;
};

} // namespace

TEST_CASE("bilinear resizing is the exact value to 0.02 levels") {
    const Sizes sizes[] = {
        {1, 1, 1, 1},     {1, 1, 7, 5},     {7, 5, 1, 1},         {2, 3, 5, 4},         {3, 2, 1, 9},
        {9, 1, 2, 1},     {1, 100, 100, 1}, {200, 200, 150, 150}, {375, 500, 150, 150}, {17, 31, 64, 33},
        {300, 9, 2, 400}, {5, 4, 5, 9},     {4, 5, 9, 5},         {333, 251, 111, 83},  {97, 101, 96, 102},
        {16, 16, 32, 48}, {5, 5, 5, 5},     {6, 7, 300, 299},     {1000, 3, 31, 2}};
    double largest = 0;
    for (const Sizes& size : sizes)
        for (const int channels : {1, 3}) {
            const Shape in{size.in_height, size.in_width, channels},
                out{size.out_height, size.out_width, channels};
            CAPTURE(to_string(in));
            CAPTURE(to_string(out));
            const std::vector<u8> noise = waves(in.height, in.width, channels, 300);
            const double error = resize_error(in, noise, out, Resampling::bilinear, 0.02);
            CHECK(error <= 0.02);
            largest = std::max(largest, error);
        }
    MESSAGE("levels off: " << largest << " at most");

    // The steepest edges there are.
    std::vector<u8> board;
    for (int i = 0; i < 23 * 31; ++i) board.push_back(i % 2 == 0 ? 255 : 0);
    CHECK(resize_error({23, 31, 1}, board, {40, 57, 1}, Resampling::bilinear, 0.02) <= 0.02);
    CHECK(resize_error({23, 31, 1}, board, {19, 13, 1}, Resampling::bilinear, 0.02) <= 0.02);
}

TEST_CASE("antialiased resizing covers every pixel") {
    const Sizes sizes[] = {{1, 1, 1, 1},         {1, 1, 7, 5},         {7, 5, 1, 1},       {2, 3, 5, 4},
                           {200, 200, 150, 150}, {375, 500, 150, 150}, {17, 31, 64, 33},   {300, 9, 2, 400},
                           {333, 251, 111, 83},  {97, 101, 96, 102},   {128, 128, 32, 16}, {5, 5, 5, 5},
                           {1000, 3, 31, 2},     {999, 1, 1, 1},       {90, 120, 37, 211}};
    double largest = 0;
    for (const Sizes& size : sizes)
        for (const int channels : {1, 3}) {
            const Shape in{size.in_height, size.in_width, channels},
                out{size.out_height, size.out_width, channels};
            CAPTURE(to_string(in));
            CAPTURE(to_string(out));
            const std::vector<u8> noise = waves(in.height, in.width, channels, 300);
            const bool steep =
                in.height > 16 * out.height || in.width > 16 * out.width; // many weights to round
            const double allowed = steep ? 0.1 : 0.03;
            const double error = resize_error(in, noise, out, Resampling::antialiased, allowed);
            CHECK(error <= allowed);
            largest = std::max(largest, error);
        }
    MESSAGE("levels off: " << largest << " at most");
}

TEST_CASE("a flat picture stays flat, and white is white, whatever the sizes") {
    for (const int level : {0, 1, 127, 254, 255})
        for (const Resampling how : {Resampling::bilinear, Resampling::antialiased})
            for (const Sizes& size : {Sizes{1, 1, 3, 3}, Sizes{37, 41, 150, 7}, Sizes{2000, 13, 3, 13}}) {
                const Shape in{size.in_height, size.in_width, 3}, out{size.out_height, size.out_width, 3};
                const std::vector<u8> flat(static_cast<std::size_t>(in.size()), static_cast<u8>(level));
                std::vector<u8> made(static_cast<std::size_t>(out.size()));
                std::vector<float> floats(made.size());
                Resizer resizer(out, how);
                resizer.resize(in, flat, made);
                resizer.resize(in, flat, floats);
                CHECK(std::ranges::count(made, static_cast<u8>(level)) == out.size());
                CHECK(std::ranges::count(floats, static_cast<float>(level)) == out.size());
            }
}

TEST_CASE("halves are rounded up") {
    const u8 black_and_white[] = {10, 11}; // the middle is 10.5
    u8 one[1];
    Resizer({1, 1, 1}).resize({1, 2, 1}, black_and_white, one);
    CHECK(one[0] == 11);
    float exact[1];
    Resizer({1, 1, 1}).resize({1, 2, 1}, black_and_white, exact);
    CHECK(exact[0] == 10.5f);
}

TEST_CASE("a Resizer takes one size after another, and no size that does not fit") {
    Resizer resizer({150, 150, 3});
    std::vector<u8> made(150 * 150 * 3), alone(made.size());
    for (const Sizes& size : {Sizes{200, 200, 0, 0}, Sizes{375, 500, 0, 0}, Sizes{1, 1, 0, 0},
                              Sizes{150, 150, 0, 0}, Sizes{200, 201, 0, 0}, Sizes{200, 200, 0, 0}}) {
        const Shape in{size.in_height, size.in_width, 3};
        const std::vector<u8> pixels = waves(in.height, in.width, 3, 100);
        resizer.resize(in, pixels, made);
        Resizer({150, 150, 3}).resize(in, pixels, alone);
        CHECK(made == alone);
    }
    const std::vector<u8> pixels = waves(20, 10, 3);
    CHECK(contains(message_of<argument_error>([&] {
                       resizer.resize({20, 10, 1}, pixels, made);
                   }),
                   "a picture of 20x10x1 (600 values) cannot be resized to 150x150x3 (67500 values)"));
    CHECK(!message_of<argument_error>([&] { resizer.resize({20, 11, 3}, pixels, made); }).empty());
    CHECK(!message_of<argument_error>([&] { resizer.resize({0, 0, 3}, {}, made); }).empty());
    CHECK(!message_of<argument_error>([&] {
               resizer.resize({20, 10, 3}, pixels, std::span(made).first(100));
           }).empty());
    for (const Shape bad : {Shape{0, 5, 3}, Shape{5, 0, 3}, Shape{5, 5, 2}, Shape{5, 5, 0}, Shape{-1, 5, 3}})
        CHECK(!message_of<argument_error>([&] { Resizer{bad}; }).empty());
}

TEST_CASE("the fast passes have the plain loops' bits") {
    using namespace plimsoll::detail;
    std::minstd_rand random(3);
    for (int in = 1; in < 70; ++in) {
        CAPTURE(in);
        const auto size = static_cast<std::size_t>(in * 3);
        std::vector<u8> a(size), b(size);
        for (std::size_t i = 0; i < size; ++i) {
            a[i] = static_cast<u8>(random() >> 8);
            b[i] = i % 5 == 0 ? 255 : static_cast<u8>(random() >> 8);
        }
        for (const int weight : {0, 1, 5461, 8192, 16383, 16384}) {
            std::vector<std::int16_t> fast(size + 8), plain(size + 8);
            Passes::rows(a.data(), b.data(), (1 << weight_bits) - weight, weight, fast.data(), size);
            PlainPasses::rows(a.data(), b.data(), (1 << weight_bits) - weight, weight, plain.data(), size);
            CHECK(fast == plain);
            for (const int out : {1, 2, 7, in, 3 * in + 1}) {
                Taps taps;
                taps.set_bilinear(in, out);
                const auto made = static_cast<std::size_t>(out * 3);
                std::vector<std::int32_t> fast_sums(made + 1), plain_sums(made + 1);
                Passes::columns(fast.data(), taps, fast_sums.data());
                PlainPasses::columns(fast.data(), taps, plain_sums.data());
                fast_sums.back() = 0; // written, and no result
                CHECK(fast_sums == plain_sums);
                std::vector<u8> fast_levels(made), plain_levels(made);
                Passes::store(fast_sums.data(), fast_levels.data(), made);
                PlainPasses::store(fast_sums.data(), plain_levels.data(), made);
                CHECK(fast_levels == plain_levels);
            }
        }
    }
}

#if PLIMSOLL_WITH_JPEG && PLIMSOLL_WITH_PNG

namespace {

// ------------------------------------------------------------------------------------ records of the samples

std::uint64_t take_varint(std::string_view& in) {
    std::uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
        const auto byte = static_cast<unsigned char>(in.at(0));
        in.remove_prefix(1);
        value |= std::uint64_t{byte & 127u} << shift;
        if (byte < 128) return value;
    }
}

std::string_view take_field(std::string_view& in) { // of wire type 2, whatever its number
    take_varint(in);
    const std::uint64_t size = take_varint(in);
    const std::string_view field = in.substr(0, size);
    in.remove_prefix(size);
    return field;
}

struct Sample {
    std::string name, bytes;
};

/// The features "image" and "image/filename" of each tf.train.Example.
std::vector<Sample> samples_of(const std::string& path) {
    const std::string file = read_all(path);
    std::vector<Sample> samples;
    for (std::size_t at = 0; at < file.size();) {
        std::uint64_t size = 0;
        std::memcpy(&size, file.data() + at, 8); // then: CRC, bytes, CRC
        std::string_view record = std::string_view(file).substr(at + 12, size);
        at += 16 + size;
        std::string_view features = take_field(record);
        Sample sample;
        while (!features.empty()) {
            std::string_view entry = take_field(features);
            const std::string_view key = take_field(entry);
            std::string_view list = take_field(entry);
            std::string_view value = take_field(list);
            if (key == "image") sample.bytes = take_field(value);
            if (key == "image/filename") sample.name = take_field(value);
        }
        samples.push_back(std::move(sample));
    }
    return samples;
}

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

std::uint64_t checksum(std::span<const u8> bytes) { // FNV-1a
    std::uint64_t hash = 14695981039346656037ull;
    for (const u8 byte : bytes) hash = (hash ^ byte) * 1099511628211ull;
    return hash;
}

Picture decoded(std::string_view bytes, int channels, PictureLimits limits = {}) {
    Picture picture;
    decode_picture(bytes_of(bytes), "it", channels, picture, limits);
    return picture;
}

int largest_difference(std::span<const u8> a, std::span<const u8> b) {
    REQUIRE(a.size() == b.size());
    int largest = 0;
    for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
    return largest;
}

/// Decoding either succeeds or throws the library's error, which names the picture.
bool is_refused(std::string_view bytes, int channels, Picture& picture, PictureLimits limits = {}) {
    try {
        decode_picture(bytes_of(bytes), "it", channels, picture, limits);
        return false;
    } catch (const data_error& refusal) {
        CHECK(std::string(refusal.what()).starts_with("\"it\""));
        return true;
    }
}

void check_every_cut(std::string_view bytes) {
    Picture picture;
    REQUIRE(!is_refused(bytes, 3, picture));
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        CAPTURE(size);
        const std::string cut(bytes.substr(0, size)); // a copy, so that the sanitizer sees its end
        CHECK(is_refused(cut, 3, picture));
    }
}

/// Flips each bit in turn, then shuffles some bytes at random; nothing but the library's error may come of
/// it.
int count_refused_damages(const std::string& bytes) {
    Picture picture;
    int refused = 0;
    for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
        std::string damaged = bytes;
        damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
        refused += is_refused(damaged, bit % 2 == 0 ? 3 : 1, picture, {.pixels = 1 << 20});
    }
    std::minstd_rand random(5);
    for (int trial = 0; trial < 1000; ++trial) {
        std::string damaged = bytes;
        for (int i = 0; i < 4; ++i) damaged[random() % damaged.size()] = static_cast<char>(random());
        refused += is_refused(damaged, 3, picture, {.pixels = 1 << 20});
    }
    return refused;
}

} // namespace

namespace {

struct JpegChoice {
    J_COLOR_SPACE stored = JCS_YCbCr;
    int quality = 95;
    bool progressive = false;
    bool adobe = true;  // marker, for CMYK
    bool scans = false; // one a component, not interleaved
    int sampling = 2;   // of luma to chroma, both ways
    int restart = 0;    // rows
};

std::string encode_jpeg(int height, int width, int channels, std::span<const u8> pixels,
                        JpegChoice choice = {}) {
    jpeg_compress_struct info{};
    jpeg_error_mgr errors{};
    info.err = jpeg_std_error(&errors);
    jpeg_create_compress(&info);
    unsigned char* memory = nullptr;
    unsigned long size = 0;
    jpeg_mem_dest(&info, &memory, &size);
    info.image_height = static_cast<JDIMENSION>(height);
    info.image_width = static_cast<JDIMENSION>(width);
    info.input_components = channels;
    info.in_color_space = channels == 1 ? JCS_GRAYSCALE : channels == 3 ? JCS_RGB : JCS_CMYK;
    jpeg_set_defaults(&info);
    jpeg_set_colorspace(&info, channels == 1 ? JCS_GRAYSCALE : choice.stored);
    jpeg_set_quality(&info, choice.quality, TRUE);
    if (choice.stored == JCS_YCbCr && channels == 3)
        info.comp_info[0].h_samp_factor = info.comp_info[0].v_samp_factor = choice.sampling;
    if (channels == 4) info.write_Adobe_marker = choice.adobe ? TRUE : FALSE;
    info.restart_in_rows = choice.restart;
    if (choice.progressive) jpeg_simple_progression(&info);
    const jpeg_scan_info scans[3] = {{1, {0}, 0, 63, 0, 0}, {1, {1}, 0, 63, 0, 0}, {1, {2}, 0, 63, 0, 0}};
    if (choice.scans) {
        info.scan_info = scans;
        info.num_scans = 3;
    }
    jpeg_start_compress(&info, TRUE);
    while (info.next_scanline < info.image_height) {
        const std::size_t at = std::size_t{info.next_scanline} * static_cast<std::size_t>(width * channels);
        JSAMPROW row = const_cast<u8*>(pixels.data() + at);
        jpeg_write_scanlines(&info, &row, 1);
    }
    jpeg_finish_compress(&info);
    jpeg_destroy_compress(&info);
    std::string out(reinterpret_cast<char*>(memory), size);
    std::free(memory);
    return out;
}

/// The file with its frame header saying another size.
std::string with_size(std::string jpeg, unsigned height, unsigned width) {
    std::size_t at = jpeg.find("\xff\xc0");
    if (at == std::string::npos) at = jpeg.find("\xff\xc2");
    REQUIRE(at != std::string::npos);
    for (const auto& [offset, value] : {std::pair{5u, height}, std::pair{7u, width}}) {
        jpeg[at + offset] = static_cast<char>(value >> 8);
        jpeg[at + offset + 1] = static_cast<char>(value);
    }
    return jpeg;
}

/// Without the segments of this marker.
std::string without(std::string jpeg, char marker) {
    for (std::size_t at = 2; jpeg[at + 1] != '\xda';) {
        const std::size_t size =
            2 + std::size_t{static_cast<u8>(jpeg[at + 2])} * 256 + static_cast<u8>(jpeg[at + 3]);
        if (jpeg[at + 1] == marker)
            jpeg.erase(at, size);
        else
            at += size;
    }
    return jpeg;
}

} // namespace

// ------------------------------------------------------------------------------------------------ as
// TensorFlow

TEST_CASE("pictures decoded and resized are TensorFlow's, to a small part of a level") {
    const auto shard = reference_path("data/cats_vs_dogs-train.tfrecord-00000-of-00004");
    const auto expected_path = reference_path("data/expected_150x150_float32.npy");
    if (!shard || !expected_path) return;
    const Array expected = read_npy(*expected_path); // (8, 150, 150, 3)
    REQUIRE(expected.dtype == dtype_of<float>);
    REQUIRE(expected.dims == std::vector<std::uint64_t>{8, 150, 150, 3});
    std::vector<float> levels(8 * 150 * 150 * 3);
    std::memcpy(levels.data(), expected.bytes.data(), expected.bytes.size());

    const std::vector<Sample> samples = samples_of(*shard);
    PictureDecoder decoder({150, 150, 3});
    std::vector<float> made(150 * 150 * 3);
    std::vector<u8> rounded(made.size());
    double largest = 0, sum = 0;
    int wrong = 0;
    for (std::size_t n = 0; n < 8; ++n) {
        decoder.decode(bytes_of(samples[n].bytes), samples[n].name, made);
        CHECK(decoder.stored() == Shape{200, 200, 3});
        decoder.decode(bytes_of(samples[n].bytes), samples[n].name, rounded);
        for (std::size_t i = 0; i < made.size(); ++i) {
            const double difference = std::abs(double{made[i]} - double{levels[n * made.size() + i]});
            largest = std::max(largest, difference);
            sum += difference;
            wrong += std::abs(rounded[i] - double{levels[n * made.size() + i]}) > 0.52;
        }
    }
    MESSAGE("levels off: " << largest << " at most, " << sum / static_cast<double>(levels.size())
                           << " on average");
    CHECK(largest <= 1); // what the project promises, and then what it does
    CHECK(sum / static_cast<double>(levels.size()) <= 0.05);
    CHECK(largest <= 0.02);
    CHECK(sum / static_cast<double>(levels.size()) <= 0.003);
    CHECK(wrong == 0);
}

TEST_CASE("odd pictures decode to TensorFlow's bits") {
    const auto path = reference_path("data/odd_images.tfrecord");
    if (!path) return;
    struct Odd {
        std::string name;
        int height, width;
        std::uint64_t rgb, gray; // checksums of what TensorFlow 2.21 decodes; 0: not its gray
    };
    const Odd expected[] = {{"gray.jpg", 375, 499, 14823577196878712170u, 15929388887564371532u},
                            {"photo.png", 90, 120, 10828889481716752135u, 0}, // its weights have 15 bits
                            {"cmyk.jpg", 375, 499, 17418302612207674140u, 0}, // it refuses gray
                            {"one_pixel.jpg", 1, 1, 2709629968900649581u, 12638237778090539702u},
                            {"progressive.jpg", 375, 499, 3966492290824087408u, 15929388887564371532u},
                            {"palette.png", 48, 64, 3580252249116243958u, 0},
                            {"rgba.png", 48, 64, 8431480127248575322u, 0}};
    const std::vector<Sample> samples = samples_of(*path);
    REQUIRE(samples.size() == std::size(expected));
    for (std::size_t n = 0; n < samples.size(); ++n) {
        const Odd& odd = expected[n];
        CAPTURE(odd.name);
        REQUIRE(samples[n].name == odd.name);
        const Picture rgb = decoded(samples[n].bytes, 3), gray = decoded(samples[n].bytes, 1);
        CHECK(rgb.shape() == Shape{odd.height, odd.width, 3});
        CHECK(gray.shape() == Shape{odd.height, odd.width, 1});
        CHECK(checksum(rgb.pixels()) == odd.rgb);
        if (odd.gray != 0) {
            CHECK(checksum(gray.pixels()) == odd.gray);
            continue;
        }
        int wrong = 0;
        for (std::size_t i = 0; i < gray.pixels().size(); ++i) {
            const u8* pixel = &rgb.pixels()[3 * i];
            const double luma = 0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2];
            wrong += std::abs(gray.pixels()[i] - luma) > 0.51;
        }
        CHECK(wrong == 0);
    }
}

// ------------------------------------------------------------------------------------------------------
// jpeg.hpp

TEST_CASE("JPEGs of all sizes, samplings and modes decode to what was encoded") {
    const Sizes sizes[] = {{1, 1, 0, 0},  {1, 17, 0, 0},  {8, 8, 0, 0},
                           {9, 16, 0, 0}, {33, 47, 0, 0}, {500, 375, 0, 0}};
    for (const Sizes& size : sizes)
        for (const int sampling : {1, 2})
            for (const bool progressive : {false, true}) {
                const int height = size.in_height, width = size.in_width;
                CAPTURE(height);
                CAPTURE(width);
                const std::vector<u8> pixels = waves(height, width, 3);
                const JpegChoice choice{.quality = 100, .progressive = progressive, .sampling = sampling};
                const std::string bytes = encode_jpeg(height, width, 3, pixels, choice);
                const Picture picture = decoded(bytes, 3);
                CHECK(picture.shape() == Shape{height, width, 3});
                CHECK(largest_difference(picture.pixels(), pixels) <= (sampling == 1 ? 4 : 12));
                const std::string plain =
                    encode_jpeg(height, width, 3, pixels, {.quality = 100, .sampling = sampling});
                CHECK(largest_difference(picture.pixels(), decoded(plain, 3).pixels()) == 0);

                const std::vector<u8> gray = waves(height, width, 1);
                const std::string gray_bytes = encode_jpeg(height, width, 1, gray, choice);
                const Picture one = decoded(gray_bytes, 1), three = decoded(gray_bytes, 3);
                CHECK(largest_difference(one.pixels(), gray) <= 2);
                for (std::size_t i = 0; i < three.pixels().size(); ++i)
                    REQUIRE(three.pixels()[i] == one.pixels()[i / 3]);
            }
}

TEST_CASE("JPEG's colour spaces become RGB and gray") {
    const auto levels = [](const std::string& bytes, int channels) {
        const Picture picture = decoded(bytes, channels);
        const auto first = picture.pixels().first(static_cast<std::size_t>(channels));
        return std::vector<int>(first.begin(), first.end());
    };
    const auto near = [](const std::vector<int>& a, const std::vector<int>& b) {
        bool same = a.size() == b.size();
        for (std::size_t i = 0; same && i < a.size(); ++i) same = std::abs(a[i] - b[i]) <= 2;
        if (!same) MESSAGE(a[0] << " " << (a.size() > 2 ? a[1] : 0) << " " << (a.size() > 2 ? a[2] : 0));
        return same;
    };
    const auto flat = [](std::vector<u8> pixel) {
        std::vector<u8> out;
        for (int i = 0; i < 16 * 16; ++i) out.insert(out.end(), pixel.begin(), pixel.end());
        return out;
    };
    const std::vector<u8> rgb = flat({200, 100, 50}), cmyk = flat({200, 100, 50, 180});
    CHECK(near(levels(encode_jpeg(16, 16, 3, rgb), 3), {200, 100, 50}));
    CHECK(near(levels(encode_jpeg(16, 16, 3, rgb), 1), {124}));
    CHECK(near(levels(encode_jpeg(16, 16, 3, rgb, {.stored = JCS_RGB}), 3), {200, 100, 50}));
    CHECK(near(levels(encode_jpeg(16, 16, 3, rgb, {.stored = JCS_RGB}), 1), {124}));
    // Adobe's files say how much light is left, others how much ink there is.
    const std::vector<int> light{200 * 180 / 255, 100 * 180 / 255, 50 * 180 / 255};
    const std::vector<int> ink{55 * 75 / 255, 155 * 75 / 255, 205 * 75 / 255};
    CHECK(near(levels(encode_jpeg(16, 16, 4, cmyk, {.stored = JCS_CMYK}), 3), light));
    CHECK(near(levels(encode_jpeg(16, 16, 4, cmyk, {.stored = JCS_YCCK}), 3), light));
    CHECK(near(levels(encode_jpeg(16, 16, 4, cmyk, {.stored = JCS_CMYK, .adobe = false}), 3), ink));
    CHECK(near(levels(encode_jpeg(16, 16, 4, cmyk, {.stored = JCS_CMYK}), 1), {87}));
}

TEST_CASE("a JPEG cut anywhere is refused, and a damaged one refused or read") {
    const std::vector<u8> pixels = waves(17, 24, 3, 60);
    for (const JpegChoice& choice : {JpegChoice{}, JpegChoice{.progressive = true}, JpegChoice{.restart = 1},
                                     JpegChoice{.scans = true}}) {
        const std::string bytes = encode_jpeg(17, 24, 3, pixels, choice);
        check_every_cut(bytes);
        const int refused = count_refused_damages(bytes);
        CHECK(refused > 500);
    }
    CHECK_NOTHROW(decoded(encode_jpeg(17, 24, 3, pixels) + "what a camera adds", 3));
}

TEST_CASE("a JPEG's refusal names picture, offset, line and libjpeg's reason") {
    const std::vector<u8> pixels = waves(200, 200, 3, 60);
    const std::string bytes = encode_jpeg(200, 200, 3, pixels);
    const std::string half = bytes.substr(0, bytes.size() / 2);
    Picture picture;
    const std::string message =
        message_of<data_error>([&] { decode_picture(bytes_of(half), "Cat/666.jpg", 3, picture); });
    CHECK(contains(message, text("\"Cat/666.jpg\", offset ", half.size(), ": JPEG: line ")));
    CHECK(contains(message, " of 200: Premature end of JPEG file"));
    // libjpeg would fill the rest with gray, and only warn.
    std::string hole = bytes;
    hole.replace(bytes.size() / 2, 100, std::string(100, '\0'));
    CHECK(is_refused(hole, 3, picture));
    CHECK(contains(message_of<data_error>([&] { decoded(bytes.substr(0, 20), 3); }),
                   "offset 20: JPEG: Premature"));

    // An odd version number is no corruption.
    std::string version = bytes;
    version[version.find("JFIF") + 5] = 9;
    CHECK_NOTHROW(decoded(version, 3));
}

TEST_CASE("JPEG bombs are refused by their size, before memory is taken") {
    const std::vector<u8> pixels = waves(16, 16, 3);
    for (const bool progressive : {false, true}) {
        const std::string bytes = encode_jpeg(16, 16, 3, pixels, {.progressive = progressive});
        const std::string bomb = with_size(bytes, 65500, 65500);
        CHECK(contains(message_of<data_error>([&] { decoded(bomb, 3); }),
                       "\"it\": 65500x65500 is 4290250000 pixels, the limit is 67108864"));
        CHECK(contains(message_of<data_error>([&] { decoded(with_size(bytes, 65535, 65535), 3); }), "65500"));
        CHECK(contains(message_of<data_error>([&] { decoded(bytes, 3, {.pixels = 255}); }),
                       "16x16 is 256 pixels"));
        CHECK_NOTHROW(decoded(bytes, 3, {.pixels = 256}));
        CHECK(!message_of<data_error>([&] { decoded(with_size(bytes, 0, 16), 3); }).empty());
        CHECK(!message_of<data_error>([&] { decoded(with_size(bytes, 16, 0), 3); }).empty());
    }
}

TEST_CASE("a JPEG of endless scans is refused") {
    const std::string bytes = encode_jpeg(16, 16, 3, waves(16, 16, 3), {.scans = true});
    CHECK_NOTHROW(decoded(bytes, 3));
    const std::size_t last = bytes.rfind("\xff\xda"), end = bytes.rfind("\xff\xd9");
    std::string bomb = bytes.substr(0, last);
    for (int i = 0; i < 600; ++i) bomb += bytes.substr(last, end - last);
    bomb += bytes.substr(end);
    CHECK(contains(message_of<data_error>([&] { decoded(bomb, 3); }), "more than 500 scans"));
}

TEST_CASE("a picture is decoded as if there had been none before") {
    const std::vector<u8> pixels = waves(16, 16, 3);
    const std::string bytes = encode_jpeg(16, 16, 3, pixels);
    Picture picture;
    decode_picture(bytes_of(bytes), "it", 3, picture);
    // Its tables are not borrowed from the picture before it.
    CHECK(contains(
        message_of<data_error>([&] { decode_picture(bytes_of(without(bytes, '\xdb')), "it", 3, picture); }),
        "Quantization table"));
    CHECK(is_refused(bytes.substr(0, bytes.size() / 2), 3, picture));
    decode_picture(bytes_of(bytes), "it", 3, picture);
    CHECK(largest_difference(picture.pixels(), decoded(bytes, 3).pixels()) == 0);
}

// -------------------------------------------------------------------------------------------------------
// png.hpp

namespace {

struct PngChoice {
    int type = PNG_COLOR_TYPE_RGB;
    int bits = 8;
    bool interlaced = false;
    bool transparent = false; // a tRNS chunk
    bool gamma = false;
};

/// `rows` as they lie in the file: big-endian, packed.
std::string encode_png(int height, int width, std::span<const u8> rows, PngChoice choice = {}) {
    std::string out;
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
    png_infop info = png_create_info_struct(png);
    png_set_write_fn(
        png, &out,
        [](png_structp self, png_bytep bytes, std::size_t size) {
            static_cast<std::string*>(png_get_io_ptr(self))->append(reinterpret_cast<char*>(bytes), size);
        },
        [](png_structp) {});
    png_set_IHDR(png, info, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height), choice.bits,
                 choice.type, choice.interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    std::vector<png_color> palette;
    for (int i = 0; i < 1 << choice.bits && choice.bits <= 8; ++i)
        palette.push_back({static_cast<u8>(255 - i), static_cast<u8>(i * 7), static_cast<u8>(i ^ 85)});
    if (choice.type == PNG_COLOR_TYPE_PALETTE)
        png_set_PLTE(png, info, palette.data(), static_cast<int>(palette.size()));
    const png_byte alphas[] = {0, 100};
    const png_color_16 key{.index = 0, .red = 0, .green = 0, .blue = 0, .gray = 0};
    if (choice.transparent) png_set_tRNS(png, info, alphas, 2, &key);
    if (choice.gamma) png_set_gAMA(png, info, 1.0);
    png_write_info(png, info);
    const std::size_t stride = png_get_rowbytes(png, info);
    REQUIRE(rows.size() == stride * static_cast<std::size_t>(height));
    for (int pass = png_set_interlace_handling(png); pass > 0; --pass)
        for (std::size_t y = 0; y < static_cast<std::size_t>(height); ++y)
            png_write_row(png, const_cast<u8*>(rows.data() + y * stride));
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    return out;
}

std::vector<u8> noise(std::size_t count) {
    std::minstd_rand random(11);
    std::vector<u8> out(count);
    for (u8& byte : out) byte = static_cast<u8>(random() >> 8);
    return out;
}

std::string with_png_size(std::string png, std::uint32_t height, std::uint32_t width) {
    for (int i = 0; i < 4; ++i) {
        png[static_cast<std::size_t>(16 + i)] = static_cast<char>(width >> (24 - 8 * i));
        png[static_cast<std::size_t>(20 + i)] = static_cast<char>(height >> (24 - 8 * i));
    }
    const auto crc = static_cast<std::uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(&png[12]), 17));
    for (int i = 0; i < 4; ++i)
        png[static_cast<std::size_t>(29 + i)] = static_cast<char>(crc >> (24 - 8 * i));
    return png;
}

} // namespace

TEST_CASE("PNGs of every colour type and depth decode to their levels") {
    const Sizes sizes[] = {{1, 1, 0, 0}, {3, 5, 0, 0}, {16, 9, 0, 0}, {61, 127, 0, 0}};
    struct Kind {
        int type, bits, samples; // samples a pixel
    };
    const Kind kinds[] = {{PNG_COLOR_TYPE_GRAY, 1, 1},       {PNG_COLOR_TYPE_GRAY, 2, 1},
                          {PNG_COLOR_TYPE_GRAY, 4, 1},       {PNG_COLOR_TYPE_GRAY, 8, 1},
                          {PNG_COLOR_TYPE_GRAY, 16, 1},      {PNG_COLOR_TYPE_RGB, 8, 3},
                          {PNG_COLOR_TYPE_RGB, 16, 3},       {PNG_COLOR_TYPE_PALETTE, 1, 1},
                          {PNG_COLOR_TYPE_PALETTE, 4, 1},    {PNG_COLOR_TYPE_PALETTE, 8, 1},
                          {PNG_COLOR_TYPE_GRAY_ALPHA, 8, 2}, {PNG_COLOR_TYPE_GRAY_ALPHA, 16, 2},
                          {PNG_COLOR_TYPE_RGB_ALPHA, 8, 4},  {PNG_COLOR_TYPE_RGB_ALPHA, 16, 4}};
    for (const Sizes& size : sizes)
        for (const Kind& kind : kinds)
            for (const int variant : {0, 1, 2, 3}) {
                const int height = size.in_height, width = size.in_width;
                const bool alpha = (kind.type & PNG_COLOR_MASK_ALPHA) != 0;
                const bool interlaced = variant % 2 == 1, transparent = variant >= 2 && !alpha;
                CAPTURE(height);
                CAPTURE(width);
                CAPTURE(kind.type);
                CAPTURE(kind.bits);
                CAPTURE(variant);
                const auto stride = static_cast<std::size_t>((width * kind.samples * kind.bits + 7) / 8);
                const std::vector<u8> rows = noise(stride * static_cast<std::size_t>(height));
                const std::string bytes = encode_png(
                    height, width, rows, {kind.type, kind.bits, interlaced, transparent, variant == 3});
                const Picture rgb = decoded(bytes, 3), gray = decoded(bytes, 1);
                REQUIRE(rgb.shape() == Shape{height, width, 3});
                REQUIRE(gray.shape() == Shape{height, width, 1});

                const auto sample = [&](int y, int x, int c) { // its upper 8 bits, or all it has
                    const auto bit = static_cast<std::size_t>((x * kind.samples + c) * kind.bits);
                    const unsigned byte = rows[static_cast<std::size_t>(y) * stride + bit / 8];
                    if (kind.bits >= 8) return byte;
                    return byte >> (8 - kind.bits - static_cast<int>(bit % 8)) & ((1u << kind.bits) - 1);
                };
                int wrong = 0;
                for (int y = 0; y < height; ++y)
                    for (int x = 0; x < width; ++x) {
                        unsigned want[3];
                        for (int c = 0; c < 3; ++c) {
                            const unsigned first = sample(y, x, 0);
                            if (kind.type == PNG_COLOR_TYPE_PALETTE)
                                want[c] = (c == 0 ? 255 - first : c == 1 ? first * 7 : first ^ 85) & 255;
                            else if ((kind.type & PNG_COLOR_MASK_COLOR) != 0)
                                want[c] = sample(y, x, c);
                            else
                                want[c] = kind.bits < 8 ? first * 255 / ((1u << kind.bits) - 1) : first;
                        }
                        const auto at = static_cast<std::size_t>(y * width + x);
                        for (std::size_t c = 0; c < 3; ++c) wrong += rgb.pixels()[3 * at + c] != want[c];
                        wrong += std::abs(gray.pixels()[at] -
                                          (0.299 * want[0] + 0.587 * want[1] + 0.114 * want[2])) > 0.51;
                    }
                CHECK(wrong == 0);
            }
}

TEST_CASE("a PNG cut anywhere is refused, and a damaged one refused or read") {
    for (const bool interlaced : {false, true}) {
        const std::string bytes = encode_png(9, 12, noise(9 * 12 * 3), {.interlaced = interlaced});
        check_every_cut(bytes);
        CHECK(count_refused_damages(bytes) > 500);
    }
    const std::string palette = encode_png(9, 12, noise(9 * 12), {.type = PNG_COLOR_TYPE_PALETTE});
    check_every_cut(palette);
    CHECK(count_refused_damages(palette) > 500);
    const std::string bytes = encode_png(9, 12, noise(9 * 12 * 3));
    CHECK(contains(message_of<data_error>([&] { decoded(bytes.substr(0, 100), 3); }),
                   "\"it\", offset 100: PNG: line 0 of 9: the file ends early"));
    std::string corrupt = bytes;
    corrupt[80] = static_cast<char>(corrupt[80] ^ 1);
    CHECK(contains(message_of<data_error>([&] { decoded(corrupt, 3); }), "PNG: line "));
}

TEST_CASE("PNG bombs are refused by their size, before memory is taken") {
    const std::string bytes = encode_png(4, 4, noise(48));
    CHECK_NOTHROW(decoded(with_png_size(bytes, 4, 4), 3));
    CHECK(contains(message_of<data_error>([&] { decoded(with_png_size(bytes, 65500, 65500), 3); }),
                   "\"it\": 65500x65500 is 4290250000 pixels, the limit is 67108864"));
    CHECK(contains(message_of<data_error>([&] { decoded(with_png_size(bytes, 0x7fffffff, 0x7fffffff), 3); }),
                   "2147483647x2147483647"));
    CHECK(!message_of<data_error>([&] { decoded(with_png_size(bytes, 0x80000000, 4), 3); }).empty());
    CHECK(!message_of<data_error>([&] { decoded(with_png_size(bytes, 0, 4), 3); }).empty());
    CHECK(contains(message_of<data_error>([&] { decoded(bytes, 3, {.pixels = 15}); }), "4x4 is 16 pixels"));
    CHECK_NOTHROW(decoded(bytes, 3, {.pixels = 16}));
}

// ---------------------------------------------------------------------------------------------------
// picture.hpp

TEST_CASE("pictures are told by their first bytes, and others refused") {
    CHECK(picture_kind(bytes_of(encode_jpeg(1, 1, 3, waves(1, 1, 3)))) == PictureKind::jpeg);
    CHECK(picture_kind(bytes_of(encode_png(1, 1, noise(3)))) == PictureKind::png);
    for (const std::string& bytes :
         {""s, "\xff"s, "\xff\xd8"s, "\x89PNG\r\n"s, "GIF89a"s, "BM"s, std::string(99, '\0')}) {
        CHECK(!picture_kind(bytes_of(bytes)));
        CHECK(contains(message_of<data_error>([&] { decoded(bytes, 3); }),
                       "\"it\", offset 0: neither a JPEG nor a PNG"));
    }
    const std::string jpeg = encode_jpeg(1, 1, 3, waves(1, 1, 3)), png = encode_png(1, 1, noise(3));
    for (const int channels : {0, 2, 4, -1}) {
        CHECK(!message_of<argument_error>([&] { decoded(jpeg, channels); }).empty());
        CHECK(!message_of<argument_error>([&] { decoded(png, channels); }).empty());
    }
    Picture picture;
    for (std::size_t size = 0; size < 300; ++size)
        for (const std::string& magic : {"\xff\xd8\xff"s, "\xff\xd8\xff\xe0"s, "\x89PNG\r\n\x1a\n"s}) {
            const std::vector<u8> random = noise(size);
            CHECK(is_refused(magic + std::string(random.begin(), random.end()), 3, picture));
        }
}

TEST_CASE("a PictureDecoder brings any picture to its shape, and then allocates no more") {
    std::vector<std::string> files;
    for (const Sizes& size : {Sizes{375, 500, 0, 0}, Sizes{200, 200, 0, 0}, Sizes{1, 1, 0, 0}}) {
        const std::vector<u8> pixels = waves(size.in_height, size.in_width, 3, 40);
        files.push_back(encode_jpeg(size.in_height, size.in_width, 3, pixels));
        files.push_back(encode_png(size.in_height, size.in_width, pixels));
    }
    for (const Shape shape : {Shape{150, 150, 3}, Shape{64, 48, 1}}) {
        PictureDecoder decoder(shape);
        CHECK(decoder.output() == shape);
        std::vector<u8> made(static_cast<std::size_t>(shape.size()));
        std::vector<float> floats(made.size()), units(made.size());
        for (int round = 0; round < 2; ++round) {
            const auto before = allocations().ours;
            for (const std::string& file : files) {
                decoder.decode(bytes_of(file), "it", made);
                decoder.decode(bytes_of(file), "it", floats);
                decoder.decode(bytes_of(file), "it", units, Levels::unit);
                const bool unit = units[5] == floats[5] / 255.0f && std::abs(floats[5] - made[5]) <= 0.5f;
                if (!unit) FAIL_CHECK("8 bits and float differ");
            }
            const auto during = allocations().ours - before;
            if (round == 1) CHECK(during == 0);
        }
        // As in two steps.
        for (const std::string& file : files) {
            const Picture picture = decoded(file, shape.channels);
            std::vector<u8> steps(made.size());
            Resizer(shape).resize(picture.shape(), picture.pixels(), steps);
            decoder.decode(bytes_of(file), "it", made);
            CHECK(made == steps);
            CHECK(decoder.stored() == picture.shape());
        }
        CHECK(!message_of<argument_error>([&] {
                   decoder.decode(bytes_of(files[0]), "it", std::span(made).first(3));
               }).empty());
        CHECK(contains(message_of<data_error>([&] { decoder.decode(bytes_of("no"), "record 7", made); }),
                       "\"record 7\", offset 0"));
        decoder.decode(bytes_of(files[0]), "it", made); // still at work
    }
    const TemporaryFolder folder;
    write_file(folder / "waves.png", files[1]);
    std::vector<u8> expected(8 * 8 * 3);
    PictureDecoder({8, 8, 3}).decode(bytes_of(files[1]), "it", expected);
    CHECK(read_picture(folder / "waves.png", {8, 8, 3}) == expected);
    CHECK(contains(message_of<io_error>([&] { read_picture(folder / "none.png", {8, 8, 3}); }), "none.png"));
    PictureDecoder small({8, 8, 3}, Resampling::antialiased, {.pixels = 100});
    std::vector<u8> made(8 * 8 * 3);
    CHECK(contains(message_of<data_error>([&] { small.decode(bytes_of(files[0]), "it", made); }),
                   "375x500 is 187500 pixels, the limit is 100"));
}

#endif

#if !PLIMSOLL_WITH_JPEG
TEST_CASE("without libjpeg a JPEG is refused with the package to install") {
    Picture picture;
    const std::string message = message_of<format_error>(
        [&] { decode_picture(std::as_bytes(std::span("\xff\xd8\xff")), "it", 3, picture); });
    CHECK(contains(message, "\"it\" is a JPEG: "));
    CHECK(contains(message, "libjpeg62-turbo-dev"));
}
#endif

#if !PLIMSOLL_WITH_PNG
TEST_CASE("without libpng a PNG is refused with the package to install") {
    Picture picture;
    const std::string message = message_of<format_error>(
        [&] { decode_picture(std::as_bytes(std::span("\x89PNG\r\n\x1a\n")), "it", 3, picture); });
    CHECK(contains(message, "\"it\" is a PNG: "));
    CHECK(contains(message, "libpng-dev"));
}
#endif
