# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the hub is told while it runs (a file of settings), and the rate at which each client gets its bytes."""

import dataclasses
import json
import pathlib
import sys
import threading
import time

# Seconds between two looks at the file of settings.
LOOK = 0.2
# Seconds a client may be behind its rate and still make up for it: threads wake late, and idle time is no credit.
BURST = 0.05
# Bytes sent at once, and how many of them a second there are at least where the rate is low.
PIECE, PIECES_PER_SECOND = 1 << 16, 100


@dataclasses.dataclass(frozen=True)
class Settings:
    """The keys of the control file, all of which may be left out."""

    # Bytes a second of models' files to each client address, all its connections together.
    rate: float | None = None
    # Whether large files are offered over Xet too.
    xet: bool = True
    # The HTTP status of every answer of the model API and of resolve.
    refuse: int | None = None
    # Whether bodies of files stop where they are, with their connections open, until this is false again.
    stall: bool = False
    # The path in its repository of a file that is sent with one byte flipped, the middle one.
    flip: str | None = None

    def __post_init__(self):
        if self.rate is not None and not self.rate > 0:
            raise ValueError(f"rate: expected a number above 0 or null, found {self.rate!r}")


class Control:
    """The settings of a file, read again after a change. The file may come late, change and go."""

    def __init__(self, path: pathlib.Path | None = None):
        self.path = path
        self.lock = threading.Lock()
        self.current = Settings()
        self.seen = None
        self.next_look = 0.0

    def settings(self) -> Settings:
        if self.path is None:
            return self.current
        with self.lock:
            if time.monotonic() >= self.next_look:
                self.look()
                self.next_look = time.monotonic() + LOOK
            return self.current

    def look(self):
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            self.seen, self.current = None, Settings()
            return
        stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if stamp == self.seen:
            return
        self.seen = stamp
        try:
            self.current = Settings(**json.loads(self.path.read_text()))
        except (OSError, TypeError, ValueError) as error:
            # It may be half written: what was said last holds until the next change.
            print(f"{self.path}: {error}", file=sys.stderr, flush=True)


class Pacer:
    """Keeps the bytes to each client address to a rate.

    Each piece gets the moment when the pieces before it are paid for, and its thread sleeps until then. So the
    connections of one client take turns, and lateness of one piece is not added to that of the next.
    """

    def __init__(self):
        self.lock = threading.Lock()
        self.paid_until = {}

    def wait(self, client: str, count: int, rate: float):
        """Returns when this many bytes may go to the client."""
        with self.lock:
            now = time.monotonic()
            start = max(self.paid_until.get(client, now), now - BURST)
            self.paid_until[client] = start + count / rate
        if start > now:
            time.sleep(start - now)


def piece(rate: float | None) -> int:
    """How many bytes to send at once: few enough that a client with many connections hears from each soon."""
    return PIECE if rate is None else max(1, min(PIECE, int(rate / PIECES_PER_SECOND)))
