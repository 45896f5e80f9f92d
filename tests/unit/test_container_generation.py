# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done with a container and the one before it, whatever an earlier run has left."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.onecc.vllm.plugins.modules import container_generation
from ansible_collections.onecc.vllm.plugins.modules.container_generation import Generations

NEW, OLD = "onecc-vllm", "onecc-vllm-previous"
STOP, RENAME, BACK = ["stop", NEW], ["rename", NEW, OLD], ["rename", OLD, NEW]
FILE, KEPT = "settings.json", "settings.json.previous"


@pytest.mark.parametrize(
    ("there", "files", "state", "commands", "left"),
    [
        pytest.param([NEW], {FILE: "a"}, "kept", [STOP, RENAME], {FILE: "a"}, id="keep"),
        pytest.param([], {FILE: "a"}, "kept", [], {FILE: "a"}, id="nothing-to-keep"),
        # The new one has not proven itself, so it is not what is kept.
        pytest.param([NEW, OLD], {FILE: "b", KEPT: "a"}, "kept", [], {FILE: "b", KEPT: "a"}, id="keep-the-older"),
        pytest.param(
            [NEW, OLD], {FILE: "b", KEPT: "a"}, "restored", [["rm", "--force", NEW], BACK], {FILE: "a"}, id="restore"
        ),
        pytest.param([OLD], {FILE: "b", KEPT: "a"}, "restored", [BACK], {FILE: "a"}, id="restore-before-the-new"),
        pytest.param([OLD], {FILE: "a"}, "restored", [BACK], {FILE: "a"}, id="restore-cut-off"),
        pytest.param([NEW], {FILE: "a"}, "restored", [], {FILE: "a"}, id="nothing-to-restore"),
        pytest.param([NEW], {FILE: "b", KEPT: "a"}, "restored", [], {FILE: "a"}, id="restore-settings-alone"),
        pytest.param(
            [NEW, OLD], {FILE: "b", KEPT: "a"}, "forgotten", [["rm", "--force", OLD]], {FILE: "b"}, id="forget"
        ),
        pytest.param([NEW, OLD], {FILE: "b"}, "forgotten", [["rm", "--force", OLD]], {FILE: "b"}, id="forget-cut-off"),
        pytest.param([NEW], {FILE: "b"}, "forgotten", [], {FILE: "b"}, id="nothing-to-forget"),
    ],
)
def test_steps(tmp_path, there, files, state, commands, left):
    for name, content in files.items():
        tmp_path.joinpath(name).write_text(content)
    ran = []

    def docker(argv, check_rc):
        if argv[1] == "ps":
            return 0, "".join("0123\n" for name in there if argv[-1] == "name=^/?%s$" % name), ""
        ran.append(argv[1:])
        return 0, "", ""

    for step in getattr(Generations(NEW, [str(tmp_path / FILE)], docker), state)():
        step()
    assert ran == commands
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == left


# docker as a shell script: it notes what it is asked for, and has one container.
DOCKER = """#!/bin/sh
echo "$*" >>"%s"
case "$*" in *"name=^/?onecc-vllm$") echo 0123 ;; esac
"""


@pytest.mark.parametrize(
    ("check_mode", "state", "changed", "asked"),
    [
        (False, "kept", True, ["stop onecc-vllm", "rename onecc-vllm onecc-vllm-previous"]),
        (True, "kept", True, []),
        (False, "restored", False, []),
    ],
)
def test_module(tmp_path, monkeypatch, capsys, check_mode, state, changed, asked):
    """The module itself: of two containers only the one that is there is touched, and in check mode none."""
    log = tmp_path / "log"
    docker = tmp_path / "docker"
    docker.write_text(DOCKER % log)
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    params = {"containers": [{"name": NEW}, {"name": "onecc-ray"}], "state": state, "_ansible_check_mode": check_mode}
    with patch_module_args(params), pytest.raises(SystemExit):
        container_generation.main()
    told = json.loads(capsys.readouterr().out)
    assert (told["changed"], told["names"]) == (changed, [NEW] if changed else [])
    assert [line for line in log.read_text().splitlines() if not line.startswith("ps ")] == asked


def test_without_containers(tmp_path, monkeypatch, capsys):
    """There are files alone, and no engine to ask."""
    monkeypatch.setenv("PATH", str(tmp_path))
    file, kept = tmp_path / FILE, tmp_path / KEPT
    file.write_text("new")
    kept.write_text("old")
    for state, changed, left in [("kept", False, "new"), ("restored", True, "old"), ("forgotten", False, "old")]:
        params = {"containers": [{"name": NEW, "files": [str(file)]}], "state": state, "runtime": "venv"}
        with patch_module_args(params), pytest.raises(SystemExit):
            container_generation.main()
        assert json.loads(capsys.readouterr().out)["changed"] is changed, state
        assert file.read_text() == left
    assert not kept.exists()
