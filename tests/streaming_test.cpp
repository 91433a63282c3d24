// Streaming from TFRecord files and folders, and what opens either: the same bits as from arrays.
#include "support.hpp"

#include <plimsoll/format/npy.hpp>
#include <plimsoll/plimsoll.hpp>
#include <plimsoll/source/open.hpp>

#include <filesystem>

using namespace plimsoll;

static_assert(std::is_nothrow_move_assignable_v<Streaming<u8>> &&
              !std::is_copy_constructible_v<Streaming<u8>>);

namespace {

constexpr Shape shape{24, 24, 3};
using Net = Sequential<Image<24, 24, 3>, Conv2d<4, 3>, Relu, MaxPool<2>, Flatten, Dense<2>>;

/// All pictures and labels of a source, in order, asked for `at_once` at a time.
template <class Source>
std::pair<std::vector<u8>, std::vector<Label>> all_of(const Source& source, std::size_t at_once = 7) {
    const auto pixels = static_cast<std::size_t>(source.shape().size());
    std::vector<u8> images(static_cast<std::size_t>(source.size()) * pixels); // (N, H, W, C)
    std::vector<Label> labels(static_cast<std::size_t>(source.size()));
    std::vector<std::uint64_t> samples(labels.size());
    for (std::size_t i = 0; i < samples.size(); ++i) samples[i] = i;
    for (std::size_t first = 0; first < samples.size(); first += at_once) {
        const std::size_t count = std::min(at_once, samples.size() - first);
        source.read(std::span(samples).subspan(first, count),
                    std::span(images).subspan(first * pixels, count * pixels),
                    std::span(labels).subspan(first, count));
    }
    return {images, labels};
}

template <class Source>
std::vector<std::vector<float>> trained(const Source& source) {
    Trainer<Net, Source, Float, Host> job(source, {.batch = 16, .seed = 9});
    job.fit({.epochs = 1, .progress = false});
    std::vector<std::vector<float>> weights;
    for (std::size_t p = 0; p < job.parameters().size(); ++p) weights.push_back(job.parameter(p));
    return weights;
}

/// A folder with links to the reference data's shards, so that indexes are written there; empty without it.
std::optional<std::string> shards(const support::TemporaryFolder& folder) {
    const auto data = support::reference_path("data");
    if (!data) return {};
    for (const auto& entry : std::filesystem::directory_iterator(*data)) {
        const std::string name = entry.path().filename().string();
        if (name.starts_with("cats_vs_dogs-train"))
            std::filesystem::create_symlink(std::filesystem::absolute(entry.path()), folder / name);
    }
    return folder / "cats_vs_dogs-train.tfrecord-*";
}

/// Writes the JPEGs of a few records as files, a folder a class or named cat.0.jpg.
void write_folder(const Streaming<u8>& source, const std::vector<std::string>& shard_paths,
                  const std::string& folder, bool by_class) {
    std::vector<std::byte> buffer;
    const RecordIndex index = open_index(shard_paths.front(), "label");
    for (std::uint64_t number = 0; number < 24; ++number) {
        const auto bytes = Features(index.read(number, buffer)).at("image").bytes();
        const std::string name = source.label(number) == 0 ? "cat" : "dog";
        const std::string path = by_class ? folder + "/" + name : folder;
        std::filesystem::create_directories(path);
        support::write_file(text(path, "/", by_class ? "" : name + ".", number + 100, ".jpg"),
                            {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    }
}

} // namespace

TEST_CASE("streamed records, their arrays in memory and on disk train to the same bits") {
    const support::TemporaryFolder folder;
    const auto pattern = shards(folder);
    if (!pattern) return;
    const Streaming<u8> streaming(*pattern, shape, {.readers = 2});
    CHECK(streaming.size() == 2560);
    CHECK(streaming.classes() == 2);
    CHECK(class_counts(streaming) == std::vector<std::uint64_t>{1321, 1239});

    const auto few = streaming.take(200);
    const auto [images, labels] = all_of(few);
    CHECK(all_of(few, 64).first == images); // how many are asked for at once changes nothing
    const std::uint64_t dims[] = {200, 24, 24, 3}, count[] = {200};
    write_npy(folder / "few_images.npy", dims, std::span<const u8>(images));
    write_npy(folder / "few_labels.npy", count, std::span<const Label>(labels));
    const std::string prefix = folder / "few";
    const auto expected = trained(few);
    CHECK(trained(InMemory<u8>(prefix)) == expected);
    CHECK(trained(MemoryMapped<u8>(prefix)) == expected);
    CHECK(trained(InMemory<u8>(few)) == expected);
    CHECK(trained(AnySource<u8>(MemoryMapped<u8>(prefix))) == expected);
    CHECK(trained(streaming.skip(1).take(200)) != expected); // the comparison can fail

    // A second time the index is there; and a folder of shards is a pattern too.
    CHECK(std::filesystem::exists(folder / "cats_vs_dogs-train.tfrecord-00000-of-00004.plimsoll-index"));
    CHECK(all_of(Streaming<u8>(folder.path(), shape).take(5)) == all_of(streaming.take(5)));
}

TEST_CASE("folders of pictures are read with their classes, in an order drawn by the seed") {
    const support::TemporaryFolder folder;
    const auto pattern = shards(folder);
    if (!pattern) return;
    const Streaming<u8> records(*pattern, shape);
    const std::vector<std::string> paths = detail::expand(*pattern);
    write_folder(records, paths, folder / "classes", true);
    write_folder(records, paths, folder / "flat", false);
    support::write_file(folder / "classes/cat/Thumbs.db", "stray");
    std::filesystem::create_directory_symlink(folder / "classes", folder / "classes/cat/circle");

    const Streaming<u8> classes(folder / "classes", shape), flat(folder / "flat", shape);
    for (const auto* source : {&classes, &flat}) {
        CHECK(source->size() == 24);
        CHECK(source->class_names() == std::vector<std::string>{"cat", "dog"});
        const auto counts = class_counts(source->take(12));
        CHECK(counts[0] > 0);
        CHECK(counts[1] > 0);
    }
    const auto [images, labels] = all_of(classes);
    CHECK(images != all_of(Streaming<u8>(folder / "classes", shape, {.seed = 1})).first);
    std::multiset<std::string> from_files, from_records;
    const auto record_images = all_of(records.take(24)).first;
    const auto pixels = static_cast<std::ptrdiff_t>(shape.size());
    for (std::ptrdiff_t i = 0; i < 24; ++i) {
        from_files.insert({images.begin() + i * pixels, images.begin() + (i + 1) * pixels});
        from_records.insert({record_images.begin() + i * pixels, record_images.begin() + (i + 1) * pixels});
    }
    CHECK(from_files == from_records);

    for (const char* wrong : {"empty", "one"}) std::filesystem::create_directories(folder / wrong + "/cat");
    support::write_file(folder / "one/cat/0.jpg", "x");
    CHECK(support::contains(
        support::message_of<data_error>([&] { Streaming<u8> s(folder / "empty", shape); }), "holds no .jpg"));
    CHECK(support::contains(support::message_of<data_error>([&] { Streaming<u8> s(folder / "one", shape); }),
                            "one class only, \"cat\""));
}

TEST_CASE("a picture that cannot be read is named, or another stands in and is counted") {
    const support::TemporaryFolder folder;
    const auto pattern = shards(folder);
    if (!pattern) return;
    const Streaming<u8> records(*pattern, shape);
    write_folder(records, detail::expand(*pattern), folder / "classes", true);
    const Streaming<u8> sound(folder / "classes", shape);
    const std::string broken = sound.place(5);
    std::filesystem::resize_file(broken, std::filesystem::file_size(broken) / 2);
    CHECK(support::contains(support::message_of<data_error>([&] { all_of(sound); }), broken));

    StreamingOptions options{.corrupt = Corrupt::skip, .most_corrupt = 1};
    const Streaming<u8> skipping(folder / "classes", shape, options);
    const auto [images, labels] = all_of(skipping);
    CHECK(skipping.skipped() == 1);
    CHECK(labels.size() == 24);
    const auto pixels = static_cast<std::size_t>(shape.size());
    CHECK(std::equal(images.begin() + static_cast<std::ptrdiff_t>(5 * pixels),
                     images.begin() + static_cast<std::ptrdiff_t>(6 * pixels),
                     images.begin() + static_cast<std::ptrdiff_t>(6 * pixels)));
    CHECK(labels[5] == labels[6]);
    // What stands in comes from the same part: the first of it, behind the last.
    const auto image = [&](const auto& source, std::size_t i) {
        const std::vector<u8> all = all_of(source).first;
        const auto first = all.begin() + static_cast<std::ptrdiff_t>(i * pixels);
        return std::vector<u8>(first, first + static_cast<std::ptrdiff_t>(pixels)); // (H, W, C)
    };
    const auto part = skipping.slice("[2:6]");
    CHECK(image(part, 3) == image(sound.take(5), 2));
    CHECK(image(part.stratified(1), 3) == image(sound.take(5), 2));
    CHECK(all_of(part, 2) == all_of(part, 4));
    CHECK(image(AnySource<u8>(part).skip(1), 2) == image(sound.take(5), 3));
    using PartJob = Trainer<Net, Streaming<u8>, Float, Host>;
    PartJob job(skipping.slice("[:20]"), {.batch = 8});
    History history;
    const std::string said =
        support::stderr_of([&] { history = job.fit({.progress = false}, skipping.slice("[20:]")); });
    CHECK(history.skipped == 1);
    CHECK(support::contains(said, "1 picture that cannot be read was skipped"));
    std::filesystem::resize_file(sound.place(9), 100);
    CHECK(support::contains(support::message_of<data_error>([&] { all_of(skipping); }),
                            "more than 1 pictures"));
}

TEST_CASE("an index that takes its time says how far it is") {
    const auto said = [](double after) {
        return support::stderr_of([&] {
            IndexProgress line = detail::index_line(stderr, "cats.tfrecord", after);
            line(1, 4);
            line(4, 4);
        });
    };
    CHECK(said(0) == "\rplimsoll: indexing cats.tfrecord 25 %\rplimsoll: indexing cats.tfrecord 100 %\n");
    CHECK(said(1000).empty());
}

TEST_CASE("records that are damaged before their index is made are left out, named and counted") {
    const support::TemporaryFolder folder;
    const auto data = support::reference_path("data");
    if (!data) return;
    const std::string path = folder / "cats.tfrecord", whole = folder / "whole.tfrecord";
    std::filesystem::copy_file(*data + "/cats_vs_dogs-train.tfrecord-00000-of-00004", path);
    std::filesystem::copy_file(path, whole);
    const RecordIndex index = open_index(whole, "label");
    support::write_file(folder / "label.labels.txt", "cat\ndog\n"); // as TensorFlow Datasets writes it
    const Streaming<u8> sound(whole, shape);
    CHECK(sound.class_names() == std::vector<std::string>{"cat", "dog"});

    std::string bytes = read_all(path);
    for (const std::uint64_t number : {3, 5}) bytes[index.extent(number).offset + 500] ^= 1;
    support::write_file(path, bytes);
    CHECK(support::contains(support::message_of<format_error>([&] { Streaming<u8> s(path, shape); }),
                            "record 3"));
    for (const char* made : {"built", "read"}) { // the index
        CAPTURE(made);
        std::optional<Streaming<u8>> skipping;
        const std::string said = support::stderr_of(
            [&] { skipping.emplace(path, shape, StreamingOptions{.corrupt = Corrupt::skip}); });
        CHECK(support::contains(said, "cats.tfrecord\", offset " + std::to_string(index.extent(3).offset)));
        CHECK(support::contains(said, "record 5: the payload of"));
        CHECK(skipping->skipped() == 2);
        CHECK(skipping->size() == sound.size() - 2);
        CHECK(all_of(skipping->take(3)) == all_of(sound.take(3)));
        CHECK(all_of(skipping->slice("[3:4]")) == all_of(sound.slice("[4:5]")));
        CHECK(all_of(skipping->slice("[4:40]")) == all_of(sound.slice("[6:42]")));
    }
    // What was marked is an error to whoever does not skip, and too much of it to all.
    CHECK(support::contains(support::message_of<format_error>([&] { Streaming<u8> s(path, shape); }),
                            "record 3"));
    CHECK(support::contains(support::message_of<data_error>([&] {
                                Streaming<u8>(path, shape, {.corrupt = Corrupt::skip, .most_corrupt = 1});
                            }),
                            "more than 1 pictures"));
    support::write_file(path, bytes.substr(0, bytes.size() - 1)); // nobody knows what followed
    CHECK_THROWS_AS(Streaming<u8>(path, shape, {.corrupt = Corrupt::skip}), format_error);
}

TEST_CASE("a folder's records are found whatever its name is, and what is no record is not") {
    const support::TemporaryFolder folder;
    const auto data = support::reference_path("data");
    if (!data) return;
    const std::string records = folder / "cats [2024] {v2}*";
    std::filesystem::create_directories(records + "/more.tfrecord-files");
    for (const char* name : {"/b.tfrecord", "/a.tfrecord-0"})
        std::filesystem::copy_file(*data + "/cats_vs_dogs-train.tfrecord-00000-of-00004", records + name);
    // As an interrupted process leaves it, or a running one makes it.
    support::write_file(records + "/b.tfrecord.plimsoll-index.tmp-4242-0", "PLIM");
    support::write_file(records + "/.c.tfrecord", "");
    CHECK(detail::records_in(records) ==
          std::vector<std::string>{records + "/a.tfrecord-0", records + "/b.tfrecord"});
    CHECK(detail::records_in(folder / "none").empty());
    const Streaming<u8> found(records, shape);
    CHECK(found.size() == 1280);
    CHECK(plimsoll::open(records, shape).size() == 1280);
    std::filesystem::copy_file(records + "/b.tfrecord", folder / "c.tfrecord");
    support::write_file(folder / "c.tfrecord.plimsoll-index.tmp-4242-0", "PLIM");
    CHECK(detail::expand(folder / "c.tfrecord*") == std::vector<std::string>{folder / "c.tfrecord"});
}

TEST_CASE("open takes what is there and says why") {
    const support::TemporaryFolder folder;
    const auto pattern = shards(folder);
    if (!pattern) return;
    const AnySource<u8> streamed = plimsoll::open(folder.path(), shape);
    CHECK(streamed.size() == 2560);
    const auto [images, labels] = all_of(streamed.take(10));
    const std::uint64_t dims[] = {10, 24, 24, 3}, count[] = {10};
    write_npy(folder / "train_images.npy", dims, std::span<const u8>(images));
    write_npy(folder / "train_labels.npy", count, std::span<const Label>(labels));
    const AnySource<u8> processed = plimsoll::open(folder.path(), shape);
    CHECK(processed.size() == 10);
    CHECK(all_of(processed).first == images);
    CHECK(plimsoll::open(folder.path(), {12, 12, 3}).size() == 2560); // another shape
    CHECK(all_of(processed.slice("[50%:]")).second == all_of(streamed.slice("[5:10]")).second);
    CHECK_THROWS_AS(plimsoll::open(folder / "nothing", shape), io_error);

    const Streaming<u8> records(*pattern, shape);
    const std::string mixed = folder / "mixed"; // arrays beside the pictures they were made of
    write_folder(records, detail::expand(*pattern), mixed, true);
    for (const char* file : {"/train_images.npy", "/train_labels.npy"})
        std::filesystem::copy_file(folder.path() + file, mixed + file);
    CHECK(plimsoll::open(mixed, shape).size() == 10);
    const auto later =
        std::filesystem::last_write_time(mixed + "/train_images.npy") + std::chrono::seconds(5);
    std::filesystem::last_write_time(
        mixed + "/cat/" + std::filesystem::directory_iterator(mixed + "/cat")->path().filename().string(),
        later);
    CHECK(plimsoll::open(mixed, shape).size() == 24); // a picture is newer
}
