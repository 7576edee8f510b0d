#!/bin/sh
# Writes constraints/3.*.txt, the packages that ./run and CI install on each supported Python. Locks
# the newest release of every package at the time of the call. Needs PyPI and any python3, but not
# the Pythons that it locks for.
#
#     constraints/lock.sh             all Pythons
#     constraints/lock.sh 3.13        only this Python
set -eu

root=$(dirname "$(dirname "$(readlink -f "$0")")")
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT

python3 -m venv "$tools/venv"
"$tools/venv/bin/pip" install --quiet --disable-pip-version-check uv

[ $# -gt 0 ] || set -- 3.10 3.11 3.12 3.13 3.14
cd "$root"
for version in "$@"; do
    # Wheels for glibc 2.28 and later: Debian 10, RHEL 8, Ubuntu 20.04
    UV_CUSTOM_COMPILE_COMMAND="constraints/lock.sh $version" \
        "$tools/venv/bin/uv" pip compile --quiet --upgrade --no-emit-index-url \
        --python-version "$version" --python-platform x86_64-manylinux_2_28 \
        --extra tests --output-file "constraints/$version.txt" setup.py
done
