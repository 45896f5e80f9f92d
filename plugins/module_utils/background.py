# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One job in the background of a node: it outlives the connection that started it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import traceback

from .errors import OneccError
from .waiter import wait_until

GRACE = 10
STOPPED = "another run has ended this one: there is one job for each node. Run this again if it is still wanted."


class Background:
    """The node's one job of a kind, known by a lock that it holds as long as it lives.

    :param folder: where it keeps lock, log and result: on the node's own disk, where locks can be relied on
    """

    def __init__(self, folder):
        self.folder = folder
        self.lock_path = os.path.join(folder, "lock")
        self.log_path = os.path.join(folder, "log")
        self.result_path = os.path.join(folder, "result.json")

    def _lock(self):
        """The open lock file, locked by us; None if a job holds it."""
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        # In a place where all may write somebody may have been first, with a link to what is ours.
        if os.lstat(self.folder).st_uid != os.geteuid():
            raise OneccError(self.folder, "a folder of ours", "somebody else's", "Have its owner remove it.")
        stream = os.fdopen(os.open(self.lock_path, os.O_RDWR | os.O_CREAT, 0o600), "r+", encoding="utf-8")
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.close()
            return None
        return stream

    def running(self):
        """Whether a job runs."""
        if not os.path.exists(self.lock_path):
            return False
        stream = self._lock()
        if stream:
            stream.close()
        return stream is None

    def wait(self, seconds):
        """Waits for the end of the job. Whether it has ended."""
        return wait_until(self.running, lambda running: not running, seconds, 0.1)[1]

    def _pid(self):
        """The job's process, 0 if there is none. While the lock is held its holder lives: the number is its own."""

        def look():
            if not self.running():
                return "0\n"
            with open(self.lock_path, encoding="utf-8") as stream:
                return stream.read()

        # Just begun, it may not have said yet.
        text, said, _waited = wait_until(look, lambda text: text.endswith("\n"), GRACE, 0.05)
        return int(text) if said else 0

    def stop(self):
        """Ends the job, if one runs.

        :return: whether one ran
        :raises OneccError: when it cannot be ended
        """
        if not self.running():
            return False
        for sign in (signal.SIGTERM, signal.SIGKILL):
            pid = self._pid()
            if pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, sign)
            if self.wait(GRACE):
                if self.result() is None:
                    self._note({"failed": True, "msg": STOPPED})
                return True
        raise OneccError(
            self.lock_path,
            "process %d to end" % pid,
            "that it still runs after SIGKILL",
            "It waits for storage that does not answer: see to the shared file system, or reboot the node.",
        )

    def start(self, work):
        """Runs work in a process of its own, with its output in the log, and its result kept.

        :param work: function without arguments that returns a dictionary; an OneccError that it raises
            becomes the result's msg
        :raises OneccError: when a job runs already
        """
        lock = self._lock()
        if lock is None:
            raise OneccError(self.folder, "no job to be running", "one that is", "Stop it first.")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.result_path)
        # The number of an earlier job may be another process's by now.
        lock.truncate(0)
        log = os.open(self.log_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        pid = os.fork()
        if pid:
            os.close(log)
            # Our copy of the lock goes; the job's remains.
            lock.close()
            return
        try:
            os.setsid()
            os.chdir("/")
            nowhere = os.open(os.devnull, os.O_RDONLY)
            for number, target in ((nowhere, 0), (log, 1), (log, 2)):
                os.dup2(number, target)
            lock.seek(0)
            lock.write("%d\n" % os.getpid())
            lock.flush()
            self._keep(work)
        finally:
            # Nothing of what the parent would do at its end.
            os._exit(0)

    def _keep(self, work):
        try:
            result = dict(work(), failed=False)
            json.dumps(result)
        except OneccError as error:
            result = {"failed": True, "msg": str(error)}
        except BaseException as error:
            traceback.print_exc()
            result = {"failed": True, "msg": "%s: %s" % (type(error).__name__, error), "log": self.log_path}
        self._note(result)

    def _note(self, result):
        new = self.result_path + ".new"
        with open(new, "w", encoding="utf-8") as stream:
            json.dump(result, stream)
        os.replace(new, self.result_path)

    def result(self):
        """What the job that has ended came to. None if it was ended from outside, or none was started."""
        try:
            with open(self.result_path, encoding="utf-8") as stream:
                return json.load(stream)
        except FileNotFoundError:
            return None
