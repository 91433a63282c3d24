// A list in a constant expression holds what its type says and no more.
// nvcc
// expect: plimsoll::List is full
#include <plimsoll/core/list.hpp>

#ifdef PLIMSOLL_CONTROL
constexpr plimsoll::List<int, 2> list{1, 2};
#else
constexpr plimsoll::List<int, 2> list{1, 2, 3};
#endif
static_assert(list.size() == 2);
