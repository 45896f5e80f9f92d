# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's hub as tests steer and watch it, and models made for them."""

import contextlib
import datetime
import json
import os
import pathlib
import random
import shutil
import subprocess
import time

from lab import STATE

CACHE = pathlib.Path(os.environ.get("LAB_CACHE") or pathlib.Path.home() / ".cache/onecc-vllm-lab")
# All tokens that the hub knows. Without it every token is good.
ACCOUNTS = CACHE / "models/.accounts"
CONTROL = STATE / "hub/control.json"
ENDPOINT = "http://198.18.0.2"


class Hub:
    """Rates and faults, and the log of requests."""

    def __init__(self):
        self.mark()

    def set(self, **settings):
        """What holds from now on, see tests/lab/services/settings.py. Nothing given: a hub without limits."""
        new = CONTROL.with_suffix(".new")
        new.write_text(json.dumps(settings))
        new.replace(CONTROL)

    def mark(self):
        """Requests that began before now count no more, also if they are still under way."""
        self.since = time.time()

    def requests(self):
        """The requests that began since the mark and are over, those for wheels left out."""
        words = ["docker", "logs", "--timestamps", "--since", "%.6f" % self.since, "onecc-lab-hub"]
        log = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        entries = []
        for line in log.splitlines():
            stamp, _space, text = line.partition(" ")
            entry = json.loads(text)
            # Nanoseconds are more than Python reads.
            end = datetime.datetime.fromisoformat(stamp[:26] + "+00:00").timestamp()
            if end - entry["seconds"] >= self.since and not entry["path"].startswith("/wheels/"):
                entries.append(entry)
        return entries

    def sent(self):
        """Bytes of files that each client got since the mark."""
        total = {}
        for entry in self.requests():
            if entry["sent"] and ("/resolve/" in entry["path"] or "xorb" in entry["path"]):
                total[entry["client"]] = total.get(entry["client"], 0) + entry["sent"]
        return total


def on_disk(folder):
    """Bytes of a model's files that are there or begun."""
    total = 0
    for path in folder.glob("blobs/*"):
        # One that has just got its final name is counted the next time.
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


@contextlib.contextmanager
def model(repo, sizes, marks=None, seed=7):
    """A model on the hub for a while: files of random bytes.

    :param repo: OWNER/NAME
    :param sizes: dictionary from path to size in bytes
    :param marks: dictionary of the hub's own files, such as .gated, to their text
    """
    folder = CACHE / "models" / repo
    shutil.rmtree(folder, ignore_errors=True)
    noise = random.Random(seed)
    for name, size in sizes.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as stream:
            for start in range(0, size, 1 << 20):
                stream.write(noise.randbytes(min(1 << 20, size - start)))
    for name, text in (marks or {}).items():
        (folder / name).write_text(text)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def spread(total, files, seed=3):
    """Sizes as a sharded model has them: shards that differ by a fifth, an odd first and last one, small files.

    :param total: bytes of all files together, nearly
    :param files: number of shards
    """
    noise = random.Random(seed)
    weights = [noise.uniform(0.8, 1.0) for _shard in range(files)]
    weights[0], weights[-1] = 1.2, 0.45
    unit = total / sum(weights)
    names = ["model-%05d-of-%05d.safetensors" % (number + 1, files) for number in range(files)]
    small = {"config.json": 850, "generation_config.json": 180, "tokenizer_config.json": 55_000}
    return small | {"tokenizer.json": 2_000_000} | {name: int(unit * w) for name, w in zip(names, weights, strict=True)}
