#!/usr/bin/python
# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: show
short_description: Prints lines as they are
version_added: 0.1.0
description:
  - Prints tables and summaries for a person to read, on the controller. M(ansible.builtin.debug) would fold or quote
    long lines, depending on the format that Ansible is set to print results in.
  - An action plugin does the work; nothing runs on the host.
extends_documentation_fragment:
  - onecc.vllm.read_only
author:
  - The onecc.vllm authors (@onecc)
options:
  lines:
    description: What to print.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Show what was found
  onecc.vllm.show:
    lines: "{{ rows | onecc.vllm.preflight_table }}"
"""

RETURN = r"""
lines:
  description: What was printed.
  returned: always
  type: list
  elements: str
  sample: [CHECK  NODE    RESULT  FOUND, ssh    node00  ok      answers]
"""
