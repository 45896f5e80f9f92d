#!/usr/bin/python
# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_progress
short_description: Shows how far a task in the background is with an image, or an environment in its place
version_added: 0.1.0
description:
  - Shows how much of an image has been pulled, built, saved or loaded by a task with C(async), and how fast, until that
    task has ended.
  - Does not judge. What the task came to is for C(ansible.builtin.async_status) to say.
  - An image that is saved or loaded is measured by its archive, so that the share is known; one that is pulled or built
    by what the file system of the container engine has grown, and an environment by that of its own.
extends_documentation_fragment:
  - onecc.vllm.progress
  - onecc.vllm.read_only
author:
  - The onecc.vllm authors (@onecc)
options:
  job:
    description: The file in which the task's result will be, its C(results_file).
    type: path
    required: true
  doing:
    description: What the task does.
    type: str
    choices: [pulling, building, saving, loading, installing]
    required: true
  path:
    description:
      - The archive that is written or read.
      - Of an image that is pulled or built, the engine's data folder; the folder of an environment that is installed.
    type: path
    required: true
  image:
    description: The image that is saved, whose size the archive will have.
    type: str
    default: ""
  timeout:
    description: Seconds without any progress after which it is watched no more.
    type: int
    default: 3600
  limit:
    description: Seconds after which it is watched no more, whatever there is to see.
    type: int
    default: 86400
"""

EXAMPLES = r"""
- name: Load an image
  community.docker.docker_image_load:
    path: /home/ubuntu/shared/image.tar
  async: 3600
  poll: 0
  register: job

- name: Watch it
  onecc.vllm.image_progress:
    job: "{{ job.results_file }}"
    doing: loading
    path: /home/ubuntu/shared/image.tar
    display: lines

- name: Expect it to be loaded
  ansible.builtin.async_status:
    jid: "{{ job.ansible_job_id }}"
"""

RETURN = r"""
over:
  description: Whether the task has ended.
  returned: success
  type: bool
  sample: true
went:
  description: Bytes of the archive that were written or read so far, else bytes in use on the file system.
  returned: success
  type: int
  sample: 3221225472
total:
  description: Bytes that there are to write or to read, 0 if that is not known.
  returned: success
  type: int
  sample: 7516192768
timeout:
  description: Seconds without any progress after which it is watched no more.
  returned: success
  type: int
  sample: 3600
limit:
  description: Seconds after which it is watched no more, whatever there is to see.
  returned: success
  type: int
  sample: 86400
waited_s:
  description: Seconds for which it was watched.
  returned: success
  type: float
  sample: 31.4
"""

import glob
import json
import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onecc.vllm.plugins.module_utils.progress import OPTIONS
from ansible_collections.onecc.vllm.plugins.module_utils.waiter import wait_until

# Where a Docker Engine with the image store of containerd keeps images, whatever its own folder is.
CONTAINERD = "/var/lib/containerd"
DOING = ("pulling", "building", "saving", "loading", "installing")


def is_over(job):
    """Whether a task in the background has ended: only until then its file says that it was started.

    As ansible-core has it, modules/async_wrapper.py and modules/async_status.py.
    """
    try:
        with open(job, encoding="utf-8") as stream:
            return "started" not in json.load(stream)
    # Just being written.
    except (OSError, ValueError):
        return False


def position(path):
    """How far the process is that reads a file, in bytes; 0 if none does."""
    wanted, far = os.path.realpath(path), 0
    for link in glob.glob("/proc/[0-9]*/fd/*"):
        try:
            if os.readlink(link) != wanted:
                continue
            with open(link.replace("/fd/", "/fdinfo/"), encoding="ascii") as stream:
                far = max(far, int(stream.readline().partition(":")[2]))
        # Its process has ended, or closed it.
        except OSError:
            continue
    return far


def size(path):
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def in_use(*paths):
    """Bytes in use on the file systems of some folders, those that are there."""
    used = {}
    for path in paths:
        try:
            found = os.statvfs(path)
            used[os.stat(path).st_dev] = (found.f_blocks - found.f_bfree) * found.f_frsize
        except OSError:
            continue
    return sum(used.values())


def image_size(run_command, image):
    """Bytes of an image, 0 if the engine does not tell."""
    status, text, _error = run_command(["docker", "image", "inspect", "--format", "{{.Size}}", image])
    return int(text) if status == 0 and text.strip().isdigit() else 0


def main():
    module = AnsibleModule(
        argument_spec={
            "job": {"type": "path", "required": True},
            "doing": {"type": "str", "choices": list(DOING), "required": True},
            "path": {"type": "path", "required": True},
            "image": {"type": "str", "default": ""},
            "timeout": {"type": "int", "default": 3600},
            "limit": {"type": "int", "default": 86400},
            **OPTIONS,
        },
        supports_check_mode=True,
    )
    params = module.params
    _over, over, waited = wait_until(lambda: is_over(params["job"]), bool, params["wait"], 0.2)
    path = params["path"]
    places = [path] if params["doing"] == "installing" else [path, CONTAINERD]
    went, total = {
        "saving": lambda: (size(path), image_size(module.run_command, params["image"]) if params["image"] else 0),
        "loading": lambda: (position(path), size(path)),
    }.get(params["doing"], lambda: (in_use(*places), 0))()
    told = {"over": over, "went": went, "total": total, "timeout": params["timeout"], "limit": params["limit"]}
    module.exit_json(changed=False, waited_s=round(waited, 1), **told)


if __name__ == "__main__":
    main()
