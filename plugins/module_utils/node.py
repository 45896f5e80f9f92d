# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one node has: read with its own commands, parsed into data."""

from __future__ import annotations

import json
import os
import re
import shutil

GPU_FIELDS = ["index", "name", "memory.total"]
GPU_COMMAND = ["nvidia-smi", "--query-gpu=" + ",".join(GPU_FIELDS), "--format=csv,noheader,nounits"]
ADDRESS_COMMAND = ["ip", "-json", "-4", "address", "show"]
ROUTE_COMMAND = ["ip", "-json", "-4", "route", "show", "default"]
# The kernel writes spaces and the like in mount points as octal numbers.
OCTAL = re.compile(r"\\([0-7]{3})")
ENGINE_COMMAND = ["docker", "version", "--format", "{{.Server.Version}}"]


def parse_gpus(output):
    """nvidia-smi's CSV as a list of GPUs with index, name and memory in MiB."""
    gpus = []
    for line in output.splitlines():
        if line.strip():
            index, name, memory = [part.strip() for part in line.split(",")]
            # Some virtual GPUs answer [N/A].
            gpus.append({"index": int(index), "name": name, "memory_mib": int(memory) if memory.isdigit() else 0})
    return gpus


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


def read_engine(run):
    """The container engine: its version, or why it does not answer."""
    if not shutil.which("docker"):
        return {"version": "", "error": "the command docker is not there"}
    status, output, errors = run(ENGINE_COMMAND)
    return {"version": output.strip() if status == 0 else "", "error": "" if status == 0 else first_line(errors)}


def read_gpus(run):
    """NVIDIA GPUs, or why nvidia-smi does not tell."""
    if not shutil.which("nvidia-smi"):
        return {"gpus": [], "gpu_error": "the command nvidia-smi is not there"}
    status, output, errors = run(GPU_COMMAND)
    if status != 0:
        return {"gpus": [], "gpu_error": first_line(errors) or first_line(output)}
    try:
        return {"gpus": parse_gpus(output), "gpu_error": ""}
    except ValueError:
        # A sentence where the table should be, such as "No devices were found".
        return {"gpus": [], "gpu_error": first_line(output)}


def read_image(run, name):
    """The ID of an image in the engine, or an empty string."""
    if not name:
        return ""
    status, output, _errors = run(["docker", "image", "inspect", "--format", "{{.Id}}", name])
    return output.strip() if status == 0 else ""
