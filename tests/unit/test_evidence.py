# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node tells about a failure, with commands that answer, fail, hang or are not there."""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import tarfile
import time

import pytest

from ansible_collections.onecc.vllm.plugins.module_utils import evidence
from ansible_collections.onecc.vllm.plugins.module_utils.errors import OneccError

SHELL = "/bin/sh"


@pytest.mark.parametrize(
    ("script", "limit", "text", "why"),
    [
        pytest.param("echo one; echo two >&2", 100, "one\ntwo\n", "", id="both-streams"),
        pytest.param("echo one; exit 3", 100, "one\n", "exit status 3", id="fails"),
        pytest.param("echo one; echo two; echo three", 10, "two\nthree\n", "", id="the-end-in-whole-lines"),
        pytest.param("echo one; echo two; echo three", 8, "three\n", "", id="no-half-line"),
        pytest.param("printf '\\377\\n'", 100, "\ufffd\n", "", id="not-text"),
        pytest.param("echo one; exec sleep 60", 100, "one\n", "timeout", id="hangs"),
        pytest.param("echo one; exec >&- 2>&-; sleep 60", 100, "one\n", "timeout", id="closes-and-hangs"),
        pytest.param("(trap '' TERM; sleep 60) & echo one; wait", 100, "one\n", "timeout", id="child-hangs"),
    ],
)
def test_run(script, limit, text, why):
    start = time.monotonic()
    assert evidence.run([SHELL, "-c", script], 1, limit) == (text, why)
    assert time.monotonic() - start < 5


def test_run_of_what_is_not_there():
    assert evidence.run(["/nowhere/command"], 1, 100) == ("", "missing")


def test_run_of_much_keeps_little():
    text, why = evidence.run([SHELL, "-c", "seq 1 300000"], 20, 1000)
    assert (why, len(text) <= 1000, text.endswith("\n299999\n300000\n")) == ("", True, True)
    assert all(line.isdigit() and len(line) == 6 for line in text.split())


@pytest.mark.parametrize(
    ("content", "limit", "expected"),
    [
        pytest.param("one\ntwo\n", 100, "one\ntwo\n", id="all"),
        pytest.param("one\ntwo\n", 8, "one\ntwo\n", id="just-all"),
        pytest.param("one\ntwo\n", 7, "two\n", id="no-half-line"),
        pytest.param("one\ntwo\n", 4, "two\n", id="the-last-line"),
        pytest.param("token=" + "x" * 50, 20, "", id="nothing-but-half-a-line"),
    ],
)
def test_read_file(tmp_path, content, limit, expected):
    (tmp_path / "log").write_text(content)
    os.utime(tmp_path / "log", (1, 1795434391.5))
    assert evidence.read_file(str(tmp_path / "log"), limit) == (expected, 1795434391.5)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "nothing"])
def test_read_file_reads_files_alone(tmp_path, kind):
    """Others may write to the folder of Ray's logs, and this runs as root."""
    path = tmp_path / "log"
    {
        "link": lambda: path.symlink_to("/etc/passwd"),
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
        "nothing": lambda: None,
    }[kind]()
    with pytest.raises(OSError, match=str(path)):
        evidence.read_file(str(path), 100)


INSPECT = json.dumps(
    [
        {
            "Image": "sha256:f4c1",
            "RestartCount": 2,
            "State": {
                "Status": "exited",
                "ExitCode": 137,
                "OOMKilled": True,
                "Error": "",
                "StartedAt": "2026-11-23T11:22:05.940809539Z",
                "FinishedAt": "2026-11-23T11:32:05.940809539Z",
            },
            "Args": ["--api-key", "letmein"],
            "Config": {"Env": ["VLLM_HOST_IP=198.18.0.10", "HF_TOKEN=two words", "PATH=/bin"], "Labels": {}},
        }
    ]
)


def test_container_state():
    assert evidence.container_state(INSPECT) == {
        "status": "exited",
        "exit_code": 137,
        "oom_killed": True,
        "error": "",
        "started_at": "2026-11-23T11:22:05.940809539Z",
        "finished_at": "2026-11-23T11:32:05.940809539Z",
        "restarts": 2,
        "image_id": "sha256:f4c1",
    }
    assert evidence.container_state("[]") is None
    assert evidence.container_state("Error: No such container: onecc-ray") is None
    assert evidence.environment(INSPECT)["VLLM_HOST_IP"] == "198.18.0.10"
    assert evidence.environment("[]") == {}


def test_hide_environment():
    shown = json.loads(evidence.hide_environment(INSPECT))[0]["Config"]["Env"]
    assert shown == ["VLLM_HOST_IP=198.18.0.10", "HF_TOKEN=[redacted]", "PATH=/bin"]
    assert evidence.hide_environment("no JSON") == "no JSON"


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["vllm", "serve", "/model"], ["vllm", "serve", "/model"]),
        (["--api-key", "a", "b", "--port", "8000"], ["--api-key", "[redacted]", "[redacted]", "--port", "8000"]),
        (["--api_key=a", "--hf-token", "b"], ["--api_key=[redacted]", "--hf-token", "[redacted]"]),
        (["--max-num-batched-tokens", "8192", "--tokenizer", "/t"],) * 2,
    ],
)
def test_hide_arguments(words, shown):
    assert evidence.hide_arguments(words) == shown
    inspected = json.dumps([{"Args": words, "Config": {"Cmd": words}}])
    container = json.loads(evidence.hide_environment(inspected))[0]
    assert container["Args"] == container["Config"]["Cmd"] == shown


VERSION = """Client: Docker Engine - Community
 Version:           28.1.1

Server: Docker Engine - Community
 Engine:
  Version:          28.1.1
"""


@pytest.mark.parametrize(
    ("text", "why", "version", "error"),
    [
        pytest.param(VERSION, "", "28.1.1", "", id="answers"),
        pytest.param("", "missing", "", "the command docker is not there", id="not-there"),
        pytest.param("", "timeout", "", "docker version did not end", id="hangs"),
        pytest.param(
            VERSION.partition("Server")[0] + "Cannot connect to the Docker daemon at unix:///var/run/docker.sock.\n",
            "exit status 1",
            "",
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock.",
            id="down",
        ),
        pytest.param("", "exit status 1", "", "exit status 1", id="says-nothing"),
    ],
)
def test_engine_state(text, why, version, error):
    assert evidence.engine_state(text, why) == {"version": version, "error": error}


def test_parse_df():
    text = """Filesystem     1024-blocks      Used Available Capacity Mounted on
/dev/vda1        101430960  98400000   3030960      97% /
/dev/vda1        101430960  98400000   3030960      97% /
/dev/vdb           1000000    100000    900000      10% /var/lib/docker data
tmpfs                    0         0         0       -  /run
"""
    assert evidence.parse_df(text) == [
        {"mount": "/", "used_percent": 97, "free_kib": 3030960},
        {"mount": "/var/lib/docker data", "used_percent": 10, "free_kib": 900000},
    ]
    assert evidence.parse_df("") == []


def test_parse_listeners():
    text = """State  Recv-Q Send-Q Local Address:Port Peer Address:PortProcess
LISTEN 0      128          0.0.0.0:22        0.0.0.0:*    users:(("sshd",pid=1,fd=3))
LISTEN 0      4096               *:6379            *:*    users:(("gcs_server",pid=9,fd=3))
"""
    assert evidence.parse_listeners(text) == ["*:6379", "0.0.0.0:22"]


def test_read_infiniband(tmp_path):
    folder = tmp_path / "mlx5_0/ports/1"
    folder.mkdir(parents=True)
    for name, value in {"state": "4: ACTIVE", "rate": "400 Gb/sec (4X NDR)", "link_layer": "InfiniBand"}.items():
        (folder / name).write_text(value + "\n")
    assert evidence.read_infiniband(str(tmp_path)) == [
        {
            "device": "mlx5_0",
            "port": "1",
            "state": "4: ACTIVE",
            "phys_state": "No such file or directory",
            "rate": "400 Gb/sec (4X NDR)",
            "link_layer": "InfiniBand",
        }
    ]
    assert evidence.read_infiniband(str(tmp_path / "none")) == []


def test_read_ray_nodes(capture, replay):
    answer = capture("ray/rejoined_idle.json")["nodes"]
    path = "/api/v0/nodes?detail=True&limit=10000"
    dashboard = replay({path: (200, "application/json", json.dumps(answer).encode())})
    nodes = evidence.read_ray_nodes(dashboard.url, "s3cret", 5)
    assert dashboard.requests[0]["headers"]["Authorization"] == "Bearer s3cret"
    assert {(node["address"], node["state"], node["is_head"]) for node in nodes} == {
        ("198.18.0.10", "ALIVE", True),
        ("198.18.0.11", "ALIVE", False),
        ("198.18.0.11", "DEAD", False),
    }


def ray_session(tmp_path):
    """A folder of Ray's logs with a link to it as the containers see it."""
    logs = tmp_path / "tmp/ray/session_2026-11-23_11-21-59_338852_7/logs"
    logs.mkdir(parents=True)
    (tmp_path / "tmp/ray/session_latest").symlink_to("/tmp/ray/session_2026-11-23_11-21-59_338852_7")
    for age, name in enumerate(
        ["worker-new-01-5.err", "worker-old-01-4.out", "raylet.out", "gcs_server.out", "debug_state.txt"]
    ):
        (logs / name).write_text("token=%s\n" % name)
        os.utime(logs / name, (1, 1000 - age))
    return logs


def test_ray_logs(tmp_path):
    logs = ray_session(tmp_path)
    names = ["gcs_server.out", "raylet.out", "worker-new-01-5.err", "worker-old-01-4.out"]
    assert evidence.ray_logs(str(tmp_path)) == (str(logs), names)
    assert evidence.ray_logs(str(tmp_path / "none")) == ("", [])


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Puts commands with the given scripts on an otherwise empty path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def install(**scripts):
        for name, script in scripts.items():
            path = folder / name.replace("_", "-")
            path.write_text("#!/bin/sh\nPATH=/usr/bin:/bin\n%s\n" % script)
            path.chmod(0o755)

    return install


def unpacked(data):
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        assert {entry.mode for entry in archive.getmembers()} == {0o600}
        return {entry.name: archive.extractfile(entry).read().decode() for entry in archive.getmembers()}


DOCKER = """case "$1" in
inspect) echo '%s';;
version) echo '%s';;
logs) echo "2026-11-23T11:22:10Z --api-key letmein"; echo "2026-11-23T11:22:11Z sesame, open" >&2;;
exec) echo "Active: 2";;
esac""" % (INSPECT, VERSION)


def test_collect(tmp_path, commands):
    commands(docker=DOCKER, nvidia_smi="exec sleep 60", dmesg="echo 'NVRM: Xid'", df="echo")
    ray_session(tmp_path)
    (tmp_path / "download").mkdir()
    (tmp_path / "download/log").write_text("done\n")
    # Ray's token lies there, and is a secret that nobody has named.
    (tmp_path / "secrets/ray").mkdir(parents=True)
    token = tmp_path / "secrets/ray/token"
    token.write_text("open\n")
    collection = evidence.Collection("node00", 10000, 100000, 1, ["sesame"])
    evidence.collect(collection, str(tmp_path), "http://127.0.0.1:1", str(token))
    files = unpacked(evidence.pack(collection))
    assert (
        files["onecc-vllm.log"]
        == "2026-11-23T11:22:10Z --api-key [redacted]\n2026-11-23T11:22:11Z [redacted], [redacted]\n"
    )
    assert files["ray/raylet.out"] == "token=[redacted]\n"
    assert files["dmesg.txt"] == "NVRM: Xid\n"
    assert files["ray-status.txt"] == "Active: 2\n"
    assert files["download/log"] == "done\n"
    assert files["uptime.txt"] == "[not there: uptime]\n"
    assert files["nvidia-smi.txt"] == "[no end after 1 s: nvidia-smi]\n"
    # One wait for a driver that hangs is enough.
    assert files["nvidia-smi-q.txt"] == "[not run: nvidia-smi did not answer before]\n"
    assert "two words" not in "".join(files.values())
    state = json.loads(files["state.json"])
    assert (state["node"], state["address"], state["engine"]["version"]) == ("node00", "198.18.0.10", "28.1.1")
    assert state["containers"]["onecc-ray"]["oom_killed"] is True
    assert (state["ray_nodes"], "refused" in state["ray_error"]) == (None, True)
    assert state["timed_out"] == ["nvidia-smi.txt", "nvidia-smi-q.txt"]
    assert "uptime" in state["missing"]
    assert state["written"]["ray/worker-old-01-4.out"] == 999


def test_collect_where_there_are_no_containers(tmp_path, commands):
    """What runs without an engine: the file that says what it is, and the log, of which a part was begun just now."""
    commands(docker="echo asked >%s/asked" % tmp_path)
    folder = tmp_path / "processes"
    folder.mkdir()
    log = folder / "onecc-vllm.log"
    spec = {
        "argv": ["vllm", "serve", "--api-key", "letmein"],
        "env": {"VLLM_HOST_IP": "198.18.0.10", "HF_TOKEN": "two words"},
        "log": str(log),
    }
    (folder / "onecc-vllm.json").write_text(json.dumps(spec))
    log.write_text("2026-11-23T11:22:12.000000Z new\n")
    (folder / "onecc-vllm.log.1").write_text("2026-11-23T11:22:11.000000Z old\n")
    collection = evidence.Collection("node00", 10000, 100000, 1, ["sesame"])
    evidence.collect(collection, str(tmp_path))
    files = unpacked(evidence.pack(collection))
    assert files["onecc-vllm.log"] == "2026-11-23T11:22:11.000000Z old\n2026-11-23T11:22:12.000000Z new\n"
    assert not [name for name in files if "docker" in name]
    assert not (tmp_path / "asked").exists()
    assert "two words" not in "".join(files.values())
    assert "letmein" not in "".join(files.values())
    state = json.loads(files["state.json"])
    assert (state["address"], state["engine"]) == ("198.18.0.10", {"version": "", "error": ""})
    assert state["containers"]["onecc-vllm"]["status"] == "created"
    assert "onecc-ray" not in state["containers"]


def test_collect_where_nothing_is(tmp_path, commands):
    collection = evidence.Collection("node00", 10000, 100000, 1)
    evidence.collect(collection, str(tmp_path / "none"))
    state = json.loads(unpacked(evidence.pack(collection))["state.json"])
    assert (state["containers"], state["engine"]["error"]) == ({}, "the command docker is not there")
    assert "ray-status.txt" not in collection.files


def test_collect_where_docker_hangs(tmp_path, commands):
    commands(docker="exec sleep 60")
    collection = evidence.Collection("node00", 10000, 100000, 1)
    start = time.monotonic()
    evidence.collect(collection, str(tmp_path / "none"), "http://127.0.0.1:1")
    assert time.monotonic() - start < 5
    assert collection.state["engine"]["error"] == "docker version did not end"
    assert collection.files["onecc-ray.log"] == "[not run: docker did not answer before]\n"


def test_the_room_is_bounded():
    collection = evidence.Collection("node00", 100, 10, 1)
    for name, text in {"a": "123456", "b": "123456", "c": "1234"}.items():
        collection.add(name, text)
    assert (sorted(collection.files), collection.state["left_out"]) == (["a", "c"], ["b"])


def test_store(tmp_path):
    folder, path = evidence.store(b"data", "node00", ("/nowhere", str(tmp_path)))
    assert os.path.dirname(path) == folder
    assert os.path.basename(path) == "node00.tar.gz"
    assert (os.stat(folder).st_mode & 0o777, os.stat(path).st_mode & 0o777) == (0o700, 0o600)
    with open(path, "rb") as stream:
        assert stream.read() == b"data"


def test_store_without_a_place():
    with pytest.raises(OneccError, match=r"room for 1 KiB in one of /nowhere, found /nowhere: No such file"):
        evidence.store(b"data", "node00", ("/nowhere",))


def test_store_on_a_full_disk():
    """The half archive is removed again."""
    before = set(os.listdir("/dev/shm"))
    with pytest.raises(OneccError, match=r"File too large"), Limited(1000):
        evidence.store(b"0" * 2000, "node00", ("/dev/shm",))
    assert set(os.listdir("/dev/shm")) == before


class Limited:
    """No file may become longer meanwhile: a write fails as it does on a full disk."""

    def __init__(self, size):
        self.size = size

    def __enter__(self):
        self.old = resource.getrlimit(resource.RLIMIT_FSIZE)
        self.handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, self.old[1]))

    def __exit__(self, *_error):
        resource.setrlimit(resource.RLIMIT_FSIZE, self.old)
        signal.signal(signal.SIGXFSZ, self.handler)
