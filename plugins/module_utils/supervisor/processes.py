# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Long-lived processes of this node without a container engine: the same methods as containers.py.

A file NAME.json says what to run, see keeper.py. Each has a small parent of its own, that keeper, as a container has
its shim: it lives on when the program that started it ends, and notes in a folder that is empty after a boot how the
process is, and how it ended. All descendants are found, whatever session they are in: they bear a marker in their
environment, and those that lost their parent have the keeper for one. Nothing here needs root.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid

from .runtime import Container, EngineError, run_dir

# Where keepers note how their processes are, see run_dir.
RUN = "onecc-processes"
# In the environment of a process and of all that it starts: NAME:START.
MARKER = "ONECC_PROCESS"
# Seconds for a keeper to have started its process, and for killed processes to be gone.
STARTING, KILLING = 20, 20
# Seconds between two looks while something is awaited.
LOOK = 0.05
# How much of what a process prints is looked at, in bytes.
TAIL = 1 << 15
ENDED = "ZX"
# Keys of a state: the number of a process, and when it was started.
ITSELF, KEEPER = ("pid", "ticks"), ("keeper", "keeper_ticks")


def read_json(path):
    """What is in a file, None if there is none or it is none of ours."""
    try:
        with open(path, encoding="utf-8") as stream:
            return json.load(stream)
    except (OSError, ValueError):
        return None


def write_json(path, content):
    with open(path + ".new", "w", encoding="utf-8") as stream:
        json.dump(content, stream)
    os.replace(path + ".new", path)


def read_stat(pid):
    """State (a letter), parent and start (in ticks since the boot) of a process, None if there is none."""
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as stream:
            # The name, in parentheses, may hold anything.
            fields = stream.read().rpartition(")")[2].split()
    except OSError:
        return None
    return fields[0], int(fields[1]), int(fields[19])


def boot():
    """What tells one boot of the node from another."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
        return stream.read().strip()


def lives(state, who):
    """Whether the process that a state tells of is alive, or its keeper.

    :param who: ITSELF or KEEPER
    """
    pid, ticks = who
    # Ticks begin anew with each boot, and what a user's programs have noted outlives it.
    return state.get("boot", boot()) == boot() and is_alive(state[pid], state[ticks])


def is_alive(pid, ticks):
    """Whether the process with that number is still the one that was started then."""
    found = read_stat(pid)
    return found is not None and found[0] not in ENDED and found[2] == ticks


def is_marked(pid, start):
    """Whether a process was started with a marker that begins so: NAME: for any start of a name."""
    try:
        with open("/proc/%d/environ" % pid, "rb") as stream:
            environment = stream.read().split(b"\0")
    except OSError:
        # Another user's, or it has ended.
        return False
    return any(setting.startswith(("%s=%s" % (MARKER, start)).encode()) for setting in environment)


def members(start, keeper=None, marked=True):
    """The numbers of the processes with a marker that begins so, and of the descendants of a keeper.

    :param marked: whether to look for markers: while a keeper lives, whatever is left by others is its child
    :return: dictionary from number to state
    """
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            seen = read_stat(int(entry))
            if seen:
                found[int(entry)] = seen
    children: dict[int, list[int]] = {}
    for pid, (_state, parent, _ticks) in found.items():
        children.setdefault(parent, []).append(pid)
    ours, left = set(), list(children.get(keeper, [])) if keeper else []
    while left:
        pid = left.pop()
        if pid not in ours:
            ours.add(pid)
            left += children.get(pid, [])
    if marked:
        ours |= {pid for pid in found if pid not in ours and pid != keeper and is_marked(pid, start)}
    return {pid: found[pid][0] for pid in sorted(ours)}


def command_of(pid):
    """The command line, with blanks between the words, as ps has it."""
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as stream:
            words = stream.read().rstrip(b"\0 ")
        with open("/proc/%d/comm" % pid, encoding="utf-8", errors="replace") as stream:
            name = stream.read().strip()
    except OSError:
        return ""
    return words.replace(b"\0", b" ").decode("utf-8", "replace") if words else "[%s]" % name


def kill(pids):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kill_all(start, keeper=None, seconds=KILLING):
    """Ends processes at once, again and again while they start others.

    :return: the numbers of those that are still there after some seconds
    """
    end = time.monotonic() + seconds
    while left := [pid for pid, state in members(start, keeper).items() if state not in ENDED]:
        if time.monotonic() > end:
            return left
        kill(left)
        time.sleep(LOOK)
    return []


def shared_files(pids):
    """The files of shared memory that processes use: killed ones leave them behind, and no container goes with them."""
    found: set[str] = set()
    for pid in pids:
        with contextlib.suppress(OSError), open("/proc/%d/maps" % pid, encoding="utf-8", errors="replace") as stream:
            paths = [line.rstrip("\n").split(None, 5)[5] for line in stream if " /dev/shm/" in line]
            found.update(path for path in paths if not path.endswith(" (deleted)"))
    return found


def remove_shared(state):
    """Removes what the keeper has noted of that."""
    for path in state.get("shared", []):
        with contextlib.suppress(OSError):
            os.unlink(path)


def root_of_package():
    """Where Python finds this package: a folder, or the file that holds the programs."""
    path = os.path.abspath(__file__)
    for _part in __name__.split("."):
        path = os.path.dirname(path)
    return path


class Processes:
    """The processes of this node by name.

    :param specs: folder in the state folder with a file NAME.json for each
    :param run: folder where keepers note how their processes are
    """

    def __init__(self, specs, run=None):
        self.specs, self.run = specs, run or os.path.join(run_dir(os.path.dirname(specs)), RUN)

    def spec_file(self, name):
        return os.path.join(self.specs, name + ".json")

    def state_file(self, name):
        return os.path.join(self.run, name + ".json")

    def ident(self, name):
        """What tells one file from another, None where there is none."""
        try:
            with open(self.spec_file(name), "rb") as stream:
                return hashlib.sha256(stream.read()).hexdigest()
        except OSError:
            return None

    def get(self, name):
        """The process, or None if there is none."""
        ident = self.ident(name)
        if ident is None:
            return None
        state = read_json(self.state_file(name))
        # What runs by an earlier file is none of this one's starts.
        if state is None or state["id"] != ident:
            return Container(ident, "created", "", 0)
        if state["status"] == "running" and not lives(state, KEEPER):
            # Whoever was to note how it ended was killed, and the process with it.
            state = dict(state, status="exited", exit_code=128 + signal.SIGKILL)
        return Container(ident, state["status"], state["started_at"], state["exit_code"])

    def processes(self, name):
        """State (a letter, as ps has it), command line and number of the process and of all that it has started."""
        keeper = self.keeper(name)
        found = members(name + ":", keeper, marked=keeper is None)
        return [(state, command_of(pid), pid) for pid, state in found.items()]

    def printed(self, name, started_at):
        """The last lines of what the process has printed since a start, each with its time before it."""
        spec = read_json(self.spec_file(name))
        try:
            with open(spec["log"], "rb") as stream:
                begin = max(0, os.fstat(stream.fileno()).st_size - TAIL)
                stream.seek(begin)
                lines = stream.read().decode("utf-8", "replace").split("\n")
        except (OSError, TypeError) as error:
            raise EngineError("log: %s" % error) from error
        # The first one may be cut off. Times are written alike, so that they sort as text.
        return "\n".join(line for line in lines[1 if begin else 0 :] if line >= started_at)

    def keeper(self, name):
        """The number of the living keeper, None if there is none."""
        state = read_json(self.state_file(name))
        return state["keeper"] if state and lives(state, KEEPER) else None

    def start(self, name):
        found = self.get(name)
        if found is None:
            raise EngineError("start: there is no file %s" % self.spec_file(name))
        if found.running:
            return
        # What an earlier start has left, as after its keeper was killed.
        self.end(name, "start")
        os.makedirs(self.run, mode=0o700, exist_ok=True)
        words = [sys.executable, "-m", __name__.rpartition(".")[0] + ".keeper"]
        words += [self.spec_file(name), self.state_file(name), "%s:%s" % (name, uuid.uuid4().hex[:16])]
        with subprocess.Popen(
            words,
            cwd="/",
            env=dict(os.environ, PYTHONPATH=root_of_package()),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as starter:
            try:
                # It ends when its process runs, or does not; the keeper itself is a child of nobody.
                said = starter.communicate(timeout=STARTING)[0]
            except subprocess.TimeoutExpired as error:
                starter.kill()
                raise EngineError("start: %s did not start within %d s" % (name, STARTING)) from error
        if starter.returncode:
            raise EngineError("start: %s" % (said.strip().splitlines() or ["status %d" % starter.returncode])[-1])

    def stop(self, name, seconds):
        """Asks the process to end, and ends it and all that it has started after so many seconds; with 0 unasked."""
        state = read_json(self.state_file(name))
        if seconds and state and state["status"] == "running" and lives(state, ITSELF):
            with contextlib.suppress(ProcessLookupError):
                os.kill(state["pid"], signal.SIGTERM)
            end = time.monotonic() + seconds
            while time.monotonic() < end and lives(state, ITSELF):
                time.sleep(LOOK)
        self.end(name, "stop")

    def end(self, name, what):
        """Ends all that was ever started under a name. Its keeper then notes how the process ended."""
        if left := kill_all(name + ":", self.keeper(name)):
            raise EngineError("%s: %d processes of %s do not end: %s" % (what, len(left), name, left[:5]))
        end = time.monotonic() + KILLING
        while keeper := self.keeper(name):
            if time.monotonic() > end:
                # One that hangs, as with its log on a disk that does not answer.
                kill([keeper])
            time.sleep(LOOK)
        remove_shared(read_json(self.state_file(name)) or {})


def execute(spec_file, argv):
    """Becomes another command in the environment of a process, as docker exec does. Does not return."""
    with open(spec_file, encoding="utf-8") as stream:
        os.execvpe(argv[0], argv, json.load(stream)["env"])
