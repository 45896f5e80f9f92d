# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time

from ansible.plugins.action import ActionBase

from ansible_collections.onecc.vllm.plugins.module_utils.progress import clock
from ansible_collections.onecc.vllm.plugins.module_utils.starts import SILENT
from ansible_collections.onecc.vllm.plugins.plugin_utils.line import Line

# Seconds between two looks; an end is seen at once.
WAITS = {"in place": 1, "lines": 5, "sparse": 10, "none": 60}


class ActionModule(ActionBase):
    """Looks through the module of the same name, and shows what it sees."""

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        start = heard = time.monotonic()
        line = Line(self._task.args.get("display", "auto"), WAITS, start)
        while True:
            seen = self._execute_module(module_args=dict(self._task.args, wait=line.wait), task_vars=task_vars)
            if seen.get("failed") or seen.get("skipped"):
                return seen
            now = time.monotonic()
            heard = now if seen["words"] else heard
            if seen["over"] or now - heard > SILENT or now - start > seen["timeout"]:
                break
            line.show("%s  %s" % (clock(now - start), seen["words"] or "nothing looks after the engine yet"), now)
        line.end("%s  %s" % (clock(now - start), seen["words"]) if seen["over"] else "")
        return dict(seen, waited_s=round(now - start, 1))
