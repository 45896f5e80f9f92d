# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import sys
import time

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.onecc.vllm.plugins.module_utils.progress import Watch

# Ansible loads this file before it forks the process that runs the task, whose own output goes nowhere.
# ansible-runner gives Ansible a terminal that nobody looks at.
TERMINAL = sys.stdout.isatty() and not os.environ.get("CI") and "AWX_ISOLATED_DATA_DIR" not in os.environ
# Seconds between two looks, until the first line, and between two lines.
PACES = {"in place": (1, 0, 0), "lines": (2, 1, 5), "sparse": (2, 10, 60), "none": (5, 0, None)}


class ActionModule(ActionBase):
    """Looks through the module of the same name, and shows what it sees."""

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        display = Display()
        mode = self._task.args.get("display", "auto")
        if mode == "auto":
            mode = "in place" if TERMINAL else "sparse"
        wait, first, pace = PACES.get(mode, PACES["none"])
        start = time.monotonic()
        watch = Watch(list(self._task.args.get("nodes") or []), start)
        next_line = start + first
        while True:
            seen = self._execute_module(module_args=dict(self._task.args, wait=wait), task_vars=task_vars)
            if seen.get("failed") or seen.get("skipped"):
                return seen
            now = time.monotonic()
            for text in watch.see(seen["nodes"], now):
                display.display(text)
            if watch.ended(now):
                break
            if mode == "in place":
                width = display.columns
                display.display("\r" + watch.line(now)[:width].ljust(width), newline=False, screen_only=True)
            elif pace and now >= next_line:
                display.display(watch.line(now))
                next_line = now + pace
        if mode == "in place":
            display.display("\r" + " " * display.columns + "\r", newline=False, screen_only=True)
        if pace is not None:
            display.display(watch.summary(now))
        return seen
