#!/bin/sh
# headers.sh <compiler> <flags file> <include directory> <hpp|cuh|one header> [flag...]
# Compiles each header of include/plimsoll alone, two at a time; names those that do not compile, with the
# compiler's words.
set -eu

if [ "$1" = --one ]; then # --one <compiler> <flags file> <work directory> <header>
    compiler=$2 flags=$3 work=$4 header=$5
    . "$(dirname "$0")/flags.sh"
    case $compiler in
    *nvcc*) set -- "$@" -x cu -c -o /dev/null ;;
    *) set -- "$@" -x c++ -Wall -Wextra -Wconversion -Wshadow -Werror -fsyntax-only ;;
    esac
    source=$work/$(printf '%s' "$header" | tr '/' '-').unit
    printf '#include <plimsoll/%s>\n#include <plimsoll/%s>\n' "$header" "$header" >"$source"
    if ! output=$(LC_ALL=C "$compiler" "$@" "$source" 2>&1); then
        printf 'plimsoll/%s does not compile alone:\n%s\n' "$header" "$(printf '%s\n' "$output" | head -n 20)"
        exit 1
    fi
    exit 0
fi

compiler=$1 flags=$2 include=$3 which=$4
shift 4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$flags" "$work/flags"
if [ $# -gt 0 ]; then printf '%s\n' "$@" >>"$work/flags"; fi
case $which in
hpp | cuh) (cd "$include/plimsoll" && find . -name "*.$which" | sed 's|^\./||' | sort) >"$work/headers" ;;
*) printf '%s\n' "$which" >"$work/headers" ;;
esac
if ! [ -s "$work/headers" ]; then
    echo "no .$which headers under $include/plimsoll"
    exit 1
fi
xargs -P 2 -I '{}' sh "$0" --one "$compiler" "$work/flags" "$work" '{}' <"$work/headers"
echo "$(wc -l <"$work/headers") headers compile alone"
