#pragma once
/// \file
/// Opens whatever a folder holds: processed arrays, TFRecord files or pictures.

#include <plimsoll/source/any_source.hpp>
#include <plimsoll/source/memory_mapped.hpp>
#include <plimsoll/source/streaming.hpp>

#include <filesystem>
#include <optional>

namespace plimsoll::inline PLIMSOLL_ABI {

namespace detail {

/// When the newest of some files was written; nothing where there are none.
inline std::optional<std::filesystem::file_time_type> newest(const std::vector<std::string>& paths) {
    std::optional<std::filesystem::file_time_type> time;
    try {
        for (const std::string& path : paths) {
            const auto written = std::filesystem::last_write_time(path);
            if (!time || written > *time) time = written;
        }
    } catch (const std::filesystem::filesystem_error&) { // gone meanwhile
    }
    return time;
}

/// A folder's pictures; empty where it is none of pictures.
inline std::vector<std::string> pictures_in(const std::string& folder) {
    std::vector<std::string> paths;
    try {
        for (PictureFolder::Picture& picture : list_pictures(folder).pictures)
            paths.push_back(std::move(picture.path));
    } catch (const error&) { // none
    }
    return paths;
}

} // namespace detail

/// Opens a data set by what is there, and says on stderr what was taken and why: in a folder, the processed
/// `<split>_images.npy` and `<split>_labels.npy` where they are of this shape, of uint8 and no older than the
/// folder's TFRecord files or pictures; else its TFRecord files; else its pictures. What is no folder is a
/// prefix of processed arrays or a pattern of TFRecord files. \param shape of the model's pictures \throws
/// io_error, format_error, data_error as the source that is taken.
inline AnySource<u8> open(const std::string& path, Shape shape, const StreamingOptions& options = {},
                          const std::string& split = "train") {
    const bool folder = detail::is_folder(path);
    const std::string prefix = folder ? path + "/" + split : path;
    const std::string images = prefix + "_images.npy";
    std::string rather;
    if (path_exists(images)) {
        auto raw = folder ? detail::newest(detail::records_in(path)) : std::nullopt;
        const bool pictures = folder && !raw;
        if (pictures) raw = detail::newest(detail::pictures_in(path));
        try {
            MemoryMapped<u8> processed(prefix);
            if (processed.shape() != shape)
                rather = text(", for ", images, " holds ", to_string(processed.shape()));
            else if (raw && std::filesystem::last_write_time(images) < *raw)
                rather = text(", for ", images, " is older");
            else {
                note(text(path, ": processed ", images,
                          !raw       ? ""
                          : pictures ? ", newer than the pictures"
                                     : ", newer than the TFRecord files"));
                return AnySource<u8>(std::move(processed));
            }
        } catch (const data_error& problem) {
            rather = text(", for ", problem.what());
        }
    }
    try {
        Streaming<u8> streaming(path, shape, options);
        note(text(path, ": streaming ", streaming.size(), " pictures, as ", streaming.place(0), rather));
        return AnySource<u8>(std::move(streaming));
    } catch (const error& problem) {
        if (rather.empty()) throw;
        throw data_error(text(problem.what(), "; the processed arrays were left aside", rather));
    }
}

} // namespace plimsoll::inline PLIMSOLL_ABI
