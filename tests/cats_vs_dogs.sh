#!/bin/sh
# cats_vs_dogs.sh <cats_vs_dogs> <source directory>
# The example through its sources: the same pictures give the same losses whatever they come from, the CSV is well
# formed, and what cannot be is refused in one line with its exit code. TFRecord files are reference data
# (PLIMSOLL_REFERENCE, else ../shared beside the repository); without them that part prints SKIPPED.
set -eu
program=$1 root=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
header=epoch,train_loss,train_accuracy,val_loss,val_accuracy,images_per_second,arena_peak_bytes,rss_peak_bytes
budget=104857600
seed=3

fail() {
    printf 'failed: %s\n' "$1"
    shift
    for file in "$@"; do cat "$file"; done
    exit 1
}

# trains <name> <flag>...: two epochs in small batches; <name>.csv must be well formed.
trains() {
    name=$1
    shift
    "$program" --batch 16 --epochs 2 --seed $seed --budget 100MiB --csv "$work/$name.csv" "$@" \
        >"$work/out" 2>"$work/log" || fail "$name: exit code $?" "$work/out" "$work/log"
    [ "$(head -n 1 "$work/$name.csv")" = "$header" ] || fail "$name: the CSV's header" "$work/$name.csv"
    awk -F, -v budget=$budget '
        NR == 1 { next }
        NF != 8 || $1 != NR - 1 { exit bad = 1 }
        { for (i = 2; i <= 8; ++i) if ($i !~ /^[0-9]+([.][0-9]+)?(e-?[0-9]+)?$/) exit bad = 1 }
        $3 > 1 || $5 > 1 || $7 > budget || $8 <= $7 { exit bad = 1 }
        END { exit bad || NR != 3 }' "$work/$name.csv" || fail "$name: the CSV's lines" "$work/$name.csv"
}

# same <name> <name>: the same losses and accuracies, to the last digit.
same() {
    cut -d, -f1-5 "$work/$1.csv" >"$work/first"
    cut -d, -f1-5 "$work/$2.csv" >"$work/second"
    cmp -s "$work/first" "$work/second" || fail "$1 and $2 differ" "$work/first" "$work/second"
}

# refuses <exit code> <word that the line holds> <flag>...
refuses() {
    expected=$1 word=$2
    shift 2
    code=0
    "$program" --batch 16 --epochs 1 "$@" >"$work/out" 2>"$work/log" || code=$?
    # What was opened, and how, is told in lines of their own.
    grep -v '^plimsoll: ' "$work/log" >"$work/said" || true
    [ $code = "$expected" ] || fail "exit code $code, not $expected: $*" "$work/log"
    [ "$(wc -l <"$work/said")" = 1 ] || fail "not one line: $*" "$work/log"
    grep -q "^cats_vs_dogs: .*$word" "$work/said" || fail "it does not say \"$word\": $*" "$work/log"
}

# Arrays: 40 pictures of one gray each, cats dark and dogs light. <name> <labels of 40 pictures>
npy() { # <shape>
    printf '\223NUMPY\001\000v\000'
    printf '%-117s\n' "{'descr': '|u1', 'fortran_order': False, 'shape': $1, }"
}
arrays() {
    { npy '(40, 150, 150, 3)'; for label in $2; do
        head -c 67500 /dev/zero | tr '\0' "\\$(printf %03o $((label * 120 + 60)))"
    done; } >"$work/$1_images.npy"
    { npy '(40,)'; for label in $2; do printf "\\00$label"; done; } >"$work/$1_labels.npy"
}
mixed='0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1'
arrays train "$mixed $mixed"
arrays sorted "$(printf '%s' "$mixed" | tr 1 0) $(printf '%s' "$mixed" | tr 0 1)"

trains mapped --data "$work/train" --source mapped
for precision in bfloat16 half; do
    trains $precision --data "$work/train" --source mapped --precision $precision
    if cmp -s "$work/mapped.csv" "$work/$precision.csv"; then fail "$precision computes as float does"; fi
done
trains array --data "$work" --source memory --save "$work/weights.safetensors" --plan "$work/plan.html"
same mapped array
seed=4
trains other --data "$work/train" --source mapped
seed=3
if cmp -s "$work/mapped.csv" "$work/other.csv"; then fail "two seeds, one result"; fi
[ -s "$work/weights.safetensors" ] && [ -s "$work/plan.html" ] || fail "--save and --plan have written nothing"

# Processed splits: val_ validates where it is there, and any may be named.
mkdir "$work/splits"
for part in images labels; do
    for name in train val test; do cp "$work/train_$part.npy" "$work/splits/${name}_$part.npy"; done
done
trains val --data "$work/splits" --source mapped --split 'train[:30]'
grep -q '^validation  40 x' "$work/out" || fail "val_images.npy does not validate" "$work/out"
trains test --data "$work/splits" --source mapped --split 'train[:30]' --validation 'test'
same val test
trains part --data "$work/splits" --split 'train[:30]' --validation 'test[:50%]'
grep -q '^validation  20 x' "$work/out" || fail "half of test does not validate" "$work/out"
refuses 2 'no split "late"' --data "$work/splits" --validation late
refuses 2 'no split "test"' --data "$work/splits/train" --validation test

refuses 1 nowhere --data "$work/nowhere"
refuses 1 plimsoll-preprocess --data "$work/nowhere" --source mapped
cp "$work/train_labels.npy" "$work/narrow_labels.npy"
{ npy '(40, 2, 1, 3)'; head -c 240 /dev/zero; } >"$work/narrow_images.npy"
refuses 1 'narrow_images.npy holds 2x1x3' --data "$work/narrow"
refuses 1 'images.npy" is an array' --data "$work/train" --source streaming
refuses 1 'class 1' --data "$work/sorted" --split 'train[:50%]'
refuses 1 'class 0' --data "$work/sorted"
refuses 1 'cannot' --data "$work/train" --csv "$work/none/log.csv"
refuses 1 'cannot' --data "$work/train" --save "$work/none/weights.safetensors"
refuses 2 '\[:few\]' --data "$work/train" --split 'train[:few]'
refuses 2 'share pictures' --data "$work/train" --split 'train[:30]' --validation 'train[29:]'
refuses 2 --precision --data "$work/train" --precision double
refuses 2 --source --data "$work/train" --source floppy
refuses 2 'device "tpu": it has host' --data "$work/train" --device tpu
refuses 2 'counted from 0' --data "$work/train" --ordinal -1
refuses 2 --data --source auto
refuses 2 'not a size' --data "$work/train" --budget much

# Too small a budget is refused with the smallest that works, and that one does.
refuses 1 'needs at least' --data "$work/train" --budget 30MiB
least=$(sed -n 's/.*needs at least \([0-9]*\) B.*/\1/p' "$work/said")
refuses 1 'needs at least' --data "$work/train" --budget "$((least - 1))"
"$program" --data "$work/train" --batch 16 --epochs 1 --budget "$least" >"$work/out" 2>"$work/log" ||
    fail "the smallest budget does not work: $least" "$work/log"

# The guide's data. Links, because indexes are written beside it.
data=${PLIMSOLL_REFERENCE:-$root/../shared}/data
mkdir "$work/shards"
for shard in "$data"/cats_vs_dogs-train.tfrecord-*-of-00004; do
    if ! [ -e "$shard" ]; then
        echo "SKIPPED: $data holds no cats_vs_dogs-train.tfrecord-*; arrays and refusals hold"
        exit 0
    fi
    ln -s "$(realpath "$shard")" "$work/shards"
done
trains memory --data "$work/shards" --source memory --split 'train[:96]'
trains streaming --data "$work/shards/*.tfrecord-*" --source streaming --split 'train[:96]'
same memory streaming
trains auto --data "$work/shards" --split 'train[:82]' --validation 'train[82:96]'
same memory auto # 85 % of 96 are 82
refuses 1 plimsoll-preprocess --data "$work/shards" --source mapped
refuses 2 '\[9000:\]' --data "$work/shards" --split 'train[9000:]'
echo "cats_vs_dogs holds"
