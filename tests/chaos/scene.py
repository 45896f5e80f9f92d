# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab under load: what every fault shares, from the moment that it is brought about to its record."""

import functools
import re
import subprocess
import time
import traceback

import openai

from lab import MODEL
from load import CLIENTS, Load, Watch
from records import AGAIN, DETECT, assess, calm, first_served, judge_others, lost_containers, lost_in_ray

READY = "http://198.18.0.10:8000/ready"
HEAD = "node00"
# Seconds without a fault before the next one.
GOOD = 10


class Broken(Exception):
    """The lab is not in a state in which a fault can be measured."""


def until(predicate, seconds, interval=0.2):
    """Whether something came true within some seconds."""
    end = time.monotonic() + seconds
    while not (found := predicate()):
        if time.monotonic() > end:
            return False
        time.sleep(interval)
    return found


class Scene:
    """A deployed lab with its load. A context: the load runs within."""

    def __init__(self, lab, seeds=1):
        self.lab, self.seeds = lab, seeds
        self.load, self.watch = Load(lab.endpoint, MODEL, lab.key()), Watch(READY)
        self.gap_once = functools.cache(lab.gap)
        self.plain_starts = []
        self.calibrated_at = None
        # Of the fault that is being brought about: what went wrong with it, and what there is to tell.
        self.problems, self.details = [], []

    def __enter__(self):
        self.watch.start()
        self.load.start()
        return self

    def __exit__(self, *error):
        self.load.stop()
        self.watch.stop()

    def settle(self, since, seconds=AGAIN):
        """Waits until all has been well for a while, wholly after a moment. That moment, None if it does not come."""

        def well():
            start = time.monotonic() - GOOD
            return start >= since and calm(self.watch.looks[-200:], self.load.answers[-400:], start, CLIENTS)

        return time.monotonic() if until(well, seconds, 0.5) else None

    def calibrate(self, quiet=20, most=120):
        """Learns what is right: every text, until some seconds have brought no new one.

        Requests that are answered together are added up in another order, which may change a text.
        """
        if not self.settle(time.monotonic()):
            raise Broken("expected a healthy system before the first fault, found: %s" % self.watch.looks[-1].reason)
        start = changed = time.monotonic()
        texts = self.load.texts()
        while time.monotonic() < min(changed + quiet, start + most):
            time.sleep(0.5)
            if (now := self.load.texts()) != texts:
                texts, changed = now, time.monotonic()
        self.load.learn()
        self.calibrated_at = time.monotonic()

    def plain_start(self):
        """Seconds from the start of the engine's unit to the first answer, nothing being wrong."""
        self.lab.on(HEAD, "systemctl stop onecc-vllm", timeout=180)
        if self.lab.on(HEAD, "docker inspect --format {{.State.Running}} onecc-vllm").strip() != "false":
            raise Broken("expected no engine after systemctl stop, found it running")
        start = time.monotonic()
        self.lab.on(HEAD, "systemctl start --no-block onecc-vllm")
        if not self.settle(start):
            raise Broken("expected an answer within %d s of a plain start, found none" % AGAIN)
        # Nothing of what was asked before is in the cache of a fresh engine, which may change a text as well.
        self.load.learn()
        seconds = round(first_served(list(self.load.answers), start) - start, 1)
        self.plain_starts.append(seconds)
        return seconds

    def named(self, pattern, since, seconds):
        """Waits until a reason has told what is missing."""
        return until(
            lambda: any(look.at >= since and re.search(pattern, look.reason) for look in self.watch.looks[-600:]),
            seconds,
        )

    def gap(self, prompt, text, finish_reason):
        """See Lab.gap, once for each answer. None if the engine does not tell."""
        try:
            return self.gap_once(prompt, text, finish_reason)
        except openai.OpenAIError:
            return None

    def reachable(self, node):
        try:
            self.lab.on(node, "true", timeout=10)
        except subprocess.SubprocessError:
            return False
        return True

    def ready_for_a_fault(self):
        """All well, if need be by a deployment: what one fault has broken is not the next one's."""
        if self.settle(time.monotonic() - GOOD):
            return
        play = self.lab.play("deploy")
        if not self.settle(time.monotonic()):
            raise Broken("expected all well after a deployment, which ended with %d, found it is not" % play.rc)

    def run(self, fault):
        """Brings a fault about, waits until all is well. The record."""
        self.ready_for_a_fault()
        before = self.lab.all_containers()
        self.problems, self.details = [], []
        fault_at = back_at = time.monotonic()
        try:
            fault.bring(self)
        # A fault that cannot be brought about has failed; the others are tried all the same.
        except Exception as error:
            traceback.print_exc()
            output = getattr(error, "stderr", None) or ""
            self.problems.append("the fault was not brought about: %s %s" % (error, output))
        if fault.undone:
            for node in self.lab.nodes:
                if not until(lambda node=node: self.reachable(node), 180):
                    self.problems.append("expected SSH to %s within 180 s, found none" % node)
            back_at = time.monotonic()
        # What is never noticed has been watched for as long as noticing may take.
        watched = fault_at + (DETECT[fault.kind] or 0) + 5
        until(
            lambda: any(look.at >= fault_at and not look.ready for look in list(self.watch.looks)),
            max(0, watched - time.monotonic()),
        )
        settled_at = self.settle(back_at)
        measured = assess(list(self.watch.looks), list(self.load.answers), fault_at, back_at, settled_at, fault.named)
        if fault.must_name and not measured["waiting_named"]:
            self.problems.append("expected a reason like '%s', found %s" % (fault.named, measured["reasons"]))
        record = {"name": fault.name, "kind": fault.kind, **measured, "lost": []}
        judge_others(record, self.gap if settled_at else lambda *other: None)
        if settled_at:
            record["lost"] += lost_in_ray(self.lab.ray_status(), len(self.lab.nodes))
            record["lost"] += lost_containers(before, self.lab.all_containers(), same_ids=fault.kind != "controller")
        return {**record, "problems": self.problems, "details": self.details}
