# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks after the engine, from the head: the whole cluster, or nothing."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time

from ..ray_state import missing
from .base import Poll, Program, Status, clock_time, read, say
from .engine_rules import CLEARING, STARTING, Group, View
from .loading import words_of
from .probe import GIVEN_UP, Probe
from .ray_node import DEMANDS
from .ray_rules import OFTEN
from .runtime import EngineError, open_runtime, run_dir

NAME = "onecc-vllm"
# An engine is ended without being asked. One that gets SIGTERM answers what it is working on with half a text, status
# 200 and the finish_reason "abort" (vLLM, v1/engine/core.py, _handle_shutdown), which many a client takes for whole.
# Whoever waits for an answer from a killed one gets an error, and asks again.
AT_ONCE = 0


def gone(expected, head):
    """The expected nodes that Ray itself says it has not; the others may be slow to answer, no more."""
    return missing({"nodes": once(head["nodes"])}, expected) if head and head.get("nodes") else []


def once(nodes):
    """Ray's nodes without all but one of the living with the same address.

    A node that lost its power and is back is listed twice until Ray has given up the first. Ray places nothing on what
    does not answer.
    """
    found, seen = [], set()
    for node in nodes:
        if node["state"] == "ALIVE":
            if node["address"] in seen:
                continue
            seen.add(node["address"])
        found.append(node)
    return found


def lacks(expected, head, nodes, demands):
    """What the cluster lacks before the engine can start.

    :param expected: list of name, address and gpus
    :param head: what the head's node tells, None if it does not answer
    :param nodes: dictionary from address to what that node tells, None if it does not answer
    :param demands: dictionary from address to the start of Ray that is not wanted any more
    :return: list of lines, each with the name of a node
    """
    lines, told = [], set()
    for want in expected:
        node = nodes.get(want["address"])
        who = "%(name)s (%(address)s)" % want
        why = ""
        if node is None:
            why = "it does not answer"
        elif node["storage"]:
            why = node["storage"]
        elif node["ray"] != "running":
            why = "Ray is not up: %s" % (node["reason"] or "it has just started")
        elif demands.get(want["address"]) == node["started_at"]:
            why = "Ray is to be started anew"
        if why:
            lines.append("%s: %s" % (who, why))
            told.add(who)
    if head is None or head.get("nodes") is None:
        if not lines:
            lines.append("Ray on the head: %s" % (head or {}).get("nodes_error", "no answer"))
        return lines
    return lines + [
        line for line in missing({"nodes": once(head["nodes"])}, expected) if line.partition(":")[0] not in told
    ]


def make_room(path):
    """For the engine's socket: its folder, and no socket of an earlier engine, which would keep it from listening."""
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    # Whatever the umask is: nginx looks into it, too.
    os.chmod(folder, 0o755)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


class Engine(Program):
    """The program ``engine``.

    :param settings: dictionary with address and port (of the status), node_port, head_address, expected (a list of
        name, address and gpus for each node), socket (of the engine), socket_user (who may ask as well), model,
        probe_interval, probe_timeout and start_timeout (seconds), state_dir
    """

    def __init__(self, settings):
        super().__init__(interval=0.5)
        self.settings = settings
        self.containers = open_runtime(settings)
        self.group = Group(settings["start_timeout"], time.monotonic())
        self.probe = Probe(settings)
        self.started_at = None
        self.lacks, self.said = [], ""
        self.nodes = {
            node["address"]: Poll(
                lambda url="http://%s:%d/" % (node["address"], settings["node_port"]): read(url), self.pause
            )
            for node in settings["expected"]
        }
        # The client of a runtime is for one thread.
        self.log = open_runtime(settings)
        self.loading = Poll(self.look_at_log, lambda _told: 1)
        Status(settings["address"], settings["port"], self.report)

    def pause(self, _told):
        """Seconds until a node is asked again: few while the cluster lacks something."""
        return OFTEN if self.lacks else 1

    def look_at_log(self):
        """How far the start of the engine is."""
        if self.group.phase != STARTING or not self.started_at:
            return ""
        return words_of(self.log.printed(NAME, self.started_at))

    def report(self, path):
        """What load balancers and people are told."""
        group = self.group
        answered = self.probe.verdict.answered_at
        told = {
            "ready": group.ready,
            "phase": group.phase,
            "reason": group.reason,
            "loading": (self.loading.answer or "") if group.phase == STARTING else "",
            "for_s": round(time.monotonic() - group.since, 1),
            "model": self.settings["model"],
            "lacks": self.lacks,
            "failed_starts": group.failed_starts,
            "last_answer_s": None if answered is None else round(time.monotonic() - answered, 1),
            "failures": [
                {"time": clock_time(time.time() - time.monotonic() + when), "reason": why}
                for when, why in group.history
            ],
        }
        if path not in ("/", "/ready", "/status"):
            return 404, {"error": "there are /ready and /status"}
        return 200 if group.ready or path == "/status" else 503, told

    def step(self):
        try:
            container = self.containers.get(NAME)
        except EngineError as error:
            self.note("the container engine does not answer: %s" % error)
            return
        now = time.monotonic()
        nodes = {address: poll.answer for address, poll in self.nodes.items()}
        self.lacks = lacks(self.settings["expected"], nodes[self.settings["head_address"]], nodes, self.group.demands)
        head = nodes[self.settings["head_address"]]
        view = View(
            container=container,
            lacks=self.lacks,
            left={address: node["started_at"] for address, node in nodes.items() if node and node["ranks"]},
            ranks={address: node["ranks"] for address, node in nodes.items() if node and node["ranks"] is not None},
            gone=gone(self.settings["expected"], head),
            unplaced=bool(head and head.get("unplaced")),
            head={self.settings["head_address"]: head["started_at"]} if head else {},
            hangs=self.probe.verdict.hangs(now, GIVEN_UP),
            answered=self.probe.verdict.answered,
            dead=self.probe.verdict.dead(now),
        )
        if container and container.running and container.started_at != self.started_at:
            self.started_at = container.started_at
            view.answered, view.dead, view.hangs = False, "", ""
            self.probe.begin()
        before = self.group.phase
        action = self.group.step(view, now)
        self.note("%s: %s" % (self.group.phase, self.group.reason or "completions are answered"))
        if before == CLEARING and self.group.phase != CLEARING:
            self.demand(self.group.demands, view.left)
        try:
            self.act(action)
        except EngineError as error:
            # The next look tells what came of it.
            say("the container engine did not do it: %s" % error)

    def act(self, action):
        if action == "stop":
            self.probe.end()
            self.containers.stop(NAME, AT_ONCE)
        elif action == "start":
            make_room(self.settings["socket"])
            # What is printed until it runs is of the start before.
            self.started_at = None
            self.containers.start(NAME)

    def demand(self, demands, left):
        for address in demands:
            why = "ranks of the old engine are left there" if address in left else self.group.reason
            say("Ray on %s is to be started anew: %s" % (address, why))
        path = os.path.join(run_dir(self.settings["state_dir"]), DEMANDS)
        with open(path + ".new", "w", encoding="utf-8") as stream:
            json.dump(demands, stream)
        os.replace(path + ".new", path)

    def note(self, text):
        # Seconds that count up or down are no news.
        gist = re.sub(r"\d+ s\b", "", text)
        if gist != self.said:
            say(text)
        self.said = gist

    def stop(self):
        """systemctl stop, or the node goes down."""
        say("stop: the unit is stopped")
        self.group.enter("stopped", "the unit is stopped", time.monotonic())
        try:
            container = self.containers.get(NAME)
            if container and container.running:
                self.containers.stop(NAME, AT_ONCE)
        except EngineError as error:
            say("the container engine does not answer: %s" % error)
