# Sourced by the other tools: installs the Debian packages that are missing, and nothing else.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

build_packages=(g++ make cmake libdnnl-dev libthrust-dev zlib1g-dev libprotozero-dev libjpeg62-turbo-dev
    libpng-dev libcli11-dev)
test_packages=(doctest-dev libbenchmark-dev)
data_packages=(dataset-fashion-mnist)

cores() { nproc 2>/dev/null || getconf _NPROCESSORS_ONLN; }

find_nvcc() { command -v nvcc || ls "${CUDA_PATH:-/usr/local/cuda}/bin/nvcc" 2>/dev/null; }

# Says which GPUs there are; fails where there is none, and says what their driver says.
find_gpu() {
    command -v nvidia-smi >/dev/null || return
    local said
    said=$(nvidia-smi --list-gpus 2>&1) || true
    grep '^GPU' <<<"$said" || { echo "nvidia-smi finds no GPU: ${said:-it says nothing}" >&2 && return 1; }
}

# Configures preset cuda, as it says on stderr. Where the Cuda device cannot be built, prints why.
configure_cuda() { # configure_cuda <argument>...
    cmake --preset cuda -DPLIMSOLL_CUDA=AUTO "$@" 2>&1 | tee >(cat >&2) |
        sed -n 's/^-- Plimsoll: no Cuda device: //p'
}

# Is the package here, or the command it would bring?
is_here() {
    case $1 in
    g++ | make | cmake | clang) command -v "$1" >/dev/null && return 0 ;;
    esac
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# install_packages <package>...
install_packages() {
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        echo "This system has no apt. Needed, by Debian's names: $*" >&2
        return 0
    fi
    local missing=() package
    for package in "$@"; do
        is_here "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0

    local as_root=()
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "Missing packages, and neither root nor sudo to install them: ${missing[*]}" >&2
            return 1
        fi
        as_root=(sudo)
    fi
    echo "Installing ${missing[*]}"
    local log
    log=$(mktemp)
    if ! {
        "${as_root[@]}" apt-get -o DPkg::Lock::Timeout=300 -qq update &&
            "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq \
                install -y --no-install-recommends "${missing[@]}"
    } </dev/null >"$log" 2>&1; then
        echo "Installing failed:" >&2
        sed -E 's#(https?|ftp)://[^ ]*#(mirror)#g; s#[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.(org|com|net)\b[^ ]*#(mirror)#g' \
            "$log" | tail -n 20 >&2
        rm -f "$log"
        return 1
    fi
    rm -f "$log"
}
