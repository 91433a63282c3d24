#!/bin/sh
# readme.sh <compiler> <flags file> <source directory> [library...]
# Holds README.md and docs/*.md to their word:
#   1. Every ```cpp block compiles without a warning. A block with a main is a program; the others are fragments
#      and compile behind README's first program, whose types they use: those that begin with a struct, class or
#      template as they are, the rest inside a function that is given its `train`, `test` and `job`.
#   2. README's programs run, on a few pictures made here; so do fragments' inline functions without parameters.
#   3. The plan that README shows (a ```text block) is what its program prints; "..." stands for lines left out.
#   4. README's g++ lines build programs that run, by headers alone and with a library. Need g++, oneDNN, libjpeg and
#      libpng.
set -eu
compiler=$1 flags=$2 root=$3
shift 3
libraries=$*
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/blocks" "$work/run"

refuse() {
    printf 'refused: %s\n' "$1"
    shift
    for file in "$@"; do head -n 40 "$file"; done
    exit 1
}

. "$(dirname "$0")/flags.sh"

# Each block into a file of its own that remembers its page and line.
for page in README.md $(cd "$root" && ls docs/*.md 2>/dev/null); do
    awk -v page="$page" -v folder="$work/blocks" '
        /^```/ { if (inside) close(file); inside = 0 }
        /^```cpp[ \t]*$/ {
            inside = 1; name = page; gsub(/\//, "-", name); file = sprintf("%s/%s-%04d.cpp", folder, name, NR)
            printf "#line %d \"%s\"\n", NR + 1, page >file; next
        }
        inside { print >file }' "$root/$page"
done
programs=$(grep -l '^int main' "$work"/blocks/README.md-*.cpp || true)
[ -n "$programs" ] || refuse "README.md has no complete program"
first=$(printf '%s\n' "$programs" | head -n 1)

# A folder of pictures: PNGs of one pixel, dark cats and light dogs.
mkdir -p "$work/run/pictures/cat" "$work/run/pictures/dog"
start=iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42m
cat=${start}PQ0LABAAEIAI1jT3wpAAAAAElFTkSuQmCC dog=${start}M4cecSAATmAnccimvcAAAAAElFTkSuQmCC
i=0
while [ $i -lt 20 ]; do
    printf %s "$cat" | base64 -d >"$work/run/pictures/cat/$i.png"
    printf %s "$dog" | base64 -d >"$work/run/pictures/dog/$i.png"
    i=$((i + 1))
done

warnings='-Wall -Wextra -Wconversion -Wshadow -Werror'
for program in $programs; do
    # shellcheck disable=SC2086 # words
    "$compiler" "$@" $warnings -O1 "$program" -o "$work/run/program" $libraries >"$work/log" 2>&1 ||
        refuse "a program of README.md does not compile" "$work/log"
    (cd "$work/run" && ./program) >"$work/out" 2>"$work/log" ||
        refuse "a program of README.md fails" "$work/log" "$work/out"
    [ "$program" != "$first" ] || cp "$work/out" "$work/first.out"
done
[ -s "$work/run/weights.safetensors" ] || refuse "README's program has saved no weights.safetensors" "$work/log"

# The fragments, behind the first program.
fragments=0
grep -h '^#include' "$work"/blocks/*.cpp | sort -u >"$work/fragments.cpp"
cat "$first" >>"$work/fragments.cpp"
for block in "$work"/blocks/*.cpp; do
    case "
$programs
" in *"
$block
"*) continue ;; esac
    fragments=$((fragments + 1))
    if grep -q '^int main' "$block"; then
        refuse "only README.md has whole programs" "$block"
    elif grep -Eq '^(struct|class|template|namespace|inline)\>' "$block"; then
        printf 'namespace fragment_%d {\n' $fragments
        tail='}'
    else
        parameters='View<Streaming<u8>>& train, View<Streaming<u8>>& test, Job& job'
        printf 'void fragment_%d(%s);\n' $fragments "$parameters"
        printf 'void fragment_%d(%s) {\n' $fragments "$parameters"
        tail='}'
    fi >>"$work/fragments.cpp"
    sed 's/^#include.*//' "$block" >>"$work/fragments.cpp"
    printf '%s\n' "$tail" >>"$work/fragments.cpp"
done
# shellcheck disable=SC2086
"$compiler" "$@" $warnings -Wno-shadow -Wno-unused -Wno-unused-parameter -fsyntax-only "$work/fragments.cpp" \
    >"$work/log" 2>&1 || refuse "a snippet does not compile" "$work/log"

for block in "$work"/blocks/*.cpp; do
    for function in $(sed -n 's/^inline [A-Za-z]* \([a-z_]*\)() {$/\1/p' "$block"); do
        {
            printf '#include <plimsoll/plimsoll.hpp>\nusing namespace plimsoll;\n'
            cat "$block"
            printf 'int main() { %s(); }\n' "$function"
        } >"$work/function.cpp"
        # shellcheck disable=SC2086
        "$compiler" "$@" -O1 "$work/function.cpp" -o "$work/run/function" $libraries >"$work/log" 2>&1 ||
            refuse "$function() is no program" "$work/log"
        "$work/run/function" >"$work/log" 2>&1 || refuse "$function() fails" "$work/log"
    done
done

# The plan: bytes are constants, but without oneDNN its limits are not in them.
awk '/^```/ { if (inside) exit; begun = $0 ~ /^```text/; next }
     begun { begun = 0; inside = $0 ~ /^Plimsoll plan:/ }
     inside { print }' "$root/README.md" >"$work/plan"
[ -s "$work/plan" ] || refuse "README.md shows no plan"
if grep -q 'PLIMSOLL_WITH_ONEDNN=1' "$flags"; then
    while IFS= read -r line; do
        case $line in *...*) continue ;; esac
        grep -qxF -e "$line" "$work/first.out" ||
            refuse "README shows a line of the plan that its program does not print: $line" "$work/first.out"
    done <"$work/plan"
fi

# README's own g++ line, word for word, beside a folder `plimsoll`.
line=$(grep -m 1 '^g++ ' "$root/README.md") || refuse "README.md has no g++ line"
case $libraries in *dnnl*jpeg*png*) ;; *) line='' ;; esac
if [ -n "$line" ] && command -v g++ >/dev/null; then
    cp "$first" "$work/run/train.cpp"
    ln -s "$root" "$work/run/plimsoll"
    rm -f "$work/run/weights.safetensors"
    (cd "$work/run" && sh -c "$line" && ./train) >"$work/log" 2>&1 ||
        refuse "README's line does not work: $line" "$work/log"
    awk '/^```/ { if (inside) exit; next } /^flags=/ { inside = 1 } inside { print }' "$root/README.md" >"$work/lines"
    grep -q PLIMSOLL_IMPLEMENTATION "$work/lines" || refuse "README.md has no lines for a library" "$work/lines"
    rm -f "$work/run/weights.safetensors" "$work/run/train"
    (cd "$work/run" && sh -e "$work/lines" && ./train) >"$work/log" 2>&1 ||
        refuse "README's lines for a library do not work" "$work/lines" "$work/log"
fi
echo "$(printf '%s\n' "$programs" | wc -l) program, $fragments fragments: README.md and docs hold"
