# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast a node reads from storage, past its own page cache."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import tempfile
import time

# A multiple of every block size that O_DIRECT may ask for.
CHUNK = 8 << 20
PROBE_SIZE = 256 << 20


def largest(folder, ending=".safetensors", at_least=PROBE_SIZE):
    """The largest file with an ending below a folder, if it is large enough to measure with; else an empty string."""
    best = ("", at_least - 1)
    for place, _folders, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            if name.endswith(ending) and os.path.exists(path) and os.path.getsize(path) > best[1]:
                best = (path, os.path.getsize(path))
    return best[0]


def open_direct(path):
    """Opens a file so that reading it does not come from the page cache, where the file system can."""
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECT)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.open(path, os.O_RDONLY)


def read_rate(path, seconds):
    """Reads a file for some seconds, over and over if it is short.

    :return: bytes per second
    """
    # Page-aligned, as O_DIRECT wants it.
    buffer = mmap.mmap(-1, CHUNK)
    file = open_direct(path)
    total = offset = 0
    begin = time.monotonic()
    try:
        while time.monotonic() - begin < seconds:
            if not offset:
                # For file systems that know no O_DIRECT.
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            count = os.preadv(file, [buffer], offset)
            if count < CHUNK:
                offset = 0
                if not count and not total:
                    break
            else:
                offset += count
            total += count
    finally:
        os.close(file)
        buffer.close()
    return total / (time.monotonic() - begin)


@contextlib.contextmanager
def probe(folder, seconds):
    """A file of this node's own on the storage, gone afterwards: up to 256 MiB, as much as some seconds write."""
    with tempfile.NamedTemporaryFile(prefix=".onecc-rate-", dir=folder) as stream:
        # Zeros may be compressed on the way.
        block = os.urandom(CHUNK)
        begin = time.monotonic()
        while stream.tell() < PROBE_SIZE and time.monotonic() - begin < seconds:
            stream.write(block)
        stream.flush()
        os.fsync(stream.fileno())
        yield stream.name


def measure(folder, model, seconds):
    """Bytes per second that this node reads from shared storage.

    :param folder: the shared folder, where a file is made when there are no weights yet
    :param model: folder below which weights may lie
    :param seconds: how long to read; writing takes as long again at most, and what the storage takes to keep it
    :return: dictionary with rate in bytes per second, and of: what was read
    """
    weights = largest(model) if model else ""
    if weights:
        return {"rate": read_rate(weights, seconds), "of": weights}
    with probe(folder, seconds) as name:
        return {"rate": read_rate(name, seconds), "of": "a file made for it"}
