// libFuzzer: any bytes as a safetensors file. With an odd first byte the header is what precedes the first
// zero, its length put right, with 3 modulo 16 the data is made as long as its offsets say.
//   clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude tools/fuzz/safetensors.cpp

#include "folder.hpp"
#include "memory_file.hpp"

#include <plimsoll/format/safetensors.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

using namespace plimsoll;

namespace {

std::string with_length(std::uint8_t mode, std::string_view rest) {
    std::string header(rest.substr(0, rest.find('\0')));
    std::string data(rest.substr(std::min(header.size() + 1, rest.size())));
    if (mode & 8) { // the first offsets once more in the last ones' place: they overlap
        const std::size_t first = header.find("offsets\":["), last = header.rfind('[');
        if (first != std::string::npos && first < last) {
            const std::string list = header.substr(first + 9, header.find(']', first) - first - 9);
            header.replace(last, header.find(']', last) - last, list);
        }
    }
    if (mode % 16 == 3) try {
            std::uint64_t end = 0;
            const Json json = parse_json(header, "fuzz");
            if (const auto* members = json.as<Json::Object>())
                for (const auto& member : *members)
                    if (const auto extent = detail::json_dims(member.value.find("data_offsets")))
                        for (const std::uint64_t offset : *extent) end = std::max(end, offset);
            if (end <= 1 << 16) {
                data.resize(std::min<std::size_t>(data.size(), end));
                if (data.empty()) data = "\x2a";
                for (std::size_t i = 0; data.size() < end; ++i) data += static_cast<char>(data[i] + 1);
                data.resize(end);
            }
        } catch (const format_error&) {
        }
    const std::uint64_t length = header.size();
    return std::string(reinterpret_cast<const char*>(&length), sizeof length) + header + data;
}

template <class T>
T element(const char* at) {
    T value;
    std::memcpy(&value, at, sizeof value);
    return value;
}

/// The float that a tensor's element is, by arithmetic.
float float_at(DType dtype, const char* at) {
    if (dtype.size == 8) return static_cast<float>(element<double>(at));
    if (dtype.size == 4) return element<float>(at);
    const int half = element<std::uint16_t>(at);
    if (dtype.kind == ElementKind::brain_floating) {
        const std::uint16_t pair[] = {0, static_cast<std::uint16_t>(half)};
        return element<float>(reinterpret_cast<const char*>(pair));
    }
    const int exponent = half / 1024 % 32, fraction = half % 1024;
    const double sign = half >= 32768 ? -1 : 1;
    if (exponent == 31) return static_cast<float>(sign * (fraction == 0 ? HUGE_VAL : std::nan("")));
    return static_cast<float>(sign *
                              std::ldexp(fraction + (exponent == 0 ? 0 : 1024), std::max(exponent, 1) - 25));
}

bool same(float a, float b) {
    return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b) ||
           (std::isnan(a) && std::isnan(b));
}

/// A tensor's extent lies in the file and is as long as its shape says; its numbers are the bytes there.
std::vector<float> check_tensor(const SafetensorsFile& file, const SafetensorsTensor& tensor,
                                const std::string& bytes) {
    fuzz::require(file.find(tensor.name) == &tensor && &file.at(tensor.name) == &tensor);
    fuzz::require(tensor.offset <= bytes.size() && tensor.bytes <= bytes.size() - tensor.offset);
    unsigned __int128 expected = static_cast<unsigned>(tensor.dtype.size);
    if (std::ranges::count(tensor.shape, 0u) > 0) expected = 0;
    for (const std::uint64_t dim : tensor.shape) fuzz::require((expected *= dim) <= bytes.size());
    fuzz::require(expected == tensor.bytes);

    const std::size_t size = static_cast<std::size_t>(tensor.dtype.size), count = tensor.bytes / size;
    std::vector<float> numbers(count + 1);
    try {
        file.read_f32(tensor.name, numbers);
        fuzz::require(false);
    } catch (const data_error&) { // one too many
    }
    numbers.resize(count);
    const bool real =
        tensor.dtype.kind == ElementKind::floating || tensor.dtype.kind == ElementKind::brain_floating;
    try {
        file.read_f32(tensor.name, numbers);
        fuzz::require(real);
    } catch (const data_error&) {
        fuzz::require(!real);
        return {};
    }
    for (std::size_t i = 0; i < count; ++i)
        fuzz::require(same(numbers[i], float_at(tensor.dtype, &bytes[tensor.offset + i * size])));
    return numbers;
}

/// What was read is written and read back.
void check_writer(const SafetensorsFile& file, const std::vector<std::vector<float>>& numbers) {
    static const fuzz::Folder folder;
    const std::string path = folder.path() + "/a.safetensors";
    std::vector<SafetensorsInput> inputs;
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        const SafetensorsTensor& tensor = file.tensors()[i];
        if (numbers[i].size() == detail::element_count(tensor.shape))
            inputs.push_back({tensor.name, tensor.shape, numbers[i]});
    }
    write_safetensors(path, inputs, file.metadata());
    const SafetensorsFile again(path);
    fuzz::require(again.metadata() == file.metadata() && again.tensors().size() == inputs.size());
    for (const SafetensorsInput& input : inputs) {
        const SafetensorsTensor& tensor = again.at(input.name);
        std::vector<float> read(input.data.size());
        again.read_f32(input.name, read);
        fuzz::require(tensor.shape == input.shape && tensor.dtype == dtype_of<float>);
        fuzz::require(std::equal(read.begin(), read.end(), input.data.begin(), same));
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
    const std::string bytes = data[0] % 2 == 1 ? with_length(data[0], rest) : std::string(rest);
    static fuzz::MemoryFile memory;
    memory.write(std::as_bytes(std::span(bytes)));
    try {
        const SafetensorsFile file(memory.path());
        const std::size_t start = 8 + element<std::uint64_t>(bytes.data());
        fuzz::require(start <= bytes.size());
        std::vector<int> owners(bytes.size() - start);
        std::vector<std::vector<float>> numbers;
        for (const SafetensorsTensor& tensor : file.tensors()) {
            fuzz::require(numbers.empty() || file.tensors()[numbers.size() - 1].name < tensor.name);
            fuzz::require(tensor.offset >= start && tensor.name != "__metadata__");
            numbers.push_back(check_tensor(file, tensor, bytes));
            for (std::uint64_t i = 0; i < tensor.bytes; ++i) ++owners[tensor.offset - start + i];
        }
        fuzz::require(std::ranges::count(owners, 1) == std::ssize(owners));
        const Json header = parse_json(std::string_view(bytes).substr(8, start - 8), "fuzz");
        fuzz::require(header.as<Json::Object>()->size() ==
                      numbers.size() + (header.find("__metadata__") != nullptr));
        fuzz::require(file.find("__metadata__") == nullptr);
        check_writer(file, numbers);
    } catch (const format_error&) {
    }
    return 0;
}
