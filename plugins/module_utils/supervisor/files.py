# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of files of the programs that others need to know."""

from __future__ import annotations

# What was there before a deployment, until that has proven itself.
FILE_BEHIND = ".previous"
