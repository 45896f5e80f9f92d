# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Data as text."""

from __future__ import annotations

import pytest

from ansible_collections.onecc.vllm.plugins.filter.text import FilterModule

NAMES = ("table", "node_rows", "download_summary", "human_size")
table, node_rows, download_summary, human_size = (FilterModule().filters()[name] for name in NAMES)


@pytest.mark.parametrize(
    ("rows", "lines"),
    [
        pytest.param([], [], id="no-rows"),
        pytest.param([["a", "b"]], ["a  b"], id="one-row"),
        pytest.param([["NODE", "GPUS"], ["n", 8]], ["NODE  GPUS", "n     8"], id="numbers"),
        pytest.param([["a", "bbb", "c"], ["aaa", "b", "c"]], ["a    bbb  c", "aaa  b    c"], id="aligned"),
        pytest.param([["aaa"], ["b", "c"], []], ["aaa", "b    c", ""], id="short-rows"),
        pytest.param([["a", ""], ["b", "c"]], ["a", "b  c"], id="no-blanks-at-the-end"),
        pytest.param([[None, True]], ["None  True"], id="any-value"),
    ],
)
def test_table(rows, lines):
    assert table(rows) == lines


def node(address, version="20.10.24+dfsg1", error="", image_id="sha256:f4c1edef0b2d2a1cbd5b8fa11f7df2e4"):
    return {
        "__cluster_facts": {"address": address},
        "__cluster_node": {"engine": {"version": version, "error": error}, "image_id": image_id},
    }


def ray_node(address, state="ALIVE", used=1):
    return {"address": address, "state": state, "gpus_total": 8, "gpus_used": used}


HEADER = ["NODE", "ROLE", "ADDRESS", "RAY", "GPUS", "IN USE", "ENGINE", "IMAGE"]
HEAD = ["n0", "head", "10.0.0.1", "alive", 8, 1, "20.10.24+dfsg1", "f4c1edef0b2d"]


@pytest.mark.parametrize(
    ("worker", "ray_nodes", "row"),
    [
        pytest.param(
            node("10.0.0.2"),
            [ray_node("10.0.0.2", used=8)],
            ["n1", "worker", "10.0.0.2", "alive", 8, 8, "20.10.24+dfsg1", "f4c1edef0b2d"],
            id="alive",
        ),
        pytest.param(
            node("10.0.0.2"),
            [],
            ["n1", "worker", "10.0.0.2", "missing", 0, 0, "20.10.24+dfsg1", "f4c1edef0b2d"],
            id="not-in-ray",
        ),
        pytest.param(
            node("10.0.0.2"),
            [ray_node("10.0.0.2", "DEAD")],
            ["n1", "worker", "10.0.0.2", "missing", 0, 0, "20.10.24+dfsg1", "f4c1edef0b2d"],
            id="dead-in-ray",
        ),
        pytest.param(
            node("10.0.0.2"),
            [ray_node("10.0.0.2"), ray_node("10.0.0.2", "DEAD")],
            ["n1", "worker", "10.0.0.2", "alive", 8, 1, "20.10.24+dfsg1", "f4c1edef0b2d"],
            id="back-in-ray",
        ),
        pytest.param(
            node("10.0.0.2", version="", error="the command docker is not there", image_id=""),
            [],
            ["n1", "worker", "10.0.0.2", "missing", 0, 0, "the command docker is not there", "none"],
            id="no-engine",
        ),
        pytest.param({}, [], ["n1", "worker", "", "unknown: the node does not answer"], id="does-not-answer"),
    ],
)
def test_node_rows(worker, ray_nodes, row):
    hostvars = {"n0": node("10.0.0.1"), "n1": worker, "localhost": {}}
    rows = node_rows(hostvars, ["n0", "n1"], "n0", [ray_node("10.0.0.1"), *ray_nodes])
    assert rows == [HEADER, HEAD, row]


def test_node_rows_keeps_the_order_of_the_names():
    rows = node_rows({"b": {}, "a": {}}, ["b", "a"], "a", [])
    assert [row[:2] for row in rows[1:]] == [["b", "worker"], ["a", "head"]]


def test_human_size():
    """The rest is tested with the function itself."""
    assert human_size(63_705_680) == "63.7 MB"


COMMIT = "0123456789abcdef0123456789abcdef01234567"
MB = 1_000_000
FETCH = {"path": "a.safetensors", "size": 300 * MB, "state": "missing", "have": 0}
GO_ON = {"path": "b.safetensors", "size": 300 * MB, "state": "missing", "have": 298 * MB}
CHECK = {"path": "c.safetensors", "size": 50 * MB, "state": "unverified", "have": 50 * MB}
SMALL = {"path": "config.json", "size": 818, "state": "missing", "have": 0}
EMPTY = {"path": "empty.txt", "size": 0, "state": "missing", "have": 0}


def plan(*shares, complete=False, left_out_size=0):
    """What is planned when nodes have these shares."""
    todo = [file for share in shares for file in share]
    return {
        "commit": COMMIT,
        "complete": complete,
        "size": 1000 * MB,
        "left_out_size": left_out_size,
        "todo": todo,
        "shares": {"n%d" % number: list(share) for number, share in enumerate(shares)},
        "missing_size": sum(file["size"] - file["have"] for file in todo if file["state"] == "missing"),
        "unverified_size": sum(file["size"] for file in todo if file["state"] == "unverified"),
    }


@pytest.mark.parametrize(
    ("plan", "lines"),
    [
        pytest.param(plan((), (), complete=True), ["complete and checked: nothing to fetch"], id="complete"),
        pytest.param(plan((), ()), ["all files are there and checked: to be made visible"], id="to-be-linked"),
        pytest.param(
            plan((FETCH,), (GO_ON, SMALL)),
            ["to fetch: 302 MB in 3 files (n0 300 MB, n1 2.0 MB)"],
            id="to-fetch",
        ),
        pytest.param(plan((FETCH,), ()), ["to fetch: 300 MB in 1 files (n0 300 MB)"], id="one-node-has-nothing"),
        pytest.param(plan((CHECK,), (CHECK,)), ["to check: 100 MB in 2 files (n0 50.0 MB, n1 50.0 MB)"], id="to-check"),
        pytest.param(
            plan((FETCH, CHECK), (GO_ON,)),
            ["to fetch: 302 MB in 2 files (n0 300 MB, n1 2.0 MB)", "to check: 50.0 MB in 1 files (n0 50.0 MB)"],
            id="both",
        ),
    ],
)
def test_download_summary(plan, lines):
    assert download_summary(plan, "owner/model") == ["owner/model at commit %s: 1.0 GB" % COMMIT, *lines]


def test_download_summary_of_what_is_left_out():
    (line, _complete) = download_summary(plan((), complete=True, left_out_size=2 * MB), "owner/model")
    assert line == "owner/model at commit %s: 1.0 GB (2.0 MB in formats that are not needed left out)" % COMMIT


@pytest.mark.parametrize(
    ("plan", "lines"),
    [
        pytest.param(
            plan((FETCH, CHECK), (GO_ON, SMALL)),
            [
                "  fetch  300 MB  a.safetensors",
                "  check 50.0 MB  c.safetensors",
                "  fetch  2.0 MB  b.safetensors",
                "  fetch   818 B  config.json",
            ],
            id="each",
        ),
        pytest.param(plan((), ()), [], id="none"),
        pytest.param(plan((), (), complete=True), [], id="complete"),
    ],
)
def test_download_summary_of_every_file(plan, lines):
    few = download_summary(plan, "owner/model")
    assert download_summary(plan, "owner/model", every_file=True) == few + lines


@pytest.mark.parametrize(
    ("plan", "line"),
    [
        pytest.param(plan((FETCH,), (EMPTY,)), "to fetch: 300 MB in 2 files (n0 300 MB)", id="beside-others"),
        pytest.param(plan((EMPTY,), ()), "to fetch: 0 B in 1 files", id="alone"),
    ],
)
def test_download_summary_of_an_empty_file(plan, line):
    """A node that has only files without content has something to do, but no bytes."""
    assert download_summary(plan, "owner/model")[1:] == [line]
