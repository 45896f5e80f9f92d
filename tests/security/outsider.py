# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that are no nodes, and programs that run on them or on nodes."""

import base64
import json
import pathlib
import shlex
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
IMAGE = "onecc-lab/node:bookworm"
ADDRESS = "198.18.0.200"


def run_outside(program, *words, timeout=300):
    """Runs a Python program on a host of the same network that is no node; gives what it did."""
    argv = [
        "docker", "run", "--rm", "--interactive", "--network", "onecc-lab", "--ip", ADDRESS,
        "--ulimit", "nofile=16384:16384", "--entrypoint", "python3", IMAGE, "-", *words,
    ]  # fmt: skip
    return subprocess.run(argv, input=program, check=True, capture_output=True, text=True, timeout=timeout).stdout


def run_on_node(lab, node, program, *words, timeout=300):
    """Runs a Python program on a node, as root; gives what it printed."""
    coded = base64.b64encode(program.encode()).decode()
    # No quotes: Lab.on has used them.
    command = "ulimit -n 16384; echo %s | base64 -d | python3 - %s" % (coded, " ".join(words))
    return lab.on(node, command, timeout=timeout)


def handshakes(lab):
    """How the ports of the head's Ray answer node01, see handshake.py."""
    program = (HERE / "handshake.py").read_text()
    return json.loads(run_on_node(lab, "node01", program, "198.18.0.10", "/var/lib/onecc/secrets/ray", "6379", "6380"))


def run_in_image(lab, node, name, argv, env, timeout):
    """Runs a throw-away container of the serving image on a node's network: its status and all that it said.

    :raise subprocess.TimeoutExpired: if it does not end by itself; it is gone then as well
    """
    image = lab.on(node, "docker inspect --format {{.Config.Image}} onecc-ray").strip()
    words = ["docker", "run", "--rm", "--name", name, "--network", "host", "--entrypoint", argv[0]]
    for key, value in env.items():
        words += ["--env", "%s=%s" % (key, value)]
    words += [image, *argv[1:]]
    coded = base64.b64encode(shlex.join(words).encode()).decode()
    try:
        text = lab.on(node, "echo %s | base64 -d | sh 2>&1; echo status $?" % coded, check=False, timeout=timeout)
    finally:
        lab.on(node, "docker rm --force %s 2>/dev/null" % name, check=False)
    text, status = text.rsplit("status ", 1)
    return int(status), text
