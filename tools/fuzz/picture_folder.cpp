// libFuzzer: lines as the paths of up to 16 entries of a folder, whose pictures are listed. A line that ends
// in a slash is a folder; "name>f", ">p" and ">n" are links to a folder, a picture and nothing.
//   clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude tools/fuzz/picture_folder.cpp

#include "folder.hpp"
#include "memory_file.hpp"

#include <plimsoll/source/picture_folder.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

using namespace plimsoll;

namespace {

enum class Kind { folder, file, other };
using Entries = std::map<std::string, Kind>; // by path within the folder

std::vector<std::string> split(std::string_view text, char by) {
    std::vector<std::string> parts;
    for (;;) {
        const std::size_t end = text.find(by);
        parts.emplace_back(text.substr(0, end));
        if (end == std::string_view::npos) return parts;
        text.remove_prefix(end + 1);
    }
}

/// Makes what a line says, its folders included, and notes it; nothing where a name is none or is taken.
void make(const std::string& root, std::string line, Entries& entries) {
    Kind kind = Kind::file;
    const char* target = nullptr;
    if (line.ends_with('/')) {
        kind = Kind::folder;
        line.pop_back();
    } else if (line.ends_with(">f") || line.ends_with(">n") || line.ends_with(">p")) {
        target = line.back() == 'f' ? "/" : line.back() == 'n' ? "/none" : "/proc/self/exe";
        kind = line.back() == 'p' ? Kind::file : Kind::other;
        line.resize(line.size() - 2);
    }
    const std::vector<std::string> parts = split(line, '/');
    if (parts.size() > 4) return;
    std::string path;
    for (std::size_t i = 0; i < parts.size(); ++i) {
        const std::string& name = parts[i];
        if (name.empty() || name == "." || name == ".." || name.size() > 200) return;
        if (name.find('\0') != std::string::npos) return;
        path += (i == 0 ? "" : "/") + name;
        const std::string full = root + "/" + path;
        const bool last = i + 1 == parts.size();
        const Kind wanted = last ? kind : Kind::folder;
        if (const auto there = entries.find(path); there != entries.end()) {
            if (last || there->second != Kind::folder || ::access((full + "/.").c_str(), F_OK) != 0) return;
            continue;
        }
        if (wanted == Kind::folder) {
            fuzz::require(::mkdir(full.c_str(), 0700) == 0);
        } else if (target != nullptr) {
            fuzz::require(::symlink(target, full.c_str()) == 0);
        } else {
            const int file = ::open(full.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0600);
            fuzz::require(file >= 0 && ::close(file) == 0);
        }
        entries[path] = wanted;
    }
}

bool is_picture(std::string name) {
    for (char& c : name)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return name.ends_with(".jpg") || name.ends_with(".jpeg") || name.ends_with(".png");
}

/// What the folder's listing must be; nothing where it must be refused.
std::optional<PictureFolder> expected(const std::string& root, const Entries& entries) {
    PictureFolder listed;
    std::map<std::string, std::map<std::string, bool>> folders, names; // the paths of a class, sorted
    bool unnamed = false;
    for (const auto& [path, kind] : entries) {
        const std::vector<std::string> parts = split(path, '/');
        std::size_t hidden = 0; // the first part that is
        while (hidden < parts.size() && !parts[hidden].starts_with('.')) ++hidden;
        const std::string& name = parts.back();
        if (hidden + 1 < parts.size()) continue; // lies in a hidden folder
        if (hidden < parts.size()) {
            ++listed.strays;
        } else if (parts.size() > 1) {
            if (kind == Kind::file && is_picture(name)) folders[parts[0]][root + "/" + path] = true;
            if (kind == Kind::file && !is_picture(name)) ++listed.strays;
        } else if (kind == Kind::file && is_picture(name)) {
            const std::vector<std::string> words = split(name, '.');
            if (words.size() < 3) unnamed = true;
            names[words[0]][root + "/" + path] = true;
        } else if (kind != Kind::folder) {
            ++listed.strays;
        }
    }
    if (!folders.empty() && !names.empty()) return {};
    if (folders.empty() && unnamed) return {};
    const auto& classes = folders.empty() ? names : folders;
    if (classes.size() < 2) return {};
    for (const auto& [name, paths] : classes) {
        for (const auto& [path, _] : paths)
            listed.pictures.push_back({path, static_cast<Label>(listed.class_names.size())});
        listed.class_names.push_back(name);
    }
    return listed;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const fuzz::Folder folder;
    folder.clear();
    Entries entries;
    std::vector<std::string> lines = split({reinterpret_cast<const char*>(data), size}, '\n');
    if (lines.size() > 16) lines.resize(16);
    for (std::string& line : lines) make(folder.path(), std::move(line), entries);
    const auto wanted = expected(folder.path(), entries);
    try {
        const PictureFolder listed = list_pictures(folder.path());
        fuzz::require(wanted && listed.class_names == wanted->class_names && listed.strays == wanted->strays);
        fuzz::require(listed.pictures.size() == wanted->pictures.size());
        for (std::size_t i = 0; i < listed.pictures.size(); ++i)
            fuzz::require(listed.pictures[i].path == wanted->pictures[i].path &&
                          listed.pictures[i].label == wanted->pictures[i].label);
    } catch (const data_error&) {
        fuzz::require(!wanted);
    }
    return 0;
}
