# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster that shrinks to one node, grows, and is taken down."""

import shutil

from lab import MODEL, SHARED, inventory, make, wait_for
from lab_hub import CACHE
from outsider import handshakes

MINE = SHARED / "models/mine"


def test_single_node(lab, tmp_path):
    """No worker at all: the same code with a pipeline of one. And a model that somebody has put there.

    Nodes are taken out of the inventory and nothing else: their Ray ends by itself, before anybody logs in there.
    """
    alone = inventory(tmp_path, workers="")
    shutil.copytree(CACHE / "models" / MODEL, MINE, dirs_exist_ok=True)
    folder = {"model_download_path": "/home/ubuntu/shared/models/mine", "vllm_serve_model_name": MODEL}
    play = lab.play("deploy", inventory=alone, **folder)
    assert play.rc == 0, play.why
    assert "1.0/1.0 GPU (1.0 used of 1.0 reserved in placement groups)" in lab.ray_status()
    answer = lab.ask()
    assert answer.choices[0].finish_reason == "stop"
    assert "pp" not in answer.system_fingerprint
    assert abs(play.result("onecc.vllm.serving_plan")["chosen"]["tokens"] / lab.kv_tokens() - 1) < 0.05
    for node in lab.nodes[1:]:
        # The head's firewall has closed to them: they reach nothing there any more.
        wait_for(lambda node=node: lab.on(node, "docker ps --all --format {{.Status}}").startswith("Exited"), 180)
        assert "stop: the head" in lab.on(node, "journalctl --no-pager --unit onecc-ray --since -5min")


def test_third_node(lab):
    """LAB_NODES=3 and nothing else: one that was there before, and one that is new."""
    make("lab-up", LAB_NODES="3")
    lab.nodes.append("node02")
    play = lab.play("deploy")
    assert play.rc == 0, play.why
    assert "3.0/3.0 GPU (3.0 used of 3.0 reserved in placement groups)" in lab.ray_status()
    answer = lab.ask()
    assert answer.choices[0].finish_reason == "stop"
    assert "pp3" in answer.system_fingerprint
    lab.expect_planned()
    # Until two deployments ago Ray had TLS.
    told = handshakes(lab)
    assert {case for case, what in told.items() if what == "answered"} == {"6379 plain", "6380 plain"}, told


def test_teardown(lab):
    weights = sorted(SHARED.glob(".cache/huggingface/hub/models--*"))
    assert weights
    play = lab.play("teardown")
    assert play.rc == 0, play.why
    for node in lab.nodes:
        assert lab.containers(node) == {}
        left = lab.on(node, "ls -d /var/lib/onecc /etc/systemd/system/onecc* /etc/systemd/system/*/onecc*", check=False)
        assert left == ""
        listeners = lab.on(node, "ss --no-header --listening --tcp --numeric").split("\n")
        outside = [line for line in listeners if line and ":22 " not in line and "127.0.0." not in line]
        assert outside == []
    assert sorted(SHARED.glob(".cache/huggingface/hub/models--*")) == weights
    status = lab.play("status")
    assert status.rc == 0, status.why
    assert "node01  worker  198.18.0.11  missing" in status.text
    assert "answers   no: nothing is deployed" in status.text
    verify = lab.play("verify")
    assert verify.rc != 0
    assert "node00: expected a deployed endpoint, found nothing" in " ".join(verify.text.split())
    again = lab.play("teardown")
    assert again.rc == 0, again.why
    assert not again.changed(), again.text


def test_teardown_of_everything(lab):
    """As the playbook's comment says: from the command line, where every value is text."""
    switches = ["-e cluster_teardown_weights=true", "-e cluster_teardown_images=true"]
    play = lab.play("teardown", *switches)
    assert play.rc == 0, play.why
    for node in lab.nodes:
        assert "onecc/vllm" not in lab.on(node, "docker images")
    assert not list(SHARED.glob(".onecc"))
    assert not list(SHARED.glob(".cache/huggingface/hub/models--HuggingFaceTB--*"))
    # What the collection has not brought it does not take away.
    assert MINE.joinpath("config.json").exists()
    shutil.rmtree(MINE.parent)
