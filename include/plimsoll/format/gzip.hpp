#pragma once
/// \file
/// Decompression of .gz files as a stream, so that a header can say how much to expect before it is
/// allocated.

#include <plimsoll/core/config.hpp>
#include <plimsoll/core/error.hpp>
#include <plimsoll/format/file.hpp>

#if PLIMSOLL_WITH_ZLIB
#include <zlib.h>
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

/// Whether a file begins as gzip does (1f 8b), whatever its name.
inline bool is_gzip(const File& file) {
    unsigned char magic[2] = {};
    if (file.size() < 2) return false;
    file.read_at(0, std::span(magic));
    return magic[0] == 0x1f && magic[1] == 0x8b;
}

#if PLIMSOLL_WITH_ZLIB

/// Yields the decompressed bytes of a gzip file of one or more members, in order. It allocates a fixed buffer
/// only: what the file decompresses to is the caller's to bound.
class GzipReader {
  public:
    /// `file` must outlive the reader.
    explicit GzipReader(const File& file) : file_(file), input_(1 << 16) {
        constexpr int window_and_gzip = 15 + 16;
        if (inflateInit2(&stream_, window_and_gzip) != Z_OK)
            throw io_error(text("cannot decompress \"", file.path(), "\": zlib has no memory"));
    }
    GzipReader(const GzipReader&) = delete;
    GzipReader& operator=(const GzipReader&) = delete;
    ~GzipReader() { inflateEnd(&stream_); }

    /// The most bytes a file of this size can hold: deflate's best is 1,032 to 1.
    [[nodiscard]] std::uint64_t most_bytes() const {
        constexpr std::uint64_t factor = 1032;
        const std::uint64_t largest = std::numeric_limits<std::uint64_t>::max();
        return file_.size() > largest / factor ? largest : file_.size() * factor;
    }

    /// Fills `out` with the next bytes.
    /// \throws format_error naming path and offset when the stream ends early, is corrupt or holds fewer
    /// bytes.
    void read(std::span<std::byte> out) {
        const std::size_t got = read_some(out);
        if (got != out.size())
            throw refuse(
                text("expected ", delivered_ - got + out.size(), " decompressed bytes, found ", delivered_));
    }

    /// Requires that nothing follows what was read, and that its checksum is right.
    /// \throws format_error otherwise.
    void expect_end() {
        std::byte extra[1];
        const std::uint64_t expected = delivered_;
        if (read_some(extra) != 0)
            throw refuse(text("expected ", expected, " decompressed bytes, found more"));
    }

  private:
    [[nodiscard]] format_error refuse(std::string_view what) const {
        return detail::bad_content(file_.path(), next_ - stream_.avail_in, what);
    }

    void refill() {
        const auto count =
            static_cast<std::size_t>(std::min<std::uint64_t>(input_.size(), file_.size() - next_));
        file_.read_at(next_, std::span(input_).first(count));
        next_ += count;
        stream_.next_in = input_.data();
        stream_.avail_in = static_cast<uInt>(count);
    }

    /// Bytes written to `out`: all of it, or fewer at the clean end of the last member.
    std::size_t read_some(std::span<std::byte> out) {
        std::size_t done = 0;
        while (done < out.size()) {
            if (stream_.avail_in == 0) refill();
            if (member_ended_) {
                if (stream_.avail_in == 0) break;
                if (inflateReset(&stream_) != Z_OK) throw refuse("gzip: zlib cannot begin another member");
            }
            const std::size_t room = std::min<std::size_t>(out.size() - done, std::size_t{1} << 30);
            stream_.next_out = reinterpret_cast<Bytef*>(out.data() + done);
            stream_.avail_out = static_cast<uInt>(room);
            const int code = inflate(&stream_, Z_NO_FLUSH);
            const std::size_t made = room - stream_.avail_out;
            done += made;
            delivered_ += made;
            if (code == Z_BUF_ERROR) throw refuse("gzip: the compressed data ends early");
            if (code == Z_MEM_ERROR)
                throw io_error(text("cannot decompress \"", file_.path(), "\": zlib has no memory"));
            if (code != Z_OK && code != Z_STREAM_END)
                throw refuse(text("gzip: ", member_ended_ ? "garbage after the compressed data: " : "",
                                  stream_.msg != nullptr ? stream_.msg : "corrupt data"));
            member_ended_ = code == Z_STREAM_END;
        }
        return done;
    }

    const File& file_;
    std::vector<unsigned char> input_;
    std::uint64_t next_ = 0;      // compressed bytes read from the file
    std::uint64_t delivered_ = 0; // decompressed bytes handed out
    bool member_ended_ = false;
    z_stream stream_{};
};

#else

/// Without zlib: refuses, saying what to do.
class GzipReader {
  public:
    [[noreturn]] explicit GzipReader(const File& file) {
        throw format_error(text("\"", file.path(),
                                "\" is compressed: gunzip it, or build with zlib (-lz, "
                                "PLIMSOLL_WITH_ZLIB=1)"));
    }
    [[nodiscard]] std::uint64_t most_bytes() const { return 0; }
    void read(std::span<std::byte>) {}
    void expect_end() {}
};

#endif

} // namespace plimsoll::inline PLIMSOLL_ABI
