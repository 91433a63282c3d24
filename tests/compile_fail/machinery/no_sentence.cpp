// refused: the case names no sentence
int fine();
