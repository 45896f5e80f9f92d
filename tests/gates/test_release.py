# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release consists of, and that it works where there is nothing else."""

import importlib.metadata
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import packaging.requirements
import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))
# What users read; a checkout of this repository has other commands, such as those of CONTRIBUTING.md.
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("**/*.md"))]


def documented(program):
    """The command lines of a program that users read, in blocks and within lines, each once."""
    found = set()
    for page in PAGES:
        code = re.findall(r"```console\n(.*?)```|`([^`\n]+)`", page.read_text(), flags=re.DOTALL)
        lines = "\n".join(block.replace("\\\n", " ") or words for block, words in code).splitlines()
        found |= {" ".join(line.split()) for line in lines if re.match(r"%s [^ ]" % program, line)}
    return sorted(found)


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
    # What it depends on comes with the package ansible, in versions that will do.
    run("ansible-galaxy", "collection", "install", "--offline", "-p", str(folder / "collections"), artifact, env=env)
    shutil.copy(ROOT / "inventories/1cc.ini", folder)
    folder.joinpath("deploy.yml").write_text("- import_playbook: onecc.vllm.deploy\n")
    return env, folder


@pytest.fixture
def run_there(user, ansible):
    """Runs a command line of Ansible's programs in that folder; gives what it says."""
    env, folder = user

    def start(command, **more):
        done = ansible(shlex.split(command), env | more, folder)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return start


@pytest.mark.parametrize("command", documented("ansible-playbook"))
def test_documented_playbooks(run_there, command):
    """With their arguments, where there is nothing but the collection: Ansible finds and reads all of it."""
    if command == "ansible-playbook deploy.yml -i 1cc.ini":
        assert "playbook: deploy.yml" in run_there(command + " --syntax-check")
        return
    playbook = re.match(r"ansible-playbook onecc\.vllm\.(\w+) -i (?:1cc\.ini|localhost,)", command)
    assert playbook, "expected onecc.vllm.NAME or deploy.yml with an inventory, found: %s" % command
    assert "playbooks/%s.yml" % playbook[1] in run_there(command + " --syntax-check")


def test_documented_looks(run_there):
    """Single tasks on some of the sample's nodes."""
    commands = documented("ansible")
    assert commands
    for command in commands:
        assert "    node00\n" in run_there(command + " --list-hosts")


def test_all_playbooks_are_documented():
    text = "\n".join(documented("ansible-playbook"))
    assert set(re.findall(r"onecc\.vllm\.(\w+)", text)) == set(PLAYBOOKS)


def test_documented_tags(run_there):
    """Each that is named is there, and there are no others."""
    out = run_there("ansible-playbook deploy.yml -i 1cc.ini --list-tags")
    found = set(re.findall(r"\w+", " ".join(re.findall(r"TAGS: \[(.*)\]", out)))) - {"always"}
    page = (ROOT / "docs/howto/phases.md").read_text()
    named = re.search(r"chosen by tags: (.*?)\.\n", page, flags=re.DOTALL)[1]
    assert set(re.findall(r"`(\w+)`", named)) == found


@pytest.mark.parametrize("command", documented("ansible-doc"))
def test_documented_help(run_there, command):
    assert "onecc.vllm" in run_there(command)


def test_every_role_has_help(run_there):
    """As the README has it for one of them, "and likewise" for others."""
    text = (ROOT / "README.md").read_text()
    roles = ["onecc.vllm.%s" % path.name for path in sorted((ROOT / "roles").iterdir())]
    assert [role for role in roles if "`%s`" % role.split(".")[2] not in text and role + "`" not in text] == []
    out = run_there("ansible-doc -t role " + " ".join(roles), NO_COLOR="1")
    assert sorted(re.findall(r"^> ROLE: \*([\w.]+)\*", out, flags=re.MULTILINE)) == roles


def test_documented_installation():
    """What pip is to install is what all tests run with; the fixture above installs the collection itself."""
    commands = documented("pip install")
    assert commands
    for command in commands:
        dry = command.replace("pip install", "%s -m pip install --dry-run --no-index" % sys.executable)
        assert "Would install" not in run("bash", "-c", dry)
    assert set(documented("ansible-galaxy")) == {
        "ansible-galaxy collection build",
        "ansible-galaxy collection install",
        "ansible-galaxy collection install onecc.vllm",
    }


def test_a_deployment_of_one_line(run_there):
    """As the README has it."""
    assert "onecc.vllm.model_download" in run_there("ansible-playbook deploy.yml -i 1cc.ini --list-tasks")
    plan = "-e plan_nodes=1 -e plan_gpus_per_node=8 -e plan_gpu_memory_mib=81559"
    out = run_there("ansible-playbook onecc.vllm.plan -i localhost, %s --list-tasks" % plan)
    assert "play #1 (localhost)" in out


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
