# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done with a container and the one before it, whatever an earlier run has left."""

from __future__ import annotations

import pytest

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
