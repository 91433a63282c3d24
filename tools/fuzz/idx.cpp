// libFuzzer: any bytes as an IDX file, plain, or compressed where the first byte is odd. With 2 or 3 modulo 4
// its header is made to fit the bytes. It is read exactly where another way to read it says it is valid.
//   clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude tools/fuzz/idx.cpp -lz

#include "gzip.hpp"
#include "memory_file.hpp"

#include <plimsoll/format/idx.hpp>
#include <plimsoll/source/labels.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

using namespace plimsoll;

namespace {

unsigned byte_at(const std::string& bytes, std::size_t at) { return static_cast<unsigned char>(bytes[at]); }

void fit_header(std::string& bytes, std::size_t rank) {
    const std::size_t start = 4 + 4 * rank;
    if (bytes.size() < start) return;
    bytes.replace(0, 4, {'\0', '\0', '\x08', static_cast<char>(rank)});
    std::size_t count = bytes.size() - start;
    for (std::size_t axis = rank; axis-- > 0;) {
        const std::size_t dim =
            axis == 0 ? count : std::min<std::size_t>(byte_at(bytes, 7 + 4 * axis), count);
        if (dim != 0) count /= dim;
        for (std::size_t i = 0; i < 4; ++i) bytes[4 + 4 * axis + i] = static_cast<char>(dim >> (24 - 8 * i));
    }
}

/// The dimensions of a valid file.
std::optional<std::vector<std::uint64_t>> dims_of(const std::string& bytes) {
    if (bytes.size() < 8 || !bytes.starts_with(std::string("\0\0\x08", 3))) return {};
    const std::size_t rank = byte_at(bytes, 3), start = 4 + 4 * rank;
    if (rank == 0 || rank > 4 || bytes.size() < start) return {};
    std::vector<std::uint64_t> dims;
    unsigned __int128 count = 1; // four dimensions of 32 bits fit
    for (std::size_t at = 4; at < start; at += 4) {
        std::uint64_t dim = 0;
        for (std::size_t i = 0; i < 4; ++i) dim = dim * 256 + byte_at(bytes, at + i);
        dims.push_back(dim);
        count *= dim;
    }
    if (count != bytes.size() - start) return {};
    return dims;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const bool compress = data[0] % 2 == 1;
    std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
    if (data[0] / 2 % 2 == 1) fit_header(bytes, 1 + data[0] / 4 % 4);
    const std::string file = compress ? fuzz::gzipped(bytes, 1 + data[0] / 16 % 9) : bytes;
    bool whole = true;
    if (!compress && bytes.starts_with("\x1f\x8b")) std::tie(bytes, whole) = fuzz::gunzipped(file);
    const auto dims = whole ? dims_of(bytes) : std::nullopt;
    static fuzz::MemoryFile memory;
    memory.write(std::as_bytes(std::span(file)));
    try {
        const Array array = read_idx(memory.path());
        fuzz::require(dims && array.dims == *dims && array.dtype == dtype_of<u8>);
        const std::size_t start = 4 + 4 * dims->size();
        fuzz::require(array.bytes.size() == bytes.size() - start);
        for (std::size_t i = 0; i < array.bytes.size(); ++i)
            fuzz::require(array.bytes[i] == byte_at(bytes, start + i));
        if (dims->size() == 1) fuzz::require(std::ranges::equal(to_labels(array, "fuzz"), array.bytes));
    } catch (const format_error&) {
        fuzz::require(!dims);
    }
    return 0;
}
