#!/bin/sh
# readers.sh <write_weights> <readers.py> <folder>: writes a file and opens it with its real readers, from PyPI in a
# virtual environment made once in <folder>. Prints SKIPPED where Python or the packages are not to be had.
set -eu
writer=$1 reader=$2 folder=$3
mkdir -p "$folder"
python=$folder/venv/bin/python
if ! [ -e "$folder/venv/ready" ]; then
    rm -rf "$folder/venv"
    if ! command -v python3 >/dev/null || ! python3 -m venv "$folder/venv" >/dev/null 2>&1 ||
        ! "$python" -m pip install --quiet --timeout 20 --retries 1 numpy safetensors >/dev/null 2>&1; then
        rm -rf "$folder/venv"
        echo "SKIPPED: python3 with numpy and safetensors is not to be had"
        exit 0
    fi
    touch "$folder/venv/ready"
fi
"$writer" "$folder/weights.safetensors"
"$python" "$reader" "$folder/weights.safetensors"
