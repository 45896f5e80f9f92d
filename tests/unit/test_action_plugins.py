# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What plugins print while Ansible runs, with and without a terminal."""

from __future__ import annotations

import http.server
import json
import os
import pathlib
import pty
import subprocess
import sys
import threading

import pytest

from ansible_collections.onecc.vllm.plugins.module_utils.hf_cache import Cache

REPO = "owner/model"
TOLD = {"state": "running", "beat": 1, "fetched": 60, "total": 100, "checked": 0, "check_total": 0}
PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  tasks:
    - onecc.vllm.show:
        lines: ["CHECK    a", "a line that is longer than any terminal: %(long)s"]
    - onecc.vllm.hf_progress: {repo: owner/model, cache_dir: %(folder)s, nodes: [n0], display: %(display)s}
    - onecc.vllm.hf_progress: {repo: owner/model, cache_dir: %(folder)s, nodes: [n0], display: none}
    - onecc.vllm.hf_progress: {repo: owner/model, cache_dir: %(folder)s}
"""
LONG = "x" * 300
# What the program that looks after an engine tells, one after the other, as often as it is asked.
LOADING = {
    "ready": False,
    "phase": "starting",
    "reason": "an answer is awaited",
    "for_s": 1,
    "failed_starts": 0,
    "failures": [],
}
LOADING["loading"] = "loading the weights: 20 % (1 of 5)"
READY = {**LOADING, "ready": True, "phase": "serving", "reason": "", "loading": ""}
USAGE = [{"time": "2026-11-23T15:16:04Z", "reason": "the engine ended with status 2"}]
FAILED = {**LOADING, "reason": "the engine ended with status 2", "loading": "", "failed_starts": 1, "failures": USAGE}
START = """
- hosts: localhost
  gather_facts: false
  tasks:
    - onecc.vllm.engine_progress: {url: %(url)s, display: %(display)s, timeout: %(timeout)d}
"""


@pytest.fixture
def run(tmp_path, monkeypatch, repository):
    """Runs a playbook, with or without a terminal; heard is told what was printed so far. Gives all of it."""
    for name in [name for name in os.environ if name.startswith(("ANSIBLE_", "AWX_"))] + ["CI"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ANSIBLE_CONFIG", str(repository / "ansible.cfg"))

    def start(playbook, terminal, heard=lambda text: None):
        path = tmp_path / "play.yml"
        path.write_text(playbook)
        here, there = pty.openpty() if terminal else os.pipe()
        words = [str(pathlib.Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", "-c", "local"]
        words += ["-e", "ansible_python_interpreter=" + sys.executable]
        with subprocess.Popen([*words, str(path)], stdin=subprocess.DEVNULL, stdout=there, stderr=there) as process:
            os.close(there)
            ending = threading.Timer(100, process.kill)
            ending.start()
            text = b""
            while data := read(here):
                text += data
                heard(text)
            ending.cancel()
        os.close(here)
        return process.returncode, text.decode().replace("\r\n", "\n")

    return start


@pytest.fixture
def play(tmp_path, run):
    """Runs a playbook that watches a download, which ends once a line has told of it. Gives all that was printed."""
    progress = pathlib.Path(Cache(str(tmp_path / "hub"), REPO).progress("n0"))
    progress.parent.mkdir(parents=True)

    def tell(**changes):
        new = progress.with_suffix(".new")
        new.write_text(json.dumps({**TOLD, **changes}))
        new.replace(progress)

    def heard(text):
        if b"of 100 B" in text:
            tell(state="done", beat=2, fetched=100)

    def start(display, terminal):
        tell()
        return run(PLAYBOOK % {"folder": tmp_path / "hub", "display": display, "long": LONG}, terminal, heard)

    return start


def read(number):
    try:
        return os.read(number, 65536)
    except OSError:
        # A terminal that nobody writes to any more.
        return b""


@pytest.mark.parametrize(
    ("display", "terminal", "lines"),
    [
        pytest.param("lines", False, ["\n 60 %  60 B of 100 B  ", "| n0  60 % "], id="lines"),
        pytest.param("auto", True, ["\r 60 %  60 B of 100 B  ", "| n0  60 % "], id="in-place"),
    ],
)
def test_a_download_is_shown(play, display, terminal, lines):
    status, text = play(display, terminal)
    assert "\nCHECK    a\n" in text
    assert LONG in text.replace("\n", "")
    for line in lines:
        assert line in text
    # Once, by the task that shows something.
    assert text.count("fetched 100 B in 0:") == 1
    # The last task lacks an argument, as the module says.
    assert (status, "missing required arguments: nodes" in " ".join(text.split())) == (2, True)


@pytest.fixture
def engine(serve):
    """Serves what a program tells of an engine, the last of it for good; gives the address."""

    def start(told):
        left = list(told)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                data = json.dumps(left.pop(0) if len(left) > 1 else left[0]).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args):
                """Says nothing."""

        return serve(Handler)

    return start


@pytest.mark.parametrize(
    ("display", "terminal", "told", "lines"),
    [
        pytest.param("lines", False, [LOADING] * 12 + [READY], ["\n0:0", "  completions are answered\n"], id="lines"),
        pytest.param("auto", True, [LOADING] * 3 + [READY], ["\r0:0", "  completions are answered\n"], id="in-place"),
        pytest.param("none", False, [LOADING, READY], [], id="nothing"),
        pytest.param("lines", False, [LOADING, FAILED], ["  the engine ended with status 2\n"], id="no-hope"),
    ],
)
def test_the_start_of_an_engine_is_shown(run, engine, display, terminal, told, lines):
    status, text = run(START % {"url": engine(told), "display": display, "timeout": 60}, terminal)
    assert status == 0, text
    for line in lines:
        assert line in text
    assert text.count("loading the weights: 20 % (1 of 5)") == (len(told) > 2)
    assert (" are answered" in text) == ("  completions are answered\n" in lines)


def test_an_engine_that_takes_too_long_is_not_watched_any_more(run, engine):
    status, text = run(START % {"url": engine([LOADING]), "display": "lines", "timeout": 1}, False)
    assert (status, text.count("loading the weights")) == (0, 0), text


IMAGE = """
- hosts: localhost
  gather_facts: false
  tasks:
    - onecc.vllm.image_progress: {job: %(folder)s/job, doing: %(doing)s, path: %(folder)s/archive, display: %(display)s,
        timeout: %(timeout)d, limit: %(limit)d}
"""


@pytest.mark.parametrize(
    ("doing", "display", "terminal", "line"),
    [
        pytest.param("saving", "lines", False, "\nlocalhost: saving the image  7 B so far", id="lines"),
        pytest.param("saving", "auto", True, "\rlocalhost: saving the image  7 B so far", id="in-place"),
        pytest.param("installing", "none", False, "", id="nothing"),
    ],
)
def test_the_work_on_an_image_is_shown(run, tmp_path, doing, display, terminal, line):
    (tmp_path / "archive").write_text("archive")
    job = tmp_path / "job"

    def heard(text):
        if b"so far" in text or display == "none":
            job.write_text('{"changed": true}')

    words = {"folder": tmp_path, "doing": doing, "display": display, "timeout": 60, "limit": 60}
    status, text = run(IMAGE % words, terminal, heard)
    assert status == 0, text
    assert line in text
    assert ("localhost: saving the image  took 0:0" in text) == (display != "none")
    assert " for 7 B, " in text or display == "none"


@pytest.mark.parametrize(("timeout", "limit"), [(1, 60), (60, 1)], ids=["nothing new", "too long"])
def test_work_on_an_image_that_does_not_end_is_not_watched_any_more(run, tmp_path, timeout, limit):
    (tmp_path / "archive").write_text("archive")
    words = {"folder": tmp_path, "doing": "loading", "display": "lines", "timeout": timeout, "limit": limit}
    status, text = run(IMAGE % words, False)
    assert (status, text.count("loading the image  took 0:0")) == (0, 1), text
