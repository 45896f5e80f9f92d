# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the engine for real completions, and tells whether it is alive."""

from __future__ import annotations

import contextlib
import functools
import os
import pwd
import re
import threading
import time

# A long prompt is worked on for a while without a token for anybody: then the engine is busy, not dead. These count
# the steps of the engine and the tokens it has read and written; while a long prompt is read in pieces they stand
# still, and the share of the KV cache that is in use grows. vLLM, vllm/v1/metrics/loggers.py.
PROGRESS = re.compile(
    r"^vllm:(?:iteration_tokens_total_count|generation_tokens_total|prompt_tokens_total|prefix_cache_queries_total"
    r"|kv_cache_usage_perc)(?:\{[^}]*\})? (\S+)$",
    re.M,
)
# Seconds without progress after which a slow completion is a dead one.
STALLED = 10
# Seconds after which a question is given up although the engine makes progress, and asked again.
GIVEN_UP = 120
# Seconds between two looks at the metrics while nothing is awaited: to know whether there are any.
SELDOM = 10
# The host is nobody's: what is asked goes through a socket.
BASE = "http://engine"
# Errors in a row: the first may be the last word of an engine that is just ending.
ERRORS = 2


class Verdict:
    """What is to be thought of the answers so far. Seconds are of an arbitrary clock.

    :param timeout: seconds that a completion may take while the engine does nothing else
    """

    def __init__(self, timeout):
        self.timeout = timeout
        self.begin()

    def begin(self):
        """A new start of the engine."""
        self.answered = False
        self.asked_at = self.answered_at = None
        self.errors, self.error = 0, ""
        self.counted, self.count, self.moved_at = False, None, None

    def asks(self, now):
        self.asked_at = now

    def answers(self, now):
        self.answered, self.answered_at, self.asked_at = True, now, None
        self.errors, self.error = 0, ""

    def fails(self, error):
        self.asked_at = None
        self.errors, self.error = self.errors + 1, error

    def gives_up(self):
        self.asked_at = None

    def counts(self, count, now):
        """What the engine says that it has done."""
        self.counted = True
        if count != self.count:
            self.count, self.moved_at = count, now

    def dead(self, now):
        """Why no completions are to be expected any more, empty if they are."""
        if self.errors >= ERRORS:
            return "completions fail: %s" % self.error
        # An engine that does not count its steps cannot show that it is busy.
        return self.hangs(now, self.timeout if self.counted else GIVEN_UP)

    def hangs(self, now, timeout):
        """Why the completion that is asked for is not to be expected any more, empty if it is."""
        if self.asked_at is None or now - self.asked_at < timeout:
            return ""
        stalled = now - max(self.asked_at, self.moved_at or 0)
        if stalled < STALLED:
            return ""
        return "no completion within %d s, and no progress for %d s" % (now - self.asked_at, stalled)


def progress(text):
    """The sum of what counts progress in the engine's metrics, None if there is nothing of it."""
    found = PROGRESS.findall(text)
    return sum(float(value) for value in found) if found else None


def share(path, user):
    """Gives the engine's socket to the one user who may ask beside root. vLLM makes it for its own alone."""
    # Where the programs are not root's, the endpoint is the same user's; where there is no socket the question tells.
    with contextlib.suppress(OSError, KeyError):
        if os.stat(path).st_uid != (wanted := pwd.getpwnam(user).pw_uid):
            os.chown(path, wanted, -1)


class Probe:
    """Asks in a thread of its own while the engine runs.

    :param settings: dictionary with socket, socket_user, model, probe_interval, probe_timeout
    """

    def __init__(self, settings):
        self.settings = settings
        self.verdict = Verdict(settings["probe_timeout"])
        self.running = False
        # Answers to questions of an earlier start do not count.
        self.number = 0
        self.lock = threading.Lock()
        threading.Thread(target=self.loop, daemon=True).start()
        threading.Thread(target=self.watch, daemon=True).start()

    # What they need takes a second to be imported. The program is up before that, and the engine after it.
    @functools.cached_property
    def http(self):
        import httpx2

        return httpx2.Client(transport=httpx2.HTTPTransport(uds=self.settings["socket"]))

    @functools.cached_property
    def client(self):
        import openai

        return openai.OpenAI(
            base_url=BASE + "/v1", api_key="none", http_client=self.http, timeout=GIVEN_UP, max_retries=0
        )

    def begin(self):
        """The engine is started."""
        with self.lock:
            self.number += 1
            self.verdict.begin()
            self.running = True

    def end(self):
        self.running = False

    def loop(self):
        asking = None
        while True:
            # A question that hangs is left to its timeout; a new start of the engine gets new ones.
            if self.running and (asking is None or asking[0] != self.number or not asking[1].is_alive()):
                wait = 0 if asking is None or asking[0] != self.number else self.pause()
                time.sleep(wait)
                thread = threading.Thread(target=self.ask, args=(self.number,), daemon=True)
                asking = (self.number, thread)
                thread.start()
            time.sleep(0.1)

    def pause(self):
        """Seconds until the next question: soon where something is amiss or still to come."""
        return self.settings["probe_interval"] if self.verdict.answered and not self.verdict.errors else 1

    def ask(self, number):
        with self.lock:
            if number == self.number:
                self.verdict.asks(time.monotonic())
        timeout: tuple[type[Exception], ...] = ()
        try:
            # In here: where it is missing, that is why there are no completions.
            import openai

            timeout = (openai.APITimeoutError,)
            share(self.settings["socket"], self.settings["socket_user"])
            self.client.completions.create(model=self.settings["model"], prompt="1 2 3", max_tokens=1, temperature=0)
            error = ""
        except timeout:
            # It was asked for as long as there was progress; that is no error.
            error = None
        except Exception as problem:
            error = str(problem.__cause__ or problem) or type(problem).__name__
        with self.lock:
            if number != self.number:
                return
            if error is None:
                self.verdict.gives_up()
            elif error:
                self.verdict.fails(error)
            else:
                self.verdict.answers(time.monotonic())

    def watch(self):
        """Reads the engine's metrics while a completion takes its time."""
        looked = 0.0
        while True:
            time.sleep(1)
            now, asked = time.monotonic(), self.verdict.asked_at
            awaited = asked is not None and now - asked >= 2
            if not self.running or not (awaited or now - looked >= SELDOM):
                continue
            looked = now
            try:
                count = progress(self.http.get(BASE + "/metrics", timeout=5).text)
            # An engine that is ending may say anything.
            except Exception:
                continue
            if count is not None:
                self.verdict.counts(count, time.monotonic())
