# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What plugins print while Ansible runs, with and without a terminal."""

from __future__ import annotations

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


@pytest.fixture
def play(tmp_path, monkeypatch, repository):
    """Runs a playbook that watches a download, which ends once a line has told of it. Gives all that was printed."""
    for name in [name for name in os.environ if name.startswith(("ANSIBLE_", "AWX_"))] + ["CI"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ANSIBLE_CONFIG", str(repository / "ansible.cfg"))
    progress = pathlib.Path(Cache(str(tmp_path / "hub"), REPO).progress("n0"))
    progress.parent.mkdir(parents=True)

    def tell(**changes):
        new = progress.with_suffix(".new")
        new.write_text(json.dumps({**TOLD, **changes}))
        new.replace(progress)

    def start(display, terminal):
        tell()
        path = tmp_path / "play.yml"
        path.write_text(PLAYBOOK % {"folder": tmp_path / "hub", "display": display, "long": LONG})
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
                if b"of 100 B" in text:
                    tell(state="done", beat=2, fetched=100)
            ending.cancel()
        os.close(here)
        return process.returncode, text.decode().replace("\r\n", "\n")

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
