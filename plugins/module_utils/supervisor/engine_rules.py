# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the head does about the engine: phases, from what was seen."""

from __future__ import annotations

import dataclasses

WAITING, STARTING, SERVING, CLEARING = "waiting", "starting", "serving", "clearing"

# Seconds for which the ranks of an ended engine may take to be gone before Ray is started anew on their node.
CLEARING_TIME = 10
# Seconds for which Ray may lack a node while the engine starts: vLLM itself would wait for half an hour.
MISSING_TIME = 20
# Seconds for which Ray may leave a starting engine's placement group aside though it has every node. It does so for
# good, whatever engine is started, once it has failed to reach a node in the moment of placing: seen with Ray 2.60
# after a node had been cut off for half a minute, two GPUs free, the state NO_RESOURCES. Only a new GCS places again.
PLACING_TIME = 30
# Seconds for which ranks must be gone: a single look may be wrong. And seconds in which they are counted first.
RANKS_GONE, RANKS_COUNTED = 2, 5
# A node that was missing for so many seconds was the reason of the failures before.
REASON = 10
# An engine that has served for less than this many seconds counts as one that failed to start.
SHORT = 10
DELAYS = (0, 5, 10, 20, 40, 80, 160, 300)


@dataclasses.dataclass
class View:
    """What is known at one moment.

    :param container: of the engine, a Container or None
    :param lacks: what the cluster lacks, a line for each node
    :param gone: those of them that Ray itself says it has not
    :param unplaced: whether Ray has a placement group that it has not placed
    :param head: the start of Ray on the head, by its address, empty if it is not known
    :param left: starts of Ray (by address) under which ranks still run
    :param ranks: number of ranks by address, of the nodes that answer
    :param answered: whether a completion has come since the engine's container was started
    :param dead: why completions do not come any more, empty if they may
    :param hangs: why a completion of an engine that was there before this program will not come, empty if it may
    """

    container: object = None
    lacks: list = dataclasses.field(default_factory=list)
    gone: list = dataclasses.field(default_factory=list)
    unplaced: bool = False
    head: dict = dataclasses.field(default_factory=dict)
    left: dict = dataclasses.field(default_factory=dict)
    ranks: dict = dataclasses.field(default_factory=dict)
    answered: bool = False
    dead: str = ""
    hangs: str = ""


class Group:
    """The engine's phases. step() is told what is seen and says what to do; it does nothing itself.

    :param start_timeout: seconds from the start of the engine to its first completion
    :param now: seconds of an arbitrary clock, as in step
    """

    def __init__(self, start_timeout, now):
        self.start_timeout = start_timeout
        self.phase, self.reason, self.since = WAITING, "the supervisor has just started", now
        self.not_before = now
        self.missing_since = self.lacking_since = self.ranks_gone_since = self.unplaced_since = None
        self.adopted = False
        self.container_id = None
        # Failures in a row, of which these are failed starts of this container.
        self.failures = self.failed_starts = 0
        self.demands = {}
        # Starts of Ray that are no good whether ranks are left or not.
        self.spoilt = {}
        # Of the engine that serves.
        self.ranks = {}
        # What went wrong, newest last: pairs of time and words.
        self.history = []

    def enter(self, phase, reason, now):
        if phase != self.phase:
            self.since = now
        self.phase, self.reason = phase, reason

    @property
    def ready(self):
        return self.phase == SERVING

    def step(self, view, now):
        """What to do now.

        :return: start, stop, or an empty string; the reason is in self.reason
        """
        container = view.container
        if container is None:
            self.enter(WAITING, "there is no container onecc-vllm: deploy", now)
            return ""
        if container.id != self.container_id:
            self.container_id, self.failures, self.failed_starts, self.not_before = container.id, 0, 0, now
        if self.phase == CLEARING:
            self.clear(view, now)
            if self.demands and not view.lacks:
                # What is demanded now is lacking at the next look.
                return ""
        if self.phase == WAITING:
            return self.wait(view, now)
        if self.phase in (STARTING, SERVING):
            return self.watch(view, now)
        return ""

    def wait(self, view, now):
        if view.container.running:
            # Somebody else has started it, or this program was started anew beside it.
            self.adopted = True
            self.enter(STARTING, "the engine runs, an answer is awaited", now)
            return ""
        if view.lacks:
            self.lacking_since = now if self.lacking_since is None else self.lacking_since
            # What was missing is the reason of the failures before; when it is back there is nothing to wait for.
            if now - self.lacking_since >= REASON:
                self.not_before = now
            self.enter(WAITING, "waiting for " + "; ".join(view.lacks), now)
            return ""
        self.lacking_since = None
        if view.left:
            self.enter(CLEARING, "ranks of an old engine are left", now)
            return ""
        if now < self.not_before:
            self.enter(
                WAITING,
                "the engine failed %d times in a row, the next start is in %d s: %s"
                % (self.failures, self.not_before - now + 1, self.history[-1][1]),
                now,
            )
            return ""
        self.missing_since = self.unplaced_since = None
        self.adopted = False
        self.enter(STARTING, "the engine starts, an answer is awaited", now)
        return "start"

    def watch(self, view, now):
        self.missing_since = None if not view.gone else self.missing_since or now
        self.unplaced_since = None if view.lacks or not view.unplaced else self.unplaced_since or now
        if not view.container.running:
            return self.fail("the engine ended with status %d" % view.container.exit_code, now)
        if self.phase == STARTING:
            if view.answered:
                self.ranks, self.ranks_gone_since = dict(view.ranks), None
                self.enter(SERVING, "", now)
            elif now - self.since > self.start_timeout:
                return self.fail("the engine has not answered within %d s" % self.start_timeout, now)
            elif self.missing_since and now - self.missing_since > MISSING_TIME:
                return self.fail("while the engine started: " + "; ".join(view.gone), now)
            elif self.unplaced_since and now - self.unplaced_since > PLACING_TIME:
                self.spoilt = dict(view.head)
                return self.fail("Ray has not placed the engine for %d s, though it has every node" % PLACING_TIME, now)
            elif self.adopted and view.hangs:
                return self.fail(view.hangs, now)
        elif lost := self.lost_ranks(view, now):
            # vLLM may notice and hang all the same.
            return self.fail(lost, now)
        elif view.dead:
            return self.fail(view.dead, now)
        return ""

    def lost_ranks(self, view, now):
        """Which node has lost ranks, in words, empty if none has."""
        if now - self.since < RANKS_COUNTED:
            # A process that is just being forked bears the title of its parent.
            self.ranks = {address: min(ranks, view.ranks.get(address, ranks)) for address, ranks in self.ranks.items()}
        fewer = {
            address: ranks - view.ranks[address]
            for address, ranks in sorted(self.ranks.items())
            if view.ranks.get(address, ranks) < ranks
        }
        self.ranks_gone_since = None if not fewer else self.ranks_gone_since or now
        if not fewer or now - self.ranks_gone_since < RANKS_GONE:
            return ""
        return "; ".join("%d of %d ranks on %s are gone" % (few, self.ranks[a], a) for a, few in fewer.items())

    def fail(self, reason, now):
        """The engine is to be stopped, everywhere."""
        if self.phase == STARTING:
            self.failed_starts += 1
        else:
            self.failed_starts = 0
            if now - self.since >= SHORT:
                self.failures = 0
        self.failures += 1
        self.not_before = now + DELAYS[min(self.failures, len(DELAYS)) - 1]
        self.history = [*self.history[-9:], (now, reason)]
        self.enter(CLEARING, reason, now)
        return "stop"

    def clear(self, view, now):
        """Until no rank of the old engine holds a GPU any more."""
        if view.left and now - self.since < CLEARING_TIME:
            return
        # Told to the nodes: Ray there is to be started anew, unless it was already.
        self.demands = {**view.left, **self.spoilt}
        self.spoilt = {}
        self.enter(WAITING, self.reason, now)
