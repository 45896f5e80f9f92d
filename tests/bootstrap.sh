#!/usr/bin/env bash
# Makes the Python environment of the controller. Usage: bootstrap.sh VENV LOCKFILE
set -euo pipefail
venv=$1 lock=$2

if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "expected Python 3.11 or later as python3, found: $(python3 --version 2>&1)" >&2
  exit 1
fi
# Debian keeps venv in a package of its own.
if ! python3 -c 'import ensurepip' 2>/dev/null; then
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "expected Python's venv module; install the package python3-venv and run this again" >&2
    exit 1
  fi
  apt-get update -q
  apt-get install -qy --no-install-recommends python3-venv
fi
if ! command -v ssh >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  apt-get update -q
  apt-get install -qy --no-install-recommends openssh-client
fi

python3 -m venv --clear "$venv"
uv=$(sed -nE 's/^(uv==[^ ]+).*/\1/p' "$lock")
"$venv/bin/pip" install --quiet --disable-pip-version-check "$uv"
"$venv/bin/uv" pip sync --quiet --python "$venv/bin/python" --require-hashes "$lock"
