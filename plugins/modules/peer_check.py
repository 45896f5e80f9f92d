#!/usr/bin/python
# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: peer_check
short_description: Tells which ports of other nodes this node reaches
version_added: 0.1.0
description:
  - Calls all ports of all peers at once. Where M(onecc.vllm.peer_listener) answers, large packets and the clocks are
    tried as well.
extends_documentation_fragment:
  - onecc.vllm.read_only
author:
  - The onecc.vllm authors (@onecc)
options:
  address:
    description: The node's own address, which it calls from.
    type: str
    required: true
  peers:
    description: Whom to call.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The other node's name.
        type: str
        required: true
      address:
        description: Its address.
        type: str
        required: true
      ports:
        description: The ports to call.
        type: list
        elements: int
        required: true
      listening:
        description: Those on which M(onecc.vllm.peer_listener) answers. Others are connected to and no more.
        type: list
        elements: int
        required: true
  timeout:
    description: Seconds that a call may take.
    type: int
    default: 5
seealso:
  - module: onecc.vllm.peer_listener
"""

EXAMPLES = r"""
- name: Call the head
  onecc.vllm.peer_check:
    address: 198.18.0.11
    peers:
      - {name: node00, address: 198.18.0.10, ports: [6379, 8000], listening: [8000]}
"""

RETURN = r"""
calls:
  description:
    - What came of each call. C(error) is empty if it was answered.
    - C(offset) is how many seconds the other clock is ahead, C(seconds) what connecting took.
  returned: always
  type: list
  elements: dict
  sample: [{name: node00, port: 6379, error: '', seconds: 0.0003, offset: -0.0001}]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onecc.vllm.plugins.module_utils.peers import call_all

PEER = {
    "name": {"type": "str", "required": True},
    "address": {"type": "str", "required": True},
    "ports": {"type": "list", "elements": "int", "required": True},
    "listening": {"type": "list", "elements": "int", "required": True},
}


def main():
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "peers": {"type": "list", "elements": "dict", "required": True, "options": PEER},
            "timeout": {"type": "int", "default": 5},
        },
        supports_check_mode=True,
    )
    params = module.params
    targets = [
        {"name": peer["name"], "address": peer["address"], "port": port, "talk": port in peer["listening"]}
        for peer in params["peers"]
        for port in peer["ports"]
    ]
    module.exit_json(changed=False, calls=call_all(targets, params["address"], params["timeout"]))


if __name__ == "__main__":
    main()
