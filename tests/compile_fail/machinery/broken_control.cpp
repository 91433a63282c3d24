// refused: the control .PLIMSOLL_CONTROL defined. does not compile
// expect: unknown
unknown broken;
