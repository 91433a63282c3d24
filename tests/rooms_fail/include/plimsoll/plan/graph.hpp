#pragma once
#include <plimsoll/device/host/kernel.hpp>
// A plan may not know Conv, not even in a string.
inline int steps(Conv<3> layer);
inline const char* hint = "use Odd";
inline int helped(Helper helper, Inner inner);
