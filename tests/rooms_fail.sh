#!/bin/sh
# rooms_fail.sh <rooms_fail directory> <work directory>
# rooms.sh must find every break in a small bad tree, word for word, and nothing else in it.
set -eu
here=$(dirname "$0")
rm -rf "$2"
mkdir -p "$2"
cp -R "$1/include" "$2/include"
awk 'BEGIN { for (i = 0; i < 401; ++i) print "//" }' >"$2/include/plimsoll/core/long.hpp"
if sh "$here/rooms.sh" "$2/include" >"$2/found.txt"; then
    echo "the bad tree passed"
    exit 1
fi
LC_ALL=C sort "$1/expected.txt" >"$2/expected.txt"
LC_ALL=C sort "$2/found.txt" | diff -u "$2/expected.txt" -
