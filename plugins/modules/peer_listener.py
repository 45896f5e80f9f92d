#!/usr/bin/python
# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: peer_listener
short_description: Answers calls of other nodes for a short time
version_added: 0.1.0
description:
  - Listens on ports that a cluster will use, so that M(onecc.vllm.peer_check) on the other nodes can tell whether
    they are reached. Ports that are taken are left out.
  - Nothing but the node's time and zeros is told. It ends by itself after O(seconds).
author:
  - The onecc.vllm authors (@onecc)
attributes:
  check_mode:
    description: Can run in check mode and tells what would change.
    support: none
  diff_mode:
    description: Returns details on what has changed.
    support: none
options:
  state:
    description: Whether to listen.
    type: str
    choices: [started, stopped]
    default: started
  address:
    description: The node's address on the network between the nodes. Required to listen.
    type: str
  ports:
    description: Where to listen.
    type: list
    elements: int
    default: []
  seconds:
    description: How long to listen at most.
    type: int
    default: 60
seealso:
  - module: onecc.vllm.peer_check
"""

EXAMPLES = r"""
- name: Listen
  onecc.vllm.peer_listener:
    address: 198.18.0.10
    ports: [6379, 8000]

- name: Listen no more
  onecc.vllm.peer_listener:
    state: stopped
"""

RETURN = r"""
ports:
  description: The ports on which it listens.
  returned: when O(state=started)
  type: list
  elements: int
  sample: [6379, 8000]
"""

import os
import shutil

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onecc.vllm.plugins.module_utils.background import Background
from ansible_collections.onecc.vllm.plugins.module_utils.errors import OneccError
from ansible_collections.onecc.vllm.plugins.module_utils.peers import answer, listen

# Gone with a reboot, as the process is, or soon after.
FOLDER = "/run/onecc-peers" if os.geteuid() == 0 else "/tmp/onecc-peers-%d" % os.geteuid()
CALL_TIMEOUT = 10


def start(params):
    job = Background(FOLDER)
    job.stop()
    servers = listen(params["address"], params["ports"], CALL_TIMEOUT)

    def work():
        answer(servers, params["seconds"])
        return {}

    job.start(work)
    return {"ports": [server.server_address[1] for server in servers]}


def stop():
    Background(FOLDER).stop()
    shutil.rmtree(FOLDER, ignore_errors=True)
    return {}


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["started", "stopped"], "default": "started"},
            "address": {"type": "str"},
            "ports": {"type": "list", "elements": "int", "default": []},
            "seconds": {"type": "int", "default": 60},
        },
        required_if=[("state", "started", ["address"])],
    )
    try:
        result = start(module.params) if module.params["state"] == "started" else stop()
    except OSError as error:
        module.fail_json(msg="%s: cannot listen: %s" % (module.params["address"], error))
    except OneccError as error:
        module.fail_json(msg=str(error))
    # What is gone within a minute is no change of the node.
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
