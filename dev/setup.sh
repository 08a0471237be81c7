#!/usr/bin/env bash
# Makes the virtual environment: `dev/setup.sh .venv`. Everything comes from the lock file, checked by hash.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=${1:-.venv}
python=${PYTHON:-python3}

fail() {
    echo "setup: $1" >&2
    exit 1
}

command -v "$python" >/dev/null || fail "no $python, on the PATH: install Python 3.11 or newer, or set PYTHON=/path/to/python3"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$python" --version) is too old, at $(command -v "$python"): Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11"

if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    # Debian ships the module that makes environments in a package of its own.
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "setup: installing python3-venv"
        apt-get install -qq -y python3-venv >/dev/null || fail "python3-venv could not be installed: run apt-get update and try again"
    else
        fail "Python's ensurepip is missing, in $(command -v "$python"): on Debian or Ubuntu, sudo apt-get install python3-venv"
    fi
fi

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
echo "setup: installing the locked packages into $venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
