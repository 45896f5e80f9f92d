# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was measured, read from what vLLM, Ansible and nvidia-smi say. Pure functions over text."""

from __future__ import annotations

import datetime
import json
import re
import statistics


def instant(text: str) -> float:
    """Seconds since the epoch of a time as the logs have it: 2026-11-23T11:48:56.07560999Z."""
    whole, _dot, rest = text.rstrip("Z").partition(".")
    begin = datetime.datetime.fromisoformat(whole).replace(tzinfo=datetime.timezone.utc).timestamp()
    return begin + float("0." + (rest or "0"))


def kv_tokens(log: str) -> int | None:
    """How many tokens the KV cache holds, by the last start in the log of vLLM."""
    found = re.findall(r"KV cache size: ([\d,]+) tokens", log)
    return int(found[-1].replace(",", "")) if found else None


def ready_at(log: str, since: float) -> float | None:
    """When vLLM first said that it serves, after some instant."""
    for line in log.splitlines():
        if "Application startup complete" in line:
            at = instant(line.split(" ", 1)[0])
            if at > since:
                return at
    return None


# What vLLM says of the stages of its start, with the seconds.
STAGES = {
    "weights": r"Loading weights took ([\d.]+) seconds",
    "model": r"Model loading took [\d.]+ GiB(?: memory)? and ([\d.]+) seconds",
    "compile": r"torch\.compile.*?took ([\d.]+) s",
    "graphs": r"Graph capturing finished in (\d+) secs",
    "engine": r"init engine \(.*?\) took ([\d.]+) s",
}


def stages(log: str) -> dict[str, float]:
    """Seconds of the stages of a start, the slowest rank's each."""
    found = {name: [float(each) for each in re.findall(pattern, log)] for name, pattern in STAGES.items()}
    return {name: max(values) for name, values in found.items() if values}


def since(log: str, start: float) -> str:
    """The lines of a log that were written after some instant."""
    kept = []
    for line in log.splitlines():
        stamp = line.split(" ", 1)[0]
        if re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z$", stamp) and instant(stamp) >= start:
            kept.append(line)
    return "\n".join(kept)


def records(text: str) -> list[dict]:
    """What callback/record.py has written."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def returned(lines: list[dict], action: str, key: str) -> list:
    """What tasks of one module returned under a key, in order."""
    return [line["result"][key] for line in lines if line.get("action") == action and key in line.get("result", {})]


def facts(lines: list[dict], name: str) -> list:
    """Values that were set with set_fact, in order."""
    return [each[name] for each in returned(lines, "ansible.builtin.set_fact", "ansible_facts") if name in each]


def roles(lines: list[dict]) -> dict[str, float]:
    """Seconds for each role, from the start of each task to that of the next."""
    starts = [line for line in lines if line["status"] == "start"]
    spent: dict[str, float] = {}
    end = lines[-1]["at"] if lines else 0.0
    for line, after in zip(starts, [*[each["at"] for each in starts[1:]], end], strict=True):
        role = line["task"].partition(" : ")[0] if " : " in line["task"] else "playbook"
        role = role.removeprefix("onecc.vllm.")
        spent[role] = spent.get(role, 0.0) + after - line["at"]
    return {role: round(seconds, 1) for role, seconds in spent.items() if seconds >= 0.05}


def gpus(text: str) -> list[dict]:
    """`nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader` as a list."""
    found = []
    for line in text.splitlines():
        words = [word.strip() for word in line.split(",")]
        if len(words) == 3:
            found.append({"name": words[0], "memory": words[1], "driver": words[2]})
    return found


def rates(of: list[dict]) -> dict[str, float]:
    """Output tokens/s for each number of streams, the median of its runs."""
    loads = {each["streams"]: [] for each in of}  # type: dict[str, list[float]]
    for each in of:
        loads[each["streams"]].append(each["output_throughput"])
    return {load: round(statistics.median(values), 3) for load, values in loads.items()}


def runs(text: str) -> list[dict]:
    """What remote_bench.py and remote_load.py have printed among the words of vLLM."""
    return [json.loads(line.partition("ONECC ")[2]) for line in text.splitlines() if line.startswith("ONECC ")]


def loads(text: str) -> list[dict]:
    """Cases of remote_load.py, each with what vLLM logged meanwhile."""
    found = []
    for part in re.split(r"^ONECC CASE ", text, flags=re.MULTILINE)[1:]:
        head, _end, rest = part.partition("\n")
        case = json.loads(head)
        case.update({name: seconds for name, seconds in stages(rest).items() if name in ("weights", "model")})
        ends = re.findall(r"^ONECC END (.*)$", rest, flags=re.MULTILINE)
        case.update(json.loads(ends[-1]) if ends else {"error": "it ended without a word"})
        found.append(case)
    return found
