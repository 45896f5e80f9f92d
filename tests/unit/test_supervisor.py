# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules by which Ray and the engine are looked after, on what was seen in the lab."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from ansible_collections.onecc.vllm.plugins.module_utils.supervisor import engine_rules, ray_rules
from ansible_collections.onecc.vllm.plugins.module_utils.supervisor.containers import Container
from ansible_collections.onecc.vllm.plugins.module_utils.supervisor.engine import lacks
from ansible_collections.onecc.vllm.plugins.module_utils.supervisor.engine_rules import (
    CLEARING,
    SERVING,
    STARTING,
    WAITING,
    Group,
)
from ansible_collections.onecc.vllm.plugins.module_utils.supervisor.probe import Verdict, progress
from ansible_collections.onecc.vllm.plugins.modules import supervisor

# docker top onecc-ray -eo stat,args
SITE = "/opt/vllm/lib/python3.11/site-packages/ray"
WORKER = [
    ("S", "/sbin/docker-init -- ray start --block --address 198.18.0.10:6379 --node-ip-address 198.18.0.11"),
    ("S", "/opt/vllm/bin/python /opt/vllm/bin/ray start --block --address 198.18.0.10:6379"),
    ("S", "/opt/vllm/bin/python -u %s/_private/log_monitor.py --session-dir=/tmp/ray/session_2026" % SITE),
    ("S", "%s/core/src/ray/raylet/raylet --raylet_socket_name=/tmp/ray/session_2026/sockets/raylet" % SITE),
    ("S", "ray::DashboardAgent"),
    ("S", "ray::RuntimeEnvAgent"),
    ("S", "ray::IDLE"),
    ("S", "/opt/vllm/bin/python -c from multiprocessing.resource_tracker import main;main(59)"),
]
RANK = ("S", "ray::RayWorkerProc.run")
HEAD = [("S", "%s/core/src/ray/gcs/gcs_server --log_dir=/tmp/ray/session_2026/logs" % SITE), *WORKER]


@pytest.mark.parametrize(
    ("processes", "is_head", "lacking", "ranks"),
    [
        pytest.param(WORKER, False, "", 0, id="worker"),
        pytest.param([*WORKER, RANK], False, "", 1, id="serving"),
        pytest.param([*WORKER, ("T", RANK[1])], False, "", 1, id="a-stopped-rank-holds-its-gpu"),
        pytest.param([*WORKER, ("Z", RANK[1])], False, "", 0, id="a-dead-one-does-not"),
        pytest.param(WORKER[:3] + WORKER[4:], False, "raylet", 0, id="no-raylet"),
        pytest.param([("T", WORKER[3][1])], False, "raylet", 0, id="stopped-raylet"),
        pytest.param([*WORKER, ("S", "ray::get_node_ip")], False, "", 0, id="another-task"),
        pytest.param([*WORKER, ("S", "ray::IDLE_SpillWorker")], False, "", 0, id="idle"),
        pytest.param(HEAD, True, "", 0, id="head"),
        pytest.param(WORKER, True, "gcs_server", 0, id="head-without-gcs"),
        pytest.param([], False, "raylet", 0, id="nothing"),
    ],
)
def test_processes_of_ray(processes, is_head, lacking, ranks):
    processes = [(*process, number) for number, process in enumerate(processes)]
    assert ray_rules.lacking(processes, is_head) == lacking
    assert ray_rules.ranks(processes) == ranks
    assert ray_rules.raylets(processes) == [number for _state, command, number in processes if "raylet --" in command]


UP = {"incarnation": "a", "nodes": [], "demands": {}}


@pytest.mark.parametrize(
    ("view", "action", "reason"),
    [
        pytest.param({"status": None}, "wait", "there is no container onecc-ray: deploy", id="bare"),
        pytest.param({"up": 100, "joined": "a", "head": UP}, "nothing", "", id="well"),
        pytest.param({"up": 100, "joined": "a", "head": None}, "nothing", "", id="the-head-is-silent"),
        pytest.param({"up": 100, "joined": "a", "head": {**UP, "incarnation": ""}}, "nothing", "", id="the-head-boots"),
        pytest.param(
            {"up": 5, "joined": "a", "head": {**UP, "incarnation": "b"}},
            "restart",
            "Ray on the head was started anew",
            id="another-head",
        ),
        pytest.param({"up": 5, "joined": None, "head": UP}, "nothing", "", id="joined-unknown"),
        pytest.param({"up": 100, "lacking": "raylet", "lacking_for": 4}, "restart", "raylet is gone", id="raylet-gone"),
        pytest.param({"up": 100, "lacking": "raylet", "lacking_for": 3}, "nothing", "", id="just-gone"),
        pytest.param({"up": 60, "lacking": "raylet", "lacking_for": 20}, "nothing", "", id="still-starting"),
        pytest.param(
            {"up": 100, "unlisted_for": 3},
            "restart",
            "the head does not count this node among the living",
            id="given-up",
        ),
        pytest.param({"up": 100, "unlisted_for": 2}, "nothing", "", id="just-not-listed"),
        pytest.param(
            {"up": 100, "started_at": "s", "address": "x", "joined": "a", "head": {**UP, "demands": {"x": "s"}}},
            "restart",
            "the engine's program on the head asks for it",
            id="demanded",
        ),
        pytest.param(
            {"up": 1, "started_at": "t", "address": "x", "joined": "a", "head": {**UP, "demands": {"x": "s"}}},
            "nothing",
            "",
            id="demand-met",
        ),
        pytest.param(
            {"up": 100, "address": "x", "joined": "a", "head": {**UP, "members": ["y"]}},
            "stop",
            "the head's inventory does not have this node any more",
            id="dropped",
        ),
        pytest.param(
            {"up": 100, "joined": "a", "head": None, "cut_off_for": 60},
            "stop",
            "the head cannot be reached for 60 s; this node is started again when it can",
            id="cut-off",
        ),
        pytest.param({"up": 100, "joined": "a", "head": None, "cut_off_for": 59}, "nothing", "", id="just-cut-off"),
        pytest.param({"status": "exited", "cut_off_for": 99}, "wait", "the head does not answer", id="stays-cut-off"),
        pytest.param(
            {"status": "exited", "address": "x", "head": {**UP, "members": ["y"]}},
            "wait",
            "the head's inventory does not have this node any more",
            id="stays-dropped",
        ),
        pytest.param({"up": 100, "address": "x", "head": {**UP, "members": ["y", "x"]}}, "nothing", "", id="member"),
        pytest.param({"status": "exited", "exit_code": 1, "head": UP}, "start", "it ended with status 1", id="ended"),
        pytest.param({"status": "created", "head": UP}, "start", "it does not run", id="new"),
        pytest.param({"status": "created", "is_head": True}, "start", "it does not run", id="new-head"),
        pytest.param({"status": "exited", "head": None}, "wait", "the head does not answer", id="no-head"),
        pytest.param(
            {"status": "exited", "head": {**UP, "incarnation": ""}}, "wait", "Ray on the head is not up", id="no-ray"
        ),
        pytest.param(
            {"status": "exited", "is_head": True, "storage": "shared storage is not mounted"},
            "wait",
            "shared storage is not mounted",
            id="no-storage",
        ),
        pytest.param(
            {"status": "exited", "is_head": True, "failures": 3, "ended_for": 4.9},
            "wait",
            "Ray ended 3 times in a row, the next start is 5 s after that",
            id="again-and-again",
        ),
        pytest.param(
            {"status": "exited", "is_head": True, "failures": 99, "ended_for": 30},
            "start",
            "it ended with status 0",
            id="never-gives-up",
        ),
    ],
)
def test_what_a_node_does(view, action, reason):
    assert ray_rules.decide(ray_rules.View(**view)) == (action, reason)


LIVING, OTHER = {"address": "a", "state": "ALIVE"}, {"address": "b", "state": "ALIVE"}


@pytest.mark.parametrize(
    ("is_head", "told", "seconds"),
    [
        (True, None, 0.5),
        (True, [LIVING], 0.5),
        (True, [LIVING, {**OTHER, "state": "DEAD"}], 0.5),
        (True, [LIVING, {**OTHER, "state": "DEAD"}, OTHER], 2),
        (False, None, 0.5),
        (False, {"incarnation": ""}, 0.5),
        (False, UP, 1),
    ],
)
def test_pause(is_head, told, seconds):
    """Who waits for somebody asks more often."""
    assert ray_rules.pause(["a", "b"], is_head, told) == seconds


RUNNING = Container("1", "running", "s", 0)
ENDED = Container("1", "exited", "s", 137)
NEW = Container("2", "created", "", 0)
LACK = ["node01 (198.18.0.11): it does not answer"]


def play(*moments):
    """What a group does at moments, each (seconds, view as a dictionary): (action, phase) of each, and the group."""
    group = Group(start_timeout=100, now=0)
    done = []
    for now, view in moments:
        action = group.step(engine_rules.View(**{"container": ENDED, **view}), now)
        done.append((action, group.phase))
    return done, group


SERVES = ((0, {}), (1, {"container": RUNNING}), (40, {"container": RUNNING, "answered": True}))
# Four failed starts; the fifth is not before second 40.
FAILING = tuple((now, {}) for now in (0, 1, 2, 3, 8, 9, 19, 20))
FAILS = [("start", STARTING), ("stop", CLEARING)] * 4
GOES = [("start", STARTING), ("", STARTING), ("", SERVING)]


@pytest.mark.parametrize(
    ("view", "unknown"),
    [
        pytest.param({"joined": "a", "head": UP}, False, id="well"),
        pytest.param({"joined": "a", "head": {**UP, "incarnation": "b"}}, True, id="another-head"),
        pytest.param({"joined": "a", "head": {**UP, "incarnation": "b"}, "is_head": True}, False, id="the-head-itself"),
        pytest.param({"joined": "a", "head": UP, "unlisted_for": 2}, False, id="just-not-listed"),
        pytest.param({"joined": "a", "head": UP, "unlisted_for": 3}, True, id="given-up"),
        pytest.param({"joined": "a", "head": None}, False, id="the-head-is-silent"),
    ],
)
def test_whether_the_head_knows_this_ray(view, unknown):
    assert ray_rules.View(**view).unknown is unknown


@pytest.mark.parametrize(
    ("moments", "done", "reason"),
    [
        pytest.param(
            [(0, {"container": None})], [("", WAITING)], "there is no container onecc-vllm: deploy", id="bare"
        ),
        pytest.param([*SERVES], GOES, "", id="starts"),
        pytest.param(
            [(0, {"container": RUNNING})], [("", STARTING)], "the engine runs, an answer is awaited", id="adopted"
        ),
        pytest.param(
            [(0, {"lacks": LACK})],
            [("", WAITING)],
            "waiting for node01 (198.18.0.11): it does not answer",
            id="partial",
        ),
        pytest.param(
            [*SERVES, (50, {"container": RUNNING, "lacks": LACK})], [*GOES, ("", SERVING)], "", id="serves-all-the-same"
        ),
        pytest.param(
            [*SERVES, (50, {}), (51, {})],
            [*GOES, ("stop", CLEARING), ("start", STARTING)],
            "the engine starts, an answer is awaited",
            id="ended",
        ),
        pytest.param(
            [*SERVES, (50, {"container": RUNNING, "dead": "no completion"})],
            [*GOES, ("stop", CLEARING)],
            "no completion",
            id="hangs",
        ),
        pytest.param(
            [*SERVES, (50, {}), (51, {"left": {"x": "s"}}), (60, {"left": {"x": "s"}})],
            [*GOES, ("stop", CLEARING), ("", CLEARING), ("", WAITING)],
            "the engine ended with status 137",
            id="ranks-are-demanded",
        ),
        pytest.param(
            [
                *SERVES,
                (50, {}),
                (51, {"left": {"x": "s"}}),
                (59, {"left": {"x": "s"}}),
                (60, {"left": {"x": "s"}, "lacks": LACK}),
            ],
            [*GOES, ("stop", CLEARING), ("", CLEARING), ("", CLEARING), ("", WAITING)],
            "waiting for node01 (198.18.0.11): it does not answer",
            id="ranks-are-left",
        ),
        pytest.param(
            [(0, {}), (1, {"container": RUNNING}), (102, {"container": RUNNING})],
            [("start", STARTING), ("", STARTING), ("stop", CLEARING)],
            "the engine has not answered within 100 s",
            id="no-answer",
        ),
        pytest.param(
            [
                (0, {}),
                (1, {"container": RUNNING, "gone": LACK}),
                (21, {"container": RUNNING, "gone": LACK}),
                (22, {"container": RUNNING, "gone": LACK}),
            ],
            [("start", STARTING), ("", STARTING), ("", STARTING), ("stop", CLEARING)],
            "while the engine started: node01 (198.18.0.11): it does not answer",
            id="lost-while-starting",
        ),
        pytest.param(
            [(0, {}), *[(now, {"container": RUNNING, "lacks": LACK}) for now in (1, 50, 99)]],
            [("start", STARTING), *[("", STARTING)] * 3],
            "the engine starts, an answer is awaited",
            id="slow-nodes-do-not-stop-a-load",
        ),
        pytest.param(
            [
                (0, {}),
                *[(now, {"container": RUNNING, "unplaced": True, "head": {"x": "s"}}) for now in (1, 31, 32)],
                (33, {"head": {"x": "s"}}),
                (34, {"lacks": ["node00 (x): Ray is to be started anew"], "head": {"x": "s"}}),
                (60, {"head": {"x": "t"}}),
            ],
            [
                ("start", STARTING),
                ("", STARTING),
                ("", STARTING),
                ("stop", CLEARING),
                ("", WAITING),
                ("", WAITING),
                ("start", STARTING),
            ],
            "the engine starts, an answer is awaited",
            id="never-placed",
        ),
        pytest.param(
            [
                (0, {}),
                (1, {"container": RUNNING, "unplaced": True}),
                (20, {"container": RUNNING, "unplaced": True, "lacks": LACK}),
                (32, {"container": RUNNING, "unplaced": True}),
                (60, {"container": RUNNING, "unplaced": True}),
                (61, {"container": RUNNING}),
                (99, {"container": RUNNING, "unplaced": True}),
            ],
            [("start", STARTING), *[("", STARTING)] * 6],
            "the engine starts, an answer is awaited",
            id="placed-in-time",
        ),
        pytest.param(
            [(0, {"container": RUNNING}), (1, {"container": RUNNING, "hangs": "no completion"})],
            [("", STARTING), ("stop", CLEARING)],
            "no completion",
            id="adopted-and-hangs",
        ),
        pytest.param(
            [(0, {}), (1, {"container": RUNNING, "hangs": "no completion"})],
            [("start", STARTING), ("", STARTING)],
            "the engine starts, an answer is awaited",
            id="the-first-completion-may-compile",
        ),
        pytest.param(
            [(0, {"left": {"x": "s"}}), (1, {})],
            [("", CLEARING), ("start", STARTING)],
            "the engine starts, an answer is awaited",
            id="ranks-of-an-older-engine",
        ),
        pytest.param(
            [(0, {}), (1, {}), (2, {}), (3, {}), (4, {}), (8, {})],
            [
                ("start", STARTING),
                ("stop", CLEARING),
                ("start", STARTING),
                ("stop", CLEARING),
                ("", WAITING),
                ("start", STARTING),
            ],
            "the engine starts, an answer is awaited",
            id="backs-off",
        ),
        pytest.param(
            [*FAILING, (21, {"lacks": LACK}), (31, {"lacks": LACK}), (32, {})],
            [*FAILS, ("", WAITING), ("", WAITING), ("start", STARTING)],
            "the engine starts, an answer is awaited",
            id="what-was-missing-is-back",
        ),
        pytest.param(
            [*FAILING, (21, {"lacks": LACK}), (22, {})],
            [*FAILS, ("", WAITING), ("", WAITING)],
            "the engine failed 4 times in a row, the next start is in 19 s: the engine ended with status 137",
            id="a-moment-is-no-excuse",
        ),
        pytest.param(
            [(0, {}), (1, {}), (2, {}), (3, {}), (4, {"container": NEW})],
            [("start", STARTING), ("stop", CLEARING), ("start", STARTING), ("stop", CLEARING), ("start", STARTING)],
            "the engine starts, an answer is awaited",
            id="another-deployment",
        ),
    ],
)
def test_what_the_head_does(moments, done, reason):
    seen, group = play(*moments)
    assert seen == done
    assert group.reason == reason


@pytest.mark.parametrize(
    ("ranks", "reason"),
    [
        ({"198.18.0.10": 8, "198.18.0.11": 8}, ""),
        ({"198.18.0.10": 8, "198.18.0.11": 7}, "1 of 8 ranks on 198.18.0.11 are gone"),
        # A node that does not answer is judged by the completions.
        ({"198.18.0.10": 8}, ""),
    ],
)
def test_lost_ranks(ranks, reason):
    _done, group = play(
        *SERVES[:2],
        (40, {"container": RUNNING, "answered": True, "ranks": {"198.18.0.10": 8, "198.18.0.11": 8}}),
        (50, {"container": RUNNING, "answered": True, "ranks": ranks}),
        (51.9, {"container": RUNNING, "answered": True, "ranks": ranks}),
    )
    assert group.reason == ""
    group.step(engine_rules.View(container=RUNNING, answered=True, ranks=ranks), 52)
    assert group.reason == reason


def test_ranks_are_counted_more_than_once():
    """A process that is just being forked is none."""
    _done, group = play(
        *SERVES[:2],
        (40, {"container": RUNNING, "answered": True, "ranks": {"198.18.0.10": 9}}),
        *[(now, {"container": RUNNING, "answered": True, "ranks": {"198.18.0.10": 8}}) for now in (41, 50, 60)],
    )
    assert group.reason == ""


def test_failed_starts_are_counted_until_it_serves():
    _done, group = play((0, {}), (1, {}), (2, {}), (3, {}))
    assert (group.failed_starts, group.history[-1][1]) == (2, "the engine ended with status 137")
    _done, group = play((0, {}), (1, {}), *[(now + 2, view) for now, view in SERVES], (60, {}))
    assert group.failed_starts == 0


def test_ranks_that_are_left_are_named_to_their_nodes():
    _done, group = play(*SERVES, (50, {}), (60, {"left": {"198.18.0.11": "s"}}))
    assert group.demands == {"198.18.0.11": "s"}


NODE00 = {"name": "node00", "address": "198.18.0.10", "gpus": 1}
NODE01 = {"name": "node01", "address": "198.18.0.11", "gpus": 1}


def ray(address, state="ALIVE"):
    return {"address": address, "state": state, "state_message": "", "ended_ms": 0, "gpus_total": 1}


ALIVE = [ray("198.18.0.10"), ray("198.18.0.11")]
HERE = {"ray": "running", "storage": "", "reason": "", "started_at": "s", "ranks": 0}


@pytest.mark.parametrize(
    ("head", "worker", "demands", "lines"),
    [
        pytest.param({"nodes": ALIVE}, {}, {}, [], id="whole"),
        pytest.param({"nodes": ALIVE}, None, {}, LACK, id="silent"),
        pytest.param({"nodes": ALIVE[:1]}, None, {}, LACK, id="silent-and-gone-is-said-once"),
        pytest.param(
            {"nodes": ALIVE},
            {"storage": "shared storage is not mounted: /s is not there"},
            {},
            ["node01 (198.18.0.11): shared storage is not mounted: /s is not there"],
            id="storage",
        ),
        pytest.param(
            {"nodes": ALIVE},
            {"ray": "down", "reason": "raylet is gone"},
            {},
            ["node01 (198.18.0.11): Ray is not up: raylet is gone"],
            id="ray-down",
        ),
        pytest.param(
            {"nodes": ALIVE[:1]},
            {},
            {},
            ["node01 (198.18.0.11): no living Ray node has this address; it never joined"],
            id="not-joined",
        ),
        pytest.param(
            {"nodes": [*ALIVE, ALIVE[1]]},
            {},
            {},
            [],
            id="back-before-ray-gave-it-up",
        ),
        pytest.param(
            {"nodes": ALIVE},
            {},
            {"198.18.0.11": "s"},
            ["node01 (198.18.0.11): Ray is to be started anew"],
            id="demanded",
        ),
        pytest.param({"nodes": ALIVE}, {}, {"198.18.0.11": "older"}, [], id="demand-met"),
        pytest.param(
            {"nodes": None, "nodes_error": "refused"}, {}, {}, ["Ray on the head: refused"], id="dashboard-down"
        ),
    ],
)
def test_what_the_cluster_lacks(head, worker, demands, lines):
    here = {**HERE, "nodes_error": "", **head}
    nodes = {"198.18.0.10": here, "198.18.0.11": None if worker is None else {**HERE, **worker}}
    assert lacks([NODE00, NODE01], here, nodes, demands) == lines


@pytest.mark.parametrize(
    ("events", "now", "dead"),
    [
        pytest.param([], 100, "", id="not-asked"),
        pytest.param([("asks", 0)], 14, "", id="asked"),
        pytest.param([("counts", 7, 0), ("asks", 1)], 15, "", id="not-long-enough"),
        pytest.param(
            [("counts", 7, 0), ("asks", 1)], 16, "no completion within 15 s, and no progress for 15 s", id="hangs"
        ),
        pytest.param([("asks", 0)], 119, "", id="does-not-count"),
        pytest.param(
            [("asks", 0)], 120, "no completion within 120 s, and no progress for 120 s", id="does-not-count-and-hangs"
        ),
        pytest.param([("asks", 0), ("gives_up",), ("asks", 121), ("gives_up",)], 242, "", id="a-long-queue"),
        pytest.param(
            [("asks", 0), ("counts", 7, 3), ("counts", 7, 14)],
            15,
            "no completion within 15 s, and no progress for 12 s",
            id="stands-still",
        ),
        pytest.param([("asks", 0), ("counts", 7, 3), ("counts", 9, 14)], 20, "", id="busy"),
        pytest.param([("asks", 0), ("answers", 1), ("asks", 6)], 20, "", id="answered"),
        pytest.param([("asks", 0), ("fails", "500")], 1, "", id="one-error"),
        pytest.param(
            [("asks", 0), ("fails", "500"), ("asks", 1), ("fails", "500")], 2, "completions fail: 500", id="two-errors"
        ),
        pytest.param(
            [("asks", 0), ("fails", "500"), ("asks", 1), ("answers", 2), ("asks", 7), ("fails", "500")],
            8,
            "",
            id="an-answer-between",
        ),
    ],
)
def test_verdict(events, now, dead):
    verdict = Verdict(timeout=15)
    for name, *values in events:
        getattr(verdict, name)(*values)
    assert verdict.dead(now) == dead


def test_progress(capture):
    """Prompt tokens, generated tokens and steps."""
    assert progress(capture("vllm/metrics.txt")) == 2048 + 1140 + 334
    assert progress("") is None


def test_the_programs_run_as_one_file(tmp_path):
    """Packed twice they are the same bytes, and all that they import of this collection is in them."""
    packed = supervisor.programs()
    assert packed == supervisor.programs()
    path = tmp_path / "supervisor.pyz"
    path.write_bytes(packed)
    done = subprocess.run(
        [sys.executable, path, "other", "x"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "invalid choice: 'other'" in done.stderr
    spec = tmp_path / "onecc-ray.json"
    spec.write_text(json.dumps({"env": {"PATH": os.environ["PATH"], "RAY_AUTH_MODE": "token"}}))
    words = [sys.executable, path, "exec", spec, "sh", "-c", "echo $RAY_AUTH_MODE"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "token\n", "a command beside a process that runs without a container"


def test_the_keeper_runs_from_that_file(tmp_path):
    """The parent of a process that runs without a container, as the programs start it."""
    path = tmp_path / "supervisor.pyz"
    path.write_bytes(supervisor.programs())
    spec = {"argv": ["sleep", "1000"], "env": {"PATH": os.environ["PATH"]}, "log_size": 1, "log_files": 1}
    (tmp_path / "onecc-ray.json").write_text(json.dumps(dict(spec, log=str(tmp_path / "log"))))
    program = "import sys; sys.path.insert(0, sys.argv[1]); from onecc.supervisor.processes import Processes;"
    program += "processes = Processes(*sys.argv[2:]); %s"
    run = [str(path), str(tmp_path), str(tmp_path / "run")]

    def python(what):
        words = [sys.executable, "-c", program % what, *run]
        return subprocess.run(words, cwd="/", capture_output=True, text=True, check=True).stdout.strip()

    python("processes.start('onecc-ray')")
    # Another release takes its place.
    path.write_bytes(b"")
    path.write_bytes(supervisor.programs())
    assert python("print(processes.get('onecc-ray').running)") == "True"
    python("processes.stop('onecc-ray', 5)")
    assert python("print(processes.get('onecc-ray').exit_code)") == "143"


def test_ray_that_places_nothing_is_started_anew():
    """On the head, which has the others follow; told once."""
    unplaced = [(now, {"container": RUNNING, "unplaced": True, "head": {"x": "s"}}) for now in (1, 31, 32)]
    _done, group = play((0, {}), *unplaced)
    assert group.reason == "Ray has not placed the engine for 30 s, though it has every node"
    group.step(engine_rules.View(container=ENDED, head={"x": "s"}), 33)
    assert group.demands == {"x": "s"}
    _done, group = play((0, {}), *unplaced, (33, {}), (34, {}), (35, {}), (40, {}))
    assert group.demands == {}
