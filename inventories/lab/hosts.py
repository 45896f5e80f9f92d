#!/usr/bin/env python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's nodes: as many as LAB_NODES says, the first of them the head."""

import json
import os
import pathlib

nodes = ["node%02d" % number for number in range(int(os.environ.get("LAB_NODES", "2")))]
root = pathlib.Path(__file__).resolve().parents[2]
variables = {"ansible_ssh_common_args": "-F %s/build/lab/ssh_config" % root, "lab_root": str(root)}
inventory = {
    "head": {"hosts": nodes[:1]},
    "workers": {"hosts": nodes[1:]},
    "_meta": {"hostvars": {node: variables for node in nodes}},
}
print(json.dumps(inventory, indent=2))
