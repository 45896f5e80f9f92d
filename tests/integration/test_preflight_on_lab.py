# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is the cluster fit: no false alarm where it is, and every fault by its name where it is not."""

import contextlib
import json

import openai
import pytest

from lab import ROOT


def preflight(lab, folder, **extra):
    """The play, and its report's rows."""
    report = folder / "preflight.json"
    play = lab.play("preflight", preflight_report=str(report), **extra)
    return play, json.loads(report.read_text()) if report.exists() else []


def wrong(rows):
    """What is not as it should be: check, node and result."""
    return {(row["id"], row["node"], row["result"]) for row in rows if row["result"] != "ok"}


def test_healthy_while_it_serves(lab, tmp_path):
    before = lab.all_containers()
    play, rows = preflight(lab, tmp_path)
    assert play.rc == 0, play.why
    assert wrong(rows) == set()
    assert not play.changed(), play.text
    assert lab.all_containers() == before
    # What would disturb it is not measured.
    assert {"reach", "storage-rate", "fabric"}.isdisjoint(row["id"] for row in rows)


def test_an_operator_stops_the_engine(lab):
    """It stays so until it is started again, below. Ray stays as it is."""
    before = lab.all_containers()
    play = lab.play("stop", "--check")
    assert play.rc == 0, play.why
    assert play.changed()
    assert lab.all_containers() == before
    for again in (False, True):
        play = lab.play("stop")
        assert play.rc == 0, play.why
        assert bool(play.changed()) is not again
    assert "false" in lab.on("node00", "docker inspect --format {{.State.Running}} onecc-vllm")
    assert lab.on("node00", "systemctl is-enabled onecc-vllm", check=False).strip() == "disabled"
    with pytest.raises(openai.OpenAIError):
        lab.ask()
    assert lab.rays() == [before[node]["onecc-ray"] for node in lab.nodes]


def test_healthy_and_measured(lab, tmp_path):
    play, rows = preflight(lab, tmp_path)
    lab.note("preflight_s", round(play.seconds, 1))
    assert play.rc == 0, play.why
    assert wrong(rows) == set()
    assert not play.changed(), play.text
    assert {"reach", "clock", "storage-rate", "fabric"} < {row["id"] for row in rows}
    fabric = next(row for row in rows if row["id"] == "fabric")
    assert "Gloo over 2 ranks" in fabric["found"]
    assert "onecc-fabric" not in lab.containers("node00")
    for node in lab.nodes:
        listeners = lab.on(node, "ss --no-header --listening --tcp --numeric")
        assert ":50000 " not in listeners


def test_a_node_that_does_not_answer(lab, tmp_path):
    """Ray may give it up half a minute later, and restarts there by itself: long before the engine is started again."""
    with lab.cut_off("node01"):
        play, rows = preflight(lab, tmp_path)
    assert play.rc != 0
    assert ("ssh", "node01", "fail") in wrong(rows)
    assert {row["id"] for row in rows if row["node"] == "node00"} > {"ssh", "engine", "disk"}


@contextlib.contextmanager
def faults(lab):
    """One of each kind that the nodes themselves can have, all at once."""
    lab.on("node00", "systemd-run --collect --unit=try-port python3 -m http.server --bind 127.0.0.1 8001")
    lab.on("node01", "ip link set dev eth0 mtu 1400")
    lab.on("node01", "iptables -I INPUT -s 198.18.0.10 -p tcp --dport 50000 -j DROP")
    try:
        yield
    finally:
        lab.on("node01", "iptables -D INPUT -s 198.18.0.10 -p tcp --dport 50000 -j DROP")
        lab.on("node01", "ip link set dev eth0 mtu 1500")
        lab.on("node00", "systemctl stop try-port")


def test_every_fault_has_its_row(lab, tmp_path):
    with faults(lab):
        play, rows = preflight(
            lab,
            tmp_path,
            preflight_fabric=False,
            preflight_disk_free="900T",
            preflight_storage_rate="900G",
            cluster_container_shm_size="64M",
            cluster_container_env={"VLLM_HOST_IP": "198.18.0.10", "GLOO_SOCKET_IFNAME": "eth7"},
        )
    assert play.rc != 0
    assert wrong(rows) == {
        ("port", "node00", "fail"),
        ("mtu", "all", "fail"),
        ("reach", "node00", "fail"),
        ("disk", "node00", "fail"),
        ("disk", "node01", "fail"),
        ("storage-rate", "node00", "warn"),
        ("storage-rate", "node01", "warn"),
        ("shm", "node00", "fail"),
        ("shm", "node01", "fail"),
        ("address", "node01", "fail"),
        ("interface", "node00", "fail"),
        ("interface", "node01", "fail"),
    }
    port = next(row for row in rows if row["id"] == "port" and row["node"] == "node00")
    assert port["found"].startswith("python3 (pid ")
    assert port["expected"] == "port 8001 free for the engine's readiness (vllm_serve_ready_port)"
    reach = next(row for row in rows if row["id"] == "reach" and row["node"] == "node00")
    assert reach["found"] == "node01 port 50000: no answer within 5 s"
    # The table has them, and what to do.
    assert "CHECK" in play.text
    assert "Allow all TCP between the nodes" in play.text
    assert "preflight_skip" in play.text


def test_storage_that_is_not_shared(lab, tmp_path):
    """It is not measured either where it is not the same."""
    with lab.unshared("node01"):
        play, rows = preflight(lab, tmp_path, preflight_fabric=False)
    assert play.rc != 0
    assert wrong(rows) == {("storage-shared", "node01", "fail")}
    assert [row["node"] for row in rows if row["id"] == "storage-rate"] == ["node00"]


def test_what_is_skipped_does_not_count(lab, tmp_path):
    # As on the command line, where a list is text.
    small = {"cluster_container_shm_size": "64M", "preflight_measure": False, "preflight_fabric": False}
    play, rows = preflight(lab, tmp_path, preflight_skip="shm, mtu", **small)
    assert play.rc == 0, play.why
    assert {(row["id"], row["result"]) for row in rows if row["result"] != "ok"} == {("shm", "skip"), ("mtu", "skip")}
    play, rows = preflight(lab, tmp_path, preflight_skip="no-such-check", **small)
    assert play.rc != 0
    assert "no checks with these ids: no-such-check" in play.text


def test_the_same_address_twice(lab, tmp_path):
    play, rows = preflight(
        lab, tmp_path, cluster_address="198.18.0.10", preflight_measure=False, preflight_fabric=False
    )
    assert play.rc != 0
    assert ("address-unique", "all", "fail") in wrong(rows)
    assert ("address", "node01", "fail") in wrong(rows)


def test_other_images_on_one_node(lab, tmp_path):
    name = lab.on("node01", "docker inspect --format {{.Config.Image}} onecc-ray").strip()
    ident = lab.on("node01", "docker image inspect --format {{.Id}} %s" % name).strip()
    lab.on("node01", "tar c /etc/hostname 2>/dev/null | docker import - %s" % name)
    try:
        play, rows = preflight(lab, tmp_path, preflight_measure=False, preflight_fabric=False)
    finally:
        lab.on("node01", "docker image rm -f %s; docker tag %s %s" % (name, ident, name))
    assert play.rc != 0
    assert wrong(rows) == {("image-same", "all", "fail")}


def test_a_model_that_is_not_there(lab, tmp_path):
    play, rows = preflight(
        lab, tmp_path, model_download_repo="nobody/nothing", preflight_measure=False, preflight_fabric=False
    )
    assert play.rc != 0
    assert wrong(rows) == {("model", "all", "fail")}
    assert "expected the model 'nobody/nothing'" in " ".join(play.text.split())


def test_an_operator_starts_the_engine(lab):
    """Nothing else is changed."""
    for again in (False, True):
        play = lab.play("start")
        assert play.rc == 0, play.why
        assert play.changed() == ({} if again else {"node00": 1})
        assert lab.ask_until(120).choices[0].finish_reason == "stop"
    assert lab.on("node00", "systemctl is-enabled onecc-vllm").strip() == "enabled"


@pytest.mark.parametrize(
    ("model", "nodes", "words"),
    [
        ("Llama-3.1-405B-Instruct", 1, "nothing of this serves the model"),
        ("Llama-3.1-405B-Instruct", 2, "chosen: tensor parallel 8, pipeline parallel 2"),
        ("Llama-3.1-70B-Instruct", 1, "chosen: tensor parallel 8, pipeline parallel 1"),
        ("DeepSeek-V3", 4, "chosen: tensor parallel 8, pipeline parallel 4"),
    ],
)
def test_plan_for_a_cluster_that_is_not_there(lab, model, nodes, words):
    """As the README has it: no node is asked."""
    config = ROOT / "tests/unit/data/configs" / model
    cluster = {"plan_nodes": nodes, "plan_gpus_per_node": 8, "plan_gpu_memory_mib": 81559}
    play = lab.play("plan", inventory="localhost,", model_download_path=str(config), **cluster)
    assert play.rc == 0, play.why
    assert words in play.text
    assert set(play.stats["processed"]) == {"localhost"}
