# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of a cluster as filters."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.onecc.vllm.plugins.filter.checks import FilterModule

FILTERS = FilterModule().filters()
LIMITS = {"disk": 0, "image_disk": 0, "disk_percent": 100, "storage_rate": 0, "fabric_gb_s": None}
GONE = {"name": "node01", "error": "Failed to connect to the host via ssh: Connection timed out"}


def row(ident, node, result, found, expected="", remedy=""):
    return {
        "id": ident,
        "check": "a title",
        "node": node,
        "result": result,
        "found": found,
        "expected": expected,
        "remedy": remedy,
    }


ROWS = [
    row("os", "node00", "ok", "Ubuntu 22.04.5 LTS, x86_64"),
    row("clock", "node00", "warn", "+2.500 s at node01", "within 1 s", "Run a time service."),
    row("mtu", "all", "fail", "node00 9000, node01 1500", "the same on every node", "Set the same MTU."),
    row("shm", "node00", "skip", "100 MB", "at least 1.3 GB"),
]
SUMMARY = "4 checks: 1 fail, 1 ok, 1 skip, 1 warn"
HEAD = "CHECK  NODE    RESULT  FOUND                       EXPECTED                REMEDY"


@pytest.mark.parametrize(
    ("rows", "every", "lines"),
    [
        pytest.param(
            ROWS,
            True,
            [
                HEAD,
                "os     node00  ok      Ubuntu 22.04.5 LTS, x86_64",
                "clock  node00  warn    +2.500 s at node01          within 1 s              Run a time service.",
                "mtu    all     fail    node00 9000, node01 1500    the same on every node  Set the same MTU.",
                "shm    node00  skip    100 MB                      at least 1.3 GB",
                SUMMARY,
            ],
            id="every-row",
        ),
        pytest.param(
            ROWS,
            False,
            [
                "CHECK  NODE    RESULT  FOUND                     EXPECTED                REMEDY",
                "clock  node00  warn    +2.500 s at node01        within 1 s              Run a time service.",
                "mtu    all     fail    node00 9000, node01 1500  the same on every node  Set the same MTU.",
                "shm    node00  skip    100 MB                    at least 1.3 GB",
                SUMMARY,
            ],
            id="what-is-not-ok",
        ),
        pytest.param(ROWS[:1], False, ["1 checks: 1 ok"], id="all-is-ok"),
        pytest.param([ROWS[0]] * 3 + [ROWS[2]] * 2, False, None, id="counts"),
    ],
)
def test_table(rows, every, lines):
    told = FILTERS["preflight_table"](rows, every=every)
    if lines is None:
        assert (len(told), told[-1]) == (4, "5 checks: 2 fail, 3 ok")
    else:
        assert told == lines


def test_table_shows_every_row_unless_told_otherwise():
    assert FILTERS["preflight_table"](ROWS) == FILTERS["preflight_table"](ROWS, every=True)


def test_preflight():
    """What the judge says goes through as it is."""
    (told,) = FILTERS["preflight"]([GONE], LIMITS)
    assert (told["id"], told["node"], told["result"], told["found"]) == ("ssh", "node01", "fail", GONE["error"])
    (told,) = FILTERS["preflight"]([GONE], LIMITS, ["ssh"])
    assert told["result"] == "skip"


def test_preflight_with_a_check_that_is_none():
    with pytest.raises(AnsibleFilterError, match=r"preflight_skip: no checks with these ids: nonsense, ssl$"):
        FILTERS["preflight"]([GONE], LIMITS, ["ssl", "ssh", "nonsense"])


def test_refusal():
    assert FILTERS["preflight_refusal"](ROWS) == [
        "the nodes: expected the same on every node, found node00 9000, node01 1500. Set the same MTU. (check 'mtu')"
    ]


def test_the_chain():
    """As the role has it: judge, refuse, show."""
    rows = FILTERS["preflight"]([GONE], LIMITS)
    (sentence,) = FILTERS["preflight_refusal"](rows)
    assert sentence.startswith("node01: expected an answer, found Failed to connect to the host via ssh: ")
    assert FILTERS["preflight_table"](rows)[-1] == "1 checks: 1 fail"
