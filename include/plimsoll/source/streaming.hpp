#pragma once
/// \file
/// The Source that decodes its pictures as they are asked for: TFRecord files and folders of JPEG and PNG.

#include <plimsoll/core/permutation.hpp>
#include <plimsoll/core/philox.hpp>
#include <plimsoll/core/process.hpp>
#include <plimsoll/format/example.hpp>
#include <plimsoll/format/picture.hpp>
#include <plimsoll/format/record_index.hpp>
#include <plimsoll/source/array_data.hpp>
#include <plimsoll/source/picture_folder.hpp>
#include <plimsoll/source/view.hpp>

#include <glob.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <set>
#include <variant>

namespace plimsoll::inline PLIMSOLL_ABI {

/// What happens to a picture that cannot be read.
enum class Corrupt {
    fail, ///< the exception goes to whoever trains
    skip  ///< the next sound one of its slice stands in, so that counts, order and resume stay as they are
};

/// How pictures are found and read.
struct StreamingOptions {
    std::string image_feature = "image"; ///< of a tf.train.Example: JPEG, PNG, or raw bytes (H, W, C)
    std::string label_feature = "label";
    Resampling resampling = Resampling::bilinear;
    int readers = 0; ///< decoding threads; 0: half of the processors this process may use, at least one
    Corrupt corrupt = Corrupt::fail;
    std::uint64_t most_corrupt = 100; ///< more pictures that cannot be read are an error after all
    std::uint64_t seed = 0;           ///< of the order in which a folder's pictures are numbered
    /// Called while the index of a TFRecord file is made: bytes done, bytes in all. Where it is none, a line
    /// on stderr tells, if that is a terminal and it takes longer than a moment.
    IndexProgress index_progress{};
};

namespace detail {

/// Tells how far the index of a file is, in one line that is written over.
/// \param after seconds without a word
inline IndexProgress index_line(std::FILE* out, const std::string& path, double after = 0.5) {
    const auto now = [] { return std::chrono::steady_clock::now(); };
    return [=, began = now(), told = false](std::uint64_t done, std::uint64_t total) mutable {
        if (!told && std::chrono::duration<double>(now() - began).count() < after) return;
        told = true;
        const double percent = 100 * static_cast<double>(done) / static_cast<double>(total);
        std::fprintf(out, "\rplimsoll: indexing %s %.0f %%%s", path.c_str(), percent,
                     done == total ? "\n" : "");
    };
}

/// The pictures of TFRecord files, numbered through.
class RecordPictures {
  public:
    RecordPictures(const std::vector<std::string>& paths, const StreamingOptions& options)
        : image_feature_(options.image_feature), label_feature_(options.label_feature) {
        for (const std::string& path : paths) {
            starts_.push_back(size_);
            IndexProgress progress = options.index_progress;
            if (!progress && ::isatty(STDERR_FILENO) == 1) progress = index_line(stderr, path);
            shards_.push_back(
                open_index(path, options.label_feature, progress,
                           options.corrupt == Corrupt::skip ? OnUnreadable::mark : OnUnreadable::fail));
            leave_out_unreadable();
            size_ += readable_.back() ? readable_.back()->size() : shards_.back().size();
        }
    }
    /// Why records were left out, a sentence each.
    [[nodiscard]] const std::vector<std::string>& left_out() const { return left_out_; }
    [[nodiscard]] std::uint64_t size() const { return size_; }
    /// As TensorFlow Datasets writes them beside the records, or plimsoll-preprocess does.
    [[nodiscard]] std::vector<std::string> class_names(int classes) const {
        const std::string& path = shards_.front().path();
        std::vector<std::string> names = class_names_beside(path, classes, label_feature_ + ".labels.txt");
        return names.empty() ? class_names_beside(path, classes) : names;
    }
    [[nodiscard]] Label label(std::uint64_t sample) const {
        const auto [shard, number] = locate(sample);
        const std::int64_t label = shard->label(number);
        if (label < 0 || label > largest_label)
            throw data_error(text("\"", shard->path(), "\", record ", number, ": label ", label,
                                  ": labels are from 0 to 2147483646"));
        return static_cast<Label>(label);
    }
    [[nodiscard]] std::string place(std::uint64_t sample) const {
        const auto [shard, number] = locate(sample);
        return text(shard->path(), ", record ", number, " at ", shard->extent(number).offset);
    }
    /// The stored picture; views `buffer`.
    std::span<const std::byte> read(std::uint64_t sample, std::vector<std::byte>& buffer) const {
        const auto [shard, number] = locate(sample);
        return Features(shard->read(number, buffer)).at(image_feature_).bytes();
    }

  private:
    [[nodiscard]] std::pair<const RecordIndex*, std::uint64_t> locate(std::uint64_t sample) const {
        const auto shard = static_cast<std::size_t>(std::upper_bound(starts_.begin(), starts_.end(), sample) -
                                                    starts_.begin() - 1);
        const std::uint64_t number = sample - starts_[shard];
        return {&shards_[shard],
                readable_[shard] ? (*readable_[shard])[static_cast<std::size_t>(number)] : number};
    }
    /// Of the last shard. A record without a label cannot be a sample, nor another stand in for it.
    void leave_out_unreadable() {
        const RecordIndex& shard = shards_.back();
        std::optional<std::vector<std::uint64_t>>& readable = readable_.emplace_back();
        std::vector<std::byte> buffer;
        for (std::uint64_t number = 0; number < shard.size(); ++number) {
            if (shard.is_readable(number)) {
                if (readable) readable->push_back(number);
                continue;
            }
            if (!readable) {
                readable.emplace(static_cast<std::size_t>(number));
                std::iota(readable->begin(), readable->end(), std::uint64_t{0});
            }
            try { // once more, for the reason
                static_cast<void>(Features(shard.read(number, buffer)).at(label_feature_).int64());
                left_out_.push_back(text("\"", shard.path(), "\", record ", number, " has no label"));
            } catch (const error& why) {
                left_out_.push_back(why.what());
            }
        }
    }
    std::string image_feature_, label_feature_;
    std::vector<RecordIndex> shards_;
    std::vector<std::uint64_t> starts_; ///< of each shard, its first sample
    /// Of each shard, which records are samples; nothing: all of them.
    std::vector<std::optional<std::vector<std::uint64_t>>> readable_;
    std::uint64_t size_ = 0;
    std::vector<std::string> left_out_;
};

/// The pictures of a folder, in an order drawn by a seed: any part of it holds every class.
class FilePictures {
  public:
    FilePictures(const std::string& folder, const StreamingOptions& options)
        : listed_(list_pictures(folder)),
          order_(listed_.pictures.size(), stream_key(options.seed, Purpose::shuffle)) {}
    [[nodiscard]] std::uint64_t size() const { return listed_.pictures.size(); }
    [[nodiscard]] const std::vector<std::string>& class_names(int) const { return listed_.class_names; }
    [[nodiscard]] Label label(std::uint64_t sample) const { return at(sample).label; }
    [[nodiscard]] std::string place(std::uint64_t sample) const { return at(sample).path; }
    std::span<const std::byte> read(std::uint64_t sample, std::vector<std::byte>& buffer) const {
        const File file(at(sample).path);
        const auto size = static_cast<std::size_t>(file.size());
        if (buffer.size() < size) buffer.resize(size);
        file.read_at(0, std::span(buffer).first(size));
        return std::span<const std::byte>(buffer).first(size);
    }
    [[nodiscard]] std::uint64_t strays() const { return listed_.strays; }

  private:
    [[nodiscard]] const PictureFolder::Picture& at(std::uint64_t sample) const {
        return listed_.pictures[static_cast<std::size_t>(order_[sample])];
    }
    PictureFolder listed_;
    Permutation order_;
};

inline bool is_folder(const std::string& path) {
    struct stat facts {};
    return ::stat(path.c_str(), &facts) == 0 && S_ISDIR(facts.st_mode);
}

/// Whether a file lies beside records and tells where they are, or is being written to.
inline bool is_record_index(const std::string& path) {
    return path.find(record_index_suffix, path.rfind('/') + 1) != std::string::npos;
}

/// A folder's TFRecord files, sorted. Empty where it cannot be read: whoever looks for pictures then says so.
inline std::vector<std::string> records_in(const std::string& folder) {
    std::vector<std::string> paths;
    try {
        for (const auto& entry : std::filesystem::directory_iterator(folder)) {
            const std::string name = entry.path().filename().string();
            if (!name.starts_with('.') && name.find(".tfrecord") != std::string::npos &&
                !is_record_index(name) && entry.is_regular_file())
                paths.push_back(text(folder, '/', name));
        }
    } catch (const std::filesystem::filesystem_error&) {
        return {};
    }
    std::sort(paths.begin(), paths.end());
    return paths;
}

/// The files that a pattern names, sorted. \throws io_error where there are none.
inline std::vector<std::string> expand(const std::string& pattern) {
    if (path_exists(pattern)) return {pattern}; // a name may hold what patterns are made of
    ::glob_t found{};
    const int failed = ::glob(pattern.c_str(), GLOB_BRACE | GLOB_TILDE, nullptr, &found);
    std::vector<std::string> paths(found.gl_pathv, found.gl_pathv + (failed == 0 ? found.gl_pathc : 0));
    ::globfree(&found);
    std::erase_if(paths, is_record_index);
    if (paths.empty()) throw io_error(text("no file is named \"", pattern, '"'));
    return paths;
}

} // namespace detail

/// Pictures decoded and resized as they are asked for, by several threads ahead of the device. In memory are
/// labels and where each picture lies, nothing else; the order is exact, whatever the size.
/// \tparam PixelType u8
template <class PixelType = u8>
class Streaming : public Sliceable<Streaming<PixelType>> {
  public:
    using Pixel = PixelType;
    static_assert(std::same_as<Pixel, u8>, "plimsoll: write Streaming<u8>: decoded pictures are bytes");
    static constexpr int read_ahead = 1;

    /// \param what a folder of pictures (a folder a class, or cat.0.jpg), a folder of TFRecord files, or a
    /// pattern of TFRecord files: "train.tfrecord-*" \param shape what pictures are resized to
    /// \throws io_error, format_error, data_error naming file and record.
    Streaming(const std::string& what, Shape shape, const StreamingOptions& options = {});
    /// \param shards TFRecord files.
    Streaming(const std::vector<std::string>& shards, Shape shape, const StreamingOptions& options = {});
    Streaming(Streaming&&) noexcept;
    Streaming& operator=(Streaming&&) noexcept;
    ~Streaming();

    [[nodiscard]] std::uint64_t size() const { return labels_.size(); }
    [[nodiscard]] Shape shape() const { return shape_; }
    [[nodiscard]] int classes() const { return classes_; }
    [[nodiscard]] const std::vector<std::string>& class_names() const { return class_names_; }
    [[nodiscard]] const std::string& name() const { return name_; }
    [[nodiscard]] Label label(std::uint64_t sample) const {
        return labels_[static_cast<std::size_t>(sample)];
    }
    /// Where a sample is stored: the file, and in it the record and its offset.
    [[nodiscard]] std::string place(std::uint64_t sample) const;
    [[nodiscard]] int reader_threads() const { return readers_; }

    /// Names for reports, in the labels' order. \throws argument_error for fewer than classes().
    void set_class_names(std::vector<std::string> names);

    /// Pictures so far that could not be read (Corrupt::skip). Others stood in their place; records that the
    /// index knows as damaged are not among the samples at all.
    [[nodiscard]] std::uint64_t skipped() const;

    /// \param samples indexes below size() \param images (n, H, W, C) \param labels (n)
    /// \throws argument_error; io_error, format_error, data_error naming file and record of a picture that
    /// cannot be read.
    void read(std::span<const std::uint64_t> samples, std::span<Pixel> images, std::span<Label> labels) const;
    /// The same of a part, which a picture that stands in for another comes from too.
    /// \param samples below part.size()
    void read(const Subset& part, std::span<const std::uint64_t> samples, std::span<Pixel> images,
              std::span<Label> labels) const;

  private:
    using Pictures = std::variant<detail::RecordPictures, detail::FilePictures>;

    struct Worker; ///< what one thread decodes with
    struct Shared;
    class Lease;

    Streaming(std::string name, Pictures pictures, Shape shape, const StreamingOptions& options);

    template <class Found>
    void take_stock(const Found& found);

    static Pictures open(const std::string& what, const StreamingOptions& options);

    /// \returns the source's sample that was read: one behind it in the part where it is corrupt and skipped.
    std::uint64_t read_one(const Subset& part, std::uint64_t sample, std::span<Pixel> image,
                           Worker& worker) const;
    void decode(std::uint64_t sample, std::span<Pixel> image, Worker& worker) const;
    void set_aside(std::uint64_t sample, const error& problem) const;
    void report_skip(std::uint64_t skipped, std::string_view reason) const;

    std::string name_;
    Pictures pictures_;
    Shape shape_;
    StreamingOptions options_;
    std::vector<Label> labels_; // (N)
    std::uint64_t left_out_ = 0;
    int classes_ = 0, readers_ = 1;
    std::vector<std::string> class_names_;
    std::unique_ptr<Shared> shared_;
};

} // namespace plimsoll::inline PLIMSOLL_ABI

#if PLIMSOLL_DEFINITIONS
#include <plimsoll/source/streaming_definitions.hpp>
#else
namespace plimsoll::inline PLIMSOLL_ABI {
extern template class Streaming<u8>;
}
#endif
