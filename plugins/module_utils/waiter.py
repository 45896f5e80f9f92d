# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One way to wait: look, judge, look again."""

from __future__ import annotations

import time


class Clock:
    """The real clock. Tests give another one."""

    def now(self):
        """Seconds since an arbitrary start."""
        return time.monotonic()

    def sleep(self, seconds):
        time.sleep(seconds)


def wait_until(look, ready, timeout, interval=1.0, clock=None):
    """Looks until what is seen is ready or the time is up; looks at least once.

    :param look: function without arguments that returns what it sees
    :param ready: named predicate over what was seen
    :param timeout: seconds; 0 looks once
    :param interval: seconds between the end of one look and the start of the next
    :return: (what was last seen, whether it is ready, seconds waited)
    """
    clock = clock or Clock()
    start = clock.now()
    while True:
        seen = look()
        waited = clock.now() - start
        if ready(seen):
            return seen, True, waited
        if waited >= timeout:
            return seen, False, waited
        clock.sleep(min(interval, timeout - waited))
