#!/usr/bin/env python
# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings the pages of the documentation together and builds the site: build.py [FOLDER], build/docs without one.

What stands in the code is taken from there: the variables from the roles' specifications, the causes from the
catalogue, plugins and roles by antsibull-docs. Nothing is fetched.
"""

from __future__ import annotations

import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import sys

import yaml
from antsibull_docs_parser import dom
from antsibull_docs_parser.parser import Context, Whitespace, parse

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
COLLECTIONS = ROOT / "build/collections"
KINDS = "module|filter|lookup|inventory|role"


def main():
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build/docs"
    source = out / "source"
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(ROOT / "docs", source, ignore=shutil.ignore_patterns("docsite"))
    for name in ("conf.py", "index.md", "static"):
        copy = shutil.copytree if (HERE / name).is_dir() else shutil.copy
        copy(HERE / name, source / name)
    (source / "variables.md").write_text(variables())
    (source / "troubleshooting.md").write_text(troubleshooting())
    reference(source / "reference")
    words = ["-b", "html", "-W", "--keep-going", "--quiet", "-d", out / "doctrees"]
    run(sys.executable, "-m", "sphinx", *words, source, out / "html")
    print(out / "html/index.html")


def reference(folder):
    """Plugins and roles."""
    # antsibull-docs writes into a folder that nobody else can write to.
    folder.mkdir(mode=0o755)
    link = COLLECTIONS / "ansible_collections/onecc/vllm"
    if not link.exists():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(ROOT)
    words = ["--config-file", HERE / "antsibull-docs.cfg", "collection", "--use-current", "--squash-hierarchy"]
    words += ["--fail-on-error", "--dest-dir", folder, "onecc.vllm"]
    run(
        pathlib.Path(sys.executable).parent / "antsibull-docs",
        *words,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)},
    )
    for page in folder.glob("*.rst"):
        # The theme shows the contents of a page beside it.
        words = re.sub(r"^\.\. contents::\n( +:.*\n)+", "", page.read_text(), flags=re.MULTILINE)
        page.write_text(main_first(words))
    index = folder / "index.rst"
    words = index.read_text().replace("Onecc.Vllm\n==========", "Plugins and roles\n=================")
    # The navigation has room for a name, not for a whole title.
    index.write_text(re.sub(r"^    (\w+)_(%s)$" % KINDS, r"    \1 (\2) <\1_\2>", words, flags=re.MULTILINE))


def main_first(page):
    """The entry points of a role with main before the others; antsibull-docs has them by the alphabet."""
    parts = re.split(r"^(?=\.\. _ansible_collections\.[\w.]+__entrypoint-\w+:$)", page, flags=re.MULTILINE)
    end = re.search(r"^\.\. Extra links$", parts[-1], flags=re.MULTILINE)
    if len(parts) < 3 or not end:
        return page
    parts[-1], rest = parts[-1][: end.start()], parts[-1][end.start() :]
    entries = sorted(parts[1:], key=lambda part: "__entrypoint-main:" not in part.splitlines()[0])
    return "".join([parts[0], *entries, rest])


def run(*words, **more):
    done = subprocess.run([str(word) for word in words], check=False, **more)
    if done.returncode != 0:
        sys.exit(done.returncode)


def variables():
    """Every variable of every role, each once."""
    lines = ["# All variables", ""]
    lines += [
        "Set them in the inventory, in `group_vars`, or with `-e`. Those of the role `cluster` are for all roles.",
        "",
    ]
    for path in sorted((ROOT / "roles").glob("*/meta/argument_specs.yml")):
        role = path.parts[-3]
        entries = yaml.safe_load(path.read_text())["argument_specs"]
        lines += ["## %s" % role, "", "%s." % entries["main"]["short_description"], ""]
        lines += [":::{list-table}", ":header-rows: 1", ":class: variables", ":widths: 31 11 17 41", ""]
        lines += ["* - Variable", "  - Type", "  - Default", "  - What it is"]
        for name, (option, entry) in specified(entries).items():
            lines += [
                "* - `%s`" % name,
                "  - %s" % kind(option),
                "  - %s" % default(option),
                "  - %s" % text(option, entry),
            ]
        lines += [":::", ""]
    return "\n".join(lines)


def specified(entries):
    """The options of a role with the entry point that has them, those of main first."""
    found = {}
    for entry in sorted(entries, key=lambda entry: entry != "main"):
        for name, option in entries[entry].get("options", {}).items():
            found.setdefault(name, (option, entry))
    return found


def kind(option):
    if "elements" in option:
        return "list of %s" % option["elements"]
    return {"raw": "any"}.get(option["type"], option["type"])


def default(option):
    # Some are required by a message of the role itself, and say so.
    if option.get("required") or "Required" in str(option["description"]):
        return "required"
    if "default" not in option:
        return "see text"
    value = option["default"]
    if isinstance(value, list):
        return ", ".join("`%s`" % item for item in value) or "none"
    if isinstance(value, dict) and value:
        return ", ".join("`%s: %s`" % pair for pair in value.items())
    if isinstance(value, bool):
        return "`%s`" % str(value).lower()
    return "`%s`" % value if value not in ("", {}) else "empty" if value == "" else "none"


def text(option, entry):
    given = option["description"]
    words = plain(" ".join([given] if isinstance(given, str) else given))
    if "choices" in option:
        words += " One of %s." % ", ".join("`%s`" % choice for choice in option["choices"])
    return words if entry == "main" else "%s (Entry point `%s`.)" % (words, entry)


def plain(words):
    """Ansible's markup as Markdown."""
    parts = []
    for part in parse(words, Context(), whitespace=Whitespace.STRIP)[0]:
        if part.type == dom.PartType.TEXT:
            parts.append(escape(part.text))
        elif part.type == dom.PartType.MODULE:
            parts.append("`%s`" % part.fqcn)
        elif part.type == dom.PartType.OPTION_NAME:
            parts.append("`%s`" % part.name)
        elif part.type == dom.PartType.OPTION_VALUE:
            parts.append("`%s`" % part.value)
        elif part.type == dom.PartType.CODE:
            parts.append("`%s`" % part.text)
        else:
            sys.exit("expected markup that the table of variables knows, found %s in: %s" % (part.type, words))
    return "".join(parts)


def marked(words):
    """The words of a cause, with variables and flags as code."""
    parts = re.split(r"((?<![\w-])--[a-z][\w=-]*|[A-Za-z0-9]+(?:_[A-Za-z0-9]+)+)", words)
    return "".join("`%s`" % part if number % 2 else escape(part) for number, part in enumerate(parts))


def escape(words):
    return re.sub(r"([*<_\[\]])", r"\\\1", words)


def troubleshooting():
    """The catalogue of causes, a section each."""
    path = ROOT / "plugins/module_utils/catalogue.py"
    spec = importlib.util.spec_from_file_location("catalogue", path)
    catalogue = importlib.util.module_from_spec(spec)
    # dataclasses look their module up.
    sys.modules["catalogue"] = catalogue
    spec.loader.exec_module(catalogue)
    lines = [*(HERE / "troubleshooting.md").read_text().splitlines(), ""]
    lines += ["| Id | What is the matter |", "| --- | --- |"]
    lines += ["| [%s](#%s) | %s |" % (cause.id, cause.id, marked(cause.problem)) for cause in catalogue.CAUSES]
    lines += [""]
    for cause in catalogue.CAUSES:
        lines += ["## %s" % cause.id, ""]
        problem = cause.problem[0].upper() + cause.problem[1:]
        lines += [
            "**%s.** The check: %s." % (marked(problem), marked(cause.title)),
            "",
            "What to do: %s" % marked(cause.remedy),
            "",
        ]
        if cause.patterns:
            words = "The line that shows it matches%s:" % (" one of" if len(cause.patterns) > 1 else "")
            lines += [words, "", "```text", *cause.patterns, "```", ""]
        if cause.symptom:
            lines += ["Often the consequence of another cause, which is then named instead.", ""]
        if cause.source:
            lines += ["Seen in: %s." % escape(cause.source), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
