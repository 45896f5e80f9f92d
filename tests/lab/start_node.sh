#!/usr/bin/env bash
# Starts a node and settles it: the user's key, the registry its engine trusts, the package index of
# its pip. Ends when systemd and the engine are up. Prints something only when it changed something.
# Usage: start_node.sh NAME IMAGE NETWORK ADDRESS SHARED_DIR PUBLIC_KEY REGISTRY INDEX
set -euo pipefail
name=$1 image=$2 network=$3 address=$4 shared=$5 key=$6 registry=$7 index=$8
node=onecc-lab-$name

# Empty where there is no such node yet, which docker inspect takes for an error.
state=$(docker inspect --format '{{.State.Status}}' "$node" 2>/dev/null || true)
if [ -n "$state" ]; then
  # A lab that was killed leaves its nodes in the engine, and another checkout's nodes share another folder.
  has=$(docker inspect --format '{{range .Mounts}}{{if eq .Destination "/home/ubuntu/shared"}}{{.Source}}{{end}}{{end}}' "$node")
  if [ "$has" != "$shared" ]; then
    if [ "$state" = running ]; then
      echo "$node: expected shared storage in $shared, found a running node of another lab with $has. Run 'make lab-down' first." >&2
      exit 1
    fi
    docker rm "$node" >/dev/null
    docker volume rm "$node" >/dev/null
    state=
  fi
fi

case $state in
  running) ;;
  "")
    # What --privileged would give and a nested engine needs, less what a sandbox may lack. By the
    # command line, since systempaths is an option that only it knows.
    docker run --detach --name "$node" --hostname "$name" --network "$network" --ip "$address" \
      --cap-add ALL --cap-drop SYS_RESOURCE \
      --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined \
      --cgroupns host --volume /sys/fs/cgroup:/sys/fs/cgroup:rw \
      --tmpfs /run --tmpfs /run/lock --tmpfs /tmp:exec --shm-size 1g \
      --volume "$node:/var/lib/docker" --volume "$shared:/home/ubuntu/shared" \
      "$image" >/dev/null
    echo "made $node"
    ;;
  *)
    docker start "$node" >/dev/null
    echo "started $node"
    ;;
esac

put() { # path, mode, owner; content on standard input
  docker exec -i "$node" sh -c '
    cat >"$1.new"
    if cmp -s "$1.new" "$1"; then rm "$1.new"; else chown "$3" "$1.new"; chmod "$2" "$1.new"; mv "$1.new" "$1"; echo "wrote $1"; fi
  ' put "$1" "$2" "$3"
}

docker exec "$node" chown ubuntu:ubuntu /home/ubuntu/shared
put /home/ubuntu/.ssh/authorized_keys 0600 ubuntu:ubuntu <"$key"
put /etc/pip.conf 0644 root:root <<EOF
[global]
no-index = true
find-links = http://$index/wheels/
trusted-host = $index
disable-pip-version-check = true
EOF
docker exec "$node" mkdir -p /etc/docker
engine=$(put /etc/docker/daemon.json 0644 root:root <<EOF
{"insecure-registries": ["$registry"]}
EOF
)
for _ in $(seq 120); do
  state=$(docker exec "$node" systemctl is-system-running 2>&1) || true
  case $state in running | degraded) break ;; esac
  sleep 0.5
done
if [ "$state" != running ]; then
  docker exec "$node" systemctl --failed --no-legend >&2
  echo "$node: expected systemd to say 'running', found '$state'" >&2
  exit 1
fi
if [ -n "$engine" ]; then
  echo "$engine"
  docker exec "$node" systemctl restart docker.service
fi
docker exec "$node" docker info >/dev/null
