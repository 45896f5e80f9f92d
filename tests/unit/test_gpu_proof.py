# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pure parts of tests/gpu: lock files that are made from others, what is read from logs, and the page."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

import locks
import measured
import nodes
import page

ROOT = pathlib.Path(__file__).resolve().parents[2]
LOCK = (ROOT / "roles/env_setup/files/venv-requirements.txt").read_text()
HEALTHY = (ROOT / "tests/unit/data/logs/healthy_engine.log").read_text()


def test_lock_without_what_the_machine_has():
    """Every other package is there, by the same versions and hashes, and nothing is cut."""
    whole, rest = locks.entries(LOCK), locks.entries(locks.without(LOCK, locks.OF_THE_MACHINE))
    for name in ("vllm", "ray", "transformers", "setuptools", "nvidia-cudnn-frontend", "nvidia-cutlass-dsl"):
        assert rest[name] == whole[name]
    for name in ("torch", "triton", "nvidia-nccl-cu13", "nvidia-cutlass-dsl-libs-base", "flashinfer-cubin", "numpy"):
        assert name in whole
        assert name not in rest
    assert all(text == whole[name] for name, text in rest.items())
    both = locks.without(LOCK, locks.OF_THE_MACHINE) + locks.only(LOCK, locks.OF_THE_MACHINE)
    assert sorted(both.split()) == sorted(LOCK.split())


def test_lock_of_the_controller():
    lock = locks.only((ROOT / "requirements/dev.txt").read_text(), locks.CONTROLLER)
    assert sorted(locks.entries(lock)) == sorted(locks.CONTROLLER)
    assert all("--hash=sha256:" in text for texts in locks.entries(lock).values() for text in texts)


@pytest.mark.parametrize(
    ("log", "tokens"),
    [
        (HEALTHY, 93184),
        ("INFO 11-27 [kv_cache_utils.py:2146] GPU KV cache size: 1,034,560 tokens\n", 1034560),
        ("nothing", None),
    ],
)
def test_kv_tokens(log, tokens):
    assert measured.kv_tokens(log) == tokens


def test_stages_are_those_of_the_slowest_rank():
    assert measured.stages(HEALTHY) == {"weights": 0.36, "engine": 2.55}
    assert measured.stages(
        "(Worker) Model loading took 14.99 GiB memory and 3.120000 seconds\n"
        "(Worker) torch.compile took 19.02 s in total\n"
        "(Worker) Graph capturing finished in 6 secs, took 0.52 GiB\n"
        "(EngineCore) init engine (profile, create kv cache, warmup model) took 54.10 s (compilation: 19.02 s)\n"
    ) == {"model": 3.12, "compile": 19.02, "graphs": 6.0, "engine": 54.1}


def test_when_it_was_ready():
    begin = measured.instant("2026-11-23T11:48:50.0Z")
    ready = measured.ready_at(HEALTHY, begin)
    assert ready is not None
    assert 5 < ready - begin < 60
    # A start that came later has not ended yet.
    assert measured.ready_at(HEALTHY, ready) is None
    assert measured.since(HEALTHY, ready).count("Application startup complete") == 1


MOUNTS = """\
22 1 0:20 / / rw,relatime - overlay overlay rw,lowerdir=a
23 22 0:21 / /proc rw - proc proc rw
24 22 0:22 / /dev rw - tmpfs tmpfs rw
25 24 0:23 / /dev/shm rw - tmpfs shm rw
26 22 0:24 / /usr/local/nvidia ro - squashfs /dev/loop0 ro
27 22 0:25 / /etc/hosts rw - ext4 /dev/vda rw
28 22 0:26 / /opt/torch ro - squashfs /dev/loop1 ro
29 22 0:27 / /work/nodes rw - tmpfs tmpfs rw
"""


def test_a_node_gets_what_is_mounted_besides():
    assert nodes.mount_points(MOUNTS, "/work/nodes") == ["/opt/torch", "/usr/local/nvidia"]


def test_shell_variables_are_read_by_bash():
    text = nodes.shell_variables({"name": "it's", "none": [], "some": ["a b", "$c"]})
    words = 'printf "%s|" "$name" "${#none[@]}" "${some[@]}"'
    done = subprocess.run(["bash", "-uc", text + words], capture_output=True, text=True, check=True)
    assert done.stdout == "it's|0|a b|$c|"


def test_gpus():
    assert (
        measured.gpus("NVIDIA H200, 143771 MiB, 580.159.04\nNVIDIA H200, 143771 MiB, 580.159.04\n")
        == [{"name": "NVIDIA H200", "memory": "143771 MiB", "driver": "580.159.04"}] * 2
    )
    assert measured.gpus("NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.") == []


def test_ways_to_load():
    text = (
        'ONECC CASE {"name": "default", "where": "disk"}\n'
        "INFO Loading weights took 4.10 seconds\nINFO Model loading took 14.99 GiB memory and 4.500000 seconds\n"
        'ONECC END {"start": 12.1}\n'
        'ONECC CASE {"name": "instanttensor", "where": "disk"}\nONECC END {"error": "no module"}\n'
        'ONECC CASE {"name": "eager", "where": "disk"}\n'
    )
    assert measured.loads(text) == [
        {"name": "default", "where": "disk", "weights": 4.1, "model": 4.5, "start": 12.1},
        {"name": "instanttensor", "where": "disk", "error": "no module"},
        {"name": "eager", "where": "disk", "error": "it ended without a word"},
    ]


def test_seconds_of_roles():
    lines = [
        {"status": "start", "at": 1.0, "task": "onecc.vllm.cluster : Read the nodes"},
        {"status": "ok", "at": 2.5, "action": "onecc.vllm.node_info", "result": {"changed": False}},
        {"status": "start", "at": 3.0, "task": "Leave out what is done"},
        {"status": "ok", "at": 3.5, "action": "ansible.builtin.set_fact", "result": {"ansible_facts": {"a": 1}}},
    ]
    assert measured.roles(lines) == {"cluster": 2.0, "playbook": 0.5}
    assert measured.facts(lines, "a") == [1]


RUNS = [
    {"streams": "256", "output_throughput": 900.0},
    {"streams": "256", "output_throughput": 1200.0},
    {"streams": "256", "output_throughput": 1000.0},
    {"streams": "32", "output_throughput": 300.0},
]


def test_rates_are_the_medians_of_each_load():
    assert measured.rates(RUNS) == {"256": 1000.0, "32": 300.0}


def test_page_has_each_load_beside_that_by_hand():
    hand = {
        "runs": RUNS[1:],
        "output_tokens_per_s": {"256": 1100.0, "32": 300.0},
        "ratios": {"256": 0.9091, "32": 1.0},
    }
    ours = {"runs": RUNS, "output_tokens_per_s": measured.rates(RUNS)}
    text = "\n".join(page.throughput({"single.throughput": ours, "single.by_hand": hand}))
    assert "| 256 | deployed, through the endpoint | 3 | 1000 | 900 | 1200 |" in text
    assert "| 32 | by hand | 1 | 300 | 300 | 300 |" in text
    assert "Deployed / by hand: 0.9091 with 256 streams, 1 with 32 streams." in text


def test_page_says_what_was_measured():
    results = {
        "commands": ["tests/gpu/run.py --bundle parts"],
        "started": "2026-11-28T08:00:00+00:00",
        "machine": {
            "gpus": [{"name": "NVIDIA H200", "driver": "580"}] * 2,
            "cores": 32,
            "memory_gb": 251,
            "kernel": "6",
        },
        "steps": {
            "pair.deploy": {
                "ok": True,
                "seconds": 200.0,
                "before_engine": 80.0,
                "engine": 110.0,
                "after_ready": 10.0,
                "roles": {"env_setup": 60.0},
                "stages": {"weights": 0.4},
            },
            "pair.tokens": {"ok": True, "planned": 980, "real": 1000, "off": -0.02},
            "pair.second": {
                "ok": True,
                "seconds_to_answer": 60.0,
                "before_engine": 5.0,
                "start": 50.0,
                "after_ready": 5.0,
                "starts": [48.0, 55.0, 50.0],
                "ratio": 0.455,
            },
            "single.second": {"ok": False, "error": "expected a | b"},
        },
    }
    text = page.page(results)
    assert "2 of NVIDIA H200 (driver 580), 32 cores" in text
    assert "980 tokens planned, 1,000 by vLLM's log, -2.0%" in text
    assert "| deploy | 200 | 80 | 110 | 10 |" in text
    assert "| stop, then start | 60 | 5 | 50 | 5 |" in text
    assert "took 0.455 of the first (median of 48, 55, 50)." in text
    assert "| single.second | expected a \\| b |" in text
    # Neither a killed rank nor a benchmark was measured.
    assert not [word for word in ("rank", "Throughput", "Loading") if word in text]


def test_nothing_is_started_without_its_parts(tmp_path):
    """Parts with a gap are told, and no part is looked for in vain."""
    (tmp_path / "part01").write_bytes(b"")
    words = [
        sys.executable,
        str(ROOT / "tests/gpu/run.py"),
        "--bundle",
        str(tmp_path),
        "--out",
        str(tmp_path / "out.json"),
    ]
    done = subprocess.run(
        [*words, "--work", str(tmp_path / "work")], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert (
        "expected parts without a gap, found [1]" in done.stdout
        or "expected root" in done.stdout
        or "expected the programs" in done.stdout
    )
