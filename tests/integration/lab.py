# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab as the tests work on it."""

import contextlib
import dataclasses
import datetime
import functools
import json
import os
import pathlib
import re
import subprocess
import time

import ansible_runner
import openai

import greedy

ROOT = pathlib.Path(__file__).resolve().parents[2]
STATE = ROOT / "build/lab"
SHARED = STATE / "shared"
MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
# That of the guide.
QUESTION = "Where was the 2020 World Series played?"


HOSTS = """
[head]
{head}
[workers]
{workers}
[all:vars]
ansible_ssh_common_args={ssh_args}
"""


@dataclasses.dataclass
class Play:
    """How a playbook ended."""

    rc: int
    text: str
    # What failed, with its message, and then the text: what a failed test has to show first.
    why: str
    stats: dict
    seconds: float
    # What each task returned on each host: the module's name and its result.
    results: list
    # When each task began, with its role, and when the last ended: seconds since the epoch.
    tasks: list
    end: float

    def changed(self):
        """The hosts on which something was changed, with the number of tasks that did."""
        return {host: count for host, count in self.stats["changed"].items() if count}

    def result(self, module):
        """What the last run of a module returned."""
        return [result for name, result in self.results if name == module][-1]


class Lab:
    """The lab's nodes, as an operator and as a user of the endpoint see them."""

    def __init__(self, nodes, scratch):
        self.nodes = ["node%02d" % number for number in range(nodes)]
        self.scratch = scratch
        self.endpoint = "http://198.18.0.10:8000/v1"
        self.known_key = ""

    def play(self, playbook, *words, inventory=None, **extra):
        """Runs a playbook through ansible-runner, as CI does."""
        events = []
        # A deployment may bring another one.
        self.known_key = ""
        folder = self.scratch / ("run%d" % time.monotonic_ns())
        folder.mkdir()
        start = time.monotonic()
        run = ansible_runner.run(
            private_data_dir=str(folder),
            project_dir=str(ROOT),
            playbook=str(playbook) if "/" in str(playbook) else "playbooks/%s.yml" % playbook,
            inventory=str(inventory or ROOT / "inventories/lab"),
            cmdline=" ".join(words) or None,
            extravars=extra or None,
            envvars={"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "LAB_NODES": str(len(self.nodes))},
            event_handler=events.append,
            quiet=True,
        )
        text = "\n".join(event["stdout"] for event in events)
        failed = [
            event["stdout"] for event in events if event["event"] in ("runner_on_failed", "runner_on_unreachable")
        ]
        why = "\n".join([*failed, text])
        stats = next(event["event_data"] for event in reversed(events) if event["event"] == "playbook_on_stats")
        tasks = [
            (when(event), event["event_data"].get("role", ""))
            for event in events
            if event["event"] == "playbook_on_task_start"
        ]
        results = [
            (event["event_data"]["task_action"], event["event_data"]["res"])
            for event in events
            if event["event"] in ("runner_on_ok", "runner_on_failed")
        ]
        return Play(run.rc, text, why, stats, time.monotonic() - start, results, tasks, when(events[-1]))

    def on(self, node, command, check=True, timeout=120):
        """What a command prints on a node, over SSH as Ansible goes, as root."""
        words = ["ssh", "-F", str(STATE / "ssh_config"), node, "sudo sh -c '%s'" % command]
        return subprocess.run(words, check=check, capture_output=True, text=True, timeout=timeout).stdout

    @contextlib.contextmanager
    def cut_off(self, node):
        """The node's network carries nothing, silently, as when a switch dies. Its shared storage stays."""
        self.inside(node, "iptables -w -I INPUT ! -i lo -j DROP; iptables -w -I OUTPUT ! -o lo -j DROP")
        try:
            yield
        finally:
            self.inside(node, "iptables -w -D INPUT ! -i lo -j DROP; iptables -w -D OUTPUT ! -o lo -j DROP")

    @contextlib.contextmanager
    def unshared(self, node):
        """The node with another file system where the shared one should be."""
        self.on(node, "mount -t tmpfs none /home/ubuntu/shared")
        try:
            yield
        finally:
            self.on(node, "umount /home/ubuntu/shared")

    def inside(self, node, command):
        """Runs a command on a node past its network."""
        words = ["docker", "exec", "onecc-lab-%s" % node, "sh", "-c", command]
        subprocess.run(words, check=True, capture_output=True, timeout=60)

    def containers(self, node):
        """The node's containers: name to ID and time of start."""
        listed = json.loads(
            self.on(node, 'ids=$(docker ps --all --quiet); [ -z "$ids" ] && echo [] || docker inspect $ids')
        )
        return {entry["Name"].strip("/"): (entry["Id"], entry["State"]["StartedAt"]) for entry in listed}

    def all_containers(self):
        return {node: self.containers(node) for node in self.nodes}

    def rays(self):
        """The containers of Ray, in the order of the nodes."""
        return [self.containers(node)["onecc-ray"] for node in self.nodes]

    def processes(self, node):
        """The processes that run on a node without containers: name to ID and time of start."""
        listed = self.on(node, "cat /run/onecc-processes/*.json", check=False)
        states = [json.loads(text) for text in listed.replace("}{", "}\n{").splitlines()]
        return {
            state["start"].partition(":")[0]: (state["id"], state["started_at"])
            for state in states
            if state["status"] == "running"
        }

    def all_processes(self):
        return {node: self.processes(node) for node in self.nodes}

    def fingerprint(self):
        """All that a deployment could change, as lines: containers, images, files of nodes and shared storage."""
        # What running Ray and vLLM write themselves is not a change of ours.
        find = (
            "find /var/lib/onecc /etc/systemd/system /etc/docker -not -path /var/lib/onecc/tmp/\\* "
            '-not -path /var/lib/onecc/cache/vllm/\\* -not -type d -printf "file %p %l %s %T@\\n" -o -type d '
            '-printf "folder %p %m\\n" 2>/dev/null; dpkg-query --show'
        )
        lines = []
        for node in self.nodes:
            seen = ["container %s %s" % item for item in self.containers(node).items()]
            seen += ["image %s" % image for image in self.on(node, "docker images --all --quiet --no-trunc").split()]
            seen += self.on(node, find, check=False).splitlines()
            lines += ["%s: %s" % (node, line) for line in seen]
        for path in SHARED.rglob("*"):
            stat = path.lstat()
            when = 0 if path.is_dir() else stat.st_mtime_ns
            lines.append("shared: %s %d %d" % (path.relative_to(SHARED), stat.st_size, when))
        return set(lines)

    def key(self):
        """The endpoint's API key."""
        self.known_key = self.known_key or self.on("node00", "cat /var/lib/onecc/secrets/api-key").strip()
        return self.known_key

    def client(self):
        return openai.OpenAI(base_url=self.endpoint, api_key=self.key(), timeout=30, max_retries=0)

    def follow(self, question, taken):
        """What the engine goes on with after the beginning of an answer: see greedy.gap."""
        messages, extra = [{"role": "user", "content": question}], {}
        if taken:
            messages.append({"role": "assistant", "content": taken})
            extra = {"add_generation_prompt": False, "continue_final_message": True}
        answer = self.client().chat.completions.create(
            model=MODEL,
            messages=messages,
            temperature=0,
            max_tokens=64,
            logprobs=True,
            top_logprobs=10,
            extra_body=extra,
        )
        return answer.choices[0].logprobs.content

    def gap(self, question, text, finish_reason="stop"):
        """See greedy.gap.

        :raise openai.OpenAIError: if the engine does not answer
        """
        whole = text + (greedy.END if finish_reason == "stop" else "")
        return greedy.gap(functools.partial(self.follow, question), whole)

    def ask(self):
        """The answer to the guide's question, greedy."""
        return self.client().chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": QUESTION}],
            temperature=0,
            max_tokens=64,
        )

    def ask_until(self, seconds):
        """The first answer that comes within some seconds."""
        end = time.monotonic() + seconds
        while True:
            try:
                return self.ask()
            except openai.OpenAIError:
                if time.monotonic() > end:
                    raise
                # Bounds the number of questions, nothing more: the loop ends with the answer.
                time.sleep(2)

    def kv_tokens(self):
        """How many tokens the KV cache of the running engine holds, by its own log."""
        log = self.on("node00", "docker logs onecc-vllm 2>&1")
        return int(re.findall(r"KV cache size: ([\d,]+) tokens", log)[-1].replace(",", ""))

    def expect_planned(self):
        """The plan has foretold what vLLM then logged, within 5 percent."""
        play = self.play("plan")
        assert play.rc == 0, play.why
        planned, real = play.result("onecc.vllm.serving_plan")["chosen"]["tokens"], self.kv_tokens()
        self.note("kv_tokens_planned_and_real_%d_nodes" % len(self.nodes), [planned, real])
        assert abs(planned - real) <= 0.05 * real

    def ray_status(self):
        return self.on("node00", "docker exec onecc-ray ray status")

    def note(self, name, value):
        """Keeps a measurement for whoever reads the run."""
        path = ROOT / "build/integration.json"
        notes = json.loads(path.read_text()) if path.exists() else {}
        notes[name] = value
        path.write_text(json.dumps(notes, indent=2) + "\n")


def when(event):
    """The time of an event of ansible-runner, in seconds since the epoch."""
    return datetime.datetime.fromisoformat(event["created"]).timestamp()


def wait_for(what, seconds=60):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited %d s in vain" % seconds
        time.sleep(0.1)


def make(target, **env):
    subprocess.run(["make", target], cwd=ROOT, check=True, env={**os.environ, **env}, timeout=1200)


def inventory(folder, head="node00", workers="node01", name="hosts.ini", ssh_args="-F %s/ssh_config" % STATE):
    """An inventory beside the lab's own variables."""
    folder.joinpath(name).write_text(HOSTS.format(head=head.replace(",", "\n"), workers=workers, ssh_args=ssh_args))
    variables = (ROOT / "inventories/lab/group_vars/all.yml").read_text()
    group_vars = folder / "group_vars"
    group_vars.mkdir()
    group_vars.joinpath("all.yml").write_text(variables.replace("{{ lab_root }}", str(ROOT)))
    return folder
