# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory plugins have in common: which hosts, which of them is the head, and the two groups."""

from __future__ import annotations

from fnmatch import fnmatchcase

from ansible.errors import AnsibleParserError

from ansible_collections.onecc.vllm.plugins.module_utils.errors import OneccError

SUFFIXES = tuple("%s.%s" % (stem, ending) for stem in ("1cc", "onecc") for ending in ("yml", "yaml"))


def refusal(where, expected, found, remedy):
    """The one error, as Ansible expects it of an inventory."""
    return AnsibleParserError(str(OneccError(where, expected, found, remedy)))


def select(names, patterns):
    """The names that a pattern matches and no pattern with ! before it. Only such patterns: all others."""
    refused = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    wanted = [pattern for pattern in patterns if not pattern.startswith("!")] or ["*"]
    return [
        name
        for name in names
        if any(fnmatchcase(name, pattern) for pattern in wanted)
        and not any(fnmatchcase(name, pattern) for pattern in refused)
    ]


def find_head(where, names, pattern):
    """The first name that the pattern matches, the first of all without a pattern."""
    found = select(names, [pattern] if pattern else ["*"])
    if not found:
        raise refusal(
            where,
            "the head %s among the hosts" % pattern,
            ", ".join(names),
            "Set head to one of them, or hosts to patterns that let it in.",
        )
    return found[0]


def fill(plugin, head, hosts, shared):
    """Puts hosts with their variables into the two groups of a cluster, and into those that the user constructs.

    What all hosts share is given to the groups, so that group_vars beside the inventory win over it.
    """
    groups = [plugin.get_option("head_group"), plugin.get_option("worker_group")]
    # Fewer round trips for every task.
    shared = {"ansible_pipelining": True, **shared}
    for group in groups:
        plugin.inventory.add_group(group)
        for name, value in shared.items():
            plugin.inventory.set_variable(group, name, value)
    strict = plugin.get_option("strict")
    for host, own in hosts.items():
        plugin.inventory.add_host(host, group=groups[0] if host == head else groups[1])
        for name, value in own.items():
            plugin.inventory.set_variable(host, name, value)
        # ansible.builtin.constructed knows no variable of a group; here the expressions may use them.
        known = {"inventory_hostname": host, **shared, **own}
        plugin._set_composite_vars(plugin.get_option("compose"), known, host, strict=strict)
        plugin._add_host_to_composed_groups(plugin.get_option("groups"), known, host, strict=strict)
        plugin._add_host_to_keyed_groups(plugin.get_option("keyed_groups"), known, host, strict=strict)
