# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The faults: what each does to the lab, and what of it has to be undone.

A fault of the kind "process" ends a process, which somebody sees at once; a "silent" one is known only by
what does not come any more.
"""

import collections.abc
import dataclasses
import subprocess
import time

import controller

# The titles of processes as a node shows them, from their beginning: other processes have some of these words in
# their arguments. Ray 2.60, vLLM 0.32.
PROCESSES = {
    "rank": r"^ray::(RayWorker|vllm_Worker)",
    "engine core": r"^VLLM::EngineCore",
    "API server": r"^([^ ]*python[^ ]* )?[^ ]*vllm serve ",
    "raylet": r"^[^ ]*/raylet/raylet ",
    "gcs": r"^[^ ]*/gcs_server ",
    "runtime env agent": r"^ray::RuntimeEnvAgent",
}
WORKER = "node01"
SHARED = "/home/ubuntu/shared"
# /tmp of the worker's containers. A small file system of its own, see small_disk(), is filled safely.
DISK = "/var/lib/onecc/tmp"


@dataclasses.dataclass(frozen=True)
class Fault:
    """One line of the table. See DETECT in records.py for kinds."""

    name: str
    kind: str
    # Called with the scene. Ends when the fault is undone, if there is something to undo.
    bring: collections.abc.Callable
    # Whether it takes something away that comes back later: recovery counts from then on.
    undone: bool = False
    # A pattern of the reason that tells what is missing, and whether it must be told.
    named: str | None = None
    must_name: bool = False


def docker(*words):
    subprocess.run(["docker", *words], check=True, capture_output=True, text=True, timeout=120)


def box(node):
    return "onecc-lab-%s" % node


def signal(scene, node, process, name="KILL"):
    """Sends a signal to all processes of a kind on a node."""
    # Without a shell, whose own arguments would match.
    words = ["docker", "exec", box(node), "pkill", "--echo", "--signal", name, "--full", PROCESSES[process]]
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise LookupError("expected a %s on %s, found no process like %s" % (process, node, PROCESSES[process]))
    scene.details.append("%s on %s: %s" % (name, node, done.stdout.strip()))


def signalled(node, process, name="KILL"):
    return lambda scene: signal(scene, node, process, name)


def head_container_killed(scene):
    scene.lab.inside("node00", "docker kill onecc-ray")


def partitioned(seconds):
    def bring(scene):
        with scene.lab.cut_off(WORKER):
            # Its length is what this fault is.
            time.sleep(seconds)

    return bring


def power_cut(scene):
    start = time.monotonic()
    docker("kill", box(WORKER))
    try:
        scene.named(GONE, start, 120)
    finally:
        docker("start", box(WORKER))


def rebooted(*nodes):
    """Reboots nodes, each a few seconds after the one before it."""

    def bring(_scene):
        running = []
        for node in nodes:
            if running:
                # The second comes while the first is down: that is what this fault is.
                time.sleep(4)
            words = ["docker", "restart", "--time", "20", box(node)]
            running.append(subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True))
        for process in running:
            _out, error = process.communicate(timeout=120)
            if process.returncode != 0:
                raise OSError("docker restart: %s" % error)

    return bring


def small_disk(lab):
    """A disk of 1 GiB for the worker's containers, also after a reboot. To be called before they are made."""
    lab.inside(WORKER, "mkdir -p %s && echo tmpfs %s tmpfs size=1g,mode=1777 0 0 >>/etc/fstab" % (DISK, DISK))
    lab.inside(WORKER, "systemctl daemon-reload && mount %s" % DISK)


def disk_full(scene):
    scene.lab.inside(WORKER, "mountpoint %s" % DISK)
    try:
        # dd ends with an error when there is no room left.
        scene.lab.inside(WORKER, "dd if=/dev/zero of=%s/filler bs=64k 2>/dev/null; test -s %s/filler" % (DISK, DISK))
        signal(scene, WORKER, "rank")
        # Long enough that something is started on the full disk.
        time.sleep(60)
    finally:
        scene.lab.inside(WORKER, "rm -f %s/filler" % DISK)


def storage_unmounted(scene):
    start = time.monotonic()
    # A second way to it, by which it comes back. Lazily, as whoever reads it at this moment would hold it.
    scene.lab.inside(WORKER, "mkdir -p /run/kept && mount --bind %s /run/kept && umount --lazy %s" % (SHARED, SHARED))
    try:
        signal(scene, WORKER, "rank")
        scene.named(NO_STORAGE, start, 120)
    finally:
        scene.lab.inside(WORKER, "mount --bind /run/kept %s && umount --lazy /run/kept" % SHARED)


GONE = r"waiting for .*%s" % WORKER
NO_STORAGE = r"waiting for .*%s.*storage" % WORKER

# In the order in which they are brought about: what takes longest to come back first, so that a run that fails does so
# early.
FAULTS = [
    Fault("partition-10", "silent", partitioned(10), undone=True),
    Fault("partition-100", "silent", partitioned(100), undone=True, named=GONE, must_name=True),
    Fault("power-cut", "silent", power_cut, undone=True, named=GONE, must_name=True),
    Fault("reboot-worker", "silent", rebooted(WORKER), undone=True, named=GONE),
    Fault("reboot-head", "process", rebooted("node00"), undone=True),
    Fault("reboot-head-then-worker", "process", rebooted("node00", WORKER), undone=True),
    Fault("reboot-worker-then-head", "silent", rebooted(WORKER, "node00"), undone=True, named=GONE),
    Fault("controller-killed", "controller", controller.killed_again_and_again, undone=True),
    Fault("worker-killed", "process", signalled(WORKER, "rank")),
    Fault("engine-core-killed", "process", signalled("node00", "engine core")),
    Fault("api-server-killed", "process", signalled("node00", "API server")),
    Fault("raylet-terminated", "process", signalled(WORKER, "raylet", "TERM")),
    Fault("gcs-killed", "process", signalled("node00", "gcs")),
    Fault("agent-killed", "process", signalled(WORKER, "runtime env agent")),
    Fault("rank-stopped", "silent", signalled(WORKER, "rank", "STOP")),
    Fault("head-container-killed", "process", head_container_killed),
    Fault("disk-full", "process", disk_full, undone=True),
    Fault("storage-unmounted", "process", storage_unmounted, undone=True, named=NO_STORAGE, must_name=True),
]
# What every run of the tests has time for.
SHORT = ["worker-killed", "raylet-terminated", "rank-stopped", "power-cut"]
