#pragma once
/// \file
/// What this program has asked operator new for, by who asked.

#include <cstdint>

namespace support {

struct Allocations {
    std::int64_t ours = 0;          ///< calls from outside oneDNN
    std::int64_t library = 0;       ///< calls from oneDNN
    std::int64_t library_bytes = 0; ///< that oneDNN asked for
    std::int64_t live = 0;          ///< allocated and not yet freed, whoever asked
};

Allocations allocations();

} // namespace support
