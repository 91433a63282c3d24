#pragma once
/// \file
/// IDX, the format of MNIST and Fashion-MNIST, plain or gzip-compressed.

#include <plimsoll/core/config.hpp>
#include <plimsoll/core/error.hpp>
#include <plimsoll/core/storage.hpp>
#include <plimsoll/format/file.hpp>
#include <plimsoll/format/gzip.hpp>
#include <plimsoll/format/npy.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// A plain file read in order, with GzipReader's interface.
class PlainReader {
  public:
    explicit PlainReader(const File& file) : file_(file) {}
    [[nodiscard]] std::uint64_t most_bytes() const { return file_.size(); }
    void read(std::span<std::byte> out) {
        if (out.size() > file_.size() - at_) throw refuse(at_ + out.size());
        file_.read_at(at_, out);
        at_ += out.size();
    }
    void expect_end() const {
        if (at_ != file_.size()) throw refuse(at_);
    }

  private:
    [[nodiscard]] format_error refuse(std::uint64_t expected) const {
        return bad_content(file_.path(), at_, text("expected ", expected, " bytes, found ", file_.size()));
    }
    const File& file_;
    std::uint64_t at_ = 0;
};

/// What IDX calls its element types; empty for a code it does not know.
constexpr std::string_view idx_type_name(unsigned char code) {
    switch (code) {
    case 0x08:
        return "uint8";
    case 0x09:
        return "int8";
    case 0x0B:
        return "int16";
    case 0x0C:
        return "int32";
    case 0x0D:
        return "float32";
    case 0x0E:
        return "float64";
    default:
        return "";
    }
}

template <class Reader>
Array read_idx_from(const std::string& path, Reader reader) {
    unsigned char magic[4] = {}; // 0, 0, element type, rank
    reader.read(std::as_writable_bytes(std::span(magic)));
    const std::string_view type = idx_type_name(magic[2]);
    if (magic[0] != 0 || magic[1] != 0 || type.empty())
        throw bad_content(path, 0, "not an IDX file: it does not begin with 0, 0 and an element type");
    if (type != "uint8")
        throw bad_content(path, 2, text("IDX of ", type, ": only uint8 is read; convert it to .npy"));
    const int rank = magic[3];
    if (rank < 1 || rank > 4) throw bad_content(path, 3, text("IDX of rank ", rank, ": 1 to 4 are read"));

    Array array{.dtype = dtype_of<u8>, .dims = {}, .bytes = {}};
    for (int axis = 0; axis < rank; ++axis) {
        unsigned char big[4] = {};
        reader.read(std::as_writable_bytes(std::span(big)));
        array.dims.push_back(std::uint64_t{big[0]} << 24 | std::uint64_t{big[1]} << 16 |
                             std::uint64_t{big[2]} << 8 | big[3]);
    }
    const std::uint64_t header = 4 + 4 * static_cast<std::uint64_t>(rank);
    const auto count = element_count(array.dims);
    if (!count || *count > reader.most_bytes())
        throw bad_content(path, header,
                          text("shape ", dims_text(array.dims), ": expected ",
                               count ? text(*count) : "over 2^64", " bytes of data, found at most ",
                               reader.most_bytes()));
    array.bytes.resize(static_cast<std::size_t>(*count));
    reader.read(std::as_writable_bytes(std::span(array.bytes)));
    reader.expect_end();
    return array;
}

} // namespace detail

/// Reads an IDX file of uint8, rank 1 to 4, plain or gzip-compressed (told by its first bytes).
/// \throws io_error when it cannot be read, format_error naming path, expected and found bytes when its size
/// is not what its header says, or when it is no IDX file of uint8.
inline Array read_idx(const std::string& path) {
    const File file(path);
    if (!is_gzip(file)) return detail::read_idx_from(path, detail::PlainReader(file));
    return detail::read_idx_from(path, GzipReader(file));
}

} // namespace plimsoll::inline PLIMSOLL_ABI
