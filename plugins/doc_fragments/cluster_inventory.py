# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Documentation of what the inventory plugins have in common."""

    DOCUMENTATION = r"""
options:
  head_group:
    description: The group of the node that runs Ray's head. Set C(cluster_head_group) likewise when you change it.
    type: str
    default: head
  worker_group:
    description: The group of all other nodes. Set C(cluster_worker_group) likewise when you change it.
    type: str
    default: workers
notes:
  - The name of the file ends in C(1cc.yml) or C(onecc.yml), such as C(my.onecc.yml); C(.yaml) will do as well.
  - Variables such as C(cluster_shared_dir) and C(model_download_repo) come from a folder C(group_vars) beside the
    file, from O(compose), or from C(-e).
  - Connections are pipelined, with fewer round trips for every task. Where sudo wants a terminal (C(requiretty)), set
    C(ansible_pipelining) to false there; what C(ansible.cfg) says does not count.
"""
