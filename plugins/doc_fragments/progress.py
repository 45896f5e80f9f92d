# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Options of the modules that show how far something is."""

    DOCUMENTATION = r"""
options:
  wait:
    description:
      - Seconds to look for an end before telling how far it is.
      - Set by the action plugin, which looks again and again.
    type: float
    default: 0
  display:
    description:
      - V(auto) keeps one line up to date on a terminal, and elsewhere, as in CI, writes a line every minute and
        one at the end.
      - V(lines) writes a line every five seconds. V(none) shows nothing.
    type: str
    choices: [auto, lines, none]
    default: auto
"""
