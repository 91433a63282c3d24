#pragma once
/// \file
/// For the fuzzers: a folder, where a parser or writer needs names and not only bytes.

#include <cstdlib>
#include <filesystem>
#include <string>

namespace fuzz {

/// In $TMPDIR, which tools/fuzz/run keeps in memory; gone with the object.
class Folder {
  public:
    Folder() : path_((std::filesystem::temp_directory_path() / "plimsoll-fuzz-XXXXXX").string()) {
        if (::mkdtemp(path_.data()) == nullptr) std::abort();
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    ~Folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    void clear() const {
        for (const auto& entry : std::filesystem::directory_iterator(path_))
            std::filesystem::remove_all(entry.path());
    }
    [[nodiscard]] const std::string& path() const { return path_; }

  private:
    std::string path_;
};

} // namespace fuzz
