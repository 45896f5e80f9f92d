#!/usr/bin/python
# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ray_cluster_info
short_description: Reports a Ray cluster as data, and can wait until it is whole
version_added: 0.1.0
description:
  - Reads nodes, GPUs and placement groups of a Ray cluster from the dashboard of its head.
  - With O(expected), waits until every expected node is alive with its GPUs, and fails with what is
    missing and where.
  - Needs nothing but Python on the host it runs on. Ray's dashboard usually listens on the loopback of
    the head, so the module runs there.
extends_documentation_fragment:
  - onecc.vllm.read_only
author:
  - The onecc.vllm authors (@onecc)
options:
  url:
    description: Where the dashboard of the head listens.
    type: str
    default: http://127.0.0.1:8265
  token_file:
    description:
      - A file on the host that holds Ray's authentication token, for clusters with token authentication.
    type: path
  expected:
    description: The nodes that must be alive in the cluster, each of them once, and no others.
    type: list
    elements: dict
    suboptions:
      name:
        description: What to call the node in messages, such as its name in the inventory.
        type: str
        required: true
      address:
        description: The address Ray knows the node by, C(ray start --node-ip-address).
        type: str
        required: true
      gpus:
        description: The number of GPUs the node brings.
        type: int
        default: 0
  timeout:
    description:
      - Seconds to wait for O(expected), or for the dashboard to answer.
      - With V(0) the module looks once.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Read the cluster
  onecc.vllm.ray_cluster_info:
  register: ray

- name: Wait until two nodes with eight GPUs each are there
  onecc.vllm.ray_cluster_info:
    expected:
      - {name: node00, address: 172.26.135.124, gpus: 8}
      - {name: node01, address: 172.26.135.125, gpus: 8}
    timeout: 120
"""

RETURN = r"""
cluster:
  description: The Ray cluster.
  returned: success
  type: dict
  contains:
    ray_version:
      description: Ray's version on the head.
      type: str
      sample: 2.60.0
    session_name:
      description: Ray's session. A restarted head has a new one.
      type: str
      sample: session_2026-11-22_21-13-50_384546_7
    nodes:
      description:
        - Every node Ray knows, dead ones too, the head first. A node that left and came back stands here
          twice, once dead. The time of death is in milliseconds since 1970, 0 for the living.
      type: list
      elements: dict
      sample:
        - address: 198.18.0.10
          cpus_total: 2
          ended_ms: 0
          gpus_total: 1
          gpus_used: 1
          is_head: true
          node_id: b19f3b2b5b8a20b3ca3e1e60efec69558c698f0525d36b2519c09d67
          state: ALIVE
          state_message: ''
        - address: 198.18.0.11
          cpus_total: 2
          ended_ms: 0
          gpus_total: 1
          gpus_used: 1
          is_head: false
          node_id: 6410ba911a718ca69c198cade4c7f69b90b5fbc4caa5279ed5b89853
          state: ALIVE
          state_message: ''
    nodes_alive:
      description: Number of living nodes.
      type: int
      sample: 2
    gpus_total:
      description: Number of GPUs of the living nodes.
      type: float
      sample: 2
    gpus_used:
      description: Number of those that a placement group or task holds.
      type: float
      sample: 2
    placement_groups:
      description: Placement groups with the address and the resources of each bundle.
      type: list
      elements: dict
      sample:
        - bundles:
            - {address: 198.18.0.11, resources: {GPU: 1.0}}
            - {address: 198.18.0.10, resources: {GPU: 1.0}}
          placement_group_id: a6ea63bbd27986dd0d4f9aa7495f01000000
          state: CREATED
missing:
  description: What O(expected) asks for and the cluster lacks, a line each. Not empty only on failure.
  returned: when O(expected) is given
  type: list
  elements: str
  sample: []
waited_s:
  description: Seconds from the first look to the last.
  returned: always
  type: float
  sample: 3.1
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onecc.vllm.plugins.module_utils.errors import OneccError
from ansible_collections.onecc.vllm.plugins.module_utils.ray_state import fetch, missing, read_token, summarize
from ansible_collections.onecc.vllm.plugins.module_utils.waiter import wait_until


def look(params, token):
    """One look at the cluster: what is there, what is missing, or why that cannot be told."""
    try:
        cluster = summarize(fetch(params["url"], token))
    except OneccError as error:
        return {"error": error}
    return {"cluster": cluster, "missing": missing(cluster, params["expected"]) if params["expected"] else []}


def is_whole(seen):
    """Whether the cluster answered and lacks nothing."""
    return "cluster" in seen and not seen["missing"]


def main():
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "default": "http://127.0.0.1:8265"},
            "token_file": {"type": "path"},
            "expected": {
                "type": "list",
                "elements": "dict",
                "options": {
                    "name": {"type": "str", "required": True},
                    "address": {"type": "str", "required": True},
                    "gpus": {"type": "int", "default": 0},
                },
            },
            "timeout": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    params = module.params
    token = ""
    if params["token_file"]:
        try:
            token = read_token(params["token_file"])
        except OSError as error:
            module.fail_json(msg="Ray's token cannot be read: %s" % error)

    seen, whole, waited = wait_until(lambda: look(params, token), is_whole, params["timeout"])
    result = {"waited_s": round(waited, 1)}
    if "error" in seen:
        module.fail_json(msg="%s (after %d s)" % (seen["error"], waited), **result)
    result["cluster"] = seen["cluster"]
    if params["expected"]:
        result["missing"] = seen["missing"]
    if not whole:
        cluster = seen["cluster"]
        wrong = OneccError(
            params["url"],
            "%d Ray nodes with %d GPUs" % (len(params["expected"]), sum(node["gpus"] for node in params["expected"])),
            "%d with %s after %d s: %s"
            % (cluster["nodes_alive"], cluster["gpus_total"], waited, "; ".join(seen["missing"])),
            "See 'docker logs onecc-ray' on the nodes named.",
        )
        module.fail_json(msg=str(wrong), **result)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
