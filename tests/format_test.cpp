// Files and formats: what is written reads back, and nothing that is damaged is taken for whole.

#include "support.hpp"

#include <plimsoll/format/file.hpp>
#include <plimsoll/format/gzip.hpp>
#include <plimsoll/format/idx.hpp>
#include <plimsoll/format/json.hpp>
#include <plimsoll/format/npy.hpp>
#include <plimsoll/format/safetensors.hpp>

#include <doctest/doctest.h>

#include <sys/resource.h>

#include <array>
#include <bit>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <numeric>
#include <span>
#include <string>
#include <vector>

using namespace plimsoll;
using namespace support;
using namespace std::string_literals;

namespace {

/// `content` cut at every length must be refused by `read`, as must one byte more.
template <class Read>
void check_every_cut(const std::string& path, const std::string& content, Read read) {
    write_file(path, content);
    REQUIRE_NOTHROW(read(path));
    for (std::size_t size = 0; size < content.size(); ++size) {
        CAPTURE(size);
        write_file(path, content.substr(0, size));
        CHECK(!message_of([&] { read(path); }).empty());
    }
    write_file(path, content + "x");
    CHECK(!message_of([&] { read(path); }).empty());
}

/// Any one bit of the first `count` bytes flipped is read or refused, never anything else.
template <class Read>
int count_refused_flips(const std::string& path, const std::string& content, std::size_t count, Read read) {
    int refused = 0;
    for (std::size_t bit = 0; bit < 8 * count; ++bit) {
        CAPTURE(bit);
        std::string damaged = content;
        damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
        write_file(path, damaged);
        try {
            read(path);
        } catch (const error&) {
            ++refused;
        } catch (const std::exception& other) {
            FAIL_CHECK("not one of the library's errors: " << other.what());
        }
    }
    return refused;
}

/// A .npy file of version `major` with this dict and so many zero bytes of data.
std::string npy_file(const std::string& dict, std::size_t data, int major = 1) {
    std::string out = "\x93NUMPY"s + static_cast<char>(major) + '\0';
    const std::string header = dict + "\n";
    for (int i = 0; i < (major == 1 ? 2 : 4); ++i) out += static_cast<char>(header.size() >> (8 * i) & 255);
    return out + header + std::string(data, '\0');
}

std::string npy_dict(const std::string& descr, const std::string& shape) {
    return "{'descr': '" + descr + "', 'fortran_order': False, 'shape': " + shape + ", }";
}

std::string big_endian(std::uint32_t value) {
    std::string out;
    for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift & 255);
    return out;
}

std::string safetensors_bytes(const std::string& header, std::size_t data) {
    const std::uint64_t length = header.size();
    std::string out(8, '\0');
    std::memcpy(out.data(), &length, 8);
    return out + header + std::string(data, '\0');
}

} // namespace

// ------------------------------------------------------------------------------------------------- file.hpp

TEST_CASE("a File reads at offsets and names what is missing") {
    const TemporaryFolder folder;
    const File file(write_file(folder / "ten", "0123456789"));
    CHECK(file.size() == 10);
    char four[4];
    file.read_at(3, std::span(four));
    CHECK(std::string(four, 4) == "3456");
    file.read_at(10, std::span(four).first(0));
    const std::string message = message_of<io_error>([&] { file.read_at(8, std::span(four)); });
    CHECK(contains(message, folder / "ten"));
    CHECK(contains(message, "offset 8: expected 4 bytes, found 2"));
    CHECK(contains(message_of<io_error>([&] { file.read_at(11, std::span(four)); }), "found 0"));
    CHECK(contains(message_of<io_error>([&] { file.read_at(~0ull, std::span(four)); }), "found 0"));
    CHECK(read_all(folder / "ten") == "0123456789");

    std::filesystem::resize_file(folder / "ten", 5); // behind our back
    CHECK(contains(message_of<io_error>([&] { file.read_at(3, std::span(four)); }),
                   "expected 4 bytes, found 2"));
}

TEST_CASE("a File that cannot be read says why") {
    const TemporaryFolder folder;
    CHECK(contains(message_of<io_error>([&] { File(folder / "absent"); }), "No such file"));
    CHECK(contains(message_of<io_error>([&] { File(folder.path()); }), "not a regular file"));
    REQUIRE(mkfifo((folder / "pipe").c_str(), 0600) == 0);
    CHECK(contains(message_of<io_error>([&] { File(folder / "pipe"); }), "not a regular file"));
    File first(write_file(folder / "a", "a"));
    File second(write_file(folder / "b", "bb"));
    first = std::move(second);
    CHECK(first.size() == 2);
    char two[2];
    first.read_at(0, std::span(two));
    CHECK(two[1] == 'b');
}

TEST_CASE("write_atomically leaves the whole file or what was there") {
    const TemporaryFolder folder;
    const auto names = [&] {
        int count = 0;
        for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
            count += entry.exists() ? 1 : 0;
        return count;
    };
    const std::string path = folder / "out";
    write_atomically(path, "first");
    CHECK(read_all(path) == "first");
    write_atomically(path, [](AtomicFile& file) {
        file.write("sec");
        file.write("ond");
    });
    CHECK(read_all(path) == "second");
    CHECK(names() == 1);

    SUBCASE("the callback throws") {
        CHECK(message_of<data_error>([&] {
                  write_atomically(path, [&](AtomicFile& file) {
                      file.write("half");
                      CHECK(names() == 2);
                      throw data_error("stop");
                  });
              }) == "stop");
    }
    SUBCASE("the disk refuses") {
        const auto previous = std::signal(SIGXFSZ, SIG_IGN);
        rlimit limit{};
        REQUIRE(getrlimit(RLIMIT_FSIZE, &limit) == 0);
        const rlimit small{1000, limit.rlim_max};
        REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
        const std::string message =
            message_of<io_error>([&] { write_atomically(path, std::string(5000, 'x')); });
        setrlimit(RLIMIT_FSIZE, &limit);
        std::signal(SIGXFSZ, previous);
        CHECK(contains(message, "cannot write"));
        CHECK(contains(message, path));
    }
    CHECK(read_all(path) == "second");
    CHECK(names() == 1);

    SUBCASE("the name is taken by a folder") {
        std::filesystem::create_directory(folder / "taken");
        CHECK(contains(message_of<io_error>([&] { write_atomically(folder / "taken", "x"); }),
                       "cannot replace"));
        CHECK(names() == 2);
        CHECK(std::filesystem::is_empty(folder / "taken"));
    }
    SUBCASE("there is no such folder") {
        CHECK(contains(message_of<io_error>([&] { write_atomically(folder / "no/out", "x"); }),
                       "cannot create"));
    }
    SUBCASE("a name without a folder") {
        const auto before = std::filesystem::current_path();
        std::filesystem::current_path(folder.path());
        write_atomically("here", "x");
        std::filesystem::current_path(before);
        CHECK(read_all(folder / "here") == "x");
    }
}

// --------------------------------------------------------------------------------------- gzip.hpp, idx.hpp

#if PLIMSOLL_WITH_ZLIB
namespace {

std::string gzip(const std::string& content) {
    z_stream stream{};
    REQUIRE(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    std::string out(deflateBound(&stream, content.size()), '\0');
    std::string in = content;
    stream.next_in = reinterpret_cast<Bytef*>(in.data());
    stream.avail_in = static_cast<uInt>(in.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
    out.resize(stream.total_out);
    deflateEnd(&stream);
    return out;
}

std::string gunzip(const std::string& path, std::size_t size) {
    const File file(path);
    GzipReader reader(file);
    std::string out(size, '\0');
    const std::span<char> all(out);
    reader.read(std::as_writable_bytes(all.first(size / 3)));
    reader.read(std::as_writable_bytes(all.subspan(size / 3)));
    reader.expect_end();
    return out;
}

} // namespace

TEST_CASE("gzip yields what was compressed, member by member") {
    const TemporaryFolder folder;
    std::string content(300'000, '\0');
    for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>((i * i) >> 5);
    write_file(folder / "one", gzip(content));
    CHECK(is_gzip(File(folder / "one")));
    CHECK(gunzip(folder / "one", content.size()) == content);
    write_file(folder / "three", gzip(content.substr(0, 100'000)) + gzip("") + gzip(content.substr(100'000)));
    CHECK(gunzip(folder / "three", content.size()) == content);
    CHECK(!is_gzip(File(write_file(folder / "plain", "plain"))));
    CHECK(!is_gzip(File(write_file(folder / "empty", ""))));

    const std::string large(50'000'000, 'a'); // deflate's best ratio stays within the bound that is used
    const File file(write_file(folder / "large", gzip(large)));
    CHECK(GzipReader(file).most_bytes() >= large.size());
}

TEST_CASE("gzip that is damaged is refused with path and offset") {
    const TemporaryFolder folder;
    const std::string content = "a ship's line marks how deep it may be loaded";
    const std::string packed = gzip(content);
    const auto read = [&](const std::string& path) { gunzip(path, content.size()); };
    check_every_cut(folder / "cut", packed, read);

    write_file(folder / "early", packed.substr(0, packed.size() - 1));
    CHECK(contains(message_of<format_error>([&] { read(folder / "early"); }), "ends early"));
    CHECK(contains(message_of<format_error>([&] { read(folder / "early"); }),
                   text("offset ", packed.size() - 1)));
    std::string wrong = packed;
    wrong[packed.size() - 6] = static_cast<char>(wrong[packed.size() - 6] ^ 1); // CRC
    write_file(folder / "crc", wrong);
    CHECK(contains(message_of<format_error>([&] { read(folder / "crc"); }), "incorrect data check"));
    write_file(folder / "garbage", packed + "garbage garbage garbage");
    CHECK(contains(message_of<format_error>([&] { read(folder / "garbage"); }), "garbage after"));
    write_file(folder / "zeros", packed + std::string(512, '\0'));
    CHECK(contains(message_of<format_error>([&] { read(folder / "zeros"); }), "garbage after"));
    CHECK(contains(message_of<format_error>([&] { read_idx(folder / "crc"); }), "not an IDX file"));
    write_file(folder / "whole", packed);
    CHECK(contains(message_of<format_error>([&] { gunzip(folder / "whole", 5); }),
                   "expected 5 decompressed bytes, found more"));
    CHECK(contains(message_of<format_error>([&] { gunzip(folder / "whole", 100); }),
                   "expected 100 decompressed bytes, found 45"));
}

TEST_CASE("compressed IDX: every cut is refused, and a bomb is not allocated") {
    const TemporaryFolder folder;
    const std::string idx = "\0\0\x08\x02"s + big_endian(3) + big_endian(2) + "abcdef";
    write_file(folder / "a", gzip(idx)); // told by its first bytes, not its name
    CHECK(read_idx(folder / "a").dims == std::vector<std::uint64_t>{3, 2});
    check_every_cut(folder / "cut", gzip(idx), [](const std::string& path) { read_idx(path); });
    count_refused_flips(folder / "flip", gzip(idx), gzip(idx).size(),
                        [](const std::string& path) { read_idx(path); });
    CHECK(!message_of<format_error>([&] { read_idx(write_file(folder / "b", gzip(idx + "x"))); }).empty());
    CHECK(!message_of<format_error>([&] {
               read_idx(write_file(folder / "b", gzip(idx.substr(0, 17))));
           }).empty());
    std::string wrong = gzip(idx);
    wrong[wrong.size() - 8] = static_cast<char>(wrong[wrong.size() - 8] ^ 1); // CRC
    CHECK(contains(message_of<format_error>([&] { read_idx(write_file(folder / "b", wrong)); }),
                   "incorrect data check"));
    const std::string bomb =
        "\0\0\x08\x03"s + big_endian(0x7fffffff) + big_endian(0x7fffffff) + big_endian(3);
    CHECK(contains(message_of<format_error>([&] { read_idx(write_file(folder / "c", gzip(bomb))); }),
                   "shape (2147483647, 2147483647, 3)"));
}
#endif

TEST_CASE("IDX reads uint8 of rank 1 to 4 and refuses the rest by name") {
    const TemporaryFolder folder;
    const std::string path = folder / "images";
    for (std::uint32_t rank = 1; rank <= 4; ++rank) {
        std::string content = "\0\0\x08"s + static_cast<char>(rank);
        for (std::uint32_t axis = 0; axis < rank; ++axis) content += big_endian(axis + 2);
        const std::size_t count = std::array{2u, 6u, 24u, 120u}[rank - 1];
        for (std::size_t i = 0; i < count; ++i) content += static_cast<char>(i + 1);
        write_file(path, content);
        const auto array = read_idx(path);
        CHECK(array.dtype == dtype_of<u8>);
        CHECK(array.dims.size() == rank);
        CHECK(array.dims.back() == rank + 1);
        REQUIRE(array.bytes.size() == count);
        CHECK(array.bytes[0] == 1);
        CHECK(array.bytes[count - 1] == count);
    }
    const std::string good = "\0\0\x08\x01"s + big_endian(5) + "abcde";
    check_every_cut(path, good, [](const std::string& file) { read_idx(file); });
    CHECK(count_refused_flips(path, good, 8, [](const std::string& file) { read_idx(file); }) == 64);

    const auto refused = [&](const std::string& content) {
        write_file(path, content);
        return message_of<format_error>([&] { read_idx(path); });
    };
    CHECK(contains(refused(good.substr(0, 10)), "expected 13 bytes, found 10"));
    CHECK(contains(refused(good + "fg"), "expected 13 bytes, found 15"));
    CHECK(contains(refused(good.substr(0, 10)), path));
    const std::string longer = "\0\0\x08\x01"s + big_endian(500) + "abcde";
    CHECK(contains(refused(longer), "shape (500,): expected 500 bytes of data, found at most 13"));
    CHECK(contains(refused("\0\0\x0d\x01"s + big_endian(1) + "abcd"), "IDX of float32"));
    CHECK(contains(refused("\0\0\x0c\x01"s + big_endian(1) + "abcd"), "IDX of int32"));
    CHECK(contains(refused("\0\0\x08\0"s), "rank 0"));
    CHECK(contains(refused("\0\0\x08\x05"s + std::string(20, '\0')), "rank 5"));
    CHECK(contains(refused("\0\0\x07\x01"s + big_endian(0)), "not an IDX file"));
    CHECK(contains(refused("PK\3\4 zip"), "not an IDX file"));
    const std::string huge = big_endian(0xffffffff);
    CHECK(contains(refused("\0\0\x08\x04"s + huge + huge + huge + huge), "over 2^64"));
    CHECK(read_idx(write_file(path, "\0\0\x08\x02"s + big_endian(0) + big_endian(7))).bytes.empty());
}

// -------------------------------------------------------------------------------------------------- npy.hpp

TEST_CASE("NumPy's dialects are read, or refused by name with what to do") {
    const auto folder = reference_path("data/npy_dialects");
    if (!folder) return;
    const auto path = [&](const char* name) { return *folder + "/" + name; };
    const std::vector<std::uint64_t> shape{3, 4, 5};
    const std::pair<const char*, DType> readable[] = {
        {"bool.npy", dtype_of<bool>},           {"c_f4.npy", dtype_of<float>},
        {"f2.npy", {ElementKind::floating, 2}}, {"f8.npy", dtype_of<double>},
        {"i8.npy", dtype_of<std::int64_t>},     {"u1.npy", dtype_of<u8>},
        {"v2_f4.npy", dtype_of<float>},         {"v3_f4.npy", dtype_of<float>},
    };
    for (const auto& [file, dtype] : readable) {
        const std::string name = file;
        CAPTURE(name);
        const auto array = read_npy(path(file));
        CHECK(array.dtype == dtype);
        CHECK(array.dims == shape);
        CHECK(array.bytes.size() == 60 * static_cast<std::size_t>(dtype.size));
    }
    CHECK(read_npy(path("c_f4.npy")).bytes == read_npy(path("v2_f4.npy")).bytes);
    CHECK(read_npy(path("c_f4.npy")).bytes == read_npy(path("v3_f4.npy")).bytes);
    const auto number = [&](const char* name, std::size_t i) {
        const auto array = read_npy(path(name));
        return detail::load_number(array.dtype,
                                   array.bytes.data() + i * static_cast<std::size_t>(array.dtype.size));
    };
    for (std::size_t i = 0; i < 60; ++i) {
        CHECK(number("f8.npy", i) == doctest::Approx(number("c_f4.npy", i)));
        CHECK(number("f2.npy", i) == doctest::Approx(number("c_f4.npy", i)).epsilon(1e-3));
    }
    CHECK(read_npy(path("empty.npy")).dims == std::vector<std::uint64_t>{0, 4, 5});
    CHECK(read_npy(path("empty.npy")).bytes.empty());
    CHECK(read_npy(path("scalar.npy")).dims.empty());
    CHECK(read_npy(path("scalar.npy")).bytes.size() == 4);

    const auto refused = [&](const char* name) {
        return message_of<format_error>([&] { read_npy(path(name)); });
    };
    CHECK(contains(refused("big_endian_f4.npy"), "convert with a.astype('<f4')"));
    CHECK(contains(refused("big_endian_f4.npy"), path("big_endian_f4.npy")));
    CHECK(contains(refused("fortran_f4.npy"), "np.ascontiguousarray"));
    CHECK(contains(refused("object.npy"), "object array"));
}

TEST_CASE(".npy is written as NumPy writes it and reads back") {
    const TemporaryFolder folder;
    const std::string path = folder / "a.npy";
    const auto round_trip = [&]<class T>(const std::vector<T>& values, const char* descr) {
        const std::vector<std::uint64_t> shape{values.size() / 2, 2};
        write_npy(path, shape, std::span(values));
        const std::string content = read_all(path);
        CHECK(content.substr(0, 8) == "\x93NUMPY\1\0"s);
        CHECK(contains(content, text("{'descr': '", descr, "', 'fortran_order': False, 'shape': (", shape[0],
                                     ", 2), }")));
        const auto header = read_npy_header(File(path));
        CHECK(header.data_offset % 64 == 0);
        CHECK(content[header.data_offset - 1] == '\n');
        CHECK(header.shape == shape);
        CHECK(header.dtype == dtype_of<T>);
        const auto array = read_npy(path);
        REQUIRE(array.bytes.size() == values.size() * sizeof(T));
        CHECK(std::memcmp(array.bytes.data(), values.data(), array.bytes.size()) == 0);
    };
    round_trip(std::vector<u8>{1, 2, 3, 255}, "|u1");
    round_trip(std::vector<float>{1, 2, -3.5f, 255}, "<f4");
    round_trip(std::vector<std::int32_t>{1, -2, 3, 255, 5, 6}, "<i4");
    round_trip(std::vector<std::int64_t>{1, -2}, "<i8");
    const std::vector<float> three{1, 2, 3};
    const std::uint64_t two_by_two[] = {2, 2}, alone[] = {3};
    CHECK(contains(message_of<argument_error>([&] { write_npy(path, two_by_two, std::span(three)); }),
                   "(2, 2)"));
    write_npy(path, alone, std::span(three));
    CHECK(contains(read_all(path), "'shape': (3,), }"));
    const std::vector<std::uint64_t> deep(33, 1);
    CHECK(!message_of<argument_error>([&] { npy_header(dtype_of<float>, deep); }).empty());
    CHECK(npy_header(dtype_of<float>, std::vector<std::uint64_t>(32, 123456789)).size() % 64 == 0);

    // Byte for byte what NumPy 1.24 wrote, where a sample of it is at hand.
    if (const auto sample = reference_path("data/npy_dialects/c_f4.npy")) {
        const std::uint64_t shape[] = {3, 4, 5};
        CHECK(read_all(*sample).starts_with(npy_header(dtype_of<float>, shape)));
    }
}

TEST_CASE("a .npy file is written piece by piece, also in several runs") {
    const TemporaryFolder folder;
    const std::vector<std::int64_t> numbers = {1, 2, 3, 4, 5, 6};
    const std::uint64_t shape[] = {3, 2};
    const std::span<const std::int64_t> all(numbers);
    write_npy(folder / "whole.npy", shape, all);
    const std::string path = folder / "pieces.npy", partial = path + ".partial";
    constexpr DType type = dtype_of<std::int64_t>;
    {
        NpyWriter writer(path, type, shape, 0);
        writer.append(all.first(5));
        writer.sync();
        CHECK(contains(message_of<argument_error>([&] { writer.commit(); }), "5 elements, expected 6"));
    }
    CHECK(!path_exists(path));
    CHECK(path_exists(partial));
    {
        NpyWriter writer(path, type, shape, 4); // the fifth is written again
        CHECK(
            contains(message_of<argument_error>([&] { writer.append(all); }), "expected at most 2 of int64"));
        const int wrong[] = {5};
        CHECK_THROWS_AS(writer.append(std::span(wrong)), argument_error);
        writer.append(all.subspan(4));
        writer.commit();
    }
    CHECK(read_all(path) == read_all(folder / "whole.npy"));
    CHECK(!path_exists(partial));
    CHECK(contains(message_of<io_error>([&] { NpyWriter(path, type, shape, 1); }),
                   "expected 136 bytes or more"));
    CHECK(read_all(path) == read_all(folder / "whole.npy"));
    { NpyWriter forgotten(folder / "once.npy", type, shape); }
    CHECK(!path_exists(folder / "once.npy"));
}

TEST_CASE(".npy cut at any byte is refused, and flipped bits never crash") {
    const TemporaryFolder folder;
    const auto read = [](const std::string& path) { read_npy(path); };
    const std::string content = npy_file(npy_dict("<f4", "(2, 3)"), 24);
    check_every_cut(folder / "a", content, read);
    check_every_cut(folder / "b", npy_file(npy_dict("<i8", "(3,)"), 24, 2), read);
    CHECK(count_refused_flips(folder / "c", content, content.size() - 24, read) > 400);
    count_refused_flips(folder / "d", npy_file(npy_dict("|b1", "(5,)"), 5, 3), 70, read);
}

TEST_CASE(".npy headers are taken literally") {
    const TemporaryFolder folder;
    const std::string path = folder / "a.npy";
    const auto read = [&](const std::string& dict, std::size_t data) {
        write_file(path, npy_file(dict, data));
        return read_npy(path);
    };
    const auto refused = [&](const std::string& dict, std::size_t data = 0) {
        return message_of<format_error>([&] { read(dict, data); });
    };
    // What NumPy accepts and other writers write.
    CHECK(read("{'shape':(2,2),'fortran_order':False,'descr':'|u1'}", 4).dims ==
          std::vector<std::uint64_t>{2, 2});
    CHECK(read("  {\"descr\": \"<u2\", 'fortran_order': False, 'shape': (2L, 2L)}   ", 8).dtype.size == 2);
    CHECK(read(npy_dict(">u1", "(2,)"), 2).dtype == dtype_of<u8>);
    for (const char* descr :
         {"|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "|b1", "<f2", "<f4", "<f8"}) {
        CAPTURE(descr);
        CHECK(read(npy_dict(descr, "()"), static_cast<std::size_t>(descr[2] - '0')).dtype.size ==
              descr[2] - '0');
    }

    CHECK(contains(refused(npy_dict(">i8", "(1,)"), 8), "big-endian: convert with a.astype('<i8')"));
    CHECK(contains(refused(npy_dict("|O", "(1,)"), 8), "object array"));
    CHECK(contains(refused(npy_dict("|S5", "(1,)"), 5), "text"));
    CHECK(contains(refused(npy_dict("<U5", "(1,)"), 20), "text"));
    CHECK(contains(refused(npy_dict("<c8", "(1,)"), 8), "complex"));
    CHECK(contains(refused(npy_dict("<M8[ns]", "(1,)"), 8), "date"));
    CHECK(contains(refused(npy_dict("|V8", "(1,)"), 8), "raw records"));
    CHECK(contains(refused(npy_dict("<f16", "(1,)"), 16), "extended float"));
    CHECK(contains(
        refused("{'descr': [('a', '<f4'), ('b', '<i4')], 'fortran_order': False, 'shape': (1,), }", 8),
        "structured array"));
    for (const char* descr :
         {"", "f", "<", "<f", "<f1", "<f3", "|f4", "f4", "<b2", "<i16", "<q8", "!f4", "<f44"}) {
        CAPTURE(descr);
        CHECK(contains(refused(npy_dict(descr, "(1,)"), 4), ".npy header"));
    }
    for (const char* shape :
         {"(-1,)", "(3)", "3", "[3]", "(3,,)", "(,)", "(3, 4", "(3.0,)", "(0x3,)", "(3,)*2", "(+3,)",
          "(None,)", "(99999999999999999999,)", "(1e3,)", "(3 4)", "(3, -0)", "()()"}) {
        CAPTURE(shape);
        CHECK(contains(refused(npy_dict("|u1", shape), 3), ".npy header"));
    }
    CHECK(contains(refused(npy_dict("<f8", "(1152921504606846976, 16)"), 0), "over 2^64"));
    CHECK(contains(refused(npy_dict("<f4", "(4294967296, 4294967296)"), 0), "over 2^64"));
    CHECK(contains(refused(npy_dict("<f4", "(1000000000000,)"), 4),
                   "expected 4000000000000 bytes of data, found 4"));
    CHECK(contains(refused(npy_dict("|u1", "(2, 2)"), 5), "expected 4 bytes of data, found 5"));
    std::string deep = "(";
    for (int i = 0; i < 33; ++i) deep += "1, ";
    CHECK(contains(refused(npy_dict("|u1", deep + ")"), 1), "more than 32"));

    CHECK(contains(refused("{'descr': '|u1', 'fortran_order': False}"), "missing"));
    CHECK(contains(refused("{}"), "missing"));
    CHECK(contains(refused("{'descr': '|u1', 'descr': '|u1', 'fortran_order': False, 'shape': (1,)}", 1),
                   "twice"));
    CHECK(contains(refused("{'descr': '|u1', 'fortran_order': False, 'shape': (1,), 'x': 1}", 1), "'x'"));
    CHECK(contains(refused("{'descr': '|u1', 'fortran_order': 0, 'shape': (1,)}", 1),
                   "neither True nor False"));
    CHECK(contains(refused(npy_dict("|u1", "(1,)") + " or 1", 1), "something follows"));
    CHECK(contains(refused("dict(descr='|u1')", 1), "expected '{'"));
    CHECK(contains(refused("{'descr': '|u1", 1), "does not end"));

    write_file(path, "\x93NUMPY\4\0"s + std::string(80, ' '));
    CHECK(contains(message_of<format_error>([&] { read_npy(path); }), "version 4.0"));
    write_file(path, "\x93NUMPY\2\0\xff\xff\xff\x7f"s + std::string(80, ' '));
    CHECK(contains(message_of<format_error>([&] { read_npy(path); }), "at most 65535"));
    CHECK(
        contains(message_of<format_error>([&] { read_npy(write_file(path, "numpy")); }), "not a .npy file"));
}

TEST_CASE("half precision becomes float exactly") {
    const auto float_from_half = [](int bits) { return to_float(half{static_cast<std::uint16_t>(bits)}); };
    CHECK(float_from_half(0x3c00) == 1.0f);
    CHECK(float_from_half(0xc000) == -2.0f);
    CHECK(float_from_half(0x7bff) == 65504.0f);
    CHECK(float_from_half(0x0400) == std::ldexp(1.0f, -14));
    CHECK(float_from_half(0x0001) == std::ldexp(1.0f, -24));
    CHECK(float_from_half(0x83ff) == -std::ldexp(1023.0f, -24));
    CHECK(float_from_half(0x3555) == std::ldexp(1365.0f, -12));
    CHECK(std::signbit(float_from_half(0x8000)));
    CHECK(float_from_half(0xfc00) == -std::numeric_limits<float>::infinity());
    CHECK(std::isnan(float_from_half(0x7e00)));
    CHECK(std::isnan(float_from_half(0xfc01)));
}

/// Every value of T, its neighbour above, and all that lies between them: the nearest, halves to even.
template <class T>
void check_rounding(std::uint16_t infinity) {
    const auto value = [](unsigned bits) { return to_float(T{static_cast<std::uint16_t>(bits)}); };
    for (unsigned bits = 0; bits <= infinity; ++bits) REQUIRE(to<T>(value(bits)).bits == bits);
    for (unsigned bits = 0; bits + 1 < infinity; ++bits) {
        const double between = (static_cast<double>(value(bits)) + static_cast<double>(value(bits + 1))) / 2;
        const auto tie = static_cast<float>(between);
        REQUIRE(static_cast<double>(tie) == between);
        const unsigned even = bits + bits % 2;
        for (const unsigned sign : {0u, 0x8000u}) {
            const auto rounded = [&](float x) { return unsigned{to<T>(sign != 0 ? -x : x).bits}; };
            REQUIRE(rounded(tie) == (sign | even));
            REQUIRE(rounded(std::nextafter(tie, 0.0f)) == (sign | bits));
            REQUIRE(rounded(std::nextafter(tie, HUGE_VALF)) == (sign | (bits + 1)));
        }
    }
    CHECK(to<T>(-HUGE_VALF).bits == (0x8000u | infinity));
    CHECK(to<T>(std::numeric_limits<float>::max()).bits == infinity);
    for (const float nan : {std::nanf(""), -std::nanf("1"), std::bit_cast<float>(0x7f800001u)})
        CHECK((to<T>(nan).bits & 0x7fffu) > infinity);
}

TEST_CASE("floats of 16 bits are the nearest there are") {
    check_rounding<half>(0x7c00);
    check_rounding<bfloat16>(0x7f80);
    CHECK(to<half>(65'519.99f).bits == 0x7bff);
    CHECK(to<half>(65'520.0f).bits == 0x7c00);
    CHECK(to_float(bfloat16{0xc0a0}) == -5.0f);
}

// ------------------------------------------------------------------------------------------------- json.hpp

TEST_CASE("JSON reads values as they are written") {
    const auto parse = [](const std::string& input) { return parse_json(input, "a.json"); };
    CHECK(*parse("0").as<std::int64_t>() == 0);
    CHECK(*parse(" -12 ").as<std::int64_t>() == -12);
    CHECK(*parse("9223372036854775807").as<std::int64_t>() == std::numeric_limits<std::int64_t>::max());
    CHECK(*parse("9223372036854775808").as<double>() == 0x1p63);
    CHECK(*parse("-0.5e+2").as<double>() == -50);
    CHECK(*parse("1E3").as<double>() == 1000);
    CHECK(*parse("true").as<bool>());
    CHECK(!*parse("false").as<bool>());
    CHECK(parse("null").is_null());
    CHECK(!parse("0").is_null());
    CHECK(parse("[]").as<Json::Array>()->empty());
    CHECK(parse("{ }").as<Json::Object>()->empty());
    CHECK(*parse(R"("\"\\\/\b\f\n\r\t")").as<std::string>() == "\"\\/\b\f\n\r\t");
    CHECK(*parse(R"("\u0041\u00e9\u20AC\ud83d\udea2\u0000")").as<std::string>() == "Aé€🚢\0"s);
    CHECK(*parse("\"é€🚢\x7f\"").as<std::string>() == "é€🚢\x7f");
    const Json nested = parse(" { \"b\" : [ 1 , { \"c\" : null } ] ,\n\t\"a\" : { } } ");
    REQUIRE(nested.find("b") != nullptr);
    CHECK(nested.find("b")->as<Json::Array>()->size() == 2);
    CHECK(nested.find("c") == nullptr);
    CHECK(nested.as<Json::Object>()->front().name == "a");
    CHECK(parse("1").find("a") == nullptr);
}

TEST_CASE("JSON that is not strict is refused with its offset") {
    const std::string inputs[] = {"",
                                  " ",
                                  "{",
                                  "}",
                                  "[",
                                  "[1",
                                  "[1,",
                                  "[1,]",
                                  "[,1]",
                                  "{\"a\"",
                                  "{\"a\":",
                                  "{\"a\":1",
                                  "{\"a\":1,",
                                  "{\"a\":1,}",
                                  "{a:1}",
                                  "{'a':1}",
                                  "{1:1}",
                                  "{\"a\" 1}",
                                  "[1 2]",
                                  "1 2",
                                  "nul",
                                  "nulll",
                                  "True",
                                  "+1",
                                  "01",
                                  "-",
                                  "-a",
                                  "1.",
                                  ".5",
                                  "1e",
                                  "1e+",
                                  "0x10",
                                  "NaN",
                                  "Infinity",
                                  "1e999",
                                  "-1e999",
                                  "\"",
                                  "\"a",
                                  "\"\\",
                                  "\"\\u",
                                  "\"\\u12",
                                  "\"\\u12g4\"",
                                  "\"\\u+123\"",
                                  "\"\\x41\"",
                                  "\"\\ud800\"",
                                  "\"\\ud800x\"",
                                  "\"\\ud800\\n\"",
                                  "\"\\ud800\\u0041\"",
                                  "\"\\udc00\"",
                                  "\"\n\"",
                                  "\"\t\"",
                                  "\"\0\""s,
                                  "\"\x80\"",
                                  "\"\xc0\x80\"",
                                  "\"\xed\xa0\x80\"",
                                  "\"\xf5\x80\x80\x80\"",
                                  "\"\xe2\x82\"",
                                  "\"\xf0\x8f\xbf\xbf\"",
                                  "\"\xf4\x90\x80\x80\"",
                                  "\"\xc3",
                                  "[1]]",
                                  "{}{}",
                                  "// c\n1",
                                  "\xef\xbb\xbf{}",
                                  "\0"s,
                                  "1\0"s};
    for (const std::string& input : inputs) {
        CAPTURE(input);
        CHECK(
            contains(message_of<format_error>([&] { parse_json(input, "a.json"); }), "\"a.json\", offset "));
    }
    CHECK(contains(message_of<format_error>([] { parse_json("[1, x]", "a", 100); }), "offset 104"));
    CHECK(
        contains(message_of<format_error>([] { parse_json(R"({"b":1,"a":2,"b":3})", "a"); }), "\"b\" twice"));
    CHECK(
        contains(message_of<format_error>([] { parse_json(R"({"a":1,"\u0061":2})", "a"); }), "\"a\" twice"));
    const auto nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
    CHECK_NOTHROW(parse_json(nested(64), "a"));
    CHECK(contains(message_of<format_error>([&] { parse_json(nested(70), "a"); }), "64 deep"));
    CHECK(
        contains(message_of<format_error>([&] { parse_json(std::string(1'000'000, '['), "a"); }), "64 deep"));
    CHECK(contains(message_of<format_error>([&] { parse_json(std::string(100, '{'), "a"); }),
                   "expected a string"));
    std::string many = "[0";
    for (int i = 0; i < 1 << 20; ++i) many += ",0";
    CHECK(
        contains(message_of<format_error>([&] { parse_json(many + "]", "a"); }), "more than 1048576 values"));
}

TEST_CASE("JSON writes what it reads") {
    for (const char* input :
         {"null", "true", "[1,-2,[],{}]", R"({"a":"é\"\\\u000a","b":0.1,"c":1e+300,"d":-0.25})", "\"\""})
        CHECK(to_json(parse_json(input, "a")) == input);
    const Json number{0.1 + 0.2};
    CHECK(*parse_json(to_json(number), "a").as<double>() == 0.1 + 0.2);
    for (const double whole : {5.0, -0.0, 1e15, 0x1p63}) { // stay double, sign and all
        const Json read = parse_json(to_json({whole}), "a");
        REQUIRE(read.as<double>() != nullptr);
        CHECK(std::bit_cast<std::uint64_t>(*read.as<double>()) == std::bit_cast<std::uint64_t>(whole));
    }
    CHECK(!message_of<argument_error>([] { to_json({std::numeric_limits<double>::infinity()}); }).empty());
    CHECK(!message_of<argument_error>([] { to_json({std::nan("")}); }).empty());
    CHECK(!message_of<argument_error>([] { to_json({"\xff"s}); }).empty());
}

// ------------------------------------------------------------------------------------------ safetensors.hpp

TEST_CASE("golden safetensors of PyTorch open") {
    const auto path = reference_path("golden/plain.init.safetensors");
    if (!path) return;
    const SafetensorsFile file(*path);
    CHECK(file.tensors().size() == 8);
    CHECK(file.metadata().empty());
    const SafetensorsTensor& tensor = file.at("3.weight");
    CHECK(tensor.dtype == dtype_of<float>);
    CHECK(tensor.shape == std::vector<std::uint64_t>{16, 8, 3, 3});
    CHECK(tensor.bytes == 4608);
    CHECK(file.find("3.weigh") == nullptr);
    std::vector<float> values(1152);
    file.read_f32("3.weight", values);
    double largest = 0;
    for (const float value : values) largest = std::max(largest, std::abs(static_cast<double>(value)));
    CHECK(largest > 0.01);
    CHECK(largest <= 1 / std::sqrt(8.0 * 9)); // PyTorch's bound for 72 inputs
    CHECK(
        contains(message_of<data_error>([&] { file.read_f32("3.weigh", values); }), "no tensor \"3.weigh\""));
    CHECK(contains(message_of<data_error>([&] { file.read_f32("0.bias", values); }),
                   "(8,): expected 1152 numbers"));
}

TEST_CASE("safetensors are written and read back") {
    const TemporaryFolder folder;
    const std::string path = folder / "a.safetensors";
    const std::vector<float> six{1, -2, 3.5f, 1e-30f, 0, 6}, one{7};
    const SafetensorsMetadata metadata{{"format", "pt"}, {"a \"note\"", "é\n"}};
    write_safetensors(path, {{"z", {2, 3}, six}, {"a.é", {}, one}, {"m", {0, 4}, {}}}, metadata);
    const SafetensorsFile file(path);
    CHECK(file.metadata() == metadata);
    REQUIRE(file.tensors().size() == 3);
    CHECK(file.tensors()[0].name == "a.é");
    CHECK(file.tensors()[2].name == "z");
    CHECK(file.at("m").shape == std::vector<std::uint64_t>{0, 4});
    CHECK(file.at("a.é").offset % 8 == 0);
    std::vector<float> back(6), scalar(1);
    file.read_f32("z", back);
    file.read_f32("a.é", scalar);
    file.read_f32("m", {});
    CHECK(back == six);
    CHECK(scalar == one);
    check_every_cut(folder / "cut", read_all(path), [](const std::string& name) { SafetensorsFile{name}; });

    write_safetensors(path, {});
    CHECK(SafetensorsFile(path).tensors().empty());
    const auto refused = [&](std::vector<SafetensorsInput> tensors) {
        return message_of<argument_error>([&] { write_safetensors(path, std::move(tensors)); });
    };
    CHECK(contains(refused({{"a", {1}, one}, {"a", {1}, one}}), "twice"));
    CHECK(contains(refused({{"__metadata__", {1}, one}}), "reserved"));
    CHECK(contains(refused({{"a", {2}, one}}), "1 elements for shape (2,)"));
    CHECK(contains(refused({{"\xff", {1}, one}}), "UTF-8"));
    CHECK(SafetensorsFile(path).tensors().empty());
}

TEST_CASE("safetensors of other precisions become float") {
    const TemporaryFolder folder;
    const std::string path = folder / "a.safetensors";
    std::string content = safetensors_bytes(
        R"({"h":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},"b":{"dtype":"BF16","shape":[2],"data_offsets":[4,8]},)"
        R"("d":{"dtype":"F64","shape":[2],"data_offsets":[8,24]},"i":{"dtype":"I64","shape":[],"data_offsets":[24,32]}})",
        32);
    const std::uint16_t halves[] = {0x3c00, 0xc500, 0x3f80, 0xc0a0};
    const double doubles[] = {0.1, -1e300};
    std::memcpy(content.data() + content.size() - 32, halves, 8);
    std::memcpy(content.data() + content.size() - 24, doubles, 16);
    write_file(path, content);
    const SafetensorsFile file(path);
    std::vector<float> two(2), one(1);
    file.read_f32("h", two);
    CHECK(two == std::vector<float>{1, -5});
    file.read_f32("b", two);
    CHECK(two == std::vector<float>{1, -5});
    file.read_f32("d", two);
    CHECK(two == std::vector<float>{0.1f, -std::numeric_limits<float>::infinity()});
    CHECK(contains(message_of<data_error>([&] { file.read_f32("i", one); }),
                   "int64 of shape (): expected floating-point"));

    std::vector<std::uint16_t> many(20'000); // several chunks
    for (std::size_t i = 0; i < many.size(); ++i) many[i] = static_cast<std::uint16_t>(i);
    content = safetensors_bytes(R"({"h":{"dtype":"F16","shape":[20000],"data_offsets":[0,40000]}})", 40000);
    std::memcpy(content.data() + content.size() - 40000, many.data(), 40000);
    std::vector<float> out(20'000);
    SafetensorsFile(write_file(path, content)).read_f32("h", out);
    for (std::size_t i = 0; i < many.size(); ++i) REQUIRE(out[i] == to_float(half{many[i]}));
}

TEST_CASE("safetensors that lie are refused") {
    const TemporaryFolder folder;
    const std::string path = folder / "a.safetensors";
    const auto refused = [&](const std::string& header, std::size_t data) {
        write_file(path, safetensors_bytes(header, data));
        return message_of<format_error>([&] { SafetensorsFile{path}; });
    };
    const auto entry = [](const std::string& name, const std::string& type, const std::string& shape,
                          int begin, int end) {
        return text("\"", name, R"(":{"dtype":")", type, R"(","shape":)", shape, R"(,"data_offsets":[)",
                    begin, ",", end, "]}");
    };
    const auto one = [&](const std::string& type, const std::string& shape, int begin, int end,
                         std::size_t data) {
        return refused("{"s + entry("a", type, shape, begin, end) + "}", data);
    };
    CHECK(contains(one("F32", "[2]", 0, 8, 9), "expected"));
    CHECK(contains(one("F32", "[2]", 0, 8, 7), "data_offsets 0 to 8, found 7"));
    CHECK(contains(one("F32", "[2]", 4, 12, 12), "belong to no tensor"));
    CHECK(contains(one("F32", "[3]", 0, 8, 8), "F32 of shape (3,) expected 12 bytes, found 8"));
    CHECK(contains(one("F32", "[0, 3]", 0, 4, 4), "expected 0 bytes, found 4"));
    CHECK(contains(one("F32", "[]", 0, 0, 0), "expected 4 bytes, found 0"));
    CHECK(contains(one("F32", "[2]", 8, 0, 8), "data_offsets 8 to 0"));
    CHECK(contains(one("F32", "[4611686018427387904, 4]", 0, 0, 0), "over 2^64"));
    CHECK(contains(one("F32", "[-1]", 0, 4, 4), "expected {"));
    CHECK(contains(one("F32", "[1.0]", 0, 4, 4), "expected {"));
    CHECK(contains(one("F32", "4", 0, 4, 4), "expected {"));
    CHECK(contains(one("F8_E4M3", "[1]", 0, 1, 1), "F8_E4M3 is not known"));
    CHECK(
        contains(refused("{"s + entry("a", "U8", "[4]", 0, 4) + "," + entry("b", "U8", "[4]", 2, 6) + "}", 6),
                 "overlap"));
    CHECK(
        contains(refused("{"s + entry("a", "U8", "[4]", 0, 4) + "," + entry("b", "U8", "[1]", 5, 6) + "}", 6),
                 "no tensor"));
    CHECK(
        contains(refused("{"s + entry("a", "U8", "[4]", 0, 4) + "," + entry("a", "U8", "[2]", 4, 6) + "}", 6),
                 "twice"));
    CHECK(contains(refused(R"({"a":{"dtype":"U8","shape":[1]}})", 1), "tensor \"a\""));
    CHECK(contains(refused(R"({"a":1})", 1), "tensor \"a\""));
    CHECK(contains(refused(R"({"__metadata__":{"a":1}})", 0), "not text"));
    CHECK(contains(refused(R"({"__metadata__":"a"})", 0), "not an object"));
    CHECK(contains(refused(" {}", 0), "does not begin with '{'"));
    CHECK(contains(refused("[]", 0), "does not begin with '{'"));
    CHECK(contains(refused("{", 0), "JSON"));
    CHECK(contains(refused("", 0), "does not begin with '{'"));
    CHECK(contains(refused("{}", 1), "expected 10 bytes, found 11"));
    write_file(path, "\xff\xff\xff\xff\xff\xff\xff\xff{}");
    CHECK(contains(message_of<format_error>([&] { SafetensorsFile{path}; }), "at most 100000000"));
    write_file(path, "\x01\xe1\xf5\x05\0\0\0\0{}"s); // 100,000,001
    CHECK(contains(message_of<format_error>([&] { SafetensorsFile{path}; }), "at most 100000000"));

    const std::string good =
        safetensors_bytes("{"s + entry("a", "F32", "[2, 1]", 0, 8) + "," + entry("b", "BOOL", "[3]", 8, 11) +
                              R"(,"__metadata__":{"k":"v"}}  )",
                          11);
    const auto read = [](const std::string& name) { SafetensorsFile{name}; };
    check_every_cut(path, good, read);
    CHECK(count_refused_flips(path, good, good.size() - 11, read) > 500);
}
