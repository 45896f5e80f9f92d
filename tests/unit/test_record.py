# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of a deployment: nothing may differ from it unnoticed, and nothing that always changes is in it."""

import os

import pytest

from ansible_collections.onecc.vllm.plugins.module_utils import record, services

# As systemctl printed it on the lab's head, with one unit stopped and one changed by hand.
UNITS = """\
Id=onecc-ray.service
ActiveState=active
UnitFileState=enabled
NeedDaemonReload=no

Id=onecc-vllm.service
ActiveState=inactive
UnitFileState=disabled
NeedDaemonReload=no

Id=onecc-endpoint.service
ActiveState=active
UnitFileState=enabled
NeedDaemonReload=yes
"""
CONTAINERS = {"onecc-ray": "0f5e", "onecc-vllm": "1a2b"}
# Folder or file below the state folder, what is in it.
FILES = {
    "supervisor-ray.json": "{}",
    "endpoint/nginx.conf": "events {}",
    "secrets/api-key": "sk-1",
    "cache/ray_non_carry_over_env_vars.json": "[]",
    "cache/vllm/compiled": "1",
    "tmp/ray/session": "1",
    "download/log": "1",
    "image/0123/Dockerfile": "FROM x",
    "tools-0123/complete": "",
    "services/onecc-ray.conf": "[program:onecc-ray]",
    "services/run/onecc-ray.log": "1",
}


@pytest.fixture
def node(tmp_path, monkeypatch):
    """The state folder of a node, and where its units are."""
    for name, text in FILES.items():
        path = tmp_path / "state" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    units = tmp_path / "units"
    units.mkdir()
    units.joinpath("onecc-ray.service").write_text("[Unit]\n")
    units.joinpath("ssh.service").write_text("[Unit]\n")
    monkeypatch.setattr(services, "UNITS", str(units))
    return tmp_path / "state", units


def look(node, containers=None, units=UNITS):
    def run(argv):
        assert argv[:2] == ["systemctl", "show"]
        return 0, units, ""

    manager = services.Systemd(run)
    return record.look(manager, str(node[0]), CONTAINERS if containers is None else containers)


def test_parse_units():
    assert services.parse_units(UNITS) == {
        "onecc-ray.service": "active enabled no",
        "onecc-vllm.service": "inactive disabled no",
        "onecc-endpoint.service": "active enabled yes",
    }
    assert services.parse_units("") == {}


def test_what_is_looked_at(node):
    state_dir, units = node
    seen = look(node)
    inside = {os.path.relpath(name, state_dir) for name in seen if name.startswith(str(state_dir))}
    assert inside == {
        ".",
        "supervisor-ray.json",
        "endpoint",
        "endpoint/nginx.conf",
        "secrets",
        "secrets/api-key",
        "cache/ray_non_carry_over_env_vars.json",
        "services",
        "services/onecc-ray.conf",
    }
    others = {name for name in seen if not name.startswith(str(state_dir))}
    assert others == {
        str(units / "onecc-ray.service"),
        "container onecc-ray",
        "container onecc-vllm",
        "unit onecc-ray.service",
        "unit onecc-vllm.service",
        "unit onecc-endpoint.service",
    }
    # What is secret is not in it.
    assert "sk-1" not in str(seen)


def test_a_node_that_has_nothing(tmp_path):
    assert record.look(None, str(tmp_path / "none"), {}) == {}
    assert record.read(str(tmp_path / "none")) == {}


def change(path, text=None, mode=None):
    if text is None and mode is None:
        path.unlink()
    if text is not None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    if mode is not None:
        path.chmod(mode)


@pytest.mark.parametrize(
    ("name", "what", "differs"),
    [
        ("endpoint/nginx.conf", {"text": "events { }"}, ["endpoint/nginx.conf"]),
        ("secrets/api-key", {"mode": 0o640}, ["secrets/api-key"]),
        ("secrets", {"mode": 0o750}, ["secrets"]),
        ("supervisor-ray.json", {}, ["supervisor-ray.json"]),
        ("supervisor-ray.json.previous", {"text": "{}"}, ["supervisor-ray.json.previous"]),
        ("cache/ray_non_carry_over_env_vars.json", {"text": "[1]"}, ["cache/ray_non_carry_over_env_vars.json"]),
        ("cache/vllm/compiled", {"text": "2"}, []),
        ("cache/other", {"text": "2"}, []),
        ("tmp/ray/session", {"text": "2"}, []),
        ("download/log", {"text": "2"}, []),
        ("tools-0123/complete", {"text": "2"}, []),
        ("services/run/onecc-ray.log", {"text": "2"}, []),
        # The folder is new, and what is written there all the time is not looked at.
        ("processes/onecc-ray.log", {"text": "2"}, ["processes"]),
        (record.NAME, {"mode": 0o600}, []),
    ],
    ids=[
        "changed", "mode", "folder-mode", "gone", "kept", "settings-in-cache", "compiled", "cache", "session", "log",
        "tools", "log-of-a-service", "log-of-a-process", "itself",
    ],
)  # fmt: skip
def test_files_that_differ(node, name, what, differs):
    state_dir = node[0]
    record.write(str(state_dir), "0123", {"model": "/m"}, look(node))
    change(state_dir / name, **what)
    told = record.compare(record.read(str(state_dir)), look(node))
    assert told == {"wish": "0123", "notes": {"model": "/m"}, "differs": [str(state_dir / each) for each in differs]}


@pytest.mark.parametrize(
    ("containers", "units", "differs"),
    [
        (CONTAINERS, UNITS, []),
        ({"onecc-ray": "0f5e"}, UNITS, ["container onecc-vllm"]),
        ({**CONTAINERS, "onecc-vllm": "ffff"}, UNITS, ["container onecc-vllm"]),
        ({**CONTAINERS, "onecc-fabric": "1"}, UNITS, ["container onecc-fabric"]),
        (CONTAINERS, UNITS.replace("=active", "=failed", 1), ["unit onecc-ray.service"]),
        (CONTAINERS, UNITS.replace("=disabled", "=enabled", 1), ["unit onecc-vllm.service"]),
        (CONTAINERS, "", ["unit onecc-endpoint.service", "unit onecc-ray.service", "unit onecc-vllm.service"]),
    ],
    ids=["same", "ended", "another", "one-more", "failed", "enabled", "systemd-does-not-answer"],
)
def test_what_runs_differs(node, containers, units, differs):
    told = {"wish": "1", "notes": {}, "time": 1000, "seen": look(node)}
    assert record.compare(told, look(node, containers, units), now=1000)["differs"] == differs


@pytest.mark.parametrize(
    ("age", "old"), [(0, False), (record.VALID - 1, False), (record.VALID, True), (-1, True)], ids=str
)
def test_an_old_record_is_not_taken_for_everything(age, old):
    told = record.compare({"wish": "1", "time": 1000, "seen": {}}, {}, now=1000 + age)
    assert told["differs"] == (["the record, which is older than 30 days"] if old else [])


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"'])
def test_a_record_that_is_none(tmp_path, text):
    tmp_path.joinpath(record.NAME).write_text(text)
    assert record.read(str(tmp_path)) == {}
    assert record.compare({}, {"a": "1"}) == {"wish": "", "notes": {}, "differs": []}


def test_a_record_is_for_root_alone(tmp_path):
    record.write(str(tmp_path), "1", {}, {})
    assert tmp_path.joinpath(record.NAME).stat().st_mode & 0o777 == 0o600
