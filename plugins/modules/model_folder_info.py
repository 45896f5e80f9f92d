#!/usr/bin/python
# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: model_folder_info
short_description: Looks whether a folder holds a whole model
version_added: 0.1.0
description:
  - Expects in a folder a C(config.json), and weights as safetensors that are as long as their headers say, all those
    that C(model.safetensors.index.json) names. Reads headers, not weights.
  - Fails and says what is wrong, for whoever was given a folder in place of a model's name.
extends_documentation_fragment:
  - onecc.vllm.read_only
author:
  - The onecc.vllm authors (@onecc)
options:
  path:
    description: The folder.
    type: path
    required: true
  roots:
    description: Other folders that links in it may lead to, such as those that containers mount as well.
    type: list
    elements: path
    default: []
"""

EXAMPLES = r"""
- name: Look at a model that somebody has put onto shared storage
  onecc.vllm.model_folder_info:
    path: /home/ubuntu/shared/models/our-own-70b
"""

RETURN = r"""
folder:
  description: The folder, without links in its path.
  returned: success
  type: str
  sample: /home/ubuntu/shared/models/our-own-70b
weights:
  description: Number of safetensors files.
  returned: success
  type: int
  sample: 30
weights_size:
  description: Their size in bytes.
  returned: success
  type: int
  sample: 141107412344
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onecc.vllm.plugins.module_utils.errors import OneccError
from ansible_collections.onecc.vllm.plugins.module_utils.model_folder import look


def main():
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "roots": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(changed=False, **look(module.params["path"], module.params["roots"]))
    except OneccError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
