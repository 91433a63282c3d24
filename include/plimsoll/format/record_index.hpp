#pragma once
/// \file
/// A side index of a TFRecord file: where each record begins, and its label. It is made in one pass over the
/// file, kept beside it, and made again whenever it does not belong to the file as it is now.

#include <plimsoll/core/config.hpp>
#include <plimsoll/core/error.hpp>
#include <plimsoll/format/crc32c.hpp>
#include <plimsoll/format/example.hpp>
#include <plimsoll/format/file.hpp>
#include <plimsoll/format/tfrecord.hpp>

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

/// What an index's name ends in. Beside `train.tfrecord-00000` it matches `train.tfrecord-*` too: whoever
/// lists data files leaves such names out.
inline constexpr std::string_view record_index_suffix = ".plimsoll-index";

/// Is told how many of a file's bytes have been indexed. What it throws ends the work, and nothing is stored.
using IndexProgress = std::function<void(std::uint64_t done, std::uint64_t total)>;

/// What an index does with a record whose payload is damaged or lacks the label. A damaged length always
/// fails: what follows it cannot be found.
enum class OnUnreadable { fail, mark };

namespace detail {

/// What an index holds of a record. A record ends where the next one begins, so its length needs no place.
struct IndexEntry {
    std::uint64_t offset = 0;
    std::int64_t label = 0;
};

/// The label of a record that cannot be read: its payload is damaged, or it has none.
inline constexpr std::int64_t unreadable_label = std::numeric_limits<std::int64_t>::min();

/// What tells one state of a data file from another.
struct DataFacts {
    std::uint64_t size = 0;
    std::int64_t modified_ns = 0;
    std::uint32_t head_crc = 0, tail_crc = 0; ///< CRC32C of its first and its last 64 KiB
    friend bool operator==(const DataFacts&, const DataFacts&) = default;
};

/// The beginning of an index file; the label feature's name, filled up with zeros to a multiple of 8 bytes,
/// and the entries follow.
struct IndexHeader {
    char magic[8] = {'p', 'l', 'i', 'm', 'i', 'd', 'x', '\n'};
    std::uint32_t version = 1;
    std::uint32_t checksum = 0; ///< CRC32C of everything behind this field
    DataFacts data;
    std::uint64_t count = 0;
    std::uint64_t name_bytes = 0;
};
static_assert(sizeof(IndexHeader) == 56 && sizeof(IndexEntry) == 16, "both are files' bytes: no padding");

/// \throws io_error when it cannot be read, or has another size than when it was opened.
inline DataFacts data_facts(const File& file) {
    struct stat facts {};
    if (::fstat(file.descriptor(), &facts) != 0) throw system_failure("inspect", file.path(), errno);
    if (static_cast<std::uint64_t>(facts.st_size) != file.size())
        throw io_error(text("\"", file.path(), "\" had ", file.size(), " bytes when it was opened, and has ",
                            static_cast<std::uint64_t>(facts.st_size), " now"));
    DataFacts out{.size = file.size(),
                  .modified_ns = std::int64_t{facts.st_mtim.tv_sec} * 1'000'000'000 + facts.st_mtim.tv_nsec};
    std::vector<std::byte> end(static_cast<std::size_t>(std::min<std::uint64_t>(file.size(), 64 << 10)));
    file.read_at(0, std::span(end));
    out.head_crc = crc32c(end);
    file.read_at(file.size() - end.size(), std::span(end));
    out.tail_crc = crc32c(end);
    return out;
}

inline std::uint32_t index_checksum(const IndexHeader& header, std::span<const char> name,
                                    std::span<const IndexEntry> entries) {
    const auto behind = std::as_bytes(std::span(&header, 1)).subspan(16);
    return crc32c(std::as_bytes(entries), crc32c(std::as_bytes(name), crc32c(behind)));
}

inline std::string padded_name(std::string_view name) {
    std::string out(name);
    out.resize((name.size() + 7) / 8 * 8);
    return out;
}

/// Writes an index, atomically. \throws io_error
inline void write_index(const std::string& path, const DataFacts& data, std::string_view label_feature,
                        std::span<const IndexEntry> entries) {
    IndexHeader header{.data = data, .count = entries.size(), .name_bytes = label_feature.size()};
    const std::string name = padded_name(label_feature);
    header.checksum = index_checksum(header, name, entries);
    write_atomically(path, [&](AtomicFile& file) {
        file.write(std::as_bytes(std::span(&header, 1)));
        file.write(name);
        file.write(std::as_bytes(entries));
    });
}

/// Reads an index of the data file whose facts these are.
/// \throws format_error naming path and offset when it is damaged or of another state, file or label;
/// io_error.
inline std::vector<IndexEntry> read_index(const std::string& path, const DataFacts& data,
                                          std::string_view label_feature) {
    const File file(path);
    const auto refuse = [&](std::uint64_t offset, std::string_view what) {
        return bad_content(path, offset, what);
    };
    const IndexHeader expected;
    IndexHeader header;
    std::string name = padded_name(label_feature);
    const std::uint64_t fixed = sizeof header + name.size();
    if (file.size() < fixed) throw refuse(0, "too short for an index of this label");
    file.read_at(0, std::span(&header, 1));
    if (!std::equal(header.magic, header.magic + 8, expected.magic) || header.version != expected.version)
        throw refuse(0, "not an index of this version");
    if (header.data != data) throw refuse(16, "of another file, or of another state of it");
    const std::uint64_t room = file.size() - fixed;
    if (header.name_bytes != label_feature.size() || room % sizeof(IndexEntry) != 0 ||
        header.count != room / sizeof(IndexEntry) || header.count == 0)
        throw refuse(40, text("expected ", room, " bytes of entries, found ", header.count, " entries"));
    std::vector<IndexEntry> entries(static_cast<std::size_t>(header.count));
    file.read_at(sizeof header, std::span<char>(name));
    file.read_at(fixed, std::span(entries));
    if (name != padded_name(label_feature)) throw refuse(sizeof header, "of another label");
    if (header.checksum != index_checksum(header, name, entries)) throw refuse(12, "the checksum is wrong");

    std::uint64_t least = 0; // where the next record can begin at the earliest
    for (std::size_t i = 0; i < entries.size(); ++i) {
        const std::uint64_t offset = entries[i].offset;
        if ((i == 0 && offset != 0) || offset < least || offset > data.size ||
            data.size - offset < TfRecordFile::frame_bytes)
            throw refuse(fixed + i * sizeof(IndexEntry), text("a record at offset ", offset));
        least = offset + TfRecordFile::frame_bytes;
    }
    return entries;
}

/// Reads every record of a file, with all checks. \throws as TfRecordFile and Features do.
inline std::vector<IndexEntry> build_index(const TfRecordFile& file, std::string_view label_feature,
                                           const IndexProgress& progress, OnUnreadable on_unreadable) {
    std::vector<IndexEntry> entries;
    std::vector<std::byte> buffer;
    const std::uint64_t step = std::max<std::uint64_t>(file.size() / 256, 1 << 20);
    std::uint64_t told = 0;
    file.scan([&](std::uint64_t number, RecordExtent extent) {
        entries.push_back({extent.offset, unreadable_label});
        try {
            entries.back().label = Features(file.read(number, extent, buffer)).at(label_feature).int64();
        } catch (const io_error&) {
            throw;
        } catch (const error&) {
            if (on_unreadable == OnUnreadable::fail) throw;
        }
        const std::uint64_t done = extent.offset + extent.length + TfRecordFile::frame_bytes;
        if (progress && (done - told >= step || done == file.size())) {
            told = done;
            progress(done, file.size());
        }
    });
    entries.shrink_to_fit();
    return entries;
}

/// The index's place where the data's folder takes none: in $XDG_CACHE_HOME/plimsoll or ~/.cache/plimsoll,
/// under a name made from the data file's absolute path. Empty where there is no such folder.
inline std::string cached_index_path(const std::string& data_path) {
    const std::unique_ptr<char, void (*)(void*)> absolute(::realpath(data_path.c_str(), nullptr), std::free);
    const char* cache = std::getenv("XDG_CACHE_HOME");
    const char* home = std::getenv("HOME");
    std::string folder;
    if (cache != nullptr && cache[0] == '/')
        folder = cache; // the standard has relative ones ignored
    else if (home != nullptr && home[0] == '/')
        folder = text(home, "/.cache");
    if (folder.empty() || !absolute) return "";
    std::uint64_t hash = 0xcbf29ce484222325; // FNV-1a
    for (const char* c = absolute.get(); *c != 0; ++c)
        hash = (hash ^ static_cast<unsigned char>(*c)) * 0x100000001b3;
    std::string name;
    for (int shift = 60; shift >= 0; shift -= 4) name += "0123456789abcdef"[hash >> shift & 15];
    return text(folder, "/plimsoll/", name, record_index_suffix);
}

/// Makes the folders of a path that are not there. What fails is found by who writes the file.
inline void make_folders_of(const std::string& path) {
    for (std::size_t slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1))
        ::mkdir(path.substr(0, slash).c_str(), 0700);
}

} // namespace detail

/// A TFRecord file whose records are known: any of them is read by its number. Movable; may be read by
/// several threads at once, each with a buffer of its own.
class RecordIndex {
  public:
    RecordIndex(TfRecordFile file, std::vector<detail::IndexEntry> entries, std::string stored_at)
        : file_(std::move(file)), entries_(std::move(entries)), stored_at_(std::move(stored_at)) {}

    [[nodiscard]] const std::string& path() const { return file_.path(); }
    [[nodiscard]] const TfRecordFile& file() const { return file_; }
    /// How many records there are, at least one.
    [[nodiscard]] std::uint64_t size() const { return entries_.size(); }
    /// The index's own file, or nothing where none could be written.
    [[nodiscard]] const std::string& stored_at() const { return stored_at_; }

    /// \throws argument_error when there is no such record.
    [[nodiscard]] RecordExtent extent(std::uint64_t number) const {
        const std::uint64_t offset = entry(number).offset;
        const std::uint64_t end = number + 1 < size() ? entries_[number + 1].offset : file_.size();
        return {offset, end - offset - TfRecordFile::frame_bytes};
    }
    /// \throws argument_error when there is no such record.
    [[nodiscard]] std::int64_t label(std::uint64_t number) const { return entry(number).label; }

    /// Whether it could be read when the index was made; always, unless OnUnreadable::mark was asked for.
    [[nodiscard]] bool is_readable(std::uint64_t number) const {
        return label(number) != detail::unreadable_label;
    }

    /// Reads a record, with its checksums. \throws as TfRecordFile::read does, argument_error when there is
    /// no such record.
    Record read(std::uint64_t number, std::vector<std::byte>& buffer) const {
        return file_.read(number, extent(number), buffer);
    }

  private:
    [[nodiscard]] const detail::IndexEntry& entry(std::uint64_t number) const {
        if (number >= size())
            throw argument_error(text("\"", path(), "\" has ", size(), " records, and none ", number));
        return entries_[static_cast<std::size_t>(number)];
    }

    TfRecordFile file_;
    std::vector<detail::IndexEntry> entries_;
    std::string stored_at_;
};

/// Opens a TFRecord file of tf.train.Examples with its index, `<path>.plimsoll-index` or, where that cannot
/// be written, a file in the user's cache folder. An index that is missing, stale or damaged is made by
/// reading the whole file; where neither place takes it, it is kept in memory alone. \param label_feature
/// name of the int64 feature that is the label \throws io_error when the file cannot be read or changes
/// meanwhile, format_error when it is damaged, data_error when a record lacks the label.
inline RecordIndex open_index(std::string path, std::string_view label_feature,
                              const IndexProgress& progress = {},
                              OnUnreadable on_unreadable = OnUnreadable::fail) {
    TfRecordFile file(std::move(path));
    const detail::DataFacts facts = detail::data_facts(file.file());
    const std::string places[] = {text(file.path(), record_index_suffix),
                                  detail::cached_index_path(file.path())};
    for (const std::string& place : places) {
        if (!path_exists(place)) continue;
        try {
            auto entries = detail::read_index(place, facts, label_feature);
            const bool marked = std::any_of(entries.begin(), entries.end(), [](const auto& entry) {
                return entry.label == detail::unreadable_label;
            });
            if (!marked || on_unreadable == OnUnreadable::mark)
                return {std::move(file), std::move(entries), place};
        } catch (const error&) { // stale, damaged or not to be read: it is made again
        }
    }
    auto entries = detail::build_index(file, label_feature, progress, on_unreadable);
    if (detail::data_facts(file.file()) != facts)
        throw io_error(text("\"", file.path(), "\" was changed while its index was made"));
    for (const std::string& place : places) {
        try {
            if (place.empty()) continue;
            if (&place != places) detail::make_folders_of(place);
            detail::write_index(place, facts, label_feature, entries);
            return {std::move(file), std::move(entries), place};
        } catch (const io_error&) { // the next place, or none
        }
    }
    return {std::move(file), std::move(entries), ""};
}

} // namespace plimsoll::inline PLIMSOLL_ABI
