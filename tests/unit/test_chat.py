# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions to an endpoint: the openai client on what vLLM 0.32.0 answered in the lab."""

from __future__ import annotations

import itertools
import json

import openai
import pytest

from ansible_collections.onecc.vllm.plugins.module_utils.chat import ask, choose
from ansible_collections.onecc.vllm.plugins.module_utils.errors import OneccError

URL = "http://127.0.0.1:8000/v1"
MESSAGES = [{"role": "user", "content": "Where was the 2020 World Series played?"}]
OPTIONS = {"max_tokens": 25, "temperature": 0, "seed": 7}
ANSWER = "The 2020 World Series was played in the United States, specifically in New York City, New York."


@pytest.fixture
def question(replay):
    """Asks an endpoint that answers with the given body; gives the result and the request's body."""

    def ask_it(body, kind, stream):
        endpoint = replay({"/v1/chat/completions": (200, kind, body.encode())})
        # Each look at this clock takes a second.
        clock = itertools.count(100.0)
        with openai.OpenAI(base_url=endpoint.url + "/v1", api_key="key", max_retries=0) as client:
            result = ask(client, "smol", MESSAGES, OPTIONS, stream, now=clock.__next__)
        (request,) = endpoint.requests
        assert request["headers"]["Authorization"] == "Bearer key"
        return result, json.loads(request["body"])

    return ask_it


def test_ask(question, capture):
    captured = capture("openai/chat_completion.json")
    result, request = question(json.dumps(captured), "application/json", stream=False)
    assert request == dict(OPTIONS, model="smol", messages=MESSAGES)
    assert result.pop("completion_text").startswith("ChatCompletion(id='chatcmpl-a459554fcb648494'")
    completion = result.pop("completion")
    assert completion["choices"][0]["message"] == {"role": "assistant", "content": ANSWER}
    assert completion["usage"] == result["usage"]
    assert result == {
        "answer": ANSWER,
        "finish_reason": "stop",
        "usage": {"prompt_tokens": 42, "total_tokens": 67, "completion_tokens": 25},
        "latency_s": 1.0,
    }


def test_ask_in_pieces(question, capture):
    result, request = question(capture("openai/chat_stream.sse"), "text/event-stream", stream=True)
    asked = dict(OPTIONS, model="smol", messages=MESSAGES, stream=True, stream_options={"include_usage": True})
    assert request == asked
    assert result == {
        "answer": "The 2020 World Series was played in the",
        "finish_reason": "length",
        "usage": {"prompt_tokens": 42, "total_tokens": 54, "completion_tokens": 12},
        "first_token_s": 1.0,
        "latency_s": 2.0,
    }


def test_no_content_and_no_usage(question, capture):
    captured = dict(capture("openai/chat_completion.json"), usage=None)
    captured["choices"][0]["message"]["content"] = None
    result = question(json.dumps(captured), "application/json", stream=False)[0]
    assert (result["answer"], result["usage"]) == ("", {})


def test_no_content_in_pieces(question, capture):
    events = capture("openai/chat_stream.sse").split("\n\n")
    result = question("\n\n".join([events[0], *events[-2:]]), "text/event-stream", stream=True)[0]
    assert result == {"answer": "", "finish_reason": None, "usage": {}, "first_token_s": None, "latency_s": 1.0}


@pytest.mark.parametrize(
    ("models", "wanted", "chosen"),
    [
        pytest.param(["a"], "", "a", id="the-only-one"),
        pytest.param(["a"], None, "a", id="the-only-one-none-wanted"),
        pytest.param(["a", "b"], "b", "b", id="the-wanted-one"),
    ],
)
def test_choose(models, wanted, chosen):
    assert choose(models, wanted, URL) == chosen


@pytest.mark.parametrize(
    ("models", "wanted", "text"),
    [
        pytest.param(["a", "b"], "c", "the model c, found a, b. Name one that the endpoint lists.", id="not-served"),
        pytest.param([], "c", "the model c, found no model. Name one that the endpoint lists.", id="none-served"),
        pytest.param(["a", "b"], "", "one model, found a, b. Say which with the option model.", id="which"),
        pytest.param([], "", "one model, found none. Say which with the option model.", id="nothing-there"),
    ],
)
def test_choose_refuses(models, wanted, text):
    with pytest.raises(OneccError) as caught:
        choose(models, wanted, URL)
    assert str(caught.value) == "%s: expected %s" % (URL, text)
