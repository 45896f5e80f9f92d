# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where on a node some texts are found: a program that needs nothing but Python, run as root.

Reads the texts in base64, so that its own command line does not hold them. Prints JSON: text to places.
Usage: hunt.py BASE64...
"""

import base64
import json
import os
import stat
import subprocess
import sys

ROOTS = ["/etc", "/var", "/run", "/tmp", "/root", "/home"]
# Weights and images of gigabytes hold no secret of ours; containers' own files are looked for as what they mount.
SKIPPED = ("/var/lib/docker/overlay2", "/var/lib/docker/image", "/run/docker/runtime", "/run/docker/netns")
LARGEST = 64 << 20
COMMANDS = {
    "ps": ["ps", "auxww"],
    "journal": ["journalctl", "--no-pager", "--output=export"],
    "docker inspect": ["sh", "-c", 'ids=$(docker ps --all --quiet); [ -z "$ids" ] || docker inspect $ids'],
    "docker history": ["sh", "-c", "docker images --quiet | sort -u | xargs -rn1 docker history --no-trunc"],
}


def files():
    for root in ROOTS:
        for folder, folders, names in os.walk(root):
            folders[:] = [name for name in folders if not os.path.join(folder, name).startswith(SKIPPED)]
            for name in names:
                path = os.path.join(folder, name)
                try:
                    info = os.lstat(path)
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(info.st_mode) and info.st_size <= LARGEST:
                    yield path
    own = str(os.getpid())
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if pid != own:
            yield from ("/proc/%s/%s" % (pid, name) for name in ("environ", "cmdline"))


def hunt(markers):
    found = {marker.decode(): [] for marker in markers}

    def look(place, data):
        for marker in markers:
            if marker in data:
                found[marker.decode()].append(place)

    for path in files():
        try:
            with open(path, "rb") as stream:
                look(path, stream.read())
        # Gone meanwhile, or a process that ended.
        except (FileNotFoundError, ProcessLookupError):
            continue
    for name, argv in COMMANDS.items():
        look(name, subprocess.run(argv, check=True, capture_output=True).stdout)
    return found


if __name__ == "__main__":
    print(json.dumps(hunt([base64.b64decode(word) for word in sys.argv[1:]])))
