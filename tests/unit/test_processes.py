# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Long-lived processes without a container engine: real ones, which misbehave as Ray's and vLLM's do."""

from __future__ import annotations

import json
import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest

from ansible_collections.onecc.vllm.plugins.module_utils.supervisor import keeper, processes, runtime
from ansible_collections.onecc.vllm.plugins.module_utils.supervisor.processes import Processes

NAME = "onecc-try"
# Starts something in a session of its own that has lost its parent, and says its number.
STRAY = "setsid sh -c 'sleep 1000 & echo stray $!; exec sleep 1000' & "


@pytest.fixture
def node(tmp_path):
    """The processes of a node that has none; spec() says what to run, log() what it has written. Ends what is left."""

    class Node(Processes):
        def spec(self, *argv, name=NAME, **settings):
            spec = {
                "argv": argv,
                "env": {"PATH": os.environ["PATH"]},
                "log": str(tmp_path / (name + ".log")),
                "log_size": 1000000,
                "log_files": 2,
                **settings,
            }
            (tmp_path / (name + ".json")).write_text(json.dumps(spec))

        def log(self, name=NAME):
            path = tmp_path / (name + ".log")
            return path.read_text() if path.exists() else ""

        def alive(self, name=NAME):
            return {pid: command for state, command, pid in self.processes(name) if state not in processes.ENDED}

    node = Node(str(tmp_path), str(tmp_path / "run"))
    yield node
    for path in tmp_path.glob("*.json"):
        node.end(path.stem, "clean up")


def test_nothing_there(node):
    assert node.get(NAME) is None
    assert node.processes(NAME) == []
    node.stop(NAME, 1)
    with pytest.raises(runtime.EngineError, match="there is no file"):
        node.start(NAME)


def test_a_life(node, until):
    """Made, started, ended with a status, started again: a start has its own text, the process its own id."""
    node.spec("sh", "-c", "echo hello; read line <%s/go; exit 7" % node.specs)
    os.mkfifo(os.path.join(node.specs, "go"))
    made = node.get(NAME)
    assert (made.status, made.started_at, made.running) == ("created", "", False)
    node.start(NAME)
    first = node.get(NAME)
    assert first.running
    assert first.id == made.id
    node.start(NAME)
    assert node.get(NAME) == first, "what runs is left alone"
    until(lambda: re.search(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z hello\n$", node.log()))
    with open(os.path.join(node.specs, "go"), "w", encoding="ascii") as stream:
        stream.write("\n")
    until(lambda: not node.get(NAME).running)
    ended = node.get(NAME)
    assert (ended.status, ended.exit_code, ended.started_at) == ("exited", 7, first.started_at)
    node.start(NAME)
    assert node.get(NAME).started_at != first.started_at
    node.spec("sleep", "1000")
    assert node.get(NAME).status == "created", "another file is another process"
    assert node.get(NAME).id != made.id


def test_all_descendants_are_found_and_ended(node, until):
    """Also one in a session of its own whose parent has ended, and one that has cleared its environment."""
    node.spec("sh", "-c", STRAY + "env -i sleep 2000 & exec sleep 3000")
    node.start(NAME)
    until(lambda: len(node.alive()) >= 4 and "stray" in node.log())
    commands = " | ".join(node.alive().values())
    assert all(words in commands for words in ("sleep 1000", "sleep 2000", "sleep 3000")), commands
    assert "keeper" not in commands
    node.stop(NAME, 10)
    assert node.alive() == {}
    stopped = node.get(NAME)
    assert (stopped.status, stopped.exit_code) == ("exited", 128 + signal.SIGTERM)


def test_what_the_main_process_leaves_is_ended(node, until):
    node.spec("sh", "-c", STRAY + "while ! grep -q stray %s/%s.log; do sleep 0.05; done" % (node.specs, NAME))
    node.start(NAME)
    until(lambda: not node.get(NAME).running)
    assert node.get(NAME).exit_code == 0
    assert node.alive() == {}


def test_one_that_does_not_listen_is_ended(node, until):
    node.spec("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done")
    node.start(NAME)
    until(lambda: "ready" in node.log())
    node.stop(NAME, 0.2)
    assert node.get(NAME).exit_code == 128 + signal.SIGKILL
    assert node.alive() == {}


def test_one_that_is_not_asked(node, until):
    """As an engine, which would answer half a text if it were."""
    # Quicker than a shell, which lets its child end first: a kill that follows would hide that it was asked.
    script = (
        "import os, signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]); os.write(1, b'ready\\n');"
        "signal.sigwait([signal.SIGTERM]); os.write(1, b'asked\\n'); os._exit(5)"
    )
    node.spec(sys.executable, "-c", script)
    node.start(NAME)
    until(lambda: "ready" in node.log())
    node.stop(NAME, 0)
    assert node.get(NAME).exit_code == 128 + signal.SIGKILL
    assert "asked" not in node.log()


@pytest.mark.parametrize("first", ["process", "keeper"])
def test_shared_memory_of_killed_ones_goes(node, until, first):
    """As vLLM's queues are: containers have a /dev/shm of their own, which goes with them."""
    script = (
        "from multiprocessing import resource_tracker, shared_memory; import os, time;"
        "held = shared_memory.SharedMemory(create=True, size=100); print('has', held.name, flush=True);"
        # Python's own help is killed, too, as vLLM kills all that it has started.
        "os.kill(resource_tracker._resource_tracker._pid, 9); time.sleep(1000)"
    )
    node.spec(sys.executable, "-c", script)
    node.start(NAME)
    path = "/dev/shm/" + until(lambda: re.search(r" has (\S+)\n", node.log()))[1]
    until(lambda: path in processes.read_json(node.state_file(NAME))["shared"])
    assert os.path.exists(path)
    if first == "keeper":
        os.kill(node.keeper(NAME), signal.SIGKILL)
    node.stop(NAME, 0)
    assert not os.path.exists(path)


def test_one_that_stands_still_is_ended(node, until):
    node.spec("sleep", "1000")
    node.start(NAME)
    pid = next(iter(node.alive()))
    os.kill(pid, signal.SIGSTOP)
    until(lambda: [state for state, _command, _pid in node.processes(NAME)] == ["T"])
    node.stop(NAME, 0)
    assert node.get(NAME).status == "exited"


def test_a_killed_keeper_takes_the_process_with_it(node, until):
    """What is left is found by its marker, and ended by the next start."""
    node.spec("sh", "-c", STRAY + "exec sleep 3000")
    node.start(NAME)
    until(lambda: "stray" in node.log())
    os.kill(node.keeper(NAME), signal.SIGKILL)
    until(lambda: not node.get(NAME).running)
    assert node.get(NAME).exit_code == 128 + signal.SIGKILL
    left = node.alive()
    assert "sleep 1000" in left.values()
    node.start(NAME)
    assert node.get(NAME).running
    until(lambda: not any(processes.read_stat(pid) for pid in left))


def test_the_keeper_passes_signals_on(node, until):
    node.spec("sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done")
    node.start(NAME)
    until(lambda: "ready" in node.log())
    os.kill(node.keeper(NAME), signal.SIGTERM)
    until(lambda: not node.get(NAME).running)
    assert node.get(NAME).exit_code == 5


def test_outlives_who_started_it(node, until):
    """As the programs are started anew with newer code or settings, and find it again."""
    node.spec("sleep", "1000")
    collections = processes.__file__.partition("/ansible_collections/")[0]
    program = "import sys; sys.path.insert(0, %r); from %s import Processes; Processes(%r, %r).start(%r)"
    program %= (collections, processes.__name__, node.specs, node.run, NAME)
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    assert node.get(NAME).running
    assert list(node.alive().values()) == ["sleep 1000"]
    pid = next(iter(node.alive()))
    assert os.getsid(pid) != os.getsid(0)


def test_two_names(node):
    """One name may begin as another does."""
    for name in (NAME, NAME + "-more"):
        node.spec("sleep", "1000", name=name)
        node.start(name)
    node.stop(NAME, 1)
    assert not node.get(NAME).running
    assert node.get(NAME + "-more").running
    assert len(node.alive(NAME + "-more")) == 1


@pytest.mark.parametrize(
    ("argv", "settings", "words"),
    [
        (["/no/such/program"], {}, "No such file"),
        (["sleep", "1"], {"cwd": "/no/such/folder"}, "No such file"),
        (["sleep", "1"], {"log": "/no/such/folder/log"}, "No such file"),
        (["sleep", "1"], {"limits": {"nofile": 1 << 40}}, ""),
    ],
    ids=["program", "folder", "log", "limit"],
)
def test_what_cannot_be_started_says_why(node, argv, settings, words):
    node.spec(*argv, **settings)
    with pytest.raises(runtime.EngineError, match="start: .*" + words):
        node.start(NAME)
    assert not node.get(NAME).running


@pytest.mark.parametrize(
    ("user", "wanted", "most", "told"),
    [(0, -1, 8192, -1), (1000, -1, 8192, 8192), (1000, 9000, 8192, 8192), (1000, 64, 8192, 64), (1000, 9000, -1, 9000)],
)
def test_who_is_not_root_gets_as_much_as_is_allowed(monkeypatch, user, wanted, most, told):
    asked = []
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(keeper, "prctl", lambda *words: 0)
    monkeypatch.setattr(keeper.resource, "getrlimit", lambda number: (64, most))
    monkeypatch.setattr(keeper.resource, "setrlimit", lambda number, values: asked.append(values))
    keeper.confine({"memlock": wanted}, None)
    assert asked == [(told, told)]


@pytest.mark.parametrize(("user", "folder"), [(0, "/run"), (1000, "/scratch/alice/onecc/run")])
def test_where_that_is_which_is_gone_with_a_boot(monkeypatch, user, folder):
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert runtime.run_dir("/scratch/alice/onecc") == folder
    assert Processes("/scratch/alice/onecc/processes").run == folder + "/onecc-processes"


def test_what_was_noted_before_a_boot_is_none_of_ours(node):
    """Numbers and ticks of an earlier boot may be those of a stranger now."""
    node.spec("sleep", "1000")
    node.start(NAME)
    state = json.loads(pathlib.Path(node.state_file(NAME)).read_text())
    other = dict(state, boot="00000000-0000-0000-0000-000000000000")
    pathlib.Path(node.state_file(NAME)).write_text(json.dumps(other))
    found = node.get(NAME)
    assert (found.status, found.exit_code) == ("exited", 137)
    assert node.keeper(NAME) is None
    pathlib.Path(node.state_file(NAME)).write_text(json.dumps(state))
    assert node.get(NAME).running


def test_environment_limits_and_capabilities(node, until):
    """Only what the file says, and what is found by; root has no more capabilities than it says."""
    script = "env; ulimit -n; grep -E 'NoNewPrivs|CapBnd' /proc/self/status; echo end"
    spec = {"limits": {"nofile": 64}, "capabilities": ["CAP_DAC_OVERRIDE", "ipc_lock"], "cwd": "/tmp"}
    node.spec("sh", "-c", script, **spec)
    node.start(NAME)
    until(lambda: " end\n" in node.log())
    lines = [line.partition(" ")[2] for line in node.log().splitlines()]
    names = {line.partition("=")[0] for line in lines if "=" in line}
    assert names - {"PWD", "_", "SHLVL", "OLDPWD"} == {"PATH", processes.MARKER, "SPT_NOENV"}
    assert "64" in lines
    assert "NoNewPrivs:\t1" in lines
    bounding = next(int(line.split()[1], 16) for line in lines if line.startswith("CapBnd"))
    if os.geteuid() == 0:
        # A container may have fewer to begin with.
        assert bounding & ~(1 << 1 | 1 << 14) == 0


def test_log_is_bounded(node, until):
    node.spec("sh", "-c", "seq 20000; printf no-newline", log_size=20000, log_files=3)
    node.start(NAME)
    until(lambda: not node.get(NAME).running)
    assert node.log().endswith(" no-newline\n")
    names = [NAME + ".log" + ending for ending in ("", ".1", ".2")]
    assert sorted(entry for entry in os.listdir(node.specs) if ".log" in entry) == names
    # One piece of output more than the bound at most, each of its lines with its time.
    assert all(os.path.getsize(os.path.join(node.specs, name)) < 20000 + 10 * keeper.LONGEST for name in names)


def test_what_was_printed_since_a_start(node, until):
    """A bar that is kept up to date is one line with others in it."""
    node.spec("sh", "-c", "printf ' 0%%\\r50%%\\n'; echo $$")
    texts = []
    for _start in range(2):
        node.start(NAME)
        until(lambda: not node.get(NAME).running)
        texts.append(node.printed(NAME, node.get(NAME).started_at))
    assert [text.count(" 0%\r50%\n") for text in texts] == [1, 1], texts
    assert node.log().count("50%") == 2
    os.unlink(os.path.join(node.specs, NAME + ".log"))
    with pytest.raises(runtime.EngineError, match="log: "):
        node.printed(NAME, "2026")


def test_a_long_log_is_read_from_its_end(node, until):
    node.spec("sh", "-c", "seq 20000", log_size=10000000)
    node.start(NAME)
    until(lambda: not node.get(NAME).running)
    told = node.printed(NAME, node.get(NAME).started_at)
    assert told.endswith(" 20000")
    assert 0.9 * processes.TAIL < len(told) < processes.TAIL
    assert re.match(r"\d{4}-\S+Z \d+\n", told)


def test_a_copied_environment_leaves_the_marker(node, until):
    """vLLM's driver copies its environment to ranks, by os.environ: others see what a process was started with."""
    script = "import os, time; os.environ['%s'] = 'other:1'; print('ready', flush=True); time.sleep(1000)" % (
        processes.MARKER
    )
    node.spec(sys.executable, "-c", script)
    node.start(NAME)
    until(lambda: "ready" in node.log())
    pid = next(iter(node.alive()))
    assert processes.is_marked(pid, NAME + ":")
    assert not processes.is_marked(pid, "other:")


def test_a_state_that_is_cut_off_is_none(node):
    """As after a disk was full."""
    node.spec("sleep", "1000")
    os.mkdir(node.run)
    with open(node.state_file(NAME), "w", encoding="utf-8") as stream:
        stream.write('{"id": ')
    assert node.get(NAME).status == "created"


def test_open_runtime():
    opened = runtime.open_runtime({"runtime": "venv", "processes": "/x"})
    assert isinstance(opened, Processes)
    assert opened.specs == "/x"


def test_execute(node):
    """A command of an operator, in the environment of a process."""
    node.spec("sleep", "1", env={"PATH": os.environ["PATH"], "ONLY": "this"})
    collections = processes.__file__.partition("/ansible_collections/")[0]
    program = "import sys; sys.path.insert(0, %r); from %s import execute; execute(%r, ['sh', '-c', 'echo $ONLY$HOME'])"
    program %= (collections, processes.__name__, node.spec_file(NAME))
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout == "this\n"
