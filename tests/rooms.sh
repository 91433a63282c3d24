#!/bin/sh
# rooms.sh <include directory>: the rules that keep the rooms apart. Prints one sentence for each break.
#   1. A header includes only its own room or a lower one, and library headers as <plimsoll/...>.
#   2. No library header includes an umbrella; no .hpp includes a .cuh.
#   3. Above `model` only kernel files (device/host, device/cuda) name a layer; the layers are the structs in
#      model/layers that have a `static constexpr Facts facts`.
#   4. Only .cuh files include CUDA, CUB or cuDNN; only device/host includes or names oneDNN (dnnl).
#   5. A header has at most 400 lines.
set -eu
cd "$1/plimsoll"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/code.awk" <<'EOF'
# Blanks comments and, with strings=0, the insides of string and character literals; keeps line numbers.
# Prints file:line:code. #include lines keep their names.
function flush_line() { printf "%s:%d:%s\n", name, number, out; out = ""; number++ }
function emit(text) { out = out text }
{
    name = FILENAME; sub(/^\.\//, "", name)
    if (FNR == 1) { state = ""; number = 1; out = "" }
    line = $0
    sub(/\r$/, "", line)
    while (line != "") {
        if (state == "comment") {
            at = index(line, "*/")
            if (!at) { line = ""; break }
            emit(" "); line = substr(line, at + 2); state = ""
        } else if (state == "raw") {
            at = index(line, closing)
            if (!at) { if (strings) emit(line); line = ""; break }
            if (strings) emit(substr(line, 1, at - 1))
            emit("\""); line = substr(line, at + length(closing)); state = ""
        } else if (match(line, /\/\/|\/\*|"|'/)) {
            mark = substr(line, RSTART, RLENGTH); before = substr(line, 1, RSTART - 1)
            rest = substr(line, RSTART + RLENGTH); last = substr(before, length(before), 1)
            emit(before)
            if (mark == "//") line = ""
            else if (mark == "/*") { state = "comment"; line = rest }
            else if (mark == "'" && last ~ /[0-9A-Za-z_]/) line = rest # a digit separator
            else if (mark == "\"" && last == "R") {
                at = index(rest, "("); closing = ")" substr(rest, 1, at - 1) "\""
                emit("\""); state = "raw"; line = substr(rest, at + 1)
            } else {
                emit(mark)
                body = ""
                while (rest != "" && substr(rest, 1, 1) != mark) {
                    taken = substr(rest, 1, 1) == "\\" ? 2 : 1
                    body = body substr(rest, 1, taken); rest = substr(rest, taken + 1)
                }
                if (strings || before ~ /^[ \t]*#[ \t]*include/) emit(body)
                emit(mark); line = substr(rest, 2)
            }
        } else { emit(line); line = "" }
    }
    flush_line()
}
EOF

find . \( -name '*.hpp' -o -name '*.cuh' \) | sed 's|^\./||' | sort >"$work/files"
if ! [ -s "$work/files" ]; then
    echo "no headers under $1/plimsoll"
    exit 1
fi
xargs awk -v strings=1 -f "$work/code.awk" <"$work/files" >"$work/code" # without comments
xargs awk -v strings=0 -f "$work/code.awk" <"$work/files" >"$work/bare" # without strings too

cat >"$work/room.awk" <<'EOF'
BEGIN {
    count = split("core format source model plan device device/host|device/cuda trainer", order, " ")
    for (i = 1; i <= count; ++i) { n = split(order[i], same, "|"); for (j = 1; j <= n; ++j) level[same[j]] = i }
}
function room(path) {
    if (path ~ /^device\/(host|cuda)\//) return substr(path, 1, 11)
    return index(path, "/") ? substr(path, 1, index(path, "/") - 1) : ""
}
function split_line() {
    at = index($0, ":"); file = substr($0, 1, at - 1); text = substr($0, at + 1)
    at = index(text, ":"); line = substr(text, 1, at - 1); text = substr(text, at + 1)
    place = "plimsoll/" file ":" line ": "
}
EOF

cat >"$work/includes.awk" <<'EOF'
{ split_line() }
line == 1 {
    own = room(file); umbrella = file ~ /^(compiled.hpp|plimsoll.hpp|cuda.cuh|devices.hpp|devices.cuh)$/
    if (!umbrella && !(own in level)) print "plimsoll/" file ": there is no room for this header"
}
text ~ /^[ \t]*#[ \t]*include/ {
    if (text ~ /#[ \t]*include[ \t]*"/) {
        print place "library headers are included as <plimsoll/...>"
        next
    }
    if (!match(text, /<[^>]*>/)) next
    what = substr(text, RSTART + 1, RLENGTH - 2)
    if (what ~ /^(cuda|cub|nv|cooperative_groups|thrust\/system\/cuda)\// ||
        what ~ /^(cuda|cudnn|cublas|curand|cufft|cusparse|cusolver|nvrtc|nvml|nvtx|nccl|vector_types|driver_types)[A-Za-z0-9_]*\.h/ ||
        what == "thrust/device_vector.h" || what == "thrust/device_ptr.h") {
        if (file !~ /\.cuh$/) print place "only .cuh files include CUDA, CUB or cuDNN, not <" what ">"
    }
    if (what ~ /dnnl/ && own != "device/host") print place "only device/host includes oneDNN, not <" what ">"
    if (what !~ /^plimsoll\//) next
    other = substr(what, 10)
    if (file ~ /\.hpp$/ && other ~ /\.cuh$/) print place "a .hpp cannot include <" what ">"
    if (other ~ /^(compiled.hpp|plimsoll.hpp|cuda.cuh|devices.hpp|devices.cuh)$/) {
        if (!umbrella) print place "no library header includes the umbrella <" what ">"
    } else if (!umbrella) {
        from = room(other)
        if (!(from in level)) print place "there is no room for <" what ">"
        else if (from != own && own in level && level[from] >= level[own])
            print place "room " own " cannot include <" what "> from room " from
    }
}
EOF
awk -f "$work/room.awk" -f "$work/includes.awk" "$work/code" >"$work/found"

# oneDNN's names, in code: __has_include may ask for its header anywhere.
cat >"$work/dnnl.awk" <<'EOF'
{
    split_line()
    if (file ~ /^device\/host\// || text ~ /^[ \t]*#[ \t]*include/) next
    gsub(/__has_include[ \t]*\([^)]*\)/, "", text)
    if (text ~ /(^|[^A-Za-z0-9_])dnnl/) print place "only device/host names oneDNN"
}
EOF
awk -f "$work/room.awk" -f "$work/dnnl.awk" "$work/bare" >>"$work/found"

# The layers: follow braces, remember the struct at each depth, and take those whose body declares its facts.
cat >"$work/layers.awk" <<'EOF'
{
    split_line()
    if (file !~ /^model\/layers\//) next
    if (line == 1) { depth = 0; pending = ""; naming = 0; a = b = "" }
    while (match(text, /[A-Za-z_][A-Za-z_0-9]*|[{};<>,()=:&*]/)) {
        token = substr(text, RSTART, RLENGTH); text = substr(text, RSTART + RLENGTH)
        if (token == "{") { ++depth; scope[depth] = pending; pending = ""; naming = 0 }
        else if (token == "}") { if (depth) --depth; pending = "" }
        else if (token == ";") { pending = ""; naming = 0 }
        else if (token == "struct" || token == "class") naming = 1
        else if (naming && token ~ /^[A-Za-z_]/) { pending = token; naming = 0 }
        else if (token == "facts" && b == "Facts" && (a == "constexpr" || a == "consteval")) {
            for (d = depth; d > 0 && scope[d] == ""; --d);
            if (d) print scope[d]
        }
        a = b; b = token
    }
}
EOF
awk -f "$work/room.awk" -f "$work/layers.awk" "$work/bare" | sort -u >"$work/layers"

cat >"$work/names.awk" <<'EOF'
FILENAME == layers { layer[$0]; next }
{
    split_line()
    own = room(file)
    if (!(own in level) || level[own] <= level["model"] || own ~ /^device\//) next
    while (match(text, /[A-Za-z_][A-Za-z_0-9]*/)) {
        word = substr(text, RSTART, RLENGTH); text = substr(text, RSTART + RLENGTH)
        if (word in layer) print place "room " own " names the layer " word "; only kernel files do"
    }
}
EOF
if [ -s "$work/layers" ]; then
    awk -v layers="$work/layers" -f "$work/room.awk" -f "$work/names.awk" "$work/layers" "$work/code" >>"$work/found"
elif [ -e plimsoll.hpp ]; then
    echo "no struct in plimsoll/model/layers declares \`static constexpr Facts facts\`: nothing to check" >>"$work/found"
fi

while IFS= read -r file; do
    lines=$(wc -l <"$file")
    if [ "$lines" -gt 400 ]; then echo "plimsoll/$file: $lines lines; a header has at most 400"; fi
done <"$work/files" >>"$work/found"

if [ -s "$work/found" ]; then
    sort "$work/found"
    exit 1
fi
echo "$(wc -l <"$work/files") headers, $(wc -l <"$work/layers") layers: the rooms are in order"
