#!/usr/bin/python
# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hf_progress
short_description: Shows how far a download by several nodes is
version_added: 0.1.0
description:
  - Shows bytes, rate and time left, per node and in total, until every node has ended or says nothing any more.
    Reads what the jobs of M(onecc.vllm.hf_download) tell on shared storage, so it runs on one node for all.
  - Does not judge. Whether a share was brought is for O(onecc.vllm.hf_download#module:state=finished) to say.
extends_documentation_fragment:
  - onecc.vllm.progress
  - onecc.vllm.hub
  - onecc.vllm.hub.cache
  - onecc.vllm.read_only
author:
  - The onecc.vllm authors (@onecc)
options:
  nodes:
    description: Names of the nodes that have a share.
    type: list
    elements: str
    required: true
seealso:
  - module: onecc.vllm.hf_download
"""

EXAMPLES = r"""
- name: Watch the download
  onecc.vllm.hf_progress:
    repo: meta-llama/Llama-3.1-405B-Instruct
    cache_dir: /home/ubuntu/shared/.cache/huggingface/hub
    nodes: [node00, node01]
  run_once: true
"""

RETURN = r"""
nodes:
  description: What each node told last, sizes in bytes.
  returned: success
  type: dict
  sample:
    node00:
      node: node00
      state: running
      beat: 7231498211304
      total: 136303474
      fetched: 81788928
      check_total: 0
      checked: 0
      files: 3
      ready: 1
      refetched: []
      message: ''
"""

import json

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onecc.vllm.plugins.module_utils.hf_cache import Cache
from ansible_collections.onecc.vllm.plugins.module_utils.hub import REPO_OPTION
from ansible_collections.onecc.vllm.plugins.module_utils.progress import OPTIONS, OVER
from ansible_collections.onecc.vllm.plugins.module_utils.waiter import wait_until


def look(cache, nodes):
    told = {}
    for node in nodes:
        try:
            with open(cache.progress(node), encoding="utf-8") as stream:
                told[node] = json.load(stream)
        except (OSError, ValueError):
            # Not there yet, just being written, or not to be read for the moment.
            continue
    return told


def main():
    module = AnsibleModule(
        argument_spec=dict(
            REPO_OPTION,
            cache_dir={"type": "path", "required": True},
            nodes={"type": "list", "elements": "str", "required": True},
            **OPTIONS,
        ),
        supports_check_mode=True,
    )
    cache = Cache(module.params["cache_dir"], module.params["repo"])
    nodes = module.params["nodes"]

    def over(told):
        return all(told.get(node, {}).get("state") in OVER for node in nodes)

    told, _over, _waited = wait_until(lambda: look(cache, nodes), over, module.params["wait"], 0.2)
    module.exit_json(changed=False, nodes=told)


if __name__ == "__main__":
    main()
