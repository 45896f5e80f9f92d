# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one node has, on output of its own commands and answers of its Docker Engine."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import pathlib
import pwd
import socketserver
import subprocess
import threading
import urllib.parse

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.onecc.vllm.plugins.module_utils import node
from ansible_collections.onecc.vllm.plugins.module_utils.supervisor.processes import Processes
from ansible_collections.onecc.vllm.plugins.modules import node_info


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


# Container engine.


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Puts commands with the given scripts on an otherwise empty path; runs argv as AnsibleModule does."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def run(argv, check_rc=False):
        done = subprocess.run(argv, capture_output=True, text=True, check=check_rc)
        return done.returncode, done.stdout, done.stderr

    def install(scripts):
        for name, script in scripts.items():
            (folder / name).write_text("#!/bin/sh\n%s\n" % script)
            (folder / name).chmod(0o755)
        return run

    return install


def shell(answers):
    """A script that prints the text for the arguments that begin with a key, and knows no others."""
    cases = []
    for words, text in answers.items():
        # Nothing is nothing, not an empty line.
        show = "/bin/cat <<'END'\n%s\nEND\n" % text.rstrip("\n") if text else ""
        cases.append("%s*) %s;;" % (words.replace(" ", "\\ "), show))
    return 'case "$*" in\n%s\n*) echo "unexpected: $*" >&2; exit 99;;\nesac' % "\n".join(cases)


NO_DAEMON = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
NO_ENGINE = {
    "version": "",
    "error": "",
    "root": "/var/lib/docker",
    "runtimes": [],
    "gpu_hook": False,
    "containers": {},
}
RAY = "ce75318fbf48692a69681a0969cc7cf2482005c7b7596e9a0e8ebc077e8e08a5"
VLLM = "19db33a426774c447505f92e7d3d3a07037a929ccc9591877b03bf91a74e519f"
OWN = '/containers/json?filters={"name": ["^/?onecc-"]}'
IMAGE = "/images/onecc/vllm:1/json"


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """A Docker Engine at a socket of its own, which answers paths with statuses and data, and knows no others."""
    monkeypatch.setattr(node, "ENGINE_SOCKET", str(tmp_path / "docker.sock"))
    with contextlib.ExitStack() as stack:

        def start(answers, server="Docker/20.10.24+dfsg1 (linux)"):
            class Handler(http.server.BaseHTTPRequestHandler):
                def do_GET(self):
                    status, data = answers[urllib.parse.unquote_plus(self.path)]
                    body = data if isinstance(data, bytes) else json.dumps(data).encode()
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

                def version_string(self):
                    return server

                def log_message(self, *args):
                    """Says nothing."""

            listening = stack.enter_context(socketserver.ThreadingUnixStreamServer(node.ENGINE_SOCKET, Handler))
            threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True).start()
            stack.callback(listening.shutdown)

        yield start


@pytest.mark.parametrize(
    ("scripts", "error"),
    [
        pytest.param({"other": ""}, "the command docker is not there", id="no-command"),
        pytest.param({"docker": "echo >&2; echo '%s' >&2; exit 1" % NO_DAEMON}, NO_DAEMON, id="no-daemon"),
        pytest.param({"docker": "exit 1"}, None, id="nothing-said"),
    ],
)
def test_read_engine_that_is_not_there(commands, engine, scripts, error):
    """What the command says of it is told."""
    no_socket = "%s: [Errno 2] No such file or directory" % node.ENGINE_SOCKET
    assert node.read_engine(commands(scripts)) == NO_ENGINE | {"error": no_socket if error is None else error}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((500, {"message": "layer does not exist"}), '/info: status 500, {"message": "layer does not exist"}'),
        ((404, {}), "/info: status 404, {}"),
        ((200, b"<html>"), "/info: JSONDecodeError('Expecting value: line 1 column 1 (char 0)')"),
    ],
)
def test_read_engine_that_does_not_answer(commands, engine, answer, error):
    engine({"/info": answer})
    told = node.read_engine(commands({"docker": "echo 28.1.1"}))
    assert told == NO_ENGINE | {"error": "%s: %s" % (node.ENGINE_SOCKET, error)}


@pytest.mark.parametrize(
    ("server", "found"), [("Libpod/4.3.1 (linux)", "Libpod/4.3.1 (linux)"), ("", "another service")]
)
def test_read_engine_that_is_not_docker(commands, capture, engine, server, found):
    engine({"/info": (200, capture("node/engine_info.json")), OWN: (200, [])}, server)
    told = node.read_engine(commands({"docker": "echo 4.3.1"}))
    assert told == NO_ENGINE | {"error": "%s: expected Docker, found %s" % (node.ENGINE_SOCKET, found)}


RUNC = ["io.containerd.runc.v2", "io.containerd.runtime.v1.linux", "runc"]


@pytest.mark.parametrize(
    ("change", "own", "others", "told"),
    [
        pytest.param({}, [], {}, {"runtimes": RUNC}, id="nothing-of-ours"),
        pytest.param(
            {}, None, {}, {"runtimes": RUNC, "containers": {"onecc-ray": RAY, "onecc-vllm": VLLM}}, id="ours-run"
        ),
        pytest.param(
            {"Runtimes": {"runc": {}, "nvidia": {}}}, [], {}, {"runtimes": ["nvidia", "runc"]}, id="nvidia-runtime"
        ),
        pytest.param(
            {}, [], {"nvidia-container-runtime-hook": ""}, {"runtimes": RUNC, "gpu_hook": True}, id="nvidia-hook"
        ),
        pytest.param(
            {"DockerRootDir": "/mnt/docker"}, [], {}, {"runtimes": RUNC, "root": "/mnt/docker"}, id="images-elsewhere"
        ),
        pytest.param({"Runtimes": None}, [], {}, {}, id="no-runtimes"),
    ],
)
def test_read_engine(commands, capture, engine, change, own, others, told):
    containers = capture("node/engine_containers.json") if own is None else own
    engine({"/info": (200, capture("node/engine_info.json") | change), OWN: (200, containers)})
    assert node.read_engine(commands({"docker": "", **others})) == NO_ENGINE | {"version": "20.10.24+dfsg1"} | told


IMAGE_ID = "sha256:ed9431d59dbe6210134d86092a274d0ea65df1dfbcda0c6f4e55721894b36a3e"
CUDA_ENV = ["PATH=/usr/local/cuda/bin:/usr/bin", "NVARCH=x86_64", "CUDA_VERSION=12.9.1", "NV_FLAGS=a=b", "EMPTY"]


@pytest.mark.parametrize(("env", "cuda"), [(CUDA_ENV, "12.9.1"), (["PATH=/usr/bin"], ""), (None, ""), ([], "")])
def test_read_image(capture, engine, env, cuda):
    image = capture("node/engine_image.json")
    engine({IMAGE: (200, image | {"Config": image["Config"] | {"Env": env}})})
    assert node.read_image("onecc/vllm:1") == {"image_id": IMAGE_ID, "image_cuda": cuda}


@pytest.mark.parametrize("answer", [(404, {"message": "No such image: onecc/vllm:1"}), (400, {}), (200, b"")])
def test_read_image_that_is_not_there(engine, answer):
    engine({IMAGE: answer})
    assert node.read_image("onecc/vllm:1") == node.read_image("") == {"image_id": "", "image_cuda": ""}


def test_read_image_without_an_engine(engine):
    """It may have ended after it was asked for its version."""
    assert node.read_image("onecc/vllm:1") == {"image_id": "", "image_cuda": ""}


# What stands in for engine and image where there are no containers.


@pytest.mark.parametrize(
    ("digest", "config", "python", "told"),
    [
        pytest.param("abc\n", "version_info = 3.12.3\n", "python3.12", "abc", id="there"),
        pytest.param("abc\n", "version = 3.12.3\n", "python3.12", "abc", id="made-by-another-tool"),
        pytest.param("abc\n", "version_info = 3.12.3\n", "python", "abc", id="no-version-in-the-name"),
        pytest.param("abc\n", "version_info = 3.12.3\n", "python3.10", "", id="another-version-here"),
        pytest.param("abc\n", "version_info = 3.12.3\n", None, "", id="no-interpreter-here"),
        pytest.param(None, "version_info = 3.12.3\n", "python3.12", "", id="not-complete"),
        pytest.param("abc\n", None, "python3.12", "", id="no-environment"),
    ],
)
def test_read_environment(tmp_path, digest, config, python, told):
    folder = tmp_path / "venv"
    (folder / "bin").mkdir(parents=True)
    for name, content in (("digest", digest), ("pyvenv.cfg", config)):
        if content is not None:
            (folder / name).write_text(content)
    (folder / "bin/python").symlink_to(tmp_path / (python or "gone"))
    if python:
        (tmp_path / python).write_text("")
        (tmp_path / python).chmod(0o755)
    assert node.read_environment(str(folder)) == {"image_id": told, "image_cuda": ""}


@pytest.mark.parametrize(
    ("program", "scripts", "told"),
    [
        ("", {}, ("", "")),
        ("python3", {"python3": "echo 3.12.3"}, ("3.12.3", "")),
        ("python3", {}, ("", "python3 is not there")),
        ("python3", {"python3": "echo broken >&2; exit 1"}, ("", "broken")),
    ],
    ids=["not-asked", "there", "missing", "broken"],
)
def test_read_interpreter(commands, program, scripts, told):
    found = node.read_interpreter(commands(scripts), program)
    assert (found["version"], found["error"]) == told


@pytest.mark.parametrize(
    ("settings", "told"),
    [(None, ""), ('{"runtime": "venv"}', "venv"), ('{"runtime": "docker"}', "docker"), ("{}", "docker"), ("{", "")],
    ids=["nothing", "venv", "docker", "earlier-release", "cut-off"],
)
def test_read_runtime(tmp_path, settings, told):
    assert node.read_runtime(None) == ""
    if settings is not None:
        (tmp_path / "supervisor-ray.json").write_text(settings)
    assert node.read_runtime(str(tmp_path)) == told


def test_running_processes(tmp_path, monkeypatch):
    """Of two that are written down, the one that runs."""
    monkeypatch.setattr(Processes.__init__, "__defaults__", (str(tmp_path / "run"),))
    folder = tmp_path / "processes"
    folder.mkdir()
    assert node.running_processes(None) == {}
    for name in ("onecc-ray", "onecc-vllm"):
        spec = {"argv": ["sleep", "1000"], "env": {"PATH": "/bin:/usr/bin"}, "log_size": 1, "log_files": 1}
        (folder / (name + ".json")).write_text(json.dumps(dict(spec, log=str(folder / (name + ".log")))))
    processes = Processes(str(folder))
    processes.start("onecc-ray")
    try:
        assert node.running_processes(str(tmp_path)) == {"onecc-ray": processes.ident("onecc-ray")}
    finally:
        processes.stop("onecc-ray", 1)
    assert node.running_processes(str(tmp_path)) == {}


# Firewall.


@pytest.mark.parametrize(
    ("scripts", "told"),
    [
        pytest.param({"other": ""}, {"nft": False, "loaded": False}, id="no-command"),
        pytest.param(
            {"nft": shell({"list table inet onecc": "table inet onecc {\n}"})}, {"nft": True, "loaded": True}, id="ours"
        ),
        pytest.param(
            {"nft": "echo 'Error: No such file or directory' >&2; exit 1"},
            {"nft": True, "loaded": False},
            id="not-ours",
        ),
    ],
)
def test_read_firewall(commands, monkeypatch, scripts, told):
    monkeypatch.setattr(node, "SBIN", ())
    assert node.read_firewall(commands(scripts)) == told


def test_read_firewall_outside_of_the_path(commands, monkeypatch, tmp_path):
    run = commands({"nft": "exit 0"})
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(node, "SBIN", (str(tmp_path / "bin"),))
    assert node.read_firewall(run) == {"nft": True, "loaded": True}


@pytest.mark.parametrize(("text", "ports"), [("32768\t60999\n", [32768, 60999]), ("1024 65535", [1024, 65535])])
def test_parse_port_range(text, ports):
    assert node.parse_port_range(text) == ports


# Network, memory, system, disks.


def test_parse_mtus(capture):
    assert node.parse_mtus(capture("node/ip_address.txt")) == {"lo": 65536, "docker0": 1500, "eth0": 1500}


@pytest.mark.parametrize(
    ("output", "mtus"),
    [
        ("", {}),
        ("[]", {}),
        ('[{},{"ifname":"ib0","flags":[],"mtu":2044},{"ifname":"eth1","mtu":9000}]', {"ib0": 2044, "eth1": 9000}),
    ],
)
def test_parse_mtus_edges(output, mtus):
    assert node.parse_mtus(output) == mtus


def listener(address, port, process="", pid=0):
    return {"address": address, "port": port, "process": process, "pid": pid}


def test_parse_listeners(capture):
    """On a head that serves."""
    told = node.parse_listeners(capture("node/ss.txt"))
    assert len(told) == 17
    for one in (
        listener("0.0.0.0", 6379, "gcs_server", 1123),
        listener("127.0.0.1", 8265, "python", 1157),
        listener("127.0.0.1", 52365, "ray::DashboardA", 1454),
        # Docker's resolver, of another network namespace's process.
        listener("127.0.0.11", 46289),
        listener("[::]", 22, "sshd", 211),
    ):
        assert one in told


@pytest.mark.parametrize(
    ("line", "told"),
    [
        pytest.param(
            'LISTEN 0      4096   127.0.0.53%lo:53   0.0.0.0:* users:(("systemd-resolve",pid=687,fd=14))',
            listener("127.0.0.53%lo", 53, "systemd-resolve", 687),
            id="on-an-interface",
        ),
        pytest.param("LISTEN 0 64 *:2049 *:*", listener("*", 2049), id="the-kernels"),
        pytest.param(
            'LISTEN 0 511 0.0.0.0:80 0.0.0.0:* users:(("nginx",pid=90,fd=6),("nginx",pid=89,fd=6))',
            listener("0.0.0.0", 80, "nginx", 90),
            id="several-processes",
        ),
        pytest.param(
            'LISTEN 0 2048 0.0.0.0:8000 0.0.0.0:* users:(("VLLM::API server",pid=4242,fd=35))',
            listener("0.0.0.0", 8000, "VLLM::API server", 4242),
            id="a-name-with-a-blank",
        ),
        pytest.param(
            'LISTEN 0 128 [fe80::1%eth0]:22 [::]:* users:(("sshd",pid=1,fd=3)) cgroup:/system.slice',
            listener("[fe80::1%eth0]", 22, "sshd", 1),
            id="ipv6",
        ),
    ],
)
def test_parse_a_listener(line, told):
    assert node.parse_listeners(line + "\n") == [told]


def test_parse_no_listeners():
    assert node.parse_listeners("") == []


def test_parse_memory(capture):
    assert node.parse_memory(capture("node/meminfo.txt")) == {"total": 24684092 * 1024, "available": 21512040 * 1024}


UBUNTU = """PRETTY_NAME="Ubuntu 22.04.5 LTS"
NAME="Ubuntu"
VERSION_ID="22.04"
VERSION="22.04.5 LTS (Jammy Jellyfish)"
VERSION_CODENAME=jammy
ID=ubuntu
ID_LIKE=debian
UBUNTU_CODENAME=jammy
"""


def test_parse_os(capture):
    assert node.parse_os(capture("node/os_release_debian.txt")) == {
        "id": "debian",
        "version": "12",
        "name": "Debian GNU/Linux 12 (bookworm)",
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(UBUNTU, ("ubuntu", "22.04", "Ubuntu 22.04.5 LTS"), id="ubuntu"),
        pytest.param(
            'NAME="Rocky Linux"\nID="rocky"\nVERSION_ID="9.4"\nPRETTY_NAME="Rocky Linux 9.4 (Blue Onyx)"\n',
            ("rocky", "9.4", "Rocky Linux 9.4 (Blue Onyx)"),
            id="id-in-quotes",
        ),
        pytest.param(
            'PRETTY_NAME="Debian GNU/Linux forky/sid"\nID=debian\n',
            ("debian", "", "Debian GNU/Linux forky/sid"),
            id="no-version",
        ),
        pytest.param("", ("", "", ""), id="empty"),
    ],
)
def test_parse_os_of_others(text, told):
    assert node.parse_os(text) == dict(zip(("id", "version", "name"), told, strict=True))


def df(path):
    """Free bytes and used percent as df tells them."""
    done = subprocess.run(
        ["df", "--block-size=1", "--output=avail,pcent", path], capture_output=True, text=True, check=True
    )
    free, percent = done.stdout.splitlines()[-1].split()
    return int(free), int(percent.rstrip("%"))


@pytest.mark.parametrize("below", ["", "/not/yet/there"])
def test_read_disk(tmp_path, below):
    told = node.read_disk(str(tmp_path) + below)
    free, percent = df(str(tmp_path))
    assert sorted(told) == ["free", "used_percent"]
    # Others write to it meanwhile.
    assert told["free"] == pytest.approx(free, rel=0.05)
    # df rounds up.
    assert percent - 1.5 <= told["used_percent"] <= percent + 0.5


def test_read_disk_through_a_link(tmp_path):
    """The file system that holds the data, and /proc, which has no size."""
    (tmp_path / "state").symlink_to("/proc/self")
    assert node.read_disk(str(tmp_path / "state")) == {"free": 0, "used_percent": 0.0}


def test_container_of():
    """A process is known by its control group: here this one's own, in place of a container's."""
    own = pathlib.Path("/proc/self/cgroup").read_text().strip()
    assert node.container_of(os.getpid(), {"onecc-ray": RAY, "onecc-vllm": own}) == "onecc-vllm"
    assert node.container_of(os.getpid(), {"onecc-ray": RAY}) == ""
    assert node.container_of(os.getpid(), {}) == ""


def test_container_of_a_process_that_is_over():
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert node.container_of(process.pid, {"onecc-ray": RAY}) == ""


def test_container_of_an_unknown_process():
    """Another user's listener has the number 0."""
    assert node.container_of(0, {"onecc-ray": RAY}) == ""


def test_read_text(tmp_path):
    (tmp_path / "a").write_text("é\n", encoding="utf-8")
    assert node.read_text(str(tmp_path / "a")) == "é\n"


# The module, on captured output.

XID = "NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."


# Above the most that Linux counts processes to.
NOBODY = 2**22 + 1


@pytest.fixture
def node_commands(commands, capture, engine):
    """A node with an H200, Docker and an image; ss tells of this test's own process."""
    listening = 'LISTEN 0 4096 0.0.0.0:6379 0.0.0.0:* users:(("gcs_server",pid=%d,fd=44))' % os.getpid()
    image = capture("node/engine_image.json")
    engine(
        {
            "/info": (200, capture("node/engine_info.json")),
            OWN: (200, [{"Names": ["/onecc-ray"], "Id": pathlib.Path("/proc/self/cgroup").read_text().split()[-1]}]),
            IMAGE: (200, image | {"Config": image["Config"] | {"Env": CUDA_ENV}}),
        }
    )
    scripts = {
        "ip": shell(
            {
                "-json -4 address show": capture("node/ip_address.txt"),
                "-json -4 route show default": capture("node/ip_route.txt"),
            }
        ),
        "ss": shell({"--no-header --listening --tcp --numeric --processes": listening}),
        # A number that no process of the machine with the tests can have.
        "nvidia-smi": shell({"-q -x": capture("node/nvidia_smi_busy.xml").replace("553<", "%d<" % NOBODY)}),
        "dmesg": shell({"--notime": XID}),
        "docker": "",
    }
    return lambda without=(): commands({name: text for name, text in scripts.items() if name not in without})


def run_module(capsys, **params):
    """What the module prints, as data."""
    with patch_module_args(params), pytest.raises(SystemExit):
        node_info.main()
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ([], {"exists": False, "usable": True, "private": True, "foreign": False}),
        (["state/"], {"exists": True, "usable": True, "private": False, "foreign": False}),
        (["state/tmp/", "state/cache/"], {"exists": True, "usable": True, "private": False, "foreign": False}),
        (
            ["state/tools-0123456789ab/", "state/supervisor-ray.pyz"],
            {"exists": True, "usable": True, "private": False, "foreign": False},
        ),
        (["state/tmp/", "state/thesis/"], {"exists": True, "usable": True, "private": False, "foreign": True}),
        (["state/secrets/", "state/thesis/"], {"exists": True, "usable": True, "private": False, "foreign": False}),
        (["state"], {"exists": True, "usable": False, "private": False, "foreign": False}),
    ],
)
def test_read_state(tmp_path, made, told):
    for name in made:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.mkdir() if name.endswith("/") else path.touch()
    found = node.read_state(str(tmp_path / "state"))
    assert found.pop("fstype")
    assert found == told


@pytest.mark.parametrize("made", [True, False])
def test_read_state_of_somebody_else(tmp_path, monkeypatch, made):
    """What is there is theirs; what is not cannot be made in a folder of theirs."""
    if made:
        (tmp_path / "state").mkdir(0o700)
    else:
        monkeypatch.setattr(os, "access", lambda path, mode: (path, mode) != (str(tmp_path), os.W_OK | os.X_OK))
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    found = node.read_state(str(tmp_path / "state"))
    assert (found["exists"], found["usable"], found["private"]) == (made, False, True)


def test_node_info(node_commands, capsys, tmp_path):
    node_commands()
    told = run_module(
        capsys, shared_dir=str(tmp_path), image="onecc/vllm:1", disks=["/", str(tmp_path / "new")], paths=["/none"]
    )
    assert told["changed"] is False
    assert (told["root"], told["user"]) == (os.geteuid() == 0, pwd.getpwuid(os.geteuid()).pw_name)
    assert set(yaml.safe_load(node_info.RETURN)) == set(told) - {"changed", "invocation"}
    assert (told["interface"], told["address"], told["mtus"]["eth0"]) == ("eth0", "198.18.0.10", 1500)
    assert told["listeners"] == [listener("0.0.0.0", 6379, "gcs_server", os.getpid()) | {"container": "onecc-ray"}]
    assert [gpu["processes"] for gpu in told["gpus"]] == [
        [{"pid": NOBODY, "name": "python3", "used_mib": 8710, "container": ""}]
    ]
    assert (told["driver"], told["cuda"], told["image_cuda"]) == ("580.159.04", "13.0", "12.9.1")
    assert told["xids"] == [XID]
    assert sorted(told["disks"]) == sorted(["/", str(tmp_path / "new"), "/var/lib/docker"])
    assert (told["image_id"], told["paths"]) == (IMAGE_ID, {"/none": False})
    assert told["os"]["machine"] == os.uname().machine
    assert 0 < told["ephemeral_ports"][0] < told["ephemeral_ports"][1] < 65536
    assert 0 < told["memory"]["available"] < told["memory"]["total"]


def test_node_info_of_a_bare_node(node_commands, capsys, tmp_path):
    """Nothing is asked of what is not there."""
    node_commands(without=["nvidia-smi", "docker", "dmesg"])
    told = run_module(capsys, shared_dir=str(tmp_path / "none"), image="onecc/vllm:1", interface="eth9")
    assert (told["gpus"], told["gpu_error"], told["xids"]) == ([], "the command nvidia-smi is not there", [])
    assert told["engine"] == NO_ENGINE | {"error": "the command docker is not there"}
    assert (told["image_id"], told["address"], told["interface"]) == ("", "", "eth9")
    assert told["shared"]["exists"] is False
    assert sorted(told["disks"]) == ["/var/lib/docker"]
