# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The containers of this node, through the Docker Engine."""

from __future__ import annotations

import datetime
import functools

from .runtime import Container, EngineError

# Seconds for one answer of the engine.
TIMEOUT = 20
# How much of what a container prints is looked at.
LINES = 100
# What the engine answers to whoever would end a container that does not run.
CONFLICT = 409


class Containers:
    """The engine's containers by name. Whatever is asked of an engine that does not answer is an EngineError."""

    # It takes a quarter of a second to be imported, and the program is up before that.
    @functools.cached_property
    def docker(self):
        import docker

        return docker

    @functools.cached_property
    def errors(self):
        import requests

        return self.docker.errors.DockerException, requests.exceptions.RequestException

    @functools.cached_property
    def client(self):
        """It asks the engine for its version, until that has been told."""
        try:
            return self.docker.from_env(timeout=TIMEOUT)
        except self.errors as error:
            raise EngineError(str(error)) from error

    def get(self, name):
        """The container, or None if there is none."""
        try:
            found = self.client.containers.get(name)
        except self.docker.errors.NotFound:
            return None
        except self.errors as error:
            raise EngineError(str(error)) from error
        state = found.attrs["State"]
        return Container(found.id, state["Status"], state["StartedAt"], state["ExitCode"])

    def processes(self, name):
        """State (a letter, as ps has it), command line and number (on the host) of the container's processes."""
        answer = self.call(name, "top", ps_args="-eo pid,stat,args")
        return [(row[1][:1], " ".join(row[2:]), int(row[0])) for row in answer["Processes"] or []]

    def printed(self, name, started_at):
        """The last lines of what the container has printed since a start, whose time is as the engine writes it."""
        moment = datetime.datetime.strptime(started_at[:19], "%Y-%m-%dT%H:%M:%S")
        since = moment.replace(tzinfo=datetime.timezone.utc).timestamp()
        return self.call(name, "logs", since=since, tail=LINES).decode("utf-8", "replace")

    def start(self, name):
        self.call(name, "start")

    def stop(self, name, seconds):
        """Asks the container to end, and ends it after so many seconds; with 0 it is not asked."""
        if seconds:
            self.call(name, "stop", timeout=seconds)
        else:
            # One that has ended by itself is what was wanted.
            self.call(name, "kill", unless=CONFLICT)
            self.call(name, "wait", timeout=TIMEOUT)

    def call(self, name, method, unless=None, **options):
        try:
            return getattr(self.client.containers.get(name), method)(**options)
        except self.errors as error:
            if unless and getattr(error, "status_code", None) == unless:
                return None
            raise EngineError("%s: %s" % (method, error)) from error
