#!/usr/bin/env bash
# Makes a minimal Debian 12 and imports it as an image. Usage: import_root.sh SCRATCH IMAGE
set -euo pipefail
image=$2
scratch=$(mktemp -d "$1/root.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
debootstrap --variant=minbase bookworm "$scratch"
tar -C "$scratch" -c . | docker import - "$image"
