# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is shown while something takes long: one line that is kept up to date, or lines now and then."""

from __future__ import annotations

import os
import sys

from ansible.utils.display import Display

# Ansible loads this file before it forks the process that runs the task, whose own output goes nowhere.
# ansible-runner gives Ansible a terminal that nobody looks at.
TERMINAL = sys.stdout.isatty() and not os.environ.get("CI") and "AWX_ISOLATED_DATA_DIR" not in os.environ
# Seconds until the first line, and between two lines.
PACES = {"in place": (0, 0), "lines": (1, 5), "sparse": (10, 60), "none": (0, None)}


class Line:
    """One of these for each task that waits.

    :param mode: auto, lines or none
    :param waits: dictionary from in place, lines, sparse and none to the seconds between two looks
    :param now: seconds of the clock that the methods are told
    """

    def __init__(self, mode, waits, now):
        self.display = Display()
        if mode == "auto":
            mode = "in place" if TERMINAL else "sparse"
        self.mode = mode if mode in PACES else "none"
        self.wait = waits[self.mode]
        first, self.pace = PACES[self.mode]
        self.next = now + first

    def say(self, text):
        """What is worth a line of its own."""
        self.display.display(text)

    def show(self, text, now):
        """How far it is."""
        if self.mode == "in place":
            width = self.display.columns
            self.display.display("\r" + text[:width].ljust(width), newline=False, screen_only=True)
        elif self.pace and now >= self.next:
            self.display.display(text)
            self.next = now + self.pace

    def end(self, text):
        """The last word, unless it is empty."""
        if self.mode == "in place":
            self.display.display("\r" + " " * self.display.columns + "\r", newline=False, screen_only=True)
        if self.pace is not None and text:
            self.display.display(text)
