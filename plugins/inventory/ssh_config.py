# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: ssh_config
short_description: The nodes of a cluster from an OpenSSH client configuration
version_added: 0.1.0
description:
  - Reads the file that you give to C(ssh -F), such as the one that comes with a Lambda 1-Click Cluster, and makes the
    groups C(head) and C(workers) of the hosts it names.
  - The hosts are the names on C(Host) lines that have no wildcard and no C(!), in the order of the file; C(Include) is
    followed. Names that stand on C(Match) lines only are not found.
  - Every connection is made with C(ssh -F) and the name from the file, so that C(HostName), C(User), C(ProxyJump) and
    all else remains what OpenSSH makes of it. To have it so, do not set C(ansible_host).
author:
  - The onecc.vllm authors (@onecc)
extends_documentation_fragment:
  - constructed
  - onecc.vllm.cluster_inventory
requirements:
  - the OpenSSH client
options:
  plugin:
    description: Says that a file is for this plugin.
    type: str
    required: true
    choices: [onecc.vllm.ssh_config]
  config_file:
    description:
      - The OpenSSH configuration. A relative path is taken from the folder of the inventory file.
    type: str
    default: ~/.ssh/config
    env:
      - name: ONECC_SSH_CONFIG_FILE
  hosts:
    description:
      - Patterns of the hosts to take, with C(*), C(?) and C([]). One with C(!) before it leaves hosts out.
      - Leave out bastions and the management nodes of a 1-Click Cluster. They are in the file, and have no GPUs.
    type: list
    elements: str
    default: ['*']
    env:
      - name: ONECC_SSH_CONFIG_HOSTS
  head:
    description: The host that runs Ray's head, or a pattern; the first match is taken. The default is the first host.
    type: str
    env:
      - name: ONECC_SSH_CONFIG_HEAD
  ssh_executable:
    description: The OpenSSH client.
    type: str
    default: ssh
    env:
      - name: ANSIBLE_SSH_EXECUTABLE
notes:
  - With C(ANSIBLE_INVENTORY_ENABLED=onecc.vllm.ssh_config,auto,yaml,ini) the OpenSSH configuration itself can be the
    inventory, as in C(-i ~/.ssh/config.d/cluster-config). O(hosts) and O(head) then come from the environment.
  - Every host gets the variable C(ssh_config), a dictionary with what C(ssh -G) says of C(hostname), C(user), C(port)
    and C(proxyjump), for use in O(compose), O(groups) and O(keyed_groups). That runs C(Match exec) lines, as ssh does.
"""

EXAMPLES = r"""
# 1cc.yml: all hosts of the file; the first is the head.
plugin: onecc.vllm.ssh_config
config_file: ~/.ssh/config.d/cluster-config

---
# my.onecc.yml: the GPU nodes of a 1-Click Cluster, not its management nodes
plugin: onecc.vllm.ssh_config
config_file: ~/.ssh/config.d/config.us-east-2-1cc
hosts: ['*-node-*']
head: us-east-2-1cc-node-1
compose:
  # A value is an expression, so a text has quotes of its own.
  cluster_shared_dir: "'/home/ubuntu/shared'"
  ansible_ssh_common_args: ansible_ssh_common_args ~ ' -o ServerAliveInterval=30'
keyed_groups:
  - key: ssh_config.user
    prefix: login
"""

import glob
import os
import pwd
import re
import shlex
import subprocess

from ansible.plugins.inventory import BaseInventoryPlugin, Constructable

from ansible_collections.onecc.vllm.plugins.plugin_utils.cluster_inventory import (
    SUFFIXES,
    fill,
    find_head,
    refusal,
    select,
)

# As deep as OpenSSH goes.
DEPTH = 16
SHOWN = ("hostname", "user", "port", "proxyjump")


def split_line(line):
    """Keyword in small letters and arguments of a line, as OpenSSH reads it; nothing of one that it would refuse."""
    found = re.match(r'\s*"?(\w+)"?(?:\s*=\s*|\s+)(.*)', re.sub(r"(^|\s)#.*", "", line))
    if not found:
        return "", []
    try:
        return found[1].lower(), shlex.split(found[2])
    except ValueError:
        # ssh -G will say it better.
        return "", []


def included(pattern, home):
    """The files that an Include means. OpenSSH takes ~ from the password database, and names from ~/.ssh."""
    pattern = re.sub(r"\$\{(\w+)\}", lambda found: os.environ.get(found[1], ""), pattern)
    if pattern.startswith("~/"):
        pattern = home + pattern[1:]
    return sorted(glob.glob(os.path.join(home, ".ssh", os.path.expanduser(pattern))))


def host_names(path, home, depth=0):
    """The names on Host lines that mean one host each, in their order, with those of included files in their place."""
    names: list[str] = []
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            lines = stream.read().splitlines()
    except OSError:
        # The file itself has been looked at before. Of an included one OpenSSH says what it thinks.
        return names
    for line in lines:
        keyword, words = split_line(line)
        if keyword == "host":
            names += [word for word in words if not set(word) & set("*?!")]
        elif keyword == "include" and depth < DEPTH:
            for word in words:
                for file in included(word, home):
                    names += host_names(file, home, depth + 1)
    return list(dict.fromkeys(names))


def looks_like_ssh_config(text):
    """Whether a file is an OpenSSH configuration and not an inventory in INI format, YAML or a program."""
    if re.search(r"^\s*\[|^#!|^---|^\s*plugin\s*:", text, re.MULTILINE):
        return False
    found = [words for keyword, words in map(split_line, text.splitlines()) if keyword in ("host", "include")]
    return bool(found) and not any("=" in word for words in found for word in words)


def parse_resolved(text):
    """What ssh -G prints, for the settings that are shown."""
    pairs = [line.split(" ", 1) for line in text.splitlines() if " " in line]
    return {key: int(value) if key == "port" else value for key, value in pairs if key in SHOWN and value != "none"}


class InventoryModule(BaseInventoryPlugin, Constructable):
    NAME = "onecc.vllm.ssh_config"

    def verify_file(self, path):
        if not super().verify_file(path) or os.path.isdir(path):
            return False
        if path.endswith((".yml", ".yaml")):
            return path.endswith(SUFFIXES)
        with open(path, encoding="utf-8", errors="replace") as stream:
            return looks_like_ssh_config(stream.read())

    def parse(self, inventory, loader, path, cache=True):
        super().parse(inventory, loader, path, cache)
        if path.endswith(SUFFIXES):
            self._read_config_data(path)
            file = os.path.expanduser(self.get_option("config_file"))
            file = os.path.join(os.path.dirname(os.path.abspath(path)), file)
        else:
            self.set_options(direct={"plugin": self.NAME})
            file = os.path.abspath(path)
        if not os.path.isfile(file):
            raise refusal(
                file,
                "an OpenSSH configuration",
                "no such file",
                "Set config_file to the file that you give to ssh -F.",
            )
        if not os.access(file, os.R_OK):
            raise refusal(file, "an OpenSSH configuration", "a file that you may not read", "Let your user read it.")
        names = host_names(file, pwd.getpwuid(os.getuid()).pw_dir)
        if not names:
            raise refusal(
                file,
                "Host lines that name hosts",
                "none without wildcards",
                "Set config_file to the file that names your nodes.",
            )
        chosen = select(names, self.get_option("hosts"))
        if not chosen:
            raise refusal(
                file,
                "hosts that match %s" % ", ".join(self.get_option("hosts")),
                ", ".join(names),
                "Set hosts to patterns of those that are nodes.",
            )
        head = find_head(file, chosen, self.get_option("head"))
        hosts = {name: {"ssh_config": self.resolve(file, name)} for name in chosen}
        fill(self, head, hosts, {"ansible_ssh_common_args": "-F %s" % shlex.quote(file)})

    def resolve(self, file, name):
        """What OpenSSH itself makes of a host."""
        ssh = self.get_option("ssh_executable")
        try:
            done = subprocess.run(
                [ssh, "-G", "-F", file, "--", name],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=60,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise refusal(
                name, "an answer of %s -G -F %s" % (ssh, file), "none in 60 s", "Look at its Match exec lines."
            ) from error
        except OSError as error:
            raise refusal(
                file,
                "the OpenSSH client %s to read it with" % ssh,
                error.strerror or error,
                "Install it, or set ssh_executable.",
            ) from error
        if done.returncode != 0:
            raise refusal(
                name,
                "ssh -G -F %s to understand it" % file,
                "; ".join(done.stderr.split("\n")).strip("; \r"),
                "Correct the file.",
            )
        return parse_resolved(done.stdout)
