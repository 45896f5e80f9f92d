#!/usr/bin/python
# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: service
short_description: Has a service of a node, under systemd or supervisord
version_added: 0.1.0
description:
  - Writes down what a service is, starts and stops it, and says whether it is started after a boot.
  - Where systemd is the init of the node it runs the service. Elsewhere supervisord does, which is started where it
    does not run. The machine is to run C(services/start) below O(state_dir) when it boots.
extends_documentation_fragment:
  - onecc.vllm.service
author:
  - The onecc.vllm authors (@onecc)
options:
  state:
    description:
      - V(present) has it as O(definition) and O(files) say and leaves it as it is, running or not.
      - V(started) and V(stopped) do nothing if it is so, V(stopped) and V(absent) also if there is no such service.
        V(started) reloads one that runs when one of O(files) has changed.
      - V(restarted) and V(reloaded) always do it; they start one that does not run.
      - V(absent) stops it and removes it.
    type: str
    choices: [present, started, stopped, restarted, reloaded, absent]
    default: present
  enabled:
    description: Whether it is started after a boot. Left as it is if this is not given.
    type: bool
  files:
    description:
      - Files that it reads, with O(definition). They are written before it is run, none of them unless all pass their
        check, and left alone where it is removed.
      - What it could not take up, since the run was cut off, it takes up with the next one.
    type: list
    elements: dict
    suboptions:
      path:
        description: Where it is. A folder that is missing is made for its owner alone.
        type: path
        required: true
      content:
        description: What is in it.
        type: str
        required: true
      mode:
        description: Its permissions.
        type: str
        default: "0644"
      check:
        description: A command that fails if the file is wrong; V(%s) in it stands for a trial of the file.
        type: list
        elements: str
        default: []
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying the target.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: full
"""

EXAMPLES = r"""
- name: Have the endpoint
  onecc.vllm.service:
    name: onecc-endpoint
    definition:
      description: OpenAI-compatible endpoint in front of vLLM
      command: [/usr/sbin/nginx, -c, /var/lib/onecc/endpoint/nginx.conf]
      reload: [/usr/sbin/nginx, -t, -q, -c, /var/lib/onecc/endpoint/nginx.conf]
      stop_timeout: 10
    state: started
    enabled: true
    tools: /var/lib/onecc/tools-0123456789ab

- name: Have the firewall, with its rules
  onecc.vllm.service:
    name: onecc-firewall
    definition:
      description: Firewall of the serving cluster
      kind: once
      command: [/usr/sbin/nft, --file, /var/lib/onecc/firewall.nft]
      reload: [/usr/sbin/nft, --file, /var/lib/onecc/firewall.nft]
    files:
      - path: /var/lib/onecc/firewall.nft
        content: "{{ lookup('ansible.builtin.template', 'firewall.nft.j2') }}"
        mode: "0600"
        check: [/usr/sbin/nft, --check, --file, "%s"]
    state: started
    enabled: true

- name: Stop the engine, also over reboots
  onecc.vllm.service:
    name: onecc-vllm
    state: stopped
    enabled: false
"""

RETURN = r"""
before:
  description: How the service was, empty if there was none.
  returned: success
  type: str
  sample: active enabled
described:
  description: Whether O(definition) has changed, which a service that runs takes up when it is restarted.
  returned: success
  type: bool
  sample: false
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onecc.vllm.plugins.module_utils import services
from ansible_collections.onecc.vllm.plugins.module_utils.errors import OneccError

# The states in which it has read its files.
TAKES_UP = ("started", "restarted", "reloaded")


def main():
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "definition": {"type": "dict", "options": services.DEFINITION},
            "state": {
                "type": "str",
                "choices": ["present", "started", "stopped", "restarted", "reloaded", "absent"],
                "default": "present",
            },
            "enabled": {"type": "bool"},
            "files": {"type": "list", "elements": "dict", "options": services.FILES},
            "state_dir": {"type": "path", "default": "/var/lib/onecc"},
            "tools": {"type": "path", "default": ""},
        },
        required_by={"files": ["definition"]},
        supports_check_mode=True,
    )
    try:
        module.exit_json(**have(module, **module.params))
    except OneccError as error:
        module.fail_json(msg=str(error))


def have(module, name, definition, state, enabled, files, state_dir, tools):
    """Has the service as it was asked for."""
    manager = services.open_services(module.run_command, state_dir, tools)
    found = manager.state(name)
    told = {"before": str(found) if found.there else "", "described": False, "diff": []}
    described, written = [], []
    if definition and state != "absent":
        written, told["diff"] = services.have_files(module, files or [], state in TAKES_UP)
        described, diff = services.have(module, manager, name, definition)
        told.update(described=bool(described), diff=told["diff"] + diff)
    elif not found.there:
        if state in ("stopped", "absent"):
            return dict(told, changed=False)
        remedy = "Run the playbook onecc.vllm.deploy first."
        raise OneccError(services.where(), "the service %s" % name, "no such service", remedy)
    actions = list(planned(found, "reloaded" if written and state == "started" and found.running else state, enabled))
    changed = bool(written or described or actions)
    if not module.check_mode:
        # Also after a run that was cut off before this.
        if described or manager.state(name).outdated:
            manager.load(name, *dict(actions).get("enable", ()))
            actions = [each for each in actions if each[0] != "enable"]
        for action, words in actions:
            getattr(manager, action)(name, *words)
        if state in TAKES_UP:
            services.taken_up(written)
    return dict(told, changed=changed)


def planned(found, state, enabled):
    """The methods to call one after the other, each with its further arguments.

    :param found: how the service is
    """
    if state == "absent":
        # What ran once may be there although the service is down.
        yield "stop", ()
        yield "enable", (False,)
        yield "remove", ()
        return
    if enabled is not None and found.enabled != enabled:
        yield "enable", (enabled,)
    if state == "started" and not found.running:
        yield "start", ()
    elif state == "stopped" and not found.ended:
        yield "stop", ()
    elif state == "restarted":
        yield "restart", ()
    elif state == "reloaded":
        yield "reload", ()


if __name__ == "__main__":
    main()
