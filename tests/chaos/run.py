#!/usr/bin/env python
# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults on the lab under a steady load of requests, one after the other, with a record for each.

Before them a plain start of the engine is measured, in the same run and by the same load. Writes build/chaos.json
after every fault, and the page build/chaos.md at the end:
  plain_start_s  seconds from `systemctl start onecc-vllm` to the first answer, the median of three
  faults         for each: detect_s until /ready says no, back_s until what was taken away is there again, recover_s
                 from the later of both to the first answer, served_after_s from the fault to it, what the clients
                 got meanwhile, and what /ready told as the reason
  broken         a line for each limit that was not kept; there is none when the exit status is 0
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import pathlib
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile

import requests

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))

from faults import FAULTS, small_disk
from lab import ROOT, SHARED, Lab, make
from load import FAILED, RIGHT, WRONG
from records import broken, judge_others, others, page, table
from scene import Broken, Scene

RESULT = ROOT / "build/chaos.json"
PLAIN_STARTS = 3


def say(text):
    print("%s  %s" % (datetime.datetime.now().strftime("%H:%M:%S"), text), flush=True)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=[fault.name for fault in FAULTS])
    parser.add_argument("--seeds", type=int, default=20, help="how often the controller is killed")
    parser.add_argument("--keep", action="store_true", help="take the deployed lab that is there, and leave it")
    return parser.parse_args()


def versions(lab):
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {
        "vllm": requests.get(lab.endpoint.replace("/v1", "/version"), timeout=10).json()["version"],
        "ray": lab.on("node00", "docker exec onecc-ray ray --version").split()[-1],
        "ansible-core": importlib.metadata.version("ansible-core"),
        "commit": commit.stdout.strip(),
    }


def write(result):
    """In one step, so that a run that is killed leaves what it has."""
    new = RESULT.with_suffix(".new")
    new.write_text(json.dumps(result, indent=2) + "\n")
    new.replace(RESULT)


def totals(scene):
    """All requests since the calibration, those between two faults and during plain starts as well."""
    answers = [answer for answer in list(scene.load.answers) if answer.start >= scene.calibrated_at]
    return {
        "right": sum(answer.outcome == RIGHT for answer in answers),
        "failed": sum(answer.outcome == FAILED for answer in answers),
        "wrong_answers": sum(answer.outcome == WRONG for answer in answers),
        "other_texts": others(answers),
    }


def measure(scene, wanted, result):
    """Fills the result, and writes it whenever there is more."""
    say("calibration: what a healthy system answers (30 s to 2 min)")
    scene.calibrate()
    result["versions"] = versions(scene.lab)
    result["texts"] = {prompt: sorted(texts) for prompt, texts in scene.load.known.items()}
    for number in range(PLAIN_STARTS):
        say("plain start %d of %d: %.1f s" % (number + 1, PLAIN_STARTS, scene.plain_start()))
    result["plain_starts_s"] = scene.plain_starts
    result["plain_start_s"] = statistics.median(scene.plain_starts)
    for fault in wanted:
        say(fault.name)
        record = scene.run(fault)
        lines = broken(record, result["plain_start_s"])
        result["faults"].append(record)
        result["broken"] += lines
        result["requests"] = totals(scene)
        write(result)
        print("\n".join([table([record]), *lines]), flush=True)
    judge_others(result["requests"], scene.gap)
    found = result["requests"]["wrong_answers"]
    if found > sum(record["wrong_answers"] for record in result["faults"]):
        result["broken"].append("expected no wrong answer between faults either, found %d in all" % found)


def run(options, scratch):
    wanted = [fault for fault in FAULTS if not options.only or fault.name in options.only]
    lab = Lab(2, scratch)
    if not options.keep:
        say("a fresh lab, and a deployment")
        make("lab-down")
        shutil.rmtree(SHARED, ignore_errors=True)
        make("lab-up", LAB_NODES="2")
        small_disk(lab)
        play = lab.play("deploy")
        if play.rc != 0:
            sys.exit(play.why)
    result = {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": shlex.join(sys.argv),
        "cores": os.cpu_count(),
        "versions": {},
        "plain_start_s": None,
        "plain_starts_s": [],
        "faults": [],
        "broken": [],
        "requests": {},
    }
    try:
        with Scene(lab, options.seeds) as scene:
            measure(scene, wanted, result)
    except Broken as error:
        result["broken"].append("the run ended early: %s" % error)
    finally:
        write(result)
    print("\nplain start: %s s, of %s" % (result["plain_start_s"], result["plain_starts_s"]))
    print("requests: %s\n" % result["requests"])
    print(table(result["faults"]))
    print("\n" + ("\n".join(result["broken"]) or "all limits are kept"))
    if result["faults"]:
        RESULT.with_suffix(".md").write_text(page(result))
    print("\nwritten to %s" % RESULT.relative_to(ROOT))
    return 1 if result["broken"] else 0


def main():
    options = arguments()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            return run(options, pathlib.Path(scratch))
    finally:
        if not options.keep:
            make("lab-down")


if __name__ == "__main__":
    sys.exit(main())
