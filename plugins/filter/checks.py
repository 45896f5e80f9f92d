# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible.errors import AnsibleFilterError

from ansible_collections.onecc.vllm.plugins.module_utils.preflight import OK, UnknownCheck, judge, refusal
from ansible_collections.onecc.vllm.plugins.module_utils.table import table


def preflight(nodes, limits, skip=()):
    """Judges a cluster by what was read from its nodes."""
    try:
        return judge(nodes, limits, skip)
    except UnknownCheck as error:
        raise AnsibleFilterError("preflight_skip: %s" % error) from error


def preflight_table(rows, every=True):
    """The rows as lines, every one or those that are not ok."""
    shown = [row for row in rows if every or row["result"] != OK]
    head = ["CHECK", "NODE", "RESULT", "FOUND", "EXPECTED", "REMEDY"]
    names = ["id", "node", "result", "found", "expected", "remedy"]
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["result"]] = counts.get(row["result"], 0) + 1
    summary = "%d checks: %s" % (len(rows), ", ".join("%d %s" % (counts[each], each) for each in sorted(counts)))
    return [*(table([head, *[[row[name] for name in names] for row in shown]]) if shown else []), summary]


class FilterModule:
    """Filters around the checks of a cluster."""

    def filters(self):
        return {"preflight": preflight, "preflight_refusal": refusal, "preflight_table": preflight_table}
