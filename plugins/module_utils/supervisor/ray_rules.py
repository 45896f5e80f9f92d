# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node does about its Ray: a pure function of what was seen."""

from __future__ import annotations

import dataclasses
import re

# Seconds for which a start of Ray may lack processes, and for which it may lack one later on.
STARTING, LACKING = 60, 4
# Seconds for which the head may not list a running node: its list is seconds old. What Ray has given up it never takes
# back, but a raylet may take a while to hear of it.
UNLISTED = 3
# Seconds after which a node that reaches nothing on the head ends its Ray: longer than Ray itself needs to give up such
# a node. Where a firewall leaves old connections open it never does.
CUT_OFF = 60
# A container that ends sooner than this many seconds after its start has failed to start.
SHORT = 60
DELAYS = (0, 1, 2, 5, 10, 20, 30)

# What ray start --block does not watch, or ends without a word: a raylet that got SIGTERM leaves it running.
RAYLET, GCS = "raylet/raylet ", "gcs/gcs_server "
# Titles of vLLM's ranks: ray::RayWorkerProc.run, in older releases ray::RayWorkerWrapper. Ray gives such titles to
# idle processes and to its own agents, too. vLLM, v1/executor/ray_executor*.py.
RANK = re.compile(r"ray::(?!IDLE)\w*Worker|VLLM::Worker")
# As ps has them: stopped, traced, dead.
NOT_ALIVE = "TtZX"

# Seconds between two questions while something is to come.
OFTEN = 0.5


@dataclasses.dataclass
class View:
    """What is known of a node's Ray at one moment. Seconds are of an arbitrary clock.

    :param status: of the container, None if there is none
    :param exit_code: of its last run
    :param started_at: of its last start, as the engine has it
    :param up: seconds since that start was first seen
    :param storage: why shared storage cannot be used, empty if it can
    :param lacking: process that is not there, empty if all are
    :param lacking_for: seconds since when
    :param is_head: whether this is the head
    :param head: what the head tells (see Node.report), None if it does not answer
    :param joined: start of the head's Ray that this Ray was started for, None if not known
    :param unlisted_for: seconds for which the head has not listed this node as living
    :param failures: how many starts in a row came to nothing
    :param ended_for: seconds since the container was first seen ended
    :param address: of this node
    :param cut_off_for: seconds for which neither the head's status nor its Ray could be reached
    """

    status: str | None = "running"
    exit_code: int = 0
    started_at: str = ""
    up: float = 0
    storage: str = ""
    lacking: str = ""
    lacking_for: float = 0
    is_head: bool = False
    head: dict | None = None
    joined: str | None = None
    unlisted_for: float = 0
    failures: int = 0
    ended_for: float = 0
    address: str = ""
    cut_off_for: float = 0

    @property
    def elsewhere(self):
        """Whether this Ray was started for another start of the head's."""
        incarnation = (self.head or {}).get("incarnation")
        return bool(not self.is_head and incarnation and self.joined and self.joined != incarnation)

    @property
    def unknown(self):
        """Whether the head does not know this Ray, or not any more: it need not sign off, and cannot."""
        return self.elsewhere or self.unlisted_for >= UNLISTED


def decide(view):
    """What to do, and why.

    :return: (start, restart, stop, wait or nothing; the reason in words, empty for nothing)
    """
    if view.status is None:
        return "wait", "there is no container onecc-ray: deploy"
    head = view.head or {}
    if view.address not in head.get("members", [view.address]):
        return "stop" if view.status == "running" else "wait", "the head's inventory does not have this node any more"
    if view.status != "running":
        return decide_start(view)
    if view.cut_off_for >= CUT_OFF:
        return "stop", "the head cannot be reached for %d s; this node is started again when it can" % CUT_OFF
    if head.get("demands", {}).get(view.address) == view.started_at:
        return "restart", "the engine's program on the head asks for it"
    if view.elsewhere:
        return "restart", "Ray on the head was started anew"
    if view.lacking and view.up > STARTING and view.lacking_for >= LACKING:
        return "restart", "%s is gone" % view.lacking
    if view.up > STARTING and view.unlisted_for >= UNLISTED:
        return "restart", "the head does not count this node among the living"
    return "nothing", ""


def decide_start(view):
    """Whether to start a container that does not run."""
    if view.storage:
        return "wait", view.storage
    if not view.is_head:
        if view.head is None:
            return "wait", "the head does not answer"
        if not view.head.get("incarnation"):
            return "wait", "Ray on the head is not up"
    delay = DELAYS[min(view.failures, len(DELAYS) - 1)]
    if view.ended_for < delay:
        return "wait", "Ray ended %d times in a row, the next start is %d s after that" % (view.failures, delay)
    return "start", "it ended with status %d" % view.exit_code if view.status == "exited" else "it does not run"


def pause(members, is_head, told):
    """Seconds until the head asks its Ray for the nodes again, and the others ask the head.

    :param members: addresses of all nodes
    :param is_head: whether this is the head
    :param told: the last answer, None if there was none
    """
    if is_head:
        living = {node["address"] for node in told or [] if node["state"] == "ALIVE"}
        return 2 if living.issuperset(members) else OFTEN
    return 1 if (told or {}).get("incarnation") else OFTEN


def lacking(processes, is_head):
    """The first process that Ray cannot do without and that is not there.

    :param processes: state, command line and number of each
    """
    alive = [command for state, command, _number in processes if state not in NOT_ALIVE]
    for name in [GCS, RAYLET] if is_head else [RAYLET]:
        if not any(name in command for command in alive):
            return name.strip().rpartition("/")[2]
    return ""


def ranks(processes):
    """How many ranks of an engine there are. Stopped ones count."""
    return sum(bool(RANK.match(command)) for state, command, _number in processes if state != "Z")


def raylets(processes):
    """The numbers of the raylets, normally one."""
    return [number for _state, command, number in processes if RAYLET in command]
