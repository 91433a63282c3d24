#pragma once
/// \file
/// Weights written and read.

#include <plimsoll/format/json.hpp>
#include <plimsoll/format/safetensors.hpp>
#include <plimsoll/trainer/weights.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

inline std::vector<std::uint64_t> dims(const Parameter& parameter) {
    std::vector<std::uint64_t> out;
    for (const int extent : parameter.shape) out.push_back(static_cast<std::uint64_t>(extent));
    return out;
}

} // namespace detail

PLIMSOLL_DEFINED void save_weights(const std::string& path, const std::vector<NamedParameter>& parameters,
                                   std::span<const std::vector<float>> values, const WeightsInfo& info) {
    std::vector<SafetensorsInput> tensors;
    for (std::size_t i = 0; i < parameters.size(); ++i)
        tensors.push_back({parameters[i].name, detail::dims(parameters[i].facts), values[i]});
    Json::Array names;
    for (const std::string& name : info.class_names) names.push_back({name});
    write_safetensors(path, std::move(tensors),
                      {{"format", "pt"},
                       {"plimsoll.class_names", to_json(Json{std::move(names)})},
                       {"plimsoll.pixel_scaling", "u8 pixels are divided by 255"}});
}

PLIMSOLL_DEFINED std::vector<std::vector<float>>
load_weights(const std::string& path, const std::vector<NamedParameter>& parameters, WeightsInfo& info) {
    const SafetensorsFile file(path);
    for (const NamedParameter& parameter : parameters) {
        const SafetensorsTensor& tensor = file.at(parameter.name);
        const std::vector<std::uint64_t> expected = detail::dims(parameter.facts);
        if (tensor.shape != expected)
            throw data_error(text("\"", path, "\", tensor \"", parameter.name, "\" has shape ",
                                  dims_text(tensor.shape), "; the model's is ", dims_text(expected)));
    }
    for (const SafetensorsTensor& tensor : file.tensors()) {
        bool known = tensor.name.ends_with("num_batches_tracked");
        for (const NamedParameter& parameter : parameters) known = known || parameter.name == tensor.name;
        if (!known)
            throw data_error(
                text("\"", path, "\" has a tensor \"", tensor.name, "\" that the model has not"));
    }
    std::vector<std::vector<float>> values;
    for (const NamedParameter& parameter : parameters) {
        values.emplace_back(static_cast<std::size_t>(parameter.facts.size()));
        file.read_f32(parameter.name, values.back());
    }
    info.class_names.clear();
    if (const auto entry = file.metadata().find("plimsoll.class_names"); entry != file.metadata().end()) {
        const Json json = parse_json(entry->second, path, 0);
        if (const auto* names = json.as<Json::Array>())
            for (const Json& name : *names)
                if (const auto* string = name.as<std::string>()) info.class_names.push_back(*string);
    }
    return values;
}

} // namespace plimsoll::inline PLIMSOLL_ABI
