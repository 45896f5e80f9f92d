# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What both programs of the supervision stand on, with real sockets, signals and threads."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from ansible_collections.onecc.vllm.plugins.module_utils.supervisor import base

# A program that tells what it does, one line each.
PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from ansible_collections.onecc.vllm.plugins.module_utils.supervisor.base import Program, say
class Steps(Program):
    def step(self):
        say("step")
    def stop(self):
        say("stop")
Steps(60).run()
say("end")
"""


@pytest.fixture
def status():
    """Starts what answers with a function; gives the server's address."""
    servers = []

    def start(answer):
        servers.append(base.Status("127.0.0.1", 0, answer).server)
        return "http://127.0.0.1:%d" % servers[-1].server_port

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(("number", "after"), [(signal.SIGTERM, ["stop", "end"]), (signal.SIGHUP, ["end"])])
@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_program(tmp_path, number, after, kind):
    """systemd is told that it is up and that it lives; SIGHUP leaves the container alone."""
    name = "@onecc-%d-%d" % (os.getpid(), number) if kind == "abstract" else str(tmp_path / "notify")
    collections = base.__file__.partition("/ansible_collections/")[0]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(name.replace("@", "\0", 1))
        systemd.settimeout(60)
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM, collections],
            env={**os.environ, "NOTIFY_SOCKET": name},
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            told = [systemd.recv(100) for _message in range(2)]
            process.send_signal(number)
            said = process.communicate(timeout=60)[0].splitlines()
    assert told == [b"READY=1", b"WATCHDOG=1"]
    assert said == ["step", *after]
    assert process.returncode == 0


@pytest.mark.parametrize(("seconds", "text"), [(0, "1970-01-01T00:00:00Z"), (951782399.9, "2000-02-28T23:59:59Z")])
def test_clock_time(seconds, text):
    assert base.clock_time(seconds) == text


def test_status_is_read_by_another_node(status):
    url = status(lambda path: (200, {"path": path}))
    assert base.read(url + "/state?x=1") == {"path": "/state"}


def test_status_that_is_not_well(status):
    url = status(lambda path: (503, {"why": "node01 is gone"}))
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=30)
    with caught.value as error:
        assert (error.code, error.headers["Cache-Control"]) == (503, "no-store")
        assert json.load(error) == {"why": "node01 is gone"}


def test_what_is_no_status_is_refused(replay):
    url = replay({"/": (200, "application/json", b"[]")}).url
    with pytest.raises(ValueError, match=r"expected a dictionary, found \[\]"):
        base.read(url + "/")


@pytest.mark.parametrize(
    ("error", "why"), [(None, ""), (OSError("refused"), "refused"), (ValueError(), "ValueError")], ids=str
)
def test_poll(until, error, why):
    """What an answer leaves behind, or the lack of one; it is asked again whatever happened."""
    count, told = [], []

    def ask():
        count.append(1)
        if error:
            raise error
        return {"up": True}

    poll = base.Poll(ask, lambda answer: told.append(answer) or 0.01)
    until(lambda: len(count) > 2)
    assert told[0] == (None if error else {"up": True})
    assert (poll.answer, poll.why) == (None if error else {"up": True}, why)
    assert 0 <= poll.age < base.OLD


def test_poll_that_hangs(until):
    """Nobody is held up, and an answer that has grown old is none."""
    answers = iter([{"up": True}])
    here, there = socket.socketpair()
    with here, there:
        poll = base.Poll(lambda: next(answers, None) or here.recv(1), lambda _told: 0)
        assert until(lambda: poll.answer) == {"up": True}
        poll.asked -= base.OLD
        assert (poll.told, poll.answer) == ({"up": True}, None)
