# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The judge: healthy clusters, in which nothing is wrong, and each way in which they may not be."""

from __future__ import annotations

import copy
import re

import pytest

from ansible_collections.onecc.vllm.plugins.module_utils import preflight
from ansible_collections.onecc.vllm.plugins.module_utils.catalogue import BY_ID

GB = 10**9
IMAGE = "onecc/vllm:3f1c0a9be2d4"
IMAGE_ID = "sha256:f4c1edef0b2d2a1cbd5b8fa11f7df2e4ac40a8cf9a5f8e43c4d7b0cbb18f0a6c"
OTHER_ID = "sha256:0a1b2c3d4e5f2a1cbd5b8fa11f7df2e4ac40a8cf9a5f8e43c4d7b0cbb18f0a6c"
RAY = "8ab4587f189f8c2f56c38e5b0fdb023efbe0666154feec38f56c655e7ca228e9"
# The role's defaults.
LIMITS = {
    "disk": 2 * 2**30,
    "image_disk": 50 * 2**30,
    "disk_percent": 94,
    "storage_rate": 200 * 2**20,
    "fabric_gb_s": None,
}
H100 = "NVIDIA H100 80GB HBM3"
PYTHON = {"pid": 4242, "name": "python3", "used_mib": 60000, "container": ""}
SSHD = {"address": "0.0.0.0", "port": 22, "process": "sshd", "pid": 812, "container": ""}
XID = "NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."


def h100(index):
    return {
        "index": index,
        "name": H100,
        "memory_mib": 81559,
        "used_mib": 4,
        "errors": [],
        "processes": [],
    }


def ib_port(index, state="ACTIVE", rate=400.0, device="mlx5_%d", link="InfiniBand"):
    return {
        "device": device % index if "%" in device else device,
        "port": 1,
        "state": state,
        "rate": rate,
        "link": link,
    }


def call(name, port, offset=0.0004, error=""):
    return {"name": name, "port": port, "error": error, "seconds": None if error else 0.0003, "offset": offset}


def gpu_node(index, count=2):
    """One of several machines with eight H100 and InfiniBand."""
    name = "node%02d" % index
    others = ["node%02d" % other for other in range(count) if other != index]
    head = index == 0
    ranks = {
        "backend": "nccl",
        "ranks": 8 * count,
        "latency_us": 35.2,
        "bytes": 256 << 20,
        "bus_gb_s": 182.441,
        "transports": ["NET/IB", "P2P/CUMEM"] if count > 1 else ["P2P/CUMEM"],
    }
    return {
        "name": name,
        "role": "head" if head else "worker",
        "error": "",
        "node": {
            "hostname": name,
            "kernel": "6.8.0-60-generic",
            "os": {
                "id": "ubuntu",
                "version": "22.04",
                "name": "Ubuntu 22.04.5 LTS",
                "machine": "x86_64",
                "systemd": True,
            },
            "memory": {"total": 1902 * GB, "available": 1870 * GB},
            "disks": {
                "/": {"free": 19000 * GB, "used_percent": 2.1},
                "/tmp": {"free": 19000 * GB, "used_percent": 2.1},
                "/var/lib/docker": {"free": 19000 * GB, "used_percent": 2.1},
                "/var/lib/onecc": {"free": 19000 * GB, "used_percent": 2.1},
            },
            "interfaces": {"lo": ["127.0.0.1"], "docker0": ["172.17.0.1"], "eno1": ["10.0.0.%d" % (10 + index)]},
            "interface": "eno1",
            "address": "10.0.0.%d" % (10 + index),
            "mtus": {"lo": 65536, "docker0": 1500, "eno1": 9000, "ib0": 4092},
            "listeners": [SSHD],
            "gpus": [h100(gpu) for gpu in range(8)],
            "gpu_error": "",
            "driver": "570.124.06",
            "cuda": "12.8",
            "xids": [],
            "infiniband": True,
            "infiniband_ports": [ib_port(number) for number in range(8)],
            "engine": {
                "version": "27.5.1",
                "error": "",
                "root": "/var/lib/docker",
                "gpu_hook": True,
                "runtimes": ["io.containerd.runc.v2", "nvidia", "runc"],
                "containers": {},
            },
            "image_id": IMAGE_ID,
            "image_cuda": "12.9.1",
            "runtime": "",
            "interpreter": {"path": "/usr/bin/python3", "version": "3.10.12", "error": ""},
            "shm": 951 * GB,
            "root": True,
            "user": "root",
            "state": {"exists": False, "usable": True, "private": True, "foreign": False, "fstype": "ext4"},
            "memlock": -1,
            "python_venv": True,
            "paths": {"/usr/sbin/nginx": False, "/usr/bin/gcc": False},
            "shared": {
                "exists": True,
                "free": 10000 * GB,
                "fstype": "nfs4",
                "mount_point": "/home/ubuntu/shared",
                "probe_seen": True,
                "source": "172.26.0.2:/shared",
                "writable": True,
            },
        },
        "address": "10.0.0.%d" % (10 + index),
        "interface": "eno1",
        "gpus": 8,
        "ports": {
            "6379": "Ray (cluster_ray_port)",
            "8265": "Ray's dashboard (cluster_dashboard_port)",
            "8000": "the endpoint (vllm_serve_port)",
        }
        if head
        else {},
        "container": {
            "shm_size": 16 * 2**30,
            "object_store": GB,
            "memlock": True,
            "ipc_lock": True,
            "privileged": False,
            "hca": "mlx5",
            "env": {},
            "image": IMAGE,
            "runtime": "docker",
        },
        "shared_dir": "/home/ubuntu/shared",
        "state_dir": "/var/lib/onecc",
        "firewall": True,
        "packages": {"nginx": "/usr/sbin/nginx"} if head else {},
        "proof_error": "",
        # Half of 405 billion parameters with two bytes each.
        "model": {
            "error": "",
            "told": "meta-llama/Llama-3.1-405B-Instruct, tensor parallel 8, pipeline parallel 2",
            "load_bytes": 405 * GB,
        },
        "calls": [call(other, port) for other in others for port in (10002, 29500, 50000)],
        "rate": {"rate": 2133904471.2, "of": "a file made for it"},
        "fabric": {"node_rank": index, "memlock": -1, "shm": 16 * 2**30} | ({"measured": ranks} if head else {}),
    }


def gpu_cluster():
    return [gpu_node(0), gpu_node(1)]


def one_node():
    """A machine for itself."""
    return [gpu_node(0, count=1)]


def lab_node(index):
    """A node without GPUs, for which a setting says how many Ray shall count."""
    node = gpu_node(index)
    node["node"].update(
        os={
            "id": "debian",
            "version": "12",
            "name": "Debian GNU/Linux 12 (bookworm)",
            "machine": "x86_64",
            "systemd": True,
        },
        memory={"total": 25276510208, "available": 22000000000},
        gpus=[],
        gpu_error="the command nvidia-smi is not there",
        driver="",
        cuda="",
        infiniband=False,
        infiniband_ports=[],
        image_cuda="",
        mtus={"lo": 65536, "docker0": 1500, "eno1": 1500},
    )
    node["node"]["engine"].update(version="20.10.24+dfsg1", gpu_hook=False, runtimes=["io.containerd.runc.v2", "runc"])
    node.update(gpus=1, gpus_set=True)
    node["container"].update(shm_size=2**30, object_store=2 * 10**8, memlock=False, ipc_lock=False)
    node["fabric"] = {"node_rank": index, "memlock": 65536, "shm": 2**30}
    if index == 0:
        node["fabric"]["measured"] = {
            "backend": "gloo",
            "ranks": 2,
            "latency_us": 310.5,
            "bytes": 8 << 20,
            "bus_gb_s": 0.412,
            "transports": [],
        }
    return node


def lab_cluster():
    return [lab_node(0), lab_node(1)]


VENV = {"*.container.runtime": "venv"}
# As somebody who is not root, and has set what that asks for.
USER = VENV | {
    "*.node.root": False,
    "*.node.user": "alice",
    "*.firewall": False,
    "*.state_dir": "/scratch/alice/onecc",
}
NO_ROOT = USER | {"0.node.paths": {"/usr/sbin/nginx": True}}
CLUSTERS = {"gpu": gpu_cluster, "lab": lab_cluster, "one": one_node}


def changed(nodes, changes):
    """The nodes with some values replaced, found by where they are: "1.node.os.id"; "*" stands for every node."""
    for where, value in changes.items():
        first, *path, last = where.split(".")
        for node in nodes if first == "*" else [nodes[int(first)]]:
            place = node
            for step in path:
                place = place[int(step) if isinstance(place, list) else step]
            key = int(last) if isinstance(place, list) else last
            # A change of what is not there would change nothing.
            assert isinstance(place, list) or key in place or path[-1:] in (["env"], ["interfaces"], ["containers"])
            place[key] = copy.deepcopy(value)
    return nodes


def judge(kind, changes, limits=(), skip=()):
    return preflight.judge(changed(CLUSTERS[kind](), changes), LIMITS | dict(limits), skip)


def unsound(rows):
    return [(row["id"], row["node"], row["result"]) for row in rows if row["result"] != "ok"]


def pick(rows, ident, node):
    """The rows of one check of one node."""
    found = [row for row in rows if (row["id"], row["node"]) == (ident, node)]
    assert found
    return found


OF_A_NODE = ["ssh", "sudo", "state-dir", "os", "engine", "gpu-present"]
OF_GPUS = ["nvidia-runtime", "gpu-driver", "gpu-errors", "gpu-idle"]
OF_THE_REST = ["infiniband", "memlock", "address", "interface", "port", "reach", "clock"]
OF_STORAGE = ["storage-shared", "storage-writable", "storage-rate", "disk", "shm", "memory"]
OF_ALL = ["address-unique", "gpu-equal", "mtu", "image-same", "fabric", "model"]


# No false alarm.


@pytest.mark.parametrize(
    ("kind", "idents"),
    [
        ("gpu", [*OF_A_NODE, *OF_GPUS, *OF_THE_REST, *OF_STORAGE]),
        ("lab", [*OF_A_NODE, *OF_THE_REST, *OF_STORAGE]),
        # There is no other clock.
        ("one", [*OF_A_NODE, *OF_GPUS, *OF_THE_REST[:-1], *OF_STORAGE]),
    ],
)
def test_a_healthy_cluster(kind, idents):
    nodes = CLUSTERS[kind]()
    rows = preflight.judge(nodes, LIMITS)
    assert [row for row in rows if row["result"] != "ok"] == []
    assert [row["id"] for row in rows] == idents * len(nodes) + OF_ALL
    assert {row["node"] for row in rows} == {node["name"] for node in nodes} | {"all"}
    assert {row["remedy"] for row in rows} == {""}
    assert preflight.refusal(rows) == []
    # It judges, and changes nothing.
    assert nodes == CLUSTERS[kind]()


@pytest.mark.parametrize("kind", CLUSTERS)
def test_every_row_says_what_was_found(kind):
    for row in preflight.judge(CLUSTERS[kind](), LIMITS):
        assert re.search(r"[^\s:]\s*$", row["found"]), row
        assert row["check"] == BY_ID[row["id"]].title


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        # What has not been measured is no row.
        pytest.param("gpu", {"*.calls": None, "*.rate": None, "*.fabric": None}, id="nothing-measured"),
        pytest.param("gpu", {"*.model": None}, id="no-model-looked-at"),
        pytest.param("gpu", {"*.calls": []}, id="nobody-called"),
        # Systems.
        pytest.param("gpu", {"*.node.os.version": "24.04", "*.node.os.machine": "aarch64"}, id="ubuntu-24-on-arm"),
        pytest.param("lab", {"*.node.os.version": "13"}, id="debian-13"),
        # Before the first deployment.
        pytest.param(
            "gpu",
            {
                "*.node.engine.version": "",
                "*.node.engine.error": "the command docker is not there",
                "*.node.engine.runtimes": [],
                "*.node.engine.gpu_hook": False,
                "*.node.image_id": "",
                "*.node.image_cuda": "",
            },
            id="no-engine-and-no-image-yet",
        ),
        pytest.param("gpu", {"1.node.image_id": ""}, id="image-not-everywhere-yet"),
        # Without containers: no engine is needed, nor NVIDIA's runtime.
        pytest.param(
            "gpu",
            VENV | {"*.node.engine.version": "", "*.node.engine.error": "the command docker is not there"},
            id="no-engine-and-none-needed",
        ),
        pytest.param("gpu", VENV | {"*.node.engine.runtimes": ["runc"], "*.node.engine.gpu_hook": False}, id="venv"),
        pytest.param("gpu", VENV | {"*.node.image_id": "", "*.node.image_cuda": ""}, id="no-environment-yet"),
        pytest.param("gpu", VENV | {"*.container.shm_size": 1}, id="shm-of-the-node"),
        pytest.param("gpu", {"*.node.runtime": "docker"}, id="deployed-before"),
        pytest.param("gpu", NO_ROOT, id="without-root"),
        # A folder of the system's may lie on what a machine without disks starts from.
        pytest.param("gpu", {"*.node.state.fstype": "nfs4"}, id="root-without-a-disk"),
        # GPUs.
        pytest.param("gpu", {"*.node.engine.runtimes": ["runc"]}, id="hook-alone"),
        pytest.param("gpu", {"*.node.engine.gpu_hook": False}, id="runtime-alone"),
        pytest.param("gpu", {"*.gpus": 4}, id="fewer-gpus-than-there-are"),
        pytest.param("gpu", {"*.node.image_cuda": "12.0.1"}, id="newer-driver"),
        pytest.param("gpu", {"*.node.cuda": "13.0", "*.node.image_cuda": "12.9.1"}, id="newer-major-driver"),
        pytest.param("gpu", {"*.node.gpus.0.used_mib": 1024}, id="a-little-memory-in-use"),
        # Our own engine runs: a second deployment.
        pytest.param(
            "gpu",
            {
                "*.node.engine.containers": {"onecc-ray": RAY},
                "*.node.gpus.0.used_mib": 72000,
                "*.node.gpus.0.processes": [dict(PYTHON, container="onecc-ray")],
                "0.node.listeners": [
                    SSHD,
                    dict(SSHD, port=6379, process="gcs_server", container="onecc-ray"),
                    dict(SSHD, port=8000, process="python3", container="onecc-ray"),
                ],
                "*.node.memory.available": GB,
            },
            id="our-engine-runs",
        ),
        # InfiniBand.
        pytest.param(
            "gpu",
            {"*.node.infiniband": False, "*.node.infiniband_ports": [], "0.fabric.measured.transports": ["NET/Socket"]},
            id="no-infiniband",
        ),
        pytest.param(
            "gpu",
            {
                "*.node.infiniband": False,
                "*.node.infiniband_ports": [],
                "*.container.memlock": False,
                "*.container.ipc_lock": False,
            },
            id="nothing-to-lock-memory-for",
        ),
        pytest.param(
            "gpu",
            {"*.node.infiniband_ports.7": ib_port(7, state="DOWN", rate=10.0, device="irdma0", link="Ethernet")},
            id="another-adapter-is-down",
        ),
        pytest.param("gpu", {"*.container.memlock": False, "*.container.privileged": True}, id="privileged-memlock"),
        pytest.param("gpu", {"*.container.ipc_lock": False, "*.container.privileged": True}, id="privileged-ipc-lock"),
        pytest.param("gpu", {"*.node.infiniband_ports": []}, id="adapters-without-ports"),
        # What NCCL takes for NCCL_IB_HCA: https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/env.html
        pytest.param("gpu", {"*.container.hca": "mlx5_0,mlx5_1,mlx5_2"}, id="adapters-listed"),
        pytest.param("gpu", {"*.container.hca": "=mlx5_0:1,mlx5_1:1"}, id="adapters-listed-exactly"),
        pytest.param(
            "gpu",
            {"*.container.hca": "^mlx5_7", "*.node.infiniband_ports.7": ib_port(7, state="DOWN")},
            id="adapters-excluded",
        ),
        # Addresses and interfaces.
        pytest.param("gpu", {"0.container.env.VLLM_HOST_IP": "10.0.0.10"}, id="address-set-right"),
        pytest.param("gpu", {"*.container.env.NCCL_SOCKET_IFNAME": "eno"}, id="beginning-of-an-interface"),
        pytest.param("gpu", {"*.container.env.NCCL_SOCKET_IFNAME": "=eno1"}, id="whole-interface"),
        pytest.param("gpu", {"*.container.env.NCCL_SOCKET_IFNAME": "ib,eno"}, id="interfaces-listed"),
        pytest.param("gpu", {"*.container.env.NCCL_SOCKET_IFNAME": "^docker"}, id="interface-excluded"),
        # The sign is for the whole list (NCCL, ncclFindInterfaces).
        pytest.param("gpu", {"*.container.env.NCCL_SOCKET_IFNAME": "^virbr,veth"}, id="interfaces-excluded"),
        pytest.param("gpu", {"*.container.env.NCCL_SOCKET_IFNAME": "^=docker0,virbr0"}, id="interfaces-excluded-whole"),
        pytest.param("gpu", {"*.container.env.GLOO_SOCKET_IFNAME": "eno1"}, id="gloos-interface"),
        # Ports.
        pytest.param("gpu", {"1.node.listeners": [dict(SSHD, port=8000)]}, id="a-port-that-a-worker-does-not-need"),
        pytest.param("gpu", {"0.node.listeners": [dict(SSHD, port=8001)]}, id="another-port"),
        # Clocks, storage, disks and memory at their limits.
        pytest.param("gpu", {"0.calls.0.offset": 1.0, "1.calls.0.offset": -1.0}, id="clocks-just-agree"),
        pytest.param("gpu", {"*.rate.rate": float(200 * 2**20)}, id="storage-just-fast-enough"),
        pytest.param("gpu", {"*.node.disks./": {"free": 2 * 2**30, "used_percent": 94.0}}, id="disk-just-large-enough"),
        pytest.param(
            "gpu",
            {"*.node.image_id": "", "*.node.disks./var/lib/docker": {"free": 50 * 2**30, "used_percent": 50}},
            id="disk-just-large-enough-for-the-image",
        ),
        pytest.param(
            "gpu", {"*.node.disks./var/lib/docker": {"free": 3 * 2**30, "used_percent": 50}}, id="the-image-is-there"
        ),
        pytest.param("gpu", {"*.container.shm_size": GB + 8 * 2**28}, id="shm-just-large-enough"),
        pytest.param("gpu", {"*.node.memory.available": GB + 8 * 2**28}, id="memory-just-enough"),
        pytest.param("lab", {"*.container.shm_size": 2 * 10**8 + 2**28}, id="shm-just-large-enough-for-one"),
        pytest.param("lab", {"*.container.shm_size": 25276510208}, id="shm-as-large-as-the-memory"),
        # The fabric.
        pytest.param("gpu", {"0.fabric.measured.bus_gb_s": 25.0}, id="fabric-just-fast-enough"),
        pytest.param("one", {"0.fabric.measured.bus_gb_s": 8.0}, id="pcie"),
        pytest.param(
            "gpu",
            {"*.node.infiniband_ports": [ib_port(0, link="Ethernet", state="DOWN")], "*.container.memlock": False},
            id="rdma-over-ethernet",
        ),
        pytest.param("gpu", {"*.node.infiniband_ports": [ib_port(0, link="Ethernet")]}, id="ethernet-adapters"),
        pytest.param(
            "one", {"0.gpus": 1, "0.fabric.measured.ranks": 1, "0.fabric.measured.bus_gb_s": 0.0}, id="one-gpu"
        ),
    ],
)
def test_what_is_no_reason_to_worry(kind, changes):
    assert [row for row in judge(kind, changes) if row["result"] != "ok"] == []


def test_a_fabric_without_infiniband_may_be_slower():
    changes = {"*.node.infiniband": False, "*.node.infiniband_ports": [], "0.fabric.measured.bus_gb_s": 0.5}
    assert unsound(judge("gpu", changes)) == []


@pytest.mark.parametrize(("floor", "result"), [(0, "ok"), (1.5, "ok"), (1.6, "fail")])
def test_a_floor_that_was_set(floor, result):
    rows = judge("gpu", {"0.fabric.measured.bus_gb_s": 1.5}, {"fabric_gb_s": floor})
    assert [row["result"] for row in pick(rows, "fabric", "all")] == [result]


def test_a_display_is_no_reason_to_refuse_a_gpu():
    """It is a process, with a few megabytes."""
    xorg = {"pid": 2210, "name": "/usr/lib/xorg/Xorg", "used_mib": 4, "container": ""}
    assert unsound(judge("gpu", {"*.node.gpus.0.used_mib": 15, "*.node.gpus.0.processes": [xorg]})) == []


# Each way to fail, and what else changes with it.

ALL_GPUS = ["mlx5_%d ACTIVE" % number for number in range(8)]
DOWN = {"*.node.infiniband_ports.3": ib_port(3, state="DOWN", rate=100.0)}


@pytest.mark.parametrize(
    ("kind", "changes", "expected"),
    [
        # System.
        pytest.param(
            "gpu",
            {"1.node.os.systemd": False},
            [("os", "node01", "fail", "without systemd", "systemd as the init, or cluster_runtime venv")],
            id="no-systemd",
        ),
        pytest.param(
            "gpu",
            {"1.node.os.machine": "ppc64le"},
            [("os", "node01", "fail", "Ubuntu 22.04.5 LTS, ppc64le", "x86_64 or aarch64")],
            id="other-machine",
        ),
        *[
            pytest.param(
                "gpu",
                {"1.node.os.id": ident, "1.node.os.version": version, "1.node.os.name": name},
                [("os", "node01", "warn", "%s, x86_64" % name, "Ubuntu 22.04 or 24.04, Debian 12 or 13")],
                id="%s-%s" % (ident, version),
            )
            for ident, version, name in (
                ("ubuntu", "20.04", "Ubuntu 20.04.6 LTS"),
                ("debian", "11", "Debian GNU/Linux 11 (bullseye)"),
                ("debian", "", "Debian GNU/Linux forky/sid"),
                ("rocky", "9.4", "Rocky Linux 9.4 (Blue Onyx)"),
                # Not Ubuntu's.
                ("linuxmint", "22.04", "Linux Mint"),
            )
        ],
        # GPUs.
        pytest.param(
            "gpu",
            {"1.gpus": 0, "1.node.gpus": [], "1.node.gpu_error": "the command nvidia-smi is not there"},
            [
                ("gpu-present", "node01", "fail", "none (the command nvidia-smi is not there)", "at least one GPU"),
                ("gpu-equal", "all", "fail", "node00: 8 x %s; node01: 0 x no GPU" % H100, "the same on every node"),
            ],
            id="no-gpu-on-one",
        ),
        pytest.param(
            "lab",
            {"*.gpus": 0, "*.node.gpu_error": ""},
            [
                ("gpu-present", name, "fail", "none (nvidia-smi lists none)", "at least one GPU")
                for name in ("node00", "node01")
            ],
            id="no-gpu-anywhere",
        ),
        pytest.param(
            "gpu",
            {"*.gpus": 16},
            [("gpu-present", name, "fail", "8", "16, as cluster_gpus_per_node says") for name in ("node00", "node01")],
            id="more-gpus-set-than-there-are",
        ),
        # A setting says how many there are, and does not make a broken driver work.
        pytest.param(
            "gpu",
            {"*.node.gpus": [], "*.node.gpu_error": "Failed to initialize NVML: Driver/library version mismatch"},
            [
                ("gpu-present", name, "fail", "Failed to initialize NVML: Driver/library version mismatch", "8")
                for name in ("node00", "node01")
            ],
            id="driver-broken-though-gpus-are-set",
        ),
        pytest.param(
            "gpu",
            {"1.node.engine.runtimes": ["io.containerd.runc.v2", "runc"], "1.node.engine.gpu_hook": False},
            [("nvidia-runtime", "node01", "fail", "io.containerd.runc.v2, runc", "NVIDIA's runtime")],
            id="no-nvidia-runtime",
        ),
        pytest.param(
            "gpu",
            {"1.node.image_cuda": "13.0.2"},
            [("gpu-driver", "node01", "warn", "driver 570.124.06 for CUDA up to 12.8", "CUDA 13.0.2, as the image")],
            id="old-driver",
        ),
        pytest.param(
            "gpu",
            {"1.node.cuda": "9.2"},
            [("gpu-driver", "node01", "warn", "CUDA up to 9.2", "CUDA 12.9.1, as the image")],
            id="numbers-are-no-text",
        ),
        # A driver without libcuda, and one from before it told: nothing of CUDA will run.
        *[
            pytest.param(
                "gpu",
                {"1.node.cuda": cuda},
                [("gpu-driver", "node01", "warn", "driver 570.124.06", "CUDA 12.9.1, as the image")],
                id="cuda-not-told-%s" % cuda,
            )
            for cuda in ("", "Not Found", "N/A")
        ],
        pytest.param(
            "gpu",
            {"1.node.gpus.3.errors": ["dram_uncorrectable 2", "remapped_row_pending"]},
            [("gpu-errors", "node01", "fail", "GPU 3: dram_uncorrectable 2; GPU 3: remapped_row_pending", "none")],
            id="memory-errors",
        ),
        pytest.param(
            "gpu",
            {"1.node.xids": ["NVRM: Xid (PCI:0000:18:00): 74, NVLink", XID]},
            [("gpu-errors", "node01", "warn", XID, "no Xid in the kernel's log")],
            id="xid",
        ),
        pytest.param(
            "gpu",
            {"1.node.xids": [XID], "1.node.gpus.0.errors": ["remapped_row_failure"]},
            [("gpu-errors", "node01", "fail", "GPU 0: remapped_row_failure", "none")],
            id="errors-weigh-more-than-xids",
        ),
        pytest.param(
            "gpu",
            {"1.node.gpus.5.processes": [PYTHON, dict(PYTHON, pid=7, name="ollama", used_mib=500)]},
            [
                (
                    "gpu-idle",
                    "node01",
                    "fail",
                    "GPU 5: python3 (pid 4242) 60000 MiB, ollama (pid 7) 500 MiB",
                    "nobody else's processes",
                )
            ],
            id="somebody-elses-process",
        ),
        pytest.param(
            "gpu",
            {
                "1.node.gpus.0.processes": [dict(PYTHON, container="onecc-ray"), dict(PYTHON, pid=7)],
                "1.node.gpus.1.processes": [dict(PYTHON, container="onecc-ray")],
                "1.node.gpus.1.used_mib": 72000,
                "1.node.gpus.2.used_mib": 1025,
            },
            [
                (
                    "gpu-idle",
                    "node01",
                    "fail",
                    "GPU 0: python3 (pid 7) 60000 MiB; GPU 2: 1025 MiB by a process that is not seen from here",
                    "nobody else's processes",
                )
            ],
            id="ours-and-others",
        ),
        # InfiniBand.
        pytest.param(
            "gpu",
            DOWN,
            [
                (
                    "infiniband",
                    name,
                    "warn",
                    "mlx5_2 ACTIVE, mlx5_3 DOWN, mlx5_4 ACTIVE",
                    "ACTIVE on all that cluster_nccl_ib_hca=mlx5 means",
                )
                for name in ("node00", "node01")
            ],
            id="one-port-down",
        ),
        pytest.param(
            "gpu",
            {"1.node.infiniband_ports": [ib_port(0, state="INIT"), ib_port(1, state="DOWN")]},
            [
                (
                    "infiniband",
                    "node01",
                    "fail",
                    "mlx5_0 INIT, mlx5_1 DOWN",
                    "ACTIVE on all that cluster_nccl_ib_hca=mlx5 means",
                )
            ],
            id="all-ports-down",
        ),
        pytest.param(
            "gpu",
            {"*.container.hca": "mthca"},
            [
                ("infiniband", name, "fail", ", ".join(ALL_GPUS), "adapters that cluster_nccl_ib_hca=mthca means")
                for name in ("node00", "node01")
            ],
            id="no-such-adapter",
        ),
        pytest.param(
            "one",
            {"0.fabric": {"node_rank": 0}},
            [("fabric", "all", "fail", "no result of the first node", "an all-reduce over all GPUs")],
            id="first-node-tells-nothing",
        ),
        # NCCL takes the sign for the whole list, and then whole names.
        pytest.param(
            "gpu",
            {"1.container.hca": "=mlx5"},
            [("infiniband", "node01", "fail", ", ".join(ALL_GPUS), "=mlx5")],
            id="no-adapter-of-just-that-name",
        ),
        pytest.param(
            "gpu",
            {"1.node.infiniband_ports.7": ib_port(7, rate=100.0)},
            [("infiniband", "node01", "warn", "8 ports ACTIVE, 100, 400 Gbit/s", "the same rate on all")],
            id="one-port-slower",
        ),
        pytest.param(
            "gpu",
            {"1.container.memlock": False},
            [("memlock", "node01", "fail", "memlock False, IPC_LOCK True", "unlimited memlock and IPC_LOCK")],
            id="memlock",
        ),
        pytest.param(
            "gpu",
            {"1.container.ipc_lock": False},
            [("memlock", "node01", "fail", "memlock True, IPC_LOCK False", "unlimited memlock and IPC_LOCK")],
            id="ipc-lock",
        ),
        pytest.param(
            "gpu",
            {"0.node.infiniband": False, "0.node.infiniband_ports": []},
            [("infiniband", "all", "fail", "only on node01", "on every node or on none")],
            id="infiniband-on-one",
        ),
        # Address and interface.
        pytest.param(
            "gpu",
            {"1.address": "", "1.node.interfaces.eno1": []},
            [
                (
                    "address",
                    "node01",
                    "fail",
                    "docker0 172.17.0.1, eno1 none, lo 127.0.0.1",
                    "an IPv4 address on the interface eno1",
                )
            ],
            id="no-address",
        ),
        pytest.param(
            "gpu",
            {"1.address": "", "1.interface": "", "*.node.mtus": {}},
            [("address", "node01", "fail", "eno1 10.0.0.11", "on the interface of the default route")],
            id="no-default-route",
        ),
        pytest.param(
            "gpu",
            {"1.address": "10.0.0.99"},
            [("address", "node01", "fail", "eno1 10.0.0.11", "the address 10.0.0.99")],
            id="another-address",
        ),
        pytest.param(
            "gpu",
            {"1.address": "127.0.0.1"},
            [("address", "node01", "fail", "127.0.0.1", "an address that the other nodes reach")],
            id="loopback",
        ),
        pytest.param(
            "gpu",
            {"*.container.env.VLLM_HOST_IP": "10.0.0.10"},
            [
                (
                    "address",
                    "node01",
                    "fail",
                    "VLLM_HOST_IP=10.0.0.10",
                    "VLLM_HOST_IP=10.0.0.11, which is set for each node",
                )
            ],
            id="one-address-for-all",
        ),
        *[
            pytest.param(
                "gpu",
                {"1.container.env." + variable: value},
                [("interface", "node01", "fail", "%s=%s" % (variable, value), "one of docker0, eno1, lo")],
                id="%s=%s" % (variable, value),
            )
            for variable, value in (
                ("NCCL_SOCKET_IFNAME", "ens3"),
                ("NCCL_SOCKET_IFNAME", "ens,ib"),
                ("NCCL_SOCKET_IFNAME", "=ens3"),
                # Whole names.
                ("NCCL_SOCKET_IFNAME", "=en"),
                ("GLOO_SOCKET_IFNAME", "ens3"),
                ("TP_SOCKET_IFNAME", "ens3"),
                # Only NCCL takes beginnings and signs: Gloo "Unable to find address for: eno".
                ("GLOO_SOCKET_IFNAME", "eno"),
                ("GLOO_SOCKET_IFNAME", "^docker"),
                # It opens a device for each name of a list.
                ("GLOO_SOCKET_IFNAME", "eno1,ens3"),
                ("TP_SOCKET_IFNAME", "eno"),
            )
        ],
        pytest.param(
            "gpu",
            {"1.container.env.NCCL_SOCKET_IFNAME": "ens3", "1.container.env.GLOO_SOCKET_IFNAME": "ens3"},
            [
                ("interface", "node01", "fail", "GLOO_SOCKET_IFNAME=ens3", "one of docker0, eno1, lo"),
                ("interface", "node01", "fail", "NCCL_SOCKET_IFNAME=ens3", "one of docker0, eno1, lo"),
            ],
            id="two-variables",
        ),
        # Ports.
        pytest.param(
            "gpu",
            {"0.node.listeners": [SSHD, dict(SSHD, port=8000, process="nginx", pid=90)]},
            [("port", "node00", "fail", "nginx (pid 90) on 0.0.0.0", "port 8000 free for the endpoint")],
            id="port-taken",
        ),
        pytest.param(
            "gpu",
            {
                "0.node.listeners": [
                    dict(SSHD, port=6379, process="", pid=0, address="127.0.0.1"),
                    dict(SSHD, port=8000, process="gcs_server", container="onecc-ray"),
                    dict(SSHD, port=8265, process="redis", pid=3, address="[::]"),
                ]
            },
            [
                ("port", "node00", "fail", "a process (pid 0) on 127.0.0.1", "port 6379 free for Ray"),
                ("port", "node00", "fail", "redis (pid 3) on [::]", "port 8265 free for Ray's dashboard"),
            ],
            id="ports-taken-and-one-ours",
        ),
        # Calls.
        pytest.param(
            "gpu",
            {
                "1.calls": [
                    call("node00", 6379, offset=None, error="no answer within 5 s"),
                    call("node00", 8000, offset=None, error="Connection refused"),
                ]
            },
            [
                (
                    "reach",
                    "node01",
                    "fail",
                    "node00 port 6379: no answer within 5 s; node00 port 8000: Connection refused",
                    "an answer from every node",
                )
            ],
            id="not-reached",
        ),
        pytest.param(
            "gpu",
            {"1.calls.1": call("node00", 29500, error="large packets are lost")},
            [("reach", "node01", "fail", "node00 port 29500: large packets are lost", "an answer from every node")],
            id="large-packets",
        ),
        pytest.param(
            "gpu",
            {"0.calls.1.offset": 2.5, "1.calls.1.offset": -2.5},
            [
                ("clock", "node00", "warn", "+2.500 s at node01", "within 1 s"),
                ("clock", "node01", "warn", "-2.500 s at node00", "within 1 s"),
            ],
            id="clocks",
        ),
        # Storage.
        pytest.param(
            "gpu",
            {"1.node.shared.exists": False, "1.node.shared.probe_seen": False, "1.node.shared.writable": False},
            [("storage-shared", "node01", "fail", "none", "a folder at cluster_shared_dir=/home/ubuntu/shared")],
            id="no-folder",
        ),
        pytest.param(
            "gpu",
            {"*.proof_error": "[Errno 30] Read-only file system", "*.node.shared.probe_seen": False},
            [
                (
                    "storage-writable",
                    name,
                    "fail",
                    "one that the head cannot write to: [Errno 30] Read-only file system",
                    "a writable folder at cluster_shared_dir=/home/ubuntu/shared",
                )
                for name in ("node00", "node01")
            ],
            id="head-cannot-write",
        ),
        pytest.param(
            "gpu",
            {
                "1.node.shared.probe_seen": False,
                "1.node.shared.fstype": "ext4",
                "1.node.shared.source": "/dev/vda1",
                "1.rate": None,
            },
            [
                (
                    "storage-shared",
                    "node01",
                    "fail",
                    "no such file: it is on ext4 from /dev/vda1",
                    "in /home/ubuntu/shared the file that the head has just made there",
                )
            ],
            id="another-folder",
        ),
        pytest.param(
            "gpu",
            {"1.node.shared.writable": False, "1.rate": None},
            [("storage-writable", "node01", "fail", "read-only", "a folder that root can write to")],
            id="read-only",
        ),
        pytest.param(
            "gpu",
            {"1.rate.rate": 81234567.0},
            [("storage-rate", "node01", "warn", "81.2 MB/s", "210 MB/s")],
            id="slow-storage",
        ),
        pytest.param(
            "gpu", {"1.rate.rate": 0.0}, [("storage-rate", "node01", "warn", "0 B/s", "210 MB/s")], id="no-storage-rate"
        ),
        # Without containers.
        pytest.param(
            "gpu",
            VENV | {"1.node.runtime": "docker"},
            [("runtime", "node01", "fail", "one with docker", "no deployment with another cluster_runtime than venv")],
            id="deployed-with-containers",
        ),
        pytest.param(
            "gpu",
            {"0.node.runtime": "venv"},
            [("runtime", "node00", "fail", "one with venv", "no deployment with another cluster_runtime than docker")],
            id="deployed-without-containers",
        ),
        pytest.param(
            "gpu",
            VENV | {"1.node.interpreter.version": "3.12.3"},
            [
                (
                    "python",
                    "all",
                    "fail",
                    "node00: 3.10.12 at /usr/bin/python3; node01: 3.12.3 at /usr/bin/python3",
                    "the same one on every node",
                )
            ],
            id="two-pythons",
        ),
        pytest.param(
            "one",
            VENV | {"0.node.interpreter": {"path": "", "version": "", "error": "python3.12 is not there"}},
            [("python", "all", "fail", "node00: python3.12 is not there", "the same one on every node")],
            id="no-python",
        ),
        pytest.param(
            "one",
            VENV | {"0.node.shm": 64 << 20},
            [("shm", "node00", "fail", "the node's /dev/shm 67.1 MB", "at least 3.1 GB for 8 GPUs")],
            id="small-shm-of-the-node",
        ),
        pytest.param(
            "one",
            VENV | {"0.node.image_id": "", "0.node.shared.free": 49 * GB},
            [("disk", "node00", "fail", "49.0 GB free", "in /home/ubuntu/shared 53.7 GB free for the environment")],
            id="no-space-for-the-environment",
        ),
        # Disks and memory.
        pytest.param(
            "gpu",
            {"1.node.disks./": {"free": 900 * GB, "used_percent": 94.1}},
            [("disk", "node01", "fail", "900 GB free, 94.1 % used", "in / 2.1 GB free and at most 94 % used")],
            id="full",
        ),
        pytest.param(
            "gpu",
            {"1.node.disks./tmp": {"free": 2 * 2**30 - 1, "used_percent": 50}},
            [("disk", "node01", "fail", "2.1 GB free, 50 % used", "in /tmp 2.1 GB free")],
            id="small",
        ),
        pytest.param(
            "gpu",
            {
                "1.node.image_id": "",
                "1.node.disks./": {"free": 49 * GB, "used_percent": 50},
                "1.node.disks./var/lib/docker": {"free": 49 * GB, "used_percent": 50},
            },
            [("disk", "node01", "fail", "49.0 GB free, 50 % used", "in /var/lib/docker 53.7 GB free")],
            id="no-space-for-the-image",
        ),
        pytest.param(
            "gpu",
            {
                "1.node.disks./": {"free": 0, "used_percent": 100},
                "1.node.disks./var/lib/onecc": {"free": 0, "used_percent": 100},
            },
            [
                ("disk", "node01", "fail", "0 B free, 100 % used", "in / 2.1 GB free"),
                ("disk", "node01", "fail", "0 B free, 100 % used", "in /var/lib/onecc 2.1 GB free"),
            ],
            id="two-disks-full",
        ),
        pytest.param(
            "gpu",
            {"1.container.shm_size": GB + 8 * 2**28 - 1},
            [
                (
                    "shm",
                    "node01",
                    "fail",
                    "cluster_container_shm_size 3.1 GB",
                    "at least 3.1 GB for 8 GPUs and Ray's object store",
                )
            ],
            id="small-shm",
        ),
        pytest.param(
            "lab",
            {"1.container.shm_size": 26 * GB},
            [("shm", "node01", "fail", "26.0 GB of 25.3 GB memory", "less than the node's memory")],
            id="shm-larger-than-the-memory",
        ),
        pytest.param(
            "gpu",
            {"1.node.memory.available": GB + 8 * 2**28 - 1},
            [("memory", "node01", "fail", "3.1 GB available of 1.9 TB", "3.1 GB available")],
            id="little-memory",
        ),
        # Nodes compared.
        pytest.param(
            "gpu",
            {"1.address": "10.0.0.10", "1.node.interfaces.eno1": ["10.0.0.10"]},
            [("address-unique", "all", "fail", "10.0.0.10: node00, node01", "2 addresses")],
            id="same-address",
        ),
        pytest.param(
            "gpu",
            {"1.gpus": 4},
            [
                (
                    "gpu-equal",
                    "all",
                    "fail",
                    "node00: 8 x %s; node01: 4 x %s" % (H100, H100),
                    "the same on every node",
                )
            ],
            id="other-count",
        ),
        pytest.param(
            "gpu",
            {"1.node.gpus.7.name": "NVIDIA H200"},
            [
                (
                    "gpu-equal",
                    "all",
                    "fail",
                    "node00: 8 x %s; node01: 8 x %s and NVIDIA H200" % (H100, H100),
                    "the same on every node",
                )
            ],
            id="other-gpu",
        ),
        pytest.param(
            "gpu",
            {"1.node.mtus.eno1": 1500},
            [("mtu", "all", "fail", "node00 9000, node01 1500", "the same on every node")],
            id="mtu",
        ),
        pytest.param(
            "gpu",
            {"1.node.image_id": OTHER_ID},
            [("image-same", "all", "fail", "node00 f4c1edef0b2d, node01 0a1b2c3d4e5f", "one ID of " + IMAGE)],
            id="other-image",
        ),
        # The fabric.
        pytest.param(
            "gpu",
            {"0.fabric.measured.bus_gb_s": 24.9},
            [
                (
                    "fabric",
                    "all",
                    "fail",
                    "NCCL over 16 ranks: 24.9 GB/s bus bandwidth, 35.2 µs by NET/IB, P2P/CUMEM",
                    "at least 25 GB/s",
                )
            ],
            id="slow-fabric",
        ),
        pytest.param(
            "gpu",
            {"0.fabric.measured.transports": ["NET/Socket", "P2P/CUMEM"]},
            [("fabric", "all", "fail", "by NET/Socket, P2P/CUMEM", "NET/IB, since every node has InfiniBand")],
            id="sockets-beside-infiniband",
        ),
        pytest.param(
            "lab",
            {"0.fabric.measured.bus_gb_s": 0.001},
            [
                (
                    "fabric",
                    "all",
                    "fail",
                    "Gloo over 2 ranks: 0.001 GB/s bus bandwidth, 310.5 µs",
                    "at least 0.005 GB/s",
                )
            ],
            id="slow-gloo",
        ),
        pytest.param(
            "gpu",
            {
                "0.fabric": {"node_rank": 0, "error": "no result within 90 s"},
                "1.fabric": {"error": "nothing was printed"},
            },
            [
                (
                    "fabric",
                    "all",
                    "fail",
                    "node00: no result within 90 s; node01: nothing was printed",
                    "an all-reduce over all GPUs",
                )
            ],
            id="fabric-that-fails",
        ),
        pytest.param(
            "gpu",
            {"0.fabric": None, "1.fabric": {"error": "ncclSystemError"}},
            [("fabric", "all", "fail", "node01: ncclSystemError", "an all-reduce over all GPUs")],
            id="fabric-that-fails-on-one",
        ),
        # Without root.
        pytest.param(
            "gpu",
            {"1.node.root": False, "1.node.user": "alice"},
            [
                (
                    "sudo",
                    "node01",
                    "fail",
                    "the user alice",
                    "root, or without it cluster_runtime venv, firewall_enabled false",
                )
            ],
            id="no-root-and-containers",
        ),
        pytest.param(
            "gpu",
            USER | {"0.packages": {"nginx": "/usr/sbin/nginx", "gcc": "/usr/bin/gcc"}, "0.node.python_venv": False},
            [
                (
                    "sudo",
                    "node00",
                    "fail",
                    "the user alice",
                    "root, or without it gcc and nginx and python3-venv installed",
                )
            ],
            id="no-root-and-no-packages",
        ),
        pytest.param(
            "gpu",
            NO_ROOT | {"1.node.memlock": 8 << 20},
            [("memlock", "node01", "fail", "8.4 MB for the user alice", "unlimited memlock and IPC_LOCK")],
            id="no-root-and-no-memory-to-lock",
        ),
        # The folder on the node.
        pytest.param(
            "gpu",
            {"1.node.state.exists": True, "1.node.state.usable": False},
            [("state-dir", "node01", "fail", "somebody else's", "a folder /var/lib/onecc of the user root")],
            id="folder-of-somebody-else",
        ),
        pytest.param(
            "gpu",
            NO_ROOT | {"0.node.state.usable": False},
            [
                (
                    "state-dir",
                    "node00",
                    "fail",
                    "none, and no right to make it",
                    "a folder /scratch/alice/onecc of the user alice",
                )
            ],
            id="folder-that-cannot-be-made",
        ),
        pytest.param(
            "gpu",
            NO_ROOT | {"*.node.state.fstype": "nfs4"},
            [
                ("state-dir", name, "fail", "on nfs4", "/scratch/alice/onecc on the node's own disk")
                for name in ("node00", "node01")
            ],
            id="folder-in-a-home-on-the-network",
        ),
        pytest.param(
            "gpu",
            {"0.state_dir": "/home/ubuntu/shared/onecc", "0.shared_dir": "/home/ubuntu/shared/"},
            [("state-dir", "node00", "fail", "on ext4", "/home/ubuntu/shared/onecc on the node's own disk")],
            id="folder-on-shared-storage",
        ),
        pytest.param(
            "gpu",
            {"0.node.state.exists": True, "0.node.state.foreign": True},
            [("state-dir", "node00", "fail", "other things in it", "/var/lib/onecc for the collection alone")],
            id="folder-with-other-things",
        ),
        # The model.
        pytest.param(
            "gpu",
            {"*.model.error": "meta-llama/Llama-3.1-405B: expected a token, found none. Set HF_TOKEN."},
            [
                (
                    "model",
                    "all",
                    "fail",
                    "meta-llama/Llama-3.1-405B: expected a token, found none. Set HF_TOKEN.",
                    "a model that is there and fits",
                )
            ],
            id="model",
        ),
    ],
)
def test_what_is_wrong(kind, changes, expected):
    rows = judge(kind, changes)
    assert unsound(rows) == [row[:3] for row in expected]
    bad = [row for row in rows if row["result"] != "ok"]
    # What is wrong is not right as well.
    assert not {row[:2] for row in expected} & {(row["id"], row["node"]) for row in rows if row["result"] == "ok"}
    for row, (ident, _node, _result, found, wanted) in zip(bad, expected, strict=True):
        assert found in row["found"]
        assert wanted in row["expected"]
        assert (row["check"], row["remedy"]) == (BY_ID[ident].title, BY_ID[ident].remedy)
        assert row["remedy"]


@pytest.mark.parametrize(
    ("ident", "node", "kind", "changes", "found"),
    [
        pytest.param("engine", "node00", "gpu", {}, "Docker 27.5.1", id="engine"),
        pytest.param(
            "engine",
            "node00",
            "gpu",
            {"0.node.engine.version": "", "0.node.engine.error": "the command docker is not there"},
            "not yet: the command docker is not there",
            id="no-engine",
        ),
        pytest.param("gpu-present", "node00", "gpu", {}, "8 x " + H100, id="gpus"),
        pytest.param("gpu-present", "node00", "lab", {}, "none: 1 by cluster_gpus_per_node", id="gpus-by-setting"),
        pytest.param(
            "gpu-driver", "node00", "gpu", {"0.node.image_cuda": ""}, "driver 570.124.06, CUDA up to 12.8", id="driver"
        ),
        pytest.param("infiniband", "node00", "gpu", {}, "8 ports ACTIVE, 400 Gbit/s", id="infiniband"),
        pytest.param("infiniband", "node00", "lab", {}, "none", id="no-infiniband"),
        pytest.param("memlock", "node00", "lab", {}, "not needed without InfiniBand", id="memlock"),
        pytest.param("address", "node01", "gpu", {}, "10.0.0.11 on eno1", id="address"),
        pytest.param("interface", "node01", "gpu", {}, "eno1", id="interface"),
        pytest.param("port", "node00", "gpu", {}, "free or ours: 6379, 8000, 8265", id="ports"),
        pytest.param("reach", "node00", "gpu", {}, "reaches node01", id="reach"),
        pytest.param("reach", "node00", "one", {}, "reaches nobody else: there is one node", id="reach-nobody"),
        pytest.param(
            "clock",
            "node00",
            "gpu",
            {"0.calls.0.offset": -0.25, "0.calls.1.offset": None},
            "-0.250 s at node01",
            id="worst-clock",
        ),
        pytest.param("storage-shared", "node00", "gpu", {}, "nfs4 from 172.26.0.2:/shared", id="storage"),
        pytest.param("storage-rate", "node00", "gpu", {}, "2.1 GB/s", id="rate"),
        pytest.param("address-unique", "all", "gpu", {}, "2", id="addresses"),
        pytest.param("gpu-equal", "all", "lab", {}, "1 x no GPU", id="equal"),
        pytest.param("mtu", "all", "gpu", {}, "9000", id="mtu"),
        pytest.param("image-same", "all", "gpu", {}, "f4c1edef0b2d", id="image"),
        pytest.param("image-same", "all", "gpu", {"1.node.image_id": ""}, "not yet on node01", id="image-not-there"),
        pytest.param(
            "image-same", "all", "gpu", {"*.node.image_id": ""}, "not yet on node00, node01", id="image-nowhere"
        ),
        pytest.param(
            "fabric",
            "all",
            "gpu",
            {},
            "NCCL over 16 ranks: 182.441 GB/s bus bandwidth, 35.2 µs by NET/IB, P2P/CUMEM",
            id="nccl",
        ),
        pytest.param("fabric", "all", "lab", {}, "Gloo over 2 ranks: 0.412 GB/s bus bandwidth, 310.5 µs", id="gloo"),
        pytest.param(
            "fabric", "all", "one", {"0.fabric.measured.ranks": 1}, "one GPU: nothing to measure", id="one-rank"
        ),
        *[
            pytest.param(
                "model",
                "all",
                "gpu",
                changes,
                "meta-llama/Llama-3.1-405B-Instruct, tensor parallel 8, pipeline parallel 2" + loading,
                id=ident,
            )
            for ident, changes, loading in (
                ("model", {}, ", loads in about 3 min"),
                ("slowest-node", {"1.rate.rate": 300e6}, ", loads in about 22 min"),
                ("one-minute", {"*.model.load_bytes": 60 * 10**9, "*.rate.rate": 1e9}, ", loads in about 1 min"),
                (
                    "small-model",
                    {"*.model.load_bytes": 59 * 10**9, "*.rate.rate": 1e9},
                    ", loads in about less than a minute",
                ),
                ("not-read", {"*.rate": None}, ""),
                ("read-by-one", {"0.rate": None}, ", loads in about 3 min"),
                ("size-unknown", {"*.model.load_bytes": 0}, ""),
            )
        ],
    ],
)
def test_what_is_right(ident, node, kind, changes, found):
    assert [(row["result"], row["found"]) for row in pick(judge(kind, changes), ident, node)] == [("ok", found)]


# Ports, as the role gives them: whole numbers where a setting has one, text where it came from the command line.


@pytest.mark.parametrize(
    "ports",
    [
        pytest.param({6379: "Ray", 10001: "Ray's clients", 8000: "the endpoint"}, id="numbers"),
        pytest.param({"6379": "Ray", 10001: "Ray's clients", 8000: "the endpoint"}, id="both"),
    ],
)
@pytest.mark.parametrize(("taken", "result"), [(9999, "ok"), (6379, "fail"), (8000, "fail")])
def test_ports_are_numbers(ports, taken, result):
    rows = judge("gpu", {"0.ports": ports, "0.node.listeners": [dict(SSHD, port=taken)]})
    (row,) = pick(rows, "port", "node00")
    assert row["result"] == result
    if result == "ok":
        assert row["found"] == "free or ours: 6379, 8000, 10001"


# Rows that are not made where they would only repeat what is known.


@pytest.mark.parametrize(
    ("kind", "changes", "node", "absent"),
    [
        pytest.param("gpu", {"0.calls": None}, "node00", {"reach", "clock"}, id="not-called"),
        pytest.param("gpu", {"0.calls": [call("node01", 22, offset=None)]}, "node00", {"clock"}, id="no-clock-asked"),
        pytest.param("gpu", {"0.rate": None}, "node00", {"storage-rate"}, id="not-read"),
        pytest.param(
            "gpu",
            {"0.node.shared.exists": False},
            "node00",
            {"storage-writable", "storage-rate"},
            id="no-folder",
        ),
        pytest.param("gpu", {"0.proof_error": "x"}, "node00", {"storage-shared", "storage-rate"}, id="not-written"),
        pytest.param("gpu", {"0.address": ""}, "node00", {"interface"}, id="no-address"),
        pytest.param("gpu", {"0.node.engine.version": ""}, "node00", {"nvidia-runtime"}, id="no-engine"),
        pytest.param("gpu", {"*.fabric": None}, "all", {"fabric"}, id="no-fabric"),
        pytest.param("gpu", {"*.model": None}, "all", {"model"}, id="no-model"),
        pytest.param("lab", {}, "node00", {"nvidia-runtime", "gpu-driver", "gpu-errors", "gpu-idle"}, id="no-gpus"),
    ],
)
def test_rows_that_are_left_out(kind, changes, node, absent):
    idents = {row["id"] for row in judge(kind, changes) if row["node"] == node}
    assert not idents & absent
    everything = {row["id"] for row in judge("gpu", {}) if row["node"] == node}
    assert everything - idents == absent


# Nodes that cannot be read.

SSH_REFUSED = "Failed to connect to the host via ssh: ssh: connect to host 10.0.0.11 port 22: Connection refused"
SSH_DENIED = "Failed to connect to the host via ssh: ubuntu@10.0.0.11: Permission denied (publickey,password)."


@pytest.mark.parametrize(
    ("error", "ident", "expected"),
    [
        pytest.param(SSH_REFUSED, "ssh", "an answer", id="refused"),
        pytest.param(SSH_DENIED, "ssh", "an answer", id="denied"),
        pytest.param("Data could not be sent to remote host", "ssh", "an answer", id="lost"),
        pytest.param("not read: the head does not answer", "ssh", "an answer", id="head-gone"),
        pytest.param("Missing sudo password", "sudo", "root without a password", id="missing"),
        pytest.param("Incorrect sudo password", "sudo", "root without a password", id="incorrect"),
        pytest.param("sudo: a password is required", "sudo", "root without a password", id="required"),
        pytest.param(
            "ubuntu is not in the sudoers file.  This incident will be reported.",
            "sudo",
            "root without a password",
            id="not-allowed",
        ),
        pytest.param(
            "Failed to become user root: su: Authentication failure", "sudo", "root without a password", id="become"
        ),
        # What Ansible says when sudo waits for something else.
        pytest.param(
            "Timeout (12s) waiting for privilege escalation prompt: ", "sudo", "root without a password", id="prompt"
        ),
    ],
)
def test_a_node_that_cannot_be_read(error, ident, expected):
    gone = {"name": "node01", "error": error}
    rows = preflight.judge([gpu_node(0), gone], LIMITS)
    (row,) = [row for row in rows if row["node"] == "node01"]
    assert (row["id"], row["result"], row["found"], row["expected"]) == (ident, "fail", error, expected)
    assert row["remedy"] == BY_ID[ident].remedy
    # The others are judged all the same.
    assert unsound(rows) == [(ident, "node01", "fail")]
    assert len(rows) > 20


def test_no_node_can_be_read():
    rows = preflight.judge([{"name": "node%02d" % number, "error": SSH_REFUSED} for number in range(3)], LIMITS)
    assert (
        unsound(rows)
        == [("ssh", "node%02d" % number, "fail") for number in range(3)]
        == [(row["id"], row["node"], row["result"]) for row in rows]
    )


def test_nodes_come_in_their_order():
    """Each with all its rows, then those that compare nodes."""
    names = [row["node"] for row in preflight.judge(gpu_cluster(), LIMITS)]
    assert list(dict.fromkeys(names)) == ["node00", "node01", "all"]
    assert names == sorted(names, key=["node00", "node01", "all"].index)


# What is not to count.


def test_skip():
    changes = {"1.node.mtus.eno1": 1500, "1.container.memlock": False}
    rows = judge("gpu", changes, skip=["mtu", "clock"])
    assert unsound(rows) == [
        ("clock", "node00", "skip"),
        ("memlock", "node01", "fail"),
        ("clock", "node01", "skip"),
        ("mtu", "all", "skip"),
    ]
    (row,) = pick(rows, "mtu", "all")
    # It is still told.
    assert (row["found"], row["remedy"]) == ("node00 9000, node01 1500", "")
    assert [line.split(":")[0] for line in preflight.refusal(rows)] == ["node01"]


def test_skip_a_node_that_does_not_answer():
    rows = preflight.judge([gpu_node(0), {"name": "node01", "error": SSH_REFUSED}], LIMITS, ["ssh"])
    assert unsound(rows) == [("ssh", "node00", "skip"), ("ssh", "node01", "skip")]
    assert preflight.refusal(rows) == []


@pytest.mark.parametrize(
    ("skip", "names"), [(["ssl"], "ssl"), (["mtu", "b", "a", "b"], "a, b"), ([""], ""), (["MTU"], "MTU")]
)
def test_skip_what_is_no_check(skip, names):
    """A word that is mistyped would let a cluster be refused for what its owner allows."""
    with pytest.raises(ValueError, match="^no checks with these ids: %s$" % names):
        preflight.judge(gpu_cluster(), LIMITS, skip)


# The sentences.


def test_refusal():
    changes = {
        "0.node.os.id": "rocky",
        "1.node.mtus.eno1": 1500,
        "0.node.listeners": [dict(SSHD, port=8000, process="nginx", pid=90)],
    }
    assert preflight.refusal(judge("gpu", changes)) == [
        "node00: expected port 8000 free for the endpoint (vllm_serve_port), found nginx (pid 90) on 0.0.0.0."
        " End what listens there, or choose another port: cluster_ray_port, cluster_dashboard_port, endpoint_port,"
        " vllm_serve_ready_port."
        " (check 'port')",
        "the nodes: expected the same on every node, found node00 9000, node01 1500. Set the same MTU on the cluster's"
        " interface of every node (ip link set dev NAME mtu N). (check 'mtu')",
    ]


def test_a_warning_is_no_refusal():
    rows = judge("gpu", {"*.rate.rate": 1.0})
    assert [row["result"] for row in rows if row["id"] == "storage-rate"] == ["warn", "warn"]
    assert preflight.refusal(rows) == []


# How fast a fabric should be.


@pytest.mark.parametrize(
    ("count", "ports", "floor"),
    [
        pytest.param(1, [ib_port(0)], 3.0, id="one-node"),
        pytest.param(1, [], 3.0, id="one-node-without-infiniband"),
        pytest.param(2, [ib_port(number) for number in range(8)], 25.0, id="two-nodes"),
        pytest.param(4, [ib_port(0)], 25.0, id="four-nodes"),
        pytest.param(5, [ib_port(0)], 18.75, id="five-nodes"),
        pytest.param(8, [ib_port(number) for number in range(8)], 18.75, id="eight-nodes"),
        pytest.param(2, [ib_port(0, rate=100.0), ib_port(1)], 6.25, id="the-slowest-port"),
        pytest.param(2, [ib_port(0), ib_port(1, state="DOWN", rate=10.0)], 25.0, id="a-port-that-is-down"),
        pytest.param(2, [ib_port(0, rate=200.0)], 12.5, id="hdr"),
        pytest.param(2, [], 0.5, id="two-nodes-without-infiniband"),
        pytest.param(8, [], 0.375, id="eight-nodes-without-infiniband"),
        pytest.param(2, [ib_port(0, state="DOWN")], 0.5, id="all-down"),
    ],
)
def test_floor_of(count, ports, floor):
    nodes = [gpu_node(index, count) for index in range(count)]
    for node in nodes:
        node["node"]["infiniband_ports"] = ports
    assert preflight.floor_of(nodes) == floor


@pytest.mark.parametrize("count", [1, 2, 8])
def test_floor_of_nodes_without_gpus(count):
    assert preflight.floor_of([lab_node(index) for index in range(count)]) == 0.005


def test_the_slowest_node_counts():
    nodes = gpu_cluster()
    nodes[1]["node"]["infiniband_ports"] = [ib_port(0, rate=100.0)]
    assert preflight.floor_of(nodes) == 6.25


@pytest.mark.parametrize(
    ("version", "number"), [("13.0", 13), ("12.9.1", 12), ("12", 12), ("N/A", 0), ("Not Found", 0), ("", 0)]
)
def test_major(version, number):
    assert preflight.major(version) == number


@pytest.mark.parametrize(
    ("interfaces", "text"),
    [
        ({}, ""),
        ({"lo": ["127.0.0.1"]}, "lo 127.0.0.1"),
        ({"ib0": [], "eno1": ["10.0.0.1", "10.0.0.2"]}, "eno1 10.0.0.1 10.0.0.2, ib0 none"),
    ],
)
def test_listed(interfaces, text):
    assert preflight.listed(interfaces) == text
