#!/usr/bin/env python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes of a cluster as namespaces of one machine: each with sshd, an address, processes, and GPUs of its own.

Needs root, util-linux, Python 3.9 or later, and the programs that bundle.py unpacks from Debian's packages; no Docker,
no systemd, no network. Everything lies below one folder, WORK, and in one network namespace that holds the switch: the
machine's own network stays as it is.

  nodes.py up WORK NAME[=GPU,GPU] ...   makes them, or finds them there
  nodes.py down WORK                    ends them; what they wrote goes with them
  nodes.py reboot WORK NAME             ends a node and starts it with what it has written
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
SWITCH = "onecc-gpu"
# Of 198.18.0.0/15, which is reserved for tests of networks (RFC 2544); the lab has the other half.
GATEWAY = "198.19.0.1"
SHARED_AT = "/home/ubuntu/shared"
# What a node gets in place of the machine's; and what belongs to other programs of the machine.
NOT_BOUND = ("/proc", "/sys", "/dev", "/run", "/tmp", "/mnt", "/var/lib/docker", "/etc/hosts", "/etc/hostname")
DEVICES = ["/dev/" + name for name in ("null", "zero", "full", "random", "urandom", "tty")]
GPU_DEVICES = ["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-caps", "/dev/nvidia-modeset"]
# Where Debian's packages have the programs, and where a node and the controller find them.
NODE_PROGRAMS = {
    "/usr/sbin/sshd": "usr/sbin/sshd",
    "/usr/bin/ssh-keygen": "usr/bin/ssh-keygen",
    "/usr/lib/openssh/sftp-server": "usr/lib/openssh/sftp-server",
    "/usr/sbin/nginx": "usr/sbin/nginx",
    "/usr/sbin/nft": "usr/sbin/nft",
    "/usr/sbin/ip": "bin/ip",
    "/usr/bin/ss": "bin/ss",
}
SSHD = """
Port 22
HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
UseDNS no
StrictModes no
MaxStartups 100
MaxSessions 100
Subsystem sftp /usr/lib/openssh/sftp-server
"""
SSH = """
Host *
  User root
  IdentityFile {work}/key
  IdentitiesOnly yes
  StrictHostKeyChecking no
  UserKnownHostsFile /dev/null
  LogLevel ERROR
  ConnectTimeout 10
"""


class NodesError(Exception):
    """What is missing, or what did not work."""


def mount_points(mountinfo: str, work: str) -> list[str]:
    """Those of the machine that a node gets as well, outer ones first: an overlay shows only what is below them."""
    found = {line.split()[4] for line in mountinfo.splitlines()}
    left_out = (*NOT_BOUND, work)
    return sorted(
        path
        for path in found
        if path != "/" and not any(path == other or path.startswith(other + "/") for other in left_out)
    )


def shell_variables(values: dict) -> str:
    """As bash reads them: strings, and lists as arrays."""
    lines = []
    for name, value in values.items():
        quoted = "(%s)" % " ".join(map(shlex.quote, value)) if isinstance(value, list) else shlex.quote(str(value))
        lines.append("%s=%s" % (name, quoted))
    return "\n".join(lines) + "\n"


def wrapper(debian: pathlib.Path, program: str, arguments: str = "") -> str:
    """A script that runs a program of Debian's packages with their libraries; what it starts does not see them."""
    libraries = ":".join(str(debian / folder) for folder in ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"))
    return '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s %s"$@"\n' % (libraries, debian / program, arguments)


def write(path: pathlib.Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # A lower layer's link is not followed.
    path.unlink(missing_ok=True)
    path.write_text(text)
    path.chmod(mode)


def run(*words: str, check: bool = True, timeout: float = 60, **options) -> subprocess.CompletedProcess:
    done = subprocess.run(list(words), capture_output=True, text=True, timeout=timeout, check=False, **options)
    if check and done.returncode:
        raise NodesError(
            "%s: expected it to succeed, found %s" % (shlex.join(words), (done.stderr or done.stdout)[-500:])
        )
    return done


class Nodes:
    """The nodes below one folder."""

    def __init__(self, work: pathlib.Path):
        self.work = work.resolve()
        self.debian = self.work / "debian"
        self.state = self.work / "nodes.json"
        self.memory = self.work / "nodes"
        # Further files of every node: path -> text and mode.
        self.files_besides: dict[str, tuple[str, int]] = {}
        # name -> its number, GPUs and first process, as the machine sees it
        self.known: dict = json.loads(self.state.read_text()) if self.state.exists() else {}

    def ip(self, *words: str, check: bool = True) -> subprocess.CompletedProcess:
        return run(str(self.work / "bin/ip"), *words, check=check)

    def address(self, name: str) -> str:
        return "198.19.0.%d" % (10 + self.known[name]["number"])

    def alive(self, name: str) -> bool:
        return os.path.exists("/proc/%d" % self.known[name]["pid"])

    def controller(self, *words: str) -> list[str]:
        """A command as it runs beside the nodes, on their network."""
        return ["nsenter", "--net=/run/netns/" + SWITCH, "--", *words]

    def ssh_words(self, name: str, command: str) -> list[str]:
        ssh = [str(self.work / "bin/ssh"), "-F", str(self.work / "ssh_config"), self.address(name), command]
        return self.controller(*ssh)

    def ssh(self, name: str, command: str, timeout: float = 60, check: bool = True) -> str:
        return run(*self.ssh_words(name, command), timeout=timeout, check=check).stdout

    def put(self, name: str, path: str, text: str) -> None:
        """Writes a file of a node."""
        run(*self.ssh_words(name, "cat >%s" % path), input=text)

    def prepare(self) -> None:
        """The switch, the key, the programs of the controller, and memory for what nodes write."""
        if os.geteuid() != 0:
            raise NodesError("expected root, found user %d" % os.geteuid())
        if str(self.work).startswith(("/tmp/", "/run/", "/dev/")):
            raise NodesError("expected a folder that nodes see as well, found %s" % self.work)
        for program in NODE_PROGRAMS.values():
            if not (self.debian / program).exists():
                raise NodesError("expected %s of Debian's packages in %s; see bundle.py" % (program, self.debian))
        for name in ("ip", "ssh", "ssh-keygen", "sftp"):
            found = next(path for path in ("bin/" + name, "usr/bin/" + name) if (self.debian / path).exists())
            arguments = "-S %s/bin/ssh " % self.work if name == "sftp" else ""
            write(self.work / "bin" / name, wrapper(self.debian, found, arguments), 0o755)
        (self.work / "shared").mkdir(exist_ok=True)
        self.memory.mkdir(exist_ok=True)
        if not os.path.ismount(self.memory):
            run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(self.memory))
        if not (self.work / "key").exists():
            self.make_key(self.work / "key")
        write(self.work / "ssh_config", SSH.format(work=self.work), 0o600)
        if SWITCH not in self.ip("netns", "list").stdout.split():
            self.ip("netns", "add", SWITCH)
            self.ip("-n", SWITCH, "link", "set", "lo", "up")
            self.ip("-n", SWITCH, "link", "add", "switch", "type", "bridge")
            self.ip("-n", SWITCH, "address", "add", GATEWAY + "/24", "dev", "switch")
            self.ip("-n", SWITCH, "link", "set", "switch", "up")

    def make_key(self, path: pathlib.Path) -> None:
        run(str(self.work / "bin/ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(path))

    def files(self, name: str) -> None:
        """What makes a node of what the machine has: written where its overlay looks first."""
        upper = self.memory / name / "upper"
        if (upper / "etc/ssh").exists():
            return
        for path, program in NODE_PROGRAMS.items():
            write(upper / path.lstrip("/"), wrapper(self.debian, program), 0o755)
        # nginx takes its own folders to be there.
        for folder in ("var/log/nginx", "var/lib/nginx"):
            (upper / folder).mkdir(parents=True)
        write(upper / "etc/ssh/sshd_config", SSHD)
        self.make_key(upper / "etc/ssh/ssh_host_ed25519_key")
        write(upper / "root/.ssh/authorized_keys", (self.work / "key.pub").read_text(), 0o600)
        # An empty home: what the machine's shell is told there is no part of a bare node.
        (upper / "root").chmod(0o700)
        os.setxattr(upper / "root", "trusted.overlay.opaque", b"y")
        write(upper / "etc/hostname", name + "\n")
        write(upper / "etc/hosts", "127.0.0.1 localhost\n%s %s\n" % (self.address(name), name))
        write(
            upper / "etc/pip.conf",
            "[global]\nno-index = true\nfind-links = %s/bundle/wheels\ndisable-pip-version-check = true\n" % self.work,
        )
        for path, (text, mode) in self.files_besides.items():
            write(upper / path.lstrip("/"), text, mode)
        passwd = pathlib.Path("/etc/passwd").read_text()
        for user, number, home in (("sshd", 65531, "/run/sshd"), ("www-data", 33, "/var/www")):
            if not any(line.startswith(user + ":") for line in passwd.splitlines()):
                passwd += "%s:x:%d:65534::%s:/usr/sbin/nologin\n" % (user, number, home)
        write(upper / "etc/passwd", passwd)
        # An account with ! in place of a password is locked for keys as well.
        shadow = pathlib.Path("/etc/shadow").read_text()
        write(upper / "etc/shadow", re.sub(r"^root:[^:]*:", "root:*:", shadow, flags=re.MULTILINE), 0o600)

    def start(self, name: str) -> None:
        base = self.memory / name
        base.mkdir(exist_ok=True)
        self.files(name)
        gpus = ["/dev/nvidia%d" % number for number in self.known[name]["gpus"]]
        devices = DEVICES + ([path for path in GPU_DEVICES if os.path.exists(path)] + gpus if gpus else [])
        variables = {
            "base": str(base),
            "name": name,
            "shared": str(self.work / "shared"),
            "shared_at": SHARED_AT,
            "mounts": mount_points(pathlib.Path("/proc/self/mountinfo").read_text(), str(self.memory)),
            "devices": devices,
            "shm_size": "50%",
        }
        write(base / "variables", shell_variables(variables))
        own = ["--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child"]
        with open(base / "log", "w", encoding="utf-8") as log:
            parent = subprocess.Popen(
                ["unshare", *own, "bash", str(HERE / "node.sh"), str(base / "variables")],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
                start_new_session=True,
            )
        try:
            pid = self.first_process(name, parent)
            self.known[name]["pid"] = pid
            self.state.write_text(json.dumps(self.known, indent=2) + "\n")
            self.connect(name, pid)
            assert parent.stdin is not None
            parent.stdin.write(b"go\n")
            parent.stdin.close()
            self.wait(name)
        except BaseException:
            parent.kill()
            raise

    def first_process(self, name: str, parent: subprocess.Popen) -> int:
        """The node's process 1, once it has namespaces of its own."""
        for _again in range(100):
            if parent.poll() is not None:
                break
            children = pathlib.Path("/proc/%d/task/%d/children" % (parent.pid, parent.pid)).read_text().split()
            if children:
                return int(children[0])
            time.sleep(0.05)
        raise NodesError("%s: expected a first process, found %s" % (name, self.log(name)))

    def connect(self, name: str, pid: int) -> None:
        """A cable from the node's eth0 to the switch."""
        cable = "port%d" % self.known[name]["number"]
        self.ip("-n", SWITCH, "link", "del", cable, check=False)
        self.ip("-n", SWITCH, "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
        self.ip("-n", SWITCH, "link", "set", cable, "master", "switch", "up")
        inside = ["nsenter", "--net=/proc/%d/ns/net" % pid, str(self.work / "bin/ip")]
        run(*inside, "link", "set", "lo", "up")
        run(*inside, "address", "add", self.address(name) + "/24", "dev", "eth0")
        run(*inside, "link", "set", "eth0", "up")
        run(*inside, "route", "add", "default", "via", GATEWAY)

    def wait(self, name: str) -> None:
        for _again in range(60):
            if not self.alive(name):
                break
            if self.ssh(name, "hostname", check=False).strip() == name:
                return
            time.sleep(0.25)
        log = self.memory / name / "upper/var/log/sshd.log"
        raise NodesError(
            "%s: expected sshd to answer, found %s %s"
            % (name, self.log(name), log.read_text()[-500:] if log.exists() else "")
        )

    def log(self, name: str) -> str:
        return (self.memory / name / "log").read_text()[-500:]

    def up(self, wanted: dict) -> None:
        """Nodes with these names, each with the numbers of its GPUs."""
        self.prepare()
        for number, (name, gpus) in enumerate(wanted.items()):
            if name in self.known and self.alive(name):
                continue
            self.known[name] = {"number": number, "gpus": gpus, "pid": 0}
            self.start(name)

    def stop(self, name: str) -> None:
        """All its processes end with its first one."""
        if self.known[name]["pid"] and self.alive(name):
            os.kill(self.known[name]["pid"], signal.SIGKILL)
            for _again in range(100):
                if not self.alive(name):
                    return
                time.sleep(0.1)
            raise NodesError("%s: expected its processes to end, found them after 10 s" % name)

    def reboot(self, name: str) -> None:
        self.stop(name)
        self.start(name)

    def down(self) -> None:
        for name in self.known:
            self.stop(name)
        self.state.unlink(missing_ok=True)
        self.known = {}
        if (self.work / "bin/ip").exists():
            self.ip("netns", "del", SWITCH, check=False)
        if os.path.ismount(self.memory):
            run("umount", "--lazy", str(self.memory))


def main() -> None:
    verb, work, names = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3:]
    nodes = Nodes(work)
    if verb == "up":
        pairs = [name.partition("=") for name in names]
        nodes.up({name: [int(number) for number in gpus.split(",") if number] for name, _colon, gpus in pairs})
    elif verb == "reboot":
        nodes.reboot(names[0])
    else:
        nodes.down()


if __name__ == "__main__":
    main()
