# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Known advisories for what is pinned: vLLM, Ray, the tools on the nodes, the environment of the controller."""

import json
import pathlib
import re
import subprocess

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
LOCKS = ["roles/env_setup/files/tools-requirements.txt", "requirements/dev.txt"]


def serving():
    """What is in the serving image, as requirements."""
    defaults = yaml.safe_load((ROOT / "roles/cluster/defaults/main.yml").read_text())
    tag = re.fullmatch(r".*:v(\d+\.\d+\.\d+)", defaults["cluster_base_image"])
    return "vllm==%s\nray==%s\n" % (tag[1], defaults["cluster_ray_version"])


def audited(lock):
    """What pip-audit says of each package that it could look up."""
    words = ["pip-audit", "--disable-pip", "--no-deps", "--progress-spinner", "off", "--format", "json"]
    done = subprocess.run([*words, "-r", str(lock)], capture_output=True, text=True, timeout=600, check=False)
    # It ends with 1 for advisories and for errors.
    if not done.stdout.startswith("{"):
        assert "ConnectionError" in done.stderr, done.stderr
        return []
    return [each for each in json.loads(done.stdout)["dependencies"] if "skip_reason" not in each]


def new(found, known):
    """The advisories that nobody has looked at."""
    bugs = [(each, bug) for each in found for bug in each["vulns"]]
    return ["%s %s: %s" % (each["name"], each["version"], bug["id"]) for each, bug in bugs if bug["id"] not in known]


# As pip-audit's own documentation shows its JSON.
FLASK = {
    "name": "flask",
    "version": "0.5",
    "vulns": [
        {"id": "PYSEC-2019-179", "fix_versions": ["1.0"], "aliases": ["CVE-2019-1010083"], "description": "…"},
        {"id": "PYSEC-2018-66", "fix_versions": ["0.12.3"], "aliases": ["CVE-2018-1000656"], "description": "…"},
    ],
}


@pytest.mark.parametrize(
    ("known", "left"),
    [
        ({}, ["flask 0.5: PYSEC-2019-179", "flask 0.5: PYSEC-2018-66"]),
        ({"PYSEC-2019-179": {}}, ["flask 0.5: PYSEC-2018-66"]),
        ({"PYSEC-2019-179": {}, "PYSEC-2018-66": {}}, []),
    ],
)
def test_new(known, left):
    assert new([{"name": "jinja2", "version": "3.0.2", "vulns": []}, FLASK], known) == left


@pytest.mark.parametrize("name", ["the serving image", *LOCKS])
def test_every_advisory_was_looked_at(tmp_path, name):
    lock = ROOT / name
    if name not in LOCKS:
        lock = tmp_path / "requirements.txt"
        lock.write_text(serving())
    found = audited(lock)
    if not found:
        pytest.skip("not run: no advisories can be looked up from here")
    assert new(found, yaml.safe_load((ROOT / "tests/gates/advisories.yml").read_text())) == []
