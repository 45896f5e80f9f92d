# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The example for pipelines, on real runs of ansible-runner."""

import importlib.util
import json
import pathlib
import re

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("ci_deploy", ROOT / "examples/ci/deploy.py")
ci = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ci)

PLAY = """
- name: A play
  hosts: all
  gather_facts: false
  tasks:
"""
TASKS = {
    "change": "    - ansible.builtin.file: {path: '{{ playbook_dir }}/made', state: touch, mode: '0600'}\n",
    "fail": "    - ansible.builtin.fail: {msg: [two, lines]}\n",
    "rescued": "    - block: [{ansible.builtin.fail: {msg: oh}}]\n      rescue: [{ansible.builtin.debug: {}}]\n",
    "ask": "    - onecc.vllm.openai_query: {base_url: '{{ url }}', question: '?'}\n",
}
HERE = "ansible_connection=local ansible_python_interpreter={{ansible_playbook_python}}"
# Nobody listens on port 1 of this machine.
AWAY = "ansible_host=127.0.0.1 ansible_port=1"


@pytest.fixture
def endpoint(replay):
    models = {"object": "list", "data": [{"id": "m", "object": "model", "created": 1, "owned_by": "vllm"}]}
    message = {"role": "assistant", "content": "In Arlington."}
    answer = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4},
    }
    bodies = {"/v1/models": models, "/v1/chat/completions": answer}
    served = replay({path: (200, "application/json", json.dumps(body).encode()) for path, body in bodies.items()})
    return served.url + "/v1"


@pytest.mark.parametrize(
    ("tasks", "host", "told"),
    [
        (["ask"], HERE, {"status": "served", "answer": "In Arlington.", "changed": [], "reason": None}),
        (["change", "ask"], HERE, {"status": "served", "exit_status": 0, "changed": ["node"]}),
        (["rescued", "ask"], HERE, {"status": "served", "failed": [], "reason": None}),
        (["fail"], HERE, {"status": "refused", "exit_status": 2, "failed": ["node"], "reason": "two lines"}),
        (["change", "fail"], HERE, {"status": "failed", "exit_status": 1, "changed": ["node"], "answer": None}),
        # A run that asks nothing has not shown that anything is served.
        (["change"], HERE, {"status": "failed", "answer": None, "failed": [], "reason": None}),
        (["change"], AWAY, {"status": "unreachable", "exit_status": 3, "unreachable": ["node"], "failed": []}),
    ],
    ids=["served", "changed", "rescued", "refused", "failed", "nothing-asked", "unreachable"],
)
def test_deploy(tmp_path, monkeypatch, capsys, endpoint, tasks, host, told):
    monkeypatch.setenv("ANSIBLE_CONFIG", str(ROOT / "ansible.cfg"))
    monkeypatch.setenv("HF_TOKEN", "hf_of-the-pipeline")
    playbook = tmp_path / "play.yml"
    playbook.write_text(PLAY + "".join(TASKS[task] for task in tasks))
    inventory = tmp_path / "hosts.ini"
    inventory.write_text("node %s\n[all:vars]\nurl=%s\n" % (host, endpoint))
    summary = ci.deploy(inventory, tmp_path / "artifacts", playbook)
    assert {name: summary[name] for name in told} == told
    assert summary["seconds"] > 0
    out = capsys.readouterr().out
    assert "\nA play\n" in out
    assert ("    node: changed\n" in out) == bool(summary["changed"])
    if "fail" in tasks:
        assert "    node: two lines\n" in out
    # What ansible-runner keeps is there to be looked at.
    kept = [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()]
    assert "stdout" in [path.name for path in kept]
    # Others may look at it: no secrets of the environment.
    assert [path for path in kept if b"hf_of-the-pipeline" in path.read_bytes()] == []


@pytest.mark.parametrize("name", ["github-actions.yml", "gitlab-ci.yml"])
def test_workflows(name):
    """They run the example with arguments that it has, install what it needs, and pass on all secrets of README.md."""
    text = (ROOT / "examples/ci" / name).read_text()
    steps = yaml.safe_load(text)["jobs" if "github" in name else "deploy"]
    commands = re.findall(r"python3 deploy\.py .*", json.dumps(steps).replace('"', "\n"))
    assert len(commands) == 1
    options, words = ci.arguments().parse_known_args(commands[0].split()[2:])
    assert (options.inventory, words) == ("1cc.ini", [])
    assert options.words[:1] == ["-e"]
    readme = (ROOT / "examples/ci/README.md").read_text()
    secrets = set(re.findall(r"`([A-Z_]{6,})`", readme))
    assert secrets == {"HF_TOKEN", "SSH_PRIVATE_KEY", "ENDPOINT_API_KEY"}
    assert [secret for secret in secrets if secret not in text] == []
    for line in re.findall(r"^ *pip install .*|^ *ansible-galaxy .*", text.replace("- ", "  "), flags=re.MULTILINE):
        assert line.strip() in " ".join(ci.__doc__.split())
