// Everything included in more than one unit must link: a definition that is not inline shows here.
#include "link_train.hpp"

#include <cstdio>

double unit_b();
#ifdef PLIMSOLL_LINK_CUDA
double unit_cuda();
#endif

int main() {
    const double loss = train_a_little();
    std::printf("linked: loss %.17g here, %.17g there\n", loss, unit_b());
    bool same = loss == unit_b();
#ifdef PLIMSOLL_LINK_CUDA
    std::printf("        %.17g compiled by nvcc\n", unit_cuda());
    same =
        same && loss - unit_cuda() < 1e-6 && unit_cuda() - loss < 1e-6; // other instructions, other last bits
#endif
    return same ? 0 : 1;
}
