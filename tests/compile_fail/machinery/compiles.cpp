// refused: the case compiles
// expect: never printed
int fine();
