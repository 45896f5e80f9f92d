# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module that installs the supervision: which files it writes, and what it asks systemd for."""

from __future__ import annotations

import json
import os
import stat
import types

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.onecc.vllm.plugins.module_utils import services
from ansible_collections.onecc.vllm.plugins.module_utils.supervisor import main as entry
from ansible_collections.onecc.vllm.plugins.modules import supervisor

# systemctl as a shell script: it notes what it is asked for, and tells of the unit what stands in a file.
SYSTEMCTL = """#!/bin/sh
echo "$*" >>"{0}/log"
[ "$1" != show ] || cat "{0}/shown"
"""
RUNS = "ActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=no\n"
FRESH = "ActiveState=inactive\nUnitFileState=\nNeedDaemonReload=no\n"
UNIT = "onecc-ray.service"
DEFINITION = {"description": "Ray head", "command": ["/bin/true"], "kind": "notify"}
RELOAD, ENABLE, START, RESTART = (
    "daemon-reload", "enable " + UNIT, "start " + UNIT, "reload-or-restart " + UNIT,
)  # fmt: skip


@pytest.fixture
def node(tmp_path, monkeypatch, capsys):
    """Runs the module; its folders lie in a temporary one."""
    folders = {name: tmp_path / name for name in ("bin", "units", "state", "volatile", "tmp")}
    for folder in folders.values():
        folder.mkdir()
    program = folders["bin"] / "systemctl"
    program.write_text(SYSTEMCTL.format(tmp_path))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folders["bin"]), prepend=":")
    monkeypatch.setattr(services, "BOOTED", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(services, "UNITS", str(folders["units"]))
    monkeypatch.setattr(entry, "run_dir", lambda _state_dir: str(folders["volatile"]))

    def run(shown, settings, check_mode=False, **definition):
        (tmp_path / "shown").write_text(shown)
        (tmp_path / "log").write_text("")
        params = {
            "program": "ray",
            "settings": settings,
            "name": UNIT.partition(".")[0],
            "definition": {**DEFINITION, **definition},
            "state_dir": str(folders["state"]),
            "_ansible_check_mode": check_mode,
            "_ansible_remote_tmp": str(folders["tmp"]),
        }
        with patch_module_args(params), pytest.raises(SystemExit):
            supervisor.main()
        told = json.loads(capsys.readouterr().out)
        asked = [line for line in (tmp_path / "log").read_text().splitlines() if not line.startswith("show ")]
        return told, asked

    return types.SimpleNamespace(run=run, **folders)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_first_time(node):
    told, asked = node.run(FRESH, {"port": 8002})
    assert (told["changed"], asked) == (True, ["enable --no-reload " + UNIT, RELOAD, START])
    assert [part["before"] for part in told["diff"]] == ["", ""]
    assert names(node.state) == ["supervisor-ray.json", "supervisor-ray.pyz"]
    settings = node.state / "supervisor-ray.json"
    assert json.loads(settings.read_text()) == {"port": 8002}
    assert stat.S_IMODE(settings.stat().st_mode) == 0o600
    assert "\nDescription=Ray head\n" in (node.units / UNIT).read_text()


def test_check_mode_touches_nothing(node):
    told, asked = node.run(FRESH, {"port": 8002}, check_mode=True)
    assert (told["changed"], asked) == (True, [])
    assert names(node.state) + names(node.units) == []


@pytest.mark.parametrize(
    ("shown", "settings", "description", "changed", "asked"),
    [
        pytest.param(RUNS, 8002, "Ray head", False, [], id="nothing-to-do"),
        pytest.param(RUNS, 8003, "Ray head", True, [RESTART], id="settings"),
        pytest.param(RUNS, 8002, "Ray", True, [RELOAD, RESTART], id="unit"),
        pytest.param(RUNS.replace("=no", "=yes"), 8002, "Ray head", True, [RELOAD, RESTART], id="cut-off"),
        pytest.param(RUNS.replace("=active", "=failed"), 8002, "Ray head", True, [START], id="down"),
        pytest.param(RUNS.replace("=enabled", "=disabled"), 8002, "Ray head", True, [ENABLE], id="not-after-a-boot"),
    ],
)
def test_second_time(node, shown, settings, description, changed, asked):
    node.run(FRESH, {"port": 8002})
    told, again = node.run(shown, {"port": settings}, description=description)
    assert (told["changed"], again) == (changed, asked)
    # What served before stays beside the new settings.
    assert ("supervisor-ray.json.previous" in names(node.state)) == (settings != 8002)


def test_a_program_of_an_earlier_release_is_started_anew(node):
    node.run(FRESH, {"port": 8002})
    (node.volatile / "onecc-supervisor-ray.digest").write_text("0")
    told, asked = node.run(RUNS, {"port": 8002})
    assert (told["changed"], asked) == (True, [RESTART])
