#pragma once
#include <plimsoll/trainer/fit.hpp>
