# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Both programs of the supervision beside an engine for containers that answers by HTTP, as Docker's does."""

from __future__ import annotations

import calendar
import http.server
import json
import os
import re
import signal
import socket
import socketserver
import stat
import subprocess
import sys
import threading
import time

import pytest

from ansible_collections.onecc.vllm.plugins.module_utils.ray_state import VIEWS
from ansible_collections.onecc.vllm.plugins.module_utils.supervisor import base, containers, engine, ray_node
from ansible_collections.onecc.vllm.plugins.module_utils.supervisor.probe import Probe

HEAD, WORKER = "127.0.0.1", "127.0.0.2"
RAYLET = "/opt/vllm/lib/python3.11/site-packages/ray/core/src/ray/raylet/raylet --raylet_socket_name=/tmp/ray/raylet"
GCS = "/opt/vllm/lib/python3.11/site-packages/ray/core/src/ray/gcs/gcs_server --log_dir=/tmp/ray"
RANK = "ray::RayWorkerProc.run"


def started(number):
    """The time of a start, as Docker writes it."""
    return "2026-11-29T00:00:%02d.524160819Z" % number


class Docker:
    """Containers by name, and what was asked for. A start counts up the time of the start."""

    def __init__(self):
        self.states, self.processes, self.printed, self.log, self.starts = {}, {}, {}, [], 0

    def put(self, name, status, code=0):
        self.states[name] = {"Status": status, "StartedAt": started(self.starts), "ExitCode": code}

    def answer(self, method, path):
        """Status and body, as of the Engine API 1.41 (Docker 20.10)."""
        if path == "/version":
            return 200, {"ApiVersion": "1.41", "MinAPIVersion": "1.12", "Version": "20.10.24"}
        name, verb, query = re.fullmatch(r"/v1\.41/containers/([\w-]+)/(\w+)(?:\?(.*))?", path).groups()
        if name not in self.states:
            return 404, {"message": "No such container: %s" % name}
        if verb == "json":
            return 200, {"Id": name, "Name": "/" + name, "State": self.states[name], "Config": {"Tty": False}}
        if verb == "top":
            rows = [[str(pid), "Ss", command] for command, pid in self.processes.get(name, []) if is_there(pid)]
            return 200, {"Titles": ["PID", "STAT", "COMMAND"], "Processes": rows or None}
        if verb == "logs":
            # Those of a start are asked for. Each piece has a head: the stream that it is of, and its length.
            begin = calendar.timegm(time.strptime(self.states[name]["StartedAt"][:19], "%Y-%m-%dT%H:%M:%S"))
            assert query == "stderr=1&stdout=1&timestamps=0&follow=0&tail=100&since=%s" % float(begin)
            text = self.printed[name].encode()
            return 200, b"\1\0\0\0" + len(text).to_bytes(4, "big") + text
        if verb == "wait":
            return 200, {"StatusCode": self.states[name]["ExitCode"]}
        self.log.append((verb, name, query or ""))
        if verb == "kill" and self.states[name]["Status"] != "running":
            return 409, {"message": "Container %s is not running" % name}
        if verb == "start":
            self.starts += 1
        self.put(name, "running" if verb == "start" else "exited")
        return 204, None


def is_there(pid):
    """A number of no process stands for one that is there. A child that has ended is waited for."""
    return pid > 2**22 or os.waitpid(pid, os.WNOHANG) == (0, 0)


@pytest.fixture
def docker(serve, monkeypatch, tmp_path):
    there = Docker()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status, body = there.answer(self.command, self.path)
            data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET

        def log_message(self, *args):
            """Says nothing."""

    monkeypatch.setenv("DOCKER_HOST", serve(Handler).replace("http:", "tcp:"))
    for program in (ray_node, engine):
        monkeypatch.setattr(program, "run_dir", lambda _state_dir: str(tmp_path))
    return there


@pytest.fixture
def raylet():
    """A process that ends when it is told to."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process.pid
        process.kill()


@pytest.fixture
def lines(capsys):
    """What was said since the last time."""

    def said():
        return capsys.readouterr().out.splitlines()

    return said


class Told:
    """Answers GET with JSON that a test may change."""

    def __init__(self, serve, body, host=HEAD):
        self.body = body
        told = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                data = json.dumps(told.body).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args):
                """Says nothing."""

        self.url = serve(Handler, host)
        self.port = int(self.url.rpartition(":")[2])


# What both stand on


def test_containers(docker):
    docker.put("one", "running")
    docker.processes["one"] = [("sleep 1", 2**30), ("ray::IDLE", 2**30 + 1)]
    found = containers.Containers()
    assert found.get("none") is None
    assert found.get("one") == containers.Container("one", "running", started(0), 0)
    assert found.processes("one") == [("S", "sleep 1", 2**30), ("S", "ray::IDLE", 2**30 + 1)]
    docker.processes["one"] = []
    assert found.processes("one") == []
    docker.printed["one"] = "Grüße\n"
    assert found.printed("one", started(0)) == "Grüße\n"
    found.stop("one", 3)
    found.start("one")
    found.stop("one", 0)
    assert not found.get("one").running
    found.stop("one", 0)
    assert docker.log == [("stop", "one", "t=3"), ("start", "one", ""), ("kill", "one", ""), ("kill", "one", "")]
    with pytest.raises(containers.EngineError, match="kill: 404 Client Error"):
        found.stop("none", 0)
    with pytest.raises(containers.EngineError, match="start: 404 Client Error"):
        found.start("none")


def test_an_engine_that_is_away_and_comes_back(docker, nobody, monkeypatch):
    docker.put("one", "exited", 3)
    with monkeypatch.context() as away:
        away.setenv("DOCKER_HOST", nobody.replace("http:", "tcp:"))
        found = containers.Containers()
        with pytest.raises(containers.EngineError, match="refused"):
            found.get("one")
    assert found.get("one").exit_code == 3


def test_an_engine_that_goes_away(docker, monkeypatch):
    docker.put("one", "running")
    found = containers.Containers()
    assert found.get("one").running
    # Another port of this host, where nothing listens.
    found.client.api.base_url = "http://127.0.0.3:1"
    with pytest.raises(containers.EngineError, match="refused"):
        found.get("one")


# Ray, on the head and on a worker


@pytest.fixture
def head(docker, capture, replay, tmp_path, until):
    """The program of the head, with Ray's port, a dashboard and shared storage."""
    seen = capture("ray/serving.json")
    answers = {
        VIEWS[name]: (200, "application/json", json.dumps(seen[name]).encode())
        for name in ("nodes", "placement_groups")
    }
    (tmp_path / "token").write_text("good\n")
    with socket.create_server((HEAD, 0)) as ray:
        settings = {
            "name": "node00",
            "address": HEAD,
            "head": True,
            "head_address": HEAD,
            "port": 0,
            "ray_port": ray.getsockname()[1],
            "dashboard_url": replay(answers).url,
            "token_file": str(tmp_path / "token"),
            "storage": str(tmp_path / "storage"),
            "members": [HEAD, WORKER],
            "state_dir": str(tmp_path),
        }
        program = ray_node.RayNode(settings)
        yield program


def test_head(docker, head, tmp_path, until, lines, raylet):
    head.step()
    docker.put(ray_node.NAME, "created")
    until(lambda: "FileNotFound" in head.storage.why or "No such file" in head.storage.why)
    head.step()
    said = lines()
    assert said[0] == "wait: there is no container onecc-ray: deploy"
    assert said[1] == "wait: shared storage is not mounted: %s is not there" % (tmp_path / "storage")
    (tmp_path / "storage").write_text("")
    until(lambda: head.storage.answer)
    head.step()
    assert docker.log == [("start", ray_node.NAME, "")]
    assert lines() == ["start: it does not run"]
    docker.processes[ray_node.NAME] = [(GCS, 2**30), (RAYLET, raylet)]
    until(lambda: head.asked.answer)
    (tmp_path / "onecc-demands.json").write_text(json.dumps({WORKER: started(0)}))
    head.step()
    status, told = head.report("/")
    assert (status, told["ray"], told["ranks"], told["storage"], told["reason"]) == (200, "running", 0, "", "")
    assert (told["incarnation"], told["started_at"]) == (started(1), started(1))
    assert [node["address"] for node in told["nodes"]] == ["198.18.0.10", "198.18.0.11"]
    assert (told["demands"], told["members"]) == ({WORKER: started(0)}, [HEAD, WORKER])
    # Not one of Ray's own nodes: it waits for longer than a look before it does anything.
    assert head.unlisted_since is not None
    head.stop()
    assert docker.log[1:] == [("stop", ray_node.NAME, "t=10")]
    assert lines() == ["stop: the unit is stopped"]
    assert not is_child(raylet)


def is_child(pid):
    try:
        return os.waitpid(pid, os.WNOHANG) == (0, 0)
    except ChildProcessError:
        return False


def test_head_whose_ray_ends_at_once(docker, head, tmp_path, until, lines):
    """It is started again, a second later."""
    (tmp_path / "storage").write_text("")
    until(lambda: head.storage.answer)
    docker.put(ray_node.NAME, "exited", 1)
    head.step()
    head.step()
    docker.put(ray_node.NAME, "exited", 1)
    head.step()
    assert docker.log == [("start", ray_node.NAME, "")]
    seen, since = head.seen
    head.seen = (seen, since - 1)
    head.step()
    assert docker.log[1:] == [("start", ray_node.NAME, "")]
    assert lines() == [
        "start: it ended with status 1",
        "wait: Ray ended 1 times in a row, the next start is 1 s after that",
        "start: it ended with status 1",
    ]


def test_head_beside_nothing_that_answers(head, nobody, lines, monkeypatch):
    """Its engine is away: it says so once, and ends all the same."""
    monkeypatch.setenv("DOCKER_HOST", nobody.replace("http:", "tcp:"))
    head.step()
    head.step()
    head.stop()
    said = lines()
    assert len(said) == 3
    assert said[0].startswith("wait: the container engine does not answer: ")
    assert said[2].startswith("the container engine does not answer: ")


@pytest.fixture
def worker(docker, serve, tmp_path, until):
    """The program of a worker, and what it hears of the head."""
    (tmp_path / "storage").write_text("")
    nodes = [{"address": WORKER, "state": "ALIVE"}]
    told = Told(serve, {"incarnation": "a", "nodes": nodes, "demands": {}, "members": [HEAD, WORKER]})
    with socket.create_server((HEAD, 0)) as ray:
        settings = {
            "name": "node01",
            "address": WORKER,
            "head": False,
            "head_address": HEAD,
            "port": told.port,
            "ray_port": ray.getsockname()[1],
            "storage": str(tmp_path / "storage"),
            "members": [HEAD, WORKER],
            "state_dir": str(tmp_path),
        }
        program = ray_node.RayNode(settings)
        until(lambda: program.storage.answer and program.asked.answer)
        yield program, told


def test_worker(docker, worker, tmp_path, until, lines):
    """It joins the head's Ray, joins another one anew, and leaves when it is dropped."""
    program, told = worker
    docker.put(ray_node.NAME, "exited", 1)
    program.step()
    memory = tmp_path / "onecc-ray.json"
    assert json.loads(memory.read_text()) == {started(1): "a"}
    docker.processes[ray_node.NAME] = [(RAYLET, 2**30), (RANK, 2**30 + 1)]
    program.step()
    assert base.read("http://%s:%d/" % (WORKER, told.port))["ranks"] == 1
    told.body = {**told.body, "incarnation": "b"}
    until(lambda: program.asked.answer["incarnation"] == "b")
    program.step()
    assert json.loads(memory.read_text()) == {started(2): "b"}
    # One that does not know this Ray is not told good-bye.
    assert docker.log[1:] == [("kill", ray_node.NAME, ""), ("start", ray_node.NAME, "")]
    docker.processes[ray_node.NAME] = []
    told.body = {**told.body, "members": [HEAD]}
    until(lambda: program.asked.answer["members"] == [HEAD])
    program.step()
    program.step()
    assert docker.log[3:] == [("stop", ray_node.NAME, "t=10")]
    assert lines() == [
        "start: it ended with status 1",
        "restart: Ray on the head was started anew",
        "stop: the head's inventory does not have this node any more",
    ]


def test_worker_whose_raylet_is_demanded_back(docker, worker, until, lines, raylet):
    """The engine on the head wants Ray there started anew: the raylet signs off first."""
    program, told = worker
    docker.put(ray_node.NAME, "running")
    docker.processes[ray_node.NAME] = [(RAYLET, raylet)]
    told.body = {**told.body, "demands": {WORKER: started(0)}}
    until(lambda: program.asked.answer["demands"])
    program.step()
    assert docker.log == [("stop", ray_node.NAME, "t=3"), ("start", ray_node.NAME, "")]
    assert lines() == ["restart: the engine's program on the head asks for it"]


def test_worker_that_was_started_beside_its_ray(docker, worker, tmp_path):
    """What it has joined it learns from a head that lists it."""
    docker.put(ray_node.NAME, "running")
    docker.processes[ray_node.NAME] = [(RAYLET, 2**30)]
    worker[0].step()
    assert docker.log == []
    assert json.loads((tmp_path / "onecc-ray.json").read_text()) == {started(0): "a"}
    assert worker[0].remember() == {started(0): "a"}


def test_worker_whose_head_has_no_program(worker, until):
    """Ray on the head can still be reached."""
    program, told = worker
    told.body = []
    reached = program.head_reached
    until(lambda: program.asked.answer is None)
    assert "expected a dictionary" in program.asked.why
    assert program.head_reached > reached


# The engine


class Model:
    """An engine's API that answers completions with what a test sets, and what a program is told of it."""

    status = 200
    metrics = 'vllm:generation_tokens_total{engine="0"} 1\n'


@pytest.fixture
def model(tmp_path):
    model = Model()
    # Nobody has this name: the socket stays whose it is.
    model.told = {"socket": str(tmp_path / "engine/vllm.sock"), "socket_user": "no-such-user", "model": "smol"}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            choice = {"index": 0, "text": " 4", "finish_reason": "length", "logprobs": None}
            told = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "smol", "choices": [choice]}
            data = model.metrics.encode() if self.path == "/metrics" else json.dumps(told).encode()
            self.send_response(model.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET

        def log_message(self, *args):
            """Says nothing."""

    def start():
        engine.make_room(model.told["socket"])
        server = socketserver.ThreadingUnixStreamServer(model.told["socket"], Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        model.servers.append(server)

    model.start, model.servers = start, []
    yield model
    for server in model.servers:
        server.shutdown()
        server.server_close()


def test_probe(model, until):
    """Answers and errors are told, and what the engine has done since it began."""
    model.start()
    probe = Probe({**model.told, "probe_interval": 0, "probe_timeout": 15})
    assert (probe.verdict.answered, probe.pause()) == (False, 1)
    probe.begin()
    until(lambda: probe.verdict.answered)
    assert (probe.verdict.dead(time.monotonic()), probe.pause()) == ("", 0)
    until(lambda: probe.verdict.counted)
    assert probe.verdict.count == 1
    model.status = 500
    until(lambda: probe.verdict.errors >= 2)
    assert probe.verdict.dead(time.monotonic()).startswith("completions fail: Error code: 500")
    # An answer to a question of an earlier start does not count.
    probe.end()
    probe.begin()
    probe.ask(probe.number - 1)
    probe.end()
    assert probe.verdict.errors < 2


def test_room_for_the_socket(tmp_path):
    """Also where those who start programs keep all to themselves; and with what a killed engine has left."""
    path = tmp_path / "engine/vllm.sock"
    before = os.umask(0o077)
    try:
        for _start in range(2):
            engine.make_room(str(path))
            assert not path.exists()
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755
            with socket.socket(socket.AF_UNIX) as left:
                left.bind(str(path))
    finally:
        os.umask(before)


@pytest.fixture
def supervised(docker, serve, model):
    """The program ``engine`` over one node, and what that node tells."""
    told = Told(
        serve,
        {
            "ray": "running",
            "storage": "",
            "reason": "",
            "ranks": 0,
            "started_at": "ray 1",
            "nodes": [{"address": HEAD, "state": "ALIVE", "gpus_total": 1, "ended_ms": 0, "state_message": ""}],
        },
    )
    settings = {
        "address": HEAD,
        "port": 0,
        "node_port": told.port,
        "head_address": HEAD,
        "expected": [{"name": "node00", "address": HEAD, "gpus": 1}],
        **model.told,
        "probe_interval": 0.1,
        "probe_timeout": 15,
        "start_timeout": 60,
        "state_dir": "/none",
    }
    return engine.Engine(settings), told


def test_engine(docker, supervised, model, until, lines, tmp_path):
    """From a missing node to an answer, and from an end of the engine to the next start."""
    program, told = supervised
    docker.put(engine.NAME, "created")
    until(lambda: program.nodes[HEAD].answer)
    told.body = {**told.body, "ray": "down", "reason": "raylet is gone"}
    until(lambda: program.nodes[HEAD].answer["ray"] == "down")
    program.step()
    assert program.report("/ready")[0] == 503
    assert program.report("/status")[1]["lacks"] == ["node00 (127.0.0.1): Ray is not up: raylet is gone"]
    told.body = {**told.body, "ray": "running"}
    until(lambda: program.nodes[HEAD].answer["ray"] == "running")
    program.step()
    assert docker.log == [("start", engine.NAME, "")]
    assert program.report("/status")[1]["loading"] == ""
    docker.printed[engine.NAME] = (
        "Loading safetensors checkpoint shards:  20% Completed | 1/5 [00:00<00:01,  3.68it/s]\n"
    )
    program.loading.pause = lambda _told: 0.1
    program.step()
    until(lambda: program.report("/status")[1]["loading"] == "loading the weights: 20 % (1 of 5)")
    model.start()
    program.step()
    until(lambda: program.probe.verdict.answered)
    program.step()
    status, report = program.report("/")
    assert (status, report["ready"], report["phase"], report["model"]) == (200, True, "serving", "smol")
    assert (report["last_answer_s"] >= 0, report["loading"]) == (True, "")
    assert program.report("/else")[0] == 404
    docker.put(engine.NAME, "exited", 139)
    program.step()
    assert docker.log[1:] == [("kill", engine.NAME, "")]
    assert [failure["reason"] for failure in program.report("/")[1]["failures"]] == ["the engine ended with status 139"]
    program.step()
    assert docker.log[2:] == [("start", engine.NAME, "")]
    assert json.loads((tmp_path / "onecc-demands.json").read_text()) == {}
    program.stop()
    assert docker.log[3:] == [("kill", engine.NAME, "")]
    assert program.report("/")[1]["phase"] == "stopped"
    assert [line.partition(":")[0] for line in lines()] == [
        "waiting", "starting", "serving", "clearing", "starting", "stop"
    ]  # fmt: skip


def test_engine_that_leaves_ranks_behind(docker, supervised, until, lines, tmp_path):
    """After ten seconds their node is asked to start its Ray anew."""
    program, told = supervised
    docker.put(engine.NAME, "exited")
    told.body = {**told.body, "ranks": 1}
    until(lambda: (program.nodes[HEAD].answer or {}).get("ranks"))
    program.step()
    assert program.group.phase == "clearing"
    program.group.since -= 10
    program.step()
    assert json.loads((tmp_path / "onecc-demands.json").read_text()) == {HEAD: "ray 1"}
    program.step()
    assert program.report("/")[1]["lacks"] == ["node00 (127.0.0.1): Ray is to be started anew"]
    assert docker.log == []
    assert "Ray on 127.0.0.1 is to be started anew: ranks of the old engine are left there" in lines()


def test_engine_beside_nothing_that_answers(docker, supervised, nobody, lines, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", nobody.replace("http:", "tcp:"))
    program, _told = supervised
    program.step()
    program.step()
    program.stop()
    said = lines()
    assert len(said) == 3
    assert said[0].startswith("the container engine does not answer: ")
    assert said[1] == "stop: the unit is stopped"


# The command line

SCRIPT = """
import sys
sys.path.insert(0, sys.argv.pop())
from ansible_collections.onecc.vllm.plugins.module_utils.supervisor import main
folder = sys.argv.pop()
main.run_dir = lambda state_dir: folder
main.main()
"""


def test_command_line(docker, supervised, tmp_path):
    """The program runs until systemd ends it, and notes what it was started with."""
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({**supervised[0].settings, "port": 0}))
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    collections = base.__file__.partition("/ansible_collections/")[0]
    words = [sys.executable, script, "engine", settings, tmp_path, collections]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(60)
        environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as process:
            told = [systemd.recv(100) for _message in range(2)]
            process.send_signal(signal.SIGTERM)
            said = process.communicate(timeout=60)[0].splitlines()
    assert told == [b"READY=1", b"WATCHDOG=1"]
    assert said == ["waiting: there is no container onecc-vllm: deploy", "stop: the unit is stopped"]
    assert len((tmp_path / "onecc-supervisor-engine.digest").read_text()) == 64
