# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation: it builds without a warning, holds all that there is, and names nothing that there is not."""

import html
import os
import pathlib
import re
import subprocess
import sys

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
COLLECTIONS = ROOT / "build/collections"
PLAYBOOKS = {path.stem for path in (ROOT / "playbooks").glob("*.yml")}
# One folder, and the kind of its pages.
PLUGINS = {"modules": "module", "filter": "filter", "lookup": "lookup", "inventory": "inventory"}
NAMES = {path.stem for path in (ROOT / "plugins").glob("*/*.*")}
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("**/*.md"), *(ROOT / "examples").glob("*/README.md")],
    key=lambda page: str(page.relative_to(ROOT)),
)


def variables():
    """The variables of all roles."""
    found = set()
    for path in (ROOT / "roles").glob("*/meta/argument_specs.yml"):
        for entry in yaml.safe_load(path.read_text())["argument_specs"].values():
            found |= set(entry.get("options", {}))
    return found


class Loader(yaml.SafeLoader):
    """Knows the tag of what Ansible Vault has encrypted."""


Loader.add_constructor("!vault", lambda loader, node: loader.construct_scalar(node))


def unknown(names):
    """Names that are neither variables of roles nor of Ansible itself."""
    return {name for name in names if not name.startswith("ansible_")} - variables()


def read_yaml(text, folder, run):
    """A playbook as Ansible reads it, or variables that there are."""
    given = yaml.load(text, Loader)
    if isinstance(given, list):
        (folder / "play.yml").write_text(text)
        run("ansible-playbook", "-i", str(ROOT / "inventories/1cc.ini"), "--syntax-check", "play.yml")
    else:
        assert unknown(given) == set(), "variables that are not there"


def read_inventory(text, folder, run):
    """An inventory as Ansible reads it: one head, workers, and variables that there are."""
    (folder / "1cc.ini").write_text(text)
    hosts = yaml.safe_load(run("ansible-inventory", "-i", "1cc.ini", "--list"))
    assert len(hosts["head"]["hosts"]) == 1
    assert hosts["workers"]["hosts"]
    for given in hosts["_meta"]["hostvars"].values():
        assert given
        assert unknown(given) == set(), "variables that are not there"


def read_console(text, _folder, _run):
    """Commands that bash can read; which of them there are is the matter of other tests."""
    done = subprocess.run(["bash", "-n", "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# What is done with a block of code, by its language.
READERS = {
    "yaml": read_yaml,
    "ini": read_inventory,
    "console": read_console,
    "python": lambda text, _folder, _run: compile(text, "block", "exec"),
    # What programs print, and drawings.
    "text": lambda _text, _folder, _run: None,
}


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_of_code_can_be_read(page, tmp_path, ansible):
    env = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}

    def run(*words):
        done = ansible(words, env, tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    blocks = re.findall(r"^```(\S*)\n(.*?)^```$", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    # Blocks that are the site's own, such as its navigation.
    blocks = [(language, text) for language, text in blocks if not language.startswith("{")]
    assert {language for language, _text in blocks} - set(READERS) == set(), "languages that nothing here can read"
    for language, text in blocks:
        READERS[language](text, tmp_path, run)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_variables_in_lines_are_there(page):
    """Whatever begins with the name of a role; a star stands for several."""
    roles = {path.name for path in (ROOT / "roles").iterdir()}
    words = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL))
    pattern = r"(?<![\w./])((?:%s)_[a-z0-9_]+)(\*?)" % "|".join(sorted(roles))
    found = re.findall(pattern, "\n".join(words))
    known = variables() | roles | NAMES
    assert {name for name, star in found if not star} - known == set(), "variables that are not there"
    assert [name for name, star in found if star and not any(each.startswith(name) for each in known)] == []
