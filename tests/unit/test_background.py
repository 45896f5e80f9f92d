# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job in the background, started by one process and watched by another, as one module after another does."""

from __future__ import annotations

import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest

from ansible_collections.onecc.vllm.plugins.module_utils import background
from ansible_collections.onecc.vllm.plugins.module_utils.background import STOPPED, Background
from ansible_collections.onecc.vllm.plugins.module_utils.errors import OneccError

SCRIPT = """
import os, signal, sys, time
sys.path.insert(0, sys.argv[1])
# A shell has it ignored by what it starts in the background, such as these tests.
signal.signal(signal.SIGINT, signal.default_int_handler)
from ansible_collections.onecc.vllm.plugins.module_utils.background import STOPPED, Background
from ansible_collections.onecc.vllm.plugins.module_utils.errors import OneccError

def here(name):
    return os.path.join(sys.argv[2], name)

def work():
    {work}

try:
    Background(here("state")).start(work)
    {then}
except OneccError as error:
    sys.exit(str(error))
"""
# Says that it is up, and goes on until it is told to end.
LONG = """
    open(here("up"), "w").close()
    while not os.path.exists(here("end")):
        time.sleep(0.01)
    return {"seconds": 7}
"""
STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN)" + LONG


class Starter:
    """Starts jobs from processes of their own, which are over when a job is in the background."""

    def __init__(self, folder, until):
        self.folder, self.until = folder, until
        self.job = Background(str(folder / "state"))

    def command(self, work, then="pass"):
        collections = pathlib.Path(background.__file__).parents[5]
        script = SCRIPT.replace("{work}", work.strip()).replace("{then}", then)
        return [sys.executable, "-c", script, str(collections), str(self.folder)]

    def start(self, work):
        """Gives what the process said, nothing if all went well. It would not return if the job held its pipes."""
        run = subprocess.run(
            self.command(work), input="not for the job\n", capture_output=True, text=True, timeout=30, check=False
        )
        assert run.stdout == ""
        return run.stderr

    def start_long(self, work=LONG):
        assert self.start(work) == ""
        self.until((self.folder / "up").exists)

    def end(self):
        (self.folder / "end").write_bytes(b"")

    def wait(self):
        self.until(lambda: not self.job.running())
        return self.job.result()

    def pid(self):
        return int((self.folder / "state" / "lock").read_text())

    def log(self):
        return (self.folder / "state" / "log").read_text()


@pytest.fixture
def starter(tmp_path, until):
    starter = Starter(tmp_path, until)
    yield starter
    starter.end()
    until(lambda: not starter.job.running())


def test_nothing_was_started(starter):
    assert (starter.job.running(), starter.job.result(), starter.job.stop()) == (False, None, False)
    # Looking leaves nothing behind.
    assert not (starter.folder / "state").exists()


def test_a_job(starter):
    starter.start_long()
    assert (starter.job.running(), starter.job.result()) == (True, None)
    # Looking does no harm.
    assert starter.job.running()
    starter.end()
    assert starter.wait() == {"seconds": 7, "failed": False}
    assert starter.job.stop() is False
    assert starter.job.result() == {"seconds": 7, "failed": False}
    assert sorted(path.name for path in (starter.folder / "state").iterdir()) == ["lock", "log", "result.json"]


def test_a_second_job_is_refused(starter):
    starter.start_long()
    pid = starter.pid()
    said = starter.start("return {'second': True}")
    assert said == "%s: expected no job to be running, found one that is. Stop it first.\n" % starter.job.folder
    assert (starter.job.running(), starter.pid()) == (True, pid)
    starter.end()
    assert starter.wait() == {"seconds": 7, "failed": False}


def test_one_job_after_another(starter):
    """What the one came to and said is gone when the next begins."""
    starter.start("print('first'); return {'first': True}")
    assert starter.wait() == {"first": True, "failed": False}
    starter.start_long()
    assert (starter.job.result(), starter.log()) == (None, "")
    starter.end()
    assert starter.wait() == {"seconds": 7, "failed": False}


@pytest.mark.parametrize(
    ("work", "msg", "logged"),
    [
        pytest.param(
            "raise OneccError('/shared', 'space', 'none', 'Free some.')",
            "/shared: expected space, found none. Free some.",
            r"",
            id="the-collections-own",
        ),
        pytest.param("raise KeyError('blob')", "KeyError: 'blob'", r"(?s)Traceback.*KeyError: 'blob'\n", id="another"),
        pytest.param("sys.exit('over')", "SystemExit: over", r"(?s)Traceback.*SystemExit: over\n", id="exit"),
    ],
)
def test_a_job_that_fails(starter, work, msg, logged):
    assert starter.start(work) == ""
    result = starter.wait()
    # A mistake of a program is more than one line can tell.
    log = {"log": starter.job.log_path} if logged else {}
    assert result == {"failed": True, "msg": msg} | log
    assert re.fullmatch(logged, starter.log())


@pytest.mark.parametrize(
    "work",
    [
        pytest.param("return {'result': object()}", id="no-json"),
        pytest.param("return 3", id="no-dictionary"),
    ],
)
def test_a_result_that_cannot_be_kept(starter, work):
    """Nobody is told that the job was ended from outside."""
    assert starter.start(work) == ""
    assert starter.wait()["failed"] is True
    assert "TypeError" in starter.log()


def test_what_a_job_says(starter):
    """All of it goes to the log, also that of a process that it starts; and it has nothing to read."""
    assert (
        starter.start("""
    print("one")
    print("two", file=sys.stderr)
    sys.stdout.flush()
    os.system("echo three; cat")
    return {"cwd": os.getcwd()}
""")
        == ""
    )
    assert starter.wait() == {"cwd": "/", "failed": False}
    assert sorted(starter.log().split()) == ["one", "three", "two"]


def test_who_may_look(starter):
    before = os.umask(0)
    try:
        assert starter.start("return {}") == ""
    finally:
        os.umask(before)
    starter.wait()
    folder = starter.folder / "state"
    modes = {path.name: path.stat().st_mode & 0o777 for path in (folder, folder / "lock", folder / "log")}
    assert modes == {"state": 0o700, "lock": 0o600, "log": 0o600}


# Its end, before it is done.


def test_a_folder_of_somebody_else_is_refused(tmp_path, monkeypatch):
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    with pytest.raises(OneccError, match="expected a folder of ours, found somebody else's"):
        Background(str(tmp_path / "state")).start(dict)
    assert list(tmp_path.iterdir()) == [tmp_path / "state"]
    assert not list((tmp_path / "state").iterdir())


def test_stop(starter):
    starter.start_long()
    assert starter.job.stop() is True
    assert (starter.job.running(), starter.job.result()["msg"], starter.job.stop()) == (False, STOPPED, False)


def test_stop_one_that_does_not_listen(starter, monkeypatch):
    monkeypatch.setattr(background, "GRACE", 0.5)
    starter.start_long(STUBBORN)
    assert starter.job.stop() is True
    assert (starter.job.running(), starter.job.result()) == (False, {"failed": True, "msg": STOPPED})


def test_stop_one_that_finishes_first(starter):
    """A job may come to its end in the time that it is given."""
    starter.start_long("signal.signal(signal.SIGTERM, lambda *_: open(here('end'), 'w').close())" + LONG)
    assert starter.job.stop() is True
    assert starter.job.result() == {"seconds": 7, "failed": False}


def test_stop_ends_no_other_process(starter):
    """Until a job has said who it is, the number of the one before it is still there, which may be another's by now."""
    with subprocess.Popen(["sleep", "60"]) as bystander:
        try:
            for _turn in range(5):
                (starter.folder / "state").mkdir(exist_ok=True)
                (starter.folder / "state" / "lock").write_text(str(bystander.pid))
                command = starter.command(LONG, then="Background(here('state')).stop()")
                run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
                assert (run.stderr, bystander.poll()) == ("", None)
                assert not starter.job.running()
        finally:
            bystander.kill()


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_ended_from_outside(starter, sign):
    starter.start_long()
    os.kill(starter.pid(), sign)
    assert starter.wait() is None
    # The next one can begin.
    assert starter.start("return {}") == ""
    assert starter.wait() == {"failed": False}


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP, signal.SIGINT])
def test_it_outlives_who_started_it(starter, sign):
    """Also the end of the whole session, as when a connection breaks."""
    command = starter.command(LONG, then="time.sleep(60)")
    with subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL) as process:
        starter.until((starter.folder / "up").exists)
        os.killpg(process.pid, sign)
    assert starter.job.running()
    starter.end()
    assert starter.wait() == {"seconds": 7, "failed": False}
