# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.onecc.vllm.plugins.module_utils.argv import to_argv
from ansible_collections.onecc.vllm.plugins.module_utils.progress import human
from ansible_collections.onecc.vllm.plugins.module_utils.table import table


def node_rows(hostvars, names, head, ray_nodes):
    """The rows of the status table, one for each node, after a header.

    :param hostvars: what was read from the nodes; a node that did not answer has nothing there
    :param names: the nodes of the inventory, in order
    :param head: which of them is the head
    :param ray_nodes: what the module ray_cluster_info returned as nodes
    """
    rows = [["NODE", "ROLE", "ADDRESS", "RAY", "GPUS", "IN USE", "ENGINE", "IMAGE"]]
    for name in names:
        facts = hostvars[name].get("__cluster_facts")
        role = "head" if name == head else "worker"
        if not facts:
            rows.append([name, role, "", "unknown: the node does not answer"])
            continue
        info = hostvars[name]["__cluster_node"]
        here = [node for node in ray_nodes if node["address"] == facts["address"] and node["state"] == "ALIVE"]
        rows.append(
            [
                name,
                role,
                facts["address"],
                "alive" if here else "missing",
                sum(node["gpus_total"] for node in here),
                sum(node["gpus_used"] for node in here),
                info["engine"]["version"] or info["engine"]["error"],
                # As docker prints it.
                info["image_id"].replace("sha256:", "")[:12] or "none",
            ]
        )
    return rows


def download_summary(plan, repo, every_file=False):
    """What there is of a snapshot and what is to be done about it, as lines.

    :param plan: what the module hf_snapshot_info returned, known
    :param repo: OWNER/NAME
    :param every_file: whether to list each file that needs work
    """
    count = len(plan["todo"])
    lines = [
        "%s at commit %s: %s%s"
        % (
            repo,
            plan["commit"],
            human(plan["size"]),
            " (%s in formats that are not needed left out)" % human(plan["left_out_size"])
            if plan["left_out_size"]
            else "",
        )
    ]
    if plan["complete"]:
        return [*lines, "complete and checked: nothing to fetch"]
    for state, verb in (("missing", "fetch"), ("unverified", "check")):
        files = [file for file in plan["todo"] if file["state"] == state]
        if not files:
            continue
        shares = []
        for node, share in plan["shares"].items():
            size = sum(to_do(file) for file in share if file["state"] == state)
            if size:
                shares.append("%s %s" % (node, human(size)))
        size = plan["missing_size" if state == "missing" else "unverified_size"]
        by = " (%s)" % ", ".join(shares) if shares else ""
        lines.append("to %s: %s in %d files%s" % (verb, human(size), len(files), by))
    if not count:
        lines.append("all files are there and checked: to be made visible")
    if every_file:
        width = max((len(human(to_do(file))) for file in plan["todo"]), default=0)
        for file in plan["todo"]:
            verb = "fetch" if file["state"] == "missing" else "check"
            lines.append("  %s %s  %s" % (verb, human(to_do(file)).rjust(width), file["path"]))
    return lines


def to_do(file):
    """Bytes of a file to fetch, or to read."""
    return file["size"] - (file["have"] if file["state"] == "missing" else 0)


class FilterModule:
    """Filters that turn data into text and words."""

    def filters(self):
        return {
            "download_summary": download_summary,
            "human_size": human,
            "node_rows": node_rows,
            "table": table,
            "to_argv": to_argv,
        }
