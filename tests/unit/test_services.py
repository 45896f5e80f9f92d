# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services of a node: what is written down for systemd and supervisord, and a real supervisord that runs them."""

from __future__ import annotations

import configparser
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import types

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.onecc.vllm.plugins.module_utils import evidence, services
from ansible_collections.onecc.vllm.plugins.module_utils.errors import OneccError
from ansible_collections.onecc.vllm.plugins.modules import service

TOOLS = str(pathlib.Path(sys.executable).parent.parent)


def definition(**settings):
    """As a module gives it, with all that was left out."""
    told = {name: option.get("default") for name, option in services.DEFINITION.items()}
    told["systemd"] = {"unit": [], "service": [], "install": [], **settings.pop("systemd", {})}
    return {**told, **settings}


RAY = definition(
    description="Ray head",
    documentation=["https://docs.ray.io", "https://docs.vllm.ai"],
    command=["/tools/bin/python", "/state/supervisor-ray.pyz", "ray", "/state/supervisor-ray.json"],
    kind="notify",
    outlived=True,
    open_files=1048576,
    systemd={"service": ["WatchdogSec=120", "OOMPolicy=continue", "TasksMax=infinity"]},
)
ENGINE = dict(
    RAY, after=["docker", "onecc-ray"], outlived=False, open_files=16384,
    systemd={"unit": [], "service": ["WatchdogSec=120"], "install": []},
)  # fmt: skip
ENDPOINT = definition(
    description="OpenAI-compatible endpoint in front of vLLM",
    documentation=["https://nginx.org/en/docs/"],
    command=["/usr/sbin/nginx", "-c", "/state/endpoint/nginx.conf"],
    reload=["/usr/sbin/nginx", "-t", "-q", "-c", "/state/endpoint/nginx.conf"],
    stop_timeout=10,
    open_files=65536,
    restricted=True,
)
FIREWALL = definition(
    description="Firewall of the serving cluster",
    command=["/usr/sbin/nft", "--file", "/state/firewall.nft"],
    kind="once",
    reload=["/usr/sbin/nft", "--file", "/state/firewall.nft"],
    stop=["/usr/sbin/nft", "delete", "table", "inet", "onecc"],
    systemd={
        "unit": ["DefaultDependencies=no", "After=local-fs.target nftables.service"],
        "install": ["WantedBy=multi-user.target nftables.service"],
    },
)

# What the files said before there was anything but systemd, without comments.
UNITS = {
    "onecc-ray": (
        RAY,
        """[Unit]
Description=Ray head
Documentation=https://docs.ray.io https://docs.vllm.ai
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0
[Service]
Type=notify
ExecStart=/tools/bin/python /state/supervisor-ray.pyz ray /state/supervisor-ray.json
SyslogIdentifier=onecc-ray
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec=1
KillMode=process
OOMPolicy=continue
TasksMax=infinity
TimeoutStopSec=90
WatchdogSec=120
LimitNOFILE=1048576
[Install]
WantedBy=multi-user.target""",
    ),
    "onecc-vllm": (
        ENGINE,
        """[Unit]
Description=Ray head
Documentation=https://docs.ray.io https://docs.vllm.ai
After=docker.service onecc-ray.service network-online.target
Wants=docker.service onecc-ray.service network-online.target
StartLimitIntervalSec=0
[Service]
Type=notify
ExecStart=/tools/bin/python /state/supervisor-ray.pyz ray /state/supervisor-ray.json
SyslogIdentifier=onecc-vllm
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec=1
KillMode=mixed
TimeoutStopSec=90
WatchdogSec=120
LimitNOFILE=16384
[Install]
WantedBy=multi-user.target""",
    ),
    "onecc-endpoint": (
        ENDPOINT,
        """[Unit]
Description=OpenAI-compatible endpoint in front of vLLM
Documentation=https://nginx.org/en/docs/
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0
[Service]
Type=exec
ExecStart=/usr/sbin/nginx -c /state/endpoint/nginx.conf
ExecReload=/usr/sbin/nginx -t -q -c /state/endpoint/nginx.conf
ExecReload=/bin/kill -HUP $MAINPID
SyslogIdentifier=onecc-endpoint
Restart=always
RestartSec=1
KillMode=mixed
TimeoutStopSec=10
LimitNOFILE=65536
NoNewPrivileges=yes
[Install]
WantedBy=multi-user.target""",
    ),
    "onecc-firewall": (
        FIREWALL,
        """[Unit]
Description=Firewall of the serving cluster
DefaultDependencies=no
After=local-fs.target nftables.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft --file /state/firewall.nft
ExecReload=/usr/sbin/nft --file /state/firewall.nft
ExecStop=-/usr/sbin/nft delete table inet onecc
[Install]
WantedBy=multi-user.target nftables.service""",
    ),
}


def by_section(text):
    """The lines of a unit, each section's in any order but for those of one name."""
    found, section = {}, None
    for line in text.splitlines():
        if line.startswith("["):
            section = found.setdefault(line, {})
        elif line and not line.startswith("#"):
            name, value = line.split("=", 1)
            section.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize("name", UNITS)
def test_units(name):
    described, text = UNITS[name]
    assert by_section(services.unit(name, described)) == by_section(text)


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        (RAY, {"priority": "10", "autorestart": "true", "stopwaitsecs": "90", "killasgroup": "false"}),
        (ENGINE, {"priority": "20", "autorestart": "true", "stopwaitsecs": "90", "killasgroup": "true"}),
        (ENDPOINT, {"priority": "10", "autorestart": "true", "stopwaitsecs": "10", "killasgroup": "true"}),
        (FIREWALL, {"priority": "1", "autorestart": "false"}),
    ],
    ids=["ray", "engine", "endpoint", "firewall"],
)
@pytest.mark.parametrize("enabled", [True, False])
def test_sections(described, expected, enabled):
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";",))
    parser.read_string(services.section("onecc-it", described, "/a b%/it.sh", "/run/it.log", enabled))
    found = dict(parser["program:onecc-it"])
    assert found["command"] == "/bin/sh '/a b%%/it.sh' start"
    assert (found["autostart"], found["stopasgroup"], found["startsecs"]) == (str(enabled).lower(), "false", "0")
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("described", "words"),
    [
        (RAY, ["ulimit -n 1048576 ", "exec setpriv --pdeathsig HUP /tools/bin/python"]),
        (ENDPOINT, ["exec setpriv --pdeathsig TERM --no-new-privs /usr/sbin/nginx", "reload)\n  /usr/sbin/nginx -t"]),
        (FIREWALL, ["start)\n  exec /usr/sbin/nft", "stop)\n  /usr/sbin/nft delete table"]),
    ],
    ids=["ray", "endpoint", "firewall"],
)
def test_scripts(described, words):
    text = services.script(described)
    assert [word for word in words if word not in text] == []
    subprocess.run(["/bin/sh", "-n"], input=text, text=True, check=True)


# As supervisord 4.3.0 has told it of a program that runs, and of one that has ended by itself.
INFO = {
    "name": "onecc-ray", "group": "onecc-ray", "start": 1795847492, "stop": 1795847492, "now": 1795847494, "state": 20,
    "statename": "RUNNING", "spawnerr": "", "exitstatus": 0, "logfile": "/l", "stdout_logfile": "/l",
    "stderr_logfile": "", "pid": 4863, "description": "pid 4863, uptime 0:00:02",
}  # fmt: skip
PROGRAM, ONCE = "\nautostart=true\nautorestart=true\n", "\nautostart=true\nautorestart=false\n"
ENDED = {"state": 100, "statename": "EXITED", "pid": 0}


@pytest.mark.parametrize(
    ("text", "info", "written", "expected"),
    [
        (PROGRAM, INFO, 1795847492, "active enabled"),
        (PROGRAM, INFO, 1795847493, "active enabled outdated"),
        (PROGRAM.replace("autostart=true", "autostart=false"), INFO, 0, "active disabled"),
        (PROGRAM, INFO | ENDED, 0, "inactive enabled"),
        (PROGRAM, INFO | {"state": 0, "statename": "STOPPED", "pid": 0}, 1795847499, "inactive enabled"),
        (PROGRAM, None, 0, "inactive enabled"),
        (ONCE, INFO | ENDED, 0, "active enabled"),
        (ONCE, INFO | ENDED | {"exitstatus": 1}, 0, "inactive enabled"),
        (ONCE, INFO, 0, "inactive enabled"),
    ],
    ids=["runs", "outdated", "disabled", "ended", "stopped", "unknown", "ran", "failed", "is-running"],
)
def test_state(text, info, written, expected):
    assert str(services.state_of(text, info, written)) == expected


@pytest.mark.parametrize(
    ("statename", "running", "ended"),
    [("RUNNING", True, False), ("EXITED", True, False), ("BACKOFF", True, False), ("STOPPING", False, False),
     ("STOPPED", False, True), ("FATAL", False, True)],
)  # fmt: skip
def test_what_is_started_anew_has_not_ended(statename, running, ended):
    found = services.state_of(PROGRAM, INFO | {"statename": statename}, 0)
    assert (found.running, found.ended) == (running, ended)


def state(**changes):
    return services.State(**{**services.ABSENT.__dict__, "there": True, "ended": not changes.get("running"), **changes})


UP = state(active=True, running=True, enabled=True)


@pytest.mark.parametrize(
    ("found", "wish", "enabled", "expected"),
    [
        (UP, "started", True, []),
        (UP, "present", None, []),
        (UP, "stopped", False, ["enable", "stop"]),
        (UP, "restarted", True, ["restart"]),
        (UP, "reloaded", None, ["reload"]),
        (UP, "absent", None, ["stop", "enable", "remove"]),
        (state(), "started", True, ["enable", "start"]),
        (state(), "stopped", False, []),
        (state(running=True), "started", None, []),
        (state(running=True), "stopped", None, ["stop"]),
    ],
)
def test_what_is_done(found, wish, enabled, expected):
    assert [action for action, _words in service.planned(found, wish, enabled)] == expected


# With a real supervisord. What it runs are shell scripts; the files are where a node has them, but for one folder.

WAITS = "trap 'echo told; exit 0' HUP; trap 'echo asked; exit 0' TERM; while :; do sleep 0.05; done"


def run(argv, check_rc=False):
    done = subprocess.run(argv, capture_output=True, text=True, check=check_rc)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def node(tmp_path, monkeypatch, capsys):
    """Runs the module. A path of a Unix socket is short."""
    monkeypatch.setattr(services, "BOOTED", str(tmp_path / "none"))
    folder = pathlib.Path(tempfile.mkdtemp(prefix="onecc-"))
    manager = services.open_services(run, str(folder / "state"), TOOLS)

    def have(name, check_mode=False, **params):
        params.update(name=name, state_dir=str(folder / "state"), tools=TOOLS)
        params.update(_ansible_check_mode=check_mode, _ansible_remote_tmp=str(tmp_path))
        with patch_module_args(params), pytest.raises(SystemExit):
            service.main()
        return json.loads(capsys.readouterr().out)

    def log(name):
        return (folder / "state/services/run" / (name + ".log")).read_text()

    yield types.SimpleNamespace(have=have, log=log, manager=manager, folder=folder, state=folder / "state")
    if manager.runs():
        pid = manager.call("getPID")
        manager.call("shutdown")
        until(lambda: not alive(pid))
    shutil.rmtree(folder)


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it has not come true within %d s" % seconds
        time.sleep(0.02)


def alive(pid):
    found = services.read_stat(pid)
    return found is not None and found[0] not in "ZX"


def program(command=WAITS, **settings):
    return {"description": "A program", "command": ["/bin/sh", "-c", "echo up; " + command], **settings}


def test_a_program(node):
    told = node.have("onecc-it", check_mode=True, definition=program(), state="started")
    assert (told["changed"], told["before"], node.state.exists()) == (True, "", False)
    told = node.have("onecc-it", definition=program(outlived=True, open_files=77), state="started", enabled=True)
    assert (told["changed"], len(told["diff"])) == (True, 5)
    assert str(node.manager.state("onecc-it")) == "active enabled"
    assert node.manager.shown() == {"service onecc-it": "active enabled"}
    until(lambda: "up" in node.log("onecc-it"))
    pid = node.manager.info("onecc-it")["pid"]
    assert "77" in pathlib.Path("/proc/%d/limits" % pid).read_text().split("Max open files")[1].split()[:2]
    assert "PYTHONPATH" not in pathlib.Path("/proc/%d/environ" % pid).read_text()
    assert [node.manager.owner(number) for number in (pid, os.getpid())] == ["onecc-it", ""]
    # What it starts does not live long.
    children = pathlib.Path("/proc/%d/task/%d/children" % (pid, pid))
    until(lambda: [node.manager.owner(int(number)) for number in children.read_text().split()] == ["onecc-it"])
    # Once more.
    told = node.have("onecc-it", definition=program(outlived=True, open_files=77), state="started", enabled=True)
    assert (told["changed"], told["before"]) == (False, "active enabled")
    assert node.manager.info("onecc-it")["pid"] == pid
    for path in (node.state / "services", pathlib.Path(node.manager.socket)):
        assert path.stat().st_mode & 0o077 == 0


def test_what_is_told_to_reload_is_started_anew_when_it_ends(node):
    node.have("onecc-it", definition=program(), state="started")
    pid = node.manager.info("onecc-it")["pid"]
    until(lambda: "up" in node.log("onecc-it"))
    assert node.have("onecc-it", state="reloaded")["changed"]
    until(lambda: node.manager.info("onecc-it")["pid"] not in (0, pid))
    assert node.log("onecc-it").split()[:2] == ["up", "told"]


def test_another_command_is_taken_up_with_the_next_reload(node):
    """Without stopping it, which would end Ray or the engine as well."""
    node.have("onecc-it", definition=program(), state="started")
    until(lambda: "up" in node.log("onecc-it"))
    # supervisord counts in seconds.
    os.utime(node.manager.script_file("onecc-it"), (0, 0))
    node.have("onecc-it", definition=program("echo other; " + WAITS))
    until(lambda: node.manager.info("onecc-it")["now"] > node.manager.info("onecc-it")["start"])
    assert node.have("onecc-it", definition=program("echo other; " + WAITS), state="reloaded")["changed"]
    until(lambda: "other" in node.log("onecc-it"))
    assert "asked" not in node.log("onecc-it")


def test_what_an_operator_stops_stays_so_over_a_boot(node):
    node.have("onecc-it", definition=program(), state="started")
    node.have("onecc-other", definition=program(), state="started")
    until(lambda: "up" in node.log("onecc-it"))
    assert node.have("onecc-it", state="stopped", enabled=False)["changed"]
    assert not node.have("onecc-it", state="stopped", enabled=False)["changed"]
    assert node.log("onecc-it").split() == ["up", "asked"]
    pid = node.manager.call("getPID")
    node.manager.call("shutdown")
    until(lambda: not alive(pid))
    assert node.manager.shown() == {"service onecc-it": "inactive disabled", "service onecc-other": "inactive enabled"}
    run([node.manager.starter], check_rc=True)
    until(lambda: node.manager.runs() and node.manager.state("onecc-other").active)
    assert node.manager.shown() == {"service onecc-it": "inactive disabled", "service onecc-other": "active enabled"}
    assert node.have("onecc-it", state="started", enabled=True)["changed"]
    assert node.manager.shown()["service onecc-it"] == "active enabled"
    assert run(node.manager.status_command())[1].count("RUNNING") == 2


def test_programs_do_not_outlive_a_supervisord_that_is_killed(node):
    """Else the next one would start a second of each."""
    told = node.folder / "told"
    node.have("onecc-it", definition=program(WAITS.replace("told", "told >%s" % told), outlived=True), state="started")
    until(lambda: "up" in node.log("onecc-it"))
    pid = node.manager.info("onecc-it")["pid"]
    os.kill(node.manager.call("getPID"), signal.SIGKILL)
    until(lambda: not alive(pid))
    # A program that looks after Ray or the engine leaves them alone.
    assert told.exists()
    assert node.have("onecc-it", state="started")["changed"]
    assert node.manager.state("onecc-it").active


def test_one_that_fails_again_and_again(node):
    node.have("onecc-it", definition=program("exit 1"), state="started")
    until(lambda: node.log("onecc-it").count("up") > 2)
    assert node.have("onecc-it", state="stopped")["changed"]
    assert node.manager.info("onecc-it")["statename"] == "STOPPED"


def test_what_runs_once(node):
    mark = node.folder / "mark"
    described = {
        "description": "x",
        "kind": "once",
        "command": ["/bin/sh", "-c", "echo 1 >>%s" % mark],
        "stop": ["rm", str(mark)],
    }
    node.have("onecc-once", definition=described)
    node.have("onecc-it", definition=program(), state="started")
    assert node.have("onecc-once", state="reloaded", enabled=True)["changed"]
    assert str(node.manager.state("onecc-once")) == "active enabled"
    assert not node.have("onecc-once", state="started")["changed"]
    # At a boot it comes before the rest.
    pid = node.manager.call("getPID")
    node.manager.call("shutdown")
    until(lambda: not alive(pid))
    mark.unlink()
    run([node.manager.starter], check_rc=True)
    assert mark.exists()
    # Once more does nothing.
    assert run([node.manager.starter]) == (0, "", "")
    assert node.have("onecc-once", state="absent")["changed"]
    assert not mark.exists()
    assert node.manager.names() == ["onecc-it"]
    assert node.have("onecc-it", state="absent")["changed"]
    # With the last one goes the rest.
    assert not (node.state / "services").exists()
    assert not node.have("onecc-it", state="absent")["changed"]


def test_what_runs_once_and_fails(node):
    described = {"description": "x", "kind": "once", "command": ["/bin/sh", "-c", "echo no such rule; exit 3"]}
    node.have("onecc-once", definition=described)
    told = node.have("onecc-once", state="reloaded")
    assert told["failed"]
    assert "expected supervisord to have onecc-once run, found no such rule" in told["msg"]
    assert str(node.manager.state("onecc-once")) == "inactive enabled"


def test_settings_that_are_wrong_leave_it_alone(node):
    node.have("onecc-it", definition=program(reload=["/bin/sh", "-c", "echo line 3; exit 1"]), state="started")
    pid = node.manager.info("onecc-it")["pid"]
    told = node.have("onecc-it", state="reloaded")
    assert "expected onecc-it to take up its settings, found line 3" in told["msg"]
    assert node.manager.info("onecc-it")["pid"] == pid


def test_files_that_it_reads(node):
    one, two = (node.folder / "read" / name for name in ("one", "two"))
    files = [
        {"path": str(one), "content": "1\n", "mode": "0600", "check": ["/bin/grep", "[0-9]", "%s"]},
        {"path": str(two), "content": "2\n"},
    ]
    refusal = node.folder / "refusal"
    asked = {
        "definition": program(reload=["/usr/bin/test", "!", "-e", str(refusal)]),
        "files": files,
        "state": "started",
    }
    told = node.have("onecc-it", check_mode=True, **asked)
    assert (told["changed"], told["described"], one.parent.exists()) == (True, True, False)
    told = node.have("onecc-it", **asked)
    assert [(part["after_header"], part["after"]) for part in told["diff"][:2]] == [
        (str(one), "1\n"),
        (str(two), "2\n"),
    ]
    assert [path.stat().st_mode & 0o777 for path in (one.parent, one, two)] == [0o700, 0o600, 0o644]
    until(lambda: "up" in node.log("onecc-it"))
    assert not node.have("onecc-it", **asked)["changed"]
    # None of them, unless all are right.
    files[0]["content"], files[1]["content"] = "one\n", "3\n"
    told = node.have("onecc-it", **asked)
    assert told["msg"].startswith("%s: expected /bin/grep to accept it, found" % one)
    assert (one.read_text(), two.read_text(), "told" in node.log("onecc-it")) == ("1\n", "2\n", False)
    # Present: whoever asks for it tells it later.
    files[0]["content"] = "4\n"
    told = node.have("onecc-it", **{**asked, "state": "present"})
    assert (told["changed"], told["described"], one.read_text()) == (True, False, "4\n")
    assert "told" not in node.log("onecc-it")
    files[0]["content"] = "5\n"
    told = node.have("onecc-it", **asked)
    assert (told["changed"], told["described"]) == (True, False)
    until(lambda: "told" in node.log("onecc-it"))
    # What it did not take up it is told of again.
    times = node.log("onecc-it").count("told")
    files[1]["content"] = "6\n"
    refusal.touch()
    assert node.have("onecc-it", **asked)["failed"]
    assert (two.read_text(), node.log("onecc-it").count("told")) == ("6\n", times)
    refusal.unlink()
    told = node.have("onecc-it", check_mode=True, **asked)
    assert (told["changed"], told["described"], told["diff"]) == (True, False, [])
    assert node.have("onecc-it", **asked)["changed"]
    until(lambda: node.log("onecc-it").count("told") == times + 1)
    assert not node.have("onecc-it", **asked)["changed"]
    assert sorted(path.name for path in one.parent.iterdir()) == ["one", "two"]
    # Somebody has written something else.
    one.write_bytes(b"5\r\n\xff")
    assert node.have("onecc-it", **asked)["changed"]
    assert one.read_bytes() == b"5\n"
    # Opened by somebody.
    one.chmod(0o644)
    assert node.have("onecc-it", check_mode=True, **asked)["changed"]
    assert node.have("onecc-it", **asked)["changed"]
    assert one.stat().st_mode & 0o777 == 0o600
    assert "missing parameter(s) required by 'files': definition" in node.have("onecc-it", files=files)["msg"]


def test_one_that_is_not_there(node):
    assert node.have("onecc-it", state="started")["msg"].endswith(
        "expected the service onecc-it, found no such service. Run the playbook onecc.vllm.deploy first."
    )
    assert not node.have("onecc-it", state="stopped")["changed"]


def test_no_supervisord(node):
    broken = services.Supervisord(run, str(node.state), TOOLS)
    os.makedirs(broken.volatile)
    pathlib.Path(broken.starter).write_text("#!/bin/sh\n")
    os.chmod(broken.starter, 0o700)
    services.STARTING, before = 0.2, services.STARTING
    try:
        with pytest.raises(OneccError, match="expected supervisord to start"):
            broken.ensure()
    finally:
        services.STARTING = before


def test_logs_for_the_diagnosis(node):
    node.have("onecc-ray", definition=program(), state="started")
    until(lambda: "up" in node.log("onecc-ray"))
    collection = evidence.Collection("node00", 10000, 100000, 15)
    evidence.collect(collection, str(node.state))
    assert collection.files["journal-onecc-ray.txt"] == "up\n"
    assert "RUNNING" in collection.files["services.txt"]
    assert not [name for name in collection.files if name in evidence.OF_SYSTEMD]


@pytest.mark.parametrize(
    ("booted", "user", "kind"),
    [("", 0, services.Systemd), ("", 1000, services.Supervisord), ("none", 0, services.Supervisord)],
)
def test_systemd_is_for_root(monkeypatch, tmp_path, booted, user, kind):
    monkeypatch.setattr(services, "BOOTED", str(tmp_path / booted))
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert isinstance(services.open_services(run, "/none"), kind)
    # It would refuse to start with a user that is not its own.
    assert ("user=root" in services.settings("/a", "/b", "/c").splitlines()) is (user == 0)


def test_systemd_is_asked_for_both(monkeypatch, tmp_path):
    monkeypatch.setattr(services, "BOOTED", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    asked = []

    def systemctl(argv, check_rc=False):
        asked.append(argv[1:])
        return 0, "ActiveState=activating\nUnitFileState=disabled\nNeedDaemonReload=no\n", ""

    manager = services.open_services(systemctl, "/none")
    found = manager.state("nginx")
    assert (found.there, found.active, found.running, found.ended, found.enabled) == (True, False, True, False, False)
    asked.clear()
    manager.enable("nginx", False)
    for action in (manager.start, manager.stop, manager.restart, manager.reload):
        action("nginx")
    assert asked == [[word, "nginx.service"] for word in ("disable", "start", "stop", "restart", "reload-or-restart")]
