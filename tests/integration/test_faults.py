# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The faults that every run has time for, under load. tests/chaos/run.py brings about all of them."""

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


def test_an_operator_restarts_the_engine(lab):
    """Ray stays as it is."""
    before = lab.all_containers()
    play = lab.play("restart")
    assert play.rc == 0, play.why
    assert lab.ask().choices[0].finish_reason == "stop"
    after = lab.all_containers()
    assert after["node00"].pop("onecc-vllm")[1] != before["node00"].pop("onecc-vllm")[1]
    assert after == before
