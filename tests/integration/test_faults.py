# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The faults that every run has time for, under load. tests/chaos/run.py brings about all of them."""

import openai
import pytest

from faults import FAULTS, SHORT
from records import broken
from scene import Scene


@pytest.fixture(scope="module")
def scene(lab):
    with Scene(lab, seeds=1) as scene:
        scene.calibrate()
        yield scene


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.name in SHORT], ids=lambda fault: fault.name)
def test_fault(scene, fault):
    record = scene.run(fault)
    scene.lab.note("fault_" + fault.name, record)
    # How long it took is noted: that limit is for `make chaos`, on a machine that does nothing else.
    assert broken(record) == []


def test_an_operator_stops_and_starts_the_engine(lab):
    """What is stopped stays so until it is started again. Ray stays as it is all the time."""
    before = lab.all_containers()
    play = lab.play("stop", "--check")
    assert play.rc == 0, play.why
    assert play.changed()
    assert lab.all_containers() == before
    for again in (False, True):
        play = lab.play("stop")
        assert play.rc == 0, play.why
        assert bool(play.changed()) is not again
    assert "false" in lab.on("node00", "docker inspect --format {{.State.Running}} onecc-vllm")
    assert lab.on("node00", "systemctl is-enabled onecc-vllm", check=False).strip() == "disabled"
    with pytest.raises(openai.OpenAIError):
        lab.ask()
    for again in (False, True):
        play = lab.play("start")
        assert play.rc == 0, play.why
        assert bool(play.changed()) is not again
        assert lab.ask().choices[0].finish_reason == "stop"
    assert lab.on("node00", "systemctl is-enabled onecc-vllm").strip() == "enabled"
    started = lab.containers("node00")["onecc-vllm"]
    assert started[1] != before["node00"]["onecc-vllm"][1]
    play = lab.play("restart")
    assert play.rc == 0, play.why
    assert lab.ask().choices[0].finish_reason == "stop"
    after = lab.all_containers()
    assert after["node00"].pop("onecc-vllm")[1] != started[1]
    del before["node00"]["onecc-vllm"]
    assert after == before
