#!/usr/bin/python
# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: diagnosis
short_description: Names the cause of a failure from what the nodes have left
version_added: 0.1.0
description:
  - Reads the archives that M(onecc.vllm.evidence_collect) has made on the nodes, and names the first cause with its
    evidence and what to do about it.
  - Says so when it finds no known cause, and then gives the engine's last error.
  - Puts everything, with the report, into one archive.
author:
  - The onecc.vllm authors (@onecc)
attributes:
  check_mode:
    support: full
    description: Makes the diagnosis, and no archive.
  diff_mode:
    support: none
    description: There is nothing to compare with.
  idempotent:
    support: none
    description: Every run makes an archive of its own.
options:
  folder:
    description: Folder with one archive for each node, C(NODE.tar.gz).
    type: path
    required: true
  nodes:
    description: Names of all nodes.
    type: list
    elements: str
    required: true
  answers:
    description:
      - What M(onecc.vllm.evidence_collect) has returned on each node, to tell why there is no archive of one.
      - A node with neither counts as unreachable.
    type: dict
    default: {}
  archive_dir:
    description: Where to put the one archive of all. None is made without it.
    type: path
"""

EXAMPLES = r"""
- name: Name the cause
  onecc.vllm.diagnosis:
    folder: /tmp/evidence
    nodes: [node00, node01]
    archive_dir: /home/ubuntu
  delegate_to: localhost
  register: diagnosis

- name: Print it
  ansible.builtin.debug:
    msg: "{{ diagnosis.summary }}"
"""

RETURN = r"""
first:
  description: The first cause, or none.
  returned: success
  type: dict
  contains:
    id:
      description: Its name.
      type: str
    problem:
      description: What is the matter.
      type: str
    remedy:
      description: What to do.
      type: str
    node:
      description: The node it happened on.
      type: str
    file:
      description: Where in the archive the evidence is. Empty for a node that could not be reached.
      type: str
    line:
      description: The line of that file, from 1; 0 where the evidence is the state of the node.
      type: int
    evidence:
      description: That line.
      type: str
    time:
      description: The time that the line bears. Empty if it bears none.
      type: str
  sample:
    id: model-fit
    problem: the model does not fit the GPUs
    remedy: Take more GPUs, a quantised model, a smaller max-model-len or a higher gpu-memory-utilization.
    node: node01
    file: node00/onecc-vllm.log
    line: 812
    evidence: "ValueError: No available memory for the cache blocks."
    time: '2026-11-23T11:26:18Z'
others:
  description: The other causes that were found, in order, each as RV(first).
  returned: success
  type: list
  elements: dict
  sample: []
error:
  description: The last exception in the engine's log. Empty if there is none.
  returned: success
  type: str
  sample: "ValueError: No available memory for the cache blocks."
last_lines:
  description: The last lines of the engine's log.
  returned: success
  type: list
  elements: str
  sample: []
notes:
  description: What could not be collected.
  returned: success
  type: list
  elements: str
  sample: [node01 could not be reached]
summary:
  description: All of it in words.
  returned: success
  type: list
  elements: str
  sample:
    - "What went wrong: the model does not fit the GPUs (model-fit), on node01."
    - "Evidence: ValueError: No available memory for the cache blocks."
archive:
  description: The archive with a folder for each node, C(report.json) and C(report.txt). Empty if none was made.
  returned: success
  type: str
  sample: /home/ubuntu/onecc-diagnosis-20261123T112618Z.tar.gz
"""

import datetime
import json
import os
import tarfile

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onecc.vllm.plugins.module_utils import diagnosis, evidence
from ansible_collections.onecc.vllm.plugins.module_utils.errors import OneccError

# Bytes of one node's files: what log_mib of evidence_collect allows at its largest.
LIMIT = 1024 * evidence.MIB


def read(folder, nodes, answers):
    """The files of all nodes.

    :return: (dictionary from node to a dictionary from name to text, dictionary from the nodes that could not be
        reached to why, and the same for those that could be reached and yet have no archive)
    :raise OneccError: if an archive cannot be read
    """
    texts, unreachable, failed = {}, {}, {}
    for node in nodes:
        path = os.path.join(folder, node + ".tar.gz")
        answer = answers.get(node) or {}
        if os.path.exists(path):
            texts[node] = diagnosis.unpack(path, LIMIT)
        elif answer and not answer.get("unreachable"):
            failed[node] = answer.get("msg") or "the archive could not be fetched"
        else:
            unreachable[node] = answer.get("msg") or ""
    return texts, unreachable, failed


def judge(texts, unreachable, failed):
    """The diagnosis of what was read."""
    states = {node: json.loads(files.get(evidence.STATE, "{}")) for node, files in texts.items()}
    lines = {
        node: {name: text.splitlines() for name, text in files.items() if diagnosis.LOGS.match(name)}
        for node, files in texts.items()
    }
    return diagnosis.diagnose(lines, states, unreachable, failed)


def pack(path, texts, result):
    """Writes the one archive.

    :raise OneccError: if it cannot be written
    """
    top = os.path.basename(path).partition(".")[0]
    report = {"report.json": json.dumps(result, indent=2) + "\n", "report.txt": "\n".join(result["summary"]) + "\n"}
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(number, "wb") as stream, tarfile.open(fileobj=stream, mode="w:gz") as archive:
            for name, text in report.items():
                evidence.add_text(archive, "%s/%s" % (top, name), text)
            for node, files in sorted(texts.items()):
                for name, text in sorted(files.items()):
                    evidence.add_text(archive, "%s/%s/%s" % (top, node, name), text)
    except OSError as error:
        raise OneccError(path, "to write the archive", str(error), "Set diagnose_dir to another folder.") from error


def main():
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "path", "required": True},
            "nodes": {"type": "list", "elements": "str", "required": True},
            "answers": {"type": "dict", "default": {}},
            "archive_dir": {"type": "path"},
        },
        supports_check_mode=True,
    )
    params = module.params
    archive = ""
    if params["archive_dir"] and not module.check_mode:
        stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        archive = os.path.join(params["archive_dir"], "onecc-diagnosis-%s.tar.gz" % stamp)
    try:
        texts, unreachable, failed = read(params["folder"], params["nodes"], params["answers"])
        result = judge(texts, unreachable, failed)
    except OneccError as error:
        module.fail_json(msg=str(error))
    result["summary"] = diagnosis.summary(result, archive)
    if archive:
        try:
            pack(archive, texts, result)
        except OneccError as error:
            # Better a diagnosis without an archive than none.
            archive = ""
            result["notes"].append(str(error))
            result["summary"] = diagnosis.summary(result)
    module.exit_json(changed=bool(archive), archive=archive, **result)


if __name__ == "__main__":
    main()
