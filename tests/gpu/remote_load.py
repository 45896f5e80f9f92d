# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loads a model with vLLM by each way that it offers, from disk and from the page cache. Runs on a node with a GPU.

Usage: FOLDER CASES, with CASES as JSON: [{"name", "where": "disk" or "memory", "arguments": {…}}, …]. Each is a whole
start of the engine, as small as one can be, in a process that is forked from this one, so that imports do not count
again.
"""

import ctypes
import json
import mmap
import os
import pathlib
import sys
import time

from vllm import LLM

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
LIBC.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


def cached(paths):
    """The share of some files that is in the page cache."""
    there = pages = 0
    for path in paths:
        with open(path, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            at = LIBC.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, stream.fileno(), 0)
            seen = ctypes.create_string_buffer(-(-size // mmap.PAGESIZE))
            LIBC.mincore(at, size, seen)
            LIBC.munmap(at, size)
        there += sum(byte & 1 for byte in seen.raw)
        pages += len(seen)
    return round(there / pages, 3)


def settle(paths, where):
    for path in paths:
        with open(path, "rb", buffering=0) as stream:
            if where == "disk":
                os.fsync(stream.fileno())
                os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            else:
                while stream.read(1 << 24):
                    pass


folder, cases = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2])
weights = sorted(folder.glob("*.safetensors"))
for case in cases:
    settle(weights, case["where"])
    print("ONECC CASE " + json.dumps({**case, "cached_before": cached(weights)}), flush=True)
    begin = time.monotonic()
    try:
        engine = LLM(
            str(folder),
            enforce_eager=True,
            max_model_len=1024,
            max_num_seqs=8,
            kv_cache_memory_bytes=1 << 30,
            **case["arguments"],
        )
        end = {"start": round(time.monotonic() - begin, 1)}
        engine.llm_engine.engine_core.shutdown()
        del engine
    except Exception as error:
        # The next way may do.
        end = {"error": str(error)[-300:]}
    sys.stderr.flush()
    print("ONECC END " + json.dumps(end), flush=True)
