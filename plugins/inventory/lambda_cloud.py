# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: lambda_cloud
short_description: The nodes of a cluster from the Lambda Cloud API
version_added: 0.1.0
description:
  - Asks the Lambda Cloud API for your instances, once, and makes the groups C(head) and C(workers) of those with GPUs.
  - Made for version 1 of the API as its OpenAPI document describes it, see U(https://docs.lambda.ai/api/cloud). The API
    gives all instances in one answer, and allows one request per second.
  - The nodes of a 1-Click Cluster are instances, too; O(cluster_id) asks for those of one cluster. Its management nodes
    have no GPUs and a public address; its compute nodes may have a private address only, see O(jump).
  - An instance is called by its name, with C(-) in place of what a host name cannot have. Without a name it is called
    by its host name or else its id. Where several have the same name, the first eight characters of their ids follow.
author:
  - The onecc.vllm authors (@onecc)
extends_documentation_fragment:
  - constructed
  - inventory_cache
  - onecc.vllm.cluster_inventory
options:
  plugin:
    description: Says that a file is for this plugin.
    type: str
    required: true
    choices: [onecc.vllm.lambda_cloud]
  api_key:
    description:
      - An API key of Lambda Cloud, required. It goes to O(api_url) and nowhere else.
      - Better in the environment than in a file.
    type: str
    env:
      - name: LAMBDA_API_KEY
  api_url:
    description: Where the API is.
    type: str
    default: https://cloud.lambda.ai/api/v1
    env:
      - name: LAMBDA_API_URL
  timeout:
    description: Seconds to wait for an answer.
    type: int
    default: 30
  cluster_id:
    description: Only instances of the 1-Click Cluster with this id.
    type: str
    env:
      - name: LAMBDA_CLUSTER_ID
  hosts:
    description: Patterns of the instances to take, with C(*), C(?) and C([]). One with C(!) before it leaves some out.
    type: list
    elements: str
    default: ['*']
  regions:
    description: Only instances in one of these regions, such as V(us-east-1). None means all regions.
    type: list
    elements: str
    default: []
  statuses:
    description: Only instances in one of these states.
    type: list
    elements: str
    choices: [booting, active, unhealthy, terminated, terminating, preempted]
    default: [active]
  min_gpus:
    description: Only instances with at least so many GPUs. With V(0) those without GPUs are taken, too.
    type: int
    default: 1
  head:
    description:
      - The instance that runs Ray's head, or a pattern; the first that matches is taken.
      - The default is the first by name, where C(node-2) comes before C(node-10).
    type: str
  address:
    description: Whether Ansible connects to the public address or to the private one.
    type: str
    choices: [public, private]
    default: public
  jump:
    description:
      - A pattern of instances with a public address. Ansible connects through the first by name to those that have
        a private address only, or to all with O(address=private).
      - These may be instances that are not taken as nodes, such as the management nodes of a 1-Click Cluster.
    type: str
  user:
    description: Who Ansible logs in as.
    type: str
    default: ubuntu
notes:
  - C(cluster_shared_dir) is set to where the file system is mounted when the same single one is mounted on all nodes.
    The API tells where (C(file_system_mounts)); where it does not, a file system is in C(/lambda/nfs) under its name.
    What you set in C(group_vars) or by O(compose) wins.
  - Every host gets the variable C(lambda_cloud), a dictionary with C(id), C(name), C(hostname), C(ip), C(private_ip),
    C(status), C(region), C(instance_type), C(gpus), C(file_system_names), C(mount_points), C(ssh_key_names), C(tags),
    for use in O(compose), O(groups) and O(keyed_groups). What the API tells of Jupyter is left out, as it is secret.
"""

EXAMPLES = r"""
# 1cc.yml: all your running instances with GPUs; the first by name is the head. The key is in LAMBDA_API_KEY.
plugin: onecc.vllm.lambda_cloud

---
# my.onecc.yml: a 1-Click Cluster, whose compute nodes are reached through a management node
plugin: onecc.vllm.lambda_cloud
cluster_id: ddaedf1b7a0e41ac981711504493b242
jump: '*-head-*'
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: ~/.cache/onecc
cache_timeout: 600

---
# other.onecc.yml: some of the instances of one region, by name
plugin: onecc.vllm.lambda_cloud
hosts: ['serving-*']
regions: [us-east-1]
head: serving-1
compose:
  # A value is an expression, so a text has quotes of its own.
  model_download_repo: "'meta-llama/Llama-3.1-405B-Instruct'"
keyed_groups:
  - key: lambda_cloud.region
    prefix: region
"""

import hashlib
import http.client
import json
import re
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode

from ansible.module_utils.urls import ConnectionError as AnsibleConnectionError
from ansible.module_utils.urls import open_url
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable

from ansible_collections.onecc.vllm.plugins.plugin_utils.cluster_inventory import (
    SUFFIXES,
    fill,
    find_head,
    refusal,
    select,
)

KEYS = "https://cloud.lambda.ai/api-keys"
MOUNTS = "/lambda/nfs"


def record(instance):
    """What is kept of an instance of the API's answer. Keys that may be missing are None then."""
    kept = {name: instance.get(name) for name in ("name", "hostname", "ip", "private_ip")}
    names = list(instance["file_system_names"])
    mounts = [mount["mount_point"] for mount in instance.get("file_system_mounts") or []]
    return {
        **kept,
        "id": instance["id"],
        "status": instance["status"],
        "region": instance["region"]["name"],
        "instance_type": instance["instance_type"]["name"],
        "gpus": instance["instance_type"]["specs"]["gpus"],
        "file_system_names": names,
        "mount_points": mounts or ["%s/%s" % (MOUNTS, name) for name in names],
        "ssh_key_names": list(instance["ssh_key_names"]),
        "tags": {tag["key"]: tag["value"] for tag in instance.get("tags") or []},
    }


def records(where, text):
    """The instances of an answer, or an error that says what is wrong with the answer."""
    remedy = "Check api_url; if it is right, the API has changed."
    try:
        answer = json.loads(text)
    except ValueError as error:
        raise refusal(where, "JSON", "other text, %d bytes" % len(text), remedy) from error
    try:
        return [record(instance) for instance in answer["data"]]
    except KeyError as error:
        raise refusal(where, "a list of instances in data", "an answer without %s" % error, remedy) from error
    except (TypeError, AttributeError) as error:
        raise refusal(where, "a list of instances in data", "data of another form (%s)" % error, remedy) from error


def in_order(name):
    """A key to sort by: node-2 comes before node-10."""
    # Every second part is digits.
    return [int(part) if place % 2 else part for place, part in enumerate(re.split(r"([0-9]+)", name))]


def named(instances):
    """The instances by the names of their hosts, in order."""
    labels = []
    for instance in instances:
        label = re.sub(r"[^\w.-]+", "-", instance["name"] or "").strip("-.")
        labels.append(label or instance["hostname"] or instance["id"])
    hosts = {}
    for label, instance in zip(labels, instances, strict=True):
        hosts["%s-%s" % (label, instance["id"][:8]) if labels.count(label) > 1 else label] = instance
    return {name: hosts[name] for name in sorted(hosts, key=in_order)}


def shared_folder(instances):
    """Where the one file system is that all instances mount, None if there is no such or more than one."""
    found = {tuple(instance["mount_points"]) for instance in instances}
    mounts = found.pop() if len(found) == 1 else ()
    return mounts[0] if len(mounts) == 1 else None


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    NAME = "onecc.vllm.lambda_cloud"

    def verify_file(self, path):
        return super().verify_file(path) and path.endswith(SUFFIXES)

    def parse(self, inventory, loader, path, cache=True):
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        url = self.get_option("api_url").rstrip("/") + "/instances"
        if self.get_option("cluster_id"):
            url += "?" + urlencode({"cluster_id": self.get_option("cluster_id")})
        everything = named(self.instances(url, path, cache))
        chosen = self.choose(url, everything)
        head = find_head(url, list(chosen), self.get_option("head"))
        shared = {"ansible_user": self.get_option("user")}
        folder = shared_folder(chosen.values())
        if folder:
            shared["cluster_shared_dir"] = folder
        over = self.jump(url, everything)
        hosts = {}
        for name, instance in chosen.items():
            hosts[name] = {"lambda_cloud": instance, **self.connection(name, instance, over)}
        fill(self, head, hosts, shared)

    def instances(self, url, path, cache):
        """From the cache if the user wants that and it has them, else from the API."""
        if not self.get_option("cache"):
            return records(url, self.fetch(url))
        key = "%s_%s" % (self.get_cache_key(path), hashlib.sha256(url.encode()).hexdigest()[:8])
        if cache:
            try:
                return self._cache[key]
            except KeyError:
                # Not there, or too old.
                pass
        # Ansible stores it when the inventory has been read.
        self._cache[key] = records(url, self.fetch(url))
        return self._cache[key]

    def fetch(self, url):
        key = (self.get_option("api_key") or "").strip()
        # What cannot be in a header would be shown in the error of the library.
        if not re.fullmatch("[!-~]+", key):
            raise refusal(
                url,
                "an API key of Lambda Cloud",
                "a text with blanks or special characters" if key else "none",
                "Set LAMBDA_API_KEY to a key that is listed at %s." % KEYS,
            )
        # The key is not taken to wherever an answer leads.
        try:
            with open_url(
                url,
                headers={"Authorization": "Bearer %s" % key, "Accept": "application/json"},
                timeout=self.get_option("timeout"),
                follow_redirects="none",
                http_agent="onecc.vllm",
            ) as answer:
                return answer.read()
        except HTTPError as error:
            raise self.status_error(url, error, key) from None
        except (URLError, AnsibleConnectionError, OSError, http.client.HTTPException) as error:
            raise refusal(
                url,
                "an answer of the Lambda Cloud API",
                getattr(error, "reason", None) or error,
                "Check api_url, your network and your proxy.",
            ) from None

    def status_error(self, url, error, key):
        try:
            told = json.loads(error.read())["error"]
            told = ": %s (%s)" % (told["message"], told["code"])
        except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
            told = ""
        remedies = {
            401: "Set LAMBDA_API_KEY to a key that is listed at %s." % KEYS,
            403: "See whether the account is active and the key (%s) may list instances." % KEYS,
            429: "The API allows one request per second: run it again, and set cache if you run it often.",
        }
        remedy = "Check api_url; if it is right, try again later."
        return refusal(
            url,
            "the list of instances",
            "status %d%s" % (error.code, told.replace(key, "***")),
            remedies.get(error.code, remedy),
        )

    def choose(self, url, everything):
        """The instances that are to be nodes."""
        chosen = {name: everything[name] for name in select(everything, self.get_option("hosts"))}
        regions = self.get_option("regions")
        chosen = {
            name: instance
            for name, instance in chosen.items()
            if instance["status"] in self.get_option("statuses")
            and instance["gpus"] >= self.get_option("min_gpus")
            and (not regions or instance["region"] in regions)
        }
        if not chosen:
            found = [
                "%s (%s, %s, %d GPUs)" % (name, instance["status"], instance["region"], instance["gpus"])
                for name, instance in everything.items()
            ]
            raise refusal(
                url,
                "instances that match hosts, regions, statuses and min_gpus",
                ", ".join(found) or "no instances at all",
                "Change those options, or start instances.",
            )
        return chosen

    def jump(self, url, everything):
        """The address to connect through, None if there is to be none."""
        pattern = self.get_option("jump")
        if not pattern:
            return None
        public = [name for name, instance in everything.items() if instance["ip"] and instance["status"] == "active"]
        found = select(public, [pattern])
        if not found:
            raise refusal(
                url,
                "an active instance with a public address that matches jump, %s" % pattern,
                ", ".join(public) or "none with a public address",
                "Set jump to one of them.",
            )
        return everything[found[0]]["ip"]

    def connection(self, name, instance, over):
        """The variables that Ansible needs to reach an instance."""
        if over and instance["ip"] == over:
            # The one that others are reached through is itself reached directly.
            return {"ansible_host": over}
        public = instance["ip"] if self.get_option("address") == "public" else None
        address = public or instance["private_ip"]
        if not address:
            raise refusal(
                name,
                "a %s address" % self.get_option("address"),
                "none",
                "Wait until the instance is active, set address, or leave it out by hosts.",
            )
        own = {"ansible_host": address}
        if over and not public:
            own["ansible_ssh_common_args"] = "-o ProxyJump=%s@%s" % (self.get_option("user"), over)
        return own
