#!/usr/bin/env bash
# Ends the engine that start_engine.sh started, by its process id, and waits until it is gone.
set -euo pipefail
file=$1/dockerd.pid
pid=$(cat "$file")
# The id may have been given to another process since.
if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ]; then
  kill "$pid"
  for _ in $(seq 60); do [ -d "/proc/$pid" ] || break; sleep 0.5; done
  if [ -d "/proc/$pid" ]; then
    echo "expected dockerd (process $pid) to end within 30 s, found it running" >&2
    exit 1
  fi
fi
rm "$file"
