#pragma once
/// \file
/// What a Source is: samples that can be asked for in any order. The concept is a conjunction of named atoms,
/// so that a class that misses one is told which, in a sentence. `example_source.hpp` is one written out.

#include <plimsoll/core/config.hpp>
#include <plimsoll/core/error.hpp>
#include <plimsoll/core/shape.hpp>
#include <plimsoll/core/storage.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

/// How a channel of a picture is stored and handed to the device.
template <class T>
concept pixel = std::same_as<T, u8> || std::same_as<T, float> || std::same_as<T, half>;

/// `using Pixel = u8`, `float` or `half`.
template <class S>
concept source_has_pixel = pixel<typename S::Pixel>;

/// Number of samples.
template <class S>
concept source_has_size = requires(const S& s) {
    { s.size() } -> std::same_as<std::uint64_t>;
};

/// Shape of one image.
template <class S>
concept source_has_shape = requires(const S& s) {
    { s.shape() } -> std::same_as<Shape>;
};

/// 1 + the largest label.
template <class S>
concept source_has_classes = requires(const S& s) {
    { s.classes() } -> std::same_as<int>;
};

/// Names of the classes for reports, in the labels' order; may be empty.
template <class S>
concept source_has_class_names = requires(const S& s) {
    { s.class_names() } -> std::same_as<const std::vector<std::string>&>;
};

/// What messages call it: its path, for instance.
template <class S>
concept source_has_name = requires(const S& s) {
    { s.name() } -> std::convertible_to<std::string>;
};

/// Reads samples by index, in the order asked for, into images (n, H, W, C) and labels (n). Several threads
/// may call it at once.
template <class S>
concept source_reads_samples = source_has_pixel<S> &&
    requires(const S& s, std::span<const std::uint64_t> samples, std::span<typename S::Pixel> images,
             std::span<Label> labels) {
    { s.read(samples, images, labels) } -> std::same_as<void>;
};

/// A set of labelled images that a Trainer can train or evaluate on.
template <class S>
concept source = source_has_pixel<S> && source_has_size<S> && source_has_shape<S> && source_has_classes<S> &&
    source_has_class_names<S> && source_has_name<S> && source_reads_samples<S>;

// What a source may have beside that.

/// A source that knows its labels without reading pictures.
template <class S>
concept source_with_labels = requires(const S& s, std::uint64_t sample) {
    { s.label(sample) } -> std::same_as<Label>;
};

/// Micro-batches that a source wants read ahead: 0 where reading is no more than copying.
template <class Source>
inline constexpr int read_ahead = [] {
    if constexpr (requires { Source::read_ahead; })
        return Source::read_ahead;
    else
        return 0;
}();

/// Threads that a source wants to be read by: decoding pays for several, a disk for one.
template <class Source>
int reader_threads(const Source& source) {
    if constexpr (requires { source.reader_threads(); })
        return source.reader_threads();
    else
        return read_ahead<Source> > 0 ? 1 : 0;
}

/// Samples so far that could not be read and in whose place others stood.
template <class S>
std::uint64_t skipped_samples(const S& source) {
    if constexpr (requires { source.skipped(); })
        return source.skipped();
    else
        return 0;
}

/// The source that a part is a part of.
template <class S>
const void* origin_of(const S& source) {
    if constexpr (requires { source.origin(); })
        return source.origin();
    else
        return &source;
}

/// Fails to compile with one sentence for each thing that `S` lacks.
template <class S>
constexpr void check_source() {
    static_assert(source_has_pixel<S>,
                  "plimsoll: a Source needs `using Pixel = plimsoll::u8;`, `float` or `plimsoll::half`");
    static_assert(source_has_size<S>,
                  "plimsoll: a Source needs `std::uint64_t size() const`, its number of samples");
    static_assert(source_has_shape<S>,
                  "plimsoll: a Source needs `Shape shape() const`, the shape of one image");
    static_assert(source_has_classes<S>,
                  "plimsoll: a Source needs `int classes() const`, 1 + the largest label");
    static_assert(
        source_has_class_names<S>,
        "plimsoll: a Source needs `const std::vector<std::string>& class_names() const`, which may be empty");
    static_assert(source_has_name<S>, "plimsoll: a Source needs `std::string name() const`, for messages");
    static_assert(!source_has_pixel<S> || source_reads_samples<S>,
                  "plimsoll: a Source needs `void read(std::span<const std::uint64_t> samples, "
                  "std::span<Pixel> images, "
                  "std::span<Label> labels) const`, images (n, H, W, C)");
}

/// Says something on stderr that the user wants to know.
inline void note(std::string_view message) { std::fputs(text("plimsoll: ", message, "\n").c_str(), stderr); }

/// Says something on stderr that is suspicious but no error.
inline void warn(std::string_view message) {
    std::fputs(text("plimsoll: warning: ", message, "\n").c_str(), stderr);
}

/// Checks the arguments of a source's `read`; every source calls it first.
/// \throws argument_error naming the index and the size, or the expected and found extents.
template <class Pixel>
void check_read(std::string_view name, std::uint64_t size, Shape shape,
                std::span<const std::uint64_t> samples, std::span<Pixel> images, std::span<Label> labels) {
    const std::uint64_t pixels = samples.size() * static_cast<std::uint64_t>(shape.size());
    if (images.size() != pixels || labels.size() != samples.size())
        throw argument_error(text("\"", name, "\": reading ", samples.size(), " samples of ",
                                  to_string(shape), " expected ", pixels, " pixels and ", samples.size(),
                                  " labels, found ", images.size(), " and ", labels.size()));
    for (const std::uint64_t sample : samples)
        if (sample >= size)
            throw argument_error(text("\"", name, "\": sample ", sample, " was asked for, it has ", size));
}

} // namespace plimsoll::inline PLIMSOLL_ABI
