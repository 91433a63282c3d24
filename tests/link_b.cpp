#include <plimsoll/plimsoll.hpp>

int unit_b();
int unit_b() { return PLIMSOLL_VERSION_MINOR; }
