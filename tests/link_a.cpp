// Everything included in more than one unit must link: a definition that is not inline shows here.
#include "link_train.hpp"

#include <cmath>
#include <cstdio>
#include <cstring>

double unit_b();
#ifdef PLIMSOLL_LINK_CUDA
double unit_cuda();
double unit_gpu(char* refusal, int room);
#endif

int main() {
    const double loss = train_a_little<plimsoll::Host>();
    std::printf("linked: loss %.17g here, %.17g there\n", loss, unit_b());
    bool same = loss == unit_b();
#ifdef PLIMSOLL_LINK_CUDA
    std::printf("        %.17g compiled by nvcc\n", unit_cuda());
    same = same && std::abs(loss - unit_cuda()) < 1e-6; // other instructions, other last bits
    char refusal[512] = "";
    const double on_gpu = unit_gpu(refusal, sizeof refusal);
    if (refusal[0] == '\0') {
        std::printf("        %.17g on the GPU\n", on_gpu);
        same = same && std::abs(loss - on_gpu) < 1e-3;
    } else {
        std::printf("        %s\n", refusal);
        same = same && std::strstr(refusal, "there is no NVIDIA GPU") == refusal;
    }
#endif
    return same ? 0 : 1;
}
