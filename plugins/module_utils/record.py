# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of a deployment: what was asked for on a node, and how the node looked when it had been done.

A deployment that is asked for the same, of nodes that look the same, has nothing to do.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import stat
import time

NAME = "deployed.json"
# Below the state folder: what changes while Ray and vLLM run, and what its own name says all of.
PASSED_OVER = [
    "tmp",
    "cache",
    "download",
    "image",
    "tools-*",
    "processes/*.log*",
    "services/run",
    "run",
    "endpoint-cache",
]
# Something that is kept where the engine keeps what it likes.
KEPT_ELSEWHERE = ["cache/*.json"]
# Seconds after which everything is looked at again: the record does not hold all that may change.
VALID = 30 * 24 * 3600


def entry(path):
    """A file or folder as one line: kind, mode and owner, and of a file what is in it."""
    status = os.lstat(path)
    line = "%o %d:%d" % (status.st_mode, status.st_uid, status.st_gid)
    if stat.S_ISREG(status.st_mode):
        with open(path, "rb") as stream:
            line += " " + hashlib.sha256(stream.read()).hexdigest()
    return line


def paths(state_dir):
    """The files and folders that a deployment makes on a node."""
    passed_over = {path for name in PASSED_OVER for path in glob.glob(os.path.join(state_dir, name))}
    passed_over.add(os.path.join(state_dir, NAME))
    found = [state_dir]
    for folder, folders, files in os.walk(state_dir):
        folders[:] = [name for name in folders if os.path.join(folder, name) not in passed_over]
        inside = [os.path.join(folder, name) for name in [*folders, *files]]
        found += [path for path in inside if path not in passed_over]
    for name in KEPT_ELSEWHERE:
        found += glob.glob(os.path.join(state_dir, name))
    return found


def look(manager, state_dir, containers):
    """How a node looks, by name of each thing.

    :param manager: what runs its services, see services.py
    :param containers: dictionary from the name to the ID of each own container that runs
    """
    if not os.path.isdir(state_dir):
        return {}
    seen = {path: entry(path) for path in [*paths(state_dir), *manager.files_of_all()]}
    seen.update(("container %s" % name, ident) for name, ident in containers.items())
    seen.update(manager.shown())
    return seen


def read(state_dir):
    """The record, empty if there is none that can be read."""
    try:
        with open(os.path.join(state_dir, NAME), encoding="utf-8") as stream:
            told = json.load(stream)
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def compare(told, seen, now=None):
    """What is not as the record has it.

    :param told: the record
    :param seen: see ``look``
    :return: dictionary with wish and notes (of the record, empty if there is none) and differs (list of names)
    """
    before = told.get("seen", {})
    differs = sorted(name for name in {*before, *seen} if before.get(name) != seen.get(name))
    if told and not 0 <= (time.time() if now is None else now) - told.get("time", 0) < VALID:
        differs.append("the record, which is older than %d days" % (VALID // 86400))
    return {"wish": told.get("wish", ""), "notes": told.get("notes", {}), "differs": differs if told else []}


def write(state_dir, wish, notes, seen):
    """Writes the record, for root alone."""
    path = os.path.join(state_dir, NAME)
    told = {"wish": wish, "notes": notes, "time": int(time.time()), "seen": seen}
    with open(os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
        json.dump(told, stream, indent=1, sort_keys=True)
    os.replace(path + ".new", path)
