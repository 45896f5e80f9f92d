#!/usr/bin/env python
# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long the playbook `deploy` itself takes, on the lab, beside a person with a shell script, in one run.

Writes build/bench-deploy.json:
  deploy_ratio    seconds from nodes that have the image, and nothing else, to the end of `deploy` with a real
                  completion / seconds of tests/bench/by_hand.sh from the same state to the same completion
  noop_s          seconds of a whole `deploy` that finds nothing to do, on two nodes that serve
  scale_8_over_2  seconds of a `deploy` that finds nothing to do on eight light nodes, with a small image and neither
                  Ray nor vLLM / noop_s
  light_8_over_2  the same / seconds of it on two such nodes, which are asked for as little; all share the processors of
                  the machine that is the lab
The order of by hand and ours alternates; of several runs the median counts.
"""

import contextlib
import datetime
import json
import os
import pathlib
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))

from lab import MODEL, QUESTION, ROOT, STATE, Lab, make
from lab_hub import ENDPOINT

ROUNDS = 3
PREPARED = "/root/by-hand"
STATE_DIR = "/var/lib/onecc"
HF_HOME = "/home/ubuntu/shared/.cache/huggingface"
# What a person would have written beforehand; the rest comes into being when it runs.
FILES = "secrets endpoint firewall.nft cache/ray_non_carry_over_env_vars.json"
TOOLS = ROOT / "roles/env_setup/files/tools-requirements.txt"
# Nodes that have no engine and no Ray need no image of several gigabytes either.
LIGHT = {"cluster_image": "198.18.0.3:5000/onecc-lab/base:bookworm"}
LIGHT_TAGS = ["--skip-tags", "ray,serve,fabric"]


def say(text):
    print("%s  %s" % (datetime.datetime.now().strftime("%H:%M:%S"), text), flush=True)


def must(play):
    if play.rc != 0:
        sys.exit(play.text)
    return play


def docker_run(told, image_env):
    """The docker command that makes a container like one that is there.

    :param told: what docker inspect tells of it
    :param image_env: environment of its image
    """
    host, config = told["HostConfig"], told["Config"]
    name = told["Name"].strip("/")
    argv = ["docker", "run", "--detach", "--name", name, "--network", host["NetworkMode"]]
    shared = host["PidMode"].startswith("container:")
    argv += ["--ipc", "container:onecc-ray" if shared else host["IpcMode"]]
    argv += ["--pid", "container:onecc-ray"] if shared else ["--init", "--shm-size", str(host["ShmSize"])]
    for option, values in {
        "--cap-drop": host["CapDrop"],
        "--cap-add": host["CapAdd"],
        "--security-opt": host["SecurityOpt"],
        "--volume": host["Binds"],
        "--env": [each for each in config["Env"] if each not in image_env],
    }.items():
        argv += [word for value in values or [] for word in (option, value)]
    return [*argv, "--entrypoint", config["Entrypoint"][0], config["Image"], *config["Cmd"]]


def fabric(ray, rank, nodes):
    """The all-reduce in a container like Ray's."""
    at = ray.index("--entrypoint")
    argv = [*ray[:at], "--volume", "%s/fabric.py:/fabric.py:ro" % PREPARED, "--entrypoint", "python3", ray[at + 2]]
    argv[argv.index("onecc-ray")] = "onecc-fabric"
    program = (ROOT / "roles/preflight/files/fabric.py").read_text()
    argv += ["-c", program, "--nodes", str(nodes), "--node-rank", str(rank), "--gpus", "0"]
    return [*argv, "--address", "198.18.0.10", "--port", "29500", "--timeout", "120"]


def prepare(lab):
    """Leaves on each node what a person would have prepared, from what is deployed."""
    for rank, node in enumerate(lab.nodes):
        keep = "mkdir -p %s/state && cd %s && cp -a --parents $(ls -d %s 2>/dev/null) %s/state/"
        lab.on(node, keep % (PREPARED, STATE_DIR, FILES, PREPARED))
        names = ["onecc-ray", *(["onecc-vllm"] if rank == 0 else [])]
        told = json.loads(lab.on(node, "docker inspect %s" % " ".join(names)))
        image = json.loads(lab.on(node, "docker image inspect %s" % told[0]["Config"]["Image"]))[0]
        scripts = {each["Name"].strip("/"): docker_run(each, image["Config"]["Env"]) for each in told}
        scripts["onecc-fabric"] = fabric(scripts["onecc-ray"], rank, len(lab.nodes))
        scripts = {name: shlex.join(argv) for name, argv in scripts.items()}
        # Its configuration keeps it in the foreground.
        scripts["nginx"] = "nohup nginx -c %s/endpoint/nginx.conf >/dev/null 2>&1 </dev/null &" % STATE_DIR
        scripts["hub"] = "export HF_HOME=%s HF_ENDPOINT=%s" % (HF_HOME, ENDPOINT)
        scripts["tools-requirements.txt"] = TOOLS.read_text()
        for name, text in scripts.items():
            words = ["ssh", "-F", str(STATE / "ssh_config"), node, "sudo tee %s/%s >/dev/null" % (PREPARED, name)]
            subprocess.run(words, input=text + "\n", text=True, check=True, timeout=60)


def bare(lab):
    """Nodes with the image, and packages that were installed; no weights, no tools, nothing that runs."""
    for node in lab.nodes:
        # Whoever brought it up by hand takes it down by hand.
        lab.on(node, "docker rm --force onecc-vllm onecc-ray 2>/dev/null; pkill nginx; true", check=False)
        lab.on(node, "nft delete table inet onecc", check=False)
    must(lab.play("teardown", cluster_teardown_weights=True))
    # Downloaded by hand, weights also lie in a store that hf keeps for all models.
    lab.on(lab.nodes[0], "rm -rf %s" % HF_HOME)


@contextlib.contextmanager
def timed(seconds):
    start = time.monotonic()
    yield
    seconds.append(time.monotonic() - start)


def by_hand(lab, seconds):
    bare(lab)
    words = [HERE / "by_hand.sh", STATE / "ssh_config", str(len(lab.nodes)), MODEL, QUESTION, *lab.nodes]
    with timed(seconds):
        done = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=600, check=False)
    if done.returncode != 0 or '"finish_reason"' not in done.stdout:
        sys.exit("by hand it did not work:\n" + done.stdout + done.stderr)


def ansible(nodes, *words):
    """The playbook `deploy` as a user types it."""
    command = ["ansible-playbook", "-i", str(ROOT / "inventories/lab"), "playbooks/deploy.yml", *words]
    env = {**os.environ, "LAB_NODES": str(nodes)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode != 0:
        sys.exit(done.stdout + done.stderr)
    return done.stdout


def ours(lab, seconds):
    bare(lab)
    with timed(seconds):
        text = ansible(len(lab.nodes))
    if "answered in" not in text:
        sys.exit("expected an answer:\n" + text)


def nothing_to_do(nodes, *words):
    """Seconds of each of several runs."""
    seconds = []
    for _again in range(ROUNDS):
        with timed(seconds):
            text = ansible(nodes, *words)
        if text.count("changed=0 ") != nodes + 1:
            sys.exit("expected nothing to do:\n" + text)
    return seconds


def light(nodes):
    """Nothing to do on nodes that have neither Ray nor vLLM."""
    words = [*LIGHT_TAGS, "-e", json.dumps(LIGHT)]
    ansible(nodes, *words)
    return nothing_to_do(nodes, *words)


def main():
    result = {"date": datetime.date.today().isoformat(), "rounds": ROUNDS}
    hand, own = [], []
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(2, pathlib.Path(folder))
        say("a first deployment, which brings the image")
        must(lab.play("deploy"))
        prepare(lab)
        for number in range(ROUNDS):
            for run, seconds, name in [(by_hand, hand, "by hand"), (ours, own, "deploy")][:: -1 if number % 2 else 1]:
                run(lab, seconds)
                say("from images present to a completion, %s: %.1f s" % (name, seconds[-1]))
        say("nothing to do, two nodes that serve")
        noop = nothing_to_do(2)
        bare(lab)
        for node in lab.nodes:
            lab.on(node, "rm -rf %s" % PREPARED)
        say("nothing to do, light nodes: eight of them are started")
        make("lab-up", LAB_NODES="8")
        eight = light(8)
        must(Lab(8, pathlib.Path(folder)).play("teardown"))
        two = light(2)
        must(lab.play("teardown"))
        make("lab-up", LAB_NODES="2")
    runs = {"by_hand_s": hand, "deploy_s": own, "noop_runs_s": noop, "light_8_s": eight, "light_2_s": two}
    middle = {name: statistics.median(seconds) for name, seconds in runs.items()}
    result |= {name: [round(each, 2) for each in seconds] for name, seconds in runs.items()}
    result["deploy_ratio"] = round(middle["deploy_s"] / middle["by_hand_s"], 3)
    result["noop_s"] = round(middle["noop_runs_s"], 2)
    result["scale_8_over_2"] = round(middle["light_8_s"] / middle["noop_runs_s"], 3)
    result["light_8_over_2"] = round(middle["light_8_s"] / middle["light_2_s"], 3)
    path = ROOT / "build/bench-deploy.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print("\n%-52s %8s %8s" % ("", "seconds", "ratio"))
    for text, name, beside in [
        ("images present to a completion, by hand", "by_hand_s", "by_hand_s"),
        ("images present to a completion, deploy", "deploy_s", "by_hand_s"),
        ("nothing to do, 2 nodes that serve", "noop_runs_s", "noop_runs_s"),
        ("nothing to do, 8 light nodes", "light_8_s", "noop_runs_s"),
        ("nothing to do, 2 light nodes", "light_2_s", "light_2_s"),
        ("nothing to do, 8 light nodes", "light_8_s", "light_2_s"),
    ]:
        print("%-52s %8.1f %8.3f" % (text, middle[name], middle[name] / middle[beside]))
    print("\nmedian of %d runs each; written to %s" % (ROUNDS, path.relative_to(ROOT)))


if __name__ == "__main__":
    main()
