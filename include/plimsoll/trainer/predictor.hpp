#pragma once
/// \file
/// Prediction from saved weights, without a source.

#include <plimsoll/model/precision.hpp>
#include <plimsoll/trainer/engine.hpp>

namespace plimsoll::inline PLIMSOLL_ABI {

/// Loads weights and tells probabilities. Its plan has no gradients and no optimizer state.
/// \tparam Pixel u8, float or half: of the images it will be given
template <class Model, class Precision, class Device, class Pixel = u8, class Loss = DefaultLoss<Model>>
class Predictor {
    static constexpr bool checked_ = (check_model<Model>(), check_precision<Precision>(),
                                      check_device<Device>(), check_loss<Model, Loss>(), true);
    static_assert(checked_);

  public:
    using Blueprint = plimsoll::Blueprint<Model, Pixel, Precision, Device, Loss, 0, false, 1>;

    /// \param weights a safetensors file in PyTorch's names and layouts.
    /// \throws io_error, format_error, data_error if they are not this model's; budget_error.
    explicit Predictor(const std::string& weights, const Settings& settings = {})
        : engine_(detail::network_of<Blueprint>, settings) {
        engine_.load(weights);
    }

    [[nodiscard]] PlanReport plan() const { return engine_.template report<Blueprint>(); }
    [[nodiscard]] Bytes peak() const { return {engine_.plan().total}; }
    /// As saved with the weights; may be empty.
    [[nodiscard]] const std::vector<std::string>& class_names() const { return engine_.class_names(); }

    /// (N, outputs) probabilities for images (N, H, W, C).
    std::vector<float> predict(std::span<const Pixel> images) { return engine_.predict(images); }
    /// (N, outputs) probabilities for a source's images, in order.
    template <class Images>
        requires source<Images> std::vector<float> predict(const Images& images) {
            check_pixels<Images>();
            return engine_.predict(detail::SourceRef<Pixel>(images));
        }
    /// Loss and accuracy on a source.
    template <class Source>
    Metrics evaluate(const Source& source) {
        check_pixels<Source>();
        return engine_.evaluate(source);
    }

  private:
    template <class Source>
    static constexpr void check_pixels() {
        check_source<Source>();
        static_assert(
            std::same_as<typename Source::Pixel, Pixel>,
            "plimsoll: this source's pixels are not the predictor's: write Predictor<Model, Precision, "
            "Device, float> for float pixels");
    }

    Engine<Pixel, typename Precision::Storage, Device> engine_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI
