#pragma once
/// \file
/// For the fuzzers: gzip in memory, by zlib alone.

#include <zlib.h>

#include <cstdlib>
#include <string>
#include <utility>

namespace fuzz {

/// One member.
inline std::string gzipped(std::string content, int level = 6) {
    z_stream stream{};
    if (deflateInit2(&stream, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) std::abort();
    std::string out(deflateBound(&stream, static_cast<uLong>(content.size())), '\0');
    stream.next_in = reinterpret_cast<Bytef*>(content.data());
    stream.avail_in = static_cast<uInt>(content.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    if (deflate(&stream, Z_FINISH) != Z_STREAM_END) std::abort();
    out.resize(stream.total_out);
    deflateEnd(&stream);
    return out;
}

/// What members in a row hold, and whether they are all of `file`; up to the damage otherwise.
inline std::pair<std::string, bool> gunzipped(std::string file) {
    std::string content;
    std::string room(std::size_t{1} << 16, '\0');
    for (std::size_t at = 0; at < file.size();) {
        z_stream stream{};
        if (inflateInit2(&stream, 15 + 16) != Z_OK) std::abort();
        stream.next_in = reinterpret_cast<Bytef*>(file.data() + at);
        stream.avail_in = static_cast<uInt>(file.size() - at);
        int code = Z_OK;
        while (code == Z_OK) {
            stream.next_out = reinterpret_cast<Bytef*>(room.data());
            stream.avail_out = static_cast<uInt>(room.size());
            code = inflate(&stream, Z_NO_FLUSH);
            content.append(room, 0, room.size() - stream.avail_out);
        }
        at = file.size() - stream.avail_in;
        inflateEnd(&stream);
        if (code != Z_STREAM_END) return {content, false};
    }
    return {content, !file.empty()};
}

} // namespace fuzz
