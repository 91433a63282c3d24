// TFRecord files, the Examples in them and their index: nothing damaged, cut or stale is taken for whole.

#include "support.hpp"

#include <plimsoll/format/crc32c.hpp>
#include <plimsoll/format/example.hpp>
#include <plimsoll/format/npy.hpp>
#include <plimsoll/format/record_index.hpp>
#include <plimsoll/format/tfrecord.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

using namespace plimsoll;
using namespace support;
using namespace std::string_literals;

namespace {

std::string view_text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
std::span<const std::byte> bytes_view(std::string_view text) {
    return std::as_bytes(std::span(text.data(), text.size()));
}

template <class T>
std::string raw(T value) {
    std::string out(sizeof value, '\0');
    std::memcpy(out.data(), &value, sizeof value);
    return out;
}

std::string masked(std::string_view bytes) { return raw(masked_crc32c(crc32c(bytes_view(bytes)))); }
/// A length with its checksum.
std::string head(std::uint64_t length) { return raw(length) + masked(raw(length)); }
std::string framed(const std::string& payload) { return head(payload.size()) + payload + masked(payload); }

/// All payloads of a file.
std::vector<std::string> payloads_of(const std::string& path) {
    const TfRecordFile file(path);
    std::vector<std::byte> buffer;
    std::vector<std::string> out;
    file.scan([&](std::uint64_t number, RecordExtent extent) {
        const Record record = file.read(number, extent, buffer);
        CHECK(record.number == out.size());
        CHECK(record.offset == extent.offset);
        CHECK(record.path == path);
        out.push_back(view_text(record.payload));
    });
    return out;
}

std::string flipped(std::string content, std::size_t bit) {
    content[bit / 8] = static_cast<char>(content[bit / 8] ^ (1 << (bit % 8)));
    return content;
}

} // namespace

// ----------------------------------------------------------------------------------------------- crc32c.hpp

TEST_CASE("CRC32C gives the published values") {
    CHECK(crc32c({}) == 0);
    CHECK(crc32c(bytes_view("123456789")) == 0xe3069283u);
    CHECK(crc32c(bytes_view(std::string(32, '\0'))) == 0x8a9136aau); // RFC 3720, B.4
    CHECK(crc32c(bytes_view(std::string(32, '\xff'))) == 0x62a8ab43u);
    std::string ascending(32, '\0');
    for (std::size_t i = 0; i < 32; ++i) ascending[i] = static_cast<char>(i);
    CHECK(crc32c(bytes_view(ascending)) == 0x46dd794eu);
    for (std::size_t cut = 0; cut <= 32; ++cut) {
        CAPTURE(cut);
        const std::string_view whole(ascending);
        CHECK(crc32c(bytes_view(whole.substr(cut)), crc32c(bytes_view(whole.substr(0, cut)))) == 0x46dd794eu);
    }
    CHECK(masked_crc32c(0) == 0xa282ead8u);
}

// --------------------------------------------------------------------------------------------- tfrecord.hpp

TEST_CASE("TFRecord yields the payloads, empty ones too") {
    const TemporaryFolder folder;
    const std::vector<std::string> wanted{"one", "", std::string(100'000, 'x'), "\0\xff"s};
    std::string content;
    for (const std::string& payload : wanted) content += framed(payload);
    write_file(folder / "a", content);
    CHECK(payloads_of(folder / "a") == wanted);

    // 35,615 bytes: the length is written 1f 8b 00 .., as gzip begins
    const std::string long_one(35'615, 'y');
    CHECK(framed(long_one).starts_with("\x1f\x8b"));
    CHECK(payloads_of(write_file(folder / "b", framed(long_one))) == std::vector{long_one});

    const TfRecordFile file(folder / "a");
    std::vector<RecordExtent> extents;
    CHECK(file.scan([&](std::uint64_t, RecordExtent extent) { extents.push_back(extent); }) == 4);
    CHECK(extents == std::vector<RecordExtent>{{0, 3}, {19, 0}, {35, 100'000}, {100'051, 2}});
    std::vector<std::byte> buffer; // any order, one buffer
    CHECK(file.read(2, extents[2], buffer).payload.size() == 100'000);
    const std::byte* place = buffer.data();
    CHECK(view_text(file.read(0, extents[0], buffer).payload) == "one");
    CHECK(view_text(file.read(3, extents[3], buffer).payload) == wanted[3]);
    CHECK(buffer.data() == place);
}

TEST_CASE("TFRecord: every flipped bit is refused, and every cut but one between records") {
    const TemporaryFolder folder;
    const std::string path = folder / "a";
    const std::string content = framed("first") + framed("") + framed("the third");
    write_file(path, content);
    CHECK(payloads_of(path).size() == 3);
    for (std::size_t bit = 0; bit < 8 * content.size(); ++bit) {
        CAPTURE(bit);
        write_file(path, flipped(content, bit));
        CHECK(contains(message_of<format_error>([&] { payloads_of(path); }), path));
    }
    for (std::size_t size = 0; size < content.size(); ++size) {
        CAPTURE(size);
        write_file(path, content.substr(0, size));
        if (size == 21 || size == 37)
            CHECK(payloads_of(path).size() == (size == 21 ? 1 : 2));
        else
            CHECK(contains(message_of<format_error>([&] { TfRecordFile(path).scan([](auto, auto) {}); }),
                           path));
    }
    write_file(path, content + "x");
    CHECK(contains(message_of<format_error>([&] { payloads_of(path); }),
                   "offset 62: record 3: expected at least 16 bytes, found 1"));

    const auto refused = [&](const std::string& bytes) {
        write_file(path, bytes);
        return message_of<format_error>([&] { payloads_of(path); });
    };
    CHECK(contains(refused(""), "holds no record"));
    CHECK(contains(refused("short"), "not a TFRecord file: 5 bytes"));
    CHECK(contains(refused("a text file, longer than a head"), "not a TFRecord file: the first length"));
    CHECK(contains(refused(flipped(content, 8 * 24)), "offset 21: record 1: the length does not match"));
    CHECK(contains(refused(flipped(content, 8 * 30)), "offset 21: record 1: the length does not match"));
    CHECK(contains(refused(flipped(content, 8 * 50)), "offset 37: record 2: the payload of 9 bytes"));
    CHECK(contains(refused(flipped(content, 8 * 61)), "offset 37: record 2: the payload of 9 bytes"));
    CHECK(contains(refused(content.substr(0, 60)), "a payload of 9 bytes, and the file has 7 for it"));
}

TEST_CASE("TFRecord: lengths near 2^64 are refused before anything is allocated") {
    const TemporaryFolder folder;
    const std::string path = folder / "a";
    const std::uint64_t last = ~std::uint64_t{0};
    for (const std::uint64_t length :
         {last, last - 3, last - 4, last - 11, last - 12, last - 15, last - 16, last - 40, last / 2,
          last / 2 + 1, std::uint64_t{1} << 32, std::uint64_t{17}, std::uint64_t{6}}) {
        CAPTURE(length);
        write_file(path, framed("a") + head(length) + "bytes" + masked("bytes"));
        CHECK(contains(message_of<format_error>([&] { payloads_of(path); }),
                       text("offset 17: record 1: a payload of ", length, " bytes, and the file has 5")));

        const TfRecordFile file(path);
        std::vector<std::byte> buffer;
        for (const std::uint64_t offset : {std::uint64_t{17}, std::uint64_t{37}, std::uint64_t{38}, last}) {
            CHECK(contains(message_of<format_error>([&] {
                               file.read(9, {offset, length}, buffer);
                           }),
                           text("offset ", offset, ": record 9: a payload of ", length,
                                " bytes is not within the file's 38")));
        }
        CHECK(buffer.capacity() == 0);
    }
    write_file(path, framed("abc") + framed("defg"));
    const TfRecordFile file(path);
    std::vector<std::byte> buffer;
    CHECK(contains(message_of<format_error>([&] {
                       file.read(0, {0, 4}, buffer);
                   }),
                   "expected a payload of 4 bytes, found 3"));
    CHECK(contains(message_of<format_error>([&] {
                       file.read(1, {18, 3}, buffer);
                   }),
                   "offset 18: record 1: the length does not match"));
}

TEST_CASE("TFRecord that is compressed is refused by name, with the command that unpacks it") {
    const TemporaryFolder folder;
    const std::string path = folder / "a b";
    write_file(path, "\x1f\x8b\x08\0\0\0\0\0\0\x03 and so on"s);
    std::string message = message_of<format_error>([&] { TfRecordFile{path}; });
    CHECK(contains(message, "compressed with gzip"));
    CHECK(contains(message, text("gunzip < \"", path, "\" > \"", path, ".unpacked\"")));
    for (const char* begin : {"\x78\x01", "\x78\x5e", "\x78\x9c", "\x78\xda"}) {
        message = message_of<format_error>([&] { TfRecordFile{write_file(path, begin + "and so on"s)}; });
        CHECK(contains(message, "compressed with zlib"));
        CHECK(contains(message, text("zlib.decompress(sys.stdin.buffer.read()))' < \"", path, "\" > ")));
    }
    if (const auto real = reference_path("data/original_size_gzip.tfrecord"))
        CHECK(contains(message_of<format_error>([&] { TfRecordFile{*real}; }), "compressed with gzip"));
}

TEST_CASE("TFRecord that shrinks while it is read is refused") {
    const TemporaryFolder folder;
    const std::string path = write_file(folder / "a", framed("first") + framed("second"));
    const TfRecordFile file(path);
    std::filesystem::resize_file(path, 25);
    std::vector<std::byte> buffer;
    CHECK(view_text(file.read(0, {0, 5}, buffer).payload) == "first");
    const auto shrunk = "found 4 (the file had 43 when it was opened, and has shrunk)";
    CHECK(contains(message_of<io_error>([&] { file.read(1, {21, 6}, buffer); }), shrunk));
    CHECK(contains(message_of<io_error>([&] { file.scan([](std::uint64_t, RecordExtent) {}); }), shrunk));
}

#if PLIMSOLL_WITH_PROTOZERO

// ---------------------------------------------------------------------------------------------- example.hpp

namespace {

std::string varint(std::uint64_t value) {
    std::string out;
    for (; value >= 128; value >>= 7) out += static_cast<char>(value | 128);
    return out + static_cast<char>(value);
}
/// A protobuf field with a length.
std::string field(unsigned tag, const std::string& content) {
    return varint(tag << 3 | 2) + varint(content.size()) + content;
}

std::string bytes_list(const std::vector<std::string>& values) {
    std::string list;
    for (const std::string& value : values) list += field(1, value);
    return field(1, list);
}
std::string float_list(const std::vector<float>& values, bool packed = true) {
    std::string list;
    for (const float value : values) list += (packed ? "" : "\x0d") + raw(value);
    return field(2, packed ? field(1, list) : list);
}
std::string int64_list(const std::vector<std::int64_t>& values, bool packed = true) {
    std::string list;
    for (const std::int64_t value : values)
        list += (packed ? "" : "\x08") + varint(static_cast<std::uint64_t>(value));
    return field(3, packed ? field(1, list) : list);
}
std::string entry(const std::string& name, const std::string& feature) {
    return field(1, field(1, name) + field(2, feature));
}
std::string example(const std::string& entries) { return field(1, entries); }
/// As a picture's.
std::string picture(const std::string& image, std::int64_t label) {
    return example(entry("image", bytes_list({image})) + entry("image/filename", bytes_list({"a.jpg"})) +
                   entry("label", int64_list({label})));
}

Record record_of(const std::string& payload) { return {bytes_view(payload), "a.tfrecord", 7, 99}; }

/// Everything there is in the features of these names.
std::string everything(const std::string& payload, const std::vector<std::string>& names) {
    std::string out;
    for (const std::string& name : names) {
        const auto feature = Features(record_of(payload)).find(name);
        out += text(name, feature ? ": " : " is not there;");
        if (!feature) continue;
        out += text(feature->size(), " ", to_string(feature->kind()));
        std::vector<float> floats(feature->size());
        std::vector<std::int64_t> int64s(feature->size());
        if (feature->kind() == FeatureKind::bytes && feature->size() == 1)
            out += " " + view_text(feature->bytes());
        if (feature->kind() == FeatureKind::floats) feature->read(floats);
        if (feature->kind() == FeatureKind::floats)
            for (const float value : floats) out += text(" ", value);
        if (feature->kind() == FeatureKind::int64s) feature->read(int64s);
        if (feature->kind() == FeatureKind::int64s)
            for (const std::int64_t value : int64s) out += text(" ", value);
        out += ";";
    }
    return out;
}

} // namespace

TEST_CASE("an Example's features are found, whichever way they are written") {
    const std::string payload = picture("JPEG", 1);
    const Features features(record_of(payload));
    CHECK(view_text(features.at("image").bytes()) == "JPEG");
    CHECK(features.at("image").bytes().data() >= bytes_view(payload).data()); // a view, no copy
    CHECK(features.at("image").bytes().data() < bytes_view(payload).data() + payload.size());
    CHECK(features.at("label").int64() == 1);
    CHECK(features.at("label").kind() == FeatureKind::int64s);
    CHECK(features.at("label").name() == "label");
    CHECK(!features.find("labe"));

    constexpr std::int64_t least = std::numeric_limits<std::int64_t>::min();
    for (const bool packed : {true, false}) {
        CAPTURE(packed);
        CHECK(everything(example(entry("i", int64_list({-1, least, 300, 0}, packed))), {"i"}) ==
              text("i: 4 int64 -1 ", least, " 300 0;"));
        CHECK(everything(example(entry("f", float_list({0.5f, -2}, packed))), {"f"}) ==
              "f: 2 float 0.500000 -2.000000;");
        CHECK(Features(record_of(example(entry("f", float_list({0.1f}, packed))))).at("f").float32() == 0.1f);
    }
    // protobuf's rules: the last of a name counts, also over concatenated messages; lists join; of several
    // kinds the last one counts; unknown fields are passed over; what is missing is empty
    const std::string both = int64_list({1, 2}) + int64_list({3}, false);
    CHECK(everything(example(entry("a", int64_list({1})) + entry("b", int64_list({5})) +
                             entry("a", bytes_list({"x"}))) +
                         example(entry("b", int64_list({6}))),
                     {"a", "b"}) == "a: 1 bytes x;b: 1 int64 6;");
    CHECK(everything(example(entry("a", both)), {"a"}) == "a: 3 int64 1 2 3;");
    CHECK(everything(example(entry("a", int64_list({9}) + float_list({1}) + both)), {"a"}) ==
          "a: 3 int64 1 2 3;");
    CHECK(everything(example(entry("a", both + bytes_list({"y"}))), {"a"}) == "a: 1 bytes y;");
    const std::string unknown = field(9, "?") + "\x48\x07" + "\x4d" + raw(1) + "\x49" + raw(1.0);
    const std::string in_list = field(3, unknown + field(1, varint(8)) + "\x0d" + raw(1) + unknown);
    CHECK(everything(unknown + example(unknown + field(1, unknown + field(1, "a") + unknown +
                                                              field(2, unknown + in_list + unknown))),
                     {"a", ""}) == "a: 1 int64 8; is not there;");
    CHECK(everything(example(field(1, "")), {"", "a"}) == ": 0 nothing;a is not there;");
    CHECK(everything(example(field(1, field(2, int64_list({4})))), {""}) == ": 1 int64 4;");
    CHECK(everything(example(entry("a", "") + entry("b", bytes_list({}))), {"a", "b"}) ==
          "a: 0 nothing;b: 0 bytes;");
    CHECK(everything("", {"a"}) == "a is not there;");
}

TEST_CASE("an Example without what is asked for says what there is") {
    const std::string payload = example(entry("image", bytes_list({"x"})) + entry("label", float_list({1})) +
                                        entry("none", "") + entry("two", int64_list({1, 2})) +
                                        entry("empty", int64_list({})) + entry("b", bytes_list({"", ""})));
    const Features features(record_of(payload));
    const auto refused = [&](const auto& use) { return message_of<data_error>(use); };
    CHECK(refused([&] { (void)features.at("lable"); }) ==
          "\"a.tfrecord\", offset 99: record 7: no feature \"lable\" but \"image\", \"label\", \"none\", "
          "\"two\", "
          "\"empty\", \"b\"");
    CHECK(contains(refused([&] { (void)features.at("label").int64(); }),
                   "offset 99: record 7: feature \"label\": expected int64, found float"));
    CHECK(contains(refused([&] { (void)features.at("image").int64(); }), "expected int64, found bytes"));
    CHECK(contains(refused([&] { (void)features.at("two").bytes(); }), "expected bytes, found int64"));
    CHECK(contains(refused([&] { (void)features.at("none").float32(); }), "expected float, found nothing"));
    CHECK(contains(refused([&] { (void)features.at("two").int64(); }),
                   "feature \"two\": expected 1 value, found 2"));
    CHECK(contains(refused([&] { (void)features.at("empty").int64(); }), "expected 1 value, found 0"));
    CHECK(contains(refused([&] { (void)features.at("b").bytes(); }), "expected 1 value, found 2"));
    std::int64_t three[3] = {};
    CHECK(contains(refused([&] { features.at("two").read(three); }), "expected 3 values, found 2"));
    float floats[1] = {};
    CHECK(contains(refused([&] { features.at("image").read(floats); }), "expected float, found bytes"));

    const std::string nothing;
    CHECK(contains(refused([&] { (void)Features(record_of(nothing)).at("a"); }),
                   "no feature \"a\", nor any other"));
    std::string many;
    for (int i = 0; i < 20; ++i) many += entry(std::string(100, static_cast<char>('a' + i)) + "\n", "");
    many = example(entry("\x1b[31m\n", "") + many);
    const std::string message = refused([&] { (void)Features(record_of(many)).at("q\x7f"); });
    CHECK(contains(message, "no feature \"q?\" but \"?[31m?\", \"aaaaaaaa"));
    CHECK(contains(message, "aaa...\", \"bbb"));
    CHECK(contains(message, " and 5 more"));
    CHECK(message.size() < 1300);
}

TEST_CASE("an Example that is malformed is refused") {
    const auto refused = [&](const std::string& payload) {
        return message_of<format_error>([&] { (void)Features(record_of(payload)).at("a").int64(); });
    };
    const std::string start = "\"a.tfrecord\", offset 99: record 7: not a tf.train.Example: ";
    const std::string good = example(entry("a", int64_list({1})));
    CHECK(contains(refused(good + "\x80"), start));                  // a varint that does not end
    CHECK(contains(refused(good + std::string(11, '\xff')), start)); // one that is too long
    CHECK(contains(refused(good + "\x0a\x05zz"), start));            // a length past the end
    CHECK(contains(refused("\x0a\xff\xff\xff\xff\x0f"), start));     // of 2^32 - 1
    CHECK(contains(refused("\x0b" + good), start));                  // a group
    CHECK(contains(refused("\x0f" + good), start));                  // no wire type
    CHECK(contains(refused("\x02\x00"s), start));                    // field 0
    CHECK(contains(refused("\xff\xd8\xff\xe0 a bare JPEG"), start));
    CHECK(contains(refused(example(entry("a", field(3, field(1, "\xff"))))), start)); // in a packed list
    CHECK(contains(refused(example(entry("a", field(3, "\x08")))), start));
    CHECK(contains(refused(example(entry("a", field(2, field(1, "abc"))))), start)); // 3 bytes of floats
    CHECK(contains(refused(example(field(1, field(1, "a") + field(2, "") + field(2, "")))), "two pieces"));

    // No cut and no flipped bit is ever more than refused.
    const std::string all = picture("image", -1) +
                            example(entry("f", float_list({1, 2}, false)) + entry("g", float_list({1, 2})) +
                                    entry("label", int64_list({1, -1}, false)));
    const auto survives = [&](const std::string& payload) {
        const std::string exact(payload); // its own memory, for the sanitizers
        try {
            everything(exact, {"image", "label", "f", "g"});
            (void)Features(record_of(exact)).at("label").int64();
        } catch (const error&) { // fine
        }
    };
    for (std::size_t size = 0; size < all.size(); ++size) CHECK_NOTHROW(survives(all.substr(0, size)));
    for (std::size_t bit = 0; bit < 8 * all.size(); ++bit) CHECK_NOTHROW(survives(flipped(all, bit)));
}

// ----------------------------------------------------------------------------------------- record_index.hpp

namespace {

/// Sets an environment variable for its life.
class Environment {
  public:
    Environment(std::string name, const std::string& value) : name_(std::move(name)) {
        if (const char* before = std::getenv(name_.c_str())) before_ = before;
        setenv(name_.c_str(), value.c_str(), 1);
    }
    ~Environment() {
        if (before_)
            setenv(name_.c_str(), before_->c_str(), 1);
        else
            unsetenv(name_.c_str());
    }
    Environment(const Environment&) = delete;
    Environment& operator=(const Environment&) = delete;

  private:
    std::string name_;
    std::optional<std::string> before_;
};

/// A folder with a data file in it and a cache folder beside, which stands for the user's.
struct Workplace {
    TemporaryFolder folder;
    std::string cache = folder / "cache", data = folder / "data/train.tfrecord";
    std::string index = data + ".plimsoll-index";
    Environment environment{"XDG_CACHE_HOME", cache};

    explicit Workplace(const std::string& content = framed(picture("first", 3)) +
                                                    framed(picture("2nd", -4))) {
        std::filesystem::create_directory(folder / "data");
        write_file(data, content);
    }
    [[nodiscard]] std::size_t files() const {
        std::size_t count = 0;
        for (const auto& file : std::filesystem::recursive_directory_iterator(folder.path()))
            count += file.is_regular_file() ? 1 : 0;
        return count;
    }
};

struct Opened {
    bool built = false;
    std::vector<std::int64_t> labels;
    std::vector<std::string> images;
    std::string stored_at;
    friend bool operator==(const Opened&, const Opened&) = default;
};

/// Opens with the index and reads every record.
Opened open_all(const std::string& path, const std::string& label = "label") {
    Opened out;
    std::uint64_t last = 0;
    const RecordIndex index = open_index(path, label, [&](std::uint64_t done, std::uint64_t total) {
        CHECK(done > last);
        CHECK(done <= total);
        CHECK(total == std::filesystem::file_size(path));
        last = done;
        out.built = true;
    });
    if (out.built) CHECK(last == std::filesystem::file_size(path));
    out.stored_at = index.stored_at();
    std::vector<std::byte> buffer;
    for (std::uint64_t i = 0; i < index.size(); ++i) {
        const Record record = index.read(i, buffer);
        CHECK(record.payload.size() == index.extent(i).length);
        CHECK(index.label(i) == Features(record).at(label).int64());
        out.labels.push_back(index.label(i));
        out.images.push_back(view_text(Features(record).at("image").bytes()));
    }
    return out;
}

timespec modified(const std::string& path) {
    struct stat facts {};
    REQUIRE(::stat(path.c_str(), &facts) == 0);
    return facts.st_mtim;
}
void set_modified(const std::string& path, timespec when) {
    const timespec both[2] = {when, when};
    REQUIRE(::utimensat(AT_FDCWD, path.c_str(), both, 0) == 0);
}

} // namespace

TEST_CASE("an index is made once, kept beside the file and found again") {
    const Workplace place;
    const Opened first = open_all(place.data);
    CHECK(first == Opened{true, {3, -4}, {"first", "2nd"}, place.index});
    CHECK(open_all(place.data) == Opened{false, first.labels, first.images, place.index});
    CHECK(place.files() == 2);
    CHECK(std::filesystem::file_size(place.index) == 56 + 8 + 2 * 16);

    const RecordIndex index = open_index(place.data, "label");
    CHECK(index.path() == place.data);
    CHECK(index.extent(1).offset == index.extent(0).length + 16);
    CHECK(contains(message_of<argument_error>([&] { (void)index.extent(2); }), "2 records, and none 2"));
    CHECK(contains(message_of<argument_error>([&] { (void)index.label(~0ull); }), "2 records"));
    std::vector<std::byte> buffer;
    CHECK(contains(message_of<argument_error>([&] { index.read(2, buffer); }), "2 records"));

    // another name for the same file has an index of its own beside it
    std::filesystem::create_symlink(place.data, place.folder / "link");
    CHECK(open_all(place.folder / "link").stored_at == place.folder / "link.plimsoll-index");
    CHECK(!open_all(place.folder / "link").built);
}

TEST_CASE("an index of another state of the file is made again") {
    const Workplace place;
    const std::string content = read_all(place.data);
    const timespec before = modified(place.data);
    CHECK(open_all(place.data).built);
    std::vector<std::int64_t> labels{3, -4};
    std::vector<std::string> images{"first", "2nd"};
    SUBCASE("touched") {
        timespec later = before;
        later.tv_nsec += later.tv_nsec < 999'999'999 ? 1 : -1;
        set_modified(place.data, later);
    }
    SUBCASE("appended to, with the old time") {
        write_file(place.data, content + framed(picture("3rd", 5)));
        set_modified(place.data, before);
        labels.push_back(5);
        images.push_back("3rd");
    }
    SUBCASE("cut between records, with the old time") {
        write_file(place.data, framed(picture("first", 3)));
        set_modified(place.data, before);
        labels.pop_back();
        images.pop_back();
    }
    SUBCASE("edited in place, with the old time") {
        write_file(place.data, framed(picture("fir$t", 3)) + framed(picture("2nd", -4)));
        set_modified(place.data, before);
        images[0] = "fir$t";
    }
    SUBCASE("the index is of another label") {
        write_file(place.data, framed(picture("first", 3)));
        CHECK(contains(message_of<data_error>([&] { open_index(place.data, "lebal"); }),
                       "record 0: no feature \"lebal\" but \"image\""));
        labels.pop_back();
        images.pop_back();
    }
    const Opened again = open_all(place.data);
    CHECK(again == Opened{true, labels, images, place.index});
    CHECK(open_all(place.data) == Opened{false, labels, images, place.index});
}

TEST_CASE("labels of two names do not share an index") {
    const Workplace place(
        framed(example(entry("image", bytes_list({"x"})) + entry("label", int64_list({1})) +
                       entry("lebal", int64_list({2})) + entry("kind_12", int64_list({3})))));
    CHECK(open_all(place.data).labels == std::vector<std::int64_t>{1});
    CHECK(open_all(place.data, "lebal") == Opened{true, {2}, {"x"}, place.index});
    CHECK(open_all(place.data, "kind_12") == Opened{true, {3}, {"x"}, place.index});
    CHECK(open_all(place.data, "label") == Opened{true, {1}, {"x"}, place.index});
    CHECK(!open_all(place.data, "label").built);
}

TEST_CASE("an index that is damaged is made again, whichever bit it is") {
    const Workplace place;
    CHECK(open_all(place.data).built);
    const std::string good = read_all(place.index);
    const TfRecordFile file(place.data);
    const detail::DataFacts facts = detail::data_facts(file.file());
    const auto refused = [&](const std::string& content) {
        write_file(place.index, content);
        return message_of<format_error>([&] { detail::read_index(place.index, facts, "label"); });
    };
    for (std::size_t bit = 0; bit < 8 * good.size(); ++bit) {
        CAPTURE(bit);
        CHECK(contains(refused(flipped(good, bit)), place.index));
    }
    for (std::size_t size = 0; size < good.size(); ++size) {
        CAPTURE(size);
        CHECK(contains(refused(good.substr(0, size)), place.index));
    }
    CHECK(contains(refused(good + std::string(16, '\0')), "bytes of entries"));
    CHECK(contains(refused(flipped(good, 8 * 95)), "offset 12: the checksum is wrong"));
    CHECK(open_all(place.data).built);
    CHECK(read_all(place.index) == good);

    std::filesystem::remove(place.index); // nor does a pipe of that name harm
    REQUIRE(mkfifo(place.index.c_str(), 0600) == 0);
    CHECK(open_all(place.data).built);
    CHECK(read_all(place.index) == good);
}

TEST_CASE("an index that lies never leads past the file, and its records are refused") {
    const Workplace place;
    const TfRecordFile file(place.data);
    const detail::DataFacts facts = detail::data_facts(file.file());
    using Entries = std::vector<detail::IndexEntry>;
    const auto refused = [&](const Entries& entries) {
        detail::write_index(place.index, facts, "label", entries);
        return message_of<format_error>([&] { detail::read_index(place.index, facts, "label"); });
    };
    CHECK(contains(refused({}), "found 0 entries"));
    CHECK(contains(refused({{1, 0}}), "offset 64: a record at offset 1"));
    CHECK(contains(refused({{0, 0}, {15, 0}}), "offset 80: a record at offset 15"));
    CHECK(contains(refused({{0, 0}, {0, 0}}), "a record at offset 0"));
    CHECK(contains(refused({{0, 0}, {40, 0}, {30, 0}}), "a record at offset 30"));
    CHECK(contains(refused({{0, 0}, {facts.size - 15, 0}}), "a record at offset"));
    CHECK(contains(refused({{0, 0}, {facts.size, 0}}), "a record at offset"));
    CHECK(contains(refused({{0, 0}, {~0ull, 0}}), "a record at offset"));
    CHECK(contains(refused({{0, 0}, {~0ull - 15, 0}, {~0ull, 0}}), "a record at offset"));
    CHECK(open_all(place.data).built);

    detail::write_index(place.index, facts, "label", Entries{{0, 3}, {20, 4}, {facts.size - 16, 0}});
    bool built = false;
    const RecordIndex index = open_index(place.data, "label", [&](auto, auto) { built = true; });
    CHECK(!built);
    REQUIRE(index.size() == 3);
    std::vector<std::byte> buffer;
    CHECK(
        contains(message_of<format_error>([&] { index.read(0, buffer); }), "expected a payload of 4 bytes"));
    CHECK(contains(message_of<format_error>([&] { index.read(1, buffer); }),
                   "offset 20: record 1: the length"));
    CHECK(contains(message_of<format_error>([&] { index.read(2, buffer); }), "record 2: the length"));
}

TEST_CASE("an edit that an index cannot see is found when the record is read") {
    const std::string large(200'000, 'x');
    const Workplace place(framed(picture("first", 0)) + framed(picture(large, 1)) +
                          framed(picture("3rd", 2)));
    CHECK(open_all(place.data).built);
    const timespec before = modified(place.data);
    const std::string content = read_all(place.data);
    write_file(place.data, flipped(content, 8 * 100'000));
    set_modified(place.data, before);
    bool built = false;
    const RecordIndex index = open_index(place.data, "label", [&](auto, auto) { built = true; });
    CHECK(!built);
    std::vector<std::byte> buffer;
    CHECK(view_text(Features(index.read(2, buffer)).at("image").bytes()) == "3rd");
    CHECK(contains(message_of<format_error>([&] { index.read(1, buffer); }),
                   "record 1: the payload of 200072 bytes does not match its checksum"));

    for (const std::size_t byte : {std::size_t{60}, content.size() - 30}) { // in the first and last 64 KiB
        const detail::DataFacts facts = detail::data_facts(File(place.data));
        write_file(place.data, flipped(content, 8 * byte));
        set_modified(place.data, before);
        CHECK(detail::data_facts(File(place.data)) != facts);
        write_file(place.data, content);
        set_modified(place.data, before);
    }
}

TEST_CASE("an index goes to the cache folder where the data's takes none") {
    const Workplace place;
    const Opened wanted{true, {3, -4}, {"first", "2nd"}, ""};
    const auto stored = [&](const std::string& at, bool built) {
        Opened out = wanted;
        out.stored_at = at;
        out.built = built;
        return out;
    };
    SUBCASE("the name is taken") {
        std::filesystem::create_directory(place.index);
        const Opened first = open_all(place.data);
        CHECK(first == stored(first.stored_at, true));
        CHECK(first.stored_at.starts_with(place.cache + "/plimsoll/"));
        CHECK(first.stored_at.ends_with(".plimsoll-index"));
        CHECK(open_all(place.data) == stored(first.stored_at, false));
        CHECK(open_all(place.folder / "data/../data/train.tfrecord") == stored(first.stored_at, false));
        CHECK(place.files() == 2);

        std::filesystem::copy_file(place.data, place.folder / "data/brain.tfrecord"); // a name of its own
        std::filesystem::create_directory(place.folder / "data/brain.tfrecord.plimsoll-index");
        CHECK(open_all(place.folder / "data/brain.tfrecord").stored_at != first.stored_at);
        write_file(first.stored_at, "damaged");
        CHECK(open_all(place.data) == stored(first.stored_at, true));
        CHECK(open_all(place.data) == stored(first.stored_at, false));

        const Environment relative("XDG_CACHE_HOME", "cache"), home("HOME", place.folder / "home");
        CHECK(open_all(place.data).stored_at.starts_with(place.folder / "home/.cache/plimsoll/"));
    }
    SUBCASE("neither takes it") {
        std::filesystem::create_directory(place.index);
        write_file(place.cache, "no folder");
        CHECK(open_all(place.data) == stored("", true));
        CHECK(open_all(place.data) == stored("", true));
        const Environment relative("XDG_CACHE_HOME", ""), home("HOME", "");
        CHECK(open_all(place.data) == stored("", true));
    }
    SUBCASE("the folder is read-only") {
        if (::geteuid() == 0) {
            MESSAGE("skipped: root writes everywhere");
            return;
        }
        const auto data = place.folder / "data";
        std::filesystem::permissions(data,
                                     std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
        const Opened first = open_all(place.data);
        CHECK(first.stored_at.starts_with(place.cache + "/plimsoll/"));
        CHECK(!open_all(place.data).built);
        std::filesystem::permissions(data, std::filesystem::perms::owner_all);
    }
}

TEST_CASE("an index that cannot be finished is not stored") {
    const std::string large(1 << 20, 'x');
    const Workplace place(framed(picture(large, 0)) + framed(picture(large, 1)) + framed(picture(large, 2)));
    const auto during = [&](const auto& act) {
        return message_of([&] { open_index(place.data, "label", [&](auto, auto) { act(); }); });
    };
    CHECK(during([] { throw data_error("stop"); }) == "stop");
    CHECK(place.files() == 1);
    const std::string content = read_all(place.data);
    write_file(place.data, content.substr(0, content.size() - 1));
    CHECK(
        contains(message_of<format_error>([&] { open_index(place.data, "label"); }), "record 2: a payload"));
    CHECK(place.files() == 1);
    write_file(place.data, flipped(content, 8 * 2'000'000));
    CHECK(contains(message_of<format_error>([&] { open_index(place.data, "label"); }),
                   "record 1: the payload of"));
    CHECK(place.files() == 1);

    write_file(place.data, content);
    CHECK(contains(during([&] { std::filesystem::resize_file(place.data, 1'500'000); }), "has shrunk"));
    write_file(place.data, content);
    CHECK(contains(during([&] { write_file(place.data, content + "more"); }),
                   text("had ", content.size(), " bytes when it was opened, and has ", content.size() + 4)));
    write_file(place.data, content);
    int times = 0;
    CHECK(contains(during([&] {
                       set_modified(place.data, {1'000'000'000 + ++times, 0});
                   }),
                   "was changed while its index was made"));
    CHECK(times == 3);
    CHECK(place.files() == 1);
}

TEST_CASE("one index serves several threads") {
    std::string content;
    for (int i = 0; i < 200; ++i)
        content += framed(picture(std::string(static_cast<std::size_t>(50 * i), 'x'), i));
    const Workplace place(content);
    const RecordIndex index = open_index(place.data, "label");
    int good[2] = {};
    const auto read = [&](int& count) {
        std::vector<std::byte> buffer;
        for (std::uint64_t i = 0; i < index.size(); ++i)
            if (Features(index.read(i, buffer)).at("image").bytes().size() == 50 * i) ++count;
    };
    std::thread other(read, std::ref(good[1]));
    read(good[0]);
    other.join();
    CHECK(good[0] == 200);
    CHECK(good[1] == 200);
}

TEST_CASE("TensorFlow's TFRecords of cats and dogs are read and indexed") {
    const auto folder = reference_path("data");
    if (!folder) return;
    const Workplace place;
    std::vector<std::int64_t> all;
    for (int shard = 0; shard < 4; ++shard) {
        const std::string name = text("cats_vs_dogs-train.tfrecord-0000", shard, "-of-00004");
        const std::string link = place.folder / name; // so that the index is not written beside the original
        std::filesystem::create_symlink(std::filesystem::absolute(*folder + "/" + name), link);
        const Opened first = open_all(link);
        CHECK(first.built);
        CHECK(first.labels.size() == 640);
        CHECK(first.stored_at == link + ".plimsoll-index");
        CHECK(std::filesystem::file_size(first.stored_at) == 64 + 640 * 16);
        for (const std::string& image : first.images) REQUIRE(image.starts_with("\xff\xd8\xff"));
        const Opened again = open_all(link);
        CHECK(!again.built);
        CHECK(again.labels == first.labels);
        CHECK(again.images == first.images);
        all.insert(all.end(), first.labels.begin(), first.labels.end());

        const RecordIndex index = open_index(link, "label");
        std::vector<std::byte> buffer;
        const Record record = index.read(639, buffer);
        CHECK(view_text(Features(record).at("image/filename").bytes()).ends_with(".jpg"));
        CHECK(contains(message_of<data_error>([&] { (void)Features(record).at("pixels"); }),
                       "no feature \"pixels\" but "));
        CHECK(contains(message_of<data_error>([&] { open_index(link, "image"); }),
                       "offset 0: record 0: feature \"image\": expected int64, found bytes"));
    }
    CHECK(all.size() == 2560);
    CHECK(std::count(all.begin(), all.end(), 0) == 1321);
    CHECK(std::count(all.begin(), all.end(), 1) == 1239);
    const Array labels = read_npy(*folder + "/expected_labels.npy");
    REQUIRE(labels.dtype == dtype_of<std::int64_t>);
    for (std::size_t i = 0; i < labels.dims[0]; ++i)
        CHECK(detail::load<std::int64_t>(&labels.bytes[8 * i]) == all[i]);
}

#else

TEST_CASE("without protozero an Example is refused with what to do") {
    CHECK(contains(message_of<format_error>([] {
                       (void)Features(Record{{}, "a.tfrecord"}).at("label");
                   }),
                   "libprotozero-dev"));
}

#endif
