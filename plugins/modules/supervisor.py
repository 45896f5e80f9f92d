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
  - Writes the programs, which are part of this collection, as one file that Python runs, and the settings of one of
    them, and has them run by their unit of systemd.
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
    description: The unit of systemd that runs it. It must be there.
    type: str
    required: true
  reload:
    description: Whether to start a running program anew in any case, since its unit has changed.
    type: bool
    default: false
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
    settings:
      name: node01
      address: 198.18.0.11
      head: false
      head_address: 198.18.0.10
      port: 8002
      ray_port: 6379
      dashboard_url: http://127.0.0.1:8265
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
    probe,
    ray_node,
    ray_rules,
)
from ansible_collections.onecc.vllm.plugins.module_utils.supervisor import (
    main as entry,
)
from ansible_collections.onecc.vllm.plugins.module_utils.supervisor.files import FILE_BEHIND
from ansible_collections.onecc.vllm.plugins.module_utils.zipapp import pack, read_source

# All that the programs consist of. Ansible brings to the node what is imported here.
MODULES = [errors, ray_state, supervisor, base, containers, engine, engine_rules, entry, probe, ray_node, ray_rules]


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


def main():
    module = AnsibleModule(
        argument_spec={
            "program": {"type": "str", "required": True, "choices": ["ray", "engine"]},
            "settings": {"type": "dict", "required": True},
            "unit": {"type": "str", "required": True},
            "reload": {"type": "bool", "default": False},
            "state_dir": {"type": "path", "default": "/var/lib/onecc"},
        },
        supports_check_mode=True,
    )
    params = module.params
    program = os.path.join(params["state_dir"], "supervisor-%s.pyz" % params["program"])
    settings = os.path.join(params["state_dir"], "supervisor-%s.json" % params["program"])
    wanted = {
        program: programs(),
        settings: (json.dumps(params["settings"], indent=2, sort_keys=True) + "\n").encode(),
    }
    before = {path: read(path) for path in wanted}
    changed = [path for path, content in wanted.items() if before[path] != content]
    running = read(entry.DIGEST % params["program"])
    outdated = running is not None and running.decode() != entry.digest(wanted[program], wanted[settings])
    diff = []
    if settings in changed:
        old = (before[settings] or b"").decode("utf-8", "replace")
        diff = [
            {"before": old, "after": wanted[settings].decode(), "before_header": settings, "after_header": settings}
        ]
    if not module.check_mode:
        for path in changed:
            # What served before has its settings beside it until the new one has proven itself.
            if before[path] is not None and not os.path.exists(path + FILE_BEHIND):
                module.preserved_copy(path, path + FILE_BEHIND)
            handle, new = tempfile.mkstemp(dir=module.tmpdir)
            with open(handle, "wb") as stream:
                stream.write(wanted[path])
            module.atomic_move(new, path)
            module.set_mode_if_different(path, "0600" if path == settings else "0644", False)
    stopped = module.run_command(["systemctl", "is-active", "--quiet", params["unit"]])[0] != 0
    if not module.check_mode:
        # Not a plain reload, which systemd refuses while a program fails again and again.
        if stopped:
            module.run_command(["systemctl", "start", params["unit"]], check_rc=True)
        elif changed or outdated or params["reload"]:
            module.run_command(["systemctl", "reload-or-restart", params["unit"]], check_rc=True)
    module.exit_json(changed=bool(changed) or outdated or stopped, diff=diff, file=program, settings_file=settings)


if __name__ == "__main__":
    main()
