# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import ipaddress
import re

# Every host may have these, with the same addresses and behind them nothing of the cluster.
PRIVATE = re.compile(r"^(lo|docker|br-|veth|virbr|cni|flannel|podman|lxc)")
PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")


def parse_network(text):
    """An address or network, or None if it is neither."""
    try:
        return ipaddress.ip_network(str(text))
    except ValueError:
        return None


def wrong(name, expected, found):
    return {"name": name, "expected": expected, "found": "%s in %s" % (repr(str(found)), name)}


def wrong_networks(values, name):
    """What is neither an address nor a network, for an error message.

    :param name: the variable that holds the values
    """
    expected = "addresses or networks such as 10.0.0.0/24 (without bits outside of the prefix)"
    return [wrong(name, expected, value) for value in values if parse_network(value) is None]


def wrong_ports(values, name):
    """What is neither a port nor a range of ports, for an error message.

    :param name: the variable that holds the values
    """

    def is_right(value):
        match = PORTS.fullmatch(str(value))
        return match is not None and 1 <= int(match[1]) <= int(match[2] or match[1]) <= 65535

    return [wrong(name, "ports from 1 to 65535 or ranges such as 6380-6389", v) for v in values if not is_right(v)]


def networks(values, version):
    """The addresses and networks of one version of IP."""
    return [str(each) for each in map(parse_network, values) if each is not None and each.version == version]


def node_addresses(interfaces, addresses):
    """The addresses that the nodes of a cluster may send from, in order.

    :param interfaces: for each node a dictionary from interface to its addresses
    :param addresses: the nodes' addresses between each other
    """
    seen = [
        sorted({address for name, held in node.items() if not PRIVATE.match(name) for address in held})
        for node in interfaces
    ]
    flat = [address for held in seen for address in held]
    # One that several nodes have leads to none of them.
    own = {address for address in flat if flat.count(address) == 1 and not ipaddress.ip_address(address).is_loopback}
    return sorted(own | set(addresses), key=ipaddress.ip_address)


class FilterModule:
    """Filters around addresses and ports."""

    def filters(self):
        return {
            "networks": networks,
            "node_addresses": node_addresses,
            "wrong_networks": wrong_networks,
            "wrong_ports": wrong_ports,
        }
