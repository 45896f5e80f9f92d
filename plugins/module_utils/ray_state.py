# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a Ray cluster, read from the dashboard's HTTP interface on the head."""

from __future__ import annotations

import http.client
import json
import urllib.request

from .errors import OneccError

# The state API cuts its answers at 100 entries unless told otherwise; 10,000 is the most it gives.
# https://docs.ray.io/en/latest/ray-observability/reference/api.html
LIMIT = 10000
VIEWS = {
    "version": "/api/version",
    "nodes": "/api/v0/nodes?detail=True&limit=%d" % LIMIT,
    "placement_groups": "/api/v0/placement_groups?detail=True&limit=%d" % LIMIT,
    "cluster_status": "/api/cluster_status",
}


def read_token(path):
    """Ray's authentication token.

    :raise OSError: if the file cannot be read
    """
    with open(path, encoding="ascii") as stream:
        return stream.read().strip()


def fetch(url, token="", timeout=20):
    """Reads all views of the dashboard.

    :param url: where the dashboard listens, such as http://127.0.0.1:8265
    :param token: Ray's authentication token, if the cluster asks for one
    :param timeout: seconds for one request
    :return: dictionary of parsed answers, named as in VIEWS
    """
    return {name: fetch_view(url, path, token, timeout) for name, path in VIEWS.items()}


def fetch_view(url, path, token="", timeout=20):
    """Reads one view of the dashboard; parameters as in fetch."""
    request = urllib.request.Request(url.rstrip("/") + path)
    if token:
        request.add_header("Authorization", "Bearer " + token)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout) as stream:
            return json.load(stream)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise OneccError(
            url,
            "Ray's dashboard to answer %s" % path,
            str(error),
            "See 'docker logs onecc-ray' on the head.",
        ) from error


def summarize(answers):
    """The cluster as plain data.

    A node that left and came back is two nodes to Ray, one of them dead; both are listed.

    :param answers: what fetch returned
    :return: dictionary, see RETURN of the module ray_cluster_info
    """
    # Null until the head's monitor has reported for the first time.
    status = answers["cluster_status"]["data"].get("clusterStatus") or {}
    used = (status.get("loadMetricsReport") or {}).get("usageByNode") or {}
    nodes = nodes_of(answers["nodes"], used)
    address = {node["node_id"]: node["address"] for node in nodes}
    groups = []
    for group in answers["placement_groups"]["data"]["result"]["result"]:
        bundles = [
            {"address": address.get(bundle.get("node_id"), ""), "resources": bundle["unit_resources"]}
            for bundle in group.get("bundles") or []
        ]
        groups.append({"placement_group_id": group["placement_group_id"], "state": group["state"], "bundles": bundles})
    living = [node for node in nodes if node["state"] == "ALIVE"]
    return {
        "ray_version": answers["version"]["ray_version"],
        "session_name": answers["version"]["session_name"],
        "nodes": nodes,
        "nodes_alive": len(living),
        "gpus_total": sum(node["gpus_total"] for node in living),
        "gpus_used": sum(node["gpus_used"] for node in living),
        "placement_groups": groups,
    }


def nodes_of(view, used):
    """The nodes, the head first and the living before the dead.

    :param view: the dashboard's answer
    :param used: resources in use by node, as the dashboard has them in its status
    """
    nodes = []
    for node in view["data"]["result"]["result"]:
        alive = node["state"] == "ALIVE"
        resources = node.get("resources_total") or {}
        gpus_used = (used.get(node["node_id"], {}).get("GPU") or [0])[0] if alive else 0
        nodes.append(
            {
                "node_id": node["node_id"],
                "address": node["node_ip"],
                "is_head": bool(node.get("is_head_node")),
                "state": node["state"],
                "state_message": node.get("state_message") or "",
                "ended_ms": node.get("end_time_ms") or 0,
                "gpus_total": number(resources.get("GPU", 0)),
                "gpus_used": number(gpus_used),
                "cpus_total": number(resources.get("CPU", 0)),
            }
        )
    return sorted(
        nodes, key=lambda node: (not node["is_head"], node["state"] != "ALIVE", node["address"], node["node_id"])
    )


def unplaced(view):
    """The placement groups that Ray has accepted and not placed, by their IDs.

    :param view: the dashboard's answer
    """
    groups = view["data"]["result"]["result"]
    return [group["placement_group_id"] for group in groups if group["state"] == "PENDING"]


def number(value):
    """Ray counts in floats; whole numbers become integers."""
    return int(value) if value == int(value) else value


def missing(cluster, expected):
    """What the cluster lacks, a line for each expected node that is not there as it should be.

    :param cluster: what summarize returned
    :param expected: list of dictionaries with name, address and gpus
    :return: list of strings, empty when the cluster is whole
    """
    living: dict[str, list] = {}
    for node in cluster["nodes"]:
        if node["state"] == "ALIVE":
            living.setdefault(node["address"], []).append(node)
    lines = []
    for want in expected:
        who = "%s (%s)" % (want["name"], want["address"])
        here = living.get(want["address"], [])
        gpus = sum(node["gpus_total"] for node in here)
        if not here:
            dead = [n for n in cluster["nodes"] if n["address"] == want["address"]]
            why = "it never joined"
            if dead:
                why = "Ray lost it: %s" % (max(dead, key=lambda n: n["ended_ms"])["state_message"] or "no reason given")
            lines.append("%s: no living Ray node has this address; %s" % (who, why))
        elif len(here) > 1:
            lines.append("%s: expected one living Ray node, found %d" % (who, len(here)))
        elif gpus < want["gpus"]:
            lines.append("%s: expected %s GPUs, found %s" % (who, want["gpus"], gpus))
    addresses = {want["address"] for want in expected}
    for address in sorted(set(living) - addresses):
        lines.append("%s: a Ray node with an address that no expected node has" % address)
    return lines
