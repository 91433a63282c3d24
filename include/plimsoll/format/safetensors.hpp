#pragma once
/// \file
/// safetensors, the files PyTorch and Keras users keep weights in: a JSON header, then every tensor's bytes,
/// little-endian, in C order, without gap or overlap.

#include <plimsoll/core/config.hpp>
#include <plimsoll/core/error.hpp>
#include <plimsoll/format/file.hpp>
#include <plimsoll/format/json.hpp>
#include <plimsoll/format/npy.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

/// One tensor of a file.
struct SafetensorsTensor {
    std::string name;
    DType dtype;
    std::vector<std::uint64_t> shape;
    std::uint64_t offset = 0; ///< from the file's beginning
    std::uint64_t bytes = 0;
};

/// The `__metadata__` of a file: text by name.
using SafetensorsMetadata = std::map<std::string, std::string>;

namespace detail {

struct SafetensorsType {
    std::string_view name;
    DType dtype;
};
inline constexpr SafetensorsType safetensors_types[] = {
    {"BOOL", {ElementKind::boolean, 1}},         {"U8", {ElementKind::unsigned_integer, 1}},
    {"U16", {ElementKind::unsigned_integer, 2}}, {"U32", {ElementKind::unsigned_integer, 4}},
    {"U64", {ElementKind::unsigned_integer, 8}}, {"I8", {ElementKind::signed_integer, 1}},
    {"I16", {ElementKind::signed_integer, 2}},   {"I32", {ElementKind::signed_integer, 4}},
    {"I64", {ElementKind::signed_integer, 8}},   {"F16", {ElementKind::floating, 2}},
    {"F32", {ElementKind::floating, 4}},         {"F64", {ElementKind::floating, 8}},
    {"BF16", {ElementKind::brain_floating, 2}},
};

/// The array of whole numbers of 0 or more that `json` is; nothing when it is something else.
inline std::optional<std::vector<std::uint64_t>> json_dims(const Json* json) {
    const Json::Array* items = json != nullptr ? json->as<Json::Array>() : nullptr;
    if (items == nullptr) return {};
    std::vector<std::uint64_t> dims;
    for (const Json& item : *items) {
        const std::int64_t* dim = item.as<std::int64_t>();
        if (dim == nullptr || *dim < 0) return {};
        dims.push_back(static_cast<std::uint64_t>(*dim));
    }
    return dims;
}

} // namespace detail

/// A safetensors file whose header has been read and validated; tensors are read when asked for.
class SafetensorsFile {
  public:
    /// \throws io_error when it cannot be read, format_error naming path and offset when it is not a valid
    /// safetensors file.
    explicit SafetensorsFile(const std::string& path) : file_(path) {
        if (file_.size() < 8) throw refuse(0, text("not a safetensors file: ", file_.size(), " bytes"));
        std::uint64_t length[1] = {};
        file_.read_at(0, std::span(length));
        if (length[0] > longest_header || length[0] > file_.size() - 8)
            throw refuse(0, text("a header of ", length[0], " bytes: at most ", longest_header,
                                 " are read, and the file has ", file_.size()));
        std::string header(static_cast<std::size_t>(length[0]), '\0');
        file_.read_at(8, std::span<char>(header));
        if (!header.starts_with('{')) throw refuse(8, "the header does not begin with '{'");
        const Json json = parse_json(header, path, 8);
        for (const auto& [name, entry] : *json.as<Json::Object>()) {
            if (name == "__metadata__")
                read_metadata(entry);
            else
                read_entry(name, entry, 8 + length[0]);
        }
        check_cover(8 + length[0]);
    }

    [[nodiscard]] const std::string& path() const { return file_.path(); }
    /// Sorted by name.
    [[nodiscard]] const std::vector<SafetensorsTensor>& tensors() const { return tensors_; }
    [[nodiscard]] const SafetensorsMetadata& metadata() const { return metadata_; }

    /// The tensor of that name, or nullptr.
    [[nodiscard]] const SafetensorsTensor* find(std::string_view name) const {
        const auto at = std::lower_bound(
            tensors_.begin(), tensors_.end(), name,
            [](const SafetensorsTensor& t, std::string_view wanted) { return t.name < wanted; });
        return at != tensors_.end() && at->name == name ? &*at : nullptr;
    }

    /// The tensor of that name. \throws data_error naming path and name when there is none.
    [[nodiscard]] const SafetensorsTensor& at(std::string_view name) const {
        if (const SafetensorsTensor* tensor = find(name)) return *tensor;
        throw data_error(text("\"", path(), "\" has no tensor \"", name, "\" among its ", tensors_.size()));
    }

    /// Reads a tensor of F32, F64, F16 or BF16 as float, C order.
    /// \throws data_error when there is none of that name, when it holds no floating-point numbers or when
    /// `out` is not exactly its size.
    void read_f32(std::string_view name, std::span<float> out) const {
        const SafetensorsTensor& tensor = at(name);
        const auto refuse_use = [&](std::string_view what) {
            return data_error(text("\"", path(), "\", tensor \"", name, "\", ", to_string(tensor.dtype),
                                   " of shape ", dims_text(tensor.shape), ": ", what));
        };
        if (tensor.dtype.kind != ElementKind::floating && tensor.dtype.kind != ElementKind::brain_floating)
            throw refuse_use("expected floating-point numbers");
        const auto size = static_cast<std::size_t>(tensor.dtype.size);
        if (tensor.bytes / size != out.size()) throw refuse_use(text("expected ", out.size(), " numbers"));
        if (tensor.dtype == dtype_of<float>) return file_.read_at(tensor.offset, out);
        constexpr std::size_t chunk = 8192;
        std::vector<std::byte> raw(std::min(chunk, out.size()) * size);
        for (std::size_t first = 0; first < out.size(); first += chunk) {
            const std::size_t count = std::min(chunk, out.size() - first);
            file_.read_at(tensor.offset + first * size, std::span(raw).first(count * size));
            for (std::size_t i = 0; i < count; ++i)
                out[first + i] = static_cast<float>(detail::load_number(tensor.dtype, &raw[i * size]));
        }
    }

  private:
    static constexpr std::uint64_t longest_header = 100'000'000; // the reference implementation's limit

    [[nodiscard]] format_error refuse(std::uint64_t offset, std::string_view what) const {
        return detail::bad_content(file_.path(), offset, what);
    }

    void read_metadata(const Json& entry) {
        const Json::Object* members = entry.as<Json::Object>();
        if (members == nullptr) throw refuse(8, "__metadata__ is not an object");
        for (const auto& [key, value] : *members) {
            const std::string* string = value.as<std::string>();
            if (string == nullptr) throw refuse(8, text("__metadata__ \"", key, "\" is not text"));
            metadata_[key] = *string;
        }
    }

    void read_entry(const std::string& name, const Json& entry, std::uint64_t data) {
        const auto refuse_entry = [&](std::string_view what) {
            return refuse(8, text("tensor \"", name, "\": ", what));
        };
        const Json* type = entry.find("dtype");
        const std::string* type_name = type != nullptr ? type->as<std::string>() : nullptr;
        const auto shape = detail::json_dims(entry.find("shape"));
        const auto extent = detail::json_dims(entry.find("data_offsets"));
        if (type_name == nullptr || !shape || !extent || extent->size() != 2)
            throw refuse_entry(
                "expected {\"dtype\": text, \"shape\": [n, ...], \"data_offsets\": [begin, end]}");
        const auto* known =
            std::find_if(std::begin(detail::safetensors_types), std::end(detail::safetensors_types),
                         [&](const auto& candidate) { return candidate.name == *type_name; });
        if (known == std::end(detail::safetensors_types))
            throw refuse_entry(text("dtype ", *type_name, " is not known"));
        const std::uint64_t begin = (*extent)[0], end = (*extent)[1], found = file_.size() - data;
        if (begin > end || end > found)
            throw refuse_entry(
                text("data_offsets ", begin, " to ", end, ", found ", found, " bytes of data"));
        const auto bytes = detail::byte_count(*shape, known->dtype);
        if (!bytes || *bytes != end - begin)
            throw refuse_entry(text(*type_name, " of shape ", dims_text(*shape), " expected ",
                                    bytes ? text(*bytes) : "over 2^64", " bytes, found ", end - begin));
        tensors_.push_back({name, known->dtype, *shape, data + begin, *bytes});
    }

    /// Every byte after the header belongs to exactly one tensor.
    void check_cover(std::uint64_t data) const {
        std::vector<std::pair<std::uint64_t, std::uint64_t>> extents; // begin, bytes
        for (const SafetensorsTensor& tensor : tensors_) extents.emplace_back(tensor.offset, tensor.bytes);
        std::sort(extents.begin(), extents.end());
        std::uint64_t covered = data;
        for (const auto& [begin, bytes] : extents) {
            if (begin != covered)
                throw refuse(std::min(begin, covered),
                             begin < covered ? "two tensors overlap" : "bytes that belong to no tensor");
            covered += bytes;
        }
        if (covered != file_.size())
            throw refuse(covered, text("expected ", covered, " bytes, found ", file_.size()));
    }

    File file_;
    std::vector<SafetensorsTensor> tensors_;
    SafetensorsMetadata metadata_;
};

/// A float tensor to be written: its shape's product is data.size().
struct SafetensorsInput {
    std::string name;
    std::vector<std::uint64_t> shape;
    std::span<const float> data;
};

/// Writes F32 tensors, sorted by name, atomically; the data begins at a multiple of 8 bytes.
/// \throws argument_error for a name that is there twice or reserved, or a shape that is not its data's;
/// io_error.
inline void write_safetensors(const std::string& path, std::vector<SafetensorsInput> tensors,
                              const SafetensorsMetadata& metadata = {}) {
    std::sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
    Json::Object header;
    if (!metadata.empty()) {
        Json::Object members;
        for (const auto& [key, value] : metadata) members.push_back({key, {value}});
        header.push_back({"__metadata__", {std::move(members)}});
    }
    std::int64_t end = 0;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
        const SafetensorsInput& tensor = tensors[i];
        const auto refuse = [&](std::string_view what) {
            return argument_error(text("\"", path, "\", tensor \"", tensor.name, "\": ", what));
        };
        if (tensor.name == "__metadata__") throw refuse("the name is reserved");
        if (i != 0 && tensors[i - 1].name == tensor.name) throw refuse("the name is there twice");
        if (detail::element_count(tensor.shape) != tensor.data.size())
            throw refuse(text(tensor.data.size(), " elements for shape ", dims_text(tensor.shape)));
        Json::Array shape;
        for (const std::uint64_t dim : tensor.shape) shape.push_back({static_cast<std::int64_t>(dim)});
        const std::int64_t begin = end;
        end += static_cast<std::int64_t>(tensor.data.size_bytes());
        header.push_back({tensor.name,
                          {Json::Object{{"dtype", {std::string("F32")}},
                                        {"shape", {std::move(shape)}},
                                        {"data_offsets", {Json::Array{{begin}, {end}}}}}}});
    }
    std::string json = to_json({std::move(header)});
    json.append((8 - json.size() % 8) % 8, ' ');
    const std::uint64_t length[1] = {json.size()};
    write_atomically(path, [&](AtomicFile& file) {
        file.write(std::as_bytes(std::span(length)));
        file.write(json);
        for (const SafetensorsInput& tensor : tensors) file.write(std::as_bytes(tensor.data));
    });
}

} // namespace plimsoll::inline PLIMSOLL_ABI
