#pragma once
/// \file
/// Made-up pictures that a network can learn, as arrays and as JPEG in TFRecord files, for benchmarks that
/// run where there is no data set.

#include <plimsoll/plimsoll.hpp>
#include <plimsoll/source/streaming.hpp>

#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <numbers>
#include <span>
#include <string>
#include <vector>

#if PLIMSOLL_WITH_PROTOZERO
#include <protozero/pbf_writer.hpp>
#endif

namespace pictures {

using namespace plimsoll;

/// A number in [0, 1) of picture `number`.
inline double random_unit(std::uint64_t number, std::uint32_t which) {
    return static_cast<double>(
               philox({which, static_cast<std::uint32_t>(number), 0, 0}, std::uint64_t{77}).x) /
           4294967296.0;
}

inline Label label_of(std::uint64_t number, int classes) {
    return static_cast<Label>(number % static_cast<std::uint64_t>(classes));
}

/// Picture `number`: soft clouds of colour, and faint stripes whose direction tells its class. (H, W, 3)
/// \param noise levels that each pixel is off by, at most
inline std::vector<u8> picture(Shape shape, std::uint64_t number, int classes, double noise) {
    constexpr int clouds = 3;
    double wave[clouds][4] = {}; // down, across, phase, strength
    for (std::uint32_t c = 0; c < clouds; ++c) {
        for (std::uint32_t k = 0; k < 2; ++k)
            wave[c][k] = (random_unit(number, 4 * c + k) - 0.5) * 24 / shape.height;
        wave[c][2] = random_unit(number, 4 * c + 2) * 2 * std::numbers::pi;
        wave[c][3] = 10 + 30 * random_unit(number, 4 * c + 3);
    }
    const double angle = std::numbers::pi * label_of(number, classes) / classes;
    const double stripe_down = std::sin(angle) * 0.8, stripe_across = std::cos(angle) * 0.8;
    const double stripe_phase = random_unit(number, 20) * 2 * std::numbers::pi;
    double tint[3] = {};
    for (std::uint32_t c = 0; c < 3; ++c) tint[c] = 90 + 70 * random_unit(number, 21 + c);
    std::vector<u8> pixels;
    pixels.reserve(static_cast<std::size_t>(shape.size()));
    std::uint32_t state = static_cast<std::uint32_t>(number) * 2654435761u + 1;
    for (int y = 0; y < shape.height; ++y)
        for (int x = 0; x < shape.width; ++x) {
            double level = 22 * std::sin(stripe_down * y + stripe_across * x + stripe_phase);
            for (const auto& w : wave) level += w[3] * std::sin(w[0] * y + w[1] * x + w[2]);
            for (int c = 0; c < shape.channels; ++c) {
                state = state * 1664525u + 1013904223u;
                const double off = noise * (static_cast<double>(state >> 8) / 8388608.0 - 1);
                pixels.push_back(static_cast<u8>(std::clamp(level + tint[c % 3] + off, 0.0, 255.0)));
            }
        }
    return pixels;
}

/// <prefix>_images.npy (N, H, W, C) of bytes and <prefix>_labels.npy (N).
inline void write_arrays(const std::string& prefix, Shape shape, int classes, std::uint64_t count) {
    const std::array<std::uint64_t, 4> extents{count, static_cast<std::uint64_t>(shape.height),
                                               static_cast<std::uint64_t>(shape.width),
                                               static_cast<std::uint64_t>(shape.channels)};
    NpyWriter images(prefix + "_images.npy", dtype_of<u8>, extents);
    std::vector<Label> labels; // (N)
    for (std::uint64_t number = 0; number < count; ++number) {
        images.append(std::span<const u8>(picture(shape, number, classes, 40)));
        labels.push_back(label_of(number, classes));
    }
    images.commit();
    write_npy(prefix + "_labels.npy", std::array{count}, std::span(labels));
}

#if PLIMSOLL_WITH_JPEG && PLIMSOLL_WITH_PROTOZERO

/// (H, W, 3) as JPEG.
inline std::string jpeg(Shape shape, std::span<const u8> pixels) {
    jpeg_compress_struct info{};
    jpeg_error_mgr errors{};
    info.err = jpeg_std_error(&errors); // ends the program
    jpeg_create_compress(&info);
    unsigned char* memory = nullptr;
    unsigned long size = 0;
    jpeg_mem_dest(&info, &memory, &size);
    info.image_height = static_cast<JDIMENSION>(shape.height);
    info.image_width = static_cast<JDIMENSION>(shape.width);
    info.input_components = 3;
    info.in_color_space = JCS_RGB;
    jpeg_set_defaults(&info);
    jpeg_set_quality(&info, 90, TRUE);
    jpeg_start_compress(&info, TRUE);
    while (info.next_scanline < info.image_height) {
        const std::size_t at = std::size_t{info.next_scanline} * static_cast<std::size_t>(shape.width * 3);
        JSAMPROW row = const_cast<u8*>(pixels.data() + at); // libjpeg's interface knows no const
        jpeg_write_scanlines(&info, &row, 1);
    }
    jpeg_finish_compress(&info);
    jpeg_destroy_compress(&info);
    std::string out(reinterpret_cast<char*>(memory), size);
    std::free(memory);
    return out;
}

/// A serialised tf.train.Example with the features `image` and `label`.
inline std::string example(const std::string& image, Label label) {
    std::string bytes_list, int_list, value, features;
    protozero::pbf_writer(bytes_list).add_bytes(1, image);
    const std::int64_t number = label;
    protozero::pbf_writer(int_list).add_packed_int64(1, &number, &number + 1);
    const auto add = [&](const char* name, std::uint32_t kind, const std::string& list) {
        std::string feature, entry;
        protozero::pbf_writer(feature).add_message(kind, list);
        protozero::pbf_writer writer(entry);
        writer.add_string(1, name);
        writer.add_message(2, feature);
        protozero::pbf_writer(features).add_message(1, entry);
    };
    add("image", 1, bytes_list); // BytesList
    add("label", 3, int_list);   // Int64List
    protozero::pbf_writer(value).add_message(1, features);
    return value;
}

/// A TFRecord file of `count` JPEGs of 200 x 200, two classes.
inline void write_records(const std::string& path, std::uint64_t count) {
    constexpr Shape shape{200, 200, 3};
    AtomicFile out(path);
    const auto checksum = [](std::string_view bytes) {
        return masked_crc32c(crc32c(std::as_bytes(std::span(bytes.data(), bytes.size()))));
    };
    const auto append = [](std::string& to, const auto& number) {
        to.append(reinterpret_cast<const char*>(&number),
                  sizeof number); // little-endian, as file.hpp requires
    };
    for (std::uint64_t number = 0; number < count; ++number) {
        const std::string payload = example(jpeg(shape, picture(shape, number, 2, 12)), label_of(number, 2));
        std::string frame;
        append(frame, std::uint64_t{payload.size()});
        append(frame, checksum(frame));
        frame += payload;
        append(frame, checksum(payload));
        out.write(frame);
    }
    out.commit();
}

#else

inline void write_records(const std::string&, std::uint64_t) {
    throw error("this build reads no JPEG or no TFRecord, so it makes none up");
}

#endif

} // namespace pictures
