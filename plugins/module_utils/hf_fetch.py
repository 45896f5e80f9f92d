# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One node's share of a download: files into blobs that have the hash they are named by."""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import json
import os
import pathlib
import sys
import threading
import time
import urllib.parse

from . import hf_cache
from .errors import OneccError
from .hub import explain

# The same file twice with a wrong hash is no accident of the network.
CORRUPT_TWICE = 2
BEAT = 1.0
# What no waiting mends: a mistake of a program, this one or a library.
MISTAKES = (AttributeError, ImportError, LookupError, MemoryError, NameError, TypeError, ValueError)
REFUSALS = {"GatedRepoError", "RepositoryNotFoundError", "RevisionNotFoundError", "EntryNotFoundError"}


# Answers that mean "later".
PASSING = {408, 425, 429}


def log(text):
    """Into the log of the job."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def is_storage(error):
    """Whether an error is one of the file system; those of the network have no number."""
    return isinstance(error, OSError) and error.errno is not None and getattr(error, "response", None) is None


class Stopped(Exception):
    """Another stream has met an error that ends the whole share."""


class Meter:
    """What huggingface_hub takes for a progress bar, one per file: counts bytes for all of them."""

    went = staticmethod(lambda count: None)

    def __init__(self, *_args, **_kwargs):
        self.n, self.total = 0, None

    def update(self, count=1):
        self.went(count)

    def update_transfer(self, count=1):
        """Bytes on the network; what counts here are those of the file."""

    def set_postfix_str(self, *_args, **_kwargs):
        """Rates of one file are not shown."""

    set_transfer_postfix_str = set_description = refresh = close = set_postfix_str

    def __enter__(self):
        return self

    def __exit__(self, *_args):
        return None


class TooMuch(Exception):
    """A server sends more than the file is long."""


class Partial:
    """A file being written from front to back, with the hash of what was written.

    What an earlier run has written is read once and built upon.

    :param stopped: event that ends the writing
    :param lost: function that is called with the number of bytes that must be fetched once more
    """

    def __init__(self, path, blob, size, stopped, lost):
        self.path, self.blob, self.size, self.stopped, self.lost = path, blob, size, stopped, lost
        self.open()
        self.had = self.tell()

    def open(self):
        """Goes to the end of what is there."""
        self.stream = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644), "r+b")
        self.content = hf_cache.hasher(self.blob, self.size)
        if os.fstat(self.stream.fileno()).st_size > self.size:
            self.restart()
        while block := self.stream.read(hf_cache.BLOCK):
            self.content.update(block)

    def close(self):
        """What was written is on the disk."""
        if not self.stream.closed:
            self.stream.flush()
            os.fsync(self.stream.fileno())
            self.stream.close()

    def restart(self):
        """Throws away what is there."""
        self.lost(self.size)
        self.content = hf_cache.hasher(self.blob, self.size)
        self.stream.seek(0)
        self.stream.truncate()

    def is_whole(self):
        return self.tell() == self.size and self.content.hexdigest() == self.blob

    # What huggingface_hub asks of a file.

    def write(self, data):
        if self.stopped.is_set():
            raise Stopped
        if self.tell() + len(data) > self.size:
            raise TooMuch
        self.content.update(data)
        return self.stream.write(data)

    def tell(self):
        return self.stream.tell()

    def seek(self, position):
        """huggingface_hub goes back to the start when a server does not know ranges, and nowhere else."""
        if position != 0:
            raise ValueError("expected to start anew, not at byte %d" % position)
        if self.tell() == getattr(self, "had", 0) > 0:
            # It takes back what it has counted itself, but knows nothing of what earlier runs have fetched.
            self.lost(self.had)
        self.content = hf_cache.hasher(self.blob, self.size)
        return self.stream.seek(0)

    def truncate(self):
        return self.stream.truncate()


class Share:
    """The files of one node.

    :param cache: hf_cache.Cache
    :param writer: the node's name
    :param files: as hf_cache.survey gives them
    :param repo: OWNER/NAME
    :param commit: the commit they are of
    :param endpoint: the hub's address, or None for huggingface_hub's own
    :param token: for the hub, or False
    :param transport: http or xet
    :param streams: files at the same time
    :param patience: seconds without a byte after which the hub is given up
    """

    def __init__(self, cache, writer, files, repo, commit, endpoint, token, transport, streams, patience):
        self.cache, self.writer, self.files, self.repo, self.commit = cache, writer, files, repo, commit
        self.endpoint, self.token, self.transport = endpoint, token, transport
        self.streams, self.patience = streams, patience
        self.total = sum(file["size"] - file["have"] for file in files)
        self.check_total = sum(file["size"] for file in files if file["state"] == "unverified")
        self.fetched = self.checked = self.ready = 0
        self.last_byte = time.monotonic()
        self.counting, self.telling = threading.Lock(), threading.Lock()
        self.stopped = threading.Event()
        self.refetched = []
        self.error = None

    def run(self):
        """Brings all files.

        :return: dictionary with fetched and checked (bytes), refetched (files that were found corrupt), seconds
        :raises OneccError: the first error that cannot be waited out
        """
        from huggingface_hub import constants

        # Less than a megabyte is lost when a connection breaks or the process is killed.
        constants.DOWNLOAD_CHUNK_SIZE = 1 << 20
        self.endpoint = self.endpoint or constants.ENDPOINT
        began = time.monotonic()
        os.makedirs(self.cache.blobs, exist_ok=True)
        beat = threading.Thread(target=self.keep_telling, daemon=True)
        beat.start()
        pool = concurrent.futures.ThreadPoolExecutor(self.streams)
        concurrent.futures.wait(
            [pool.submit(self.bring, file) for file in self.files], return_when=concurrent.futures.FIRST_EXCEPTION
        )
        # Streams that wait for the network or for Xet are not waited for: the process ends with this.
        pool.shutdown(wait=False, cancel_futures=True)
        if self.error:
            self.tell("failed")
            raise self.error
        self.tell("done")
        return {
            "fetched": self.fetched,
            "checked": self.checked,
            "refetched": self.refetched,
            "seconds": round(time.monotonic() - began, 1),
        }

    def keep_telling(self):
        while not self.stopped.wait(BEAT):
            self.tell("running")

    def tell(self, state):
        """Writes how far it is, into one file that is overwritten in place: NFS shows others that soonest."""
        with self.telling:
            if state == "running" and self.stopped.is_set():
                return
            with self.counting:
                told = {
                    "node": self.writer,
                    "state": state,
                    "beat": time.monotonic_ns(),
                    "total": self.total,
                    "fetched": self.fetched,
                    "check_total": self.check_total,
                    "checked": self.checked,
                    "files": len(self.files),
                    "ready": self.ready,
                    "refetched": list(self.refetched),
                    "message": str(self.error or ""),
                }
            if state != "running":
                self.stopped.set()
            try:
                path = self.cache.progress(self.writer)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "w", encoding="utf-8") as stream:
                    json.dump(told, stream)
            except OSError as error:
                # Whoever watches sees less; the download itself says what is wrong with the storage.
                log("progress: %s" % error)

    def went(self, count):
        with self.counting:
            self.fetched += count
            self.last_byte = time.monotonic()

    def read(self, count):
        with self.counting:
            self.checked += count

    def lost(self, count):
        """Bytes that were there must be fetched once more."""
        with self.counting:
            self.total += count

    def bring(self, file):
        """One file, from whatever there is of it to a blob that is noted as verified."""
        try:
            if self.stopped.is_set():
                raise Stopped
            path = self.cache.blob(file["blob"])
            if file["state"] == "missing" and (hf_cache.looks(path) or {}).get("size") == file["size"]:
                # Somebody has brought it since the plan was made.
                with self.counting:
                    self.total -= file["size"] - file["have"]
                    self.check_total += file["size"]
                file = dict(file, state="unverified")
            if file["state"] == "unverified":
                # As it looks before it is read: a change in between is a change.
                look = hf_cache.looks(path)
                if hf_cache.check(path, file["blob"], file["size"], self.read):
                    return self.finish(file, look)
                # Nobody shall load it, not even until the right one is there.
                os.unlink(path)
                self.lost(file["size"])
                with self.counting:
                    self.refetched.append(file["path"])
            self.fetch(file)
            return self.finish(file, hf_cache.looks(path))
        except Stopped:
            raise
        except BaseException as error:
            told = self.no_storage(file, error) if is_storage(error) else error
            with self.counting:
                # The first that fails ends the others, and is the one to be told.
                self.error = self.error or told
            self.stopped.set()
            raise told from error

    def finish(self, file, look):
        hf_cache.note_verified(self.cache, self.writer, file["blob"], look)
        with self.counting:
            self.ready += 1

    def fetch(self, file):
        """Fetches until the file is whole; waits out what may pass."""
        path = self.cache.partial(file["blob"])
        partial = Partial(path, file["blob"], file["size"], self.stopped, self.lost)
        corrupt = 0
        try:
            while not self.try_to_fetch(file, partial):
                corrupt += 1
                partial.restart()
                if corrupt == CORRUPT_TWICE:
                    raise OneccError(
                        self.endpoint,
                        "%s with the hash %s" % (file["path"], file["blob"]),
                        "other bytes, %d times" % corrupt,
                        "Something between the hub and this node changes files: try another endpoint (HF_ENDPOINT).",
                    )
        finally:
            partial.close()
            with contextlib.suppress(FileNotFoundError):
                if file["size"] and not os.path.getsize(path):
                    os.unlink(path)
        try:
            os.replace(path, self.cache.blob(file["blob"]))
        except FileNotFoundError:
            # Another cluster that downloads onto the same storage was a moment sooner.
            if not hf_cache.check(self.cache.blob(file["blob"]), file["blob"], file["size"]):
                raise

    def try_to_fetch(self, file, partial):
        """Fetches what is missing of a file. Whether it has the right size and hash then."""
        pause, since = 1.0, time.monotonic()
        while True:
            try:
                self.ask(file, partial)
                return partial.is_whole()
            except TooMuch:
                return False
            except (OneccError, Stopped):
                raise
            # What is left is the network's, in classes that change with huggingface_hub's transport, unless
            # judge knows better.
            except Exception as error:
                self.judge(error)
                log("%s: %s: %s" % (file["path"], type(error).__name__, error))
                if time.monotonic() - max(self.last_byte, since) > self.patience:
                    raise explain(error, self.repo, self.commit, self.endpoint) from error
                if self.stopped.wait(pause):
                    raise Stopped from error
                pause = min(pause * 2, 15)

    def judge(self, error):
        """Raises what will not pass by waiting."""
        response = getattr(error, "response", None)
        if response is None:
            if is_storage(error) or isinstance(error, MISTAKES):
                raise error
            if any(words in str(error) for words in ("No space left on device", "(os error 28)")):
                # As Xet says it.
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
            return
        names = {cls.__name__ for cls in type(error).__mro__}
        # A store that the hub points to refuses with 403 when its address has expired; the hub gives another.
        by_hub = response.url.host == urllib.parse.urlsplit(self.endpoint).hostname
        status = response.status_code
        if names & REFUSALS or status == 401 or (by_hub and 400 <= status < 500 and status not in PASSING):
            raise explain(error, self.repo, self.commit, self.endpoint) from error

    def no_storage(self, file, error):
        """An error of the file system in words that say what to do."""
        if hf_cache.is_full(error):
            missing = self.total - self.fetched
            free = hf_cache.free_space(self.cache.cache_dir) / 1e9
            found = "no space left (%.1f GB free now); it was filled meanwhile" % free
            remedy = "Free space there"
            if error.errno == errno.EDQUOT:
                found, remedy = "that the quota is used up", "Raise the quota of the user that writes there"
            return OneccError(
                self.cache.cache_dir,
                "%.1f GB more for this node's share of the model" % (missing / 1e9),
                found,
                "%s and run this again: it goes on with what is there." % remedy,
            )
        return OneccError(
            self.cache.cache_dir,
            "storage that takes %s" % file["path"],
            str(error),
            "Check the mount and its permissions on this node.",
        )

    def ask(self, file, partial):
        """Asks the hub for what is missing of a file."""
        from huggingface_hub import file_download, hf_hub_url
        from huggingface_hub.utils import build_hf_headers

        url = hf_hub_url(self.repo, file["path"], revision=self.commit, endpoint=self.endpoint)
        metadata = file_download.get_hf_file_metadata(url, token=self.token, endpoint=self.endpoint, timeout=30)
        headers = build_hf_headers(token=self.token)
        meter = type("ShareMeter", (Meter,), {"went": staticmethod(self.went)})
        by_xet = self.transport == "xet" or file["size"] > file_download.constants.MAX_HTTP_DOWNLOAD_SIZE
        # Xet writes from front to back, but cannot go on where it was cut off: then the rest comes by HTTP.
        if by_xet and metadata.xet_file_data and file_download.is_xet_available() and partial.tell() == 0:
            partial.close()
            try:
                file_download.xet_get(
                    incomplete_path=pathlib.Path(partial.path),
                    xet_file_data=metadata.xet_file_data,
                    headers=headers,
                    expected_size=file["size"],
                    tqdm_class=meter,
                )
            finally:
                # Reads it: Xet checks sizes, no hashes.
                partial.open()
            return
        if urllib.parse.urlsplit(metadata.location).netloc != urllib.parse.urlsplit(url).netloc:
            # The store it points to has its own way to know us; the token is for the hub alone.
            headers.pop("authorization", None)
        file_download.http_get(
            metadata.location,
            partial,
            resume_size=partial.tell(),
            headers=headers,
            expected_size=file["size"],
            tqdm_class=meter,
        )
