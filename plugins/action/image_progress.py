# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time

from ansible.plugins.action import ActionBase

from ansible_collections.onecc.vllm.plugins.module_utils.progress import Gauge
from ansible_collections.onecc.vllm.plugins.plugin_utils.line import Line

# Seconds between two looks.
WAITS = {"in place": 1, "lines": 2, "sparse": 5, "none": 30}


class ActionModule(ActionBase):
    """Looks through the module of the same name, and shows what it sees."""

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        start = time.monotonic()
        line = Line(self._task.args.get("display", "auto"), WAITS, start)
        doing = self._task.args.get("doing")
        what = "the environment" if doing == "installing" else "the image"
        words = "%s: %s %s" % ((task_vars or {}).get("inventory_hostname", "localhost"), doing, what)
        # Without an archive, what there is adds to what was there.
        gauge = Gauge(doing not in ("saving", "loading"))
        while True:
            # What counts from the first look on is to begin at once.
            args = dict(self._task.args, wait=line.wait if gauge.looks else 0)
            seen = self._execute_module(module_args=args, task_vars=task_vars)
            if seen.get("failed") or seen.get("skipped"):
                return seen
            now = time.monotonic()
            gauge.see(seen["went"], seen["total"], now)
            if seen["over"] or now - gauge.moved > seen["timeout"] or now - start > seen["limit"]:
                break
            line.show("%s  %s" % (words, gauge.line()), now)
        line.end("%s  %s" % (words, gauge.summary(now - start)))
        return dict(seen, waited_s=round(now - start, 1))
