# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release consists of, and that it works where there is nothing else."""

import importlib.metadata
import os
import pathlib
import shutil
import subprocess

import packaging.requirements
import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))


def run(*words, folder=ROOT, env=None):
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    out = run("ansible-galaxy", "collection", "build", "--output-path", str(tmp_path_factory.mktemp("artifact")))
    return out.strip().split()[-1]


def test_artifact_holds_the_collection_and_nothing_else(artifact):
    """No lab, no tests, no caches."""
    names = run("tar", "tzf", artifact).split()
    tops = {name.split("/")[0] for name in names if name}
    assert tops <= {
        "CHANGELOG.rst", "FILES.json", "LICENSE", "MANIFEST.json", "README.md", "SECURITY.md", "changelogs", "docs",
        "inventories", "meta", "playbooks", "plugins", "roles",
    }  # fmt: skip
    assert not [name for name in names if name.startswith("inventories/lab") or "__pycache__" in name]


@pytest.fixture(scope="module")
def user(artifact, tmp_path_factory):
    """An empty folder with the artifact installed and the sample inventory: the environment and the folder."""
    folder = tmp_path_factory.mktemp("user")
    env = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    env |= {"HOME": str(folder), "ANSIBLE_COLLECTIONS_PATH": str(folder / "collections")}
    run("ansible-galaxy", "collection", "install", "--no-deps", "-p", str(folder / "collections"), artifact, env=env)
    shutil.copy(ROOT / "inventories/1cc.ini", folder)
    return env, folder


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_every_playbook_is_found_by_its_name(user, playbook):
    env, folder = user
    words = ["ansible-playbook", "onecc.vllm.%s" % playbook, "-i", "1cc.ini", "--syntax-check"]
    assert "playbooks/%s.yml" % playbook in run(*words, env=env, folder=folder)


def test_a_deployment_of_one_line(user):
    """As the README has it."""
    env, folder = user
    folder.joinpath("deploy.yml").write_text("- import_playbook: onecc.vllm.deploy\n")
    tasks = run("ansible-playbook", "deploy.yml", "-i", "1cc.ini", "--list-tasks", env=env, folder=folder)
    assert "onecc.vllm.model_download" in tasks
    plan = ["-e", "plan_nodes=1", "-e", "plan_gpus_per_node=8", "-e", "plan_gpu_memory_mib=81559"]
    assert "play #1 (localhost)" in run(
        "ansible-playbook", "onecc.vllm.plan", "-i", "localhost,", *plan, "--list-tasks", env=env, folder=folder
    )


def test_execution_environment(user):
    """What ansible-builder reads of an installed collection is there, and names what the modules import."""
    installed = user[1] / "collections/ansible_collections/onecc/vllm"
    told = yaml.safe_load((installed / "meta/execution-environment.yml").read_text())["dependencies"]
    assert set(told) == {"python", "system"}
    lines = {kind: (installed / name).read_text().splitlines() for kind, name in told.items()}
    wanted = [packaging.requirements.Requirement(line) for line in lines["python"] if not line.startswith("#")]
    assert [each.name for each in wanted] == ["huggingface_hub"]
    # The version that everything here is tested with.
    assert wanted[0].specifier.contains(importlib.metadata.version("huggingface_hub"))
    assert any(line.startswith("openssh-clients ") for line in lines["system"])


def test_version_changelog_and_tag_agree():
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
    released = yaml.safe_load((ROOT / "changelogs/changelog.yaml").read_text())["releases"]
    fragments = list((ROOT / "changelogs/fragments").glob("*.yml"))
    tags = [tag for tag in run("git", "tag", "--points-at", "HEAD").split() if tag.startswith("v")]
    # Before its release a version has fragments; afterwards it has an entry.
    assert version in released or fragments
    assert all(tuple(map(int, other.split("."))) <= tuple(map(int, version.split("."))) for other in released)
    assert tags in ([], ["v" + version])
    assert not tags or version in released
