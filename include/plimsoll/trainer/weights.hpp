#pragma once
/// \file
/// A model's weights in safetensors files, in PyTorch's names and layouts.

#include <plimsoll/model/names.hpp>

#include <span>
#include <string>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

/// What a weights file says beside the tensors.
struct WeightsInfo {
    std::vector<std::string> class_names;
};

/// Writes parameters (PyTorch's layouts, float32), class names and the pixel scaling, atomically.
/// \throws io_error.
PLIMSOLL_DECLARED void save_weights(const std::string& path, const std::vector<NamedParameter>& parameters,
                                    std::span<const std::vector<float>> values, const WeightsInfo& info);

/// Reads every parameter of a model from a file; nothing is returned unless all of them are there in the
/// model's shapes and the file holds nothing else (PyTorch's `num_batches_tracked` apart). \throws data_error
/// naming the tensor, its shape and the model's.
PLIMSOLL_DECLARED std::vector<std::vector<float>>
load_weights(const std::string& path, const std::vector<NamedParameter>& parameters, WeightsInfo& info);

} // namespace plimsoll::inline PLIMSOLL_ABI

#if PLIMSOLL_DEFINITIONS
#include <plimsoll/trainer/weights_definitions.hpp>
#endif
