#pragma once
// Conv and dnnl_memory may stand in a comment, #include <cub/cub.cuh> too.
/* #include <plimsoll/trainer/names.hpp>
   Conv */
#if __has_include(<oneapi/dnnl/dnnl.h>)
#endif
inline const char* package = "dnnl \" // Conv";
inline constexpr int million = 1'000'000;
