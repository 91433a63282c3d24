#pragma once
/// \file
/// How pictures are found, decoded and left out.

#include <plimsoll/core/process.hpp>
#include <plimsoll/format/picture.hpp>
#include <plimsoll/source/array_data.hpp>
#include <plimsoll/source/streaming.hpp>

#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace plimsoll::inline PLIMSOLL_ABI {

/// What one thread decodes with; as many as threads have read at once.
template <class PixelType>
struct Streaming<PixelType>::Worker {
    PictureDecoder decoder;
    std::vector<std::byte> buffer{};
};

template <class PixelType>
struct Streaming<PixelType>::Shared {
    std::mutex mutex;
    std::vector<std::unique_ptr<Worker>> idle;
    std::set<std::uint64_t> skipped;
};

template <class PixelType>
class Streaming<PixelType>::Lease {
  public:
    Lease(Shared& shared, Shape shape, Resampling how) : shared_(shared) {
        const std::lock_guard lock(shared.mutex);
        if (shared.idle.empty())
            shared.idle.push_back(std::make_unique<Worker>(Worker{PictureDecoder(shape, how)}));
        worker_ = std::move(shared.idle.back());
        shared.idle.pop_back();
    }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    ~Lease() {
        const std::lock_guard lock(shared_.mutex);
        shared_.idle.push_back(std::move(worker_));
    }
    Worker& worker() { return *worker_; }

  private:
    Shared& shared_;
    std::unique_ptr<Worker> worker_;
};

template <class PixelType>
Streaming<PixelType>::Streaming(const std::string& what, Shape shape, const StreamingOptions& options)
    : Streaming(what, open(what, options), shape, options) {}

template <class PixelType>
Streaming<PixelType>::Streaming(const std::vector<std::string>& shards, Shape shape,
                                const StreamingOptions& options)
    : Streaming(shards.empty() ? "no shards" : shards.front(),
                Pictures(detail::RecordPictures(shards, options)), shape, options) {}

template <class PixelType>
Streaming<PixelType>::Streaming(Streaming&&) noexcept = default;

template <class PixelType>
Streaming<PixelType>& Streaming<PixelType>::operator=(Streaming&&) noexcept = default;

template <class PixelType>
Streaming<PixelType>::~Streaming() = default;

template <class PixelType>
std::string Streaming<PixelType>::place(std::uint64_t sample) const {
    return std::visit([&](const auto& pictures) { return pictures.place(sample); }, pictures_);
}

template <class PixelType>
void Streaming<PixelType>::set_class_names(std::vector<std::string> names) {
    detail::check_class_names(name_, classes_, names);
    class_names_ = std::move(names);
}

template <class PixelType>
std::uint64_t Streaming<PixelType>::skipped() const {
    const std::lock_guard lock(shared_->mutex);
    return left_out_ + shared_->skipped.size();
}

template <class PixelType>
void Streaming<PixelType>::read(std::span<const std::uint64_t> samples, std::span<Pixel> images,
                                std::span<Label> labels) const {
    check_read(name_, size(), shape_, samples, images, labels);
    read(Subset(size()), samples, images, labels);
}

template <class PixelType>
void Streaming<PixelType>::read(const Subset& part, std::span<const std::uint64_t> samples,
                                std::span<Pixel> images, std::span<Label> labels) const {
    const auto pixels = static_cast<std::size_t>(shape_.size());
    Lease lease(*shared_, shape_, options_.resampling);
    for (std::size_t i = 0; i < samples.size(); ++i) {
        const std::span<Pixel> image = images.subspan(i * pixels, pixels); // (H, W, C)
        labels[i] = label(read_one(part, samples[i], image, lease.worker()));
    }
}

template <class PixelType>
Streaming<PixelType>::Streaming(std::string name, Pictures pictures, Shape shape,
                                const StreamingOptions& options)
    : name_(std::move(name)),
      pictures_(std::move(pictures)),
      shape_(shape),
      options_(options),
      shared_(std::make_unique<Shared>()) {
    if (shape.height < 1 || shape.width < 1 || (shape.channels != 1 && shape.channels != 3))
        throw argument_error(text("\"", name_, "\": pictures become gray or RGB, not ", to_string(shape)));
    std::visit([&](const auto& found) { take_stock(found); }, pictures_);
    readers_ = options.readers > 0 ? options.readers : std::max(available_threads() / 2, 1);
}

template <class PixelType>
template <class Found>
void Streaming<PixelType>::take_stock(const Found& found) {
    if constexpr (requires { found.left_out(); })
        for (const std::string& reason : found.left_out()) report_skip(++left_out_, reason);
    if constexpr (requires { found.strays(); })
        if (found.strays() > 0)
            warn(text("\"", name_, "\": ", found.strays(), " files are no pictures and were left out"));
    for (std::uint64_t sample = 0; sample < found.size(); ++sample) labels_.push_back(found.label(sample));
    detail::check_counts(labels_.size(), name_, labels_.size(), name_);
    classes_ = detail::count_classes(labels_, name_);
    class_names_ = found.class_names(classes_);
    classes_ = std::max(classes_, static_cast<int>(class_names_.size()));
}

template <class PixelType>
typename Streaming<PixelType>::Pictures Streaming<PixelType>::open(const std::string& what,
                                                                   const StreamingOptions& options) {
    if (!detail::is_folder(what)) return detail::RecordPictures(detail::expand(what), options);
    const std::vector<std::string> shards = detail::records_in(what);
    if (shards.empty()) return detail::FilePictures(what, options);
    return detail::RecordPictures(shards, options);
}

template <class PixelType>
std::uint64_t Streaming<PixelType>::read_one(const Subset& part, std::uint64_t sample, std::span<Pixel> image,
                                             Worker& worker) const {
    for (std::uint64_t step = 0; step < part.size(); ++step) {
        const std::uint64_t candidate = part[(sample + step) % part.size()];
        try {
            decode(candidate, image, worker);
            return candidate;
        } catch (const error& problem) {
            if (options_.corrupt == Corrupt::fail) throw;
            set_aside(candidate, problem);
        }
    }
    throw data_error(text("\"", name_, "\": no picture can be read"));
}

template <class PixelType>
void Streaming<PixelType>::decode(std::uint64_t sample, std::span<Pixel> image, Worker& worker) const {
    const std::span<const std::byte> stored =
        std::visit([&](const auto& pictures) { return pictures.read(sample, worker.buffer); }, pictures_);
    if (stored.size() == image.size() && !picture_kind(stored)) { // raw (H, W, C)
        std::memcpy(image.data(), stored.data(), stored.size());
        return;
    }
    worker.decoder.decode(stored, place(sample), image);
}

template <class PixelType>
void Streaming<PixelType>::set_aside(std::uint64_t sample, const error& problem) const {
    const std::lock_guard lock(shared_->mutex);
    if (shared_->skipped.insert(sample).second)
        report_skip(left_out_ + shared_->skipped.size(), problem.what());
}

template <class PixelType>
void Streaming<PixelType>::report_skip(std::uint64_t skipped, std::string_view reason) const {
    if (skipped > options_.most_corrupt)
        throw data_error(text("more than ", options_.most_corrupt, " pictures of \"", name_,
                              "\" cannot be read, the last: ", reason));
    warn(text("skipped: ", reason));
}

} // namespace plimsoll::inline PLIMSOLL_ABI
