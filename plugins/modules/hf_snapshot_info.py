#!/usr/bin/python
# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hf_snapshot_info
short_description: Tells what there is of a model's snapshot, and how to share out the rest
version_added: 0.1.0
description:
  - Looks at a Hugging Face cache on shared storage, which files of a commit are there and checked, which are
    missing, and whether they would fit. Asks no hub.
  - A file counts as checked when it looks as it did when its hash was found right. See O(trust).
extends_documentation_fragment:
  - onecc.vllm.hub
  - onecc.vllm.hub.patterns
  - onecc.vllm.hub.cache
  - onecc.vllm.read_only
author:
  - The onecc.vllm authors (@onecc)
options:
  commit:
    description:
      - The commit of the model.
      - For a branch or tag, the commit that it stood for when a snapshot of it was last made.
    type: str
    required: true
  revision:
    description: The branch or tag that stands for O(commit), for which it shall be noted.
    type: str
  all_files:
    description:
      - All files of the commit, as M(onecc.vllm.hf_model_info) gives them. The default is what was noted when the
        snapshot was made.
    type: list
    elements: dict
  nodes:
    description: Names of the nodes that will share the work.
    type: list
    elements: str
    default: []
  state_dir:
    description: The folder in which M(onecc.vllm.hf_download) keeps its job on this node.
    type: path
  trust:
    description: Whether to take earlier checks of files as good. If not, all files are to be read again.
    type: bool
    default: true
seealso:
  - module: onecc.vllm.hf_model_info
  - module: onecc.vllm.hf_download
  - module: onecc.vllm.hf_snapshot
"""

EXAMPLES = r"""
- name: Look whether a pinned commit is there, without asking any hub
  onecc.vllm.hf_snapshot_info:
    repo: meta-llama/Llama-3.1-405B-Instruct
    commit: be673f326cab4cd22ccfef76109faf68e41aa5f1
    exclude: [original/*]
    cache_dir: /home/ubuntu/shared/.cache/huggingface/hub
  register: snapshot

- name: Say so
  ansible.builtin.debug:
    msg: "{{ snapshot.known and snapshot.complete }}"
"""

RETURN = r"""
known:
  description: Whether it is known which files the commit has. If not, little else is returned.
  returned: success
  type: bool
  sample: true
complete:
  description: Whether the snapshot is visible and noted, and every file of it checked.
  returned: success
  type: bool
  sample: false
commit:
  description: The commit.
  returned: success
  type: str
  sample: ac13158490e6f62032d3cf4c84e5a84d780e13f2
folder:
  description: The snapshot's folder.
  returned: success
  type: str
  sample: "/home/ubuntu/shared/.cache/huggingface/hub/models--HuggingFaceTB--SmolLM2-135M-Instruct/snapshots/\
    ac13158490e6f62032d3cf4c84e5a84d780e13f2"
all_files:
  description: O(all_files), or what was noted.
  returned: success
  type: list
  elements: dict
  sample: []
left_out_size:
  description: Size of the files that the patterns leave out, in bytes.
  returned: success
  type: int
  sample: 0
size:
  description: Size of the chosen files in bytes.
  returned: success
  type: int
  sample: 272606948
missing_size:
  description: Bytes to fetch.
  returned: success
  type: int
  sample: 63705680
unverified_size:
  description: Bytes that are there and must be read to be trusted.
  returned: success
  type: int
  sample: 0
todo:
  description: The files that need work, with state (missing or unverified) and have (bytes that are there).
  returned: success
  type: list
  elements: dict
  sample:
    - path: model-00001-of-00005.safetensors
      size: 63705680
      blob: 2bd5ba2dc27d9e6ef3c4d34bd2e2a5c0a8a3cdb27ba0e5a5d2bb5f2ad7a0a4be
      state: missing
      have: 0
shares:
  description: RV(todo) split over O(nodes), largest first.
  returned: success
  type: dict
  sample: {node00: [], node01: []}
free:
  description: Bytes free in O(cache_dir), or where it will be.
  returned: success
  type: int
  sample: 10995116277760
running:
  description: Whether a job of an earlier run is still downloading on this node. False without O(state_dir).
  returned: success
  type: bool
  sample: false
write_error:
  description: Why no file can be made in O(cache_dir), or where it will be. Empty if one can.
  returned: success
  type: str
  sample: ''
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onecc.vllm.plugins.module_utils import hf_cache
from ansible_collections.onecc.vllm.plugins.module_utils.background import Background
from ansible_collections.onecc.vllm.plugins.module_utils.hub import PATTERN_OPTIONS, REPO_OPTION, choose


def main():
    module = AnsibleModule(
        argument_spec=dict(
            REPO_OPTION,
            **PATTERN_OPTIONS,
            commit={"type": "str", "required": True},
            revision={"type": "str"},
            all_files={"type": "list", "elements": "dict"},
            cache_dir={"type": "path", "required": True},
            nodes={"type": "list", "elements": "str", "default": []},
            state_dir={"type": "path"},
            trust={"type": "bool", "default": True},
        ),
        supports_check_mode=True,
    )
    params = module.params
    cache = hf_cache.Cache(params["cache_dir"], params["repo"])
    commit = hf_cache.resolve(cache, params["commit"])
    result = {
        "changed": False,
        "commit": commit,
        # Not called path: Ansible adds owner, mode and size of what a module returns as path.
        "folder": cache.snapshot(commit),
        "write_error": hf_cache.why_not_writable(cache.blobs),
        "running": bool(params["state_dir"]) and Background(params["state_dir"]).running(),
    }
    all_files = params["all_files"]
    if all_files is None:
        all_files = (hf_cache.read_manifest(cache, commit) or {}).get("all_files")
    if all_files is None:
        module.exit_json(known=False, **result)
    files = choose(all_files, params["include"], params["exclude"], params["duplicates"])
    seen = hf_cache.survey(cache, files, params["trust"])
    todo = [file for file in seen if file["state"] != "verified"]
    unnoted = hf_cache.missing_notes(cache, params["repo"], commit, params["revision"], all_files)
    linked = all(hf_cache.is_linked(cache, commit, file) for file in seen)
    # A blob may be there under several names.
    work = {file["blob"]: file for file in todo}.values()
    module.exit_json(
        known=True,
        **result,
        complete=bool(seen) and linked and not todo and not unnoted,
        all_files=all_files,
        size=sum(file["size"] for file in seen),
        left_out_size=sum(file["size"] for file in all_files) - sum(file["size"] for file in files),
        missing_size=sum(file["size"] - file["have"] for file in work if file["state"] == "missing"),
        unverified_size=sum(file["size"] for file in work if file["state"] == "unverified"),
        todo=todo,
        shares=hf_cache.split(todo, params["nodes"]) if params["nodes"] else {},
        free=hf_cache.free_space(cache.blobs),
    )


if __name__ == "__main__":
    main()
