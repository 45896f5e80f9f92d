#!/usr/bin/python
# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: secret_file
short_description: Has a secret in a file that only its owner reads
version_added: 0.1.0
description:
  - Makes a random secret on the node unless the file has one, or writes the one that is given.
  - The file and those in O(rendered) get the mode 0600, the folders that are missing 0700. Each is replaced as a whole.
  - The secret stands in no result, no difference and no log, unless O(return_value) asks for it.
options:
  path:
    description: The file. It holds the secret and a line feed.
    type: path
    required: true
  value:
    description:
      - The secret, at least 16 characters out of C(A-Za-z0-9._~+/=-).
      - If it is not given or empty, what the file holds stays; a file that is missing gets a random one.
    type: str
  bytes:
    description: Random bytes of a secret that is made. Each three become four characters.
    type: int
    default: 32
  prefix:
    description: What a secret that is made starts with.
    type: str
    default: ""
  rotate:
    description: Makes a new secret, whatever the file holds. Not together with O(value).
    type: bool
    default: false
  rendered:
    description: Further files that hold the secret, in the form that a program wants.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The file.
        type: path
        required: true
      content:
        description: What it holds. The secret takes the place of every C(@VALUE@).
        type: str
        required: true
  return_value:
    description:
      - Returns the secret, to bring it to other nodes. The task needs C(no_log).
      - In check mode there is none to return where it is still to be made.
    type: bool
    default: false
attributes:
  check_mode:
    description: Can run in check_mode and return changed status prediction without modifying the target.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
    support: none
author:
  - The onecc.vllm authors (@onecc)
"""

EXAMPLES = r"""
- name: Have a key
  onecc.vllm.secret_file:
    path: /var/lib/onecc/secrets/api-key

- name: Read one node's secret
  onecc.vllm.secret_file:
    path: /var/lib/onecc/secrets/ray-token
    return_value: true
  delegate_to: node00
  run_once: true
  register: token
  no_log: true

- name: Have the same everywhere
  onecc.vllm.secret_file:
    path: /var/lib/onecc/secrets/ray-token
    value: "{{ token.value }}"
"""

RETURN = r"""
created:
  description: Whether a secret was made, and nobody knows it yet.
  returned: always
  type: bool
  sample: true
digest:
  description: Tells one secret from another and nothing else. Empty in check mode where it is still to be made.
  returned: always
  type: str
  sample: 3f0a9d6c21be
value:
  description: The secret. Masked if it was given as O(value), as whoever gave it has it.
  returned: when O(return_value) is set and there is one
  type: str
  sample: "********"
"""

import hashlib
import os
import re
import secrets
import stat
import tempfile

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.onecc.vllm.plugins.module_utils.errors import OneccError

FIT = re.compile(r"[A-Za-z0-9._~+/=-]{16,512}")
FORM = "16 to 512 characters out of A-Za-z0-9._~+/=-"
PLACE = "@VALUE@"


def check(value, where, remedy):
    """A secret that can stand in a header and in a file of settings. What was found is not for telling."""
    if not FIT.fullmatch(value):
        raise OneccError(where, "a secret of " + FORM, "another one, %d long" % len(value), remedy)
    return value


def read(path):
    """What a file holds; nothing if it is not there."""
    try:
        with open(path, encoding="utf-8", errors="replace", newline="") as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def choose(path, value="", size=32, prefix="", rotate=False):
    """The secret that shall be in the file, and whether it is a new one."""
    if value:
        return check(value, "inventory", "Correct it, or leave it empty to have one made."), False
    text = read(path)
    if text is None or rotate:
        made = prefix + secrets.token_urlsafe(size)
        return check(made, path, "Correct prefix and bytes."), True
    return check(text.strip(), path, "Remove the file to have a new one made."), False


def texts(path, value, rendered):
    """What each file shall hold. The first is the one to go by, and is written first."""
    return [(path, value + "\n")] + [(each["path"], each["content"].replace(PLACE, value)) for each in rendered]


def is_right(path, text):
    """Whether the file holds the text, and is for nobody else's eyes."""
    if read(path) != text:
        return False
    found = os.lstat(path)
    return stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o600 and found.st_uid == os.geteuid()


def write(path, text):
    """Replaces a file as a whole; it is never there with another mode or half its content."""
    folder = os.path.dirname(path)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    handle, new = tempfile.mkstemp(dir=folder, prefix=".new-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(new, path)
    except BaseException:
        os.unlink(new)
        raise


def main():
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "value": {"type": "str", "no_log": True},
            "bytes": {"type": "int", "default": 32},
            "prefix": {"type": "str", "default": ""},
            "rotate": {"type": "bool", "default": False},
            "rendered": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "path", "required": True},
                    "content": {"type": "str", "required": True},
                },
            },
            "return_value": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    params = module.params
    if params["value"] and params["rotate"]:
        module.fail_json(msg="inventory: expected value or rotate, found both. Leave one out.")
    try:
        value, made = choose(params["path"], params["value"], params["bytes"], params["prefix"], params["rotate"])
        wrong = [each for each in texts(params["path"], value, params["rendered"]) if not is_right(*each)]
        if not module.check_mode:
            for each in wrong:
                write(*each)
    except (OneccError, OSError) as error:
        module.fail_json(msg=str(error))
    result = {"changed": bool(wrong), "created": made, "digest": ""}
    # One that is made in check mode is nobody's.
    if not (made and module.check_mode):
        result["digest"] = hashlib.sha256(("onecc:" + value).encode()).hexdigest()[:12]
        if params["return_value"]:
            result["value"] = value
    module.exit_json(**result)


if __name__ == "__main__":
    main()
