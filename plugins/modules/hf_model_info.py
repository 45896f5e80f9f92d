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
  - onecc.vllm.hub.patterns
  - onecc.vllm.hub.endpoint
  - onecc.vllm.read_only
options:
  revision:
    description: A branch, tag or commit of the model.
    type: str
    default: main
author:
  - The onecc.vllm authors (@onecc)
seealso:
  - module: onecc.vllm.hf_snapshot_info
"""

EXAMPLES = r"""
- name: Look a model up before anything is changed
  onecc.vllm.hf_model_info:
    repo: meta-llama/Llama-3.1-405B-Instruct
    exclude: [original/*]
    token: "{{ lookup('ansible.builtin.env', 'HF_TOKEN') }}"
  delegate_to: localhost
"""

RETURN = r"""
commit:
  description: The commit that the revision stands for.
  returned: success
  type: str
  sample: ac13158490e6f62032d3cf4c84e5a84d780e13f2
files:
  description:
    - The chosen files, with their size in bytes and the name of their blob in the cache.
    - That is the sha256 of a file in LFS, and for any other the id that git gives it.
  returned: success
  type: list
  elements: dict
  sample:
    - {path: config.json, size: 818, blob: 92b9fed6c8adbc8b4c4fea3d2d6b3ec8fd50c6a9}
    - path: model-00001-of-00005.safetensors
      size: 63705680
      blob: 2bd5ba2dc27d9e6ef3c4d34bd2e2a5c0a8a3cdb27ba0e5a5d2bb5f2ad7a0a4be
all_files:
  description: All files of the model, as above.
  returned: success
  type: list
  elements: dict
  sample: []
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
from ansible_collections.onecc.vllm.plugins.module_utils.hub import (
    ENDPOINT_OPTIONS,
    PATTERN_OPTIONS,
    REPO_OPTION,
    describe,
)

try:
    import huggingface_hub

    HUB_ERROR = None
except ImportError:
    HUB_ERROR = traceback.format_exc()


def main():
    module = AnsibleModule(
        argument_spec=dict(
            REPO_OPTION, **PATTERN_OPTIONS, **ENDPOINT_OPTIONS, revision={"type": "str", "default": "main"}
        ),
        supports_check_mode=True,
    )
    params = module.params
    if HUB_ERROR:
        module.fail_json(msg=missing_required_lib("huggingface_hub"), exception=HUB_ERROR)
    api = huggingface_hub.HfApi(endpoint=(params["endpoint"] or "").rstrip("/") or None, token=params["token"] or False)
    try:
        result = describe(api, huggingface_hub, params)
    except OneccError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
