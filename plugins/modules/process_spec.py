#!/usr/bin/python
# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: process_spec
short_description: Writes down a long-lived process that runs without a container engine
version_added: 0.1.0
description:
  - What a container that was made and not started is to the Docker Engine, a file is to the processes of a node. The
    programs that the module M(onecc.vllm.supervisor) installs start and stop what it describes.
  - What was there before stays beside the file, see the module M(onecc.vllm.container_generation).
  - Starts nothing. A process that runs by an earlier file is to be stopped first, by its unit.
author:
  - The onecc.vllm authors (@onecc)
options:
  name:
    description: Name of the process.
    type: str
    required: true
  directory:
    description: The folder on the node for the files and logs. It is made, for its owner alone.
    type: path
    required: true
  state:
    description: With V(absent) all that runs under the name is ended, and its files are removed but for the log.
    type: str
    default: present
    choices: [present, absent]
  argv:
    description: The command and its arguments. Required to have it.
    type: list
    elements: str
    default: []
  env:
    description: All of its environment.
    type: dict
    default: {}
  cwd:
    description: The folder it is started in.
    type: path
    default: /
  limits:
    description: Limits by their names in C(prlimit), such as nofile; -1 for none.
    type: dict
    default: {}
  capabilities:
    description: Those of Linux that are left to root. Without this, all that there are.
    type: list
    elements: str
  labels:
    description: What it goes by but does not read. A change makes another process.
    type: dict
    default: {}
  log_size:
    description: Bytes after which the next file of its log is begun.
    type: int
    default: 52428800
  log_files:
    description: How many files of the log are kept.
    type: int
    default: 5
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying the target.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: full
"""

EXAMPLES = r"""
- name: Have Ray
  onecc.vllm.process_spec:
    name: onecc-ray
    directory: /var/lib/onecc/processes
    argv: [ray, start, --block, --head]
    env:
      PATH: /home/ubuntu/shared/.onecc/venv/0123456789ab/bin:/usr/bin:/bin
    capabilities: [CAP_DAC_OVERRIDE]
"""

RETURN = r"""
file:
  description: The file.
  returned: always
  type: str
  sample: /var/lib/onecc/processes/onecc-ray.json
log:
  description: What the process writes, each line with its time.
  returned: always
  type: str
  sample: /var/lib/onecc/processes/onecc-ray.log
"""

import json
import os
import resource
import tempfile

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onecc.vllm.plugins.module_utils.evidence import hide_arguments
from ansible_collections.onecc.vllm.plugins.module_utils.redact import MASK, is_secret
from ansible_collections.onecc.vllm.plugins.module_utils.supervisor import keeper
from ansible_collections.onecc.vllm.plugins.module_utils.supervisor.files import FILE_BEHIND
from ansible_collections.onecc.vllm.plugins.module_utils.supervisor.processes import Processes
from ansible_collections.onecc.vllm.plugins.module_utils.supervisor.runtime import EngineError


def render(spec):
    """The text of the file: the same for the same process."""
    return json.dumps(spec, indent=2, sort_keys=True) + "\n"


def wanted(params, log):
    """What is to stand in the file."""
    return {
        "argv": params["argv"],
        "env": {name: str(value) for name, value in params["env"].items()},
        "cwd": params["cwd"],
        "limits": {name: int(value) for name, value in params["limits"].items()},
        "capabilities": params["capabilities"],
        "labels": params["labels"],
        "log": log,
        "log_size": params["log_size"],
        "log_files": params["log_files"],
    }


def shown(text):
    """The text of a file without values that are secret."""
    try:
        spec = json.loads(text)
    except ValueError:
        return text
    spec["env"] = {name: MASK if is_secret(name, value) else value for name, value in spec.get("env", {}).items()}
    return render(dict(spec, argv=hide_arguments(spec.get("argv", []))))


def unknown(spec):
    """The first limit or capability that there is none of, empty if all are known."""
    for name in spec["limits"]:
        if not hasattr(resource, "RLIMIT_" + name.upper()):
            return "limit %s" % name
    for name in spec["capabilities"] or []:
        if name.upper().removeprefix("CAP_") not in keeper.CAPABILITIES:
            return "capability %s" % name
    return ""


def read(path):
    """What is in a file, empty if there is none."""
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except FileNotFoundError:
        return ""


def write(module, path, text):
    """The new file, with the one that served before beside it until the new one has proven itself."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    if os.path.exists(path) and not os.path.exists(path + FILE_BEHIND):
        module.preserved_copy(path, path + FILE_BEHIND)
    handle, new = tempfile.mkstemp(dir=module.tmpdir)
    with open(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
    module.atomic_move(new, path)
    module.set_mode_if_different(path, "0600", False)


def main():
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "directory": {"type": "path", "required": True},
            "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
            "argv": {"type": "list", "elements": "str", "default": []},
            "env": {"type": "dict", "default": {}},
            "cwd": {"type": "path", "default": "/"},
            "limits": {"type": "dict", "default": {}},
            "capabilities": {"type": "list", "elements": "str"},
            "labels": {"type": "dict", "default": {}},
            "log_size": {"type": "int", "default": 52428800},
            "log_files": {"type": "int", "default": 5},
        },
        required_if=[("state", "present", ["argv"])],
        supports_check_mode=True,
    )
    params = module.params
    processes = Processes(params["directory"])
    path = processes.spec_file(params["name"])
    result = {"file": path, "log": os.path.join(params["directory"], params["name"] + ".log")}
    before = read(path)
    if params["state"] == "absent":
        there = [name for name in (path, path + FILE_BEHIND) if os.path.exists(name)]
        runs = processes.processes(params["name"])
        if not module.check_mode:
            try:
                processes.stop(params["name"], 20)
            except EngineError as error:
                module.fail_json(msg=str(error), **result)
            for name in there:
                os.unlink(name)
        module.exit_json(changed=bool(there or runs), diff={"before": shown(before), "after": ""}, **result)
    spec = wanted(params, result["log"])
    if what := unknown(spec):
        module.fail_json(
            msg="%s: expected limits and capabilities that Linux has, found %s. Correct it." % (path, what)
        )
    text = render(spec)
    if before != text and not module.check_mode:
        write(module, path, text)
    diff = {"before": shown(before), "after": shown(text), "before_header": path, "after_header": path}
    module.exit_json(changed=before != text, diff=diff, **result)


if __name__ == "__main__":
    main()
