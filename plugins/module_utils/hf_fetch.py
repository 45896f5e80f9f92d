# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One node's share of a download: files into blobs that have the hash they are named by."""

from __future__ import annotations

import concurrent.futures
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


def has_content(path):
    """Whether a partial file is worth going on with. Xet writes from front to back, but cannot go on."""
    return os.path.exists(path) and os.path.getsize(path) > 0


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


class Partial:
    """A file being written from front to back, with the hash of what was written.

    What an earlier run has written is read once and built upon.
    """

    def __init__(self, path, blob, size, stopped):
        self.blob, self.size, self.stopped = blob, size, stopped
        self.stream = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b")
        if os.fstat(self.stream.fileno()).st_size > size:
            self.stream.truncate(0)
        self.content = hf_cache.hasher(blob, size)
        while block := self.stream.read(hf_cache.BLOCK):
            self.content.update(block)
        self.had = self.stream.tell()

    def write(self, data):
        if self.stopped.is_set():
            raise Stopped
        self.content.update(data)
        return self.stream.write(data)

    def tell(self):
        return self.stream.tell()

    def seek(self, position):
        """huggingface_hub goes back to the start when a server does not know ranges, and nowhere else."""
        if position != 0:
            raise ValueError("expected to start anew, not at byte %d" % position)
        self.content = hf_cache.hasher(self.blob, self.size)
        return self.stream.seek(0)

    def truncate(self):
        return self.stream.truncate()

    def close(self):
        """Puts it on the disk. Whether it is whole and has its hash."""
        self.stream.flush()
        os.fsync(self.stream.fileno())
        whole = self.tell() == self.size and self.content.hexdigest() == self.blob
        self.stream.close()
        return whole


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
        self.counting = threading.Lock()
        self.stopped = threading.Event()
        self.refetched = []

    def run(self):
        """Brings all files.

        :return: dictionary with fetched and checked (bytes), refetched (files that were found corrupt), seconds
        :raises OneccError: the first error that cannot be waited out
        """
        began = time.monotonic()
        os.makedirs(self.cache.blobs, exist_ok=True)
        beat = threading.Thread(target=self.keep_telling, daemon=True)
        beat.start()
        try:
            pool = concurrent.futures.ThreadPoolExecutor(self.streams)
            done, _rest = concurrent.futures.wait(
                [pool.submit(self.bring, file) for file in self.files],
                return_when=concurrent.futures.FIRST_EXCEPTION,
            )
            errors = [future.exception() for future in done if future.exception()]
            # Streams that wait for the network or for Xet are not waited for: the process ends with this.
            pool.shutdown(wait=False, cancel_futures=True)
            if errors:
                raise next((error for error in errors if not isinstance(error, Stopped)), errors[0])
        except BaseException:
            self.tell("failed")
            raise
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
        with self.counting:
            if state != "running":
                self.stopped.set()
            elif self.stopped.is_set():
                return
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
            }
            try:
                path = self.cache.progress(self.writer)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "w", encoding="utf-8") as stream:
                    json.dump(told, stream)
            except OSError as error:
                # Whoever watches sees less; the download itself says what is wrong with the storage.
                print("progress: %s" % error, file=sys.stderr, flush=True)

    def went(self, count):
        with self.counting:
            self.fetched += count
            self.last_byte = time.monotonic()

    def read(self, count):
        with self.counting:
            self.checked += count

    def bring(self, file):
        """One file, from whatever there is of it to a blob that is noted as verified."""
        try:
            path = self.cache.blob(file["blob"])
            if file["state"] == "unverified":
                if hf_cache.check(path, file["blob"], file["size"], self.read):
                    return self.finish(file)
                # Nobody shall load it, not even until the right one is there.
                os.unlink(path)
                with self.counting:
                    self.refetched.append(file["path"])
                    self.total += file["size"]
            self.fetch(file)
            return self.finish(file)
        except OSError as error:
            # The first that fails ends the others.
            self.stopped.set()
            raise self.no_storage(file, error) from error
        except BaseException:
            self.stopped.set()
            raise

    def finish(self, file):
        hf_cache.note_verified(self.cache, self.writer, file["blob"])
        with self.counting:
            self.ready += 1

    def fetch(self, file):
        """Fetches until the file is whole; waits out what may pass."""
        corrupt, pause = 0, 1.0
        while True:
            try:
                if self.try_to_fetch(file):
                    return
                corrupt += 1
                if corrupt >= CORRUPT_TWICE:
                    raise OneccError(
                        self.endpoint or "the hub",
                        "%s with the hash %s" % (file["path"], file["blob"]),
                        "other bytes, %d times" % corrupt,
                        "Something between the hub and this node changes files: try another endpoint (HF_ENDPOINT).",
                    )
            except (OneccError, Stopped):
                raise
            except Exception as error:
                self.judge(error)
                print("%s: %s: %s" % (file["path"], type(error).__name__, error), file=sys.stderr, flush=True)
                if time.monotonic() - self.last_byte > self.patience:
                    raise explain(error, self.repo, self.commit, self.endpoint) from error
                if self.stopped.wait(pause):
                    raise Stopped from error
                pause = min(pause * 2, 15)

    def judge(self, error):
        """Raises what will not pass by waiting."""
        if isinstance(error, OSError) and error.errno is not None:
            raise error
        if isinstance(error, MISTAKES):
            raise error
        if "No space left on device" in str(error) or "os error 28" in str(error):
            raise OSError(28, os.strerror(28)) from error
        names = {cls.__name__ for cls in type(error).__mro__}
        response = getattr(error, "response", None)
        status = getattr(response, "status_code", None)
        # A store that the hub points to refuses with 403 when its address has expired; the hub gives another.
        by_hub = response is not None and response.url.host == urllib.parse.urlsplit(self.endpoint or "").hostname
        if names & REFUSALS or status == 401 or (status == 403 and by_hub):
            raise explain(error, self.repo, self.commit, self.endpoint) from error

    def no_storage(self, file, error):
        if hf_cache.is_full(error):
            missing = self.total - self.fetched
            return OneccError(
                self.cache.cache_dir,
                "%.1f GB more for this node's share of the model" % (missing / 1e9),
                "no space left (%.1f GB free now); it was filled meanwhile"
                % (hf_cache.free_space(self.cache.cache_dir) / 1e9),
                "Free space there and run this again: it goes on with what is there.",
            )
        return OneccError(
            self.cache.cache_dir,
            "storage that takes %s" % file["path"],
            str(error),
            "Check the mount and its permissions on this node.",
        )

    def try_to_fetch(self, file):
        """Fetches what is missing of a file. Whether it had the right hash; if not, nothing is left of it."""
        from huggingface_hub import file_download, hf_hub_url
        from huggingface_hub.utils import build_hf_headers

        url = hf_hub_url(self.repo, file["path"], revision=self.commit, endpoint=self.endpoint)
        metadata = file_download.get_hf_file_metadata(url, token=self.token, endpoint=self.endpoint, timeout=30)
        headers = build_hf_headers(token=self.token)
        # Less than a megabyte is lost when a connection breaks or the process is killed.
        file_download.constants.DOWNLOAD_CHUNK_SIZE = 1 << 20
        meter = type("ShareMeter", (Meter,), {"went": staticmethod(self.went)})
        path = self.cache.partial(file["blob"])
        by_xet = self.transport == "xet" or file["size"] > file_download.constants.MAX_HTTP_DOWNLOAD_SIZE
        if by_xet and metadata.xet_file_data and file_download.is_xet_available() and not has_content(path):
            file_download.xet_get(
                incomplete_path=pathlib.Path(path),
                xet_file_data=metadata.xet_file_data,
                headers=headers,
                expected_size=file["size"],
                tqdm_class=meter,
            )
            with open(path, "rb") as stream:
                os.fsync(stream.fileno())
            # Xet checks sizes, no hashes.
            return self.keep(file, hf_cache.check(path, file["blob"], file["size"]))
        if urllib.parse.urlsplit(metadata.location).netloc != urllib.parse.urlsplit(url).netloc:
            # The store it points to has its own way to know us; the token is for the hub alone.
            headers.pop("authorization", None)
        partial = Partial(path, file["blob"], file["size"], self.stopped)
        try:
            file_download.http_get(
                metadata.location,
                partial,
                resume_size=partial.had,
                headers=headers,
                expected_size=file["size"],
                tqdm_class=meter,
            )
        finally:
            whole = partial.close()
        return self.keep(file, whole)

    def keep(self, file, whole):
        """Gives a fetched file its final name if it has its hash, else removes it."""
        path = self.cache.partial(file["blob"])
        if not whole:
            os.unlink(path)
            with self.counting:
                self.total += file["size"]
            return False
        os.replace(path, self.cache.blob(file["blob"]))
        return True
