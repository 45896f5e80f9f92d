# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Data as text."""

from __future__ import annotations

import pytest

from ansible_collections.onecc.vllm.plugins.filter.text import FilterModule

table, node_rows = (FilterModule().filters()[name] for name in ("table", "node_rows"))


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
