# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation: it builds without a warning, holds all that there is, and names nothing that there is not."""

import html
import pathlib
import re
import subprocess
import sys

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLAYBOOKS = {path.stem for path in (ROOT / "playbooks").glob("*.yml")}
# One folder, and the kind of its pages.
PLUGINS = {"modules": "module", "filter": "filter", "lookup": "lookup", "inventory": "inventory"}
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("**/*.md")],
    key=lambda page: str(page.relative_to(ROOT)),
)


def variables():
    """The variables of all roles."""
    found = set()
    for path in (ROOT / "roles").glob("*/meta/argument_specs.yml"):
        for entry in yaml.safe_load(path.read_text())["argument_specs"].values():
            found |= set(entry.get("options", {}))
    return found


def settable():
    """What may be given with -e: those, and what only playbooks read."""
    text = "".join(path.read_text() for path in (ROOT / "playbooks").glob("*.yml"))
    return variables() | set(re.findall(r"\b(?:plan|rotate)_[a-z_]+\b", text)) | {"lab_purge"}


def targets():
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built pages."""
    folder = tmp_path_factory.mktemp("docs")
    words = [sys.executable, ROOT / "docs/docsite/build.py", folder / "site"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site/html"


def test_plugins_and_roles_are_documented_as_antsibull_wants():
    words = [pathlib.Path(sys.executable).parent / "antsibull-docs", "lint-collection-docs", "--plugin-docs", "."]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_role_and_plugin_has_a_page(site):
    wanted = {"%s_role" % path.name for path in (ROOT / "roles").iterdir()}
    for folder, kind in PLUGINS.items():
        paths = (ROOT / "plugins" / folder).glob("*")
        # A Python file of filters holds several; each has a YAML file with its documentation.
        ending = ".yml" if kind == "filter" else ".py"
        wanted |= {"%s_%s" % (path.stem, kind) for path in paths if path.suffix == ending and path.stem != "__init__"}
    missing = {name for name in wanted if not (site / "reference" / (name + ".html")).is_file()}
    assert missing == set()


def test_every_playbook_has_a_how_to():
    text = "".join(path.read_text() for path in (ROOT / "docs/howto").glob("*.md"))
    assert PLAYBOOKS - set(re.findall(r"ansible-playbook onecc\.vllm\.([a-z_]+)", text)) == set()


def test_every_variable_is_in_the_table(site):
    text = (site / "variables.html").read_text()
    shown = set(re.findall(r'<td><p><code[^>]*><span class="pre">([a-z_]+)</span></code></p></td>', text))
    assert variables() - shown == set()


def test_every_cause_is_a_section(site):
    """Under the id that the tools name."""
    text = html.unescape((site / "troubleshooting.html").read_text())
    catalogue = (ROOT / "plugins/module_utils/catalogue.py").read_text()
    causes = re.findall(r'^    Cause\(\n        "([a-z-]+)",$', catalogue, flags=re.MULTILINE)
    assert causes
    assert [cause for cause in causes if "<h2>%s<" % cause not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_name_what_there_is(page):
    """In blocks of code and within lines."""
    found = re.findall(r"```\w*\n(.*?)```|`([^`\n]+)`", page.read_text(), flags=re.DOTALL)
    code = "\n".join(block or words for block, words in found)
    named = set(re.findall(r"(?:ansible-playbook|import_playbook:) onecc\.vllm\.([a-z_]+)", code))
    named |= set(re.findall(r"playbooks/([a-z_]+)\.yml", code))
    assert named - PLAYBOOKS == set(), "playbooks that are not there"
    assert set(re.findall(r"(?:^|\s)-e ([a-z_]+)=", code)) - settable() == set(), "variables that are not there"
    assert set(re.findall(r"(?:^|\s)make ([a-z-]+)", code)) - targets() == set(), "targets that are not there"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page):
    """As they stand in the repository, where the site's own pages are not made yet."""
    made = {"troubleshooting.md", "variables.md"}
    home = ROOT / "docs" if page.parent.name == "docsite" else page.parent
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    assert [
        link for link in links
        if not link.startswith("https://") and link not in made and not (home / link).exists()
    ] == []  # fmt: skip
