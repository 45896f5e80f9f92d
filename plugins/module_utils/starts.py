# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the program that looks after the engine says of the engine's starts."""

from __future__ import annotations

import time

from .supervisor.base import read
from .supervisor.engine_rules import WAITING
from .supervisor.loading import AWAITED, SET_UP

# An engine that failed twice may be riding out a fault; a third time it is failing.
FAILED_STARTS = 3
# What vllm serve ends with when it does not understand its command line (argparse): no later start does.
USAGE = "the engine ended with status 2"
# Seconds for which a node may be missing before a deployment says so and ends; the programs wait on.
PATIENCE = 180
# Seconds for which nothing may answer: the program is just being started.
SILENT = 30


class Starts:
    """Looks at the program's status, or at nothing.

    :param url: where it tells its state, or None
    """

    def __init__(self, url):
        self.url = url
        self.last = time.monotonic()

    def why_hopeless(self):
        """Why the engine will not come up by itself, in words; empty if it may."""
        if not self.url:
            return ""
        try:
            status = read(self.url)
        except (OSError, ValueError) as error:
            silent = time.monotonic() - self.last
            return "nothing looks after the engine (%s: %s)" % (self.url, error) if silent > SILENT else ""
        self.last = time.monotonic()
        return judge(status)


def judge(status):
    """Why the engine will not come up by itself, in words; empty if it may.

    :param status: what the program tells
    """
    if status["phase"] == WAITING and status["for_s"] > PATIENCE:
        return "%s, for %d s" % (status["reason"], status["for_s"])
    count = status["failed_starts"]
    last = status["failures"][-1]["reason"] if status["failures"] else ""
    if count >= FAILED_STARTS or (count and last == USAGE):
        return "%d %s that failed: %s" % (count, "start" if count == 1 else "starts", last)
    return ""


def is_near(status):
    """Whether it answers, or is about to.

    :param status: what the program tells
    """
    # One that has failed there before may do so again, and load everything anew.
    return status["ready"] or (status.get("loading") in (SET_UP, AWAITED) and not status["failed_starts"])


def words_of(status):
    """What the program tells, in a few words.

    :param status: what the program tells
    """
    return status.get("loading") or status["reason"] or "completions are answered"
