#!/usr/bin/python
# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: container_generation
short_description: Keeps the container that served before, brings it back, or lets it go
version_added: 0.1.0
description:
  - A container that is to be replaced keeps its file system, its settings and the namespaces that it shares under the
    name with C(-previous) behind it, until the new one has proven itself.
  - Works with containers that do not run. Every state can be asked for again and again, and after an interruption.
  - Where processes run without containers, all that belongs to one of them are files, see the module
    M(onecc.vllm.process_spec).
options:
  containers:
    description: The containers.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the container.
        type: str
        required: true
      files:
        description: Files on the node that belong to it. The module M(onecc.vllm.supervisor) keeps them.
        type: list
        elements: path
        default: []
  state:
    description:
      - With V(kept) the container gets the other name, unless there is one already that served before it.
      - With V(restored) the one that served before gets its name back, and the one in its place is removed.
      - With V(forgotten) the one that served before is removed.
    type: str
    required: true
    choices: [kept, restored, forgotten]
  runtime:
    description: What they run in. With V(venv) there are files alone, and nothing to keep.
    type: str
    default: docker
    choices: [docker, venv]
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying the target.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: none
author:
  - The onecc.vllm authors (@onecc)
"""

EXAMPLES = r"""
- name: Bring back what served before
  onecc.vllm.container_generation:
    containers:
      - name: onecc-vllm
        files: [/var/lib/onecc/supervisor-engine.json]
    state: restored
"""

RETURN = r"""
names:
  description: The containers that were kept, restored or forgotten.
  returned: always
  type: list
  elements: str
  sample: [onecc-vllm]
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onecc.vllm.plugins.module_utils.supervisor.files import FILE_BEHIND

BEHIND = "-previous"


class Generations:
    """A container and the one before it. Each method gives the steps that are left to do.

    :param run: function that runs argv and returns (status, output, errors); None where there are no containers
    """

    def __init__(self, name, files, run):
        self.name, self.files, self.run = name, files, run
        self.current, self.previous = self.is_there(name), self.is_there(name + BEHIND)

    def is_there(self, name):
        if self.run is None:
            return False
        argv = ["docker", "ps", "--all", "--quiet", "--filter", "name=^/?%s$" % name]
        return bool(self.run(argv, check_rc=True)[1].strip())

    def docker(self, *words):
        return lambda: self.run(["docker", *words], check_rc=True)

    def kept(self):
        """The one that served before stays the one before, should it have a successor that never did."""
        if self.previous or not self.current:
            return []
        # Who looks after it may have been down, and then has not stopped it.
        return [self.docker("stop", self.name), self.docker("rename", self.name, self.name + BEHIND)]

    def restored(self):
        steps = [lambda path=path: os.replace(path + FILE_BEHIND, path) for path in self.there()]
        if self.previous and self.current:
            steps.append(self.docker("rm", "--force", self.name))
        if self.previous:
            steps.append(self.docker("rename", self.name + BEHIND, self.name))
        return steps

    def forgotten(self):
        steps = [lambda path=path: os.unlink(path + FILE_BEHIND) for path in self.there()]
        if self.previous:
            steps.append(self.docker("rm", "--force", self.name + BEHIND))
        return steps

    def there(self):
        return [path for path in self.files if os.path.exists(path + FILE_BEHIND)]


def main():
    module = AnsibleModule(
        argument_spec={
            "containers": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "files": {"type": "list", "elements": "path", "default": []},
                },
            },
            "state": {"type": "str", "required": True, "choices": ["kept", "restored", "forgotten"]},
            "runtime": {"type": "str", "default": "docker", "choices": ["docker", "venv"]},
        },
        supports_check_mode=True,
    )
    names = []
    run = module.run_command if module.params["runtime"] == "docker" else None
    for container in module.params["containers"]:
        generations = Generations(container["name"], container["files"], run)
        steps = getattr(generations, module.params["state"])()
        if steps:
            names.append(container["name"])
        if not module.check_mode:
            for step in steps:
                step()
    module.exit_json(changed=bool(names), names=names)


if __name__ == "__main__":
    main()
