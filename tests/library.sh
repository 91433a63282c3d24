#!/bin/sh
# library.sh <compiler> <flags file> <library> <program.cpp> <work directory> <link flag>...
# A program of the library must not have in its own object what the library has; program and library must not link
# where they were compiled with other settings.
set -eu
compiler=$1 flags=$2 library=$3 program=$4 work=$5
shift 5
link=$*
. "$(dirname "$0")/flags.sh"
rm -rf "$work"
mkdir -p "$work"

"$compiler" "$@" -O1 -DPLIMSOLL_COMPILED=1 -c "$program" -o "$work/program.o"
nm -C "$work/program.o" >"$work/names"
for name in 'TrainingLoop<unsigned char, float, [^ ]*Host>::fit(' 'InMemory<unsigned char>::InMemory(' \
    'HostKernel<[^ ]*DenseKernel<float, float> >::make(' 'PlanReport::str'; do
    if ! grep -q " U .*$name" "$work/names"; then
        echo "the program does not ask the library for $name"
        exit 1
    fi
done
own='(TrainingLoop<.*>::(fit|step)|Engine<.*>::(evaluate|run|run_with|save|load)|Executor<.*>::(run|update|bind)|
InMemory<unsigned char>::(InMemory|read)|DenseKernel<.*>::(for|back)ward|Convolution<float>::(for|back)ward|
InputGradient<|WeightGradient<|PoolKernel<|Json|[sS]afetensors|cgroup)'
if grep -E " [TtWw] " "$work/names" | grep -v _Function_handler | grep -E "$(printf '%s' "$own" | tr -d '\n')"; then
    echo "the program has these of its own"
    exit 1
fi
# shellcheck disable=SC2086
"$compiler" "$@" "$work/program.o" "$library" $link -o "$work/program"
"$work/program" >"$work/output"

"$compiler" "$@" -O1 -DPLIMSOLL_COMPILED=1 -UPLIMSOLL_CANARIES -DPLIMSOLL_CANARIES=1 -c "$program" -o "$work/other.o"
# shellcheck disable=SC2086
if said=$(LC_ALL=C "$compiler" "$@" "$work/other.o" "$library" $link -o "$work/other" 2>&1); then
    echo "a program with canaries links with a library without"
    exit 1
fi
case $said in
*LibraryOf*) ;;
*)
    printf 'the linker does not say why:\n%s\n' "$said"
    exit 1
    ;;
esac
