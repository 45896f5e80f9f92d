#!/usr/bin/python
# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hf_snapshot
short_description: Makes a snapshot of files that are in a Hugging Face cache
version_added: 0.1.0
description:
  - Makes the snapshot of a commit visible in one step once all its files are there, notes which commit it is and what
    belongs to it, and clears away what interrupted downloads have left.
  - Expects files whose hash was found right, by M(onecc.vllm.hf_download).
extends_documentation_fragment:
  - onecc.vllm.hub
  - onecc.vllm.hub.patterns
  - onecc.vllm.hub.cache
author:
  - The onecc.vllm authors (@onecc)
options:
  commit:
    description: The commit.
    type: str
    required: true
  revision:
    description: The branch or tag that stands for the commit. It is noted as huggingface_hub notes it.
    type: str
  all_files:
    description: All files of the commit, as M(onecc.vllm.hf_model_info) gives them.
    type: list
    elements: dict
    required: true
  node:
    description: The name that this node has in notes on shared storage.
    type: str
    required: true
attributes:
  check_mode:
    support: full
    description: Tells whether anything would be changed.
  diff_mode:
    support: none
    description: Links to files with their hash for a name tell nobody anything.
  idempotent:
    support: full
    description: A snapshot that is visible and noted is left as it is.
seealso:
  - module: onecc.vllm.hf_snapshot_info
  - module: onecc.vllm.hf_download
"""

EXAMPLES = r"""
- name: Make the snapshot visible
  onecc.vllm.hf_snapshot:
    repo: meta-llama/Llama-3.1-405B-Instruct
    commit: "{{ model.commit }}"
    revision: main
    all_files: "{{ model.all_files }}"
    exclude: [original/*]
    node: "{{ inventory_hostname }}"
    cache_dir: /home/ubuntu/shared/.cache/huggingface/hub
"""

RETURN = r"""
folder:
  description: The snapshot's folder.
  returned: success
  type: str
  sample: "/home/ubuntu/shared/.cache/huggingface/hub/models--HuggingFaceTB--SmolLM2-135M-Instruct/snapshots/\
    ac13158490e6f62032d3cf4c84e5a84d780e13f2"
cleaned:
  description: What was cleared away.
  returned: success
  type: list
  elements: str
  sample: []
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onecc.vllm.plugins.module_utils import hf_cache
from ansible_collections.onecc.vllm.plugins.module_utils.errors import OneccError
from ansible_collections.onecc.vllm.plugins.module_utils.hub import PATTERN_OPTIONS, REPO_OPTION, choose


def main():
    module = AnsibleModule(
        argument_spec=dict(
            REPO_OPTION,
            **PATTERN_OPTIONS,
            commit={"type": "str", "required": True},
            revision={"type": "str"},
            all_files={"type": "list", "elements": "dict", "required": True},
            node={"type": "str", "required": True},
            cache_dir={"type": "path", "required": True},
        ),
        supports_check_mode=True,
    )
    params = module.params
    commit = params["commit"]
    cache = hf_cache.Cache(params["cache_dir"], params["repo"])
    files = choose(params["all_files"], params["include"], params["exclude"], params["duplicates"])
    linked = all(hf_cache.is_linked(cache, commit, file) for file in files)
    new_notes = hf_cache.missing_notes(cache, params["repo"], commit, params["revision"], params["all_files"])
    old = hf_cache.leftovers(cache)
    seen = hf_cache.survey(cache, files)
    try:
        missing = [file["path"] for file in seen if file["state"] == "missing"]
        if missing and not module.check_mode:
            raise OneccError(
                cache.snapshot(commit),
                "all files of the snapshot to be in the cache",
                "%d missing, such as %s" % (len(missing), missing[0]),
                "Fetch them first.",
            )
        if not module.check_mode:
            hf_cache.accept(cache, params["node"], seen)
            if not linked:
                hf_cache.publish(cache, commit, files)
            # Last: what is noted is there.
            for path, text in new_notes.items():
                hf_cache.write_atomically(path, text)
            for path in [*old, os.path.join(cache.notes, "progress")]:
                hf_cache.remove(path)
    except OneccError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(
            msg=str(
                OneccError(
                    cache.folder, "storage that takes links and notes", str(error), "Check space and permissions there."
                )
            )
        )
    module.exit_json(
        changed=bool(not linked or new_notes or old),
        folder=cache.snapshot(commit),
        cleaned=[os.path.relpath(path, cache.folder) for path in old],
    )


if __name__ == "__main__":
    main()
