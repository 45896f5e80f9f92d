#!/usr/bin/python
# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hf_model_info
short_description: Asks a hub for a model's commit, files and sizes
version_added: 0.1.0
description:
  - Resolves a revision of a model to a commit and lists its files, without downloading any.
  - Fails when the model or the revision does not exist, when access to it is restricted, or when the
    hub does not answer, and says what to do.
extends_documentation_fragment:
  - onecc.vllm.hub
  - onecc.vllm.read_only
author:
  - The onecc.vllm authors (@onecc)
seealso:
  - module: onecc.vllm.hf_snapshot
"""

EXAMPLES = r"""
- name: Look a model up before anything is changed
  onecc.vllm.hf_model_info:
    repo: meta-llama/Llama-3.1-405B-Instruct
    exclude: [original/*]
    cache_dir: /home/ubuntu/shared/.cache/huggingface/hub
    token: "{{ lookup('ansible.builtin.env', 'HF_TOKEN') }}"
  delegate_to: localhost
"""

RETURN = r"""
commit:
  description: The commit that the revision stands for.
  returned: success
  type: str
  sample: ac13158490e6f62032d3cf4c84e5a84d780e13f2
path:
  description: Where the cache keeps the snapshot of that commit.
  returned: success
  type: str
  sample: "/home/ubuntu/shared/.cache/huggingface/hub/models--HuggingFaceTB--SmolLM2-135M-Instruct/snapshots/\
    ac13158490e6f62032d3cf4c84e5a84d780e13f2"
files:
  description: The chosen files with their sizes in bytes.
  returned: success
  type: list
  elements: dict
  sample:
    - {path: config.json, size: 818}
    - {path: model-00001-of-00005.safetensors, size: 63705680}
size:
  description: Size of all chosen files in bytes.
  returned: success
  type: int
  sample: 272606948
left_out_size:
  description: Size of the files that the patterns leave out, in bytes.
  returned: success
  type: int
  sample: 0
"""

import traceback

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.onecc.vllm.plugins.module_utils.errors import OneccError
from ansible_collections.onecc.vllm.plugins.module_utils.hub import HUB_OPTIONS, describe, snapshot_path

try:
    import huggingface_hub

    HUB_ERROR = None
except ImportError:
    HUB_ERROR = traceback.format_exc()


def main():
    module = AnsibleModule(argument_spec=HUB_OPTIONS, supports_check_mode=True)
    params = module.params
    if HUB_ERROR:
        module.fail_json(msg=missing_required_lib("huggingface_hub"), exception=HUB_ERROR)
    api = huggingface_hub.HfApi(endpoint=params["endpoint"] or None, token=params["token"] or False)
    try:
        result = describe(api, huggingface_hub, params)
    except OneccError as error:
        module.fail_json(msg=str(error))
    result["path"] = snapshot_path(params["cache_dir"], params["repo"], result["commit"])
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
