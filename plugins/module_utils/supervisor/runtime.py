# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Ray and the engine run in: containers of the Docker Engine, or processes of the node.

Both know a long-lived process by its name, onecc-ray or onecc-vllm, and have five methods: get, processes, printed,
start and stop. What the process consists of the deployment has written down before: it has made a container and not
started it, or written a file, see the module process_spec.
"""

from __future__ import annotations

import dataclasses
import os


class EngineError(Exception):
    """The container engine, or what stands for it, did not do what it was asked to."""


@dataclasses.dataclass(frozen=True)
class Container:
    """What counts of a container, or of a process with all that it has started.

    :param id: another one has another
    :param status: created, running, exited, …
    :param started_at: as the engine writes it: the same text is the same start
    :param exit_code: of the last run
    """

    id: str
    status: str
    started_at: str
    exit_code: int

    @property
    def running(self):
        return self.status == "running"


def run_dir(state_dir):
    """Where that lies which is gone with a boot: the system's own folder, which is root's, or one in the state folder.

    Others have nothing on a node's disk that is emptied by a boot and by nothing else. What is left of an earlier boot
    there is told by the boot's id.

    :param state_dir: what the collection keeps on the node
    """
    return "/run" if os.geteuid() == 0 else os.path.join(state_dir, "run")


def open_runtime(settings):
    """The runtime that the settings of a program name.

    :param settings: dictionary; runtime is docker or venv, and where it is venv processes is the folder of the files
    :raise EngineError: if it does not answer
    """
    if settings.get("runtime") == "venv":
        from .processes import Processes

        return Processes(settings["processes"])
    from .containers import Containers

    return Containers()
