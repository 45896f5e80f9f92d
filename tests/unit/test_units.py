# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd says of a unit, and whether it will come up."""

from __future__ import annotations

import pytest

from ansible_collections.onecc.vllm.plugins.module_utils.units import PROPERTIES, parse, why_hopeless


@pytest.mark.parametrize(
    ("name", "properties"),
    [
        pytest.param(
            "systemd/running.txt",
            {"LoadState": "loaded", "ActiveState": "active", "SubState": "running"},
            id="running",
        ),
        pytest.param(
            "systemd/missing.txt",
            {"LoadState": "not-found", "ActiveState": "inactive", "SubState": "dead"},
            id="no-such-unit",
        ),
    ],
)
def test_parse(capture, name, properties):
    assert parse(capture(name)) == dict(properties, Result="success", NRestarts="0")
    assert set(parse(capture(name))) == set(PROPERTIES)


def test_parse_keeps_what_follows_the_first_equals_sign():
    assert parse("Result=a=b\n\nno property\n") == {"Result": "a=b"}


AUTO_RESTART = {"ActiveState": "activating", "SubState": "auto-restart", "Result": "exit-code"}
FAILED = {"ActiveState": "failed", "SubState": "failed", "Result": "exit-code"}
DEAD = {"ActiveState": "inactive", "SubState": "dead"}


@pytest.mark.parametrize(
    ("before", "change", "why"),
    [
        pytest.param(0, {}, "", id="running"),
        pytest.param(0, dict(AUTO_RESTART, NRestarts="1"), "", id="came-back-once"),
        pytest.param(0, dict(AUTO_RESTART, NRestarts="2"), "", id="came-back-twice"),
        pytest.param(
            0, dict(AUTO_RESTART, NRestarts="3"), "the unit ended and was started again 3 times", id="came-back-thrice"
        ),
        pytest.param(0, {"NRestarts": "3"}, "the unit ended and was started again 3 times", id="thrice-and-running"),
        pytest.param(7, {"NRestarts": "7"}, "", id="restarts-of-long-ago"),
        pytest.param(7, {"NRestarts": "9"}, "", id="twice-after-restarts-of-long-ago"),
        pytest.param(7, {"NRestarts": "0"}, "", id="an-operator-started-it"),
        pytest.param(7, {"NRestarts": "2"}, "", id="an-operator-started-it-then-twice"),
        pytest.param(
            7,
            {"NRestarts": "3"},
            "the unit ended and was started again 3 times",
            id="an-operator-started-it-then-thrice",
        ),
        pytest.param(0, FAILED, "the unit is failed (exit-code)", id="failed"),
        pytest.param(0, DEAD, "the unit is inactive (success)", id="stopped"),
        pytest.param(0, {"LoadState": "masked"}, "the unit is not there (masked)", id="masked"),
    ],
)
def test_why_hopeless(capture, before, change, why):
    running = parse(capture("systemd/running.txt"))
    assert why_hopeless(dict(running, NRestarts=str(before)), dict(running, **change)) == why


def test_a_unit_that_is_not_there(capture):
    missing = parse(capture("systemd/missing.txt"))
    assert why_hopeless(missing, missing) == "the unit is not there (not-found)"


def test_no_unit_to_watch():
    assert why_hopeless({}, {}) == ""
