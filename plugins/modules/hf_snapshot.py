#!/usr/bin/python
# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hf_snapshot
short_description: Puts a snapshot of a model into a Hugging Face cache
version_added: 0.1.0
description:
  - Downloads the files of a model at one commit into the layout of the Hugging Face cache.
  - Files that are there with the right size are kept. In check mode tells what would be fetched.
extends_documentation_fragment:
  - onecc.vllm.hub
author:
  - The onecc.vllm authors (@onecc)
options:
  max_workers:
    description: Number of files fetched at the same time.
    type: int
    default: 8
attributes:
  check_mode:
    support: full
    description: Asks the hub and looks at the disk, and tells what would be fetched.
  diff_mode:
    support: none
    description: The files are too large to show.
  idempotent:
    support: full
    description: A snapshot that is complete is left as it is.
seealso:
  - module: onecc.vllm.hf_model_info
"""

EXAMPLES = r"""
- name: Put Llama 3.1 405B onto shared storage
  onecc.vllm.hf_snapshot:
    repo: meta-llama/Llama-3.1-405B-Instruct
    exclude: [original/*]
    cache_dir: /home/ubuntu/shared/.cache/huggingface/hub
    token: "{{ lookup('ansible.builtin.env', 'HF_TOKEN') }}"
  register: snapshot

- name: Say where it is
  ansible.builtin.debug:
    var: snapshot.path
"""

RETURN = r"""
commit:
  description: The commit that the revision stands for.
  returned: success
  type: str
  sample: ac13158490e6f62032d3cf4c84e5a84d780e13f2
path:
  description: The snapshot's folder.
  returned: success
  type: str
  sample: "/home/ubuntu/shared/.cache/huggingface/hub/models--HuggingFaceTB--SmolLM2-135M-Instruct/snapshots/\
    ac13158490e6f62032d3cf4c84e5a84d780e13f2"
size:
  description: Size of the whole snapshot in bytes.
  returned: success
  type: int
  sample: 272606948
fetched:
  description: The files that were fetched, or would be in check mode, with their sizes in bytes.
  returned: success
  type: list
  elements: dict
  sample: [{path: config.json, size: 818}]
fetched_size:
  description: Size of those files in bytes.
  returned: success
  type: int
  sample: 818
"""

import os
import shutil
import traceback

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.onecc.vllm.plugins.module_utils.errors import OneccError
from ansible_collections.onecc.vllm.plugins.module_utils.hub import (
    HUB_OPTIONS,
    describe,
    explain,
    pending,
    snapshot_path,
)

try:
    import huggingface_hub

    HUB_ERROR = None
except ImportError:
    HUB_ERROR = traceback.format_exc()


def free_space(path):
    """Bytes free where path is, or will be."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return shutil.disk_usage(path).free


def main():
    module = AnsibleModule(
        argument_spec=dict(HUB_OPTIONS, max_workers={"type": "int", "default": 8}),
        supports_check_mode=True,
    )
    params = module.params
    if HUB_ERROR:
        module.fail_json(msg=missing_required_lib("huggingface_hub"), exception=HUB_ERROR)
    api = huggingface_hub.HfApi(endpoint=params["endpoint"] or None, token=params["token"] or False)
    try:
        model = describe(api, huggingface_hub, params)
        path = snapshot_path(params["cache_dir"], params["repo"], model["commit"])
        todo = pending(model["files"], path)
        todo_size = sum(file["size"] for file in todo)
        free = free_space(params["cache_dir"])
        if todo_size > free:
            raise OneccError(
                params["cache_dir"],
                "%.1f GB free for what is missing of the model" % (todo_size / 1e9),
                "%.1f GB" % (free / 1e9),
                "Free space there, or use another folder.",
            )
        if todo and not module.check_mode:
            fetch(api, params, model["commit"])
            left = pending(model["files"], path)
            if left:
                raise OneccError(
                    path, "a complete snapshot", "%d files missing or short" % len(left), "Run this again."
                )
    except OneccError as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=bool(todo),
        commit=model["commit"],
        path=path,
        size=model["size"],
        fetched=todo,
        fetched_size=todo_size,
    )


def fetch(api, params, commit):
    """Downloads; huggingface_hub keeps finished files of earlier runs."""
    try:
        huggingface_hub.snapshot_download(
            params["repo"],
            revision=commit,
            cache_dir=params["cache_dir"],
            allow_patterns=params["include"] or None,
            ignore_patterns=params["exclude"],
            max_workers=params["max_workers"],
            endpoint=api.endpoint,
            token=api.token,
        )
    except OSError as error:
        if error.errno is not None:
            raise OneccError(
                params["cache_dir"], "a disk that takes the model", str(error), "Check space and permissions there."
            ) from error
        raise explain(error, params["repo"], commit, api.endpoint) from error
    except Exception as error:
        raise explain(error, params["repo"], commit, api.endpoint) from error


if __name__ == "__main__":
    main()
