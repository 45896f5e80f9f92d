# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller dies in the middle of a deployment, which is then run again."""

import contextlib
import json
import os
import random
import signal
import subprocess
import threading
import time

import yaml

from lab import ROOT

# Seconds that a deployment may take.
MOST = 900


def family(pid):
    """A process and all that descend from it: Ansible's workers lead process groups of their own."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], check=True, capture_output=True, text=True).stdout
    children = {}
    for line in listed.splitlines():
        child, parent = map(int, line.split())
        children.setdefault(parent, []).append(child)
    found = [pid]
    for member in found:
        found += children.get(member, [])
    return found


def kill(process):
    """As a controller that loses its power: at once, with all that it has started."""
    members = family(process.pid)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for member in members:
        with contextlib.suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)


def killed_at(words, number, seconds=MOST, **options):
    """Runs a command that prints a line with TASK [ for each task, kills it when a task starts.

    :return: how many tasks were started, and whether the last was the one
    """
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True, **options
    )
    overdue = threading.Timer(seconds, kill, [process])
    overdue.start()
    started = 0
    try:
        for line in process.stdout:
            started += line.startswith("TASK [")
            if started == number or line.startswith("PLAY RECAP"):
                break
        if started == number:
            kill(process)
        process.wait(timeout=60)
    finally:
        overdue.cancel()
        process.stdout.close()
    return started, started == number


def settings(number):
    """The lab's own arguments of vLLM with a limit that tells one deployment from the next."""
    own = yaml.safe_load((ROOT / "inventories/lab/group_vars/all.yml").read_text())["vllm_serve_args"]
    return {"vllm_serve_args": {**own, "max-model-len": 1000 + number}}


def deploy_killed(lab, extra, number):
    words = ["ansible-playbook", "playbooks/deploy.yml", "--extra-vars", json.dumps(extra)]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "LAB_NODES": str(len(lab.nodes))}
    environment["PATH"] = "%s:%s" % (ROOT / ".venv/bin", os.environ["PATH"])
    return killed_at(words, number, cwd=ROOT, env=environment)


def killed_again_and_again(scene):
    """Each time with a changed setting, so that there is something to do, and killed at another task."""
    whole = scene.lab.play("deploy", **settings(0))
    if whole.rc != 0:
        raise RuntimeError("expected a deployment that nobody kills to end with 0, found:\n%s" % whole.why)
    for seed in range(1, scene.seeds + 1):
        number = random.Random(seed).randint(1, len(whole.tasks))
        started, was_killed = deploy_killed(scene.lab, settings(seed), number)
        start = time.monotonic()
        play = scene.lab.play("deploy", **settings(seed))
        scene.details.append(
            {
                "seed": seed,
                "task": number,
                "of": len(whole.tasks),
                "killed": was_killed,
                "started": started,
                "next_rc": play.rc,
                "next_s": round(time.monotonic() - start, 1),
            }
        )
        if play.rc != 0:
            scene.problems.append("seed %d, killed at task %d: the next run ended with %d" % (seed, number, play.rc))
            print(play.why, flush=True)
    play = scene.lab.play("deploy", **settings(scene.seeds))
    if play.rc != 0 or play.changed():
        scene.problems.append(
            "expected one more run to change nothing, found status %d, changed %s" % (play.rc, play.changed())
        )
