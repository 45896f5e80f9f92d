#!/usr/bin/env bash
# What an experienced person types who brings up the same service by hand, nodes side by side where that can be.
# On each node /root/by-hand has what that person would have prepared: the files of the state folder (secrets, rules of
# the firewall, configuration of nginx), the lock file of the tools, and the docker commands of the containers.
# Usage: by_hand.sh SSH_CONFIG GPUS MODEL QUESTION HEAD [WORKER...]
set -euo pipefail
config=$1 gpus=$2 model=$3 question=$4 head=$5
nodes=("${@:5}") workers=("${@:6}")

on() {
  # shellcheck disable=SC2029 # the command is to be expanded here
  ssh -n -F "$config" "$1" "sudo bash -euc $(printf %q "$2")"
}
together() {
  local command=$1 pids=()
  shift
  for node in "$@"; do on "$node" "$command" & pids+=($!); done
  for pid in "${pids[@]}"; do wait "$pid"; done
}

echo "shared storage"
# 124: the second is over.
# shellcheck disable=SC2016 # the node is to expand it
together 'file=$(mktemp -p /home/ubuntu/shared)
  timeout 1 dd if=/dev/urandom of="$file" bs=8M count=32 status=none || test $? -eq 124
  sync "$file"
  timeout 1 sh -c "while dd if=$file of=/dev/null bs=8M iflag=direct status=none; do :; done" || test $? -eq 124
  rm "$file"' "${nodes[@]}"

echo "tools and firewall"
together 'mkdir -p /var/lib/onecc && cp -a /root/by-hand/state/. /var/lib/onecc/
  mkdir -p -m 1777 /var/lib/onecc/tmp && chmod 1777 /var/lib/onecc/tmp
  python3 -m venv /var/lib/onecc/tools
  /var/lib/onecc/tools/bin/pip install --quiet --require-hashes --no-deps -r /root/by-hand/tools-requirements.txt
  nft --file /var/lib/onecc/firewall.nft' "${nodes[@]}"

echo "network between the nodes"
together 'sh /root/by-hand/onecc-fabric >/dev/null; docker logs --follow onecc-fabric; docker rm onecc-fabric >/dev/null' \
  "${nodes[@]}"

echo "model"
on "$head" ". /root/by-hand/hub; /var/lib/onecc/tools/bin/hf download $model >/dev/null"

echo "Ray"
on "$head" 'sh /root/by-hand/onecc-ray >/dev/null; until docker exec onecc-ray ray status >/dev/null 2>&1; do sleep 0.5; done'
if [ "${#workers[@]}" -gt 0 ]; then together 'sh /root/by-hand/onecc-ray >/dev/null' "${workers[@]}"; fi
on "$head" "until docker exec onecc-ray ray status | grep -q '/$gpus.0 GPU'; do sleep 0.5; done"

echo "vLLM and the endpoint"
body=$(printf '{"model": "%s", "messages": [{"role": "user", "content": "%s"}], "max_tokens": 128}' "$model" "$question")
on "$head" 'sh /root/by-hand/onecc-vllm >/dev/null
  mkdir -p /var/cache/onecc-endpoint; sh /root/by-hand/nginx
  until chown www-data /run/onecc-engine/vllm.sock 2>/dev/null; do sleep 0.5; done'
key=$(on "$head" 'cat /var/lib/onecc/secrets/api-key')
address=$(ssh -F "$config" -G "$head" | sed -n 's/^hostname //p')
until curl --silent --fail --max-time 60 "http://$address:8000/v1/chat/completions" --data "$body" \
  -H "Authorization: Bearer $key" -H 'Content-Type: application/json'; do sleep 0.5; done
