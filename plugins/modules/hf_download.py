#!/usr/bin/python
# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hf_download
short_description: Brings one node's share of a model into a Hugging Face cache
version_added: 0.1.0
description:
  - Fetches files of a model in the background of a node, and checks each against the hash that the hub names.
    The job outlives the connection that started it.
  - Goes on where an earlier run was cut off, within a file as well. Files become visible in a snapshot by
    M(onecc.vllm.hf_snapshot).
extends_documentation_fragment:
  - onecc.vllm.hub
  - onecc.vllm.hub.endpoint
  - onecc.vllm.hub.cache
author:
  - The onecc.vllm authors (@onecc)
options:
  state:
    description:
      - V(started) starts the job with O(files), after it has ended one of an earlier run on this node. On other nodes
        such jobs must be V(stopped) first, since they may be writing what is now this node's share.
      - V(finished) waits for the end of the job and tells how it went.
      - V(stopped) ends the job if one runs.
    type: str
    choices: [started, finished, stopped]
    required: true
  state_dir:
    description: A folder on the node's own disk for lock, log, result, and what huggingface_hub keeps for itself.
    type: path
    required: true
  node:
    description: The name that this node has in notes on shared storage. Required to start.
    type: str
  commit:
    description: The commit to fetch. Required to start.
    type: str
  files:
    description: The node's share, as M(onecc.vllm.hf_snapshot_info) gives it. Required to start.
    type: list
    elements: dict
  transport:
    description:
      - V(http) goes on within a file that was cut off, and checks the hash while the bytes come.
      - V(xet) asks for large files by Xet, where the hub offers it. It starts a file anew after an interruption, reads
        it once more to check it, and takes more memory.
      - Files of more than 50 GB come by Xet in any case, since hubs offer them in no other way.
    type: str
    choices: [http, xet]
    default: http
  streams:
    description: Number of files fetched or checked at the same time.
    type: int
    default: 16
  patience:
    description: Seconds without a single byte after which the hub is given up.
    type: int
    default: 300
attributes:
  check_mode:
    support: full
    description: Tells whether there is anything to fetch or check.
  diff_mode:
    support: none
    description: The files are too large to show.
  idempotent:
    support: full
    description: Without files there is nothing to start.
seealso:
  - module: onecc.vllm.hf_snapshot_info
  - module: onecc.vllm.hf_progress
  - module: onecc.vllm.hf_snapshot
"""

EXAMPLES = r"""
- name: Fetch this node's share
  onecc.vllm.hf_download:
    state: started
    repo: meta-llama/Llama-3.1-405B-Instruct
    commit: be673f326cab4cd22ccfef76109faf68e41aa5f1
    files: "{{ snapshot.shares[inventory_hostname] }}"
    node: "{{ inventory_hostname }}"
    cache_dir: /home/ubuntu/shared/.cache/huggingface/hub
    state_dir: /var/lib/onecc/download
    token: "{{ lookup('ansible.builtin.env', 'HF_TOKEN') }}"

- name: Wait for it
  onecc.vllm.hf_download:
    state: finished
    repo: meta-llama/Llama-3.1-405B-Instruct
    cache_dir: /home/ubuntu/shared/.cache/huggingface/hub
    state_dir: /var/lib/onecc/download
"""

RETURN = r"""
fetched:
  description: Bytes that were fetched.
  returned: when O(state) is V(finished)
  type: int
  sample: 136303474
checked:
  description: Bytes of files found in place that were read to check them.
  returned: when O(state) is V(finished)
  type: int
  sample: 0
refetched:
  description: Files that were found corrupt and fetched again.
  returned: when O(state) is V(finished)
  type: list
  elements: str
  sample: []
seconds:
  description: How long the job took.
  returned: when O(state) is V(finished)
  type: float
  sample: 31.4
"""

import importlib.util
import os

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.onecc.vllm.plugins.module_utils import hf_cache, hf_fetch
from ansible_collections.onecc.vllm.plugins.module_utils.background import Background
from ansible_collections.onecc.vllm.plugins.module_utils.errors import OneccError
from ansible_collections.onecc.vllm.plugins.module_utils.hub import ENDPOINT_OPTIONS, REPO_OPTION


def start(module, job):
    params = module.params
    if importlib.util.find_spec("huggingface_hub") is None:
        module.fail_json(msg=missing_required_lib("huggingface_hub"))
    if not params["files"] or module.check_mode:
        module.exit_json(changed=bool(params["files"]))
    share = hf_fetch.Share(
        hf_cache.Cache(params["cache_dir"], params["repo"]),
        params["node"],
        params["files"],
        params["repo"],
        params["commit"],
        (params["endpoint"] or "").rstrip("/") or None,
        params["token"] or False,
        params["transport"],
        params["streams"],
        params["patience"],
    )

    def work():
        # On the node's own disk: what Xet keeps does not bear shared storage.
        os.environ.update(
            HF_HOME=os.path.join(params["state_dir"], "hf"), HF_HUB_DISABLE_TELEMETRY="1", HF_HUB_DOWNLOAD_TIMEOUT="30"
        )
        return share.run()

    # What an earlier run told must not be taken for this one's.
    share.tell("running")
    job.stop()
    job.start(work)
    module.exit_json(changed=True)


def finish(module, job):
    # The job itself has an end: it gives up after some time without a byte.
    job.wait(float("inf"))
    result = job.result()
    if result is None:
        raise OneccError(
            job.folder,
            "the result of a download",
            "none: it was ended from outside, by a reboot or for want of memory",
            "Run this again: it goes on with what is there.",
        )
    module.exit_json(changed=False, **result) if not result["failed"] else module.fail_json(**result)


def main():
    module = AnsibleModule(
        argument_spec=dict(
            REPO_OPTION,
            **ENDPOINT_OPTIONS,
            state={"type": "str", "choices": ["started", "finished", "stopped"], "required": True},
            state_dir={"type": "path", "required": True},
            cache_dir={"type": "path", "required": True},
            node={"type": "str"},
            commit={"type": "str"},
            files={"type": "list", "elements": "dict"},
            transport={"type": "str", "choices": ["http", "xet"], "default": "http"},
            streams={"type": "int", "default": 16},
            patience={"type": "int", "default": 300},
        ),
        required_if=[("state", "started", ["node", "commit", "files"])],
        supports_check_mode=True,
    )
    job = Background(module.params["state_dir"])
    try:
        if module.params["state"] == "started":
            start(module, job)
        if module.params["state"] == "finished":
            finish(module, job)
        running = job.running()
        if not module.check_mode:
            job.stop()
        module.exit_json(changed=running)
    except OneccError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
