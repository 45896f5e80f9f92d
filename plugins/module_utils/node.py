# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one node has: read with its own commands, parsed into data."""

from __future__ import annotations

import contextlib
import fnmatch
import http.client
import json
import os
import re
import shutil
import socket
import urllib.parse

from .supervisor.processes import Processes

ADDRESS_COMMAND = ["ip", "-json", "-4", "address", "show"]
ROUTE_COMMAND = ["ip", "-json", "-4", "route", "show", "default"]
# The kernel writes spaces and the like in mount points as octal numbers.
OCTAL = re.compile(r"\\([0-7]{3})")
# Where Docker keeps images unless it says otherwise.
ENGINE_ROOT = "/var/lib/docker"
# Asked there it answers within milliseconds; its command takes ten times as long to start.
ENGINE_SOCKET = "/var/run/docker.sock"
# Seconds for one answer.
ENGINE_TIMEOUT = 60
# Why there is no answer is the command's to say.
ENGINE_COMMAND = ["docker", "version", "--format", "{{.Server.Version}}"]
# The collection's own containers that run.
OWN_CONTAINERS = "/containers/json?" + urllib.parse.urlencode({"filters": json.dumps({"name": ["^/?onecc-"]})})
LISTENER_COMMAND = ["ss", "--no-header", "--listening", "--tcp", "--numeric", "--processes"]
SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")
# The table of the role firewall.
TABLE_ARGUMENTS = ["list", "table", "inet", "onecc"]
OWNER = re.compile(r'\("([^"]*)",pid=(\d+)')


def parse_interfaces(output):
    """ip's JSON as a dictionary from interface to its IPv4 addresses, those that are up."""
    interfaces = {}
    for link in json.loads(output or "[]"):
        # ip prints empty entries for links that the address family filter leaves out.
        if link.get("ifname") and "UP" in link.get("flags", []):
            interfaces[link["ifname"]] = [a["local"] for a in link.get("addr_info", []) if a["family"] == "inet"]
    return interfaces


def parse_default_interface(output):
    """The interface of the default route with the lowest metric, or an empty string."""
    routes = [route for route in json.loads(output or "[]") if route.get("dev")]
    return min(routes, key=lambda route: route.get("metric", 0))["dev"] if routes else ""


def parse_mount(mounts, path):
    """The file system that holds a path, from the text of /proc/self/mounts.

    :return: dictionary with source, mount_point and fstype
    """
    best = {"source": "", "mount_point": "", "fstype": ""}
    for line in mounts.splitlines():
        source, point, fstype = [OCTAL.sub(lambda m: chr(int(m[1], 8)), field) for field in line.split(" ")[:3]]
        inside = point == "/" or path == point or path.startswith(point + "/")
        # A later mount on the same point hides the earlier one.
        if inside and len(point) >= len(best["mount_point"]):
            best = {"source": source, "mount_point": point, "fstype": fstype}
    return best


def first_line(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0] if lines else ""


def read_shared(path, probe):
    """The shared folder as this node sees it."""
    real = os.path.realpath(path)
    exists = os.path.isdir(real)
    with open("/proc/self/mounts", encoding="utf-8") as stream:
        shared = parse_mount(stream.read(), real)
    shared.update(
        {
            "exists": exists,
            "writable": exists and os.access(real, os.W_OK),
            "free": shutil.disk_usage(real).free if exists else 0,
            "probe_seen": bool(probe) and os.path.exists(probe),
        }
    )
    return shared


def ask_engine(path):
    """What the Docker Engine answers to a GET of a path, as data.

    :raise OSError: if no engine answers, or not with that
    """
    try:
        with contextlib.closing(http.client.HTTPConnection("localhost")) as connection:
            connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.sock.settimeout(ENGINE_TIMEOUT)
            connection.sock.connect(ENGINE_SOCKET)
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read().decode("utf-8", "replace")
        server = answer.getheader("Server", "")
        # Podman answers at a link of that name, and has no such runtimes.
        if not server.startswith("Docker/"):
            raise OSError("expected Docker, found %s" % (server or "another service"))
        if answer.status != http.client.OK:
            raise OSError("%s: status %d, %s" % (path, answer.status, first_line(body)))
        return json.loads(body)
    except (ValueError, http.client.HTTPException) as error:
        raise OSError("%s: %r" % (path, error)) from error


def read_engine(run):
    """The container engine: version, or in error why it does not answer; data folder, runtimes, own containers."""
    engine = {"version": "", "error": "", "root": ENGINE_ROOT, "runtimes": [], "gpu_hook": False, "containers": {}}
    if not shutil.which("docker"):
        return dict(engine, error="the command docker is not there")
    try:
        info, own = ask_engine("/info"), ask_engine(OWN_CONTAINERS)
    except OSError as error:
        return dict(engine, error=first_line(run(ENGINE_COMMAND)[2]) or "%s: %s" % (ENGINE_SOCKET, error))
    return dict(
        engine,
        version=info["ServerVersion"],
        root=info["DockerRootDir"],
        runtimes=sorted(info.get("Runtimes") or {}),
        # What --gpus needs; a runtime of that name need not be set up for it.
        gpu_hook=bool(shutil.which("nvidia-container-runtime-hook")),
        # Their processes' control groups are called by the IDs.
        containers={each["Names"][0].lstrip("/"): each["Id"] for each in own},
    )


def read_image(name):
    """The ID of an image in the engine, empty if it is not there, and the CUDA that it was made for."""
    none = {"image_id": "", "image_cuda": ""}
    if not name:
        return none
    try:
        told = ask_engine("/images/%s/json" % urllib.parse.quote(name, safe="/:@"))
    except OSError:
        # Whoever brings it has the engine say what is wrong with its name, or with the engine.
        return none
    variables = dict(word.split("=", 1) for word in told["Config"].get("Env") or [] if "=" in word)
    return {"image_id": told["Id"], "image_cuda": variables.get("CUDA_VERSION", "")}


def read_environment(folder):
    """What stands in for an image where there are no containers: the digest of an environment that this node can run.

    :param folder: a Python environment on shared storage; digest is written last, when all is installed
    """
    try:
        ident = read_text(os.path.join(folder, "digest")).strip()
        settings = read_text(os.path.join(folder, "pyvenv.cfg"))
    except OSError:
        return {"image_id": "", "image_cuda": ""}
    # It links to an interpreter of the node: another version, or none, does not find what is installed.
    python = os.path.realpath(os.path.join(folder, "bin/python"))
    version = re.search(r"^version(?:_info)?\s*=\s*(\d+\.\d+)", settings, re.MULTILINE)
    named = re.search(r"python(\d+\.\d+)$", python)
    fits = os.access(python, os.X_OK) and not (version and named and version[1] != named[1])
    return {"image_id": ident if fits else "", "image_cuda": ""}


def read_interpreter(run, program):
    """A Python by its name: where it is and its version, or in error why there is none."""
    found = {"path": "", "version": "", "error": ""}
    if not program:
        return found
    path = shutil.which(program)
    if not path:
        return dict(found, error="%s is not there" % program)
    status, output, errors = run([path, "-c", "import platform; print(platform.python_version())"])
    if status != 0:
        return dict(found, path=path, error=first_line(errors))
    return dict(found, path=path, version=output.strip())


def read_runtime(state_dir):
    """What the collection has deployed on the node before: docker, venv, or nothing."""
    if not state_dir:
        return ""
    try:
        settings = json.loads(read_text(os.path.join(state_dir, "supervisor-ray.json")))
    except (OSError, ValueError):
        return ""
    return settings.get("runtime", "docker")


# What a deployment makes in that folder.
STATE_ENTRIES = [
    "tmp", "cache", "secrets", "download", "image", "processes", "services", "endpoint", "endpoint-cache", "run",
    "tools-*", "supervisor-*", "deployed.json*", "firewall.nft*",
]  # fmt: skip


def read_state(path):
    """The folder of what the collection keeps on the node: whether it is ours or can be made, and for us alone.

    :return: dictionary with exists, usable, private (nobody else may enter), foreign (there is something else in it)
        and fstype, of the file system that it is on, or would be
    """
    near = path
    while not os.path.exists(near) and near != os.path.dirname(near):
        near = os.path.dirname(near)
    with open("/proc/self/mounts", encoding="utf-8") as stream:
        fstype = parse_mount(stream.read(), os.path.realpath(near))["fstype"]
    told = {"exists": near == path, "private": True, "foreign": False, "fstype": fstype}
    if near != path:
        return dict(told, usable=os.path.isdir(near) and os.access(near, os.W_OK | os.X_OK))
    # A link may be an administrator's.
    status, user = os.stat(path), os.geteuid()
    usable = os.path.isdir(path) and status.st_uid == user and os.lstat(path).st_uid in (0, user)
    entries = set(os.listdir(path)) if usable else set()
    # Whatever a deployment or a teardown that was cut off has left is ours.
    others = [name for name in entries if not any(fnmatch.fnmatch(name, ours) for ours in STATE_ENTRIES)]
    foreign = bool(others) and "secrets" not in entries
    return dict(told, usable=usable, private=not status.st_mode & 0o077, foreign=foreign)


def running_processes(state_dir):
    """The collection's own processes that run without containers: name to ID."""
    if not state_dir:
        return {}
    processes = Processes(os.path.join(state_dir, "processes"))
    found = {name: processes.get(name) for name in ("onecc-ray", "onecc-vllm")}
    return {name: each.id for name, each in found.items() if each and each.running}


def parse_mtus(output):
    """ip's JSON as a dictionary from interface to its MTU in bytes."""
    return {link["ifname"]: link["mtu"] for link in json.loads(output or "[]") if link.get("ifname")}


def parse_listeners(output):
    """ss's lines as listeners: address, port, process (its name) and pid, empty and 0 for another user's."""
    listeners = []
    for line in output.splitlines():
        words = line.split(None, 5)
        address, port = words[3].rsplit(":", 1)
        owner = OWNER.search(words[5]) if len(words) > 5 else None
        listeners.append(
            {
                "address": address,
                "port": int(port),
                "process": owner[1] if owner else "",
                "pid": int(owner[2]) if owner else 0,
            }
        )
    return listeners


def parse_memory(meminfo):
    """The text of /proc/meminfo as total and available, in bytes."""
    values = dict(re.findall(r"^(\w+):\s+(\d+) kB", meminfo, re.MULTILINE))
    return {"total": int(values["MemTotal"]) * 1024, "available": int(values["MemAvailable"]) * 1024}


def parse_os(release):
    """The text of /etc/os-release as id, version and name."""
    values = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', release, re.MULTILINE))
    return {
        "id": values.get("ID", ""),
        "version": values.get("VERSION_ID", ""),
        "name": values.get("PRETTY_NAME", ""),
    }


def read_disk(path):
    """The file system that holds a path, or would once it is made: free bytes and used percent."""
    real = os.path.realpath(path)
    while not os.path.exists(real):
        real = os.path.dirname(real)
    usage = shutil.disk_usage(real)
    # As df and Ray count: what only root may use counts as used.
    return {"free": usage.free, "used_percent": round(100 * usage.used / max(usage.used + usage.free, 1), 1)}


def container_of(pid, containers):
    """The own container that a process runs in, by its control group; empty for any other process.

    :param containers: dictionary from name to ID
    """
    try:
        with open("/proc/%d/cgroup" % pid, encoding="utf-8") as stream:
            groups = stream.read()
    except OSError:
        # It has ended meanwhile.
        return ""
    return next((name for name, ident in containers.items() if ident in groups), "")


def read_text(path):
    with open(path, encoding="utf-8") as stream:
        return stream.read()


def read_firewall(run):
    """Whether nftables is there, and the collection's table in it."""
    # A user's path need not have it.
    nft = shutil.which("nft", path=os.pathsep.join([os.environ.get("PATH", ""), *SBIN]))
    loaded = nft is not None and run([nft, *TABLE_ARGUMENTS])[0] == 0
    return {"nft": nft is not None, "loaded": loaded}


def parse_port_range(text):
    """The text of ip_local_port_range as first and last port."""
    first, last = text.split()
    return [int(first), int(last)]
