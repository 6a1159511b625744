#!/usr/bin/env bash
# Makes .venv-bench: kevy-ring as built from this tree, what the benchmarks need, and every rival that installs here.
# A rival that does not install is named, and the results will name it too.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv-bench
python=$venv/bin/python
pip() { "$python" -m pip --disable-pip-version-check --quiet "$@"; }

# The native rivals are headers of Debian's; one rival from PyPI needs a compiler newer than Debian 12's g++.
packages=(libck-dev libboost-dev libreaderwriterqueue-dev clang-19 lld-19)
if command -v dpkg-query >/dev/null; then
    missing=()
    for package in "${packages[@]}"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        if [ "$(id -u)" = 0 ]; then
            echo "installing: ${missing[*]}"
            export DEBIAN_FRONTEND=noninteractive
            apt-get -qq update || true
            for package in "${missing[@]}"; do
                apt-get -qq install --no-install-recommends --yes "$package" >/dev/null 2>&1 ||
                    echo "left out: $package cannot be installed here" >&2
            done
        else
            echo "left out, unless installed by hand: ${missing[*]}" >&2
        fi
    fi
fi

[ -x "$python" ] || "${PYTHON:-python3}" -m venv "$venv"
pip install "setuptools>=77" wheel
pip install -r bench/requirements.txt
pip install --no-deps --no-build-isolation --force-reinstall .

if command -v clang++-19 >/dev/null && command -v ld.lld-19 >/dev/null; then
    export CC=clang-19 CXX=clang++-19
    export LDSHARED="clang++-19 -shared -fuse-ld=lld-19" LDCXXSHARED="clang++-19 -shared -fuse-ld=lld-19"
fi
while read -r rival; do
    [ -n "$rival" ] || continue
    case $rival in
    tachyon-ipc*) pip install --no-deps --no-build-isolation "$rival" >/dev/null 2>&1 ;;
    *) env -u CC -u CXX -u LDSHARED -u LDCXXSHARED "$python" -m pip --disable-pip-version-check --quiet install "$rival" ;;
    esac || echo "left out: $rival does not install here" >&2
done <bench/rivals.txt
