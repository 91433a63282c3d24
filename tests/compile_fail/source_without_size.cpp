// Each thing that a source lacks has its sentence.
// expect: plimsoll: a Source needs `std::uint64_t size() const`, its number of samples
// expect: plimsoll: a Source needs `Shape shape() const`, the shape of one image
// expect: plimsoll: a Source needs `int classes() const`, 1 + the largest label
// expect: plimsoll: a Source needs `const std::vector<std::string>& class_names() const`, which may be empty
// expect: plimsoll: a Source needs `std::string name() const`, for messages
#include <plimsoll/plimsoll.hpp>

using namespace plimsoll;

struct Pictures {
    using Pixel = u8;
#ifdef PLIMSOLL_CONTROL
    std::uint64_t size() const;
    Shape shape() const;
    int classes() const;
    const std::vector<std::string>& class_names() const;
    std::string name() const;
#endif
    void read(std::span<const std::uint64_t> samples, std::span<u8> images, std::span<Label> labels) const;
};

using Net = Sequential<Image<16, 16, 1>, Flatten, Dense<2>>;

void train(const Pictures& source) { Trainer<Net, Pictures, Float, Host>{source}.fit(); }
