#!/usr/bin/env bash
# Starts a Docker Engine that outlives this script, and keeps its process id for down.yml.
set -euo pipefail
state=$1
mkdir -p "$state"
setsid dockerd >"$state/dockerd.log" 2>&1 </dev/null &
echo $! >"$state/dockerd.pid"
