#!/usr/bin/env bash
# Renews every lock file from its .in file. Needs a pip that finds torch's CPU build (see tests/lab/prepare.py).
set -euo pipefail
cd "$(dirname "$0")/.."
compile() { uv pip compile --quiet --upgrade --generate-hashes --no-header --no-annotate "$@"; }
lab() {
  compile --no-build --overrides tests/lab/overrides.txt --python-version 3.11 \
    --python-platform x86_64-manylinux_2_36 "${torch[@]}" "tests/lab/$1/requirements.in" -o "tests/lab/$1/requirements.txt"
}

links=$(pip config get global.find-links 2>/dev/null || true)
torch=(--torch-backend cpu)
[ -z "$links" ] || torch=(--find-links "$links")

compile --universal --python-version 3.11 requirements/dev.in -o requirements/dev.txt
compile --universal --python-version 3.10 --no-build roles/env_setup/files/tools-requirements.in \
  -o roles/env_setup/files/tools-requirements.txt
compile --universal --python-version 3.10 --no-build roles/env_setup/files/venv-requirements.in \
  -o roles/env_setup/files/venv-requirements.txt
lab serving
lab model
