# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One model in the Hugging Face cache, on storage that several nodes share.

The layout is that of huggingface_hub: files lie in blobs/ under their hash, snapshots/COMMIT holds links
to them, refs/ the commits of branches. Beside it, .onecc/ holds what this collection notes: which blobs
were checked and how they looked then (verified/WRITER.jsonl), what a commit consists of (COMMIT.json),
and how far a download is (progress/WRITER.json).

No locks: each file has one writer at a time by plan, and a name that says whether it is finished.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
import time

from .errors import OneccError
from .hub import COMMIT

PARTIAL = ".onecc.incomplete"
# What huggingface_hub leaves when it is cut off; it does not pick them up again.
FOREIGN_PARTIAL = re.compile(r"([0-9a-f]{40,64})(\.[0-9a-f]{8})?\.incomplete$")
FOREIGN_AGE = 3600
# Snapshots and links that were about to get their names.
HALF_MADE = re.compile(r"\.\d+\.new$")
BLOCK = 1 << 22


class Cache:
    """Where things are. cache_dir is HF_HOME/hub."""

    def __init__(self, cache_dir, repo):
        self.cache_dir = cache_dir
        self.folder = os.path.join(cache_dir, "models--" + repo.replace("/", "--"))
        self.blobs = os.path.join(self.folder, "blobs")
        self.notes = os.path.join(self.folder, ".onecc")

    def blob(self, name):
        return os.path.join(self.blobs, name)

    def partial(self, name):
        return os.path.join(self.blobs, name + PARTIAL)

    def snapshot(self, commit):
        return os.path.join(self.folder, "snapshots", commit)

    def ref(self, revision):
        return os.path.join(self.folder, "refs", revision)

    def manifest(self, commit):
        return os.path.join(self.notes, commit + ".json")

    def journal(self, writer):
        return os.path.join(self.notes, "verified", writer + ".jsonl")

    def progress(self, writer):
        return os.path.join(self.notes, "progress", writer + ".json")


def is_commit(revision):
    """Whether a revision is a commit, which never becomes another one."""
    return bool(COMMIT.fullmatch(revision))


def looks(path):
    """How a blob looks, as a journal notes it: a change of its content changes one of these. None if there is none."""
    try:
        stat = os.stat(path)
    except FileNotFoundError:
        return None
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "ctime_ns": stat.st_ctime_ns}


def note_verified(cache, writer, blob, look):
    """Notes that a blob was found to have its hash when it looked so."""
    path = cache.journal(writer)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    line = json.dumps({"blob": blob, **look})
    # On a line of its own, even after one that a crash has torn.
    with open(path, "a", encoding="utf-8") as stream:
        stream.write("\n%s\n" % line)


def read_verified(cache):
    """All that was noted, as a set of (blob, size, mtime_ns, ctime_ns)."""
    noted = set()
    folder = os.path.join(cache.notes, "verified")
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as stream:
            for line in stream:
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    entry = json.loads(line)
                    noted.add((entry["blob"], entry["size"], entry["mtime_ns"], entry["ctime_ns"]))
    return noted


def survey(cache, files, trust=True):
    """What is there of some files.

    :param files: list of dictionaries with path, size in bytes and blob
    :param trust: whether a note that a blob was verified counts, if it looks as it did then
    :return: the same with state, one of verified, unverified, missing; and have, the bytes that are there
    """
    noted = read_verified(cache) if trust else set()
    seen = []
    for file in files:
        look = looks(cache.blob(file["blob"]))
        if look is None or look["size"] != file["size"]:
            partial = looks(cache.partial(file["blob"]))
            state, have = "missing", min(partial["size"], file["size"]) if partial else 0
        else:
            known = (file["blob"], look["size"], look["mtime_ns"], look["ctime_ns"]) in noted
            state, have = "verified" if known else "unverified", file["size"]
        seen.append(dict(file, state=state, have=have))
    return seen


def split(files, nodes):
    """Gives the files that need work to nodes, the largest first and each to the node that has least.

    What must be fetched and what must only be read are balanced apart: one takes the network, the other does not.
    A blob that the model has under several names is worked on once.

    :param files: list as survey gives it
    :param nodes: names of the nodes
    :return: dictionary from node to its files, largest first
    """
    shares: dict[str, list] = {node: [] for node in nodes}
    load = {(node, state): 0 for node in nodes for state in ("missing", "unverified")}
    todo = {file["blob"]: file for file in reversed(files) if file["state"] != "verified"}
    # Sorted by name as well, so that the same work is always split in the same way.
    for file in sorted(todo.values(), key=lambda file: (file["have"] - file["size"], -file["size"], file["path"])):
        node = min(nodes, key=lambda name: (load[name, file["state"]], len(shares[name])))
        shares[node].append(file)
        load[node, file["state"]] += file["size"] - (file["have"] if file["state"] == "missing" else 0)
    return shares


def hasher(blob, size):
    """An object with update() and hexdigest() that gives a blob's name from its content."""
    if len(blob) == 64:
        return hashlib.sha256()
    # The id that git gives a file. Nothing depends on it being hard to forge.
    return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)


def check(path, blob, size, went=None):
    """Reads a file and tells whether its content has the hash that the blob is named by.

    :param went: function that is called with the number of bytes read
    """
    content = hasher(blob, size)
    with open(path, "rb") as stream:
        while block := stream.read(BLOCK):
            content.update(block)
            if went:
                went(len(block))
    return content.hexdigest() == blob


def accept(cache, writer, seen):
    """Notes as verified, as this node sees it, what another node has verified a moment ago.

    Clients of a file system may see times that differ by a rounding, and the node that looks later is this one.

    :param seen: what survey gave, nothing missing
    :raises OneccError: for a file that nobody has verified
    """
    noted = {(blob, size, mtime_ns // 10**9) for blob, size, mtime_ns, _ctime_ns in read_verified(cache)}
    for file in seen:
        if file["state"] == "unverified":
            look = looks(cache.blob(file["blob"]))
            second = look["mtime_ns"] // 10**9
            if not any((file["blob"], look["size"], second + step) in noted for step in (-1, 0, 1)):
                raise OneccError(
                    cache.blob(file["blob"]),
                    "a file whose hash was found right",
                    "one that nobody has checked since it changed",
                    "Check it first.",
                )
            note_verified(cache, writer, file["blob"], look)


def write_atomically(path, text):
    """A file that is there with all its content, or not at all."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    new = "%s.%d.new" % (path, os.getpid())
    with open(new, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(new, path)


def read(path):
    """A small file's text, None if there is no such file."""
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_manifest(cache, commit):
    """What was noted of a commit when its snapshot was made: repo, commit, all_files. None if nothing was."""
    try:
        return json.loads(read(cache.manifest(commit)) or "null")
    except ValueError:
        return None


def resolve(cache, revision):
    """The commit that a branch or tag stood for when a snapshot of it was last made; a commit is one itself."""
    return revision if is_commit(revision) else (read(cache.ref(revision)) or revision).strip()


def missing_notes(cache, repo, commit, revision, all_files):
    """What a snapshot needs to be known by and is not noted yet: path to text."""
    manifest = {"repo": repo, "commit": commit, "all_files": all_files}
    wanted = {cache.manifest(commit): json.dumps(manifest, indent=1) + "\n"}
    if revision and not is_commit(revision):
        wanted[cache.ref(revision)] = commit
    return {path: text for path, text in wanted.items() if read(path) != text}


def link_target(path, cache, blob):
    """What a snapshot's link says: the blob, relative, so that the cache can be moved."""
    return os.path.relpath(cache.blob(blob), os.path.dirname(path))


def is_linked(cache, commit, file):
    """Whether the snapshot shows a file."""
    path = os.path.join(cache.snapshot(commit), file["path"])
    return os.path.islink(path) and os.readlink(path) == link_target(path, cache, file["blob"])


def publish(cache, commit, files):
    """Makes the snapshot visible in one step: a folder full of links that is renamed into place.

    A snapshot that is there already, with other files, gets what it lacks, file by file.
    """
    target = cache.snapshot(commit)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if not os.path.isdir(target):
        new = "%s.%d.new" % (target, os.getpid())
        remove(new)
        for file in files:
            link(os.path.join(new, file["path"]), os.path.join(target, file["path"]), cache, file["blob"])
        os.rename(new, target)
        return
    for file in files:
        if not is_linked(cache, commit, file):
            path = os.path.join(target, file["path"])
            new = "%s.%d.new" % (path, os.getpid())
            remove(new)
            link(new, path, cache, file["blob"])
            os.replace(new, path)


def link(path, final, cache, blob):
    """A link at path that is right once it is at final."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.symlink(link_target(final, cache, blob), path)


def leftovers(cache, now=None):
    """What interrupted runs have left and nobody will use once a snapshot is complete: paths.

    Partial files of this collection, half-made snapshots, and partial files of huggingface_hub, which it
    never resumes, once they have not grown for an hour: somebody may be at it by hand.
    """
    now = time.time() if now is None else now
    found = []
    for name in sorted(os.listdir(cache.blobs)) if os.path.isdir(cache.blobs) else []:
        path = os.path.join(cache.blobs, name)
        if name.endswith(PARTIAL):
            found.append(path)
        elif FOREIGN_PARTIAL.match(name):
            look = looks(path)
            if look and now - look["mtime_ns"] / 1e9 > FOREIGN_AGE:
                found.append(path)
    snapshots = os.path.join(cache.folder, "snapshots")
    for folder, folders, files in os.walk(snapshots):
        half_made = [name for name in folders + files if HALF_MADE.search(name)]
        found += [os.path.join(folder, name) for name in sorted(half_made)]
        folders[:] = sorted(set(folders) - set(half_made))
    return found


def remove(path):
    """Removes a file or a folder of links."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def nearest(path):
    """The path itself or what there is of it."""
    path = os.path.abspath(path)
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def free_space(path):
    """Bytes free where path is, or will be."""
    return shutil.disk_usage(nearest(path)).free


def why_not_writable(path):
    """Tries to make a file where path is, or will be. Empty if that works, else what the system says.

    A mode that allows it is not enough: storage may be mounted read-only, or not let root write.
    """
    try:
        with tempfile.TemporaryFile(dir=nearest(path)):
            return ""
    except OSError as error:
        return os.strerror(error.errno) if error.errno else str(error)


def is_full(error):
    """Whether an error says that there is no more space."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
