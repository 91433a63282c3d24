// libFuzzer: any bytes as the index of a small TFRecord file. With an odd first byte the index is made to fit
// the file, its checksum put right, so that the search gets past both.
//   clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude tools/fuzz/record_index.cpp

#include "memory_file.hpp"

#include <plimsoll/format/record_index.hpp>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

using namespace plimsoll;

namespace {

std::string raw(const auto& value) { return {reinterpret_cast<const char*>(&value), sizeof value}; }

std::string framed(const std::string& payload) {
    const std::string length = raw(std::uint64_t{payload.size()});
    const auto crc = [](const std::string& bytes) {
        return raw(masked_crc32c(crc32c(std::as_bytes(std::span(bytes.data(), bytes.size())))));
    };
    return length + crc(length) + payload + crc(payload);
}

/// A small data file: three records of growing size.
struct Data {
    fuzz::MemoryFile memory;
    Data() {
        const std::string all = framed("") + framed("two") + framed(std::string(100, 'x'));
        memory.write(std::as_bytes(std::span(all.data(), all.size())));
    }
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    static const Data file;
    static fuzz::MemoryFile memory;
    TfRecordFile records(file.memory.path());
    const detail::DataFacts facts = detail::data_facts(records.file());

    const auto input = std::as_bytes(std::span(data + 1, size - 1));
    std::vector<std::byte> bytes(input.begin(), input.end());
    constexpr std::size_t fixed = sizeof(detail::IndexHeader) + 8;
    if (data[0] % 2 == 1 && bytes.size() >= fixed) {
        detail::IndexHeader header;
        std::string name = detail::padded_name("label");
        if (data[0] % 4 == 1) bytes.resize(bytes.size() - (bytes.size() - fixed) % 16);
        std::vector<detail::IndexEntry> entries((bytes.size() - fixed) / 16);
        if (!entries.empty()) std::memcpy(entries.data(), &bytes[fixed], 16 * entries.size());
        if (data[0] % 8 < 4)
            for (auto& entry : entries) entry.offset %= 256;
        if (data[0] % 16 < 8)
            std::sort(entries.begin(), entries.end(),
                      [](const auto& a, const auto& b) { return a.offset < b.offset; });
        if (!entries.empty()) std::memcpy(&bytes[fixed], entries.data(), 16 * entries.size());
        header.data = facts;
        header.count = entries.size();
        header.name_bytes = 5;
        header.checksum = detail::index_checksum(header, name, entries);
        std::memcpy(bytes.data(), &header, sizeof header);
        std::memcpy(&bytes[sizeof header], name.data(), 8);
    }
    memory.write(bytes);
    try {
        auto entries = detail::read_index(memory.path(), facts, "label");
        const RecordIndex index(std::move(records), std::move(entries), memory.path());
        fuzz::require(index.size() > 0);
        std::vector<std::byte> buffer;
        for (std::uint64_t i = 0; i < index.size(); ++i) {
            fuzz::require(index.extent(i).length <= facts.size);
            try {
                const Record record = index.read(i, buffer);
                fuzz::require(record.payload.empty() || record.payload[0] == std::byte{'t'} ||
                              record.payload[0] == std::byte{'x'});
            } catch (const format_error&) { // no such record
            }
        }
    } catch (const format_error&) {
    }
    return 0;
}
