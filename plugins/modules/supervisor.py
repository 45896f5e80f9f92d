#!/usr/bin/python
# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: supervisor
short_description: Installs and runs the programs that keep Ray and the engine up
version_added: 0.1.0
description:
  - Writes the programs, which are part of this collection, as one file that Python runs, the settings of one of
    them, and its unit of systemd, and has it run, now and after every boot.
  - What was there before stays beside the files, see the module M(onecc.vllm.container_generation).
  - A program that runs with other settings, or as an earlier release, is started anew. The container that it looks
    after stays as it is.
  - The program C(ray) looks after the Ray container of its node, the program C(engine) on the head after the engine.
author:
  - The onecc.vllm authors (@onecc)
options:
  program:
    description: The program whose settings are written.
    type: str
    required: true
    choices: [ray, engine]
  settings:
    description: Its settings, as the classes RayNode and Engine below C(plugins/module_utils/supervisor) name them.
    type: dict
    required: true
  unit:
    description: The name of the unit of systemd that runs it.
    type: str
    required: true
  unit_content:
    description: What is to stand in the file of the unit.
    type: str
    required: true
  state_dir:
    description: The folder on the node for both files.
    type: path
    default: /var/lib/onecc
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying the target.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: full
"""

EXAMPLES = r"""
- name: Have the program that looks after Ray
  onecc.vllm.supervisor:
    program: ray
    unit: onecc-ray.service
    unit_content: "{{ lookup('ansible.builtin.template', 'supervised.service.j2') }}"
    settings:
      name: node01
      address: 198.18.0.11
      head: false
      head_address: 198.18.0.10
      port: 8002
      ray_port: 6379
      dashboard_url: http://127.0.0.1:8265
      token_file: /var/lib/onecc/secrets/ray/token
      storage: /home/ubuntu/shared/.onecc
      members: [198.18.0.10, 198.18.0.11]
"""

RETURN = r"""
file:
  description: The programs.
  returned: always
  type: str
  sample: /var/lib/onecc/supervisor-ray.pyz
settings_file:
  description: The settings.
  returned: always
  type: str
  sample: /var/lib/onecc/supervisor-ray.json
unit_file:
  description: The unit.
  returned: always
  type: str
  sample: /etc/systemd/system/onecc-ray.service
"""

import json
import os
import tempfile

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onecc.vllm.plugins.module_utils import errors, ray_state, supervisor
from ansible_collections.onecc.vllm.plugins.module_utils.supervisor import (
    base,
    containers,
    engine,
    engine_rules,
    keeper,
    probe,
    processes,
    ray_node,
    ray_rules,
    runtime,
)
from ansible_collections.onecc.vllm.plugins.module_utils.supervisor import (
    main as entry,
)
from ansible_collections.onecc.vllm.plugins.module_utils.supervisor.files import FILE_BEHIND
from ansible_collections.onecc.vllm.plugins.module_utils.zipapp import pack, read_source

# All that the programs consist of. Ansible brings to the node what is imported here.
MODULES = [
    errors, ray_state, supervisor, base, containers, engine, engine_rules, entry, keeper, probe, processes, ray_node,
    ray_rules, runtime,
]  # fmt: skip

UNITS = "/etc/systemd/system"


def programs():
    """The file with all programs."""
    return pack({name.__name__.partition("module_utils.")[2]: read_source(name) for name in MODULES})


def read(path):
    """What is in a file, None if there is none."""
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def state_of(module, unit):
    """What systemd has of a unit: whether it runs, whether it is to run after a boot, whether its file is newer."""
    names = {"ActiveState": "active", "UnitFileState": "enabled", "NeedDaemonReload": "yes"}
    words = ["systemctl", "show", "--property", ",".join(names), unit]
    lines = module.run_command(words, check_rc=True)[1].splitlines()
    found = dict(line.split("=", 1) for line in lines if "=" in line)
    return [found.get(name) == value for name, value in names.items()]


def main():
    module = AnsibleModule(
        argument_spec={
            "program": {"type": "str", "required": True, "choices": ["ray", "engine"]},
            "settings": {"type": "dict", "required": True},
            "unit": {"type": "str", "required": True},
            "unit_content": {"type": "str", "required": True},
            "state_dir": {"type": "path", "default": "/var/lib/onecc"},
        },
        supports_check_mode=True,
    )
    params = module.params
    program = os.path.join(params["state_dir"], "supervisor-%s.pyz" % params["program"])
    settings = os.path.join(params["state_dir"], "supervisor-%s.json" % params["program"])
    unit = os.path.join(UNITS, params["unit"])
    wanted = {
        program: programs(),
        settings: (json.dumps(params["settings"], indent=2, sort_keys=True) + "\n").encode(),
        unit: params["unit_content"].encode(),
    }
    before = {path: read(path) for path in wanted}
    changed = [path for path, content in wanted.items() if before[path] != content]
    running = read(entry.DIGEST % params["program"])
    outdated = running is not None and running.decode() != entry.digest(wanted[program], wanted[settings])
    diff = [
        {
            "before": (before[path] or b"").decode("utf-8", "replace"),
            "after": wanted[path].decode(),
            "before_header": path,
            "after_header": path,
        }
        for path in (settings, unit)
        if path in changed
    ]
    if not module.check_mode:
        for path in changed:
            # What served before has its settings beside it until the new one has proven itself.
            if path != unit and before[path] is not None and not os.path.exists(path + FILE_BEHIND):
                module.preserved_copy(path, path + FILE_BEHIND)
            handle, new = tempfile.mkstemp(dir=module.tmpdir)
            with open(handle, "wb") as stream:
                stream.write(wanted[path])
            module.atomic_move(new, path)
            module.set_mode_if_different(path, "0600" if path == settings else "0644", False)
    active, enabled, newer = state_of(module, params["unit"])
    if not module.check_mode:
        # Not only after a change: an earlier run may have been cut off before this.
        if newer or unit in changed:
            module.run_command(["systemctl", "daemon-reload"], check_rc=True)
        if not enabled:
            module.run_command(["systemctl", "enable", params["unit"]], check_rc=True)
        # Not a plain reload, which systemd refuses while a program fails again and again.
        if not active:
            module.run_command(["systemctl", "start", params["unit"]], check_rc=True)
        elif changed or outdated or newer:
            module.run_command(["systemctl", "reload-or-restart", params["unit"]], check_rc=True)
    result = {"file": program, "settings_file": settings, "unit_file": unit}
    module.exit_json(changed=bool(changed) or outdated or newer or not (active and enabled), diff=diff, **result)


if __name__ == "__main__":
    main()
