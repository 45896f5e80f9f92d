# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of what goes wrong is sound: names, sentences, and a text for every pattern."""

from __future__ import annotations

import pathlib
import re

import pytest

from ansible_collections.onecc.vllm.plugins.module_utils import diagnosis
from ansible_collections.onecc.vllm.plugins.module_utils.catalogue import BY_ID, CAUSES

LOGS = pathlib.Path(__file__).resolve().parent / "data" / "logs"
LINES = [
    line
    for path in LOGS.glob("*.log")
    if not path.name.startswith("healthy_")
    for line in path.read_text(encoding="utf-8").splitlines()[1:]
]
PATTERNS = [(cause.id, pattern) for cause in CAUSES for pattern in cause.patterns]


def test_each_cause_has_a_name_of_its_own():
    assert len(BY_ID) == len(CAUSES)
    assert [cause.id for cause in CAUSES if not re.fullmatch(r"[a-z]+(-[a-z]+)*", cause.id)] == []
    assert len({cause.title for cause in CAUSES}) == len({cause.problem for cause in CAUSES}) == len(CAUSES)


def test_the_diagnosis_knows_no_other_names():
    assert set(BY_ID) >= diagnosis.LASTING | diagnosis.WHILE_SERVING


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.id)
def test_words(cause):
    """A title is a few words to go on a line of a table, a remedy is sentences."""
    assert len(cause.title) <= 50
    assert not cause.title.endswith((".", " "))
    assert re.match(r"[A-Z]", cause.remedy)
    assert cause.remedy.endswith(".")
    assert "  " not in cause.title + cause.problem + cause.remedy
    assert len(cause.problem) <= 60
    assert not cause.problem.endswith((".", " "))
    assert bool(cause.patterns) == bool(cause.source)


@pytest.mark.parametrize(("cause", "pattern"), PATTERNS)
def test_each_pattern_has_been_seen(cause, pattern):
    assert any(re.search(pattern, line) for line in LINES), "%s: no text for %s" % (cause, pattern)
