// Raw to processed: TFRecord files or a folder of pictures become train, val and test arrays that NumPy opens
// too. Pictures pass through a few slots of memory; a run that was interrupted is continued by the same
// command.
#include <plimsoll/core/units.hpp>
#include <plimsoll/source/open.hpp>
#include <plimsoll/source/prefetch.hpp>
#include <plimsoll/trainer/interrupt.hpp>
#include <plimsoll/trainer/progress.hpp>

#include <CLI/CLI.hpp>

#include <sys/file.h>

#include <array>
#include <cstdio>
#include <map>
#include <sstream>
#include <thread>

using namespace plimsoll;
namespace fs = std::filesystem;

namespace {

constexpr const char* record_name = ".plimsoll-preprocess";
constexpr const char* classes_name = "classes.txt";
constexpr std::array<const char*, 3> split_names = {"train", "val", "test"};

struct Options {
    std::vector<std::string> inputs;
    std::string output, split = "70/15/15", dtype = "uint8", corrupt = "fail";
    int size = 150, channels = 3, threads = 0;
    StreamingOptions source{};
    bool antialias = false, overwrite = false;

    [[nodiscard]] Shape shape() const { return {size, size, channels}; }
    [[nodiscard]] DType pixels() const { return dtype == "uint8" ? dtype_of<u8> : dtype_of<float>; }
    [[nodiscard]] bool skips() const { return corrupt == "skip"; }
};

/// Ctrl-C: what is done is recorded, and the program ends.
struct Stopped {};

/// A line that redraws itself on a terminal; elsewhere only its end is told.
class Bar {
  public:
    Bar(std::string what, std::uint64_t total, std::uint64_t done)
        : what_(std::move(what)), total_(total), began_at_(done) {
        const char* term = std::getenv("TERM");
        terminal_ = isatty(STDERR_FILENO) == 1 && term != nullptr && std::string_view(term) != "dumb";
    }
    Bar(const Bar&) = delete;
    Bar& operator=(const Bar&) = delete;
    ~Bar() { clear(); }

    /// Takes the line away, so that what others write has one of its own.
    void clear() {
        if (drawn_ > 0) std::fputs("\r\033[K", stderr);
        drawn_ = 0;
    }

    void update(std::uint64_t done) {
        const double now = detail::monotonic_seconds();
        if (!terminal_ || now - drawn_ < 0.1) return;
        drawn_ = now;
        constexpr std::size_t cells = 20;
        const std::size_t full = static_cast<std::size_t>(done * cells / std::max<std::uint64_t>(total_, 1));
        detail::LineBuffer line;
        line.add("%s [", what_.c_str());
        for (std::size_t i = 0; i < cells; ++i) line.put(i < full ? '=' : i == full ? '>' : ' ');
        line.put(']');
        line.add("%llu/%llu", static_cast<unsigned long long>(done), static_cast<unsigned long long>(total_));
        if (const double speed = static_cast<double>(done - began_at_) / (now - began_); speed > 0) {
            detail::add_speed(line, speed);
            detail::add_eta(line, static_cast<double>(total_ - done) / speed);
        }
        line.cut(79);
        std::fprintf(stderr, "\r%.*s\033[K", static_cast<int>(line.size()), line.view().data());
    }
    [[nodiscard]] double seconds() const { return detail::monotonic_seconds() - began_; }

  private:
    std::string what_;
    std::uint64_t total_, began_at_;
    bool terminal_ = false;
    double began_ = detail::monotonic_seconds(), drawn_ = 0;
};

/// What the output folder says of itself: the parameters and inputs that its splits were made from, and how
/// many pictures of each are durable.
class RunRecord {
  public:
    explicit RunRecord(const std::string& folder) : path_(folder + "/" + record_name) {}

    void add(std::string line) {
        std::replace(line.begin(), line.end(), '\n', ' ');
        facts_.push_back(std::move(line));
    }
    [[nodiscard]] bool stored() const { return path_exists(path_); }
    /// Takes the progress of the stored record. \returns the facts that differ, empty for none.
    std::string resume() {
        std::vector<std::string> before;
        std::map<std::string, std::uint64_t> done;
        std::istringstream lines(read_all(path_));
        for (std::string line; std::getline(lines, line);) {
            std::istringstream words(line);
            std::string word, split;
            std::uint64_t count = 0;
            if (words >> word >> split >> count && word == "done")
                done[split] = count;
            else
                before.push_back(line);
        }
        // Where pictures that cannot be read ended a run, nothing stands in yet: skipping them may go on.
        for (std::string& line : before)
            if (line == "corrupt fail" && std::count(facts_.begin(), facts_.end(), "corrupt skip") > 0)
                line = "corrupt skip";
        std::string differs;
        std::size_t told = 0;
        const auto tell = [&](const char* word, const auto& these, const auto& others) {
            for (const std::string& line : these)
                if (std::find(others.begin(), others.end(), line) == others.end() && ++told <= 8)
                    differs += text("\n  ", word, ' ', line);
        };
        tell("was", before, facts_);
        tell("now", facts_, before);
        if (told == 0 && before != facts_) differs = "\n  the order of its inputs";
        if (differs.empty()) done_ = std::move(done);
        return differs;
    }
    [[nodiscard]] std::uint64_t done(const std::string& split) const {
        const auto found = done_.find(split);
        return found == done_.end() ? 0 : found->second;
    }
    /// \throws io_error; what was recorded before still is.
    void store(const std::string& split, std::uint64_t count) {
        done_[split] = count;
        store();
    }
    void store() const {
        std::string content;
        for (const std::string& line : facts_) content += line + "\n";
        for (const auto& [split, count] : done_) content += text("done ", split, ' ', count, '\n');
        write_atomically(path_, content);
    }

  private:
    std::string path_;
    std::vector<std::string> facts_;
    std::map<std::string, std::uint64_t> done_;
};

/// Pictures of a source that could not be read, whichever split wanted them.
class Skipped {
  public:
    explicit Skipped(std::uint64_t most) : most_(most) {}
    void add(std::uint64_t sample, const error& problem) {
        const std::lock_guard lock(mutex_);
        if (!samples_.insert(sample).second) return;
        if (samples_.size() > most_)
            throw data_error(
                text("more than ", most_, " pictures cannot be read, the last: ", problem.what()));
        warn(text("skipped: ", problem.what()));
    }
    [[nodiscard]] std::size_t size() const { return samples_.size(); }

  private:
    std::uint64_t most_;
    std::mutex mutex_;
    std::set<std::uint64_t> samples_;
};

/// Part of the shuffled data set. Where a picture cannot be read, the next one of the same split stands in:
/// Streaming would take one that may belong to another split.
class Split {
  public:
    using Pixel = u8;

    Split(const Streaming<u8>& pictures, const Permutation* order, SampleRange range, Skipped* skipped)
        : pictures_(pictures), order_(order), range_(range), skipped_(skipped) {}

    [[nodiscard]] std::uint64_t size() const { return range_.count; }
    [[nodiscard]] Shape shape() const { return pictures_.shape(); }
    [[nodiscard]] int classes() const { return pictures_.classes(); }
    [[nodiscard]] const std::vector<std::string>& class_names() const { return pictures_.class_names(); }
    [[nodiscard]] const std::string& name() const { return pictures_.name(); }
    [[nodiscard]] Label label(std::uint64_t sample) const { return pictures_.label(place(sample)); }

    void read(std::span<const std::uint64_t> samples, std::span<u8> images, std::span<Label> labels) const {
        const auto pixels = static_cast<std::size_t>(shape().size());
        for (std::size_t i = 0; i < samples.size(); ++i)
            read_one(samples[i], images.subspan(i * pixels, pixels), labels.subspan(i, 1));
    }

  private:
    [[nodiscard]] std::uint64_t place(std::uint64_t sample) const {
        return order_ != nullptr ? (*order_)[range_.first + sample] : range_.first + sample;
    }
    void read_one(std::uint64_t sample, std::span<u8> image, std::span<Label> label) const {
        for (std::uint64_t tried = 0; tried < size(); ++tried) {
            const std::uint64_t wanted = place((sample + tried) % size());
            try {
                pictures_.read(std::span(&wanted, 1), image, label);
                return;
            } catch (const error& problem) {
                if (skipped_ == nullptr) throw;
                skipped_->add(wanted, problem);
            }
        }
        throw data_error("no picture of a split can be read");
    }

    const Streaming<u8>& pictures_;
    const Permutation* order_; ///< null: as they lie
    SampleRange range_;
    Skipped* skipped_; ///< null: a picture that cannot be read is an error
};
static_assert(source<Split>);

/// The inputs as one data set: TFRecord files, or a folder of pictures.
struct Inputs {
    std::vector<std::string> shards;
    std::string folder;
};

Inputs find_inputs(const std::vector<std::string>& named) {
    Inputs inputs;
    std::set<std::string> seen;
    for (const std::string& input : named) {
        if (detail::is_record_index(input)) continue; // a shell's * matches indexes too
        std::vector<std::string> paths;
        if (!detail::is_folder(input)) {
            paths = path_exists(input) ? std::vector{input} : detail::expand(input);
        } else {
            paths = detail::records_in(input);
            if (paths.empty() && named.size() > 1)
                throw argument_error(text("\"", input, "\" is a folder without TFRecord files; a folder ",
                                          "of pictures is a data set of its own"));
            if (paths.empty()) inputs.folder = input;
        }
        for (const std::string& path : paths)
            if (!seen.insert(fs::weakly_canonical(path).string()).second)
                throw argument_error(text("\"", path, "\" is named twice"));
        inputs.shards.insert(inputs.shards.end(), paths.begin(), paths.end());
    }
    if (inputs.folder.empty() && inputs.shards.empty()) throw argument_error("no input but index files");
    // The same files are the same data set, in whatever order they are named.
    std::sort(inputs.shards.begin(), inputs.shards.end());
    return inputs;
}

/// A later run would take what is written there for part of the data.
void check_output(const Inputs& inputs, const std::string& output) {
    if (inputs.folder.empty()) return;
    const std::string folder = fs::weakly_canonical(inputs.folder).string();
    const std::string inside = fs::weakly_canonical(fs::absolute(output)).string();
    if (text(inside, '/').starts_with(text(folder, '/')))
        throw argument_error(text("--output \"", output, "\" is inside the input folder \"", inputs.folder,
                                  "\": choose a folder outside"));
}

std::array<std::uint64_t, 3> parse_split(const std::string& split) {
    std::array<std::uint64_t, 3> shares{};
    std::size_t at = 0;
    for (std::size_t i = 0; i < 3; ++i) {
        const auto [end, code] = std::from_chars(split.data() + at, split.data() + split.size(), shares[i]);
        const auto next = static_cast<std::size_t>(end - split.data());
        const bool ends = i < 2 ? next < split.size() && split[next] == '/' : next == split.size();
        if (code != std::errc() || !ends || shares[i] > 1'000'000)
            throw argument_error(
                text("--split \"", split, "\": write the shares of train, val and test as in 70/15/15"));
        at = next + 1;
    }
    return shares;
}

/// Train and val rounded down, the rest test. \throws data_error naming a split that would be empty.
std::array<SampleRange, 3> split_ranges(const std::string& split, std::uint64_t size) {
    const auto shares = parse_split(split);
    const std::uint64_t whole = shares[0] + shares[1] + shares[2];
    std::array<SampleRange, 3> ranges{};
    std::uint64_t first = 0;
    for (std::size_t i = 0; i < 3; ++i) {
        ranges[i] = {first, i == 2 ? size - first : size * shares[i] / std::max<std::uint64_t>(whole, 1)};
        if (ranges[i].count == 0 || shares[i] == 0)
            throw data_error(text(split_names[i], " would be empty: ", size, " pictures split as ", split));
        first += ranges[i].count;
    }
    return ranges;
}

void tell_missing_classes(const char* name, const Split& split, const Streaming<u8>& pictures,
                          const std::vector<std::uint64_t>& all) {
    std::vector<std::uint64_t> counts(all.size());
    for (std::uint64_t sample = 0; sample < split.size(); ++sample)
        ++counts[static_cast<std::size_t>(split.label(sample))];
    for (std::size_t label = 0; label < all.size(); ++label)
        if (counts[label] == 0 && all[label] > 0) {
            const auto& names = pictures.class_names();
            warn(text(name, " has no picture of class ", label,
                      label < names.size() ? text(" (", names[label], ")") : "", ", of which there are ",
                      all[label]));
        }
}

std::string modified_text(const std::string& path) {
    struct stat facts {};
    if (::stat(path.c_str(), &facts) != 0) throw detail::system_failure("inspect", path, errno);
    return text(static_cast<std::uint64_t>(facts.st_size), " bytes, modified ",
                std::int64_t{facts.st_mtim.tv_sec}, '.', std::int64_t{facts.st_mtim.tv_nsec});
}

/// Everything that decides what is written.
void describe(RunRecord& record, const Options& options, const Inputs& inputs,
              const Streaming<u8>& pictures) {
    record.add("plimsoll-preprocess 1");
    record.add(text("shape ", to_string(options.shape())));
    record.add(text("dtype ", options.dtype));
    record.add(text("split ", options.split));
    record.add(text("seed ", options.source.seed));
    record.add(text("antialias ", options.antialias ? "yes" : "no"));
    record.add(text("corrupt ", options.corrupt));
    record.add(text("pictures ", pictures.size()));
    if (!inputs.folder.empty()) { // one line for all files, in their order
        std::uint32_t checksum = 0;
        for (std::uint64_t sample = 0; sample < pictures.size(); ++sample) {
            const std::string path = pictures.place(sample);
            const std::string line = text(path.substr(inputs.folder.size()), ' ', modified_text(path), '\n');
            checksum = crc32c(std::as_bytes(std::span(line)), checksum);
        }
        record.add(
            text("input of ", pictures.class_names().size(), " classes, names, sizes and times ", checksum));
        return;
    }
    record.add(text("image-feature ", options.source.image_feature));
    record.add(text("label-feature ", options.source.label_feature));
    for (const std::string& path : inputs.shards) {
        const detail::DataFacts facts = detail::data_facts(File(path));
        record.add(text("input ", fs::path(path).filename().string(), ": ", modified_text(path), ", ends ",
                        facts.head_crc, ' ', facts.tail_crc));
    }
}

/// The two files of a split, and how far they are.
class SplitFiles {
  public:
    SplitFiles(const std::string& folder, std::string name, std::uint64_t count, const Options& options)
        : name_(std::move(name)),
          images_(text(folder, '/', name_, "_images.npy")),
          labels_(text(folder, '/', name_, "_labels.npy")),
          dtype_(options.pixels()),
          pixels_(static_cast<std::uint64_t>(options.shape().size())),
          image_dims_{count, static_cast<std::uint64_t>(options.size),
                      static_cast<std::uint64_t>(options.size), static_cast<std::uint64_t>(options.channels)},
          label_dims_{count} {}

    [[nodiscard]] const std::string& name() const { return name_; }
    [[nodiscard]] std::uint64_t count() const { return label_dims_[0]; }
    [[nodiscard]] std::uint64_t image_bytes() const {
        return image_header() + *detail::byte_count(image_dims_, dtype_);
    }
    [[nodiscard]] std::uint64_t label_bytes() const { return label_header() + 8 * count(); }

    /// Every name that it may have on disk.
    [[nodiscard]] std::vector<std::string> paths() const {
        return {images_, labels_, text(images_, partial_suffix), text(labels_, partial_suffix)};
    }
    [[nodiscard]] bool finished() const {
        return holds(images_, dtype_, image_dims_) && holds(labels_, dtype_of<std::int64_t>, label_dims_);
    }
    /// Whether the partial files hold `done` pictures; of a split that is written whole, one may have its
    /// final name already.
    [[nodiscard]] bool can_go_on(std::uint64_t done) const {
        const std::uint64_t images =
            image_header() + done * pixels_ * static_cast<std::uint64_t>(dtype_.size);
        const bool whole = done == count();
        return done <= count() &&
               (size_of_partial(images_) >= images || (whole && holds(images_, dtype_, image_dims_))) &&
               (size_of_partial(labels_) >= label_header() + 8 * done ||
                (whole && holds(labels_, dtype_of<std::int64_t>, label_dims_)));
    }
    /// A split that is written whole gets its name.
    void finish() const {
        if (path_exists(text(images_, partial_suffix)))
            NpyWriter(images_, dtype_, image_dims_, count() * pixels_).commit();
        if (path_exists(text(labels_, partial_suffix)))
            NpyWriter(labels_, dtype_of<std::int64_t>, label_dims_, count()).commit();
    }
    [[nodiscard]] NpyWriter images(std::uint64_t done) const {
        return NpyWriter(images_, dtype_, image_dims_, done * pixels_);
    }
    [[nodiscard]] NpyWriter labels(std::uint64_t done) const {
        return NpyWriter(labels_, dtype_of<std::int64_t>, label_dims_, done);
    }
    [[nodiscard]] std::uint64_t bytes_on_disk() const {
        std::uint64_t bytes = 0;
        for (const std::string& path : paths())
            if (path_exists(path)) bytes += static_cast<std::uint64_t>(fs::file_size(path));
        return bytes;
    }

  private:
    [[nodiscard]] std::uint64_t image_header() const { return npy_header(dtype_, image_dims_).size(); }
    [[nodiscard]] std::uint64_t label_header() const {
        return npy_header(dtype_of<std::int64_t>, label_dims_).size();
    }
    static bool holds(const std::string& path, DType dtype, std::span<const std::uint64_t> dims) {
        if (!path_exists(path)) return false;
        try {
            const NpyHeader header = read_npy_header(File(path)); // checks the file's size too
            return header.dtype == dtype && std::ranges::equal(header.shape, dims);
        } catch (const error&) {
            return false;
        }
    }
    static std::uint64_t size_of_partial(const std::string& path) {
        const std::string partial = text(path, partial_suffix);
        return path_exists(partial) ? File(partial).size() : 0;
    }

    std::string name_, images_, labels_;
    DType dtype_;
    std::uint64_t pixels_;
    std::vector<std::uint64_t> image_dims_, label_dims_;
};

/// Slots of a few pictures each: memory for reading ahead, whatever the size of the data.
struct Ring {
    Ring(std::size_t pixels, std::size_t threads) {
        room = std::clamp<std::size_t>((8 << 20) / pixels, 1, 64);
        const std::size_t count = 1 + std::max<std::size_t>(1, (2 * threads + room - 1) / room);
        images.resize(count * room * pixels);
        labels.resize(count * room);
        for (std::size_t slot = 0; slot < count; ++slot)
            slots.push_back({std::span(images).subspan(slot * room * pixels, room * pixels),
                             std::span(labels).subspan(slot * room, room)});
    }
    std::size_t room = 0;
    std::vector<u8> images;    // (slots, room, H, W, C)
    std::vector<Label> labels; // (slots, room)
    std::vector<Prefetch<u8>::Slot> slots;
};

/// Writes a split from `done` pictures on. \throws Stopped when a signal asked for it.
void write_split(const SplitFiles& files, const Split& split, std::uint64_t done, RunRecord& record,
                 Ring& ring, int threads, bool as_float, const InterruptGuard& interrupts) {
    const auto pixels = static_cast<std::size_t>(split.shape().size());
    NpyWriter images = files.images(done), labels = files.labels(done);
    std::vector<float> unit(as_float ? pixels : 0); // (H, W, C)
    Bar bar(files.name(), files.count(), done);
    const std::uint64_t began_at = done;
    double recorded = detail::monotonic_seconds(), pause = 0.1;
    const auto make_durable = [&] {
        const double began = detail::monotonic_seconds();
        images.sync();
        labels.sync();
        record.store(files.name(), done);
        recorded = detail::monotonic_seconds();
        pause = std::max(0.1, 10 * (recorded - began)); // a slow disk is asked less often
    };
    Prefetch<u8> reading(split, ring.slots, threads,
                         [&, next = done](std::uint64_t, std::span<std::uint64_t> samples) mutable {
                             const auto count = static_cast<std::size_t>(
                                 std::min<std::uint64_t>(samples.size(), files.count() - next));
                             for (std::size_t i = 0; i < count; ++i) samples[i] = next++;
                             return count;
                         });
    try {
        while (done < files.count()) {
            const auto filled = reading.next();
            const std::size_t count = filled.samples.size();
            const auto stored =
                ring.slots[static_cast<std::size_t>(filled.slot)].images.first(count * pixels);
            if (!as_float) images.append(stored);
            for (std::size_t i = 0; as_float && i < count; ++i) {
                // The division with which devices widen bytes: both files train to the same bits.
                std::ranges::transform(stored.subspan(i * pixels, pixels), unit.begin(),
                                       [](u8 pixel) { return static_cast<float>(pixel) / 255.0f; });
                images.append(std::span<const float>(unit));
            }
            for (const Label label : filled.labels) {
                const std::int64_t wide = label;
                labels.append(std::span(&wide, 1));
            }
            done += count;
            bar.update(done);
            if (interrupts.interrupted()) throw Stopped{};
            if (detail::monotonic_seconds() - recorded > pause) make_durable();
        }
    } catch (...) {
        try {
            make_durable();
        } catch (const error&) { // a full disk: the last record stands
        }
        throw;
    }
    make_durable();
    images.commit();
    labels.commit();
    const double seconds = bar.seconds();
    bar.clear();
    note(text(files.name(), ": ", done - began_at, " pictures in ", static_cast<std::uint64_t>(seconds + 0.5),
              " s, ",
              static_cast<std::uint64_t>(static_cast<double>(done - began_at) / std::max(seconds, 1e-3)),
              " a second"));
}

/// The output folder, locked against other runs of this program for as long as this lives.
detail::Descriptor lock_folder(const std::string& folder) {
    std::error_code code;
    fs::create_directories(folder, code);
    if (code && !detail::is_folder(folder)) throw detail::system_failure("create", folder, code.value());
    detail::Descriptor handle(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (handle.get() < 0) throw detail::system_failure("open", folder, errno);
    // Some file systems know no locks: there is nothing more to ask of those.
    if (::flock(handle.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        throw io_error(text("another plimsoll-preprocess is writing to \"", folder, '"'));
    for (const fs::directory_entry& entry : fs::directory_iterator(folder, code)) {
        const std::string name = entry.path().filename().string(); // left by a run that was killed
        if (name.starts_with(text(record_name, ".tmp-")) || name.starts_with(text(classes_name, ".tmp-")))
            fs::remove(entry.path(), code);
    }
    return handle;
}

/// Settles what is in the output folder already, and records what this run makes of it.
void settle(RunRecord& record, const Options& options, const std::vector<SplitFiles>& all) {
    std::vector<std::string> there;
    for (const SplitFiles& files : all)
        for (const std::string& path : files.paths())
            if (path_exists(path)) there.push_back(path);
    const std::string classes = text(options.output, '/', classes_name);
    if (path_exists(classes)) there.push_back(classes);
    std::string why;
    if (record.stored()) {
        if (const std::string differs = record.resume(); !differs.empty())
            why = text("\"", options.output, "\" holds splits of other parameters or inputs:", differs, '\n');
    } else if (!there.empty()) {
        why = text("\"", there.front(), "\" is there, and not known to be of this program: ");
    }
    if (!why.empty()) {
        if (!options.overwrite)
            throw io_error(text(why, "choose another --output, or give --overwrite to have ", there.size(),
                                " files replaced"));
        // All at once, before anything new: old and new splits side by side would share pictures.
        for (const std::string& path : there) fs::remove(path);
        note(text("--overwrite: ", there.size(), " files of \"", options.output, "\" removed"));
    }
    std::uint64_t needed = 0, present = 0;
    for (const SplitFiles& files : all) {
        needed += files.image_bytes() + files.label_bytes();
        present += files.bytes_on_disk();
    }
    std::error_code unknown;
    const auto space = fs::space(options.output, unknown);
    if (!unknown && needed > present && space.available < needed - present)
        throw io_error(
            text("\"", options.output, "\": ", to_string(Bytes{static_cast<std::int64_t>(needed - present)}),
                 " are needed, and ", to_string(Bytes{static_cast<std::int64_t>(space.available)}), " free"));
    record.store();
}

void write_class_names(const std::string& output, const std::vector<std::string>& names) {
    std::string content;
    for (const std::string& name : names) {
        if (name.find('\n') != std::string::npos)
            throw data_error(text("the class \"", name, "\" has a name of two lines"));
        content += name + "\n";
    }
    if (!names.empty()) write_atomically(text(output, '/', classes_name), content);
}

void preprocess(Options& options, const InterruptGuard& interrupts) {
    const Inputs inputs = find_inputs(options.inputs);
    check_output(inputs, options.output);
    static_cast<void>(parse_split(options.split));
    if (options.threads == 0)
        options.threads = static_cast<int>(std::max(std::thread::hardware_concurrency(), 1u));
    options.source.resampling = options.antialias ? Resampling::antialiased : Resampling::bilinear;
    std::unique_ptr<Bar> indexing;
    options.source.index_progress = [&](std::uint64_t done, std::uint64_t total) {
        if (interrupts.interrupted()) throw Stopped{};
        if (!indexing) indexing = std::make_unique<Bar>("indexing, bytes", total, 0);
        indexing->update(done);
        if (done == total) indexing.reset();
    };
    const Streaming<u8> pictures = inputs.folder.empty()
                                       ? Streaming<u8>(inputs.shards, options.shape(), options.source)
                                       : Streaming<u8>(inputs.folder, options.shape(), options.source);
    indexing.reset();

    // A folder's pictures are drawn by the seed already.
    const Permutation shuffled(pictures.size(), stream_key(options.source.seed, Purpose::shuffle));
    const Permutation* order = inputs.folder.empty() ? &shuffled : nullptr;
    const auto ranges = split_ranges(options.split, pictures.size());
    const auto class_sizes = class_counts(pictures);
    Skipped skipped(options.source.most_corrupt);
    std::vector<Split> splits;
    std::vector<SplitFiles> files;
    for (std::size_t i = 0; i < 3; ++i) {
        splits.emplace_back(pictures, order, ranges[i], options.skips() ? &skipped : nullptr);
        files.emplace_back(options.output, split_names[i], ranges[i].count, options);
        tell_missing_classes(split_names[i], splits[i], pictures, class_sizes);
    }

    RunRecord record(options.output);
    describe(record, options, inputs, pictures);
    const detail::Descriptor lock = lock_folder(options.output);
    settle(record, options, files);
    write_class_names(options.output, pictures.class_names());
    Ring ring(static_cast<std::size_t>(options.shape().size()), static_cast<std::size_t>(options.threads));
    for (std::size_t i = 0; i < 3; ++i) {
        std::uint64_t done = record.done(files[i].name());
        if (done > 0 && !files[i].can_go_on(done)) {
            note(text(files[i].name(), ": begins anew, for its ", done, " pictures are not there any more"));
            done = 0;
        }
        if (done == files[i].count()) {
            const bool kept = files[i].finished();
            files[i].finish();
            note(text(files[i].name(), kept ? ": finished before, kept" : ": was written whole, finished"));
            continue;
        }
        if (done > 0) note(text(files[i].name(), ": continues after ", done, " of ", files[i].count()));
        if (interrupts.interrupted()) throw Stopped{};
        write_split(files[i], splits[i], done, record, ring, options.threads, options.dtype == "float32",
                    interrupts);
    }

    for (const SplitFiles& split : files) {
        const Shape shape = options.shape();
        const auto bytes = static_cast<std::int64_t>(split.count()) * shape.size() * 4;
        std::printf("%-5s %llu x %d x %d x %d x 4 B = %s as float32, %s on disk as %s\n",
                    split.name().c_str(), static_cast<unsigned long long>(split.count()), shape.height,
                    shape.width, shape.channels, to_string(Bytes{bytes}).c_str(),
                    to_string(Bytes{static_cast<std::int64_t>(split.image_bytes())}).c_str(),
                    options.dtype.c_str());
    }
    if (skipped.size() > 0)
        std::printf("%zu pictures could not be read; others of their splits stand in\n", skipped.size());
}

} // namespace

int main(int argc, char** argv) {
    Options options;
    CLI::App app{
        "Decodes, resizes, shuffles and splits pictures into NumPy arrays: train_images.npy (N, H, W, "
        "C), train_labels.npy (N), and the same for val and test.\n"
        "All pictures are shuffled by --seed, then cut: train and val are rounded down, test is the "
        "rest.\nA run that was interrupted is continued by the same command.",
        "plimsoll-preprocess"};
    app.add_option("INPUT", options.inputs,
                   "TFRecord files, patterns or folders of them, together one data set; or one folder of "
                   "JPEG and PNG pictures: a folder a class, or files named cat.0.jpg")
        ->required();
    app.add_option("--output", options.output, "folder of the arrays")->required();
    app.add_option("--size", options.size, "height and width that pictures are resized to")
        ->required()
        ->check(CLI::Range(1, 16384));
    app.add_option("--split", options.split, "shares of train, val and test")->capture_default_str();
    app.add_option("--dtype", options.dtype, "uint8, or float32: uint8 / 255, four times the bytes")
        ->capture_default_str()
        ->check(CLI::IsMember({"uint8", "float32"}));
    app.add_option("--seed", options.source.seed, "of the order in which pictures are dealt to the splits")
        ->capture_default_str();
    app.add_option("--channels", options.channels, "1 for gray, 3 for RGB")
        ->capture_default_str()
        ->check(CLI::IsMember({1, 3}));
    app.add_option("--image-feature", options.source.image_feature, "of TFRecord examples")
        ->capture_default_str();
    app.add_option("--label-feature", options.source.label_feature, "of TFRecord examples")
        ->capture_default_str();
    app.add_flag("--antialias", options.antialias, "when making smaller, average; else as TensorFlow does");
    app.add_option("--corrupt", options.corrupt,
                   "a picture that cannot be read: fail, or skip: another of its split stands in")
        ->capture_default_str()
        ->check(CLI::IsMember({"fail", "skip"}));
    app.add_option("--threads", options.threads, "that decode; 0 for all; results do not depend on it")
        ->capture_default_str()
        ->check(CLI::Range(0, 1024));
    app.add_flag("--overwrite", options.overwrite, "remove splits of other parameters or inputs first");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& problem) {
        return app.exit(problem) == 0 ? 0 : 2;
    }
    const InterruptGuard interrupts;
    try {
        preprocess(options, interrupts);
        return 0;
    } catch (const Stopped&) {
        std::fputs("plimsoll-preprocess: stopped; the same command goes on\n", stderr);
        return 128 + interrupts.signal();
    } catch (const argument_error& problem) {
        std::fprintf(stderr, "plimsoll-preprocess: %s\n", problem.what());
        return 2;
    } catch (const std::exception& problem) {
        std::fprintf(stderr, "plimsoll-preprocess: %s\n", problem.what());
        return 1;
    }
}
