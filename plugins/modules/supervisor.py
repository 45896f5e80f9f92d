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
    them, and the service that runs it, see M(onecc.vllm.service), and has it run, now and after every boot.
  - What was there before stays beside the files, see the module M(onecc.vllm.container_generation).
  - A program that runs with other settings, or as an earlier release, is started anew. The container that it looks
    after stays as it is.
  - The program C(ray) looks after the Ray container of its node, the program C(engine) on the head after the engine.
extends_documentation_fragment:
  - onecc.vllm.service
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
  definition:
    required: true
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
    name: onecc-ray
    definition:
      description: Ray worker
      command: [/usr/bin/python3, /var/lib/onecc/supervisor-ray.pyz, ray, /var/lib/onecc/supervisor-ray.json]
      kind: notify
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
"""

import json
import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onecc.vllm.plugins.module_utils import errors, ray_state, services, supervisor
from ansible_collections.onecc.vllm.plugins.module_utils.errors import OneccError
from ansible_collections.onecc.vllm.plugins.module_utils.supervisor import (
    base,
    containers,
    engine,
    engine_rules,
    keeper,
    loading,
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
    errors, ray_state, supervisor, base, containers, engine, engine_rules, entry, keeper, loading, probe, processes,
    ray_node, ray_rules, runtime,
]  # fmt: skip


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
            "name": {"type": "str", "required": True},
            "definition": {"type": "dict", "required": True, "options": services.DEFINITION},
            "state_dir": {"type": "path", "default": "/var/lib/onecc"},
            "tools": {"type": "path", "default": ""},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**install(module, **module.params))
    except OneccError as error:
        module.fail_json(msg=str(error))


def install(module, program, settings, name, definition, state_dir, tools):
    """Has a program, its settings and its service, and has it run."""
    manager = services.open_services(module.run_command, state_dir, tools)
    file = os.path.join(state_dir, "supervisor-%s.pyz" % program)
    settings_file = os.path.join(state_dir, "supervisor-%s.json" % program)
    wanted = {file: programs(), settings_file: (json.dumps(settings, indent=2, sort_keys=True) + "\n").encode()}
    before = {path: read(path) for path in wanted}
    changed = [path for path, content in wanted.items() if before[path] != content]
    running = read(entry.digest_file(program, state_dir))
    outdated = running is not None and running.decode() != entry.digest(wanted[file], wanted[settings_file])
    diff = [
        {
            "before": (before[path] or b"").decode("utf-8", "replace"),
            "after": wanted[path].decode(),
            "before_header": path,
            "after_header": path,
        }
        for path in (settings_file,)
        if path in changed
    ]
    if not module.check_mode:
        for path in changed:
            # What served before has its settings beside it until the new one has proven itself.
            if before[path] is not None and not os.path.exists(path + FILE_BEHIND):
                module.preserved_copy(path, path + FILE_BEHIND)
            services.write(module, path, wanted[path], "0600" if path == settings_file else "0644")
    described, more = services.have(module, manager, name, definition)
    state = manager.state(name)
    if not module.check_mode:
        # Not only after a change: an earlier run may have been cut off before this.
        if described or state.outdated:
            manager.load(name, None if state.enabled else True)
        elif not state.enabled:
            manager.enable(name, True)
        if not state.active:
            manager.start(name)
        elif changed or described or outdated or state.outdated:
            manager.reload(name)
    return {
        "changed": bool(changed or described) or outdated or state.outdated or not (state.active and state.enabled),
        "diff": diff + more,
        "file": file,
        "settings_file": settings_file,
    }


if __name__ == "__main__":
    main()
