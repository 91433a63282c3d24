#pragma once
/// \file
/// Folders of pictures: one folder a class, or one folder of files named cat.0.jpg.

#include <plimsoll/core/error.hpp>
#include <plimsoll/core/storage.hpp>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

/// The pictures of a folder, each with its class.
struct PictureFolder {
    struct Picture {
        std::string path;
        Label label = 0;
    };
    std::vector<Picture> pictures;        ///< by class, then by path
    std::vector<std::string> class_names; ///< sorted; labels count from 0 in this order
    std::uint64_t strays = 0;             ///< files that are no pictures, by their endings
};

namespace detail {

inline std::string lower_case(std::string text) {
    for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return text;
}

inline bool has_picture_ending(const std::filesystem::path& path) {
    const std::string ending = lower_case(path.extension().string());
    return ending == ".jpg" || ending == ".jpeg" || ending == ".png";
}

/// "cat" of "cat.0.jpg"; empty where no class can be told.
inline std::string class_in_name(const std::filesystem::path& path) {
    const std::string name = path.filename().string();
    const std::size_t dot = name.find('.');
    return dot < name.rfind('.') ? name.substr(0, dot) : "";
}

/// Whether folders hold parts of a data set, as train/cat/1.jpg or train/cat.1.jpg, and are no classes.
inline bool are_parts(const std::string& folder,
                      const std::map<std::string, std::vector<std::string>>& folders) {
    constexpr std::string_view names[] = {"train",      "training", "val",    "valid",
                                          "validation", "test",     "testing"};
    return std::all_of(folders.begin(), folders.end(), [&](const auto& entry) {
        const auto is_of_class = [&](const std::filesystem::path& path) { // that the folder is
            return path.parent_path() == std::filesystem::path(folder) / entry.first &&
                   class_in_name(path).empty();
        };
        return std::find(std::begin(names), std::end(names), lower_case(entry.first)) != std::end(names) &&
               std::none_of(entry.second.begin(), entry.second.end(), is_of_class);
    });
}

} // namespace detail

/// Lists a folder's pictures (.jpg, .jpeg, .png; not what is hidden). A folder in it is a class, with all
/// that lies below; where there is none, names like cat.0.jpg tell the class. Links to folders are not
/// followed, so that none leads in a circle. \throws io_error where the folder cannot be read, data_error
/// where it holds no pictures, pictures of one class only, both folders of classes and pictures beside
/// them, or the parts of a data set.
inline PictureFolder list_pictures(const std::string& folder) {
    namespace fs = std::filesystem;
    PictureFolder listed;
    std::map<std::string, std::vector<std::string>> classes, named;
    std::uint64_t unnamed = 0;
    const auto is_hidden = [](const fs::path& path) { return path.filename().string().starts_with('.'); };
    try {
        for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
            if (is_hidden(entry.path())) {
                ++listed.strays;
                continue;
            }
            if (entry.is_directory() && !entry.is_symlink()) {
                std::vector<std::string>& pictures = classes[entry.path().filename().string()];
                for (fs::recursive_directory_iterator inner(entry.path()), end; inner != end; ++inner) {
                    const bool hidden = is_hidden(inner->path());
                    if (hidden) inner.disable_recursion_pending();
                    if (!hidden && !inner->is_regular_file()) continue;
                    if (!hidden && detail::has_picture_ending(inner->path()))
                        pictures.push_back(inner->path().string());
                    else
                        ++listed.strays;
                }
                continue;
            }
            if (!entry.is_regular_file() || !detail::has_picture_ending(entry.path())) {
                ++listed.strays;
                continue;
            }
            const std::string name = detail::class_in_name(entry.path());
            unnamed += name.empty();
            named[name].push_back(entry.path().string());
        }
    } catch (const fs::filesystem_error& problem) {
        throw io_error(text("cannot read the folder \"", folder, "\": ", problem.code().message()));
    }
    std::erase_if(classes, [](const auto& entry) { return entry.second.empty(); });
    const auto refuse = [&](std::string_view what) {
        return data_error(text("\"", folder, "\" ", what,
                               ": Plimsoll reads a folder for each class, or files named cat.0.jpg"));
    };
    if (!classes.empty() && !named.empty())
        throw refuse(text("holds folders of pictures and, beside them, ", named.begin()->second.front()));
    if (!classes.empty() && detail::are_parts(folder, classes))
        throw data_error(text("\"", folder, "\" holds parts of a data set, not classes: name one of them, \"",
                              (fs::path(folder) / classes.begin()->first).string(), "\""));
    if (classes.empty() && unnamed > 0)
        throw refuse(text("holds ", unnamed, " pictures whose names tell no class, as ", named[""].front()));
    if (classes.empty()) classes = std::move(named);
    if (classes.empty()) throw refuse(text("holds no .jpg, .jpeg or .png (", listed.strays, " other files)"));
    if (classes.size() == 1) throw refuse(text("holds one class only, \"", classes.begin()->first, "\""));
    for (auto& [name, paths] : classes) {
        std::sort(paths.begin(), paths.end());
        const auto label = static_cast<Label>(listed.class_names.size());
        for (std::string& path : paths) listed.pictures.push_back({std::move(path), label});
        listed.class_names.push_back(name);
    }
    return listed;
}

} // namespace plimsoll::inline PLIMSOLL_ABI
