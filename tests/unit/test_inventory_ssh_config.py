# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An OpenSSH configuration as inventory: its lines, and what ansible-inventory makes of it with the real ssh."""

from __future__ import annotations

import pytest

from ansible_collections.onecc.vllm.plugins.inventory import ssh_config
from ansible_collections.onecc.vllm.plugins.plugin_utils import cluster_inventory

CLUSTER = """\
# The cluster, don't edit
Host *
  User ubuntu
  ServerAliveInterval 30
Host bastion
  HostName 203.0.113.5
Host node01 node00
  ProxyJump bastion
Host node00
  HostName 10.0.0.10
  Port 2222
Host node01
  HostName 10.0.0.11
"""
COMMON = "ansible_ssh_common_args"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Host node00 node01", ("host", ["node00", "node01"])),
        ("  HOST\tnode00  ", ("host", ["node00"])),
        ("Host=node00", ("host", ["node00"])),
        ("Host = node00", ("host", ["node00"])),
        ('Host "node00" node01', ("host", ["node00", "node01"])),
        ('Include "/with space/a" b', ("include", ["/with space/a", "b"])),
        ("Host node00 # don't", ("host", ["node00"])),
        ("HostName node00", ("hostname", ["node00"])),
        ("# Host node00", ("", [])),
        ("", ("", [])),
        ("Host", ("", [])),
        ('Host "node00', ("", [])),
    ],
)
def test_lines(line, expected):
    assert ssh_config.split_line(line) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"main": CLUSTER}, ["bastion", "node01", "node00"]),
        ({"main": "Host *.example node? !node02 node00"}, ["node00"]),
        ({"main": "Host b\nInclude {0}/one\nHost a", "one": "Host c"}, ["b", "c", "a"]),
        ({"main": "Include {0}/part-* {0}/missing", "part-2": "Host b", "part-1": "Host a"}, ["a", "b"]),
        ({"main": "Include {0}/one", "one": "Host a\nInclude {0}/two", "two": "Host b"}, ["a", "b"]),
        ({"main": "Include beside\nInclude ~/tilde", "beside": "Host no"}, ["in-ssh-folder", "in-home"]),
        ({"main": "Host a\nInclude {0}/main"}, ["a"]),
        ({"main": "Match host node00\n  User x"}, []),
    ],
)
def test_host_names(tmp_path, files, expected):
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh/beside").write_text("Host in-ssh-folder")
    (home / "tilde").write_text("Host in-home")
    for name, text in files.items():
        (tmp_path / name).write_text(text.replace("{0}", str(tmp_path)))
    assert ssh_config.host_names(str(tmp_path / "main"), str(home)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CLUSTER, True),
        ("Include /etc/cluster\n", True),
        ("[head]\nnode00\n", False),
        ("host ansible_host=10.0.0.1\n", False),
        ("node00\nnode01\n", False),
        ("plugin: some.other.one\nhost : x\n", False),
        ("#!/bin/sh\nhost node00\n", False),
        ("---\nall:\n", False),
        ("", False),
    ],
)
def test_looks_like_ssh_config(text, expected):
    assert ssh_config.looks_like_ssh_config(text) is expected


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["*"], ["node00", "node01", "jump"]),
        ([], ["node00", "node01", "jump"]),
        (["node*"], ["node00", "node01"]),
        (["jump", "node0[0]"], ["node00", "jump"]),
        (["!jump"], ["node00", "node01"]),
        (["node*", "!*1"], ["node00"]),
        (["Node*"], []),
    ],
)
def test_select(patterns, expected):
    assert cluster_inventory.select(["node00", "node01", "jump"], patterns) == expected


def write(folder, options, text=CLUSTER, name="1cc.yml", config="cluster-config"):
    (folder / config).write_text(text)
    (folder / name).write_text('plugin: onecc.vllm.ssh_config\nconfig_file: "%s"\n%s' % (config, options))
    return folder / name


@pytest.mark.parametrize(
    ("options", "groups"),
    [
        ("", {"head": ["bastion"], "workers": ["node01", "node00"]}),
        ("hosts: [node*]", {"head": ["node01"], "workers": ["node00"]}),
        ("hosts: ['!bastion']\nhead: node00", {"head": ["node00"], "workers": ["node01"]}),
        ("hosts: [node00]", {"head": ["node00"]}),
        ("hosts: [node*]\nhead: '*0'", {"head": ["node00"], "workers": ["node01"]}),
        ("hosts: [node*]\nhead_group: a\nworker_group: b", {"a": ["node01"], "b": ["node00"]}),
        (
            "hosts: [node*]\ngroups: {second: ssh_config.port == 2222}\n"
            "keyed_groups: [{key: ssh_config.proxyjump, prefix: over}]",
            {"head": ["node01"], "workers": ["node00"], "second": ["node00"], "over_bastion": ["node01", "node00"]},
        ),
    ],
)
def test_groups(tmp_path, read_inventory, options, groups):
    shown = read_inventory(write(tmp_path, options))
    found = {name: group["hosts"] for name, group in shown.items() if "hosts" in group}
    assert found == groups


def test_variables(tmp_path, read_inventory):
    """ssh is given the file, whatever its name; what ssh makes of a host is there to be used."""
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/all.yml").write_text("cluster_shared_dir: /home/ubuntu/shared\n")
    options = "hosts: [node*]\ncompose: {address: ssh_config.hostname, also: %s ~ ' -v'}" % COMMON
    path = write(tmp_path, options, name="my.onecc.yaml", config="it's a config")
    words = "-F '%s/it'\"'\"'s a config'" % tmp_path
    assert read_inventory(path)["_meta"]["hostvars"] == {
        "node00": {
            COMMON: words,
            "ansible_pipelining": True,
            "address": "10.0.0.10",
            "also": words + " -v",
            "cluster_shared_dir": "/home/ubuntu/shared",
            "ssh_config": {"hostname": "10.0.0.10", "user": "ubuntu", "port": 2222, "proxyjump": "bastion"},
        },
        "node01": {
            COMMON: words,
            "ansible_pipelining": True,
            "address": "10.0.0.11",
            "also": words + " -v",
            "cluster_shared_dir": "/home/ubuntu/shared",
            "ssh_config": {"hostname": "10.0.0.11", "user": "ubuntu", "port": 22, "proxyjump": "bastion"},
        },
    }


def test_group_vars_win(tmp_path, read_inventory):
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/all.yml").write_text("%s: -F /other\n" % COMMON)
    shown = read_inventory(write(tmp_path, ""))
    assert {one[COMMON] for one in shown["_meta"]["hostvars"].values()} == {"-F /other"}


def test_the_configuration_itself(tmp_path, read_inventory, monkeypatch):
    """Without a file of ours, once the plugin is enabled; other inventories stay what they were."""
    write(tmp_path, "")
    (tmp_path / "hosts.ini").write_text("[others]\nhost ansible_port=23\n")
    monkeypatch.setenv("ANSIBLE_INVENTORY_ENABLED", "onecc.vllm.ssh_config,auto,yaml,ini")
    monkeypatch.setenv("ONECC_SSH_CONFIG_HOSTS", "node*")
    monkeypatch.setenv("ONECC_SSH_CONFIG_HEAD", "node00")
    shown = read_inventory(tmp_path / "cluster-config", tmp_path / "hosts.ini")
    assert shown["head"]["hosts"] == ["node00"]
    assert shown["workers"]["hosts"] == ["node01"]
    assert shown["others"]["hosts"] == ["host"]
    assert shown["_meta"]["hostvars"]["node01"][COMMON] == "-F %s/cluster-config" % tmp_path


def test_sample(tmp_path, read_inventory, monkeypatch, repository):
    """inventories/ssh_config.onecc.yml does what its comments say."""
    (tmp_path / ".ssh/config.d").mkdir(parents=True)
    (tmp_path / ".ssh/config.d/cluster-config").write_text(CLUSTER)
    monkeypatch.setenv("HOME", str(tmp_path))
    shown = read_inventory(repository / "inventories/ssh_config.onecc.yml")
    assert shown["head"]["hosts"] == ["node01"]
    assert shown["workers"]["hosts"] == ["node00"]
    variables = shown["_meta"]["hostvars"]["node00"]
    assert variables["vllm_serve_args"] == {"max-model-len": 32768}
    assert variables["cluster_shared_dir"] == "/home/ubuntu/shared"
    assert variables["ansible_ssh_retries"] == 3
    assert variables[COMMON] == "-F %s/.ssh/config.d/cluster-config -o ServerAliveInterval=30" % tmp_path


@pytest.mark.parametrize(
    ("options", "text", "expected"),
    [
        (
            "config_file: missing",
            CLUSTER,
            "{0}/missing: expected an OpenSSH configuration, found no such file. Set config_file to the file that you "
            "give to ssh -F.",
        ),
        (
            "",
            "Host *\n  User ubuntu\n",
            "{0}/cluster-config: expected Host lines that name hosts, found none without wildcards.",
        ),
        ("hosts: [gpu*]", CLUSTER, "expected hosts that match gpu*, found bastion, node01, node00. Set hosts to"),
        (
            "hosts: [node*]\nhead: bastion",
            CLUSTER,
            "expected the head bastion among the hosts, found node01, node00. Set head to one of them",
        ),
        ("", "Host node00\n  Nonsense yes\n", "Bad configuration option: nonsense"),
        (
            "ssh_executable: /nowhere/ssh",
            CLUSTER,
            "expected the OpenSSH client /nowhere/ssh to read it with, found No such file or directory. Install it",
        ),
    ],
)
def test_errors(tmp_path, refuse_inventory, options, text, expected):
    path = write(tmp_path, "", text)
    if "config_file" not in options:
        options += "\nconfig_file: cluster-config"
    path.write_text("plugin: onecc.vllm.ssh_config\n%s\n" % options)
    assert expected.replace("{0}", str(tmp_path)) in refuse_inventory(path)
