# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses and ports of a firewall."""

from __future__ import annotations

import pytest

from ansible_collections.onecc.vllm.plugins.filter.network import FilterModule

NAMES = ("networks", "node_addresses", "wrong_networks", "wrong_ports")
networks, node_addresses, wrong_networks, wrong_ports = (FilterModule().filters()[name] for name in NAMES)


@pytest.mark.parametrize(
    ("values", "version", "expected"),
    [
        ([], 4, []),
        (["10.0.0.0/24", "2001:db8::/32"], 4, ["10.0.0.0/24"]),
        (["10.0.0.0/24", "2001:db8::/32"], 6, ["2001:db8::/32"]),
        (["10.0.0.1", "::1"], 4, ["10.0.0.1/32"]),
        (["0.0.0.0/0", "::/0"], 6, ["::/0"]),
    ],
)
def test_networks(values, version, expected):
    assert networks(values, version) == expected


@pytest.mark.parametrize(
    ("value", "right"),
    [
        ("10.0.0.1", True),
        ("10.0.0.0/8", True),
        ("fe80::/10", True),
        ("0.0.0.0/0", True),
        ("10.0.0.1/24", False),
        ("10.0.0.0/33", False),
        ("10.0.0", False),
        ("node00", False),
        ("", False),
        (None, False),
        ("10.0.0.0/24 }", False),
    ],
)
def test_wrong_networks(value, right):
    found = [each["found"] for each in wrong_networks(["10.9.0.0/16", value], "allowed")]
    assert found == ([] if right else ["'%s' in allowed" % value])


@pytest.mark.parametrize(
    ("value", "right"),
    [
        (1, True),
        ("65535", True),
        ("6380-6389", True),
        ("80-80", True),
        (0, False),
        (65536, False),
        ("80-70", False),
        ("1-65536", False),
        ("80 - 90", False),
        ("ssh", False),
        ("", False),
        (-1, False),
        (8.5, False),
        ("80, 90", False),
    ],
)
def test_wrong_ports(value, right):
    found = [each["found"] for each in wrong_ports([22, value], "allowed")]
    assert found == ([] if right else ["'%s' in allowed" % value])


LOOPBACK = {"lo": ["127.0.0.1"]}


@pytest.mark.parametrize(
    ("interfaces", "addresses", "expected"),
    [
        pytest.param([], [], [], id="nobody"),
        pytest.param(
            [{**LOOPBACK, "eth0": ["10.0.0.10"]}, {**LOOPBACK, "eth0": ["10.0.0.9"]}],
            ["10.0.0.10", "10.0.0.9"],
            ["10.0.0.9", "10.0.0.10"],
            id="by-number",
        ),
        pytest.param(
            [{"eth0": ["10.0.0.1"], "ib0": ["10.1.0.1", "10.1.0.2"]}],
            ["10.0.0.1"],
            ["10.0.0.1", "10.1.0.1", "10.1.0.2"],
            id="several-interfaces",
        ),
        pytest.param(
            [{"eth0": ["10.0.0.1"], "docker0": ["172.17.0.1"], "br-0f5e": ["172.18.0.1"]}],
            ["10.0.0.1"],
            ["10.0.0.1"],
            id="bridges-of-one-node",
        ),
        pytest.param(
            [{"eth0": ["10.0.0.1"], "usb0": ["192.168.7.1"]}, {"eth0": ["10.0.0.2"], "usb0": ["192.168.7.1"]}],
            ["10.0.0.1", "10.0.0.2"],
            ["10.0.0.1", "10.0.0.2"],
            id="the-same-on-two-nodes",
        ),
        pytest.param(
            [{"eth0": ["10.0.0.1"], "dummy0": ["127.1.2.3"]}], ["10.0.0.1"], ["10.0.0.1"], id="loopback-elsewhere"
        ),
        pytest.param([{"eth0": ["10.0.0.1"], "eth1": ["10.0.0.1"]}], ["10.0.0.1"], ["10.0.0.1"], id="twice-on-a-node"),
        pytest.param([{"br-lan": ["10.0.0.1"]}], ["10.0.0.1"], ["10.0.0.1"], id="the-cluster's-own-is-a-bridge"),
        pytest.param([{}], ["10.0.0.1"], ["10.0.0.1"], id="not-read"),
    ],
)
def test_node_addresses(interfaces, addresses, expected):
    assert node_addresses(interfaces, addresses) == expected
