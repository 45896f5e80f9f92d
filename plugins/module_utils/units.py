# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd says of a unit."""

from __future__ import annotations

PROPERTIES = ["LoadState", "ActiveState", "SubState", "Result", "NRestarts"]
# A unit that came back twice may be riding out a fault; a third time it is failing.
RESTARTS = 3


class Unit:
    """A systemd unit, or none: then nothing is known of it.

    :param name: the unit's name, or None
    :param run: function that runs argv and returns (status, output, errors)
    """

    def __init__(self, name, run):
        self.name, self.run = name, run
        self.began = self.show()

    def show(self):
        """The unit's properties as a dictionary, empty without a unit."""
        if not self.name:
            return {}
        argv = ["systemctl", "show", "--property", ",".join(PROPERTIES), self.name]
        return parse(self.run(argv, check_rc=True)[1])


def parse(output):
    """systemctl show's KEY=VALUE lines as a dictionary."""
    return dict(line.split("=", 1) for line in output.splitlines() if "=" in line)


def why_hopeless(began, now):
    """Why the unit will not come up by itself, in words; empty if it may.

    :param began: its properties when the wait began
    :param now: its properties now
    """
    if not now:
        return ""
    if now["LoadState"] != "loaded":
        return "the unit is not there (%s)" % now["LoadState"]
    if now["ActiveState"] in ("inactive", "failed"):
        return "the unit is %s (%s)" % (now["ActiveState"], now["Result"])
    restarts = int(now["NRestarts"]) - int(began["NRestarts"])
    # systemd sets the count back when an operator starts the unit.
    if restarts >= RESTARTS or (restarts < 0 and int(now["NRestarts"]) >= RESTARTS):
        return "the unit ended and was started again %d times" % int(now["NRestarts"])
    return ""
