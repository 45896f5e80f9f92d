#!/usr/bin/python
# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_progress
short_description: Shows how far the start of an engine is
version_added: 0.1.0
description:
  - Shows what the engine waits for, how much of the weights it has loaded, and what it does then, until it is about to
    answer or there is no hope of that. Reads what the program that looks after the engine tells, which reads it from
    vLLM's log.
  - Does not judge. Whether the engine answers is for M(onecc.vllm.openai_query) to say.
extends_documentation_fragment:
  - onecc.vllm.progress
  - onecc.vllm.read_only
author:
  - The onecc.vllm authors (@onecc)
options:
  url:
    description: Where the program that looks after the engine tells its state.
    type: str
    required: true
  timeout:
    description: Seconds after which nothing is shown any more.
    type: int
    default: 3600
seealso:
  - module: onecc.vllm.openai_query
"""

EXAMPLES = r"""
- name: Watch the engine start
  onecc.vllm.engine_progress:
    url: http://127.0.0.1:8001/status
    display: lines
"""

RETURN = r"""
words:
  description: What the engine does, as it was shown last; empty if nothing looks after it.
  returned: success
  type: str
  sample: "loading the weights: 40 % (12 of 30)"
over:
  description: Whether it answers, is about to, or will not by itself.
  returned: success
  type: bool
  sample: true
timeout:
  description: Seconds after which nothing is shown any more.
  returned: success
  type: int
  sample: 3600
waited_s:
  description: Seconds for which it was watched.
  returned: success
  type: float
  sample: 31.4
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onecc.vllm.plugins.module_utils.progress import OPTIONS
from ansible_collections.onecc.vllm.plugins.module_utils.starts import is_near, judge, words_of
from ansible_collections.onecc.vllm.plugins.module_utils.supervisor.base import read
from ansible_collections.onecc.vllm.plugins.module_utils.waiter import wait_until


def look(url):
    """What is told, None if nothing answers."""
    try:
        return read(url)
    except (OSError, ValueError):
        return None


def is_over(status):
    return status is not None and (is_near(status) or bool(judge(status)))


def main():
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "timeout": {"type": "int", "default": 3600},
            **OPTIONS,
        },
        supports_check_mode=True,
    )
    params = module.params
    status, over, waited = wait_until(lambda: look(params["url"]), is_over, params["wait"], 0.5)
    words = words_of(status) if status else ""
    module.exit_json(changed=False, words=words, over=over, timeout=params["timeout"], waited_s=round(waited, 1))


if __name__ == "__main__":
    main()
