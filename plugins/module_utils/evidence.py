# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node can tell about a failure, bounded in size and time and without secrets, as one archive.

Nothing here may stop the rest: a command that hangs is left behind and the file says so.
"""

from __future__ import annotations

import contextlib
import datetime
import glob
import io
import json
import os
import re
import selectors
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
import typing
import urllib.error
import urllib.request

from . import services
from .errors import OneccError
from .ray_state import read_token
from .redact import MASK, is_secret, redact
from .supervisor.processes import Processes, read_json

MIB = 1024 * 1024
ENGINE, RAY, ENDPOINT = "onecc-vllm", "onecc-ray", "onecc-endpoint"
CONTAINERS = (RAY, ENGINE)
ENGINE_LOG, RAY_LOG = "onecc-vllm.log", "onecc-ray.log"
UNIT_JOURNAL, ENDPOINT_JOURNAL = "journal-onecc-vllm.txt", "journal-onecc-endpoint.txt"
STATE = "state.json"

# File of the archive, and the command whose output it holds.
COMMANDS = {
    "docker-version.txt": ["docker", "version"],
    "docker-ps.txt": ["docker", "ps", "--all", "--no-trunc"],
    "docker-images.txt": ["docker", "images", "--digests", "--no-trunc"],
    RAY_LOG: ["docker", "logs", "--timestamps", "--tail", "100000", RAY],
    ENGINE_LOG: ["docker", "logs", "--timestamps", "--tail", "100000", ENGINE],
    "journal-docker.txt": ["journalctl", "--no-pager", "--utc", "-o", "short-iso", "-n", "3000", "-u", "docker"],
    "journal-kernel.txt": ["journalctl", "--no-pager", "--utc", "-o", "short-iso", "-n", "5000", "-k"],
    "dmesg.txt": ["dmesg", "--time-format", "iso"],
    "disks.txt": ["df", "-P", "-T"],
    "inodes.txt": ["df", "-P", "-i"],
    "memory.txt": ["free", "-m"],
    "uptime.txt": ["uptime"],
    "uname.txt": ["uname", "-a"],
    "addresses.txt": ["ip", "address"],
    "routes.txt": ["ip", "route"],
    "listeners.txt": ["ss", "-tlnp"],
    "nvidia-smi.txt": ["nvidia-smi"],
    "nvidia-smi-q.txt": ["nvidia-smi", "-q"],
}
# Those that ask the Docker Engine, which nodes without containers need not have.
OF_DOCKER = ("docker-version.txt", "docker-ps.txt", "docker-images.txt", RAY_LOG, ENGINE_LOG, "journal-docker.txt")
# Those that ask systemd for more than the services of the collection.
OF_SYSTEMD = ("journal-docker.txt", "journal-kernel.txt")
FILES = {
    "os-release.txt": "/usr/lib/os-release",
    "mounts.txt": "/proc/self/mounts",
    "meminfo.txt": "/proc/meminfo",
}
# Logs of Ray in the order in which they are taken; then those of workers, newest first.
RAY_FILES = re.compile(
    r"(gcs_server|raylet|monitor|ray_process_exit|runtime_env_agent|dashboard)[\w.-]*\.(out|err|log)$"
)
WORKER_FILES = re.compile(r"(worker|python-core)-[\w.-]+\.(out|err|log)$")
# One place after another, for the case that a disk is full: the first is memory.
PLACES = ("/run", "/tmp", "/var/tmp", "/dev/shm")


class Tail:
    """Keeps the end of what is written to it, whole lines only.

    :param limit: bytes
    """

    def __init__(self, limit):
        self.limit, self.parts, self.size, self.cut = limit, [], 0, False

    def add(self, data):
        self.parts.append(data)
        self.size += len(data)
        while self.size - len(self.parts[0]) > self.limit:
            self.size -= len(self.parts.pop(0))
            self.cut = True

    def text(self):
        data = b"".join(self.parts)
        if self.cut or len(data) > self.limit:
            # Half a line may hold half a secret, which nothing would recognise.
            # With one byte more it shows whether the first line is whole.
            data = data[-self.limit - 1 :].partition(b"\n")[2]
        return data.decode("utf-8", "replace")


def run(argv, timeout, limit):
    """What a command prints, or as much of it as comes in time.

    :param argv: the command; both its streams are read
    :param timeout: seconds
    :param limit: bytes that are kept, from the end
    :return: (text, why there is no more: an empty string, "missing", "timeout" or "exit status N")
    """
    tail = Tail(limit)
    try:
        # A group of its own, so that its children end with it.
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
    except FileNotFoundError:
        return "", "missing"
    except OSError as error:
        return "%s\n" % error, "missing"
    stream = typing.cast(typing.IO[bytes], process.stdout)
    end = time.monotonic() + timeout
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while (left := end - time.monotonic()) > 0:
            if not selector.select(left):
                continue
            data = os.read(stream.fileno(), 65536)
            if not data:
                break
            tail.add(data)
    try:
        status = process.wait(max(end - time.monotonic(), 0))
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        stream.close()
        # A process that the kernel does not let go (a hung driver) cannot be waited for.
        return tail.text(), "timeout"
    stream.close()
    return tail.text(), "exit status %d" % status if status else ""


def read_file(path, limit):
    """The end of a file, and when it was last written.

    :return: (text, seconds since 1970)
    :raise OSError: if it is no regular file: the folder of Ray's logs can be written to by others
    """
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK)) as stream:
        facts = os.fstat(stream.fileno())
        if not stat.S_ISREG(facts.st_mode):
            raise OSError("%s is no file" % path)
        tail = Tail(limit)
        if facts.st_size > limit + 1:
            stream.seek(facts.st_size - limit - 1)
            tail.cut = True
        tail.add(stream.read(limit + 1))
    return tail.text(), facts.st_mtime


def hide_arguments(words):
    """Arguments without the values of those that are secret: --name value and --name=value, several values as well."""
    shown, hiding = [], False
    for word in words:
        if word.startswith("-"):
            name, equals, value = word.partition("=")
            hiding = is_secret(name, "some text")
            shown.append(name + equals + (MASK if hiding and equals else value))
            hiding = hiding and not equals
        else:
            shown.append(MASK if hiding else word)
    return shown


def hide_environment(text):
    """The answer of docker inspect without the values of variables, labels and arguments that are secret."""
    try:
        answer = json.loads(text)
    except ValueError:
        return text
    for container in answer:
        config = container.get("Config") or {}
        shown = []
        for setting in config.get("Env") or []:
            name, equals, value = setting.partition("=")
            shown.append(name + equals + (MASK if is_secret(name, value) else value))
        config["Env"] = shown
        for place, key in ((config, "Cmd"), (config, "Entrypoint"), (container, "Args")):
            if place.get(key):
                place[key] = hide_arguments(place[key])
    return json.dumps(answer, indent=2) + "\n"


def environment(text):
    """The environment of the one container that docker inspect has described."""
    try:
        settings = (json.loads(text)[0].get("Config") or {}).get("Env") or []
    except (ValueError, IndexError):
        return {}
    return dict(setting.partition("=")[::2] for setting in settings)


def container_state(text):
    """State of a container from what docker inspect prints, or None if there is no such container."""
    try:
        answer = json.loads(text)[0]
    except (ValueError, IndexError):
        return None
    state = answer.get("State") or {}
    return {
        "status": state.get("Status", ""),
        "exit_code": state.get("ExitCode", 0),
        "oom_killed": bool(state.get("OOMKilled")),
        "error": state.get("Error", ""),
        "started_at": state.get("StartedAt", ""),
        "finished_at": state.get("FinishedAt", ""),
        "restarts": answer.get("RestartCount", 0),
        "image_id": answer.get("Image", ""),
    }


def parse_df(text):
    """Lines of df -P as a list of file systems, each once, fullest first."""
    disks = {}
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) >= 6 and fields[4].endswith("%") and fields[4][:-1].isdigit():
            mount = " ".join(fields[5:])
            disks[mount] = {"mount": mount, "used_percent": int(fields[4][:-1]), "free_kib": int(fields[3])}
    return sorted(disks.values(), key=lambda disk: (-disk["used_percent"], disk["mount"]))


def parse_listeners(text):
    """Lines of ss -tln as a list of addresses with port."""
    fields = [line.split() for line in text.splitlines()]
    return sorted({field[3] for field in fields if len(field) > 3 and field[0] == "LISTEN"})


def read_infiniband(root="/sys/class/infiniband"):
    """The ports of InfiniBand adapters with what the kernel says of them."""
    ports = []
    for device in sorted(os.listdir(root)) if os.path.isdir(root) else []:
        folder = os.path.join(root, device, "ports")
        for port in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
            entry = {"device": device, "port": port}
            for name in ("state", "phys_state", "rate", "link_layer"):
                try:
                    with open(os.path.join(folder, port, name), encoding="ascii") as stream:
                        entry[name] = stream.read().strip()
                except OSError as error:
                    entry[name] = error.strerror
            ports.append(entry)
    return ports


def read_secrets(state_dir):
    """What the collection keeps in confidence on this node: the contents of its files."""
    found = []
    for path in sorted(glob.glob(os.path.join(state_dir, "secrets", "**"), recursive=True)):
        if os.path.isfile(path):
            with open(path, encoding="utf-8") as stream:
                found.append(stream.read().strip())
    return [secret for secret in found if secret]


def read_ray_nodes(url, token, timeout):
    """The nodes as Ray's dashboard lists them.

    :raise OSError: if it does not answer
    :raise ValueError: if it answers something else
    """
    request = urllib.request.Request(url.rstrip("/") + "/api/v0/nodes?detail=True&limit=10000")
    request.add_header("Authorization", "Bearer " + token)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=timeout) as stream:
        answer = json.loads(stream.read())
    nodes = answer["data"]["result"]["result"]
    names = {"address": "node_ip", "state": "state", "state_message": "state_message", "is_head": "is_head_node"}
    return [{name: node.get(source) for name, source in names.items()} for node in nodes]


def ray_logs(state_dir):
    """Ray's logs of the last session: names, and the folder they lie in.

    The link to the session names a path of the containers, so only its last part counts.
    """
    sessions = os.path.join(state_dir, "tmp/ray")
    try:
        session = os.path.basename(os.readlink(os.path.join(sessions, "session_latest")).rstrip("/"))
        folder = os.path.join(sessions, session, "logs")
        names = os.listdir(folder)
        age = {name: -os.lstat(os.path.join(folder, name)).st_mtime for name in names}
    except OSError:
        return "", []
    first = sorted(name for name in names if RAY_FILES.match(name))
    workers = sorted((name for name in names if WORKER_FILES.match(name)), key=age.__getitem__)
    return folder, first + workers


class Collection:
    """The files of one node.

    :param name: name of the node
    :param limit: bytes of one file
    :param total: bytes of all files together
    :param timeout: seconds for one command
    :param secrets: values to remove
    """

    def __init__(self, name, limit, total, timeout, secrets=()):
        self.limit, self.left, self.timeout, self.secrets = limit, total, timeout, list(secrets)
        self.files = {}
        self.hung = set()
        self.state = {
            "node": name,
            "time": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "address": "",
            "engine": {"version": "", "error": ""},
            "containers": {},
            "without_containers": False,
            "ray_nodes": None,
            "ray_error": "",
            "disks": [],
            "listeners": [],
            "infiniband": read_infiniband(),
            "written": {},
            "missing": [],
            "timed_out": [],
            "left_out": [],
        }

    def add(self, name, text, written=None):
        """Takes a file, unless there is no room for it."""
        text = redact(text, self.secrets)
        size = len(text.encode())
        if size > self.left:
            self.state["left_out"].append(name)
            return
        self.left -= size
        self.files[name] = text
        if written is not None:
            self.state["written"][name] = round(written, 3)

    def ask(self, name, argv):
        """Takes the output of a command, or a note why there is none.

        :return: the output as it was, (text, why there is no more)
        """
        program = argv[0]
        if program in self.hung:
            text, why = "", "timeout"
            note = "not run: %s did not answer before" % program
        else:
            text, why = run(argv, self.timeout, self.limit)
            note = {
                "timeout": "no end after %d s: %s" % (self.timeout, " ".join(argv)),
                "missing": "not there: %s" % program,
            }.get(why, why)
        if why == "timeout":
            self.hung.add(program)
            self.state["timed_out"].append(name)
        if why == "missing":
            self.state["missing"] = sorted({*self.state["missing"], program})
        self.add(name, text + ("[%s]\n" % note if why else ""))
        return text, why

    def inspect(self, container):
        """Takes what the engine knows of a container."""
        argv = ["docker", "inspect", "--type", "container", container]
        if "docker" in self.hung:
            return
        text, why = run(argv, self.timeout, self.limit)
        if why == "timeout":
            self.hung.add("docker")
            self.state["timed_out"].append(container + ".inspect.json")
        if why:
            return
        self.state["address"] = environment(text).get("VLLM_HOST_IP") or self.state["address"]
        self.state["containers"][container] = container_state(text)
        self.add(container + ".inspect.json", hide_environment(text))

    def describe(self, process, folder):
        """Takes what is known of a process that runs without a container, and the end of what it wrote."""
        processes = Processes(folder)
        spec, found = read_json(processes.spec_file(process)), processes.get(process)
        if found is None or spec is None:
            return
        noted = read_json(processes.state_file(process)) or {}
        self.state["address"] = spec["env"].get("VLLM_HOST_IP") or self.state["address"]
        self.state["containers"][process] = {
            "status": found.status,
            "exit_code": found.exit_code,
            "oom_killed": False,
            "error": "",
            "started_at": found.started_at,
            "finished_at": noted.get("finished_at", ""),
            "restarts": 0,
            "image_id": "",
        }
        spec["env"] = {name: MASK if is_secret(name, value) else value for name, value in spec["env"].items()}
        spec["argv"] = hide_arguments(spec["argv"])
        self.add(process + ".inspect.json", json.dumps({"spec": spec, "state": noted}, indent=2) + "\n")
        # The newest file may have just been begun.
        tail, written = Tail(self.limit), None
        for path in (spec["log"] + ".1", spec["log"]):
            with contextlib.suppress(OSError):
                text, written = read_file(path, self.limit)
                tail.add(text.encode())
        self.add(process + ".log", tail.text(), written)

    def copy(self, name, path):
        """Takes the end of a file."""
        try:
            text, written = read_file(path, self.limit)
        except OSError as error:
            self.add(name, "[%s]\n" % error)
            return
        self.add(name, text, written)


def engine_state(text, why):
    """The engine's version, or why it does not answer, from what docker version printed."""
    if why == "missing":
        return {"version": "", "error": "the command docker is not there"}
    if why == "timeout":
        return {"version": "", "error": "docker version did not end"}
    server = text.partition("Server:")[2]
    version = re.search(r"Version:\s+(\S+)", server)
    if version and not why:
        return {"version": version[1], "error": ""}
    lines = [line for line in text.splitlines() if line.strip()]
    return {"version": "", "error": lines[-1].strip() if lines else why}


def collect(collection, state_dir, dashboard_url="", token_file=""):
    """Takes everything, the most telling first, for the case that the room does not do.

    :param collection: an empty Collection
    :param state_dir: what the collection keeps on the node, where Ray's logs are
    :param dashboard_url: address of Ray's dashboard, on the head; empty elsewhere
    :param token_file: with Ray's token
    """
    state = collection.state
    collection.secrets += read_secrets(state_dir)
    processes = os.path.join(state_dir, "processes")
    state["without_containers"] = os.path.isdir(processes)
    if state["without_containers"]:
        for process in CONTAINERS:
            collection.describe(process, processes)
    else:
        for container in CONTAINERS:
            collection.inspect(container)
    manager = services.open_services(None, state_dir)
    commands = {"journal-%s.txt" % name: manager.log_command(name) for name in (ENGINE, RAY, ENDPOINT)}
    commands["services.txt"] = manager.status_command()
    left_out = (OF_DOCKER if state["without_containers"] else ()) + (() if services.has_systemd() else OF_SYSTEMD)
    commands.update((name, argv) for name, argv in COMMANDS.items() if name not in left_out)
    answers = {name: collection.ask(name, argv) for name, argv in commands.items()}
    if not state["without_containers"]:
        state["engine"] = engine_state(*answers["docker-version.txt"])
    state["listeners"] = parse_listeners(answers["listeners.txt"][0])
    # Local folders alone: a shared file system that is nearly full is no trouble, and one that hangs takes long.
    folders = [folder for folder in ("/", "/var/lib/docker", state_dir) if os.path.isdir(folder)]
    state["disks"] = parse_df(run(["df", "-P", *folders], collection.timeout, MIB)[0])
    if dashboard_url:
        beside = ["docker", "exec", RAY]
        if state["without_containers"]:
            program = os.path.join(state_dir, "supervisor-ray.pyz")
            beside = [sys.executable, program, "exec", os.path.join(processes, RAY + ".json")]
        collection.ask("ray-status.txt", [*beside, "timeout", str(collection.timeout), "ray", "status"])
        try:
            state["ray_nodes"] = read_ray_nodes(dashboard_url, read_token(token_file), collection.timeout)
        except (OSError, ValueError, LookupError, TypeError, urllib.error.URLError) as error:
            state["ray_error"] = str(error)
    for name, path in FILES.items():
        collection.copy(name, path)
    collection.add("infiniband.txt", json.dumps(state["infiniband"], indent=2) + "\n")
    for name in ("log", "result.json"):
        path = os.path.join(state_dir, "download", name)
        if os.path.exists(path):
            collection.copy("download/" + name, path)
    folder, names = ray_logs(state_dir)
    for name in names:
        collection.copy("ray/" + name, os.path.join(folder, name))


def pack(collection):
    """The archive as bytes: a gzipped tar with all files and state.json."""
    secrets = collection.secrets
    files = dict(collection.files)
    files[STATE] = redact(json.dumps(collection.state, indent=2) + "\n", secrets)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=6) as archive:
        for name in sorted(files):
            add_text(archive, name, files[name])
    return buffer.getvalue()


def add_text(archive, name, text):
    """Puts a text into an open tar."""
    data = text.encode()
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = len(data), 0o600, int(time.time())
    archive.addfile(entry, io.BytesIO(data))


def store(data, name, places=PLACES):
    """Writes the archive into a new folder that only its owner can enter.

    :return: (folder, path of the archive)
    :raise OneccError: if there is no place for it
    """
    why = []
    for place in places:
        try:
            folder = tempfile.mkdtemp(prefix="onecc-evidence-", dir=place)
        except OSError as error:
            why.append("%s: %s" % (place, error.strerror))
            continue
        path = os.path.join(folder, name + ".tar.gz")
        try:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
                stream.write(data)
        except OSError as error:
            why.append("%s: %s" % (place, error.strerror))
            shutil.rmtree(folder, ignore_errors=True)
            continue
        return folder, path
    raise OneccError(
        os.uname().nodename,
        "room for %d KiB in one of %s" % (len(data) // 1024 + 1, ", ".join(places)),
        "; ".join(why),
        "Free space on the node.",
    )
