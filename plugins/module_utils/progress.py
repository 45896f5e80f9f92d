# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a download is, or what else takes long, in words."""

from __future__ import annotations

# What the modules take that show something, see the doc fragment progress.
OPTIONS = {
    "wait": {"type": "float", "default": 0},
    "display": {"type": "str", "choices": ["auto", "lines", "none"], "default": "auto"},
}
# Seconds over which a rate is taken.
WINDOW = 15
# Seconds after which a node that says nothing new is called silent.
SILENCE = 20
OVER = ("done", "failed")


def human(size):
    """Bytes in the unit that leaves one to three digits before the point: 63.7 MB."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 999.5 or unit == "TB":
            break
        size /= 1000
    return "%.*f %s" % (0 if unit == "B" or size >= 99.95 else 1, size, unit)


def clock(seconds):
    """Seconds as 2:05 or 1:02:05."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return "%d:%02d:%02d" % (hours, minutes, rest) if hours else "%d:%02d" % (minutes, rest)


class Gauge:
    """One amount of bytes that grows.

    :param grown: whether what counts is what it has grown since the first look
    """

    def __init__(self, grown=False):
        self.grown, self.before = grown, None
        self.looks, self.total = [], 0
        # When it was last seen to be more than before.
        self.moved = 0.0

    def see(self, went, total, now):
        """Takes in one look.

        :param went: bytes so far
        :param total: bytes that there will be, 0 if that is not known
        :param now: time in seconds
        """
        if self.before is None:
            self.before = went if self.grown else 0
        # At its end a reader has closed what it read.
        last = self.looks[-1][1] if self.looks else -1
        most = max(went - self.before, last)
        if most > last:
            self.moved = now
        self.looks.append((now, most))
        self.total = total or self.total
        while len(self.looks) > 2 and now - self.looks[1][0] >= WINDOW:
            self.looks.pop(0)

    def line(self):
        """How much, of how much, how fast."""
        (then, before), (now, went) = self.looks[0], self.looks[-1]
        rate = (went - before) / (now - then) if now > then else 0.0
        if not self.total:
            return "%s so far  %s/s" % (human(went), human(rate))
        share = min(99, 100 * went // self.total)
        left = clock((self.total - went) / rate) + " left" if rate > 0 and went < self.total else "waiting"
        return "%2d %%  %s of %s  %s/s  %s" % (share, human(went), human(self.total), human(rate), left)

    def summary(self, seconds):
        """The last line.

        :param seconds: for which it was watched
        """
        went = self.looks[-1][1]
        size = " for %s, %s/s" % (human(went), human(went / max(seconds, 0.001))) if went else ""
        return "took %s%s" % (clock(seconds), size)


class Watch:
    """What several looks at the nodes' progress add up to.

    :param nodes: names of the nodes that have a share
    :param start: time of the start in seconds
    """

    def __init__(self, nodes, start):
        self.nodes, self.start = nodes, start
        self.told = {}
        self.heard = dict.fromkeys(nodes, start)
        self.looks = [(start, dict.fromkeys(nodes, 0))]

    def see(self, told, now):
        """Takes in one look.

        :param told: dictionary from node to what it tells, see hf_fetch.Share.tell
        :param now: time in seconds
        :return: what is worth a line of its own: shares that have just failed
        """
        news = []
        for node, new in told.items():
            if new.get("state") == "failed" and not self.is_over(node):
                news.append("%s has failed: %s" % (node, new.get("message", "")))
            if new.get("beat") != self.told.get(node, {}).get("beat"):
                self.heard[node] = now
            self.told[node] = new
        self.looks.append((now, {node: self.went(node) for node in self.nodes}))
        while len(self.looks) > 2 and now - self.looks[1][0] >= WINDOW:
            self.looks.pop(0)
        return news

    def went(self, node):
        """Bytes that a node has fetched, or read to check them."""
        told = self.told.get(node, {})
        return told.get("fetched", 0) + told.get("checked", 0)

    def total(self, node):
        told = self.told.get(node, {})
        return told.get("total", 0) + told.get("check_total", 0)

    def is_over(self, node):
        return self.told.get(node, {}).get("state") in OVER

    def silent(self, now):
        """The nodes that have not ended and say nothing any more."""
        return [node for node in self.nodes if not self.is_over(node) and now - self.heard[node] > SILENCE]

    def ended(self, now):
        """Whether there is nothing left to watch."""
        silent = self.silent(now)
        return all(self.is_over(node) or node in silent for node in self.nodes)

    def rate(self, nodes):
        """Bytes per second of some nodes together, lately."""
        (then, before), (now, after) = self.looks[0], self.looks[-1]
        if now <= then:
            return 0.0
        return sum(after[node] - before[node] for node in nodes) / (now - then)

    def line(self, now):
        """One line: all nodes together, then each."""
        went = sum(map(self.went, self.nodes))
        total = sum(map(self.total, self.nodes))
        rate = self.rate(self.nodes)
        left = clock((total - went) / rate) + " left" if rate > 0 and went <= total else "waiting"
        words = ["%s  %s of %s  %s/s  %s" % (self.percent(went, total), human(went), human(total), human(rate), left)]
        silent = self.silent(now)
        for node in self.nodes:
            state = self.told.get(node, {}).get("state", "starting")
            if node in silent:
                state = "silent for %s" % clock(now - self.heard[node])
            elif state == "running":
                state = "%s %s/s" % (self.percent(self.went(node), self.total(node)), human(self.rate([node])))
            words.append("%s %s" % (node, state))
        return " | ".join(words)

    def percent(self, went, total):
        """Never 100 % before the end."""
        return "%3d %%" % (min(99, 100 * went // total) if total > went else 100 if total else 0)

    def summary(self, now):
        """The last line: what was done in which time."""
        seconds = max(now - self.start, 0.001)
        verbs = [("fetched", "fetched"), ("checked", "checked")]
        words = []
        for key, verb in verbs:
            size = sum(told.get(key, 0) for told in self.told.values())
            if size:
                each = ", ".join("%s %s" % (node, human(self.told.get(node, {}).get(key, 0))) for node in self.nodes)
                words.append(
                    "%s %s in %s, %s/s (%s)" % (verb, human(size), clock(seconds), human(size / seconds), each)
                )
        refetched = sorted(path for told in self.told.values() for path in told.get("refetched", []))
        if refetched:
            words.append("found corrupt and fetched again: %s" % ", ".join(refetched))
        return "; ".join(words) or "nothing fetched in %s" % clock(seconds)
