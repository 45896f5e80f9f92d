# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples of plugins: each is read as Ansible reads it, and says only what the plugin's documentation knows."""

import json
import os
import pathlib
import re
import subprocess

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

ROOT = pathlib.Path(__file__).resolve().parents[2]
KINDS = ["module", "filter", "lookup", "inventory"]
# What some of Ansible's own documentation calls types.
LONG = {"boolean": "bool", "integer": "int", "string": "str", "dictionary": "dict"}
SAMPLES = sorted(path.name for path in (ROOT / "inventories").glob("*.yml"))


def run(*words, folder=ROOT):
    env = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def plugins():
    """What ansible-doc knows, by kind and name."""
    found = json.loads(run("ansible-doc", "--metadata-dump", "onecc.vllm"))["all"]
    return {kind: found[kind] for kind in KINDS}


def specification(options, given):
    """Documented options as Ansible's own check wants them. A value that is an expression may become anything."""
    spec = {}
    for name, option in (options or {}).items():
        spec[name] = {key: option[key] for key in ("required", "choices", "aliases", "default") if key in option}
        if any("{{" in str(given.get(alias, "")) for alias in [name, *option.get("aliases", [])]):
            spec[name].pop("choices", None)
            spec[name]["type"] = "raw"
            continue
        spec[name]["type"] = LONG.get(option.get("type"), option.get("type", "str"))
        if "elements" in option:
            spec[name]["elements"] = option["elements"]
        if option.get("suboptions"):
            spec[name]["options"] = specification(option["suboptions"], {})
    return spec


def wrong(options, given):
    """What is the matter with what a task gives to a plugin with these options."""
    return ArgumentSpecValidator(specification(options, given)).validate(given).error_messages


def test_wrong_options_are_found():
    options = {"path": {"type": "path", "required": True}, "count": {"type": "int"}}
    assert wrong(options, {"path": "/a", "count": "{{ 1 }}"}) == []
    assert "missing required arguments: path" in wrong(options, {"count": 1})
    assert len(wrong(options, {"path": "/a", "other": 1})) == 1
    assert len(wrong(options, {"path": "/a", "count": "many"})) == 1


def test_examples_are_tasks_with_options_that_there_are(plugins, tmp_path):
    """And Ansible knows every module and keyword in them."""
    tasks = []
    for kind in ("module", "filter", "lookup"):
        for name, plugin in plugins[kind].items():
            examples = yaml.safe_load(plugin["examples"])
            assert examples, name
            used = [task for task in examples if name in task]
            assert used if kind == "module" else name in plugin["examples"], "%s: no example has it" % name
            for task in examples:
                for module in set(task) & set(plugins["module"]):
                    options = plugins["module"][module]["doc"].get("options")
                    assert wrong(options, task[module] or {}) == [], "%s: %s" % (name, task["name"])
            tasks += examples
    play = [{"name": "Examples", "hosts": "localhost", "gather_facts": False, "tasks": tasks}]
    (tmp_path / "examples.yml").write_text(yaml.safe_dump(play, sort_keys=False))
    run("ansible-playbook", "-i", "localhost,", "--syntax-check", str(tmp_path / "examples.yml"))


def test_examples_of_filters_give_what_they_say(plugins, tmp_path):
    """Those with the result as a comment below."""
    given, expected = {}, {}
    for name, plugin in plugins["filter"].items():
        told = re.findall(r"^ +# (.+)$", plugin["examples"], flags=re.MULTILINE)
        if told:
            given[name] = yaml.safe_load(plugin["examples"])[0]["ansible.builtin.debug"]["msg"]
            expected[name] = yaml.safe_load(told[0])
    assert len(expected) >= 6
    task = {"name": "Keep", "ansible.builtin.copy": {"content": "{{ given | to_json }}", "dest": str(tmp_path / "out")}}
    play = {"name": "Filters", "hosts": "localhost", "connection": "local", "gather_facts": False}
    play["vars"] = {"given": given, "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([{**play, "tasks": [task]}]))
    run("ansible-playbook", "-i", "localhost,", str(tmp_path / "play.yml"))
    assert json.loads((tmp_path / "out").read_text()) == expected


def test_examples_of_inventories(plugins):
    """Those of the documentation and the samples: options that there are, and variables that roles have."""
    known = set()
    for role in json.loads(run("ansible-doc", "-t", "role", "--metadata-dump", "onecc.vllm"))["all"]["role"].values():
        for entry in role["entry_points"].values():
            known |= set(entry.get("options", {}))
    texts = [plugin["examples"] for plugin in plugins["inventory"].values()]
    texts += [(ROOT / "inventories" / name).read_text() for name in SAMPLES]
    found = [example for text in texts for example in yaml.safe_load_all(text)]
    assert len(found) >= len(plugins["inventory"]) + len(SAMPLES)
    for example in found:
        options = plugins["inventory"][example["plugin"]]["doc"]["options"]
        assert wrong(options, example) == [], example
        own = {name for name in example.get("compose", {}) if not name.startswith("ansible_")}
        assert own - known == set(), "variables that are not there"
