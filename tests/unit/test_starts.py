# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When waiting for the engine makes no sense any more."""

from __future__ import annotations

import pytest

from ansible_collections.onecc.vllm.plugins.module_utils import starts

ENDED, USAGE = "the engine ended with status 1", "the engine ended with status 2"


@pytest.mark.parametrize(
    ("failed", "reasons", "why"),
    [
        (0, [], ""),
        # Of an earlier engine.
        (0, [USAGE], ""),
        (2, [ENDED] * 2, ""),
        (3, [ENDED] * 3, "3 starts that failed: the engine ended with status 1"),
        (7, [ENDED] * 5, "7 starts that failed: the engine ended with status 1"),
        (1, [USAGE], "1 start that failed: the engine ended with status 2"),
        (2, [ENDED, USAGE], "2 starts that failed: the engine ended with status 2"),
        (2, [USAGE, ENDED], ""),
    ],
)
def test_judge(failed, reasons, why):
    failures = [{"time": "2026-11-23T15:16:04Z", "reason": reason} for reason in reasons]
    status = {"phase": "starting", "for_s": 900, "failed_starts": failed, "failures": failures}
    assert starts.judge(status) == why


@pytest.mark.parametrize(("seconds", "why"), [(180, ""), (181, "waiting for node01, for 181 s")])
def test_what_is_missing(seconds, why):
    status = {"phase": "waiting", "reason": "waiting for node01", "for_s": seconds, "failed_starts": 0, "failures": []}
    assert starts.judge(status) == why


@pytest.mark.parametrize(
    ("ready", "loading", "failed", "near"),
    [
        (False, "", 0, False),
        (False, "loading the weights: 40 % (12 of 30)", 0, False),
        (False, "Ray starts the engine's ranks", 0, False),
        (False, "the engine is set up, its API starts", 0, True),
        (False, "the engine is set up, its API starts", 1, False),
        (False, "the first completion is awaited", 0, True),
        (True, "", 0, True),
        (True, "", 1, True),
    ],
)
def test_near(ready, loading, failed, near):
    """Seconds from an answer there is nothing to show any more."""
    assert starts.is_near({"ready": ready, "loading": loading, "failed_starts": failed}) is near


def test_nothing_to_watch():
    assert starts.Starts(None).why_hopeless() == ""


def test_a_program_that_is_not_there(monkeypatch):
    """It may be just being started; half a minute later it is not."""
    now = 0.0
    monkeypatch.setattr(starts.time, "monotonic", lambda: now)
    watched = starts.Starts("http://127.0.0.2:1/status")
    now = 30.0
    assert watched.why_hopeless() == ""
    now = 31.0
    assert watched.why_hopeless().startswith("nothing looks after the engine (http://127.0.0.2:1/status: ")


@pytest.mark.parametrize(
    ("reason", "loading", "words"),
    [
        ("waiting for node01", "", "waiting for node01"),
        ("the engine starts, an answer is awaited", "compiling", "compiling"),
        ("", "", "completions are answered"),
    ],
)
def test_words(reason, loading, words):
    assert starts.words_of({"reason": reason, "loading": loading}) == words
    if not loading:
        # The program of an earlier release.
        assert starts.words_of({"reason": reason}) == words
