# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NVIDIA GPUs and InfiniBand adapters of a node, as its driver tells of them."""

from __future__ import annotations

import glob
import os
import re
import shutil
import xml.etree.ElementTree as ET

# All that nvidia-smi knows, in one call: a second with eight GPUs.
GPU_COMMAND = ["nvidia-smi", "-q", "-x"]
KERNEL_COMMAND = ["dmesg", "--notime"]
XID = re.compile(r"NVRM: Xid \(PCI:[^)]*\): (\d+)")
# These tell of the application, not of the hardware (NVIDIA's Xid catalogue): 13 and 31 a fault in a kernel, 43 a
# reset channel, 45 a process that was ended; 63 is a repair that has been noted for the next reset.
XIDS_OF_PROGRAMS = {13, 31, 43, 45, 63}
NO_COMMAND = "the command nvidia-smi is not there"
NOT_THERE = {"driver": "", "cuda": "", "gpus": []}


def number(text):
    """The number that a text such as "81559 MiB" begins with; 0 for N/A."""
    found = re.match(r"\d+", text or "")
    return int(found[0]) if found else 0


def parse_gpus(output):
    """nvidia-smi's XML as driver, cuda (the newest that the driver can run) and gpus.

    A GPU has index, name, memory_mib, used_mib, errors (words, empty for a healthy one) and processes
    (pid, name, used_mib).

    :raises ValueError: when it is no XML, such as "No devices were found"
    """
    try:
        root = ET.fromstring(output)
    except ET.ParseError as error:
        raise ValueError(str(error)) from error
    gpus = []
    for index, gpu in enumerate(root.iter("gpu")):
        gpus.append(
            {
                "index": index,
                "name": gpu.findtext("product_name", ""),
                # Some virtual GPUs answer [N/A].
                "memory_mib": number(gpu.findtext("fb_memory_usage/total")),
                "used_mib": number(gpu.findtext("fb_memory_usage/used")),
                "errors": errors(gpu),
                "processes": [
                    {
                        "pid": number(process.findtext("pid")),
                        "name": process.findtext("process_name", ""),
                        "used_mib": number(process.findtext("used_memory")),
                    }
                    for process in gpu.iter("process_info")
                ],
            }
        )
    return {
        "driver": plain(root, "kmd_version", "driver_version"),
        "cuda": plain(root, "cuda_umd_version", "cuda_version"),
        "gpus": gpus,
    }


def plain(root, *tags):
    """The text of the first tag that is there, without the remark that newer drivers put behind an older tag."""
    text = next((root.findtext(tag) for tag in tags if root.findtext(tag)), "")
    return text.split(" [")[0]


def errors(gpu):
    """What is wrong with a GPU's memory since the driver was loaded, in words."""
    found = []
    for counter in gpu.find("ecc_errors/volatile") if gpu.find("ecc_errors/volatile") is not None else []:
        if "uncorrectable" in counter.tag and number(counter.text):
            found.append("%s %s" % (counter.tag, counter.text.strip()))
    for tag in ("remapped_row_pending", "remapped_row_failure"):
        if gpu.findtext("remapped_rows/" + tag, "") == "Yes":
            found.append(tag)
    return found


def read_gpus(run):
    """Driver, CUDA and GPUs, or in gpu_error why nvidia-smi does not tell."""
    if not shutil.which("nvidia-smi"):
        return dict(NOT_THERE, gpu_error=NO_COMMAND)
    status, output, messages = run(GPU_COMMAND)
    try:
        return dict(parse_gpus(output), gpu_error="")
    except ValueError:
        # A sentence where the XML should be; nvidia-smi's status is 0 with some of them.
        words = (messages.strip() or output.strip() or "status %d" % status).splitlines()
        return dict(NOT_THERE, gpu_error=words[0])


def parse_xids(output):
    """The kernel's lines about GPU errors that are not a program's own, each kind once."""
    lines = {}
    for line in output.splitlines():
        found = XID.search(line)
        if found and int(found[1]) not in XIDS_OF_PROGRAMS:
            lines[found[0]] = line.strip()
    return list(lines.values())


def read_infiniband(root="/sys/class/infiniband"):
    """The ports of all adapters: device, port, state, rate in Gbit/s, link ("InfiniBand" or "Ethernet").

    The kernel's names: https://docs.kernel.org/infiniband/sysfs.html, state "4: ACTIVE", rate "400 Gb/sec (4X NDR)".
    """
    ports = []
    for folder in sorted(glob.glob(os.path.join(glob.escape(root), "*", "ports", "*"))):
        words = {}
        for name in ("state", "rate", "link_layer"):
            with open(os.path.join(folder, name), encoding="utf-8") as stream:
                words[name] = stream.read().strip()
        parts = folder.split(os.sep)
        ports.append(
            {
                "device": parts[-3],
                "port": int(parts[-1]),
                "state": words["state"].split(": ")[-1],
                "rate": float("".join(re.findall(r"^[\d.]+", words["rate"])) or 0),
                "link": words["link_layer"],
            }
        )
    return ports
