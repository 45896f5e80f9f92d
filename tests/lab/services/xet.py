# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Xet protocol's view of a file: hashes, xorbs, the reconstruction, and who may read them.

https://huggingface.co/docs/xet describes the protocol. A file is a row of xorbs, a xorb is a row of
chunks, a chunk is a header and its data. Here all chunks are of one size and not compressed, so that
where each byte lies is arithmetic, and xorbs are made from the model's file while they are sent.

A real file's Xet hash is a tree of hashes over its chunks, and a xorb has one too. hf_xet 1.8.0 takes
them as names: it checks that each chunk's header is well formed, and the number of bytes of each term
and of the file, and compares no hash with what it got. So any hash of the content will do here.
"""

import hashlib
import hmac
import time
from collections.abc import Callable

CHUNK, HEADER = 1 << 16, 8
FRAME = HEADER + CHUNK
# As many chunks as fit into 64 MiB, the most that a xorb may have.
CHUNKS = (64 << 20) // FRAME
XORB = CHUNKS * CHUNK

# How long tokens and addresses hold, in seconds.
VALID = 3600
# Always the same, so that a hub that was started again knows the tokens that it gave out before.
KEY = b"the lab's hub"

Read = Callable[[int, int], bytes]


def file_hash(sha256: str) -> str:
    """The Xet hash of a file. It differs from the sha256, as in life, so that nothing can mistake one for the other."""
    return hashlib.sha256(b"xet " + sha256.encode()).hexdigest()


def xorb_hash(file: str, index: int) -> str:
    """The hash of one of a file's xorbs, which says of which file it is the how-manyth."""
    return f"{file[:56]}{index:08x}"


class Xorb:
    """One xorb of a file of some size: bytes [start, start + length) of the file in chunks with headers."""

    def __init__(self, file_size: int, index: int):
        self.start = index * XORB
        self.length = max(0, min(XORB, file_size - self.start))
        self.size = self.length + -(-self.length // CHUNK) * HEADER

    def read(self, read: Read, first: int, count: int) -> bytes:
        """Bytes of the xorb, given a function that reads the file: (position, number of bytes) -> bytes."""
        parts = []
        while count > 0 and first < self.size:
            chunk, inside = divmod(first, FRAME)
            length = min(CHUNK, self.length - chunk * CHUNK)
            if inside < HEADER:
                part = header(length)[inside : inside + count]
            else:
                inside -= HEADER
                part = read(self.start + chunk * CHUNK + inside, min(count, length - inside))
            if not part:
                break
            parts.append(part)
            first += len(part)
            count -= len(part)
        return b"".join(parts)


def header(length: int) -> bytes:
    """Version 0, the size as sent, scheme 0 (no compression), the size of the data."""
    size = length.to_bytes(3, "little")
    return b"\0" + size + b"\0" + size


def reconstruction(file: str, size: int, first: int, last: int, address: Callable[[str], str]) -> dict:
    """What makes up bytes first to last of a file: for each xorb the chunks and where to get them."""
    terms, xorbs = [], {}
    for index in range(first // XORB, last // XORB + 1):
        xorb, name = Xorb(size, index), xorb_hash(file, index)
        start = max(0, first - xorb.start) // CHUNK
        end = min(last - xorb.start, xorb.length - 1) // CHUNK + 1
        chunks = {"start": start, "end": end}
        data = {"start": start * FRAME, "end": min(end * FRAME, xorb.size) - 1}
        length = min(end * CHUNK, xorb.length) - start * CHUNK
        terms.append({"hash": name, "unpacked_length": length, "range": chunks})
        xorbs[name] = [{"url": address(name), "ranges": [{"chunks": chunks, "bytes": data}]}]
    return {"offset_into_first_range": first % CHUNK, "terms": terms, "xorbs": xorbs}


def ticket(repo: str, scope: str) -> tuple[str, int]:
    """Leave to read from a repository within a scope, and when it ends."""
    end = int(time.time()) + VALID
    return f"{repo}:{end}:{seal(repo, scope, end)}", end


def ticket_repo(text: str, scope: str) -> str | None:
    """The repository of a ticket that holds for this scope now."""
    repo, end, mark = (text.split(":") + [""] * 2)[:3]
    valid = end.isdecimal() and int(end) > time.time() and mark == seal(repo, scope, int(end))
    return repo if valid else None


def seal(repo: str, scope: str, end: int) -> str:
    return hmac.new(KEY, f"{repo}:{scope}:{end}".encode(), "sha256").hexdigest()[:32]
