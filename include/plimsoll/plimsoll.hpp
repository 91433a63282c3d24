#pragma once
/// \file
/// All of Plimsoll for the Host device. No library header includes it.

#include <plimsoll/device/host/attach.hpp>
#include <plimsoll/source/in_memory.hpp>
#include <plimsoll/source/memory_mapped.hpp>
#include <plimsoll/trainer/budget.hpp>
#include <plimsoll/trainer/predictor.hpp>
#include <plimsoll/trainer/trainer.hpp>

#if PLIMSOLL_COMPILED || defined(PLIMSOLL_IMPLEMENTATION)
#include <plimsoll/compiled.hpp>
#endif
