# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes to the file $ONECC_RECORD a line of JSON for each task that begins, and for what it returned on each host."""

from __future__ import annotations

DOCUMENTATION = r"""
name: record
type: aggregate
short_description: Writes results of tasks as lines of JSON
description: For tests/gpu/run.py, which reads what a playbook has measured.
"""

import json
import os
import time

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "record"
    CALLBACK_NEEDS_ENABLED = True

    def write(self, status, result):
        task = result._task
        line = {
            "at": time.time(),
            "status": status,
            "host": result._host.get_name(),
            "task": task.get_name(),
            "action": task.action,
            "result": result._result,
        }
        with open(os.environ["ONECC_RECORD"], "a", encoding="utf-8") as stream:
            stream.write(json.dumps(line, default=str) + "\n")

    def v2_playbook_on_task_start(self, task, is_conditional):
        line = {"at": time.time(), "status": "start", "task": task.get_name(), "action": task.action}
        with open(os.environ["ONECC_RECORD"], "a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")

    def v2_runner_on_ok(self, result):
        self.write("ok", result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self.write("failed", result)

    def v2_runner_on_unreachable(self, result):
        self.write("unreachable", result)
