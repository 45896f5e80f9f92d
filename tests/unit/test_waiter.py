# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting, by a clock that stands still unless it is told to move."""

from __future__ import annotations

import itertools

import pytest

from ansible_collections.onecc.vllm.plugins.module_utils.waiter import wait_until


class StillClock:
    """Moves by what is slept, and by what a look takes."""

    def __init__(self):
        self.time = 1000.0
        self.sleeps = []

    def now(self):
        return self.time

    def sleep(self, seconds):
        self.sleeps.append(seconds)
        self.time += seconds


@pytest.mark.parametrize(
    ("ready_at", "timeout", "interval", "look_takes", "expected", "sleeps"),
    [
        pytest.param(1, 60, 1, 0, (1, True, 0), [1] * 0, id="ready-at-once"),
        pytest.param(4, 60, 2, 0, (4, True, 6), [2] * 3, id="ready-at-the-fourth-look"),
        pytest.param(4, 60, 2, 3, (4, True, 18), [2] * 3, id="looks-take-time-too"),
        pytest.param(11, 10, 1, 0, (11, True, 10), [1] * 10, id="ready-at-the-last-moment"),
        pytest.param(12, 10, 1, 0, (11, False, 10), [1] * 10, id="ready-too-late"),
        pytest.param(99, 10, 4, 0, (4, False, 10), [4, 4, 2], id="no-sleep-beyond-the-timeout"),
        pytest.param(9, 10, 1, 30, (1, False, 30), [1] * 0, id="one-look-longer-than-the-timeout"),
        pytest.param(2, 10, 1, 30, (1, False, 30), [1] * 0, id="no-second-look-after-the-timeout"),
        pytest.param(1, 10, 1, 30, (1, True, 30), [1] * 0, id="ready-though-the-look-took-long"),
        pytest.param(1, 0, 1, 0, (1, True, 0), [1] * 0, id="timeout-0-and-ready"),
        pytest.param(2, 0, 1, 0, (1, False, 0), [1] * 0, id="timeout-0-looks-once"),
    ],
)
def test_wait_until(ready_at, timeout, interval, look_takes, expected, sleeps):
    clock = StillClock()
    looks = itertools.count(1)

    def look():
        clock.time += look_takes
        return next(looks)

    assert wait_until(look, lambda seen: seen >= ready_at, timeout, interval, clock) == expected
    assert clock.sleeps == sleeps
