// A source reads samples in any order: one that only knows "the next batch" is told so.
// expect: plimsoll: a Source needs `void read(std::span<const std::uint64_t> samples, std::span<Pixel>
// expect: images, std::span<Label> labels) const`, images (n, H, W, C)
#include <plimsoll/plimsoll.hpp>

using namespace plimsoll;

struct Pictures {
    using Pixel = u8;
    std::uint64_t size() const;
    Shape shape() const;
    int classes() const;
    const std::vector<std::string>& class_names() const;
    std::string name() const;
#ifdef PLIMSOLL_CONTROL
    void read(std::span<const std::uint64_t> samples, std::span<u8> images, std::span<Label> labels) const;
#else
    void read(std::span<u8> images, std::span<Label> labels) const;
#endif
};

using Net = Sequential<Image<16, 16, 1>, Flatten, Dense<2>>;

void train(const Pictures& source) { Trainer<Net, Pictures, Float, Host>{source}.fit(); }
