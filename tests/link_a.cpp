// Everything included in more than one unit must link: a definition that is not inline shows here.
#include <plimsoll/plimsoll.hpp>

#include <cstdio>

int unit_b();
#ifdef PLIMSOLL_LINK_CUDA
int unit_cuda();
#endif

int main() {
    int major = PLIMSOLL_VERSION_MAJOR + unit_b();
#ifdef PLIMSOLL_LINK_CUDA
    major += unit_cuda();
#endif
    std::puts("linked");
    return major < 0;
}
