# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks after the Ray container of this node."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import socket
import time

from ..ray_state import VIEWS, fetch_view, nodes_of, read_token, unplaced
from . import ray_rules
from .base import OTHER_NODE, Poll, Program, Status, clock_time, read, say
from .runtime import Container, EngineError, open_runtime, run_dir

NAME = "onecc-ray"
# Kept over a restart of this program, and of no meaning after a reboot; see run_dir for where both lie.
MEMORY = "onecc-ray.json"
# The engine's program on the head writes it, see engine.py.
DEMANDS = "onecc-demands.json"
# A look at shared storage that takes longer hangs.
STORAGE_HANGS = 20
# Seconds that Ray gets to end: one that is not whole, and one that an operator stops.
BROKEN, STOPPED = 3, 10
# Seconds that a raylet gets to sign off.
LEAVING = 3


class RayNode(Program):
    """The program ``ray``.

    :param settings: dictionary with name (of the node), address, head (whether it is the head), head_address,
        port (of the status), ray_port, dashboard_url, token_file (with Ray's token), storage (a file on shared
        storage), members (addresses of all nodes), state_dir
    """

    def __init__(self, settings):
        super().__init__(interval=1.0)
        self.settings = settings
        self.is_head = settings["head"]
        run = run_dir(settings["state_dir"])
        self.memory, self.demands_file = os.path.join(run, MEMORY), os.path.join(run, DEMANDS)
        self.containers = open_runtime(settings)
        self.container: Container | None = None
        self.seen: tuple[tuple | None, float] = (None, time.monotonic())
        self.lacking = ("", time.monotonic())
        self.unlisted_since = None
        self.head_reached = time.monotonic()
        self.failures = 0
        # Not known before the first look.
        self.ranks = None
        self.incarnation = ""
        self.said = ""
        self.action, self.reason = "", "the supervisor has just started"
        self.joined = self.remember()
        self.unplaced: list[str] = []
        self.storage = Poll(self.look_at_storage, lambda _told: 3)
        # The head asks its Ray for the nodes, the others ask the head.
        pause = functools.partial(ray_rules.pause, settings["members"], self.is_head)
        self.asked = Poll(self.ask_ray if self.is_head else self.ask_head, pause)
        Status(settings["address"], settings["port"], self.report)

    # What is seen

    def look_at_storage(self):
        os.stat(self.settings["storage"])
        return True

    def storage_problem(self):
        """Why shared storage cannot be used, empty if it can."""
        path = self.settings["storage"]
        if self.storage.age > STORAGE_HANGS:
            return "shared storage does not answer (%s)" % path
        return "" if self.storage.told else "shared storage is not mounted: %s is not there" % path

    def ask_head(self):
        try:
            told = read("http://%(head_address)s:%(port)d/" % self.settings)
        except (OSError, ValueError):
            # The head's program may be away alone: Ray goes on without it.
            socket.create_connection((self.settings["head_address"], self.settings["ray_port"]), OTHER_NODE).close()
            self.head_reached = time.monotonic()
            raise
        self.head_reached = time.monotonic()
        return told

    def ask_ray(self):
        token = read_token(self.settings["token_file"])
        views = {
            name: fetch_view(self.settings["dashboard_url"], VIEWS[name], token, timeout=5)
            for name in ("nodes", "placement_groups")
        }
        self.unplaced = unplaced(views["placement_groups"])
        return nodes_of(views["nodes"], {})

    def joinable(self, container):
        """The start of the head's Ray, once it can be joined, else empty."""
        if not (container and container.running):
            return ""
        try:
            socket.create_connection((self.settings["address"], self.settings["ray_port"]), 1).close()
        except OSError:
            return ""
        return container.started_at

    def demands(self):
        try:
            with open(self.demands_file, encoding="utf-8") as stream:
                return json.load(stream)
        except (OSError, ValueError):
            return {}

    def report(self, _path):
        """What others are told: those on other nodes, and the engine's program on the head."""
        container = self.container
        told = {
            "name": self.settings["name"],
            "time": clock_time(),
            "ray": "running" if container and container.running and not self.lacking[0] else "down",
            "started_at": container.started_at if container else "",
            "ranks": self.ranks,
            "storage": self.storage_problem(),
            "reason": self.reason,
        }
        if self.is_head:
            told.update(
                incarnation=self.incarnation,
                nodes=self.asked.answer,
                nodes_error=self.asked.why,
                unplaced=self.unplaced,
                demands=self.demands(),
                members=self.settings["members"],
            )
        return 200, told

    def look(self):
        """The view for the rules."""
        now = time.monotonic()
        self.container = container = self.containers.get(NAME)
        self.incarnation = self.joinable(container) if self.is_head else ""
        # The moment at which this start, or this end, was first seen.
        key = container and (container.started_at, container.running)
        before, since = self.seen
        if key != before:
            if before and container and not container.running:
                lived_long = before[1] and now - since >= ray_rules.SHORT
                self.failures = 0 if lived_long else self.failures + 1
            self.seen = (key, now)
        running = bool(container and container.running)
        processes = self.containers.processes(NAME) if running else []
        self.ranks = ray_rules.ranks(processes)
        lacking = ray_rules.lacking(processes, self.is_head) if running else ""
        if lacking != self.lacking[0]:
            self.lacking = (lacking, now)
        head = self.report("/")[1] if self.is_head else self.asked.answer
        listed = (head or {}).get("nodes")
        address = self.settings["address"]
        unlisted = (
            running
            and listed is not None
            and not any(node["address"] == address and node["state"] == "ALIVE" for node in listed)
        )
        self.unlisted_since = (self.unlisted_since or now) if unlisted else None
        since = now - self.seen[1]
        return ray_rules.View(
            status=container.status if container else None,
            exit_code=container.exit_code if container else 0,
            started_at=container.started_at if container else "",
            up=since if running else 0,
            storage=self.storage_problem(),
            lacking=lacking,
            lacking_for=now - self.lacking[1],
            is_head=self.is_head,
            head=head,
            joined=self.joined.get(container.started_at) if container else None,
            unlisted_for=now - self.unlisted_since if self.unlisted_since else 0,
            failures=self.failures,
            ended_for=0 if running else since,
            address=address,
            cut_off_for=0 if self.is_head else now - self.head_reached,
        )

    # What is done

    def step(self):
        try:
            view = self.look()
            action, reason = ray_rules.decide(view)
            self.act(view, action, reason)
        except EngineError as error:
            action, reason = "wait", "the container engine does not answer: %s" % error
        if reason and reason != self.said:
            say("%s: %s" % (action, reason))
        self.said = self.reason = reason
        # Others wait while there is no Ray here, or none that can be joined.
        self.interval = ray_rules.OFTEN if action != "nothing" or (self.is_head and not self.incarnation) else 1

    def act(self, view, action, reason):
        if action in ("start", "restart"):
            incarnation = (view.head or {}).get("incarnation", "")
            if action == "restart":
                say("restart: %s" % reason)
                self.said = reason
                if view.unknown:
                    self.containers.stop(NAME, 0)
                else:
                    self.leave(BROKEN)
            self.containers.start(NAME)
            self.container = self.containers.get(NAME)
            if self.container and not self.is_head:
                self.keep({self.container.started_at: incarnation})
        elif action == "stop":
            self.leave(STOPPED)
        elif action == "nothing" and not self.is_head and view.joined is None and view.unlisted_for == 0:
            # This program was started beside a Ray that may have joined.
            head = view.head or {}
            if head.get("incarnation") and head.get("nodes"):
                self.keep({view.started_at: head["incarnation"]})

    def leave(self, seconds):
        """Ends Ray. A raylet that is told signs off; else Ray lists the node for 25 s more, twice if it is back."""
        for number in ray_rules.raylets(self.containers.processes(NAME)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGTERM)
        end = time.monotonic() + LEAVING
        while time.monotonic() < end and ray_rules.raylets(self.containers.processes(NAME)):
            time.sleep(0.2)
        self.containers.stop(NAME, seconds)

    def stop(self):
        """systemctl stop, or the node goes down."""
        say("stop: the unit is stopped")
        try:
            container = self.containers.get(NAME)
            if container and container.running:
                self.leave(STOPPED)
        except EngineError as error:
            say("the container engine does not answer: %s" % error)

    # What is remembered

    def remember(self):
        try:
            with open(self.memory, encoding="utf-8") as stream:
                return json.load(stream)
        except (OSError, ValueError):
            return {}

    def keep(self, joined):
        self.joined = joined
        with open(self.memory + ".new", "w", encoding="utf-8") as stream:
            json.dump(joined, stream)
        os.replace(self.memory + ".new", self.memory)
