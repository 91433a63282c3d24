// libFuzzer: any bytes as a .npy file. With an odd first byte what precedes the header's dict is put right,
// the dict ending at the first line's end, and with 3 modulo 4 the data is made as long as the dict says.
//   clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude tools/fuzz/npy.cpp

#include "folder.hpp"
#include "memory_file.hpp"

#include <plimsoll/format/npy.hpp>
#include <plimsoll/source/array_data.hpp>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

using namespace plimsoll;

namespace {

std::string with_start(std::uint8_t mode, std::string_view rest) {
    const std::string dict(rest.substr(0, rest.find('\n')));
    std::string data(rest.substr(std::min(dict.size() + 1, rest.size())));
    const int version = 1 + mode / 4 % 3;
    const std::uint64_t length = dict.size() + 1;
    std::string out = "\x93NUMPY";
    out += {static_cast<char>(version), '\0'};
    for (int byte = 0; byte < (version == 1 ? 2 : 4); ++byte) out += static_cast<char>(length >> (8 * byte));
    if (mode % 4 == 3) try {
            NpyHeader header;
            detail::NpyHeaderParser("fuzz", 0, dict).parse(header);
            const auto bytes = detail::byte_count(header.shape, header.dtype);
            if (bytes && *bytes <= 1 << 16) data.resize(*bytes, '\1');
        } catch (const error&) {
        }
    return out + dict + "\n" + data;
}

/// What the dict says, read another way: in one that was accepted nothing but its key is called "shape".
void check_dict(std::string_view dict, const NpyHeader& header) {
    std::string_view shape = dict.substr(dict.find("shape"));
    shape = shape.substr(shape.find('('));
    std::vector<std::uint64_t> dims;
    for (std::size_t at = 1; shape[at] != ')';) {
        std::uint64_t dim = 0;
        const char* begin = shape.data() + at;
        const auto digits = std::from_chars(begin, shape.data() + shape.size(), dim);
        if (digits.ec == std::errc()) dims.push_back(dim);
        at += digits.ec == std::errc() ? static_cast<std::size_t>(digits.ptr - begin) : 1;
    }
    fuzz::require(dims == header.shape);
    const std::string_view type = dict.substr(dict.find_first_of("<>|=", dict.find("descr")));
    fuzz::require(type[1] == "buif"[static_cast<int>(header.dtype.kind)]);
    fuzz::require(type[2] - '0' == header.dtype.size && (type[0] != '>' || header.dtype.size == 1));
}

/// In one run, and in two of which the second goes on after `first` elements.
template <class T>
void check_writer(const NpyHeader& header, std::span<const u8> bytes, std::uint64_t split) {
    static const fuzz::Folder folder;
    const std::string path = folder.path() + "/a.npy";
    std::vector<T> elements(bytes.size() / sizeof(T));
    if (!bytes.empty()) std::memcpy(elements.data(), bytes.data(), bytes.size());
    const auto check = [&] {
        const Array read = read_npy(path);
        fuzz::require(read.dtype == header.dtype && read.dims == header.shape);
        fuzz::require(std::ranges::equal(read.bytes, bytes));
    };
    write_npy(path, header.shape, std::span(elements));
    check();
    const std::size_t first = elements.empty() ? 0 : split % elements.size();
    NpyWriter(path, header.dtype, header.shape, 0).append(std::span(elements).first(first));
    NpyWriter second(path, header.dtype, header.shape, first);
    second.append(std::span(elements).subspan(first));
    second.commit();
    check();
}

void check_writer(const NpyHeader& header, std::span<const u8> bytes, std::uint64_t split) {
    if (header.dtype == dtype_of<u8>) check_writer<u8>(header, bytes, split);
    if (header.dtype == dtype_of<std::int16_t>) check_writer<std::int16_t>(header, bytes, split);
    if (header.dtype == dtype_of<float>) check_writer<float>(header, bytes, split);
    if (header.dtype == dtype_of<std::uint64_t>) check_writer<std::uint64_t>(header, bytes, split);
}

void check_uses(const Array& array) {
    try {
        const Shape shape = detail::image_shape(array.dims, "fuzz");
        const std::size_t axes = array.dims.size();
        fuzz::require(axes == 3 || axes == 4);
        fuzz::require(shape.height > 0 && std::uint64_t(shape.height) == array.dims[1]);
        fuzz::require(shape.width > 0 && std::uint64_t(shape.width) == array.dims[2]);
        fuzz::require(shape.channels > 0 && std::uint64_t(shape.channels) == (axes == 4 ? array.dims[3] : 1));
    } catch (const data_error&) {
    }
    try {
        const std::vector<Label> labels = to_labels(array, "fuzz");
        fuzz::require(labels.size() == array.dims[0]);
        const std::uint64_t columns = array.dims.size() == 2 ? array.dims[1] : 1;
        const auto size = static_cast<std::uint64_t>(array.dtype.size);
        for (std::size_t i = 0; i < labels.size(); ++i) {
            const auto at = [&](std::uint64_t column) {
                return detail::load_number(array.dtype, &array.bytes[(i * columns + column) * size]);
            };
            if (columns == 1)
                fuzz::require(at(0) == labels[i]);
            else
                for (std::uint64_t column = 0; column < columns; ++column)
                    fuzz::require(at(column) == (column == std::uint64_t(labels[i]) ? 1 : 0));
        }
    } catch (const data_error&) {
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
    const std::string bytes = data[0] % 2 == 1 ? with_start(data[0], rest) : std::string(rest);
    static fuzz::MemoryFile memory;
    memory.write(std::as_bytes(std::span(bytes)));
    try {
        const NpyHeader header = read_npy_header(File(memory.path()));
        fuzz::require(header.data_offset <= bytes.size() && header.data_offset >= 10);
        fuzz::require(header.bytes == bytes.size() - header.data_offset);
        const std::size_t start = bytes[6] == 1 ? 10 : 12;
        check_dict(std::string_view(bytes).substr(start, header.data_offset - start), header);
        unsigned __int128 expected = static_cast<unsigned>(header.dtype.size);
        if (std::ranges::count(header.shape, 0u) > 0) expected = 0;
        for (const std::uint64_t dim : header.shape)
            fuzz::require((expected *= dim) <= bytes.size()); // at most 2^60 times 2^60: fits
        fuzz::require(expected == header.bytes);

        const Array array = read_npy(memory.path());
        fuzz::require(array.dtype == header.dtype && array.dims == header.shape);
        fuzz::require(array.bytes.size() == header.bytes &&
                      std::equal(array.bytes.begin(), array.bytes.end(),
                                 std::as_bytes(std::span(bytes)).begin() + std::ptrdiff_t(header.data_offset),
                                 [](u8 read, std::byte there) { return std::byte{read} == there; }));
        check_uses(array);
        check_writer(header, array.bytes, data[0]);

        // What the writer puts before the data says the same.
        const std::string written = npy_header(header.dtype, header.shape);
        fuzz::require(written.size() % 64 == 0 && written.ends_with('\n'));
        const std::string file = written + bytes.substr(header.data_offset);
        memory.write(std::as_bytes(std::span(file)));
        const NpyHeader again = read_npy_header(File(memory.path()));
        fuzz::require(again.dtype == header.dtype && again.shape == header.shape);
        fuzz::require(again.data_offset == written.size() && again.bytes == header.bytes);
    } catch (const format_error&) {
    } catch (const io_error&) { // the header is cut
        fuzz::require(rest.size() < 65536 + 12);
    }
    return 0;
}
