#pragma once
#include <plimsoll/core/fine.hpp>
#include <plimsoll/format/other.hpp>
inline int dnnl_memory = 0;
