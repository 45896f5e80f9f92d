# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CPU communicator, which uses shared memory only where memory is shared."""

import os
import socket

import torch
from vllm.distributed.device_communicators.cpu_communicator import CpuCommunicator


class RayCpuCommunicator(CpuCommunicator):
    """Falls back to Gloo over TCP unless every rank sees the same /dev/shm.

    The stock check compares group names, which agree across hosts too, and then fails to open the
    other host's segment.
    """

    def _all_group_ranks_share_shm_group_name(self) -> bool:
        shm = os.stat("/dev/shm")
        mine = (socket.gethostname(), shm.st_dev, shm.st_ino)
        seen: list = [None] * self.world_size
        torch.distributed.all_gather_object(seen, mine, group=self.device_group)
        return len(set(seen)) == 1 and super()._all_group_ranks_share_shm_group_name()
