# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: tree_digest
short_description: A digest of all files below a folder on the controller
version_added: 0.1.0
description:
  - Returns the SHA-256 over names and contents of all files below a folder. Two folders have the same
    digest when they hold the same files.
  - Byte-compiled Python files do not count.
author:
  - The onecc.vllm authors (@onecc)
options:
  _terms:
    description: Folders or files on the controller.
    type: list
    elements: path
    required: true
"""

EXAMPLES = r"""
- name: Name something by what it is made from
  ansible.builtin.debug:
    msg: "{{ lookup('onecc.vllm.tree_digest', '/srv/context') }}"
"""

RETURN = r"""
_raw:
  description: One digest for each folder, as 64 hexadecimal digits.
  type: list
  elements: str
"""

import hashlib
import os

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase


def tree_digest(path):
    """SHA-256 of a file, or of the names and contents of all files below a folder."""
    if not os.path.exists(path):
        raise AnsibleLookupError("expected a folder or file at %s, found nothing" % path)
    names = [""]
    if os.path.isdir(path):
        names = sorted(
            os.path.relpath(os.path.join(folder, name), path)
            for folder, folders, files in os.walk(path)
            for name in files
            if not name.endswith(".pyc")
        )
    digest = hashlib.sha256()
    for name in names:
        with open(os.path.join(path, name) if name else path, "rb") as stream:
            content = hashlib.sha256(stream.read()).hexdigest()
        digest.update(("%s\0%s\0" % (name, content)).encode())
    return digest.hexdigest()


class LookupModule(LookupBase):
    def run(self, terms, variables=None, **kwargs):
        return [tree_digest(os.path.realpath(os.path.expanduser(term))) for term in terms]
