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
        lab.note("plain_start_s", scene.plain_start())
        yield scene


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.name in SHORT], ids=lambda fault: fault.name)
def test_fault(scene, fault):
    record = scene.run(fault)
    scene.lab.note("fault_" + fault.name, record)
    assert broken(record, scene.plain_starts[0]) == []
