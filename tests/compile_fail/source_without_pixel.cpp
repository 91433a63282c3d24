// A source says how its pixels are stored.
// expect: plimsoll: a Source needs `using Pixel = plimsoll::u8;`, `float` or `plimsoll::half`
#include <plimsoll/plimsoll.hpp>

using namespace plimsoll;

struct Pictures {
#ifdef PLIMSOLL_CONTROL
    using Pixel = u8;
#endif
    std::uint64_t size() const;
    Shape shape() const;
    int classes() const;
    const std::vector<std::string>& class_names() const;
    std::string name() const;
    void read(std::span<const std::uint64_t> samples, std::span<u8> images, std::span<Label> labels) const;
};

using Net = Sequential<Image<16, 16, 1>, Flatten, Dense<2>>;

void train(const Pictures& source) { Trainer<Net, Pictures, Float, Host>{source}.fit(); }
