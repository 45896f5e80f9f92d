# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Options of the modules that have a service."""

    DOCUMENTATION = r"""
options:
  name:
    description: The name of the service, such as V(onecc-ray).
    type: str
    required: true
  definition:
    description:
      - What the service is. It becomes a unit of systemd where that is the node's init, and a program of supervisord
        where it is not.
    type: dict
    suboptions:
      description:
        description: What it is called.
        type: str
        required: true
      documentation:
        description: Addresses of what is to be read about it.
        type: list
        elements: str
        default: []
      command:
        description: The program with its arguments.
        type: list
        elements: str
        required: true
      kind:
        description:
          - V(program) runs on, and is started anew whenever it ends. V(notify) does the same, and tells systemd that
            it is up.
          - V(once) does something and ends, before programs are started.
        type: str
        choices: [program, notify, once]
        default: program
      after:
        description: Services that it is started after.
        type: list
        elements: str
        default: []
      reload:
        description:
          - What is run to take up new settings. A program gets SIGHUP afterwards, unless this fails.
        type: list
        elements: str
        default: []
      stop:
        description: What takes back what a service of the kind V(once) has done.
        type: list
        elements: str
        default: []
      stop_timeout:
        description: Seconds that it gets to end before it is killed.
        type: int
        default: 90
      outlived:
        description: Whether what it starts goes on when it ends. Otherwise all its processes end with it.
        type: bool
        default: false
      restricted:
        description: Whether it may not gain privileges, as by programs that are set-user-ID.
        type: bool
        default: false
      open_files:
        description: How many files it may have open.
        type: int
      systemd:
        description: Lines for the parts of the unit, for what supervisord has no like of.
        type: dict
        default: {}
        suboptions:
          unit:
            description: Lines for C([Unit]).
            type: list
            elements: str
            default: []
          service:
            description: Lines for C([Service]).
            type: list
            elements: str
            default: []
          install:
            description: Lines for C([Install]), in place of C(WantedBy=multi-user.target).
            type: list
            elements: str
            default: []
  state_dir:
    description: The folder on the node with all that was deployed.
    type: path
    default: /var/lib/onecc
  tools:
    description: The Python environment with supervisord, to write a service down where systemd is not the init.
    type: path
    default: ""
"""
