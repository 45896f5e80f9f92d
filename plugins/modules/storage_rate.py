#!/usr/bin/python
# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: storage_rate
short_description: Measures how fast a node reads from shared storage
version_added: 0.1.0
description:
  - Reads for a while past the node's page cache, from weights if there are any, else from a file of up to
    256 MiB that it makes for this and removes.
  - On all nodes at once it measures what a node gets while all load their weights.
  - The storage's own cache may help with a file just made.
extends_documentation_fragment:
  - onecc.vllm.read_only
author:
  - The onecc.vllm authors (@onecc)
options:
  path:
    description: The shared folder.
    type: path
    required: true
  model:
    description: A folder below which weights may lie, as C(*.safetensors).
    type: path
  seconds:
    description: How long to read, and at most to write.
    type: float
    default: 1
"""

EXAMPLES = r"""
- name: Measure shared storage
  onecc.vllm.storage_rate:
    path: /home/ubuntu/shared
  register: storage
"""

RETURN = r"""
rate:
  description: Bytes per second.
  returned: success
  type: float
  sample: 2133904471.2
of:
  description: What was read.
  returned: success
  type: str
  sample: a file made for it
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onecc.vllm.plugins.module_utils.storage import measure


def main():
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "model": {"type": "path"},
            "seconds": {"type": "float", "default": 1},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        result = measure(params["path"], params["model"], params["seconds"])
    except OSError as error:
        module.fail_json(msg="%s: cannot be measured: %s" % (params["path"], error))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
