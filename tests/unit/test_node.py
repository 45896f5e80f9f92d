# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one node has, on output of its own commands."""

from __future__ import annotations

import os
import subprocess

import pytest

from ansible_collections.onecc.vllm.plugins.module_utils import node

H100 = "\n".join("%d, NVIDIA H100 80GB HBM3, 81559" % index for index in range(8)) + "\n"


@pytest.mark.parametrize(
    ("output", "gpus"),
    [
        pytest.param(
            H100,
            [{"index": index, "name": "NVIDIA H100 80GB HBM3", "memory_mib": 81559} for index in range(8)],
            id="eight-h100",
        ),
        pytest.param("", [], id="none"),
        pytest.param(
            "0, GRID A100X-4C, [N/A]\n", [{"index": 0, "name": "GRID A100X-4C", "memory_mib": 0}], id="memory-unknown"
        ),
    ],
)
def test_parse_gpus(output, gpus):
    assert node.parse_gpus(output) == gpus


def test_parse_interfaces(capture):
    assert node.parse_interfaces(capture("node/ip_address.txt")) == {
        "lo": ["127.0.0.1"],
        "docker0": ["172.17.0.1"],
        "eth0": ["198.18.0.10"],
    }


@pytest.mark.parametrize(
    ("output", "interfaces"),
    [
        pytest.param("", {}, id="nothing"),
        pytest.param("[]", {}, id="no-links"),
        # ip prints {} for links without an address of the family asked for.
        pytest.param('[{},{"ifname":"ib0","flags":["UP"]}]', {"ib0": []}, id="no-address"),
        pytest.param('[{"ifname":"eth1","flags":["BROADCAST"],"addr_info":[]}]', {}, id="down"),
        pytest.param(
            '[{"ifname":"eth0","flags":["UP"],"addr_info":[{"family":"inet","local":"10.0.0.1"},'
            '{"family":"inet6","local":"fe80::1"},{"family":"inet","local":"10.0.0.2"}]}]',
            {"eth0": ["10.0.0.1", "10.0.0.2"]},
            id="two-addresses",
        ),
    ],
)
def test_parse_interfaces_edges(output, interfaces):
    assert node.parse_interfaces(output) == interfaces


@pytest.mark.parametrize(
    ("output", "interface"),
    [
        pytest.param("", "", id="nothing"),
        pytest.param("[]", "", id="no-route"),
        pytest.param(
            '[{"dst":"default","dev":"wlan0","metric":600},{"dst":"default","dev":"eth0","metric":100}]',
            "eth0",
            id="lowest-metric",
        ),
        pytest.param(
            '[{"dst":"default","dev":"eth0","metric":100},{"dst":"default","dev":"eth1"}]', "eth1", id="no-metric-is-0"
        ),
        pytest.param('[{"dst":"default","flags":["dead"]}]', "", id="no-device"),
    ],
)
def test_parse_default_interface_edges(output, interface):
    assert node.parse_default_interface(output) == interface


def test_parse_default_interface(capture):
    assert node.parse_default_interface(capture("node/ip_route.txt")) == "eth0"


MOUNTS = r"""overlay / overlay rw,relatime,lowerdir=/var/lib/docker/overlay2/l/MUISQ4XURMXZ4J752V64PDRG65 0 0
proc /proc proc rw,nosuid,nodev,noexec,relatime 0 0
tmpfs /run tmpfs rw,nosuid,nodev,noexec,relatime 0 0
/dev/vda /home/ubuntu ext4 rw,relatime 0 0
systemd-1 /home/ubuntu/shared autofs rw,relatime,fd=60,pgrp=1,timeout=0,minproto=5,maxproto=5,direct 0 0
172.26.0.2:/shared /home/ubuntu/shared nfs4 rw,relatime,vers=4.2,addr=172.26.0.2 0 0
//server/my\040share /mnt/my\040share\134x cifs rw 0 0
/dev/vdb /mnt/données ext4 rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "mount"),
    [
        pytest.param("/", ("overlay", "/", "overlay"), id="root"),
        pytest.param("/opt/models", ("overlay", "/", "overlay"), id="below-root"),
        pytest.param("/run/lock/a", ("tmpfs", "/run", "tmpfs"), id="below"),
        pytest.param("/runs", ("overlay", "/", "overlay"), id="same-beginning-only"),
        pytest.param("/home/ubuntu/other", ("/dev/vda", "/home/ubuntu", "ext4"), id="outer"),
        pytest.param("/home/ubuntu/shared", ("172.26.0.2:/shared", "/home/ubuntu/shared", "nfs4"), id="over-autofs"),
        pytest.param("/home/ubuntu/shared/a/b", ("172.26.0.2:/shared", "/home/ubuntu/shared", "nfs4"), id="nested"),
        pytest.param("/mnt/my share\\x/a", ("//server/my share", "/mnt/my share\\x", "cifs"), id="escapes"),
        pytest.param("/mnt/données/a", ("/dev/vdb", "/mnt/données", "ext4"), id="not-ascii"),
    ],
)
def test_parse_mount(path, mount):
    assert node.parse_mount(MOUNTS, path) == dict(zip(("source", "mount_point", "fstype"), mount, strict=True))


def test_parse_mount_without_mounts():
    assert node.parse_mount("", "/a") == {"source": "", "mount_point": "", "fstype": ""}


def test_read_shared(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real" / "probe").touch()
    shared = node.read_shared(str(tmp_path / "link"), str(tmp_path / "link" / "probe"))
    assert (shared["exists"], shared["writable"], shared["probe_seen"]) == (True, True, True)
    assert os.path.ismount(shared["mount_point"])
    assert str(tmp_path).startswith(shared["mount_point"])
    assert shared["free"] > 0


def test_read_shared_through_a_link(tmp_path):
    (tmp_path / "link").symlink_to("/proc/self/fd")
    shared = node.read_shared(str(tmp_path / "link"), None)
    assert (shared["source"], shared["mount_point"], shared["fstype"]) == ("proc", "/proc", "proc")


@pytest.mark.parametrize("probe", [None, "", "/nowhere/probe"])
def test_read_shared_that_is_not_there(tmp_path, probe):
    shared = node.read_shared(str(tmp_path / "none"), probe)
    assert (shared["exists"], shared["writable"], shared["free"], shared["probe_seen"]) == (False, False, 0, False)
    assert shared["mount_point"]


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Puts a command with the given script on an otherwise empty path, and runs argv as AnsibleModule does."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def run(argv):
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    def install(name, script):
        (tmp_path / name).write_text("#!/bin/sh\n%s\n" % script)
        (tmp_path / name).chmod(0o755)
        return run

    return install


NO_DRIVER = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."


@pytest.mark.parametrize(
    ("name", "script", "gpus", "error"),
    [
        pytest.param("other", "", [], "the command nvidia-smi is not there", id="no-command"),
        pytest.param("nvidia-smi", 'echo; echo "%s"; exit 9' % NO_DRIVER, [], NO_DRIVER, id="no-driver"),
        pytest.param("nvidia-smi", "echo No devices were found", [], "No devices were found", id="no-devices"),
        pytest.param(
            "nvidia-smi",
            '[ "$*" = "--query-gpu=index,name,memory.total --format=csv,noheader,nounits" ] && echo "0, H200, 143771"',
            [{"index": 0, "name": "H200", "memory_mib": 143771}],
            "",
            id="one",
        ),
    ],
)
def test_read_gpus(command, name, script, gpus, error):
    assert node.read_gpus(command(name, script)) == {"gpus": gpus, "gpu_error": error}


NO_DAEMON = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"


@pytest.mark.parametrize(
    ("name", "script", "version", "error"),
    [
        pytest.param("other", "", "", "the command docker is not there", id="no-command"),
        pytest.param("docker", "echo; echo '%s' >&2; exit 1" % NO_DAEMON, "", NO_DAEMON, id="no-daemon"),
        pytest.param("docker", "echo 20.10.24+dfsg1; echo 'a warning' >&2", "20.10.24+dfsg1", "", id="answers"),
    ],
)
def test_read_engine(command, name, script, version, error):
    assert node.read_engine(command(name, script)) == {"version": version, "error": error}


@pytest.mark.parametrize(
    ("image", "script", "image_id"),
    [
        pytest.param("onecc/vllm:1", "echo sha256:$4$5", "sha256:{{.Id}}onecc/vllm:1", id="there"),
        pytest.param("onecc/vllm:1", "echo '[]'; echo 'No such image' >&2; exit 1", "", id="not-there"),
        pytest.param("", "echo sha256:any", "", id="no-name"),
    ],
)
def test_read_image(command, image, script, image_id):
    assert node.read_image(command("docker", script), image) == image_id
