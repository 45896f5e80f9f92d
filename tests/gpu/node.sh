#!/usr/bin/env bash
# A node's first process: makes a root of its own over that of the machine, and keeps sshd there. Runs in namespaces of its
# own (see nodes.py), with everything it needs to know in a file of shell variables. Waits for a line on standard input,
# which says that the network is there.
set -euo pipefail
base='' name='' shared='' shared_at='' shm_size='' mounts=() devices=()
# shellcheck source=/dev/null
. "$1"

# What is written stays in upper, so that a node that is started anew finds what it had.
mount --make-rprivate /
mkdir -p "$base/upper" "$base/work" "$base/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" "$base/root"
cd "$base/root"
for path in "${mounts[@]}"; do
  mount --bind "$path" ".$path"
done
mkdir -p ".$shared_at"
mount --bind "$shared" ".$shared_at"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount --rbind /sys/fs/cgroup sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp

# Only the GPUs that are this node's. Without the second file NVIDIA's libraries would make the other devices themselves.
mount -t tmpfs -o mode=755 tmpfs dev
mkdir -p dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
mount -t tmpfs -o "mode=1777,size=$shm_size" tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr
for device in "${devices[@]}"; do
  if [ -d "$device" ]; then
    mkdir -p ".$device"
    mount --rbind "$device" ".$device"
  else
    touch ".$device"
    mount --bind "$device" ".$device"
  fi
done
if [ -e /proc/driver/nvidia/params ]; then
  sed 's/^ModifyDeviceFiles: .*/ModifyDeviceFiles: 0/' /proc/driver/nvidia/params >run/nvidia-params
  mount --bind run/nvidia-params proc/driver/nvidia/params
fi

hostname "$name"
pivot_root . .
umount -l .
cd /
read -r _
mkdir -p /run/sshd
/usr/sbin/sshd -D -E /var/log/sshd.log &
# What loses its parent becomes a child of this one, and bash reaps it.
trap 'exit 0' TERM
wait
