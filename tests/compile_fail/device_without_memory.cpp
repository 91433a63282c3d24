// A device gives memory and says how much it has.
// nvcc
// expect: plimsoll: a Device needs a type Memory with std::byte* data() and Memory allocate(bytes)
// expect: plimsoll: a Device needs to say what is free: std::int64_t free_bytes() const
#include <plimsoll/plimsoll.hpp>
#include <plimsoll/source/example_source.hpp>

using namespace plimsoll;

struct Abacus {
    static constexpr std::string_view name = "Abacus";
    explicit Abacus(int threads) : host(threads) {}
    int workers() const { return host.workers(); }
    int layout_block() const { return 0; }
    void for_lanes(int lanes, auto f) const { host.for_lanes(lanes, f); }
    static void upload(void* to, const void* from, std::int64_t bytes) { Host::upload(to, from, bytes); }
    static void download(void* to, const void* from, std::int64_t bytes) { Host::download(to, from, bytes); }
    static void fill_zero(void* to, std::int64_t bytes) { Host::fill_zero(to, bytes); }
    void add(float* to, const float* from, std::int64_t count) const { host.add(to, from, count); }
    void judge(LossScaling* scaling, const float* g, std::int64_t count) const {
        host.judge(scaling, g, count);
    }
    void update(auto rule, float* w, const float* g, float* a, float* b, std::int64_t count,
                const LossScaling* scaling) const {
        host.update(rule, w, g, a, b, count, scaling);
    }
#ifdef PLIMSOLL_CONTROL
    using Memory = Host::Memory;
    static Memory allocate(std::int64_t bytes) { return Memory(bytes); }
    std::int64_t free_bytes() const { return host.free_bytes(); }
#endif
    Host host;
};

template <class Layer, class Precision>
struct plimsoll::Kernel<Layer, Precision, Abacus> : plimsoll::Kernel<Layer, Precision, Host> {
    Kernel(const Site& site, const Abacus& device)
        : plimsoll::Kernel<Layer, Precision, Host>(site, device.host) {}
};

using Net = Sequential<Image<16, 16, 1>, Flatten, Dense<2>>;

void train(const ExampleSource& source) { Trainer<Net, ExampleSource, Float, Abacus>{source}.fit(); }
