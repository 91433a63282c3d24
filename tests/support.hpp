#pragma once
/// \file
/// What several test programs share: reference files, temporary folders, and the text of what is thrown.

#include <plimsoll/core/error.hpp>
#include <plimsoll/format/file.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

namespace support {

/// A file or folder of the reference data (PLIMSOLL_REFERENCE, else ../shared beside the repository), as in
/// `reference_path("golden/plain.json")`; when it is not there, says "skipped" and is empty.
inline std::optional<std::string> reference_path(const std::string& inside) {
    const char* named = std::getenv("PLIMSOLL_REFERENCE");
    const std::string folder = named != nullptr ? named : PLIMSOLL_SOURCE_DIR "/../shared";
    std::string path = folder + "/" + inside;
    if (std::filesystem::exists(path)) return path;
    MESSAGE("skipped: " << path << " is not there");
    return {};
}

/// A new folder, gone with the object.
class TemporaryFolder {
  public:
    TemporaryFolder() {
        std::string name = (std::filesystem::temp_directory_path() / "plimsoll-XXXXXX").string();
        REQUIRE(mkdtemp(name.data()) != nullptr);
        path_ = name;
    }
    ~TemporaryFolder() { std::filesystem::remove_all(path_); }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;

    [[nodiscard]] const std::string& path() const { return path_; }
    /// The path of a file in it.
    [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }

  private:
    std::string path_;
};

/// Writes a file and returns its path.
inline std::string write_file(const std::string& path, std::string_view content) {
    std::ofstream out(path, std::ios::binary | std::ios::trunc);
    out.write(content.data(), static_cast<std::streamsize>(content.size()));
    out.close();
    REQUIRE(out.good());
    return path;
}

/// What `call` throws, as text. Checks that it throws `Expected`, one of the library's errors.
template <class Expected = plimsoll::error, class Call>
std::string message_of(Call&& call) {
    static_assert(std::is_base_of_v<plimsoll::error, Expected>);
    try {
        call();
    } catch (const Expected& thrown) {
        return thrown.what();
    } catch (const std::exception& other) {
        FAIL_CHECK("threw another type: " << other.what());
        return other.what();
    }
    FAIL_CHECK("nothing was thrown");
    return "";
}

/// What `call` writes to stderr.
template <class Call>
std::string stderr_of(Call&& call) {
    const TemporaryFolder folder;
    std::fflush(stderr);
    const int saved = dup(STDERR_FILENO);
    const int file = ::open((folder / "stderr").c_str(), O_CREAT | O_WRONLY, 0600);
    REQUIRE(file >= 0);
    dup2(file, STDERR_FILENO);
    call();
    std::fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(file);
    close(saved);
    return plimsoll::read_all(folder / "stderr");
}

/// Whether `part` is in `whole`; says both when it is not.
inline bool contains(std::string_view whole, std::string_view part) {
    if (whole.find(part) != std::string_view::npos) return true;
    MESSAGE("\"" << std::string(part) << "\" is not in: " << std::string(whole));
    return false;
}

} // namespace support
