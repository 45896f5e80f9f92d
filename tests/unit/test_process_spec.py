# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module that writes down a process: what stands in the file, and what stays beside it."""

from __future__ import annotations

import json
import stat
import types

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.onecc.vllm.plugins.module_utils.supervisor.processes import Processes
from ansible_collections.onecc.vllm.plugins.modules import process_spec

# Not that of another file of tests: what bears a name is ended with it, and files are tested side by side.
NAME = "onecc-spec"


@pytest.fixture
def node(tmp_path, monkeypatch, capsys):
    """Runs the module, on a folder that is not there yet."""
    monkeypatch.setattr(Processes.__init__, "__defaults__", (str(tmp_path / "run"),))
    folder = tmp_path / "processes"

    def run(check_mode=False, **params):
        params = {"name": NAME, "directory": str(folder), "_ansible_check_mode": check_mode, **params}
        with patch_module_args(dict(params, _ansible_remote_tmp=str(tmp_path))), pytest.raises(SystemExit):
            process_spec.main()
        return json.loads(capsys.readouterr().out)

    return types.SimpleNamespace(run=run, folder=folder, file=folder / (NAME + ".json"))


def test_first_time(node):
    wish = {"argv": ["sleep", "1000"], "env": {"NUMBER": 1}, "limits": {"nofile": 64}, "labels": {"a": "b"}}
    assert node.run(check_mode=True, **wish)["changed"]
    assert not node.folder.exists()
    told = node.run(**wish)
    assert told["changed"]
    assert told["diff"]["before"] == ""
    assert json.loads(node.file.read_text()) == {
        "argv": ["sleep", "1000"],
        "env": {"NUMBER": "1"},
        "cwd": "/",
        "limits": {"nofile": 64},
        "capabilities": None,
        "labels": {"a": "b"},
        "log": told["log"],
        "log_size": 52428800,
        "log_files": 5,
    }
    assert [stat.S_IMODE(path.stat().st_mode) for path in (node.folder, node.file)] == [0o700, 0o600]
    assert not node.run(**wish)["changed"]


def test_what_was_there_before_stays(node):
    """The one that served, not one that came between and has not proven itself."""
    for seconds in ("1", "2", "3"):
        assert node.run(argv=["sleep", seconds])["changed"]
    kept = json.loads(node.file.with_name(NAME + ".json.previous").read_text())
    assert kept["argv"] == ["sleep", "1"]


def test_differences_show_no_secrets(node):
    node.run(argv=["vllm", "--api-key", "letmein"], env={"HF_TOKEN": "two words"})
    diff = node.run(argv=["vllm", "--api-key", "sesame"], env={"HF_TOKEN": "wide gate"})["diff"]
    assert not [word for word in ("letmein", "two words", "sesame", "wide gate") if word in json.dumps(diff)]
    assert "HF_TOKEN" in diff["after"]


def test_a_file_that_is_cut_off_is_written_anew(node):
    node.run(argv=["sleep", "1"])
    node.file.write_text('{"argv": [')
    assert node.run(argv=["sleep", "1"])["changed"]
    assert json.loads(node.file.read_text())["argv"] == ["sleep", "1"]


@pytest.mark.parametrize(
    ("wish", "words"),
    [({"limits": {"files": 1}}, "found limit files"), ({"capabilities": ["CAP_FLY"]}, "found capability CAP_FLY")],
)
def test_what_linux_does_not_have(node, wish, words):
    told = node.run(argv=["sleep", "1"], **wish)
    assert told["failed"]
    assert words in told["msg"]
    assert not node.file.exists()


def test_absent(node):
    """With all that runs, by this file or an earlier one."""
    node.run(argv=["sleep", "1000"], env={"PATH": "/bin:/usr/bin"})
    processes = Processes(str(node.folder))
    processes.start(NAME)
    node.run(argv=["sleep", "2000"])
    assert node.run(check_mode=True, state="absent")["changed"]
    assert len(processes.processes(NAME)) == 1
    assert node.run(state="absent")["changed"]
    assert processes.processes(NAME) == []
    assert [path.name for path in node.folder.iterdir()] == [NAME + ".log"]
    assert not node.run(state="absent")["changed"]
