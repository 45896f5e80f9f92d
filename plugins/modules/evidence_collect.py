#!/usr/bin/python
# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: evidence_collect
short_description: Collects what a node can tell about a failure
version_added: 0.1.0
description:
  - Writes one archive with what a maintainer would ask for - logs of the containers, of Ray and of the kernel, the
    state of containers, disks, network and GPUs.
  - Every part is bounded in size and time, and what hangs or is missing is noted instead. So a node whose engine or
    driver does not answer is collected from as well.
  - Secrets are taken out, by what they look like, by the names of settings, by what lies in C(secrets) below
    O(state_dir), and by O(secrets).
  - Leaves a folder that is to be removed, RV(folder).
extends_documentation_fragment:
  - onecc.vllm.read_only
author:
  - The onecc.vllm authors (@onecc)
options:
  name:
    description: What the archive is called after.
    type: str
    required: true
  state_dir:
    description: What the collection keeps on the node's own disk.
    type: path
    required: true
  dashboard_url:
    description: Where Ray's dashboard listens, on the head. Empty elsewhere.
    type: str
    default: ""
  token_file:
    description: A file on the node that holds Ray's authentication token. Needed with O(dashboard_url).
    type: path
  log_mib:
    description: The most that is taken of one log, from its end, in MiB. All together may be 16 times as much.
    type: int
    default: 2
  timeout:
    description: Seconds for one command.
    type: int
    default: 15
  secrets:
    description: Values to remove wherever they stand, such as the token of a hub.
    type: list
    elements: str
    default: []
seealso:
  - module: onecc.vllm.diagnosis
"""

EXAMPLES = r"""
- name: Collect what the node can tell
  onecc.vllm.evidence_collect:
    name: node00
    state_dir: /var/lib/onecc
    dashboard_url: http://127.0.0.1:8265
    token_file: /var/lib/onecc/secrets/ray/token
    secrets: ["{{ lookup('ansible.builtin.env', 'HF_TOKEN') }}"]
  register: evidence
"""

RETURN = r"""
archive:
  description: The archive, which only root can read.
  returned: success
  type: str
  sample: /run/onecc-evidence-8cy1n2lu/node00.tar.gz
folder:
  description: The folder that was made for it.
  returned: success
  type: str
  sample: /run/onecc-evidence-8cy1n2lu
size:
  description: Size of the archive in bytes.
  returned: success
  type: int
  sample: 113562
timed_out:
  description: What did not come in time.
  returned: success
  type: list
  elements: str
  sample: [docker-version.txt]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onecc.vllm.plugins.module_utils import evidence
from ansible_collections.onecc.vllm.plugins.module_utils.errors import OneccError


def main():
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state_dir": {"type": "path", "required": True},
            "dashboard_url": {"type": "str", "default": ""},
            "token_file": {"type": "path", "no_log": False},
            "log_mib": {"type": "int", "default": 2},
            "timeout": {"type": "int", "default": 15},
            "secrets": {"type": "list", "elements": "str", "default": [], "no_log": True},
        },
        supports_check_mode=True,
    )
    params = module.params
    limit = params["log_mib"] * evidence.MIB
    collection = evidence.Collection(params["name"], limit, 16 * limit, params["timeout"], params["secrets"])
    try:
        evidence.collect(collection, params["state_dir"], params["dashboard_url"], params["token_file"])
        data = evidence.pack(collection)
        folder, archive = evidence.store(data, params["name"])
    except OneccError as error:
        module.fail_json(msg=str(error))
    timed_out = collection.state["timed_out"]
    module.exit_json(changed=False, folder=folder, archive=archive, size=len(data), timed_out=timed_out)


if __name__ == "__main__":
    main()
