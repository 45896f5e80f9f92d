# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs the services of a node: systemd where it is the node's init and we are root, else supervisord.

A service is described once, see DEFINITION, and known by its name from then on, onecc-ray or the like. Both classes
write the description down in files of their own and have the same methods: files, load, state, enable, start, stop,
restart, reload and remove for whoever changes something; names, files_of_all, shown, owner and log_command for whoever
looks. Nothing else knows which of the two it is on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import http.client
import os
import re
import shlex
import shutil
import socket
import tempfile
import time
import xmlrpc.client

from .errors import OneccError
from .supervisor.processes import is_marked, read_stat
from .waiter import wait_until

# There where systemd is the init, see sd_booted(3).
BOOTED = "/run/systemd/system"
UNITS = "/etc/systemd/system"
PROPERTIES = ("ActiveState", "UnitFileState", "NeedDaemonReload")
HEADING = "Made by onecc.vllm; changes here are lost with the next deployment."
# Own services; there may be others of the distribution.
OWN = "onecc-"
# What Ray and the engine run in without containers, see supervisor/processes.py.
PROCESSES = ("onecc-ray", "onecc-vllm")
# What supervisord does not start by itself any more.
DOWN = ("STOPPED", "FATAL", "UNKNOWN")
AUTOSTART = re.compile(r"^autostart=\w+$", re.MULTILINE)
# Seconds for supervisord to start, or to end; and for one that has ended and is about to be started anew.
STARTING, ANEW = 20, 10
# Seconds for one answer of supervisord, and for that to a wish to stop a service; for a service that runs once.
ANSWER, STOPPING, ONCE = 30, 600, 60

# One description for both, as the option of a module.
DEFINITION = {
    "description": {"type": "str", "required": True},
    "documentation": {"type": "list", "elements": "str", "default": []},
    "command": {"type": "list", "elements": "str", "required": True},
    "kind": {"type": "str", "choices": ["program", "notify", "once"], "default": "program"},
    "after": {"type": "list", "elements": "str", "default": []},
    "reload": {"type": "list", "elements": "str", "default": []},
    "stop": {"type": "list", "elements": "str", "default": []},
    "stop_timeout": {"type": "int", "default": 90},
    "outlived": {"type": "bool", "default": False},
    "restricted": {"type": "bool", "default": False},
    "open_files": {"type": "int"},
    "systemd": {
        "type": "dict",
        "default": {},
        "options": {
            name: {"type": "list", "elements": "str", "default": []} for name in ("unit", "service", "install")
        },
    },
}

# The files that it reads, likewise; and what stands beside one until it has read it.
UNREAD = ".unread"
FILES = {
    "path": {"type": "path", "required": True},
    "content": {"type": "str", "required": True},
    "mode": {"type": "str", "default": "0644"},
    "check": {"type": "list", "elements": "str", "default": []},
}


@dataclasses.dataclass(frozen=True)
class State:
    """How a service is.

    :param there: whether it is written down
    :param active: whether it runs, or ran through where it runs once
    :param running: the same, or about to be started
    :param ended: whether it is down, and not about to be started anew
    :param enabled: whether it is started after a boot
    :param outdated: whether it runs by an earlier description
    """

    there: bool
    active: bool
    running: bool
    ended: bool
    enabled: bool
    outdated: bool

    def __str__(self):
        words = ["active" if self.active else "inactive", "enabled" if self.enabled else "disabled"]
        return " ".join(words + ["outdated"] * self.outdated)


ABSENT = State(there=False, active=False, running=False, ended=True, enabled=False, outdated=False)


def has_systemd():
    return os.path.isdir(BOOTED)


def open_services(run, state_dir, tools=""):
    """What runs the services of this node.

    :param run: function that runs argv and returns (status, output, errors), as run_command of a module
    :param state_dir: what the collection keeps on the node
    :param tools: the Python environment that supervisord is in, to write services down
    """
    return Systemd(run) if has_systemd() and os.geteuid() == 0 else Supervisord(run, state_dir, tools)


def read(path, newline=None):
    """What is in a file, None if there is none. What somebody else has written there may be anything.

    :param newline: as open() takes it; empty, to see whether a file is the same to the byte
    """
    try:
        with open(path, encoding="utf-8", errors="replace", newline=newline) as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def mode_of(text):
    return "0755" if text.startswith("#!") else "0644"


def where():
    return os.uname().nodename


class Systemd:
    """Units of systemd."""

    def __init__(self, run):
        self.run = run

    def ask(self, *words):
        return self.run(["systemctl", *words], check_rc=True)[1]

    def path(self, name):
        return os.path.join(UNITS, name + ".service")

    def files(self, name, definition):
        return {self.path(name): unit(name, definition)}

    def load(self, name="", enabled=None):
        """Takes up what is written down now, and before that whether a service is started after a boot."""
        if enabled is not None:
            # Else it does what follows as well.
            self.ask("enable" if enabled else "disable", "--no-reload", name + ".service")
        self.ask("daemon-reload")

    def state(self, name):
        lines = self.ask("show", "--property", ",".join(PROPERTIES), name + ".service").splitlines()
        found = dict(line.split("=", 1) for line in lines if "=" in line)
        active, enabled, newer = (found.get(key, "") for key in PROPERTIES)
        return State(
            there=os.path.exists(self.path(name)) or bool(enabled),
            active=active == "active",
            running=active in ("active", "activating", "reloading"),
            ended=active in ("inactive", "failed"),
            enabled=enabled == "enabled",
            outdated=newer == "yes",
        )

    def enable(self, name, wanted):
        self.ask("enable" if wanted else "disable", name + ".service")

    def start(self, name):
        self.ask("start", name + ".service")

    def stop(self, name):
        self.ask("stop", name + ".service")

    def restart(self, name):
        self.ask("restart", name + ".service")

    def reload(self, name):
        # Not a plain reload, which systemd refuses while a program fails again and again.
        self.ask("reload-or-restart", name + ".service")

    def remove(self, name):
        os.unlink(self.path(name))
        self.load()

    def names(self):
        return sorted(os.path.basename(path).removesuffix(".service") for path in self.files_of_all())

    def files_of_all(self):
        return glob.glob(os.path.join(UNITS, OWN + "*.service"))

    def shown(self):
        names = ["%s.service" % name for name in self.names()]
        if not names:
            return {}
        output = self.run(["systemctl", "show", "--property", ",".join(["Id", *PROPERTIES]), *names])[1]
        return {"unit %s" % name: state for name, state in parse_units(output).items()}

    def owner(self, pid):
        """The own service that a process belongs to, by its control group; empty for any other process."""
        try:
            with open("/proc/%d/cgroup" % pid, encoding="utf-8") as stream:
                groups = stream.read()
        except OSError:
            # It has ended meanwhile.
            return ""
        found = re.search(r"/(%s[\w-]+)\.service" % OWN, groups)
        return found[1] if found else ""

    def log_command(self, name):
        # What nginx notes of requests has another identifier.
        mine = ["-u", name, "-t", name, "-t", "systemd"]
        return ["journalctl", "--no-pager", "--utc", "-o", "short-iso", "-n", "3000", *mine]

    def status_command(self):
        return ["systemctl", "status", "--no-pager", "--lines", "0", *PROCESSES, "docker"]


def parse_units(output):
    """What ``systemctl show`` tells of several units, by their names."""
    units = {}
    for block in output.strip().split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if values.get("Id"):
            units[values["Id"]] = " ".join(values.get(name, "") for name in PROPERTIES)
    return units


def unit(name, definition):
    """The file of a unit."""
    once, further = definition["kind"] == "once", definition["systemd"]
    lines = ["# " + HEADING, "[Unit]", "Description=%s" % definition["description"]]
    if definition["documentation"]:
        lines.append("Documentation=%s" % " ".join(definition["documentation"]))
    if not once:
        order = " ".join(["%s.service" % other for other in definition["after"]] + ["network-online.target"])
        # Not Requires: systemd would restart the one whenever the other is started anew.
        lines += ["After=" + order, "Wants=" + order, "# Never gives up.", "StartLimitIntervalSec=0"]
    lines += [*further["unit"], "", "[Service]"]
    if once:
        lines += ["Type=oneshot", "RemainAfterExit=yes"]
    else:
        lines += ["Type=%s" % {"program": "exec"}.get(definition["kind"], definition["kind"])]
    lines.append("ExecStart=%s" % " ".join(definition["command"]))
    if definition["reload"] and not once:
        lines.append("# A configuration that is wrong leaves the present one in force.")
    if definition["reload"]:
        lines.append("ExecReload=%s" % " ".join(definition["reload"]))
    if once and definition["stop"]:
        lines.append("ExecStop=-%s" % " ".join(definition["stop"]))
    if not once:
        lines += [
            "ExecReload=/bin/kill -HUP $MAINPID",
            "SyslogIdentifier=%s" % name,
            "Restart=always",
            "RestartSec=1",
            "KillMode=%s" % ("process" if definition["outlived"] else "mixed"),
            "TimeoutStopSec=%d" % definition["stop_timeout"],
        ]
    if definition["open_files"]:
        lines.append("LimitNOFILE=%d" % definition["open_files"])
    if definition["restricted"]:
        lines.append("NoNewPrivileges=yes")
    lines += [*further["service"], "", "[Install]", *(further["install"] or ["WantedBy=multi-user.target"])]
    return "\n".join(lines) + "\n"


class Local(xmlrpc.client.Transport):
    """XML-RPC over a Unix socket."""

    def __init__(self, path, timeout):
        super().__init__()
        self.path, self.timeout = path, timeout

    def make_connection(self, host):
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(self.timeout)
        connection.sock.connect(self.path)
        return connection


class Supervisord:
    """Programs of a supervisord of our own, below the state folder: config, logs, and how it is started.

    What a service runs is a shell script beside its section, so that another command needs no new section: supervisord
    takes one up only once the program is stopped, and with the program Ray or the engine would be stopped.
    """

    def __init__(self, run, state_dir, tools):
        self.run, self.tools = run, tools
        self.folder = os.path.join(state_dir, "services")
        # What changes while it runs.
        self.volatile = os.path.join(self.folder, "run")
        self.socket = os.path.join(self.volatile, "supervisord.sock")
        self.starter = os.path.join(self.folder, "start")

    # What is written down

    def section_file(self, name):
        return os.path.join(self.folder, name + ".conf")

    def script_file(self, name):
        return os.path.join(self.folder, name + ".sh")

    def log_file(self, name):
        return os.path.join(self.volatile, name + ".log")

    def files(self, name, definition):
        there = read(self.section_file(name))
        enabled = there is None or is_enabled(there)
        config = os.path.join(self.folder, "supervisord.ini")
        return {
            config: settings(self.folder, self.volatile, self.socket),
            self.starter: starter(self.folder, self.tools, config),
            os.path.join(self.folder, "ctl"): controller(self.tools, config),
            self.section_file(name): section(name, definition, self.script_file(name), self.log_file(name), enabled),
            self.script_file(name): script(definition),
        }

    # What runs

    def call(self, method, *words, seconds=ANSWER):
        """Asks supervisord.

        :raise OSError: if it does not run
        :raise xmlrpc.client.Fault: if it does not do it
        """
        with xmlrpc.client.ServerProxy("http://local/RPC2", transport=Local(self.socket, seconds)) as proxy:
            return getattr(proxy.supervisor, method)(*words)

    def attempt(self, method, *words, expected=(), **more):
        """Asks it for something that it may refuse for one of the reasons that are expected; whether it did it."""
        try:
            self.call(method, *words, **more)
        except xmlrpc.client.Fault as error:
            if any(error.faultString.startswith(reason) for reason in expected):
                return False
            self.fail("to do %s %s" % (method, " ".join(words)), error.faultString)
        return True

    def fail(self, expected, found):
        raise OneccError(where(), "supervisord %s" % expected, found, "Read the logs in %s." % self.volatile)

    def runs(self):
        try:
            return bool(self.call("getPID"))
        except OSError:
            return False

    def ensure(self):
        """Has it run. Everything that is enabled starts with it."""
        if not self.runs():
            os.makedirs(self.volatile, mode=0o700, exist_ok=True)
            self.run([self.starter], check_rc=True)
            if not wait_until(self.runs, bool, STARTING, 0.1)[1]:
                self.fail("to start", "no answer within %d s" % STARTING)

    def load(self, name="", enabled=None):
        """Takes up what is written down now. What another section says of a program that runs counts from its next
        start on, and whether a service is started after a boot from the next boot on."""
        self.ensure()
        added, changed, removed = self.call("reloadConfig")[0]
        for other in removed:
            self.drop(other)
        for other in changed:
            if self.attempt("removeProcessGroup", other, expected=("STILL_RUNNING",)):
                added.append(other)
        for other in added:
            self.attempt("addProcessGroup", other)
        if enabled is not None:
            self.enable(name, enabled)

    def info(self, name):
        """What supervisord knows of a service, None if that is nothing."""
        try:
            return self.call("getProcessInfo", name)
        except (OSError, xmlrpc.client.Fault):
            return None

    def state(self, name):
        text = read(self.section_file(name))
        return state_of(text, self.info(name), self.written(name)) if text else ABSENT

    def written(self, name):
        """When what a service runs was last written down, in whole seconds, as supervisord counts."""
        try:
            return int(os.stat(self.script_file(name)).st_mtime)
        except OSError:
            return 0

    def enable(self, name, wanted):
        text = read(self.section_file(name))
        with open(self.section_file(name) + ".new", "w", encoding="utf-8") as stream:
            stream.write(AUTOSTART.sub("autostart=%s" % str(bool(wanted)).lower(), text))
        os.replace(self.section_file(name) + ".new", self.section_file(name))

    def start(self, name):
        self.load()
        once = is_once(read(self.section_file(name)))
        # What runs once may have ended before supervisord answers, which calls it an error; its end is told below.
        ended = ("SPAWN_ERROR", "ABNORMAL_TERMINATION") if once else ()
        self.attempt("startProcess", name, expected=("ALREADY_STARTED", *ended))
        if once:
            info, ready, _waited = wait_until(lambda: self.info(name), has_ended, ONCE, 0.1)
            if not ready or info["statename"] != "EXITED" or info["exitstatus"]:
                self.fail("to have %s run" % name, (read(self.log_file(name)) or "").strip()[-500:] or "no end of it")

    def stop(self, name):
        if not is_once(read(self.section_file(name))):
            self.end(name)
            return
        # It would go on to count as active, or be started yet. What it did is taken back, if it is still there.
        self.drop(name)
        self.run(["/bin/sh", self.script_file(name), "stop"])

    def drop(self, name):
        """Ends the program of a service, and has supervisord forget it."""
        while self.info(name):
            self.end(name)
            self.attempt("removeProcessGroup", name, expected=("BAD_NAME", "STILL_RUNNING"))

    def end(self, name):
        """Ends the program of a service, in whatever state it is."""
        text, info = read(self.section_file(name)), self.info(name)
        down = DOWN if text and not is_once(text) else (*DOWN, "EXITED")
        end = time.monotonic() + ANEW
        while info and info["statename"] not in down:
            # One that has just ended is started anew before it can be stopped.
            words = ("NOT_RUNNING", "BAD_NAME")
            if not self.attempt("stopProcess", name, expected=words, seconds=STOPPING) and time.monotonic() > end:
                self.fail("to stop %s" % name, info["statename"])
            info = self.info(name)

    def restart(self, name):
        self.stop(name)
        self.start(name)

    def reload(self, name):
        if is_once(read(self.section_file(name))) or not self.runs():
            self.start(name)
            return
        status, output, errors = self.run(["/bin/sh", self.script_file(name), "reload"])
        if status:
            raise OneccError(where(), "%s to take up its settings" % name, (output + errors).strip(), "Correct them.")
        # One that is not there, or fails again and again, has nothing to be told.
        if not self.attempt("signalProcess", name, "HUP", expected=("NOT_RUNNING", "BAD_NAME")):
            self.start(name)

    def remove(self, name):
        for path in (self.section_file(name), self.script_file(name)):
            if os.path.exists(path):
                os.unlink(path)
        last = not self.names()
        if self.runs():
            self.load()
            if last:
                self.call("shutdown")
                wait_until(self.runs, lambda runs: not runs, STARTING, 0.1)
        if last:
            shutil.rmtree(self.folder, ignore_errors=True)

    # What is told

    def names(self):
        return sorted(os.path.basename(path)[: -len(".conf")] for path in glob.glob(self.section_file(OWN + "*")))

    def files_of_all(self):
        # They are in the state folder, with everything else.
        return []

    def shown(self):
        return {"service %s" % name: str(self.state(name)) for name in self.names()}

    def owner(self, pid):
        """The own service that a process belongs to: as one of Ray's or the engine's, or under its program."""
        for name in PROCESSES:
            if is_marked(pid, name + ":"):
                return name
        programs = {info["pid"]: name for name in self.names() for info in [self.info(name)] if info and info["pid"]}
        while pid > 1:
            if pid in programs:
                return programs[pid]
            found = read_stat(pid)
            pid = found[1] if found else 0
        return ""

    def log_command(self, name):
        return ["tail", "-n", "3000", self.log_file(name)]

    def status_command(self):
        return [os.path.join(self.folder, "ctl"), "status"]


def is_enabled(text):
    return "\nautostart=true\n" in text


def is_once(text):
    return "\nautorestart=false\n" in (text or "")


def has_ended(info):
    return bool(info) and info["statename"] in (*DOWN, "EXITED")


def state_of(text, info, written):
    """How a service is.

    :param text: its section
    :param info: what supervisord's getProcessInfo tells of it, None if it does not know it
    :param written: when its script was written
    """
    name = info["statename"] if info else "STOPPED"
    if is_once(text):
        active = name == "EXITED" and info["exitstatus"] == 0
        ended = not active and name not in ("STARTING", "RUNNING")
    else:
        active = name == "RUNNING"
        ended = name in DOWN
    return State(
        there=True,
        active=active,
        running=not ended and name != "STOPPING",
        ended=ended,
        enabled=is_enabled(text),
        outdated=active and written > info["start"],
    )


def settings(folder, volatile, path):
    """The configuration of supervisord itself."""
    names = {"folder": escape(folder), "volatile": escape(volatile), "socket": escape(path), "heading": HEADING}
    # Root is to say that it means to stay so.
    names["user"] = "\nuser=root" if os.geteuid() == 0 else ""
    return (
        """; %(heading)s
[supervisord]
logfile=%(volatile)s/supervisord.log
logfile_maxbytes=10MB
logfile_backups=2
pidfile=%(volatile)s/supervisord.pid
childlogdir=%(volatile)s%(user)s

; For its user alone.
[unix_http_server]
file=%(socket)s
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://%(socket)s

[include]
files=%(folder)s/*.conf
"""
        % names
    )


def starter(folder, tools, config):
    """The script that the start of the machine runs. What runs once comes before the rest has begun."""
    return """#!/bin/sh
# %s
# Starts all services that are enabled, unless they were started. With --nodaemon it stays until they are stopped.
if %s/ctl pid >/dev/null 2>&1; then
  exit
fi
for section in %s/*.conf; do
  if grep -q '^autorestart=false$' "$section" && grep -q '^autostart=true$' "$section"; then
    /bin/sh "${section%%.conf}.sh" start
  fi
done
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \\
  %s -c %s "$@"
""" % (HEADING, *[shlex.quote(each) for each in (folder, folder, tools + "/bin/supervisord", config)])


def controller(tools, config):
    """The script for people who look around."""
    return '#!/bin/sh\n# %s\nexec %s -c %s "$@"\n' % (
        HEADING,
        shlex.quote(tools + "/bin/supervisorctl"),
        shlex.quote(config),
    )


def section(name, definition, path, log, enabled):
    """What supervisord is told of a service."""
    once = definition["kind"] == "once"
    own = [other for other in definition["after"] if other.startswith(OWN)]
    lines = {
        "command": escape("/bin/sh %s start" % shlex.quote(path)),
        "directory": "/",
        "priority": 1 if once else 10 + 10 * len(own),
        "autostart": str(enabled).lower(),
        # Never gives up: what ends was up, however short, and is started again within a second.
        "autorestart": str(not once).lower(),
        "startsecs": 0,
        "startretries": 1000000,
        "stopsignal": "TERM",
        "stopwaitsecs": definition["stop_timeout"],
        "stopasgroup": "false",
        "killasgroup": str(not definition["outlived"]).lower(),
        "redirect_stderr": "true",
        "stdout_logfile": escape(log),
        "stdout_logfile_maxbytes": "10MB",
        "stdout_logfile_backups": 4,
    }
    return "; %s\n; %s\n[program:%s]\n" % (HEADING, definition["description"], name) + "".join(
        "%s=%s\n" % line for line in lines.items()
    )


def script(definition):
    """What a service runs: to start, to take up new settings, before SIGHUP, and where it runs once to stop."""
    start = []
    if definition["open_files"]:
        # As many as are allowed, like systemd.
        start.append('ulimit -n %d 2>/dev/null || ulimit -n "$(ulimit -H -n)"' % definition["open_files"])
    words = definition["command"]
    if definition["kind"] != "once":
        # Should supervisord be killed, the next one starts it again: a program beside what it looks after, others anew.
        signal = "HUP" if definition["outlived"] else "TERM"
        restricted = ["--no-new-privs"] if definition["restricted"] else []
        words = ["setpriv", "--pdeathsig", signal, *restricted, *words]
    start.append("exec " + shlex.join(words))
    parts = [
        ("start", start),
        ("reload", [shlex.join(definition["reload"])]),
        ("stop", [shlex.join(definition["stop"])]),
    ]
    text = "#!/bin/sh\n# %s\ncase $1 in\n" % HEADING
    for name, commands in parts:
        text += "%s)\n%s  ;;\n" % (name, "".join("  %s\n" % command for command in commands if command))
    return text + "esac\n"


def escape(text):
    """For supervisord, which replaces what follows a percent sign."""
    return text.replace("%", "%%")


def have(module, manager, name, definition):
    """Writes down a service as it is described.

    :return: (paths that change, diff)
    """
    wanted = manager.files(name, definition)
    before = {path: read(path, "") for path in wanted}
    changed = [path for path in wanted if before[path] != wanted[path]]
    diff = [
        {"before": before[path] or "", "after": wanted[path], "before_header": path, "after_header": path}
        for path in changed
    ]
    if not module.check_mode:
        for path in changed:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            write(module, path, wanted[path].encode(), mode_of(wanted[path]))
    return changed, diff


def have_files(module, files, marked):
    """Writes the files that a service reads: none of them unless all pass their check.

    :param files: list of dictionaries as FILES describes them
    :param marked: whether each is marked until taken_up() is called, so that a run that is cut off is made good
    :return: (paths that change, or have not been taken up, diff)
    :raises OneccError: when one does not pass
    """
    before = {each["path"]: read(each["path"], "") for each in files}
    new = [each for each in files if before[each["path"]] != each["content"]]
    diff = [
        {"before": before[path] or "", "after": content, "before_header": path, "after_header": path}
        for path, content in ((each["path"], each["content"]) for each in new)
    ]
    if not module.check_mode:
        for each in new:
            check(module, each)
        for each in new:
            os.makedirs(os.path.dirname(each["path"]), mode=0o700, exist_ok=True)
            if marked:
                write(module, each["path"] + UNREAD, b"", "0600")
            write(module, each["path"], each["content"].encode(), each["mode"])
    # Somebody may have opened one to others.
    rest = [each for each in files if each not in new and os.path.exists(each["path"])]
    opened = [each["path"] for each in rest if module.set_mode_if_different(each["path"], each["mode"], False)]
    unread = [each["path"] for each in files if os.path.exists(each["path"] + UNREAD)]
    return sorted({*(each["path"] for each in new), *opened, *unread}), diff


def taken_up(paths):
    """The service has read its files."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path + UNREAD)


def check(module, file):
    """Has the program that will read a file say whether it can.

    :raises OneccError: when it cannot
    """
    if not file["check"]:
        return
    handle, trial = tempfile.mkstemp(dir=module.tmpdir)
    with open(handle, "w", encoding="utf-8") as stream:
        stream.write(file["content"])
    status, output, errors = module.run_command([word.replace("%s", trial) for word in file["check"]])
    os.unlink(trial)
    if status != 0:
        program, found = file["check"][0], (errors or output).strip().replace(trial, file["path"])
        raise OneccError(
            file["path"], "%s to accept it" % program, found or "that it does not", "Correct the settings."
        )


def write(module, path, content, mode):
    """Writes a file in one step."""
    handle, new = tempfile.mkstemp(dir=module.tmpdir)
    with open(handle, "wb") as stream:
        stream.write(content)
    module.atomic_move(new, path)
    module.set_mode_if_different(path, mode, False)
