# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the faults are judged by: answers, records, limits, the table, and the death of a controller."""

from __future__ import annotations

import http.server
import json
import math
import re
import subprocess
import sys
import time
import types

import openai
import pytest

import controller
import faults
import greedy
import load
import records
import scene
from load import FAILED, OTHER, RIGHT, WRONG, Answer, Look


@pytest.mark.parametrize(
    ("text", "finish_reason", "tokens", "known", "outcome"),
    [
        ("Paris.", "stop", 3, {"Paris."}, RIGHT),
        ("Paris.", "length", 48, {"Paris.", "It is Paris."}, RIGHT),
        ("Paris.", "length", 3, {"Paris."}, WRONG),
        ("Paris.", "stop", 3, None, RIGHT),
        ("Rome.", "stop", 3, {"Paris."}, OTHER),
        ("Paris.", "abort", 3, {"Paris."}, WRONG),
        ("Paris.", None, 3, {"Paris."}, WRONG),
        ("", "stop", 3, {"Paris."}, WRONG),
        (None, "stop", 3, {"Paris."}, WRONG),
        ("Paris.", "stop", 0, {"Paris."}, WRONG),
        ("Paris.", "stop", None, {"Paris."}, WRONG),
    ],
)
def test_judge(text, finish_reason, tokens, known, outcome):
    assert load.judge(text, finish_reason, tokens, known)[0] == outcome


def whole(text="Paris.", finish_reason="stop"):
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
    return {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


def piece(text=None, finish_reason=None, usage=None):
    choices = [] if usage else [{"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}]
    chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices}
    return {**chunk, "usage": usage and {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}}


def events(*pieces):
    return "".join("data: %s\n\n" % (each if isinstance(each, str) else json.dumps(each)) for each in pieces)


GOOD_STREAM = (piece("Par"), piece("is."), piece("", "stop"), piece(usage=True), "[DONE]")


@pytest.mark.parametrize(
    ("streamed", "status", "body", "cut", "outcome"),
    [
        (False, 200, json.dumps(whole()), 0, RIGHT),
        (False, 200, json.dumps(whole("Rome.")), 0, OTHER),
        (False, 200, json.dumps(whole(finish_reason="abort")), 0, WRONG),
        (False, 200, json.dumps({**whole(), "choices": []}), 0, WRONG),
        (False, 200, json.dumps(whole()), 9, FAILED),
        (False, 500, '{"error": {"message": "the engine is dead"}}', 0, FAILED),
        (True, 200, events(*GOOD_STREAM), 0, RIGHT),
        (True, 200, events(*GOOD_STREAM[:2]), 0, WRONG),
        (True, 200, events(*GOOD_STREAM[:2], "[DONE]"), 0, WRONG),
        (True, 200, events(*GOOD_STREAM[:3], "[DONE]"), 0, WRONG),
        (True, 200, events(*GOOD_STREAM[:2], {"error": {"message": "the engine is dead"}}), 0, FAILED),
        (True, 200, events(*GOOD_STREAM[:2]), 9, FAILED),
        (True, 503, "", 0, FAILED),
    ],
)
def test_a_request(serve, streamed, status, body, cut, outcome):
    """By the real client. With cut the connection ends so many bytes before the length that was promised."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Type", "text/event-stream" if streamed else "application/json")
            self.send_header("Content-Length", str(len(body) + cut))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *args):
            """Says nothing."""

    clients = load.Load(serve(Handler) + "/v1", "m", "key")
    clients.known = {"?": {"Paris."}}
    with openai.OpenAI(base_url=clients.endpoint, api_key="none", timeout=5, max_retries=0) as client:
        answer = clients.ask(client, "?", streamed)
    assert answer.outcome == outcome, answer.why


def test_nobody_answers(nobody):
    clients = load.Load(nobody + "/v1", "m", "key")
    with openai.OpenAI(base_url=clients.endpoint, api_key="none", timeout=5, max_retries=0) as client:
        assert clients.ask(client, "?", False).outcome == FAILED
    look = load.Watch(nobody + "/ready").look()
    assert (look.ready, look.reason) == (False, "/ready: ConnectionError")


@pytest.mark.parametrize(("status", "ready"), [(200, True), (503, False)])
def test_a_look(replay, status, ready):
    server = replay({"/ready": (status, "application/json", b'{"ready": true, "reason": "so"}')})
    look = load.Watch(server.url + "/ready").look()
    assert (look.ready, look.reason) == (ready, "so")


def test_the_load_goes_on_until_it_is_stopped(replay, until):
    """Every client asks; what it has learned is right."""
    body = json.dumps(whole()).encode()
    server = replay({"/v1/chat/completions": (200, "application/json", body)})
    clients = load.Load(server.url + "/v1", "m", "key")
    clients.start()
    until(lambda: len(clients.answers) >= 2 * load.CLIENTS)
    clients.stop()
    asked = [json.loads(request["body"]) for request in server.requests]
    assert {request["messages"][0]["content"] for request in asked} == set(load.PROMPTS)
    assert {bool(request.get("stream")) for request in asked} == {True, False}
    clients.learn()
    assert set().union(*clients.known.values()) == {"Paris."}


def place(*likeliest):
    """As in logprobs.content: the token that was taken is the likeliest."""
    top = [types.SimpleNamespace(token=token, logprob=logprob) for token, logprob in likeliest]
    return types.SimpleNamespace(token=top[0].token, logprob=top[0].logprob, top_logprobs=top)


# As the lab's model answered, with the likeliest tokens of each place.
PARIS = {
    "": [
        place((" Paris", -0.049), (" L", -4.674)),
        place((".", -0.587), (",", -0.837)),
        place(("<|im_end|>", -0.232), (" It", -3.295), (" Paris", -3.795)),
    ],
    " Paris,": [place((" France", -0.5), (" the", -1.5)), place(("<|im_end|>", -0.1), (".", -0.3))],
    " L": [place(("yon", -0.3), ("ille", -2.0)), place((".", -0.1)), place(("<|im_end|>", -0.1))],
    " Paris, France.": [],
    " Paris. It": [place((" is", -0.1))],
    " Paris. It is": [place((" big", -0.1))],
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" Paris.<|im_end|>", 0.0),
        (" Paris.", 0.0),
        (" Paris, France<|im_end|>", 0.25),
        (" Paris, the", 1.0),
        (" Lyon.<|im_end|>", 4.625),
        (" Paris. It is", 3.063),
        # It ends too early, at a place where the engine would not have ended it.
        (" Paris<|im_end|>", math.inf),
        (" Rome.<|im_end|>", math.inf),
        (" Paris.<|im_end|> or Rome", math.inf),
        # The engine says nothing more.
        (" Paris, France. Or", math.inf),
    ],
)
def test_gap(text, expected):
    assert greedy.gap(PARIS.get, text) == expected


@pytest.mark.parametrize(
    ("gap", "wrong"), [(0.0, 1), (greedy.TIE, 1), (greedy.TIE + 0.01, 3), (math.inf, 3), (None, 3)]
)
def test_other_texts_are_near_ties_or_wrong(gap, wrong):
    others = records.others([*good(1), Answer(1, 2, OTHER, "?", "Rome", "", "stop"), Answer(1, 2, OTHER, "!")])
    record = {"wrong_answers": 1, "other_texts": others}
    asked = []
    records.judge_others(record, lambda *answer: asked.append(answer) or gap)
    assert record["wrong_answers"] == wrong
    assert asked == [("?", "Rome", "stop"), ("!", "", "")]
    assert [other["gap"] for other in others] == [gap, gap]


def good(*ends):
    return [Answer(end - 1, end, RIGHT) for end in ends]


def yes(*moments):
    return [Look(at, True) for at in moments]


def no(*moments, reason="waiting for node01 (198.18.0.11): it does not answer"):
    return [Look(at, False, reason) for at in moments]


FAILURE = Answer(101, 102, FAILED, why="APIConnectionError: gone")


@pytest.mark.parametrize(
    ("looks", "answers", "back", "settled", "expected"),
    [
        pytest.param(
            [*yes(99, 101), *no(103, 104), *yes(130)],
            [*good(99, 100.5), FAILURE, *good(131, 132, 133)],
            100,
            140,
            {"detect_s": 3.0, "recover_s": 28.0, "served_after_s": 31.0, "failed_requests": 1, "answered": 4},
            id="a-process",
        ),
        pytest.param(
            [*yes(101), *no(110), *yes(190)],
            [FAILURE, *good(191, 192)],
            180,
            200,
            {"detect_s": 10.0, "back_s": 80.0, "recover_s": 11.0, "served_after_s": 91.0, "waiting_named": True},
            id="counted-from-the-moment-it-is-back",
        ),
        pytest.param(
            yes(101, 120, 140),
            good(101, 111, 121),
            110,
            140,
            {"detect_s": None, "recover_s": 0.0, "failed_requests": 0, "waiting_named": False},
            id="never-noticed-by-anybody",
        ),
        pytest.param(
            [*no(101), *yes(130)],
            [*good(102), Answer(103, 104, FAILED), *good(131)],
            100,
            140,
            {"detect_s": 1.0, "recover_s": 30.0},
            id="answers-of-an-engine-that-is-about-to-end",
        ),
        pytest.param(
            [*no(101), *yes(110)],
            [Answer(101, 131, FAILED), *good(112)],
            100,
            140,
            {"recover_s": 11.0, "failed_requests": 1},
            id="a-request-of-before-that-hangs-on",
        ),
        pytest.param(
            no(101, 400),
            [FAILURE],
            100,
            None,
            {"recover_s": None, "served_after_s": None, "served_again": False},
            id="never-again",
        ),
        pytest.param(
            [*no(101), *yes(110)],
            [Answer(101, 103, WRONG, "?", "Par", "cut"), Answer(111, 112, OTHER, "?", "Rome.", "", "stop"), *good(113)],
            100,
            140,
            {
                "wrong_answers": 1,
                "other_texts": [{"prompt": "?", "text": "Rome.", "finish_reason": "stop"}],
                "answered": 1,
            },
            id="wrong-ones",
        ),
    ],
)
def test_assess(looks, answers, back, settled, expected):
    found = records.assess(looks, answers, 100, back, settled, "waiting for .*node01")
    assert {key: found[key] for key in expected} == expected


def test_reasons_are_told_once_each():
    looks = [
        Look(1, False, "the next start is in 5 s: x"),
        Look(2, False, "the next start is in 4 s: x"),
        Look(3, True),
    ]
    assert records.reasons_in([*looks, Look(4, False, "y")]) == ["the next start is in N s: x", "y"]


@pytest.mark.parametrize(
    ("looks", "answers", "expected"),
    [
        (yes(1, 2), good(1, 2), True),
        ([], good(1, 2), False),
        (yes(1, 2), good(1), False),
        ([*yes(1), *no(2)], good(1, 2), False),
        ([*no(0), *yes(1)], [Answer(-1, 0, FAILED), *good(1, 2)], True),
        (yes(1, 2), [*good(1, 2), FAILURE], False),
    ],
)
def test_calm(looks, answers, expected):
    assert records.calm(looks, answers, since=1, enough=2) is expected


RECORD = {
    "name": "rank-stopped",
    "kind": "silent",
    "detect_s": 12.0,
    "back_s": 0.0,
    "recover_s": 40.0,
    "served_after_s": 52.0,
    "failed_requests": 9,
    "wrong_answers": 0,
    "answered": 20,
    "served_again": True,
    "waiting_named": None,
    "lost": [],
    "wrong": [],
    "other_texts": [],
    "problems": [],
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, []),
        ({"recover_s": 45.0}, []),
        ({"recover_s": 45.1}, ["within 45.0 s (1.5 plain starts), found 45.1 s"]),
        ({"detect_s": 30.0}, []),
        ({"detect_s": 30.1}, ["say no within 30 s, found 30.1 s"]),
        ({"kind": "process", "detect_s": 20.1}, ["say no within 20 s, found 20.1 s"]),
        ({"kind": "controller", "detect_s": 500.0}, []),
        ({"detect_s": None, "failed_requests": 0}, []),
        ({"detect_s": None}, ["found 9 failed requests and it never did"]),
        ({"wrong_answers": 1, "wrong": [{"why": "no end", "text": "Pa"}]}, ["no wrong answer, found 1: no end: 'Pa'"]),
        ({"served_again": False, "recover_s": None}, ["within 300 s, found it was not"]),
        ({"lost": ["a", "b"]}, ["nothing lost, found a", "nothing lost, found b"]),
        ({"problems": ["no such process"]}, ["no such process"]),
    ],
)
def test_limits(change, words):
    lines = records.broken({**RECORD, **change}, plain_start_s=30.0)
    assert len(lines) == len(words)
    for line, word in zip(lines, words, strict=True):
        assert line.startswith("rank-stopped: ")
        assert word in line


def test_the_limit_of_recovery_needs_a_plain_start():
    slow = {**RECORD, "recover_s": 1000.0}
    assert records.broken(slow) == []
    assert len(records.broken(slow, plain_start_s=30.0)) == 1


def test_table():
    lines = records.table([RECORD, {**RECORD, "name": "power-cut", "served_again": False, "detect_s": None}]).split(
        "\n"
    )
    assert lines[0].split() == [title for title, _width, _key in records.COLUMNS]
    assert " ".join(lines[1].split()) == "rank-stopped silent 12.0 0.0 40.0 52.0 9 0 20 yes - 0"
    assert " ".join(lines[2].split()) == "power-cut silent - 0.0 40.0 52.0 9 0 20 NO - 0"
    assert {line.index("silent") for line in lines[1:]} == {lines[0].index("KIND")}


def test_page():
    details = [{"seed": 1, "killed": True}, {"seed": 2, "killed": False}]
    result = {
        "date": "2026-11-23T19:00:00+00:00",
        "cores": 2,
        "versions": {"vllm": "0.32.0", "commit": "0123456"},
        "plain_start_s": 30.0,
        "plain_starts_s": [29.0, 30.0, 31.0],
        "faults": [{**RECORD, "details": details}, {**RECORD, "name": "power-cut", "details": ["KILL on node01"]}],
        "broken": ["power-cut: expected less"],
        "requests": {"right": 1, "failed": 2, "wrong_answers": 0, "other_texts": []},
    }
    text = records.page(result)
    assert "commit `0123456`: vllm 0.32.0; two nodes on 2 cores" in text
    assert "| rank-stopped | 12.0 | 0.0 | 40.0 | 52.0 | 9 | 0 | 20 | yes | 0 |" in text
    assert "**30.0 s** in the same run (median of 29.0, 30.0, 31.0)" in text
    assert "| seed | killed |\n| --- | --- |\n| 1 | yes |\n| 2 | NO |" in text
    assert text.count("one line for each time") == 1
    assert "1 right, 2 failed with an error, 0 wrong" in text
    assert text.endswith("Limits that were not kept:\n- power-cut: expected less\n")
    result["requests"]["other_texts"] = [{}, {"gap": 0.0}, {"gap": 0.125}]
    assert "3 answers were complete, and not word for word" in records.page(result)
    assert "at most 0.125 nats apart" in records.page(result)
    assert records.page({**result, "broken": []}).endswith("Limits that were not kept: none.\n")


STATUS = """======== Autoscaler status: 2026-11-23 11:22:10.797490 ========
Node status
---------------------------------------------------------------
Active:
 1 node_1a
%sPending:
 (no pending nodes)
Recent failures:
 (no failures)

Resources
---------------------------------------------------------------
Total Usage:
 2.0/2.0 CPU
 %s GPU (2.0 used of 2.0 reserved in placement groups)
"""


@pytest.mark.parametrize(
    ("more", "gpus", "expected"),
    [
        (" 1 node_2b\n", "2.0/2.0", []),
        ("Idle:\n 1 node_2b\n", "0.0/2.0", []),
        ("", "1.0/1.0", ["1 nodes alive in Ray instead of 2", "1 GPUs in Ray instead of 2"]),
        (" 1 node_2b\n 1 node_2c\n", "2.0/3.0", ["3 nodes alive in Ray instead of 2", "3 GPUs in Ray instead of 2"]),
    ],
)
def test_lost_in_ray(more, gpus, expected):
    assert records.lost_in_ray(STATUS % (more, gpus), 2) == expected


def test_lost_containers():
    before = {"node00": {"onecc-ray": ("1", "x"), "onecc-vllm": ("2", "x")}}
    assert records.lost_containers(before, {"node00": {"onecc-ray": ("1", "y"), "onecc-vllm": ("2", "y")}}) == []
    after = {"node00": {"onecc-vllm": ("3", "y")}}
    gone, new = "container onecc-ray of node00 is gone", "container onecc-vllm of node00 is another one"
    assert records.lost_containers(before, after) == [gone, new]
    assert records.lost_containers(before, after, same_ids=False) == [gone]


@pytest.mark.parametrize(
    ("process", "title", "matches"),
    [
        ("rank", "ray::RayWorkerProc.run", True),
        ("rank", "ray::RayWorkerWrapper", True),
        ("rank", "ray::IDLE_SpillWorker", False),
        ("rank", "ray::IDLE", False),
        ("engine core", "VLLM::EngineCore", True),
        ("API server", "/opt/vllm/bin/python3 /opt/vllm/bin/vllm serve /models/x --port 8000", True),
        ("API server", "sh -c /opt/vllm/bin/vllm serve /models/x", False),
        ("raylet", "/opt/vllm/ray/core/src/ray/raylet/raylet --raylet_socket_name=/tmp/ray/s", True),
        ("raylet", "/opt/vllm/bin/python -u agent.py --raylet-name=/ray/raylet/raylet x", False),
        ("gcs", "/opt/vllm/ray/core/src/ray/gcs/gcs_server --log_dir=/tmp", True),
        ("runtime env agent", "ray::RuntimeEnvAgent", True),
        # A raylet has the agent's command among its arguments.
        ("runtime env agent", "/ray/raylet/raylet --runtime_env_agent_command=runtime_env/agent/main.py", False),
    ],
)
def test_titles(process, title, matches):
    assert bool(re.search(faults.PROCESSES[process], title)) is matches


def test_faults_are_known_by_name():
    names = [fault.name for fault in faults.FAULTS]
    assert len(set(names)) == len(names)
    assert set(faults.SHORT) <= set(names)
    assert {fault.kind for fault in faults.FAULTS} <= set(records.DETECT)
    assert all(fault.named for fault in faults.FAULTS if fault.must_name)


def test_until():
    found = iter([0, 0, "there"])
    assert scene.until(lambda: next(found), 60, interval=0) == "there"
    assert scene.until(lambda: False, 0, interval=0) is False


TASKS = """
import subprocess, sys, time
for number in range(1, 4):
    print("TASK [%d]" % number, flush=True)
    if number == 2:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
        print("child", child.pid, flush=True)
        print("TASK [3]", flush=True)
        time.sleep(600)
"""


def test_a_controller_dies_with_all_that_it_has_started(tmp_path, until):
    note = tmp_path / "pids"
    script = TASKS.replace('print("child", child.pid, flush=True)', "open(%r, 'w').write(str(child.pid))" % str(note))
    start = time.monotonic()
    assert controller.killed_at([sys.executable, "-c", script], 3, seconds=60) == (3, True)
    assert time.monotonic() - start < 60
    pid = note.read_text()
    # A zombie until somebody has asked for its status.
    until(
        lambda: (
            subprocess.run(
                ["ps", "-o", "stat=", "-p", pid], capture_output=True, text=True, check=False
            ).stdout.strip()[:1]
            in ("", "Z")
        )
    )


def test_a_controller_that_ends_before_is_left_alone():
    script = "print('TASK [1]'); print('PLAY RECAP ***')"
    assert controller.killed_at([sys.executable, "-c", script], 2, seconds=60) == (1, False)


def test_settings_keep_what_the_lab_has():
    assert controller.settings(7) == {"vllm_serve_args": {"enforce-eager": True, "max-model-len": 1007}}


def test_first_served():
    assert records.first_served([], 0) is None
    assert math.isclose(records.first_served(good(1, 5, 6), 2), 5)
