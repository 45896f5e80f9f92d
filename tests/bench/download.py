#!/usr/bin/env python
# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role model_download beside `hf download` of the same version, on the lab, in one run.

The hub gives each node the same rate, so that the network is the limit, as it is in life. What is
compared is the time of the command with the time of all tasks of the role, from the look at the hub to
the visible snapshot; the time of the whole playbook, which reads the nodes as well, stands beside it.

Writes build/bench-download.json:
  ratio_N_nodes  time of the role with N nodes / time of `hf download` with one
  refetch_ratio  bytes fetched after one node's job was killed halfway / bytes that were missing
  noop_s         seconds of a whole ansible-playbook run on a complete snapshot at a pinned commit, the median of five
  ping_s         beside it, the least that Ansible can do: seconds of `ansible -m ping` on the head
"""

import datetime
import itertools
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))

from lab import ROOT, SHARED, Lab
from lab_hub import ENDPOINT, Hub, model, on_disk, spread

REPO = "lab/bench"
RATE = 8_000_000
SIZES = spread(1_600_000_000, 48)
TOTAL = sum(SIZES.values())
FOLDER = SHARED / ".cache/huggingface/hub/models--lab--bench"
BY_HAND = "/home/ubuntu/shared/by-hand"
ROLE = "model_download"


def say(text):
    print("%s  %s" % (datetime.datetime.now().strftime("%H:%M:%S"), text), flush=True)


def must(play):
    if play.rc != 0:
        sys.exit(play.text)
    return play


def role_seconds(play):
    """The time that the tasks of the role took, each until the next one began."""
    marks = [*play.tasks, (play.end, "")]
    return sum(after - when for (when, role), (after, _role) in itertools.pairwise(marks) if role == ROLE)


def by_hand(lab):
    """`hf download` on one node, as its documentation says."""
    tool = lab.on("node00", "ls -d /var/lib/onecc/tools-*/bin/hf").split()[-1]
    version = lab.on("node00", "%s version" % tool).split()[-1]
    command = "HF_HOME=%s HF_ENDPOINT=%s %s download %s >/dev/null" % (BY_HAND, ENDPOINT, tool, REPO)
    start = time.monotonic()
    lab.on("node00", command, timeout=900)
    seconds = time.monotonic() - start
    lab.on("node00", "rm -rf %s" % BY_HAND)
    return seconds, version


def ours(scratch, nodes):
    """The whole playbook with some nodes. Seconds of the role, seconds of the playbook."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    play = must(Lab(nodes, scratch).play("download", model_download_repo=REPO))
    return role_seconds(play), play.seconds


def after_a_kill(scratch, hub):
    """Two nodes, the second one's job killed when half of the bytes are there; then the same again."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    lab = Lab(2, scratch)
    plays = []
    thread = threading.Thread(target=lambda: plays.append(lab.play("download", model_download_repo=REPO)))
    thread.start()
    while on_disk(FOLDER) < TOTAL / 2:
        time.sleep(0.2)
    lab.on("node01", "kill -9 $(cat /var/lib/onecc/download/lock)")
    thread.join()
    if plays[0].rc == 0:
        sys.exit("expected the run with a killed job to fail:\n" + plays[0].text)
    missing = TOTAL - on_disk(FOLDER)
    hub.mark()
    must(lab.play("download", model_download_repo=REPO))
    return sum(hub.sent().values()) / missing, missing


def timed(*words):
    """Seconds of a command as a user types it, and what it prints."""
    start = time.monotonic()
    run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    return time.monotonic() - start, run.stdout


def nothing_to_do(commit):
    """Seconds of a run on what is there, and of the least that Ansible can do: each the median of several, in turn."""
    inventory = ["-i", str(ROOT / "inventories/lab")]
    words = ["-e", "model_download_repo=" + REPO, "-e", "model_download_revision=" + commit]
    runs, pings = [], []
    for _again in range(5):
        seconds, text = timed("ansible-playbook", *inventory, "playbooks/download.yml", *words)
        if "complete and checked: nothing to fetch" not in text:
            sys.exit("expected nothing to do:\n" + text)
        runs.append(seconds)
        pings.append(timed("ansible", *inventory, "head", "--become", "-m", "ansible.builtin.ping")[0])
    return statistics.median(runs), statistics.median(pings)


def main():
    hub = Hub()
    result = {"date": datetime.date.today().isoformat(), "bytes": TOTAL, "files": len(SIZES), "rate_per_node": RATE}
    with tempfile.TemporaryDirectory() as folder, model(REPO, SIZES):
        scratch = pathlib.Path(folder)
        say("four nodes with their tools; the hub computes its hashes")
        hub.set()
        must(Lab(4, scratch).play("download"))
        must(Lab(4, scratch).play("download", "--check", model_download_repo=REPO))
        hub.set(rate=RATE)
        say("hf download on one node: about %d s" % (TOTAL / RATE))
        plain, version = by_hand(Lab(1, scratch))
        result |= {"huggingface_hub": version, "hf_download_s": round(plain, 1)}
        rows = [("hf download, 1 node", plain, "")]
        for nodes in (1, 2, 4):
            say("model_download with %d: about %d s" % (nodes, TOTAL / RATE / nodes))
            role, whole = ours(scratch, nodes)
            rows.append(("model_download, %d node%s" % (nodes, "s"[: nodes > 1]), role, "%.1f" % whole))
            result |= {"role_%d_s" % nodes: round(role, 1), "playbook_%d_s" % nodes: round(whole, 1)}
            result["ratio_%d_nodes" % nodes] = round(role / plain, 3)
        say("one node killed halfway, and again")
        ratio, missing = after_a_kill(scratch, hub)
        result |= {"refetch_ratio": round(ratio, 3), "refetch_missing_bytes": missing}
        commit = (FOLDER / "refs/main").read_text()
        hub.mark()
        noop, ping = nothing_to_do(commit)
        result |= {"noop_s": round(noop, 2), "ping_s": round(ping, 2), "noop_requests": len(hub.requests())}
        hub.set()
    shutil.rmtree(FOLDER, ignore_errors=True)
    path = ROOT / "build/bench-download.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print("\n%.2f GB in %d files, %.0f MB/s for each node\n" % (TOTAL / 1e9, len(SIZES), RATE / 1e6))
    print("%-26s %8s %7s %16s" % ("", "seconds", "ratio", "whole playbook"))
    for name, seconds, whole in rows:
        print("%-26s %8.1f %7.3f %16s" % (name, seconds, seconds / plain, whole))
    print("\nfetched again after a kill halfway: %.3f of what was missing" % ratio)
    words = (result["noop_s"], result["noop_requests"], result["ping_s"])
    print("nothing to do at a pinned commit:   %.2f s, %d requests; ansible -m ping: %.2f s" % words)
    print("\nwritten to %s" % path.relative_to(ROOT))


if __name__ == "__main__":
    main()
