# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one error of this collection."""

from __future__ import annotations


class OneccError(Exception):
    """Says what was expected, what was found and what to do about it.

    :param where: the host, address or path it happened at
    :param expected: what should have been there
    :param found: what was there
    :param remedy: what the reader can do
    """

    def __init__(self, where, expected, found, remedy):
        self.where, self.expected, self.found, self.remedy = where, expected, found, remedy
        super().__init__("%s: expected %s, found %s. %s" % (where, expected, found, remedy))
