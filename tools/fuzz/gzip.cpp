// libFuzzer: any bytes as a gzip file, read piece by piece and held against zlib's own way through the whole.
// With an odd first byte the rest is compressed first, in one member or two; then the file, cut or with a
// byte changed, must be refused or yield the same.
//   clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude tools/fuzz/gzip.cpp -lz

#include "gzip.hpp"
#include "memory_file.hpp"

#include <plimsoll/format/gzip.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

using namespace plimsoll;

namespace {

/// Reads all that `file` holds in pieces of 1, step + 1, ... bytes. What it yields before it ends or is
/// refused is the beginning of `content`. \return whether it holds exactly `content` and is whole
bool holds(const std::string& file, std::string_view content, std::size_t step) {
    static fuzz::MemoryFile memory;
    memory.write(std::as_bytes(std::span(file)));
    const File opened(memory.path());
    GzipReader reader(opened);
    std::string piece;
    try {
        for (std::size_t at = 0, want = 1; at < content.size(); at += piece.size(), want += step) {
            piece.assign(std::min(want, content.size() - at), '?');
            reader.read(std::as_writable_bytes(std::span(piece)));
            fuzz::require(piece == content.substr(at, piece.size()));
        }
        reader.expect_end();
    } catch (const format_error&) {
        return false;
    }
    fuzz::require(content.size() <= reader.most_bytes());
    return true;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 3) return 0;
    const std::uint8_t mode = data[0], place = data[1], step = data[2];
    const std::string rest(reinterpret_cast<const char*>(data) + 3, size - 3);
    if (mode % 2 == 0) {
        const auto [content, whole] = fuzz::gunzipped(rest);
        fuzz::require(holds(rest, content, step) == whole);
        return 0;
    }
    std::string content = rest;
    if (mode & 32)
        for (int i = 0; i < 5 && content.size() < 1 << 17; ++i)
            content += content; // past the reader's buffer
    const std::size_t split = content.size() * place / 256;
    const int level = mode / 2 % 10;
    const std::string first = fuzz::gzipped(content.substr(0, split), level);
    const std::string file = first + fuzz::gzipped(content.substr(split), level);
    fuzz::require(holds(file, content, step));

    const std::size_t cut = file.size() * step / 256;
    if (cut != 0 && cut != first.size()) fuzz::require(!holds(file.substr(0, cut), content, step));
    fuzz::require(!holds(file + "x", content, step));
    std::string changed = file;
    changed[file.size() * place / 256] ^= static_cast<char>(step | 1);
    try {
        (void)holds(changed, fuzz::gunzipped(changed).first, step);
        if (fuzz::gunzipped(changed).second) fuzz::require(holds(changed, content, step));
    } catch (const io_error&) {
    }
    return 0;
}
