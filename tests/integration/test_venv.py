# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job without containers: one Python environment on shared storage, processes under systemd.

Each test goes on where the one before it stopped.
"""

import time

import pytest

from greedy import TIE
from lab import MODEL, QUESTION, SHARED, Lab, inventory, wait_for

VENV = {"cluster_runtime": "venv"}
RAY = "/var/lib/onecc/processes/onecc-ray.json"
# As an operator has it from the page on running without containers.
BESIDE_RAY = "/var/lib/onecc/tools-*/bin/python /var/lib/onecc/supervisor-ray.pyz exec %s" % RAY


@pytest.fixture(scope="module")
def pair(lab):
    """Two nodes, whatever the tests before have added."""
    pair = Lab(2, lab.scratch)
    for node in pair.nodes:
        assert pair.containers(node) == {}
    return pair


def fingerprint(pair):
    """What a deployment could change, without what running Ray and vLLM write themselves, and the record of it."""
    written = ("/var/lib/onecc/cache/home/", ".log ", "__pycache__", "/var/lib/onecc/deployed.json")
    return {line for line in pair.fingerprint() if not any(part in line for part in written)}


def test_deploy(pair):
    # A node that was taken down before may still have the image.
    images = {node: pair.on(node, "docker images --quiet") for node in pair.nodes}
    play = pair.play("deploy", **VENV)
    assert play.rc == 0, play.why
    pair.note("venv_deploy_s", round(play.seconds, 1))
    assert set(play.changed()) == set(pair.nodes)
    assert "is served at %s" % pair.endpoint in play.text
    assert "Gloo over 2 ranks" in play.text
    assert {node: sorted(pair.processes(node)) for node in pair.nodes} == {
        "node00": ["onecc-ray", "onecc-vllm"],
        "node01": ["onecc-ray"],
    }
    for node in pair.nodes:
        assert pair.containers(node) == {}
        assert pair.on(node, "docker images --quiet") == images[node]


def test_it_serves_on_both_nodes(pair):
    status = pair.on("node00", BESIDE_RAY + " ray status")
    assert "2.0/2.0 GPU (2.0 used of 2.0 reserved in placement groups)" in status
    answers = [pair.ask(), pair.ask()]
    assert answers[0].choices[0].finish_reason == "stop"
    assert answers[0].system_fingerprint.count("pp2") == 1
    assert max(pair.gap(QUESTION, answer.choices[0].message.content) for answer in answers) <= TIE
    play = pair.play("status", **VENV)
    assert play.rc == 0, play.why
    for words in ["node00  head    198.18.0.10  alive  1     1", "node01  worker  198.18.0.11  alive  1     1"]:
        assert words in play.text
    assert "answers   yes" in play.text
    assert "/home/ubuntu/shared/.onecc/venv/" in play.text


def test_processes_have_what_containers_have(pair):
    """No capability but one, nothing of the environment of who deployed, and no secret in it."""
    pid = pair.on("node01", "pgrep -o -f raylet/raylet").strip()
    capabilities = pair.on("node01", "grep -E CapEff.*0{14}02 /proc/%s/status" % pid, check=False)
    assert capabilities, pair.on("node01", "grep Cap /proc/%s/status" % pid)
    environment = pair.on("node01", "tr \\\\0 \\\\n </proc/%s/environ" % pid)
    names = {line.partition("=")[0] for line in environment.splitlines()}
    assert {"VLLM_HOST_IP", "RAY_AUTH_TOKEN_PATH", "ONECC_PROCESS"} <= names
    assert not [name for name in names if name.startswith(("SSH_", "SUDO_", "NOTIFY_"))]
    token = pair.on("node01", "cat /var/lib/onecc/secrets/ray/token").strip()
    assert token
    assert token not in environment


def test_second_deploy_changes_nothing(pair):
    before, seen = pair.all_processes(), fingerprint(pair)
    # The second goes through everything, whatever the first deployment noted.
    for words, extra in (([], {}), (["--check", "--diff"], {"cluster_recheck": True})):
        play = pair.play("deploy", *words, **VENV, **extra)
        assert play.rc == 0, play.why
        assert not play.changed(), play.text
        assert pair.all_processes() == before
        assert fingerprint(pair) == seen


@pytest.mark.parametrize(
    ("hosts", "extra", "words"),
    [
        (
            {},
            {},
            [
                "node00: expected no deployment with another cluster_runtime than docker, found one with venv",
                "Take that down first",
                "(check 'runtime')",
            ],
        ),
        (
            {"head": "node00 cluster_runtime=venv", "workers": "node01 cluster_runtime=docker"},
            {},
            ["expected one cluster_runtime for all nodes", "found node00: venv, node01: docker"],
        ),
        (
            VENV,
            {"cluster_venv_python": "/usr/bin/python3.99"},
            ["/usr/bin/python3.99 is not there", "(check 'python')"],
        ),
    ],
    ids=["deployed otherwise", "two runtimes", "no such python"],
)
def test_mistakes_are_refused(pair, tmp_path, hosts, extra, words):
    before = pair.all_processes()
    settings = hosts if hosts == VENV else {}
    own = None if settings or not hosts else inventory(tmp_path, **hosts)
    play = pair.play("deploy", inventory=own, **settings, **extra)
    assert play.rc != 0
    assert all(word in " ".join(play.text.split()) for word in words), play.text
    assert not play.changed()
    assert pair.all_processes() == before


def test_programs_that_are_started_anew_leave_the_processes_alone(pair):
    before = pair.all_processes()
    pair.on("node00", "systemctl reload onecc-ray onecc-vllm")
    pid = pair.on("node01", "systemctl show --property MainPID --value onecc-ray").strip()
    pair.on("node01", "kill -KILL %s" % pid)
    wait_for(lambda: pair.on("node01", "systemctl is-active onecc-ray", check=False).strip() == "active", 30)
    assert pair.ask_until(30).choices[0].finish_reason == "stop"
    assert pair.all_processes() == before


def test_a_killed_rank_heals(pair):
    """The engine starts anew, by itself, and Ray stays."""
    before = pair.all_processes()
    begin = time.monotonic()
    pair.on("node01", "pkill -KILL -f ^ray::RayWorkerProc")
    wait_for(lambda: pair.processes("node00").get("onecc-vllm") not in (None, before["node00"]["onecc-vllm"]), 60)
    assert pair.ask_until(120).choices[0].finish_reason == "stop"
    pair.note("venv_killed_rank_s", round(time.monotonic() - begin, 1))
    after = pair.all_processes()
    assert [after[node]["onecc-ray"] for node in pair.nodes] == [before[node]["onecc-ray"] for node in pair.nodes]


# As an operator has it from the same page.
USER = {
    "ansible_become": False,
    "firewall_enabled": False,
    "cluster_state_dir": "/home/ubuntu/onecc",
}


def test_without_root_what_it_takes_is_told(pair):
    before = pair.all_processes()
    play = pair.play("deploy", ansible_become=False, preflight_skip="port, runtime", **VENV)
    assert play.rc != 0
    text = " ".join(play.text.split())
    for words in [
        "node01: expected root, or without it firewall_enabled false, found the user ubuntu",
        "node00: expected a folder /var/lib/onecc of the user ubuntu, found somebody else's",
    ]:
        assert words in text, play.text
    assert not play.changed()
    assert pair.all_processes() == before


def test_teardown(pair):
    play = pair.play("teardown", **VENV)
    assert play.rc == 0, play.why
    for node in pair.nodes:
        left = pair.on(
            node,
            "ls -d /var/lib/onecc /run/onecc-* /etc/systemd/system/onecc* /etc/systemd/system/*/onecc*; ls /dev/shm",
            check=False,
        )
        assert left == ""
        assert pair.on(node, "pgrep -f -l [v]env/", check=False) == ""
    # The next deployment has it again at once.
    assert len(list(SHARED.glob(".onecc/venv/*/digest"))) == 1


def test_without_root(pair):
    """A user who cannot become root, on nodes with systemd: the same service, under supervisord."""
    system = "ls -d /var/lib/onecc /run/onecc* /etc/systemd/system/onecc* /var/cache/onecc*; nft list tables"
    before = {node: pair.on(node, system, check=False) for node in pair.nodes}
    user = pair.on("node00", "stat --format %U /home/ubuntu").strip()
    # As a user has made it.
    pair.on("node01", "install -d -o %s -m 0775 /home/ubuntu/onecc" % user)
    play = pair.play("deploy", **VENV, **USER)
    assert play.rc == 0, play.why
    pair.note("rootless_deploy_s", round(play.seconds, 1))
    key = pair.on("node00", "cat /home/ubuntu/onecc/secrets/api-key").strip()
    pair.known_key = key
    assert pair.ask().choices[0].finish_reason == "stop"
    for node in pair.nodes:
        assert pair.on(node, "stat --format %a:%U /home/ubuntu/onecc").strip() == "700:" + user
        owners = pair.on(node, "ps -eo user=,args= | grep -E [/]home/ubuntu/onecc\\|[v]env/").split("\n")
        assert {line.split()[0] for line in owners if line} == {user}, owners
        assert pair.on(node, system, check=False) == before[node]
    play = pair.play("deploy", **VENV, **USER)
    assert play.rc == 0, play.why
    assert not play.changed(), play.text
    play = pair.play("teardown", **VENV, **USER)
    assert play.rc == 0, play.why
    for node in pair.nodes:
        assert pair.on(node, "ls -d /home/ubuntu/onecc /dev/shm/*; pgrep -f -l [v]env/", check=False) == ""


def test_teardown_of_what_is_shared(pair):
    play = pair.play("teardown", "-e cluster_teardown_images=true -e cluster_teardown_weights=true", **VENV)
    assert play.rc == 0, play.why
    assert not list(SHARED.glob(".onecc"))
    assert not list(SHARED.glob(".cache/huggingface/hub/models--%s" % MODEL.replace("/", "--")))
