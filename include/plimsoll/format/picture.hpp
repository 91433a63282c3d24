#pragma once
/// \file
/// Pictures of any kind that is read, told by their first bytes, and their way to a model's size.

#include <plimsoll/core/config.hpp>
#include <plimsoll/core/error.hpp>
#include <plimsoll/core/shape.hpp>
#include <plimsoll/core/storage.hpp>
#include <plimsoll/format/file.hpp>
#include <plimsoll/format/jpeg.hpp>
#include <plimsoll/format/pixels.hpp>
#include <plimsoll/format/png.hpp>
#include <plimsoll/format/resize.hpp>

#include <cstddef>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

enum class PictureKind { jpeg, png };

/// What a picture is by its first bytes, whatever its name; nothing for what is not read.
inline std::optional<PictureKind> picture_kind(std::span<const std::byte> bytes) {
    const std::string_view begin(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (begin.starts_with("\xff\xd8\xff")) return PictureKind::jpeg;
    if (begin.starts_with("\x89PNG\r\n\x1a\n")) return PictureKind::png;
    return {};
}

/// Decodes a JPEG or PNG; see decode_jpeg and decode_png for what becomes of colours, and for what is thrown.
/// \param name for messages: a file's or record's. \param channels 1 (gray) or 3 (RGB).
/// \throws data_error also when it is neither.
inline void decode_picture(std::span<const std::byte> bytes, std::string_view name, int channels,
                           Picture& out, PictureLimits limits = {}) {
    const auto kind = picture_kind(bytes);
    if (!kind) throw detail::bad_picture(name, 0, "neither a JPEG nor a PNG, by its first bytes");
    if (*kind == PictureKind::jpeg)
        decode_jpeg(bytes, name, channels, out, limits);
    else
        decode_png(bytes, name, channels, out, limits);
}

/// Pictures of any size to one shape: decoded, then resized. One object a thread. After a picture as large as
/// any that follows, only libjpeg and libpng allocate.
class PictureDecoder {
  public:
    /// \param output channels are 1 (gray) or 3 (RGB). \throws argument_error as Resizer does.
    explicit PictureDecoder(Shape output, Resampling how = Resampling::bilinear, PictureLimits limits = {})
        : resizer_(output, how), limits_(limits) {}

    [[nodiscard]] Shape output() const { return resizer_.output(); }
    /// Of the last picture as it was stored, with the output's channels.
    [[nodiscard]] Shape stored() const { return picture_.shape(); }

    /// \param out (H, W, C) of output(); it holds anything after a failure.
    /// \throws what decode_picture throws; argument_error when `out` is of another size.
    void decode(std::span<const std::byte> bytes, std::string_view name, std::span<u8> out) {
        decode_picture(bytes, name, output().channels, picture_, limits_);
        resizer_.resize(picture_.shape(), picture_.pixels(), out);
    }
    /// The same without rounding to 8 bits.
    void decode(std::span<const std::byte> bytes, std::string_view name, std::span<float> out,
                Levels levels = Levels::as_stored) {
        decode_picture(bytes, name, output().channels, picture_, limits_);
        resizer_.resize(picture_.shape(), picture_.pixels(), out, levels);
    }

  private:
    Picture picture_;
    Resizer resizer_;
    PictureLimits limits_;
};

/// A picture file as a model takes it: `predictor.predict(read_picture("photo.jpg", Net::input))`.
/// \returns (H, W, C) of `output` \throws io_error; what decode_picture throws, naming the path
inline std::vector<u8> read_picture(const std::string& path, Shape output,
                                    Resampling how = Resampling::bilinear, PictureLimits limits = {}) {
    const std::string file = read_all(path);
    std::vector<u8> pixels(static_cast<std::size_t>(output.size()));
    PictureDecoder(output, how, limits).decode(std::as_bytes(std::span(file)), path, pixels);
    return pixels;
}

} // namespace plimsoll::inline PLIMSOLL_ABI
