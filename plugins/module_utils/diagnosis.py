# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names the cause of a failure from what the nodes have left: their logs and their states.

Logs hold more than one start of Ray and of the engine. What counts is the last start of the engine that went wrong,
and of everything before an engine that served nothing but what cannot have gone away by itself.
"""

from __future__ import annotations

import datetime
import posixpath
import re
import tarfile

from .catalogue import BY_ID, CAUSES
from .errors import OneccError
from .evidence import ENDPOINT_JOURNAL, ENGINE_LOG, RAY, RAY_LOG, STATE, UNIT_JOURNAL

# The files of evidence in which causes are looked for; the others are for people.
LOGS = re.compile(
    r"(onecc-(ray|vllm)\.log|journal-[\w-]+\.txt|dmesg\.txt|docker-version\.txt|nvidia-smi\.txt|download/log"
    r"|ray/(gcs_server|raylet|monitor|worker-)[\w.-]*)$"
)
# Of these, those that tell of one start of the engine.
OF_THE_ENGINE = re.compile(r"(onecc-vllm\.log|journal-onecc-endpoint\.txt|ray/worker-|ray/monitor)")
# These last until somebody mends them, so they count from the start of Ray on, whenever the engine was started.
LASTING = {"gpu-errors", "gpu-present", "image-ray", "image-same", "node-lost", "port", "reach"}
# These mean something only once the engine has served: before, it may be loading.
WHILE_SERVING = {"engine-hangs"}

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# In docker logs --timestamps, journalctl -o short-iso and dmesg --time-format iso.
ISO = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:[.,](\d{1,6})\d*)?(Z|[+-]\d\d:?\d\d)\s")
# In Ray's own logs.
PLAIN = re.compile(r"\[?(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d),(\d{3})[\s\]]")
# In vLLM's own logs, without a year.
SHORT = re.compile(r"\b(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) (\d\d-\d\d) (\d\d:\d\d:\d\d) ")

UNIT_START = re.compile(r"\[\d+\]: starting: the engine starts")
SERVICE_START = re.compile(r"systemd\[\d+\]: Started ")
ENGINE_START = re.compile(r"API server version \d|█\s+version \d")
SERVING = re.compile(r"Application startup complete")
RAY_START = re.compile(r"Local node IP: ")
RAY_RUNS = re.compile(r"Ray runtime started")
# Ray and vLLM write where a line comes from.
SOURCE_ADDRESS = re.compile(r"\bip=(\d+\.\d+\.\d+\.\d+)\)")
NODE_ADDRESS = re.compile(r"\b(?:address|ip): (\d+\.\d+\.\d+\.\d+)")
EXCEPTION = re.compile(r"(?:^|[\])|] )((?:[a-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit)(?::.*)?)$")
FULL = 95
LAST_LINES = 12
NEVER = float("inf")


def parse_time(line, year=None):
    """The time that a line bears, in seconds since 1970, or None. Without a zone it is UTC, as in the containers.

    :param year: the year of lines that have none
    """
    match = ISO.match(line)
    if match:
        zone = match[4].replace("Z", "+0000").replace(":", "")
        text = "%sT%s.%s%s" % (match[1], match[2], (match[3] or "0").ljust(6, "0"), zone)
        return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
    match = PLAIN.search(line[:200])
    if match:
        return utc("%s %s.%s" % (match[1], match[2], match[3]))
    match = SHORT.search(line[:200])
    if match and year:
        return utc("%d-%s %s.0" % (year, match[1], match[2]))
    return None


def utc(text):
    """Seconds since 1970, or None for what is no date, such as the 45th of a month."""
    try:
        time = datetime.datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f")
    except ValueError:
        return None
    return time.replace(tzinfo=datetime.timezone.utc).timestamp()


def since_1970(text):
    """A time as docker inspect writes it in seconds since 1970, or None where it says that there is none."""
    time = parse_time((text or "") + " ")
    return time if time and time > 0 else None


class Line:
    """A line of a log.

    :param number: its number, from 1
    :param text: without colours
    :param time: seconds since 1970, or None
    """

    __slots__ = ("number", "text", "time")

    def __init__(self, number, text, time):
        self.number, self.text, self.time = number, text, time


def read(lines, written=None):
    """Lines with the times that they bear; a line without one has that of the line before it.

    :param lines: list of strings
    :param written: when the file was last written, for files without times
    """
    year = datetime.datetime.fromtimestamp(written, datetime.timezone.utc).year if written else None
    result, time = [], None
    for number, raw in enumerate(lines, 1):
        text = COLOUR.sub("", raw).rstrip("\r\n")
        time = parse_time(text, year) or time
        result.append(Line(number, text, time))
    if written and time is None:
        for line in result:
            line.time = written
    return result


def last_run(lines):
    """The lines since systemd has last started a service, which says nothing more where it runs."""
    starts = [number for number, line in enumerate(lines) if SERVICE_START.search(line.text)]
    return lines[starts[-1] :] if starts else lines


COMPILED = [(cause, [re.compile(pattern) for pattern in cause.patterns]) for cause in CAUSES]
ANY = re.compile("|".join("(?:%s)" % pattern for cause in CAUSES for pattern in cause.patterns))


def match_cause(text):
    """The cause that a line is evidence of, or None. Of several the one whose pattern covers most of the line."""
    # One look at most lines instead of one for each pattern.
    if not ANY.search(text):
        return None
    found = []
    for order, (cause, patterns) in enumerate(COMPILED):
        lengths = [len(match[0]) for match in (pattern.search(text) for pattern in patterns) if match]
        if lengths:
            found.append((-max(lengths), order, cause))
    return min(found)[2] if found else None


def finding(cause, node, file, number, evidence, time=None):
    """What is returned of one piece of evidence."""
    shown = ""
    if time is not None:
        moment = datetime.datetime.fromtimestamp(time, datetime.timezone.utc)
        shown = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "id": cause.id,
        "problem": cause.problem,
        "remedy": cause.remedy,
        "node": node,
        "file": file,
        "line": number,
        "evidence": evidence,
        "time": shown,
    }


class Scene:
    """All evidence of a cluster.

    :param files: dictionary from node to a dictionary from file to its lines
    :param states: dictionary from node to its state, see Collection.state in evidence
    :param unreachable: dictionary from the nodes that could not be reached to what was said about it
    """

    def __init__(self, files, states, unreachable):
        self.states, self.unreachable = states, unreachable
        self.logs = {}
        for node, by_name in files.items():
            written = states.get(node, {}).get("written") or {}
            for name, lines in by_name.items():
                if LOGS.match(name):
                    self.logs[node, name] = read(lines, written.get(name))
                if name == ENDPOINT_JOURNAL:
                    self.logs[node, name] = last_run(self.logs[node, name])
        self.names = {state["address"]: node for node, state in states.items() if state.get("address")}
        self.served = max(
            (line.time for line in self.lines(ENGINE_LOG) if line.time and SERVING.search(line.text)), default=None
        )
        self.engine_since = self.engine_start()
        self.ray_since = {node: self.ray_start(node) for node in files}

    def lines(self, name, node=None):
        return [line for key, lines in self.logs.items() if key[1] == name and node in (None, key[0]) for line in lines]

    def engine_start(self):
        """When the start of the engine that is to be judged began: the last one that went wrong.

        A later start that has not yet said anything may still be on its way, so it does not excuse an earlier one.
        """
        engine = self.lines(ENGINE_LOG)
        journal = self.lines(UNIT_JOURNAL)
        starts = {line.time for line in journal if line.time and UNIT_START.search(line.text)}
        if not starts:
            starts = {line.time for line in engine if line.time and ENGINE_START.search(line.text)}
            starts |= {since_1970(((s.get("containers") or {}).get("onecc-vllm") or {}).get("started_at"))
                       for s in self.states.values()}  # fmt: skip
        return last_failing(sorted(starts - {None}), engine + journal, self.served)

    def ray_start(self, node):
        """When the start of Ray on a node that is to be judged began."""
        lines = self.lines(RAY_LOG, node)
        starts = {line.time for line in lines if line.time and RAY_START.search(line.text)}
        container = ((self.states.get(node) or {}).get("containers") or {}).get(RAY) or {}
        # The container starts before Ray says its first word.
        starts = starts or {since_1970(container.get("started_at"))}
        return last_failing(sorted(starts - {None}), lines)

    def counts(self, cause, node, name, line):
        """Whether a line still means something."""
        # The network that NCCL has chosen is no failure, and stays chosen.
        if cause.id == "fabric":
            return self.has_infiniband(self.happened_on(node, line.text))
        if cause.id in WHILE_SERVING and (self.served is None or (line.time is not None and line.time < self.served)):
            return False
        if line.time is None:
            return True
        if self.served is not None and line.time < self.served:
            return False
        if name == RAY_LOG:
            return line.time >= (self.ray_since[node] or 0) and not self.ray_ran_after(node, line)
        if cause.id in LASTING and not OF_THE_ENGINE.match(name):
            if cause.id == "node-lost" and self.is_back(node, line.text):
                return line.time >= (self.engine_since or 0)
            return line.time >= (self.ray_since[node] or 0)
        return line.time >= (self.engine_since or self.ray_since[node] or 0)

    def ray_ran_after(self, node, line):
        """Whether Ray got over it: a worker that is up before its head asks again and again."""
        lines = self.lines(RAY_LOG, node)
        return any(RAY_RUNS.search(later.text) for later in lines[line.number :])

    def is_back(self, node, text):
        """Whether Ray knows a living node with the address that a line names.

        A raylet that was given up names no address: its line is about the node that it is found on.
        """
        named = NODE_ADDRESS.search(text)
        address = named[1] if named else (self.states.get(node) or {}).get("address")
        return address in (self.living() or ())

    def has_infiniband(self, node):
        ports = (self.states.get(node) or {}).get("infiniband") or []
        return any("ACTIVE" in port.get("state", "") and port.get("link_layer") != "Ethernet" for port in ports)

    def happened_on(self, node, text):
        """The node that a line is about: Ray hands the lines of its workers to the engine's log."""
        address = SOURCE_ADDRESS.search(text) or NODE_ADDRESS.search(text)
        return self.names.get(address[1], node) if address else node

    def from_logs(self):
        """Pairs of rank and finding, one for each cause and node, the earliest."""
        found: dict = {}
        for (node, name), lines in sorted(self.logs.items()):
            for line in lines:
                cause = match_cause(line.text)
                if cause and self.counts(cause, node, name, line):
                    where = self.happened_on(node, line.text)
                    time = NEVER if line.time is None else line.time
                    rank = (rank_of(cause), time, name, line.number)
                    entry = finding(
                        cause, where, posixpath.join(node, name), line.number, shorten(line.text), line.time
                    )
                    if (cause.id, where) not in found or rank < found[cause.id, where][0]:
                        found[cause.id, where] = (rank, entry)
        return list(found.values())

    def from_states(self):
        """Pairs of rank and finding of what is no line of a log."""
        found = []

        def add(cause_id, node, evidence, time=None, early=False):
            cause = BY_ID[cause_id]
            rank = (rank_of(cause), 0 if early else NEVER if time is None else time, "", 0)
            file = "" if node in self.unreachable else posixpath.join(node, STATE)
            found.append((rank, finding(cause, node, file, 0, evidence, time)))

        for node, why in sorted(self.unreachable.items()):
            known = [
                ray
                for state in self.states.values()
                for ray in state.get("ray_nodes") or []
                if ray["state"] != "ALIVE" and ray["address"] not in (self.living() or ())
            ]
            lost = any(self.happened_on("", "address: %s" % ray["address"]) in ("", node) for ray in known)
            add("node-lost" if lost else "ssh", node, shorten(why or "%s could not be reached" % node), early=True)
        alive = self.living()
        for node, state in sorted(self.states.items()):
            engine = state.get("engine") or {}
            if engine.get("error"):
                add("engine", node, engine["error"], early=True)
            for name, container in sorted((state.get("containers") or {}).items()):
                if container is None:
                    continue
                ended = since_1970(container["finished_at"])
                if container["error"]:
                    cause = match_cause(container["error"])
                    if cause:
                        add(cause.id, node, "%s: %s" % (name, container["error"]), ended, early=True)
                if container["oom_killed"] and container["status"] != "running":
                    add("memory", node, "%s was ended because it ran out of memory" % name, ended)
                if name == RAY and container["status"] in ("exited", "dead"):
                    evidence = "%s has ended with status %d" % (name, container["exit_code"])
                    add("node-lost", node, evidence, ended)
            for disk in state.get("disks") or []:
                if disk["used_percent"] >= FULL:
                    add("disk", node, "%(mount)s is %(used_percent)d%% full" % disk)
            address = state.get("address")
            if alive is not None and address and RAY in (state.get("containers") or {}) and address not in alive:
                add("node-lost", node, "no living node of Ray has the address %s" % address)
        return found

    def living(self):
        """Addresses of Ray's living nodes, or None if Ray did not tell."""
        told = [state["ray_nodes"] for state in self.states.values() if state.get("ray_nodes") is not None]
        return {node["address"] for nodes in told for node in nodes if node["state"] == "ALIVE"} if told else None

    def last_words(self):
        """The last exception of the engine, if any, and its last lines."""
        lines = [line for line in self.lines(ENGINE_LOG) if line.time is None or line.time >= (self.engine_since or 0)]
        # Where there is no engine, Docker's complaint about that stands in its place, without a time.
        lines = [line for line in lines if line.time is not None] or lines
        error = ""
        for line in lines:
            match = EXCEPTION.search(line.text)
            cause = match_cause(line.text)
            # What everything ends with says nothing.
            if match and not (error and cause and cause.id == "engine-lost"):
                error = match[1]
        return error, [shorten(line.text) for line in lines[-LAST_LINES:]]


def rank_of(cause):
    """Causes before symptoms, and what only says that something ended last."""
    return 2 if cause.id == "engine-lost" else 1 if cause.symptom else 0


def shorten(text, limit=600):
    return text if len(text) <= limit else text[:limit] + " …"


def last_failing(starts, lines, served=None):
    """The last of several starts that has a line which tells of a failure, the last of all if none has.

    :param starts: times, in order
    :param lines: lines of the log
    :param served: when the engine served last: starts before that did not fail
    :return: a time, or None if there was no start
    """
    bad = [line.time for line in lines if line.time is not None and match_cause(line.text)]
    ends = [*starts[1:], NEVER]
    for start, end in reversed(list(zip(starts, ends, strict=False))):
        if any(start <= time < end and (served is None or time >= served) for time in bad):
            return start
    return starts[-1] if starts else None


def diagnose(files, states, unreachable=None, failed=None):
    """What went wrong.

    :param files: dictionary from node to a dictionary from file to its lines
    :param states: dictionary from node to its state, see Collection.state in evidence
    :param unreachable: dictionary from the nodes that could not be reached to what was said about it
    :param failed: dictionary from the nodes that could be reached, but not collected from, to why
    :return: dictionary with first (a finding or None), others (list of findings, in order), error (the engine's last
        exception), last_lines (of the engine's log) and notes (what could not be collected)
    """
    scene = Scene(files, states, unreachable or {})
    best: dict = {}
    for rank, entry in scene.from_logs() + scene.from_states():
        key = entry["id"], entry["node"]
        if key not in best or rank < best[key][0]:
            best[key] = (rank, entry)
    found = [entry for _rank, entry in sorted(best.values(), key=lambda pair: (pair[0], pair[1]["node"]))]
    error, last_lines = scene.last_words()
    notes = ["%s could not be reached" % node for node in sorted(scene.unreachable)]
    notes += ["%s: nothing could be collected: %s" % pair for pair in sorted((failed or {}).items())]
    for node, state in sorted(states.items()):
        notes += ["%s: %s did not come in time" % (node, name) for name in state.get("timed_out") or []]
        notes += ["%s: no room for %s" % (node, name) for name in state.get("left_out") or []]
    return {
        "first": found[0] if found else None,
        "others": found[1:],
        "error": error,
        "last_lines": last_lines,
        "notes": notes,
    }


def summary(result, archive=""):
    """The diagnosis in a few lines.

    :param result: what diagnose returned
    :param archive: where the evidence lies, empty if it was not kept
    """
    first = result["first"]
    if first:
        place = "%s:%d" % (first["file"], first["line"]) if first["line"] else first["file"]
        lines = [
            "What went wrong: %s (%s), on %s." % (first["problem"], first["id"], first["node"]),
            "Evidence: %s" % first["evidence"],
            *(["  in %s" % place] if place else []),
            "What to do: %s" % first["remedy"],
        ]
        if BY_ID[first["id"]].symptom and result["error"]:
            lines.append("The engine's last error: %s" % result["error"])
    else:
        lines = ["No known cause was found in what the nodes have left."]
        if result["error"]:
            lines.append("The engine's last error: %s" % result["error"])
        elif result["last_lines"]:
            lines += ["The engine's last lines:", *("  " + line for line in result["last_lines"][-5:])]
        else:
            lines.append("There is no log of the engine.")
    if result["others"]:
        seen = ["%s (%s)" % (entry["id"], entry["node"]) for entry in result["others"]]
        lines.append("Also found: %s" % ", ".join(seen))
    lines += ["Note: %s" % note for note in result["notes"]]
    if archive:
        lines.append("All evidence: %s" % archive)
    return lines


def unpack(path, limit):
    """The files of one node's archive as a dictionary from name to text.

    :param path: a gzipped tar as evidence makes it
    :param limit: bytes of all files together
    :raise OneccError: if it is something else
    """
    texts, size = {}, 0
    try:
        with tarfile.open(path, "r:gz") as archive:
            for entry in archive:
                name = posixpath.normpath(entry.name)
                if not entry.isreg() or name.startswith(("/", "../")):
                    continue
                size += entry.size
                if size > limit:
                    raise OneccError(path, "at most %d bytes" % limit, "more", "Set diagnose_log_mib lower.")
                stream = archive.extractfile(entry)
                texts[name] = stream.read().decode("utf-8", "replace") if stream else ""
    except (OSError, EOFError, tarfile.TarError) as error:
        raise OneccError(path, "an archive of evidence", str(error), "Collect it again.") from error
    return texts
