// What a user's first program does: include everything, use a little of it.
#include <plimsoll/plimsoll.hpp>

#include <iostream>

int main() {
    const plimsoll::Shape image{28, 28, 1};
    std::cout << "an image of " << plimsoll::to_string(image) << " has " << image.size() << " values\n";
    return image.size() == 784 ? 0 : 1;
}
