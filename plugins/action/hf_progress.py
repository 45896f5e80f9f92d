# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time

from ansible.plugins.action import ActionBase

from ansible_collections.onecc.vllm.plugins.module_utils.progress import Watch
from ansible_collections.onecc.vllm.plugins.plugin_utils.line import Line

# Seconds between two looks.
WAITS = {"in place": 1, "lines": 2, "sparse": 2, "none": 5}


class ActionModule(ActionBase):
    """Looks through the module of the same name, and shows what it sees."""

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        start = time.monotonic()
        line = Line(self._task.args.get("display", "auto"), WAITS, start)
        watch = Watch(list(self._task.args.get("nodes") or []), start)
        while True:
            seen = self._execute_module(module_args=dict(self._task.args, wait=line.wait), task_vars=task_vars)
            if seen.get("failed") or seen.get("skipped"):
                return seen
            now = time.monotonic()
            for text in watch.see(seen["nodes"], now):
                line.say(text)
            if watch.ended(now):
                break
            line.show(watch.line(now), now)
        line.end(watch.summary(now))
        return seen
