# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The quality gates: each tool is one test, with no rule skipped."""

import json
import pathlib
import re
import subprocess

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())


def run(*words, folder=ROOT):
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
        ["yamllint", "--strict", "."],
        ["ansible-lint", "--offline", "--profile", "production", "--strict"],
        ["antsibull-changelog", "lint"],
        ["shellcheck", ".ci/run", *map(str, ROOT.glob("tests/**/*.sh"))],
    ],
    ids=lambda words: "-".join(words[:2]),
)
def test_lint(words):
    run(*words)


@pytest.mark.parametrize("role", ROLES)
def test_defaults_and_argument_specs_agree(role):
    """Every variable of a role is specified; every literal default says the same in both places."""
    folder = ROOT / "roles" / role
    defaults = yaml.safe_load((folder / "defaults/main.yml").read_text()) or {}
    specs = yaml.safe_load((folder / "meta/argument_specs.yml").read_text())["argument_specs"]
    options = {}
    for entry in specs.values():
        options.update(entry.get("options", {}))
    # Required ones have no default, by design: a message of ours names them when they are missing.
    required = {"cluster_shared_dir", "model_download_repo"}
    required |= {name for name, option in options.items() if option.get("required")}
    assert set(defaults) == set(options) - required
    for name, value in defaults.items():
        if "{{" not in str(value):
            assert options[name].get("default") == value, name


def test_every_variable_is_used():
    """A variable that nothing reads is a promise that nothing keeps."""
    text = "".join(
        re.sub(r"^\s*#.*", "", path.read_text(), flags=re.MULTILINE)
        for pattern in ("roles/*/tasks/*.yml", "roles/*/vars/*.yml", "roles/*/defaults/*.yml", "roles/*/templates/*")
        for path in ROOT.glob(pattern)
    )
    for role in ROLES:
        for name in yaml.safe_load((ROOT / "roles" / role / "defaults/main.yml").read_text()) or {}:
            assert len(re.findall(r"\b%s\b" % name, text)) > 1, "%s of role %s is read nowhere" % (name, role)


def test_every_module_and_filter_has_documentation():
    """ansible-doc can show all of them."""
    folders = {
        "module": "modules/*.py",
        "lookup": "lookup/*.py",
        "inventory": "inventory/*.py",
        "filter": "filter/*.yml",
    }
    for kind, pattern in folders.items():
        names = ["onecc.vllm." + path.stem for path in (ROOT / "plugins").glob(pattern)]
        shown = json.loads(run("ansible-doc", "-t", kind, "--json", *names))
        assert [name for name in names if not shown.get(name, {}).get("examples")] == []


def test_sample_inventory():
    """inventories/1cc.ini is read by Ansible as its comments say."""
    shown = yaml.safe_load(run("ansible-inventory", "-i", "inventories/1cc.ini", "--list", "--yaml"))
    children = shown["all"]["children"]
    assert list(children["head"]["hosts"]) == ["node00"]
    assert list(children["workers"]["hosts"]) == ["node01"]
    variables = children["head"]["hosts"]["node00"]
    shown = run("ansible", "node00", "-i", "inventories/1cc.ini", "-m", "debug", "-a", "var=ansible_ssh_common_args")
    # ssh takes what follows -F as it stands.
    assert "-F %s/.ssh/config.d/cluster-config" % pathlib.Path.home() in shown
    assert variables["vllm_serve_args"] == {"max-model-len": 32768, "gpu-memory-utilization": 0.92}
    assert variables["cluster_shared_dir"] == "/home/ubuntu/shared"


def test_security_md_names_tests_that_exist():
    """What SECURITY.md promises is held by the tests it names, and its settings are there."""
    text = (ROOT / "SECURITY.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", text))
    tests = (ROOT / "tests/integration/test_security.py").read_text()
    assert named
    assert [name for name in named if "def %s(" % name not in tests] == []
    specified = set()
    for path in ROOT.glob("roles/*/meta/argument_specs.yml"):
        for entry in yaml.safe_load(path.read_text())["argument_specs"].values():
            specified |= set(entry.get("options", {}))
    settings = set(re.findall(r"`((?:cluster|endpoint|firewall)_\w+)`", text))
    assert settings - specified == set()


def test_scenarios_of_molecule():
    """A scenario is one file; the playbooks that it names are there, and Ansible can read them."""
    files = sorted((ROOT / "molecule").rglob("*.yml"))
    scenarios = [path for path in files if path.parent.name != "shared"]
    assert {path.name for path in scenarios} == {"molecule.yml"}
    text = "".join(path.read_text() for path in [ROOT / ".config/molecule/config.yml", *scenarios])
    named = {ROOT / name for name in re.findall(r"\$\{MOLECULE_PROJECT_DIRECTORY\}/(\S+\.yml)", text)}
    assert [path for path in named if not path.is_file()] == []
    assert set(files) - set(scenarios) - named == set(), "playbooks that no scenario has"
    run("ansible-playbook", "-i", "inventories/1cc.ini", "--syntax-check", *map(str, named))
