# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job, from bare nodes to an answer that survives reboots, in the order of a user's days.

Each test goes on where the one before it stopped.
"""

import concurrent.futures
import os
import re
import subprocess

import pytest
import yaml

from greedy import TIE
from lab import MODEL, QUESTION, ROOT, STATE, inventory

# As in the sample inventory.
FROM_HOME = "\"-F {{ lookup('ansible.builtin.env', 'HOME') }}/.ssh/config.d/cluster-config\""


def test_check_mode_on_bare_nodes(lab):
    before = lab.fingerprint()
    play = lab.play("deploy", "--check", "--diff")
    assert play.rc == 0, play.why
    assert lab.fingerprint() == before


WRONG_HEADS = {
    "no head": ("", ["exactly one host in the group [head]", "found 0", "Put the node"]),
    "two heads": (
        "node00,node01",
        ["exactly one host in the group [head]", "found 2 (node00, node01)", "Put the node"],
    ),
    "head is a worker": (
        "node01",
        ["expected node01 in one group", "found it in [head] and in [workers]", "take it out"],
    ),
}
WRONG_SETTINGS = {
    "too few GPUs": (
        {"vllm_serve_tensor_parallel_size": 2, "vllm_serve_pipeline_parallel_size": 2},
        ["node00, node01: expected 4 GPUs", "tensor parallel 2 times pipeline parallel 2", "found 2", "Lower"],
    ),
    "no such model": (
        {"model_download_repo": "nobody/nothing"},
        ["expected the model 'nobody/nothing'", "found no such model", "Check the spelling"],
    ),
    "no such revision": (
        {"model_download_revision": "v9"},
        ["expected revision 'v9' of model '%s'" % MODEL, "found no such revision", "Give a branch"],
    ),
    "no shared folder": (
        {"cluster_shared_dir": "/home/ubuntu/nowhere"},
        ["node00: expected a folder at cluster_shared_dir=/home/ubuntu/nowhere", "found none", "Mount the same"],
    ),
    "no such interface": (
        {"cluster_interface": "eth9"},
        ["node00: expected an IPv4 address on the interface eth9", "198.18.0.10", "Set cluster_interface"],
    ),
    "unset": (
        {"cluster_shared_dir": ""},
        ["node00: expected cluster_shared_dir to be an absolute path", "Set cluster_shared_dir to the folder"],
    ),
    "layout": (
        {"vllm_serve_tensor_parallel_size": 2, "vllm_serve_pipeline_parallel_size": 1},
        ["cannot be served in this layout", "9 attention heads, expected a multiple of 2"],
    ),
    "small shm": (
        {"cluster_container_shm_size": "64M"},
        ["node00: expected at least 468 MB", "found cluster_container_shm_size 67.1 MB", "(check 'shm')"],
    ),
    "copied address": (
        {"cluster_container_env": {"VLLM_HOST_IP": "198.18.0.10"}},
        ["node01: expected VLLM_HOST_IP=198.18.0.11", "found VLLM_HOST_IP=198.18.0.10", "(check 'address')"],
    ),
    "flag twice": (
        {"vllm_serve_args": '{"port": 9000}'},
        ["expected vllm_serve_args without", "found port", "endpoint_port"],
    ),
}


@pytest.fixture(scope="module")
def refused(lab, tmp_path_factory):
    """The deployments with mistakes by name, and all that they have changed.

    They only look, and do so side by side: what nodes measure they would measure of each other.
    """
    before = lab.fingerprint()
    plays = {}
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        for name, (head, _words) in WRONG_HEADS.items():
            own = inventory(tmp_path_factory.mktemp("wrong"), head=head)
            plays[name] = pool.submit(lab.play, "deploy", inventory=own, preflight_measure=False)
        for name, (extra, _words) in WRONG_SETTINGS.items():
            plays[name] = pool.submit(lab.play, "deploy", preflight_measure=False, **extra)
    return {name: play.result() for name, play in plays.items()}, before ^ lab.fingerprint()


@pytest.mark.parametrize("name", [*WRONG_HEADS, *WRONG_SETTINGS])
def test_what_is_wrong_is_refused(refused, name):
    plays, differences = refused
    play, words = plays[name], (WRONG_HEADS | WRONG_SETTINGS)[name][1]
    assert play.rc != 0
    assert all(word in " ".join(play.text.split()) for word in words), play.text
    assert not play.changed()
    assert differences == set()


def test_phases_before_the_whole(lab):
    """What is left out is no reason to do the rest again."""
    words = ("deploy", "--skip-tags", "ray,serve,fabric")
    play = lab.play(*words)
    assert play.rc == 0, play.why
    assert set(play.changed()) == set(lab.nodes)
    for doing in ("node00: building", "node00: saving", "node01: loading"):
        assert re.search(doing + r" the image  took \d+:\d\d for \S+ [MG]B, \S+ [kMG]B/s", play.text), play.text
    play = lab.play(*words)
    assert play.rc == 0, play.why
    assert not play.changed(), play.text
    assert "Load the rules" not in play.text
    # The record holds neither image nor tools.
    lab.on("node01", "rm /var/lib/onecc/tools-*/complete")
    play = lab.play(*words)
    assert play.rc == 0, play.why
    assert set(play.changed()) == {"node01"}


def test_deploy(lab):
    play = lab.play("deploy", vllm_serve_progress="lines")
    assert play.rc == 0, play.why
    lab.note("deploy_s", round(play.seconds, 1))
    assert set(play.changed()) == set(lab.nodes)
    # Its start takes longer than the five seconds between two lines.
    assert "  Ray starts the engine's ranks" in play.text
    # What comes after this takes seconds, and is not watched.
    last = ("the engine is set up, its API starts", "the first completion is awaited", "completions are answered")
    assert re.search("  (%s)\n" % "|".join(last), play.text)
    assert "Gloo over 2 ranks" in play.text
    # It is the last that is said, with the key.
    last = play.text.partition("is served at %s" % lab.endpoint)[2]
    assert "API key, shown this once: %s\n" % lab.key() in last
    assert not re.search(r"PLAY \[(?!RECAP)", last), last
    lab.expect_planned()


def test_ray_has_both_nodes(lab):
    status = lab.ray_status()
    assert "2.0/2.0 GPU (2.0 used of 2.0 reserved in placement groups)" in status
    assert status.count("\n 1 node_") == 2
    on_workers = lab.on("node01", "docker top onecc-ray")
    assert "RayWorkerProc" in on_workers or "RayWorkerWrapper" in on_workers, on_workers


def test_answer(lab):
    answers = [lab.ask(), lab.ask()]
    assert answers[0].choices[0].finish_reason == "stop"
    assert len(answers[0].choices[0].message.content) > 20
    assert max(lab.gap(QUESTION, answer.choices[0].message.content) for answer in answers) <= TIE
    assert answers[0].system_fingerprint.count("pp2") == 1


def test_second_deploy_changes_nothing(lab):
    before, fingerprint = lab.all_containers(), lab.fingerprint()
    loads = lab.on("node00", "docker logs onecc-vllm 2>&1").count("Loading weights took")
    play = lab.play("deploy")
    assert play.rc == 0, play.why
    lab.note("second_deploy_s", round(play.seconds, 1))
    assert not play.changed(), play.text
    assert lab.all_containers() == before
    assert lab.fingerprint() == fingerprint
    assert lab.on("node00", "docker logs onecc-vllm 2>&1").count("Loading weights took") == loads


def test_folder_that_is_not_shared_is_refused(lab):
    """On a cluster that serves: what was right when it was deployed is no reason to overlook it."""
    with lab.unshared("node01"):
        before = lab.fingerprint()
        play = lab.play("deploy")
        assert lab.fingerprint() == before
    assert play.rc != 0
    text = " ".join(play.text.split())
    for words in [
        "node01: expected in /home/ubuntu/shared the file that the head",
        "on tmpfs from none",
        "Mount the same",
    ]:
        assert words in text, play.text
    assert not play.changed()


def test_what_was_changed_by_hand_is_put_right(lab):
    """The record of the last deployment is no reason to overlook it."""
    name = "/var/lib/onecc/endpoint/nginx.conf"
    before, content = lab.all_containers(), lab.on("node00", "cat %s" % name)
    lab.on("node00", "echo >>%s" % name)
    play = lab.play("deploy")
    assert play.rc == 0, play.why
    assert "node00 is not as the last deployment has left it: %s" % name in play.text
    assert set(play.changed()) == {"node00"}
    assert lab.on("node00", "cat %s" % name) == content
    assert lab.all_containers() == before


def test_phases_leave_the_record_of_the_whole(lab):
    record = "cat /var/lib/onecc/deployed.json"
    before = lab.on("node00", record)
    play = lab.play("deploy", "--skip-tags", "ray,serve")
    assert play.rc == 0, play.why
    assert not play.changed(), play.text
    assert lab.on("node00", record) == before


def test_check_mode_on_a_running_cluster(lab):
    before = lab.fingerprint()
    play = lab.play("deploy", "--check", "--diff")
    assert play.rc == 0, play.why
    assert not play.changed(), play.text
    assert lab.fingerprint() == before


def test_verify_prints_the_completion(lab):
    play = lab.play("verify")
    assert play.rc == 0, play.why
    assert "ChatCompletion(id=" in play.text
    assert "World Series" in play.text


def test_status(lab):
    play = lab.play("status")
    assert play.rc == 0, play.why
    text = play.text
    for words in ["node00  head    198.18.0.10  alive  1     1", "node01  worker  198.18.0.11  alive  1     1"]:
        assert words in text, text
    assert "answers   yes" in text
    assert not play.changed()


# A container of the collection, made and not started, on a node of which we say what it has.
CONTAINER = """
- hosts: head
  gather_facts: false
  become: true
  tasks:
    - ansible.builtin.include_role:
        name: onecc.vllm.cluster
        tasks_from: "{{ item }}"
      loop: [process, process]
      vars:
        cluster_container_name: try-hardware
        cluster_container_state: present
        cluster_container_ipc_mode: shareable
        cluster_container_argv: [sleep, "1"]
    - ansible.builtin.assert:
        that: __cluster_container is not changed
    - ansible.builtin.command: docker inspect --format "{% raw %}{{json .HostConfig}}{% endraw %}" try-hardware
      register: inspected
    - community.docker.docker_container:
        name: try-hardware
        state: absent
    - ansible.builtin.debug:
        var: (inspected.stdout | from_json).DeviceRequests[0].Count
    - ansible.builtin.debug:
        var: (inspected.stdout | from_json).Devices[0].PathOnHost
"""


def test_hardware_settings_compare_equal(lab, tmp_path):
    """GPUs and InfiniBand, which no lab node has: what Docker keeps of the settings is what we set.

    A difference would make a new container, and load the weights again, with every deployment.
    """
    playbook = tmp_path / "hardware.yml"
    playbook.write_text(CONTAINER)
    node = {
        "hostname": "node00",
        "address": "198.18.0.10",
        "interfaces": {"eth0": ["198.18.0.10"]},
        "gpus": [{"index": 0, "name": "NVIDIA H100 80GB HBM3", "memory_mib": 81559}],
        "infiniband": True,
        "image_id": "there",
        "paths": {},
    }
    play = lab.play(playbook, __cluster_node=node)
    assert play.rc == 0, play.why
    assert "DeviceRequests[0].Count: -1" in play.text
    assert "Devices[0].PathOnHost: /dev/infiniband" in play.text


def test_users_own_directory(lab, tmp_path):
    """The built artifact, a one-line deploy.yml, and the SSH configuration: what is deployed already stays as it is.

    The nodes come from that configuration by itself, and from an own 1cc.ini.
    """
    before = lab.all_containers()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    environment["HOME"] = str(tmp_path)
    environment["ANSIBLE_COLLECTIONS_PATH"] = str(tmp_path / "collections")

    def run(*words, folder=tmp_path):
        done = subprocess.run(
            words, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("ansible-galaxy", "collection", "build", "--output-path", str(tmp_path), folder=ROOT)
    artifact = str(next(tmp_path.glob("onecc-vllm-*.tar.gz")))
    run("ansible-galaxy", "collection", "install", "--no-deps", "-p", str(tmp_path / "collections"), artifact)
    user = tmp_path / "user"
    user.mkdir()
    user.joinpath("deploy.yml").write_text("- import_playbook: onecc.vllm.deploy\n")
    inventory(user, name="1cc.ini", ssh_args=FROM_HOME)
    config = tmp_path / ".ssh/config.d/cluster-config"
    config.parent.mkdir(parents=True)
    config.write_text((STATE / "ssh_config").read_text())
    # The sample but for its settings, which are those of the lab beside it.
    sample = yaml.safe_load((ROOT / "inventories/ssh_config.onecc.yml").read_text())
    del sample["compose"]
    user.joinpath("ssh_config.onecc.yml").write_text(yaml.safe_dump(sample))
    text = run("ansible-playbook", "deploy.yml", "-i", "ssh_config.onecc.yml", folder=user)
    recap = re.findall(r"^(node\d+) .*changed=(\d+)", text, re.MULTILINE)
    assert recap == [(node, "0") for node in lab.nodes]
    assert "is served at" in text
    assert lab.all_containers() == before
    run("ansible-playbook", "onecc.vllm.verify", "-i", "1cc.ini", folder=user)


def test_changed_settings_restart_only_the_engine(lab):
    other, engine, rays = "lab/another-model", lab.containers("node00")["onecc-vllm"], lab.rays()
    flags = {"enforce-eager": True, "max-model-len": 1024}
    play = lab.play("deploy", model_download_repo=other, vllm_serve_args=flags)
    assert play.rc == 0, play.why
    served = lab.client().models.list().data[0]
    assert (served.id, served.max_model_len) == (other, 1024)
    assert lab.containers("node00")["onecc-vllm"] != engine
    assert lab.rays() == rays
    # Both have fetched their share of it.
    assert set(play.changed()) == {"node00", "node01"}


def test_a_flag_that_vllm_does_not_know_ends_soon_and_says_so(lab):
    """What served before serves again, in the same container. Whatever else is left out, a failure is one."""
    before = lab.containers("node00")["onecc-vllm"][0]
    served = lab.client().models.list().data[0].id
    play = lab.play("deploy", "--skip-tags", "ray", vllm_serve_args={"no-such-flag": 1})
    assert play.rc != 0
    for words in [
        "What went wrong: vLLM does not know a flag, or not its value (flag), on node00.",
        "unrecognized arguments: --no-such-flag",
        # Neither at the end of vllm_serve_timeout nor by trying again.
        "found 1 start that failed: the engine ended with status 2",
        "in node00/onecc-vllm.log:",
        "What to do: Correct vllm_serve_args",
        "What served before serves again.",
    ]:
        assert words in " ".join(play.text.split()), play.text
    assert lab.client().models.list().data[0].id == served
    assert lab.containers("node00")["onecc-vllm"][0] == before


def test_the_next_deploy_mends_it(lab):
    """And brings back the settings from before: the weights are there, and only the head has something to do."""
    engine, rays = lab.containers("node00")["onecc-vllm"], lab.rays()
    play = lab.play("deploy")
    assert play.rc == 0, play.why
    assert set(play.changed()) == {"node00"}
    assert lab.containers("node00")["onecc-vllm"] != engine
    assert lab.rays() == rays
    served = lab.client().models.list().data[0]
    assert (served.id, served.max_model_len) == (MODEL, 2048)
    assert lab.ask().choices[0].finish_reason == "stop"
    assert "previous" not in lab.on("node00", "docker ps --all; ls /var/lib/onecc")


def test_reboot_of_all_nodes(lab):
    """Nobody runs anything: the engine and systemd bring it back."""
    before = lab.ask().choices[0].message.content
    nodes = ["onecc-lab-%s" % node for node in lab.nodes]
    subprocess.run(["docker", "restart", "--time", "20", *nodes], check=True, timeout=120)
    after = lab.ask_until(240).choices[0].message.content
    assert max(lab.gap(QUESTION, text) for text in (before, after)) <= TIE
    assert lab.gap(QUESTION, "The 2020 World Series was played in Berlin.") > TIE
    assert "2.0/2.0 GPU" in lab.ray_status()
