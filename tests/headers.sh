#!/bin/sh
# headers.sh <compiler> <flags file> <include directory> <hpp|cuh|one header> [flag...]
# Compiles each header of include/plimsoll alone; names those that do not, with the compiler's words.
set -eu
if [ "${1-}" = --one ]; then # one header; the rest of the line is set by the caller below
    header=$2 compiler=$3 flags=$4
    shift 4
    while IFS= read -r flag; do
        if [ -n "$flag" ]; then set -- "$flag" "$@"; fi
    done <<EOF
$(sed '1!G;h;$!d' "$flags")
EOF
    source=$(mktemp)
    trap 'rm -f "$source" "$source.log"' EXIT
    printf '#include <plimsoll/%s>\n#include <plimsoll/%s>\n' "$header" "$header" >"$source"
    case $compiler in
    *nvcc*) set -- -x cu "$@" -c -o /dev/null ;;
    *) set -- -x c++ "$@" -Wall -Wextra -Wconversion -Wshadow -Werror -fsyntax-only ;;
    esac
    if ! LC_ALL=C "$compiler" "$@" "$source" >"$source.log" 2>&1; then
        { printf 'plimsoll/%s does not compile alone:\n' "$header"; head -n 20 "$source.log"; } >"$source.all"
        cat "$source.all"
        rm -f "$source.all"
        exit 1
    fi
    exit 0
fi

compiler=$1 flags=$2 include=$3 which=$4
shift 4
case $which in
hpp | cuh) headers=$(cd "$include/plimsoll" && find . -name "*.$which" | sed 's|^\./||' | sort) ;;
*) headers=$which ;;
esac
if [ -z "$headers" ]; then
    echo "no headers under $include/plimsoll"
    exit 1
fi
printf '%s\n' "$headers" | xargs -P 2 -I '{}' sh "$0" --one '{}' "$compiler" "$flags" "$@"
printf '%s headers compile alone\n' "$(printf '%s\n' "$headers" | wc -l)"
