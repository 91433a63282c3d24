#pragma once
#include <plimsoll/device/host/kernel.hpp>
#include <plimsoll/model/layers/conv.hpp>
inline bool same = Net::is<Odd>();
inline Adam optimizer;
