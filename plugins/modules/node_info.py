#!/usr/bin/python
# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_info
short_description: Reads what a node of a serving cluster has
version_added: 0.1.0
description:
  - Reads GPUs, network addresses, container engine, serving image and shared storage of a node in one go.
  - What is not there is reported as such; the module does not judge.
extends_documentation_fragment:
  - onecc.vllm.read_only
author:
  - The onecc.vllm authors (@onecc)
options:
  interface:
    description: The interface of the cluster's network. The default is that of the default route.
    type: str
  shared_dir:
    description: The shared folder.
    type: path
    required: true
  probe:
    description: A file in the shared folder that another node has made, to see whether it is there.
    type: path
  image:
    description: The serving image, by name.
    type: str
  paths:
    description: Files or folders of which to tell whether they exist.
    type: list
    elements: path
    default: []
"""

EXAMPLES = r"""
- name: Read the node
  onecc.vllm.node_info:
    shared_dir: /home/ubuntu/shared
    image: onecc/vllm:0123456789ab
  register: node
"""

RETURN = r"""
hostname:
  description: The node's own name.
  returned: always
  type: str
  sample: node00
kernel:
  description: The release of its kernel.
  returned: always
  type: str
  sample: 6.8.0-60-generic
interfaces:
  description: IPv4 addresses of the interfaces that are up.
  returned: always
  type: dict
  sample: {lo: [127.0.0.1], eth0: [198.18.0.10]}
interface:
  description: O(interface), or the interface of the default route. Empty if there is neither.
  returned: always
  type: str
  sample: eth0
address:
  description: The first address of that interface. Empty if it has none.
  returned: always
  type: str
  sample: 198.18.0.10
gpus:
  description: NVIDIA GPUs with their memory in MiB.
  returned: always
  type: list
  elements: dict
  sample: [{index: 0, name: NVIDIA H100 80GB HBM3, memory_mib: 81559}]
gpu_error:
  description: Why there is no list of GPUs.
  returned: always
  type: str
  sample: ''
infiniband:
  description: Whether the node has C(/dev/infiniband).
  returned: always
  type: bool
  sample: true
engine:
  description: The version of the Docker Engine, or why it does not answer.
  returned: always
  type: dict
  sample: {version: 20.10.24+dfsg1, error: ''}
image_id:
  description: The ID of O(image) in the engine. Empty if it is not there.
  returned: always
  type: str
  sample: sha256:f4c1edef0b2d2a1cbd5b8fa11f7df2e4ac40a8cf9a5f8e43c4d7b0cbb18f0a6c
python_requests:
  description: Whether the system's Python can import requests, which community.docker needs.
  returned: always
  type: bool
  sample: true
python_venv:
  description: Whether the system's Python can make virtual environments.
  returned: always
  type: bool
  sample: true
shared:
  description: The shared folder as this node sees it, free space in bytes.
  returned: always
  type: dict
  sample:
    exists: true
    free: 10995116277760
    fstype: nfs4
    mount_point: /home/ubuntu/shared
    probe_seen: true
    source: 172.26.0.2:/shared
    writable: true
paths:
  description: Which of O(paths) exist.
  returned: always
  type: dict
  sample: {/dev/infiniband: true}
"""

import importlib.util
import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onecc.vllm.plugins.module_utils import node


def main():
    module = AnsibleModule(
        argument_spec={
            "interface": {"type": "str"},
            "shared_dir": {"type": "path", "required": True},
            "probe": {"type": "path"},
            "image": {"type": "str"},
            "paths": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    params = module.params
    interfaces = node.parse_interfaces(module.run_command(node.ADDRESS_COMMAND, check_rc=True)[1])
    interface = params["interface"] or node.parse_default_interface(
        module.run_command(node.ROUTE_COMMAND, check_rc=True)[1]
    )
    engine = node.read_engine(module.run_command)
    system = os.uname()
    module.exit_json(
        changed=False,
        hostname=system.nodename,
        kernel=system.release,
        interfaces=interfaces,
        interface=interface,
        address=(interfaces.get(interface) or [""])[0],
        infiniband=os.path.isdir("/dev/infiniband"),
        engine=engine,
        image_id=node.read_image(module.run_command, params["image"]) if engine["version"] else "",
        python_requests=importlib.util.find_spec("requests") is not None,
        python_venv=importlib.util.find_spec("ensurepip") is not None,
        shared=node.read_shared(params["shared_dir"], params["probe"]),
        paths={path: os.path.exists(path) for path in params["paths"]},
        **node.read_gpus(module.run_command),
    )


if __name__ == "__main__":
    main()
