# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What went wrong: faults brought about on the cluster, each to end in its cause."""

import json
import tarfile

import pytest

SECRET = "hf_onecclabmarker0123456789abcdefgh"


def diagnose(lab, folder):
    """The play, its diagnosis, and the archive's texts by name."""
    play = lab.play("diagnose", diagnose_dir=str(folder))
    result = play.result("onecc.vllm.diagnosis")
    with tarfile.open(result["archive"]) as archive:
        texts = {
            entry.name.split("/", 1)[1]: archive.extractfile(entry).read().decode("utf-8", "replace")
            for entry in archive
            if entry.isfile()
        }
    return play, result, texts


def test_nothing_is_wrong(lab, tmp_path, monkeypatch):
    """No false alarm; all evidence, without the token that was in a log."""
    monkeypatch.setenv("HF_TOKEN", SECRET)
    lab.on("node01", 'docker exec onecc-ray sh -c "echo token %s and Bearer %s >/proc/1/fd/1"' % (SECRET, SECRET))
    before = lab.all_containers()
    play, result, texts = diagnose(lab, tmp_path)
    assert play.rc == 0, play.why
    assert result["first"] in (None, {}), play.text
    assert lab.all_containers() == before
    assert lab.on("node00", "ls -d /run/onecc-evidence* /tmp/onecc-*", check=False) == ""
    for node in lab.nodes:
        for name in ["onecc-ray.log", "state.json", "disks.txt", "addresses.txt"]:
            assert any(path.endswith("%s/%s" % (node, name)) for path in texts), sorted(texts)
    assert "[redacted]" in "".join(text for name, text in texts.items() if name.endswith("onecc-ray.log"))
    assert not [name for name, text in texts.items() if SECRET in text]
    assert json.loads(next(text for name, text in texts.items() if name.endswith("report.json")))["first"] is None


def test_a_deployment_that_fails_ends_with_its_cause(lab, tmp_path):
    """Another service has taken the port while the endpoint was down."""
    before = lab.all_containers()
    lab.on("node00", "systemctl stop onecc-endpoint; systemd-run --collect --unit=try-port python3 -m http.server 8000")
    try:
        # Which the preflight would refuse.
        play = lab.play("deploy", diagnose_dir=str(tmp_path), preflight_skip="port")
    finally:
        lab.on("node00", "systemctl stop try-port")
    assert play.rc != 0
    result = play.result("onecc.vllm.diagnosis")
    assert (result["first"]["id"], result["first"]["node"]) == ("port", "node00"), play.why
    text = "\n".join(result["summary"])
    assert all(word in text for word in ["a port is taken", "ddress already in use", "endpoint_port"]), text
    assert "The deployment failed. %s" % result["summary"][0] in play.text
    assert "The engine from before was left as it was." in play.text
    assert lab.all_containers() == before


def test_memory_pressure(lab, tmp_path):
    """Ray ends processes when the node has too little memory left. Ray and engine from before come back."""
    extra = {"cluster_container_env": {"VLLM_CPU_KVCACHE_SPACE": 1, "RAY_memory_usage_threshold": "0.01"}}
    play = lab.play("deploy", diagnose_dir=str(tmp_path), preflight_fabric=False, vllm_serve_timeout=120, **extra)
    assert play.rc != 0
    assert play.result("onecc.vllm.diagnosis")["first"]["id"] == "memory", play.why
    assert "What served before serves again." in play.text


def test_the_next_deploy_mends_it(lab):
    play = lab.play("deploy")
    assert play.rc == 0, play.why


@pytest.fixture
def without_ray(lab):
    """One node's Ray is away."""
    lab.on("node01", "systemctl stop onecc-ray")
    yield
    lab.on("node01", "systemctl start onecc-ray")


def test_a_node_whose_ray_is_gone_and_the_node_as_well(lab, tmp_path, without_ray):
    play, result, _texts = diagnose(lab, tmp_path)
    assert play.rc == 0, play.why
    assert (result["first"]["id"], result["first"]["node"]) == ("node-lost", "node01"), play.text
    with lab.cut_off("node01"):
        play, result, _texts = diagnose(lab, tmp_path)
        status = lab.play("status")
    # Lost to Ray, and that is why.
    assert (result["first"]["id"], result["first"]["node"]) == ("node-lost", "node01"), play.text
    assert "Failed to connect to the host via ssh" in result["first"]["evidence"], play.text
    assert "node01 could not be reached" in play.text
    assert "node01  worker               unknown: the node does not answer" in status.text, status.text
    assert "state     waiting: waiting for node01 (198.18.0.11): it does not answer" in status.text
    assert "missing   node01 (198.18.0.11): it does not answer" in status.text


def test_both_are_back(lab):
    """Nobody has to do anything."""
    assert lab.ask_until(240).choices[0].finish_reason == "stop"
