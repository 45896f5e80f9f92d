# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a Ray cluster, on what the dashboard of Ray 2.60.0 answered in the lab."""

from __future__ import annotations

import json

import pytest

from ansible_collections.onecc.vllm.plugins.module_utils.errors import OneccError
from ansible_collections.onecc.vllm.plugins.module_utils.ray_state import VIEWS, fetch, missing, summarize, unplaced

SERVING = "ray/serving.json"
# Twelve seconds after the worker was stopped, before Ray noticed.
UNNOTICED = "ray/worker_lost_unnoticed.json"
# The worker came back as a new Ray node; the engine did not.
REJOINED = "ray/rejoined_idle.json"
# A node was cut off for half a minute, and its Ray started anew; then the engine was started. 170 s later:
NEVER_PLACED = "ray/never_placed.json"

HEAD = "b19f3b2b5b8a20b3ca3e1e60efec69558c698f0525d36b2519c09d67"
WORKER = "6410ba911a718ca69c198cade4c7f69b90b5fbc4caa5279ed5b89853"
WORKER_AGAIN = "c5795912c41926780f47e1303668e03d11e9b681431dd61a57c0188a"
WHY_DEAD = "Unexpected termination: health check failed due to missing too many heartbeats"
NODE00 = {"name": "node00", "address": "198.18.0.10", "gpus": 1}
NODE01 = {"name": "node01", "address": "198.18.0.11", "gpus": 1}
NODE02 = {"name": "node02", "address": "198.18.0.12", "gpus": 1}


@pytest.mark.parametrize(
    ("name", "nodes", "alive", "gpus", "group"),
    [
        pytest.param(SERVING, [(HEAD, "ALIVE", 1), (WORKER, "ALIVE", 1)], 2, (2, 2), "CREATED", id="serving"),
        pytest.param(UNNOTICED, [(HEAD, "ALIVE", 0), (WORKER, "ALIVE", 1)], 2, (2, 1), "REMOVED", id="unnoticed"),
        pytest.param(
            REJOINED,
            [(HEAD, "ALIVE", 0), (WORKER_AGAIN, "ALIVE", 0), (WORKER, "DEAD", 0)],
            2,
            (2, 0),
            "REMOVED",
            id="rejoined",
        ),
    ],
)
def test_summarize(capture, name, nodes, alive, gpus, group):
    cluster = summarize(capture(name))
    assert [(node["node_id"], node["state"], node["gpus_used"]) for node in cluster["nodes"]] == nodes
    assert (cluster["nodes_alive"], cluster["gpus_total"], cluster["gpus_used"]) == (alive, *gpus)
    assert cluster["placement_groups"] == [
        {
            "placement_group_id": "a6ea63bbd27986dd0d4f9aa7495f01000000",
            "state": group,
            "bundles": [
                {"address": "198.18.0.11", "resources": {"GPU": 1.0}},
                {"address": "198.18.0.10", "resources": {"GPU": 1.0}},
            ],
        }
    ]
    assert (cluster["ray_version"], cluster["session_name"]) == ("2.60.0", "session_2026-11-22_21-13-50_384546_7")


def test_summarize_a_node(capture):
    head, again, dead = summarize(capture(REJOINED))["nodes"]
    assert head == {
        "node_id": HEAD,
        "address": "198.18.0.10",
        "is_head": True,
        "state": "ALIVE",
        "state_message": "",
        "ended_ms": 0,
        "gpus_total": 1,
        "gpus_used": 0,
        "cpus_total": 2,
    }
    # What the registered variable shows: 1, not 1.0.
    assert json.dumps(head["gpus_total"]) == "1"
    assert (again["address"], again["is_head"], again["state_message"]) == ("198.18.0.11", False, "")
    assert (dead["address"], dead["is_head"], dead["state_message"]) == ("198.18.0.11", False, WHY_DEAD)


def test_summarize_a_head_that_is_still_young(capture):
    """Until its monitor has reported, a head has no cluster status."""
    answers = capture(SERVING)
    answers["cluster_status"]["data"]["clusterStatus"] = None
    assert [(node["gpus_total"], node["gpus_used"]) for node in summarize(answers)["nodes"]] == [(1, 0), (1, 0)]


def altered(answers, changes):
    """The capture with nodes changed, or left out where a change is None."""
    listing = answers["nodes"]["data"]["result"]
    listing["result"] = [
        dict(node, **changes.get(node["node_id"], {}))
        for node in listing["result"]
        if changes.get(node["node_id"], {}) is not None
    ]
    return answers


def test_summarize_parts_of_gpus(capture):
    cluster = summarize(altered(capture(SERVING), {WORKER: {"resources_total": {"GPU": 0.5}}}))
    assert (cluster["gpus_total"], cluster["nodes"][1]["cpus_total"]) == (1.5, 0)


@pytest.mark.parametrize(
    ("name", "changes", "expected", "lines"),
    [
        pytest.param(SERVING, {}, [NODE00, NODE01], [], id="whole"),
        pytest.param(SERVING, {}, [NODE01, NODE00], [], id="whole-in-any-order"),
        pytest.param(SERVING, {}, [dict(NODE00, gpus=0), NODE01], [], id="more-gpus-than-asked-for"),
        pytest.param(UNNOTICED, {}, [NODE00, NODE01], [], id="lost-unnoticed"),
        pytest.param(REJOINED, {}, [NODE00, NODE01], [], id="dead-but-back"),
        pytest.param(
            SERVING,
            {},
            [dict(NODE00, gpus=8), NODE01],
            ["node00 (198.18.0.10): expected 8 GPUs, found 1"],
            id="too-few-gpus",
        ),
        pytest.param(
            SERVING,
            {},
            [NODE00],
            ["198.18.0.11: a Ray node with an address that no expected node has"],
            id="one-too-many",
        ),
        pytest.param(
            SERVING,
            {},
            [NODE00, NODE01, NODE02],
            ["node02 (198.18.0.12): no living Ray node has this address; it never joined"],
            id="never-joined",
        ),
        pytest.param(
            REJOINED,
            {WORKER_AGAIN: None},
            [NODE00, NODE01],
            ["node01 (198.18.0.11): no living Ray node has this address; Ray lost it: " + WHY_DEAD],
            id="dead",
        ),
        pytest.param(
            SERVING,
            {WORKER: {"state": "DEAD"}},
            [NODE00, NODE01],
            ["node01 (198.18.0.11): no living Ray node has this address; Ray lost it: no reason given"],
            id="dead-without-a-reason",
        ),
        pytest.param(
            REJOINED,
            {WORKER: {"state": "ALIVE"}},
            [NODE00, NODE01],
            ["node01 (198.18.0.11): expected one living Ray node, found 2"],
            id="twice-alive",
        ),
        pytest.param(
            SERVING,
            {WORKER: {"node_ip": "10.0.0.11"}},
            [dict(NODE00, gpus=2), NODE01],
            [
                "node00 (198.18.0.10): expected 2 GPUs, found 1",
                "node01 (198.18.0.11): no living Ray node has this address; it never joined",
                "10.0.0.11: a Ray node with an address that no expected node has",
            ],
            id="all-at-once",
        ),
    ],
)
def test_missing(capture, name, changes, expected, lines):
    assert missing(summarize(altered(capture(name), changes)), expected) == lines


def json_answers(answers):
    return {VIEWS[name]: (200, "application/json", json.dumps(answers[name]).encode()) for name in VIEWS}


@pytest.mark.parametrize(
    ("token", "header"),
    [pytest.param("", None, id="no-token"), pytest.param("1a2b3c", "Bearer 1a2b3c", id="token")],
)
@pytest.mark.parametrize("ending", ["", "/"])
def test_fetch(capture, replay, ending, token, header):
    dashboard = replay(json_answers(capture(SERVING)))
    assert fetch(dashboard.url + ending, token) == capture(SERVING)
    assert [request["path"] for request in dashboard.requests] == list(VIEWS.values())
    assert {request["headers"]["Authorization"] for request in dashboard.requests} == {header}


@pytest.mark.parametrize(
    ("view", "answer", "found"),
    [
        pytest.param("version", (401, "text/plain", b""), "HTTP Error 401: Unauthorized", id="no-token"),
        pytest.param("nodes", (500, "application/json", b"{}"), "HTTP Error 500: Internal Server Error", id="error"),
        pytest.param(
            "cluster_status",
            (200, "text/html", b"<html>"),
            "Expecting value: line 1 column 1 (char 0)",
            id="not-json",
        ),
        pytest.param(
            "placement_groups",
            (200, "application/json", b'{"data": '),
            "Expecting value: line 1 column 10 (char 9)",
            id="half-json",
        ),
    ],
)
def test_fetch_says_which_view_failed(capture, replay, view, answer, found):
    dashboard = replay({**json_answers(capture(SERVING)), VIEWS[view]: answer})
    with pytest.raises(OneccError) as caught:
        fetch(dashboard.url)
    assert str(caught.value) == (
        "%s: expected Ray's dashboard to answer %s, found %s. See 'docker logs onecc-ray' on the head."
        % (dashboard.url, VIEWS[view], found)
    )


def test_fetch_from_nobody(nobody):
    with pytest.raises(OneccError, match=r"answer /api/version, found .*Connection refused"):
        fetch(nobody)


@pytest.mark.parametrize(
    ("name", "groups"),
    [(SERVING, []), (REJOINED, []), (NEVER_PLACED, ["658aa420470670412102d4a3fe5b02000000"])],
)
def test_unplaced(capture, name, groups):
    assert unplaced(capture(name)["placement_groups"]) == groups
