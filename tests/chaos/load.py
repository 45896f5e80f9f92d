# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A steady load of requests, each answer judged, and a look at /ready five times a second."""

import concurrent.futures
import dataclasses
import functools
import itertools
import threading
import time

import openai
import requests

CLIENTS = 4
# Seconds from one request of a client to its next, at least.
PACE = 0.5
TIMEOUT = 30
MAX_TOKENS = 48
# An odd number, so that each client asks each of them streamed and not. To each of these the lab's model gave the same
# answer hundreds of times; where two words are nearly as likely, it depends on what is computed beside it.
PROMPTS = ("What is the capital of France?", "Why is the sky blue?", "How many days does a week have?")
# How a request ended. Both of the first are complete; WRONG is an answer that looks whole to a client and is not.
RIGHT, OTHER, WRONG, FAILED = "right", "other text", "wrong", "failed"
COMPLETE = (RIGHT, OTHER)


@dataclasses.dataclass(frozen=True)
class Answer:
    """A request and how it ended. Moments are those of time.monotonic()."""

    start: float
    end: float
    outcome: str
    prompt: str = ""
    text: str = ""
    why: str = ""
    finish_reason: str = ""


@dataclasses.dataclass(frozen=True)
class Look:
    """What /ready said."""

    at: float
    ready: bool
    reason: str = ""


def judge(text, finish_reason, tokens, known):
    """What an answer that came without an error is worth.

    :param known: the texts that the healthy system gave for this prompt, None before they are known
    :return: outcome, and why
    """
    if finish_reason not in ("stop", "length"):
        return WRONG, "finish_reason is %r" % finish_reason
    if not text:
        return WRONG, "the text is empty"
    if not tokens:
        return WRONG, "no tokens are counted"
    if finish_reason == "length" and tokens != MAX_TOKENS:
        return WRONG, "it ends at its greatest length of %d tokens with %d" % (MAX_TOKENS, tokens)
    if known is not None and text not in known:
        return OTHER, "the text was not given before the faults"
    return RIGHT, ""


def receive(client, model, prompt, streamed):
    """Asks once. Text, finish_reason and number of tokens, None for what did not come."""
    request = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "temperature": 0,
        "max_tokens": MAX_TOKENS,
    }
    if not streamed:
        answer = client.chat.completions.create(**request)
        choice = answer.choices[0] if answer.choices else None
        text = choice.message.content if choice else ""
        return text, choice and choice.finish_reason, answer.usage and answer.usage.completion_tokens
    text, finish_reason, tokens = "", None, None
    with client.chat.completions.create(stream=True, stream_options={"include_usage": True}, **request) as chunks:
        for chunk in chunks:
            if chunk.usage:
                tokens = chunk.usage.completion_tokens
            for choice in chunk.choices:
                text += choice.delta.content or ""
                finish_reason = choice.finish_reason or finish_reason
    return text, finish_reason, tokens


class Threads:
    """Functions that run until their event is set, by stop(), which tells if one of them did not."""

    def __init__(self, *functions):
        self.ended = threading.Event()
        self.pool = concurrent.futures.ThreadPoolExecutor(len(functions))
        self.running = [self.pool.submit(function, self.ended) for function in functions]

    def stop(self):
        self.ended.set()
        self.pool.shutdown()
        for thread in self.running:
            thread.result()


class Load:
    """Clients that ask the prompts in turn, every second time streamed."""

    def __init__(self, endpoint, model, key):
        self.endpoint, self.model, self.key = endpoint, model, key
        self.answers = []
        # From prompt to the texts that are right, see learn().
        self.known = {}
        self.threads = None

    def ask(self, client, prompt, streamed):
        start = time.monotonic()
        text = finish_reason = ""
        try:
            text, finish_reason, tokens = receive(client, self.model, prompt, streamed)
            outcome, why = judge(text, finish_reason, tokens, self.known.get(prompt))
        # What a stream that breaks off between two brackets raises is a ValueError.
        except (openai.OpenAIError, ValueError) as error:
            outcome, why = FAILED, "%s: %s" % (type(error).__name__, error)
        return Answer(start, time.monotonic(), outcome, prompt, text or "", why, finish_reason or "")

    def work(self, ended, number):
        client = openai.OpenAI(base_url=self.endpoint, api_key=self.key, timeout=TIMEOUT, max_retries=0)
        prompts = itertools.islice(itertools.cycle(PROMPTS), number, None)
        for prompt, streamed in zip(prompts, itertools.cycle([False, True]), strict=False):
            answer = self.ask(client, prompt, streamed)
            self.answers.append(answer)
            if ended.wait(max(0, answer.start + PACE - time.monotonic())):
                return

    def texts(self):
        """From prompt to the texts of the complete answers so far."""
        texts = {}
        for answer in list(self.answers):
            if answer.outcome in COMPLETE:
                texts.setdefault(answer.prompt, set()).add(answer.text)
        return texts

    def learn(self):
        """What was answered so far is right."""
        self.known = self.texts()

    def start(self):
        self.threads = Threads(*[functools.partial(self.work, number=number) for number in range(CLIENTS)])

    def stop(self):
        self.threads.stop()


class Watch:
    """Looks at /ready."""

    def __init__(self, url, interval=0.2):
        self.url, self.interval = url, interval
        self.looks = []
        self.threads = None

    def look(self):
        try:
            response = requests.get(self.url, timeout=3)
            return Look(time.monotonic(), response.status_code == 200, response.json()["reason"] or "")
        except (requests.RequestException, ValueError, LookupError) as error:
            return Look(time.monotonic(), False, "/ready: %s" % type(error).__name__)

    def work(self, ended):
        while not ended.wait(self.interval):
            self.looks.append(self.look())

    def start(self):
        self.threads = Threads(self.work)

    def stop(self):
        self.threads.stop()
