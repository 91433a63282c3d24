#include "link_train.hpp"

double unit_b();
double unit_b() { return train_a_little<plimsoll::Host>(); }
