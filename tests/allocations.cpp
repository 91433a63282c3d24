// Replaces operator new by one that counts. In a file of its own, so that it is never inlined.
#include "allocations.hpp"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>

#include <dlfcn.h>

namespace {

std::atomic<std::int64_t> ours{0}, library{0}, library_bytes{0}, live{0};

bool called_from_onednn(void* caller) {
    Dl_info info;
    return dladdr(caller, &info) != 0 && info.dli_fname != nullptr &&
           std::strstr(info.dli_fname, "dnnl") != nullptr;
}

void* counted(std::size_t bytes, void* caller) {
    if (called_from_onednn(caller)) {
        library.fetch_add(1);
        library_bytes.fetch_add(static_cast<std::int64_t>(bytes));
    } else {
        ours.fetch_add(1);
    }
    void* memory = std::malloc(bytes);
    if (memory != nullptr) live.fetch_add(1);
    return memory;
}

} // namespace

support::Allocations support::allocations() {
    return {ours.load(), library.load(), library_bytes.load(), live.load()};
}

void* operator new(std::size_t bytes) {
    if (void* memory = counted(bytes, __builtin_return_address(0))) return memory;
    throw std::bad_alloc();
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
    return counted(bytes, __builtin_return_address(0));
}
void operator delete(void* memory) noexcept {
    if (memory != nullptr) live.fetch_sub(1);
    std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept { operator delete(memory); }
