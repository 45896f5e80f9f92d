#!/usr/bin/python
# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: deployment_record
short_description: Notes on a node what was deployed to it
version_added: 0.1.0
description:
  - Writes what was asked for, and how the node looks now that it has been done. M(onecc.vllm.node_info) compares the
    node with it, so that a deployment which finds the same wish and the same node has nothing to do.
  - The record holds kind, mode, owner and SHA-256 of the files in O(state_dir) and of the units, the state of the
    services, and the IDs of the containers that run; not what is in the caches.
author:
  - The onecc.vllm authors (@onecc)
options:
  wish:
    description: A digest of all settings.
    type: str
    required: true
  notes:
    description: What else the next deployment needs to know, such as the folder of the model that is served.
    type: dict
    default: {}
  state_dir:
    description:
      - The folder on the node that holds what was deployed, and the record C(deployed.json).
      - Without it nothing was deployed, and nothing is noted.
    type: path
    default: /var/lib/onecc
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying the target.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: none
"""

EXAMPLES = r"""
- name: Note what was deployed
  onecc.vllm.deployment_record:
    wish: 3f1c0a9be27d4f58
    notes:
      model: /home/ubuntu/shared/models/mine
"""

RETURN = r"""
file:
  description: The record.
  returned: always
  type: str
  sample: /var/lib/onecc/deployed.json
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onecc.vllm.plugins.module_utils import node, record, services


def main():
    module = AnsibleModule(
        argument_spec={
            "wish": {"type": "str", "required": True},
            "notes": {"type": "dict", "default": {}},
            "state_dir": {"type": "path", "default": "/var/lib/onecc"},
        },
        supports_check_mode=True,
    )
    params = module.params
    file = os.path.join(params["state_dir"], record.NAME)
    if not os.path.isdir(params["state_dir"]):
        module.exit_json(changed=False, file=file)
    told = record.read(params["state_dir"])
    running = node.read_engine(module.run_command)["containers"] | node.running_processes(params["state_dir"])
    manager = services.open_services(module.run_command, params["state_dir"])
    seen = record.look(manager, params["state_dir"], running)
    changed = (told.get("wish"), told.get("notes"), told.get("seen")) != (params["wish"], params["notes"], seen)
    # An unchanged one is written again, too: from now on it is valid for as long as a new one.
    if not module.check_mode:
        record.write(params["state_dir"], params["wish"], params["notes"], seen)
    module.exit_json(changed=changed, file=file)


if __name__ == "__main__":
    main()
