# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.onecc.vllm.plugins.module_utils.argv import to_argv


def table(rows):
    """Rows as lines of aligned columns."""
    cells = [[str(cell) for cell in row] for row in rows]
    columns = max((len(row) for row in cells), default=0)
    widths = [max(len(row[i]) for row in cells if i < len(row)) for i in range(columns)]
    return ["  ".join(cell.ljust(widths[i]) for i, cell in enumerate(row)).rstrip() for row in cells]


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


class FilterModule:
    """Filters that turn data into text and words."""

    def filters(self):
        return {"node_rows": node_rows, "table": table, "to_argv": to_argv}
