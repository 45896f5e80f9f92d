# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parent of a long-lived process: what a shim is to a container.

Usage: python -m …keeper SPEC STATE NAME:START. It ends as soon as the process runs, and stays behind as a process of
its own: takes in descendants that lose their parents, writes the log, and when the process has ended ends the rest.

SPEC is a JSON file with argv, env and cwd; log (a file), log_size (bytes after which a new one is begun) and log_files
(how many are kept); limits (from the name of a limit, such as nofile, to its value, -1 for none); capabilities (those
of Linux that root keeps, null for all). STATE is a file that is written, see Processes.get.
"""

from __future__ import annotations

import contextlib
import ctypes
import datetime
import hashlib
import itertools
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time

from .processes import MARKER, boot, kill_all, members, read_stat, remove_shared, shared_files, write_json

# prctl(2)
PR_SET_PDEATHSIG, PR_CAPBSET_READ, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 23, 24, 36, 38
# capabilities(7), in the order of their numbers.
# fmt: off
CAPABILITIES = [
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
]
# fmt: on
# A line of a log that is longer is cut into several.
LONGEST = 1 << 16
# Seconds between two looks at the shared memory that the process and its descendants use.
SHARED = 5
# Seconds for which what is still in the pipe is awaited once the process has ended.
DRAINING = 2

LIBC = ctypes.CDLL(None, use_errno=True)


def prctl(option, value=0):
    return LIBC.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))


def stamp():
    """Now, as Docker writes it before every line."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Log:
    """Lines with their time, in files of bounded size. A disk that is full loses lines and holds up nobody.

    :param path: the newest file; older ones have a number behind it
    :param size: bytes after which the next file is begun
    :param files: how many there are, with the newest
    """

    def __init__(self, path, size, files):
        self.path, self.size, self.files = path, size, files
        self.rest = b""
        self.open()

    def open(self):
        self.file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def add(self, data):
        *lines, self.rest = (self.rest + data).split(b"\n")
        if len(self.rest) > LONGEST:
            lines, self.rest = [*lines, self.rest], b""
        if not lines:
            return
        now = stamp().encode() + b" "
        with contextlib.suppress(OSError):
            os.write(self.file, b"".join(now + line + b"\n" for line in lines))
            if os.fstat(self.file).st_size > self.size:
                self.rotate()

    def rotate(self):
        names = [self.path] + ["%s.%d" % (self.path, number) for number in range(1, self.files)]
        for newer, older in reversed(list(itertools.pairwise(names))):
            with contextlib.suppress(FileNotFoundError):
                os.replace(newer, older)
        if self.files == 1:
            os.unlink(self.path)
        os.close(self.file)
        self.open()

    def close(self):
        if self.rest:
            self.add(b"\n")


def confine(limits, capabilities):
    """Runs in the new process, before it becomes the command."""
    # A process without its keeper has no log.
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    for name, value in limits.items():
        number = getattr(resource, "RLIMIT_" + name.upper())
        most = resource.getrlimit(number)[1]
        # Who is not root gets as much as is allowed.
        if os.geteuid() != 0 and most != -1 and not 0 <= value <= most:
            value = most
        resource.setrlimit(number, (value, value))
    if capabilities is None:
        return
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    # Who is not root has none to lose.
    if os.geteuid() == 0:
        keep = {name.upper().removeprefix("CAP_") for name in capabilities}
        number = 0
        while (there := prctl(PR_CAPBSET_READ, number)) >= 0:
            known = CAPABILITIES[number] if number < len(CAPABILITIES) else ""
            if there and known not in keep and prctl(PR_CAPBSET_DROP, number):
                raise OSError(ctypes.get_errno(), "capability %d cannot be dropped" % number)
            number += 1


def start(spec, marker, output):
    """The process, with its output going into a pipe."""
    # Ray's processes give themselves titles. Without the second setting those are written over their environment.
    env = dict(spec["env"], **{MARKER: marker, "SPT_NOENV": "1"})
    limits, capabilities = spec.get("limits") or {}, spec.get("capabilities")
    return subprocess.Popen(
        spec["argv"],
        env=env,
        cwd=spec.get("cwd") or "/",
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        preexec_fn=lambda: confine(limits, capabilities),
    )


class Keeper:
    """Keeps one process until its end.

    :param spec_file: see above
    :param state_file: likewise
    :param marker: NAME:START
    """

    def __init__(self, spec_file, state_file, marker):
        with open(spec_file, "rb") as stream:
            text = stream.read()
        self.spec, self.state_file, self.marker = json.loads(text), state_file, marker
        self.state = {
            "id": hashlib.sha256(text).hexdigest(),
            "status": "running",
            "start": marker,
            "boot": boot(),
            "keeper": os.getpid(),
            "keeper_ticks": read_stat(os.getpid())[2],
            "exit_code": 0,
            "shared": [],
        }
        self.log = Log(self.spec["log"], self.spec["log_size"], self.spec["log_files"])
        self.output, self.input = os.pipe()
        # Whoever asks the keeper to end means its process.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self.pass_on)
        self.main = None

    def pass_on(self, number, _frame):
        if self.main:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.main, number)

    def begin(self):
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        process = start(self.spec, self.marker, self.input)
        # It is waited for together with what it has left behind.
        process.returncode = 0
        self.main = process.pid
        os.close(self.input)
        self.state.update(pid=self.main, ticks=read_stat(self.main)[2], started_at=stamp())
        write_json(self.state_file, self.state)

    def reap(self):
        """Takes note of children that have ended: whether the process is among them."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if not pid:
                return False
            if pid == self.main:
                code = os.waitstatus_to_exitcode(status)
                self.state["exit_code"] = code if code >= 0 else 128 - code
                return True

    def read(self, seconds):
        """Writes what comes within some seconds into the log; whether there is more to come."""
        if not select.select([self.output], [], [], seconds)[0]:
            return True
        data = os.read(self.output, 1 << 16)
        if data:
            self.log.add(data)
        return bool(data)

    def look_at_shared(self):
        """Notes files in /dev/shm, to remove them in place of processes that are killed."""
        found = shared_files(members(self.marker, os.getpid(), marked=False))
        if not found <= set(self.state["shared"]):
            self.state["shared"] = sorted(found.union(self.state["shared"]))
            write_json(self.state_file, self.state)

    def keep(self):
        # A child that ends wakes select up.
        waker, alarm = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        watched = [self.output, waker]
        looked = time.monotonic()
        while not self.reap():
            if time.monotonic() - looked > SHARED:
                self.look_at_shared()
                looked = time.monotonic()
            ready = select.select(watched, [], [], 1)[0]
            if waker in ready:
                os.read(waker, 1024)
            if self.output in ready and not self.read(0):
                # All have closed their output.
                watched = [waker]
        signal.set_wakeup_fd(-1)
        self.main = None
        self.look_at_shared()
        kill_all(self.marker, os.getpid())
        end = time.monotonic() + DRAINING
        while self.output in watched and time.monotonic() < end and self.read(0.1):
            pass
        self.log.close()
        self.reap()
        remove_shared(self.state)
        write_json(self.state_file, dict(self.state, status="exited", finished_at=stamp()))


def main():
    # The rest goes on as a child of nobody.
    told, tell = os.pipe()
    if os.fork():
        os.close(tell)
        with open(told, encoding="utf-8") as stream:
            word = stream.read()
        sys.stdout.write(word)
        raise SystemExit(word != "started")
    os.close(told)
    try:
        keeper = Keeper(*sys.argv[1:])
        keeper.begin()
        word = "started"
    # Who asked for it is told, whatever it is.
    except Exception as error:
        word = str(error) or type(error).__name__
    os.write(tell, word.encode())
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    os.close(nowhere)
    os.close(tell)
    if word == "started":
        keeper.keep()


if __name__ == "__main__":
    main()
