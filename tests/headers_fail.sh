#!/bin/sh
# headers_fail.sh <headers.sh> <compiler> <flags file> <work directory>
# headers.sh must name a header that lacks an include, and must not name the good one beside it.
set -eu
script=$1 compiler=$2 flags=$3 work=$4
rm -rf "$work"
mkdir -p "$work/include/plimsoll/core"
printf '#pragma once\ninline std::string forgotten_include() { return {}; }\n' >"$work/include/plimsoll/core/bad.hpp"
printf '#pragma once\ninline int fine() { return 1; }\n' >"$work/include/plimsoll/core/good.hpp"
if output=$(sh "$script" "$compiler" "$flags" "$work/include" hpp -I"$work/include"); then
    echo "a header without its includes passed"
    exit 1
fi
case $output in
*core/good.hpp*) echo "the good header was named: $output"; exit 1 ;;
*"plimsoll/core/bad.hpp does not compile alone"*) ;;
*) echo "the bad header was not named: $output"; exit 1 ;;
esac
