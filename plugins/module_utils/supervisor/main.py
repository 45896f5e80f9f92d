# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: python supervisor.pyz ray|engine SETTINGS.json

Or, where processes run without containers, a command beside one of them: python supervisor.pyz exec FILE COMMAND …
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys

from .processes import execute
from .runtime import run_dir

PROGRAMS = ("ray", "engine")


def digest_file(program, state_dir):
    """Where it is noted what the program that runs was started with, for whoever installs another."""
    return os.path.join(run_dir(state_dir), "onecc-supervisor-%s.digest" % program)


def digest(program, settings):
    """Of the contents of both files."""
    return hashlib.sha256(program + b"\0" + settings).hexdigest()


def load(program):
    """The class of a program. The other is not read: the engine's brings the API's client, which takes its time."""
    if program == "ray":
        from .ray_node import RayNode

        return RayNode
    from .engine import Engine

    return Engine


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", choices=[*PROGRAMS, "exec"])
    parser.add_argument("settings")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if options.program == "exec":
        execute(options.settings, options.command)
    with open(sys.argv[0], "rb") as stream:
        program = stream.read()
    with open(options.settings, "rb") as stream:
        settings = stream.read()
    running = load(options.program)(json.loads(settings))
    noted = digest_file(options.program, os.path.dirname(os.path.abspath(options.settings)))
    os.makedirs(os.path.dirname(noted), mode=0o700, exist_ok=True)
    with open(noted, "w", encoding="ascii") as stream:
        stream.write(digest(program, settings))
    running.run()
