# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packs modules of this collection into one file that Python runs, the same bytes for the same sources."""

from __future__ import annotations

import io
import zipfile

ROOT = "onecc"
MAIN = "from onecc.supervisor.main import main\n\nmain()\n"
# The first moment that a zip can tell.
TIME = (1980, 1, 1, 0, 0, 0)


def read_source(module):
    """The source of a module, also of one that lies in Ansible's own zip.

    :return: (bytes, whether it is a package)
    """
    loader = module.__spec__.loader
    return loader.get_source(module.__name__).encode(), loader.is_package(module.__name__)


def pack(sources):
    """A zip with the modules below the package onecc.

    :param sources: dictionary from the name of a module, with dots, to what read_source returned
    :return: bytes
    """
    files = {"__main__.py": MAIN.encode(), ROOT + "/__init__.py": b""}
    for name, (source, is_package) in sources.items():
        files["%s/%s%s.py" % (ROOT, name.replace(".", "/"), "/__init__" if is_package else "")] = source
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name, TIME), files[name])
    return buffer.getvalue()
