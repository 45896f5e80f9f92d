# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A model in the Hugging Face cache: what is there, who does what, and how it becomes visible."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import signal
import threading
import time

import huggingface_hub
import pytest
from huggingface_hub.file_download import repo_folder_name

from ansible_collections.onecc.vllm.plugins.module_utils import hf_cache
from ansible_collections.onecc.vllm.plugins.module_utils.errors import OneccError

REPO = "owner/model"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
# Contents by the names of their blobs: what `sha256sum` and `git hash-object` say.
HELLO = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
GIT_HELLO = "ce013625030ba8dba906f756967f9e9ca394464a"
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
GIT_EMPTY = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
BYTES = "a37cc3026aae4d519e0b19c298fa913b4dccfdf0658cbccbb7deaa0226d5acdb"
GIT_BYTES = "f63bd877fcd57b07f0339277c3de5bf7bd442cac"
CONTENTS = {HELLO: b"hello\n", GIT_HELLO: b"hello\n", EMPTY: b"", GIT_EMPTY: b"", BYTES: b"a\0b\xff"}
CONTENTS[GIT_BYTES] = CONTENTS[BYTES]

FILES = [
    {"path": "config.json", "size": 6, "blob": GIT_HELLO},
    {"path": "model.safetensors", "size": 4, "blob": BYTES},
    {"path": "original/empty.txt", "size": 0, "blob": GIT_EMPTY},
]
WEIGHTS = FILES[1]


@pytest.fixture
def cache(tmp_path):
    return hf_cache.Cache(str(tmp_path / "hub"), REPO)


@pytest.fixture
def filled(cache):
    """With all files in place, and node n0 sure of them."""
    for file in FILES:
        put(cache, file["blob"])
        verify(cache, file["blob"])
    return cache


def put(cache, blob, content=None):
    os.makedirs(cache.blobs, exist_ok=True)
    path = pathlib.Path(cache.blob(blob))
    path.write_bytes(CONTENTS[blob] if content is None else content)
    return path


def verify(cache, blob, writer="n0"):
    """Notes that a blob is right, as it looks now."""
    hf_cache.note_verified(cache, writer, blob, hf_cache.looks(cache.blob(blob)))


def states(cache, files=None, **kwargs):
    return [(file["state"], file["have"]) for file in hf_cache.survey(cache, files or FILES, **kwargs)]


@pytest.mark.parametrize(
    ("repo", "folder"),
    [
        pytest.param("owner/name-1.0", "models--owner--name-1.0", id="owner-and-name"),
        pytest.param("gpt2", "models--gpt2", id="name-alone"),
    ],
)
def test_the_folder_is_that_of_huggingface_hub(repo, folder):
    assert hf_cache.Cache("/cache", repo).folder == "/cache/" + folder
    assert repo_folder_name(repo_id=repo, repo_type="model") == folder


@pytest.mark.parametrize(
    ("revision", "answer"),
    [
        pytest.param(COMMIT, True, id="commit"),
        pytest.param("main", False, id="branch"),
        pytest.param(COMMIT[:12], False, id="short"),
        pytest.param(COMMIT + "0", False, id="long"),
        pytest.param(COMMIT.upper(), False, id="upper-case"),
        pytest.param(COMMIT + "\n", False, id="with-a-line-end"),
        pytest.param("refs/pr/" + COMMIT, False, id="pull-request"),
        pytest.param("", False, id="empty"),
    ],
)
def test_is_commit(revision, answer):
    assert hf_cache.is_commit(revision) is answer


# What is there of the file of weights, 4 bytes long.


def nothing(cache):
    """No folder, even."""


def partial(size):
    def prepare(cache):
        os.makedirs(cache.blobs)
        pathlib.Path(cache.partial(BYTES)).write_bytes(b"x" * size)

    return prepare


def short(cache):
    put(cache, BYTES, b"a\0b")


def long(cache):
    put(cache, BYTES, b"a\0b\xff\n")


def short_and_partial(cache):
    short(cache)
    pathlib.Path(cache.partial(BYTES)).write_bytes(b"a\0")


def unverified(cache):
    put(cache, BYTES)


def verified(cache):
    put(cache, BYTES)
    verify(cache, BYTES)


def verified_by_another(cache):
    put(cache, HELLO)
    verify(cache, HELLO)
    put(cache, BYTES)
    verify(cache, BYTES, "n1")


def another_verified(cache):
    put(cache, BYTES)
    put(cache, HELLO, CONTENTS[BYTES])
    verify(cache, HELLO)


def touched(cache):
    verified(cache)
    os.utime(cache.blob(BYTES), (0, 0))


def touched_meanwhile(cache):
    """It changes between the look at it and the note that it is right."""
    put(cache, BYTES)
    look = hf_cache.looks(cache.blob(BYTES))
    os.utime(cache.blob(BYTES), (0, 0))
    hf_cache.note_verified(cache, "n0", BYTES, look)


def flipped(cache):
    """Other content of the same size and with the same time of change, as a careful copy has it."""
    verified(cache)
    path = cache.blob(BYTES)
    before = os.stat(path)
    # The clock of the file system goes in steps.
    while os.stat(path).st_ctime_ns == before.st_ctime_ns:
        put(cache, BYTES, b"a\0b\xfe")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert os.stat(path).st_mtime_ns == before.st_mtime_ns


def replaced(cache):
    """Another file in its place that has the times of the old one, as far as they can be set."""
    verified(cache)
    before = os.stat(cache.blob(BYTES))
    new = put(cache, HELLO, b"xxxx")
    while os.stat(new).st_ctime_ns == before.st_ctime_ns:
        os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(new, cache.blob(BYTES))


def gone(cache):
    verified(cache)
    os.unlink(cache.blob(BYTES))


def cut_short(cache):
    verified(cache)
    os.truncate(cache.blob(BYTES), 3)


@pytest.mark.parametrize(
    ("prepare", "state", "have"),
    [
        pytest.param(nothing, "missing", 0, id="nothing"),
        pytest.param(partial(0), "missing", 0, id="empty-partial"),
        pytest.param(partial(3), "missing", 3, id="partial"),
        pytest.param(partial(4), "missing", 4, id="whole-partial"),
        pytest.param(partial(9), "missing", 4, id="partial-too-long"),
        pytest.param(short, "missing", 0, id="too-short"),
        pytest.param(long, "missing", 0, id="too-long"),
        pytest.param(short_and_partial, "missing", 2, id="too-short-and-a-partial"),
        pytest.param(unverified, "unverified", 4, id="unverified"),
        pytest.param(verified, "verified", 4, id="verified"),
        pytest.param(verified_by_another, "verified", 4, id="verified-by-one-of-two"),
        pytest.param(another_verified, "unverified", 4, id="another-file-verified"),
        pytest.param(touched, "unverified", 4, id="touched-since"),
        pytest.param(touched_meanwhile, "unverified", 4, id="touched-meanwhile"),
        pytest.param(flipped, "unverified", 4, id="flipped-since-with-its-time-put-back"),
        pytest.param(replaced, "unverified", 4, id="replaced-since-with-its-time-put-back"),
        pytest.param(gone, "missing", 0, id="gone-since"),
        pytest.param(cut_short, "missing", 0, id="cut-short-since"),
    ],
)
def test_survey(cache, prepare, state, have):
    prepare(cache)
    assert hf_cache.survey(cache, [WEIGHTS]) == [dict(WEIGHTS, state=state, have=have)]


def test_survey_without_trust(filled):
    assert states(filled) == [("verified", 6), ("verified", 4), ("verified", 0)]
    assert states(filled, trust=False) == [("unverified", 6), ("unverified", 4), ("unverified", 0)]


def test_the_link_of_a_snapshot_to_a_blob_counts_no_less_than_the_blob(cache, tmp_path):
    """A blob may be a link itself, to storage of another kind."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(CONTENTS[BYTES])
    os.makedirs(cache.blobs)
    os.symlink(elsewhere, cache.blob(BYTES))
    verify(cache, BYTES)
    assert states(cache, [WEIGHTS]) == [("verified", 4)]
    elsewhere.unlink()
    assert states(cache, [WEIGHTS]) == [("missing", 0)]


@pytest.mark.parametrize(
    "torn",
    [
        pytest.param(b'{"blob": "abc", "si', id="cut-off"),
        pytest.param(b"\0\0\0\0", id="zeros"),
        pytest.param(b"\xff\xfe", id="no-text"),
        pytest.param(b"[1, 2]\nnull\n3\n", id="other-json"),
        pytest.param(b'{"blob": "abc"}\n', id="keys-missing"),
        pytest.param(b'{"blob": [], "size": 4, "mtime_ns": 1, "ctime_ns": 1}\n', id="not-a-name"),
    ],
)
def test_a_torn_journal(filled, torn):
    """What a crash leaves of a line costs no other line, written before or after."""
    put(filled, HELLO)
    before, new = hf_cache.read_verified(filled), {"path": "new", "size": 6, "blob": HELLO}
    with open(filled.journal("n0"), "ab") as stream:
        stream.write(torn)
    assert hf_cache.read_verified(filled) == before
    verify(filled, HELLO)
    assert states(filled, [*FILES, new]) == [("verified", 6), ("verified", 4), ("verified", 0), ("verified", 6)]


def missing(path, size, have=0, blob=None):
    return {"path": path, "size": size, "blob": blob or path, "state": "missing", "have": have}


def found(path, size, blob=None):
    return {"path": path, "size": size, "blob": blob or path, "state": "unverified", "have": size}


@pytest.mark.parametrize(
    ("files", "nodes", "shares"),
    [
        pytest.param([], "n0 n1", ["", ""], id="nothing"),
        pytest.param([dict(found("a", 4), state="verified")], "n0", [""], id="nothing-to-do"),
        pytest.param([missing("a", 1), missing("b", 3), missing("c", 2)], "n0", ["b c a"], id="largest-first"),
        pytest.param(
            [missing("a", 5), missing("b", 4), missing("c", 3), missing("d", 3), missing("e", 3)],
            "n0 n1",
            ["a d", "b c e"],
            id="to-the-node-with-least",
        ),
        pytest.param([missing("a", 7), missing("b", 7)], "n1 n0", ["a", "b"], id="nodes-in-their-order"),
        pytest.param([missing("a", 7)], "n0 n1 n2", ["a", "", ""], id="more-nodes-than-files"),
        pytest.param(
            [missing("a", 10, have=9), missing("b", 3), missing("c", 2)],
            "n0 n1",
            ["b", "c a"],
            id="what-is-missing-of-a-file-says-when-it-is-given",
        ),
        pytest.param(
            [missing("a", 10, have=4), missing("b", 5), missing("c", 4), missing("d", 3)],
            "n0 n1",
            ["a d", "b c"],
            id="what-is-missing-of-a-file-weighs",
        ),
        pytest.param(
            [missing("z", 4, blob="same"), missing("a", 4, blob="same"), missing("b", 1)],
            "n0 n1",
            ["z", "b"],
            id="a-blob-with-two-names-once",
        ),
        pytest.param(
            [missing("fetch", 100), found("check-a", 10), found("check-b", 10)],
            "n0 n1",
            ["fetch check-b", "check-a"],
            id="what-is-to-be-read-does-not-weigh-on-what-is-to-be-fetched",
        ),
        pytest.param(
            [missing("a", 4), missing("b", 4), found("c", 9), found("d", 9)],
            "n0 n1",
            ["a c", "b d"],
            id="each-kind-balanced",
        ),
        pytest.param(
            [missing("d", 0), missing("c", 0), missing("b", 0), missing("a", 0)],
            "n0 n1",
            ["a c", "b d"],
            id="empty-files-spread-too",
        ),
        pytest.param(
            [missing("a", 9, have=9), missing("b", 9, have=9)], "n0 n1", ["a", "b"], id="whole-partials-spread-too"
        ),
    ],
)
def test_split(files, nodes, shares):
    found = hf_cache.split(files, nodes.split())
    assert [(node, " ".join(file["path"] for file in share)) for node, share in found.items()] == list(
        zip(nodes.split(), shares, strict=True)
    )


@pytest.mark.parametrize("count", [2, 3, 4, 8])
def test_split_is_balanced_within_one_file(count):
    """A model of 191 files, the first and the last of them smaller, and some small ones."""
    files = [missing("model-%05d" % number, 4_800_000_000 - number % 7) for number in range(1, 190)]
    files += [missing("model-00190", 1_900_000_000), missing("model-00000", 4_200_000_000)]
    files += [missing("small-%d" % number, 1000 * number) for number in range(9)]
    nodes = ["n%d" % number for number in range(count)]
    shares = hf_cache.split(files, nodes)
    sizes = [sum(file["size"] for file in share) for share in shares.values()]
    assert max(sizes) - min(sizes) <= 4_800_000_000
    assert sorted(file["path"] for share in shares.values() for file in share) == sorted(f["path"] for f in files)
    for share in shares.values():
        assert share == sorted(share, key=lambda file: -file["size"])
    # The same work is split in the same way, in whatever order it is listed.
    assert hf_cache.split(files[::-1], nodes) == shares


@pytest.mark.parametrize("blob", [pytest.param(blob, id=blob[:8]) for blob in CONTENTS])
def test_check(tmp_path, blob):
    path, content, went = tmp_path / "file", CONTENTS[blob], []
    path.write_bytes(content)
    assert hf_cache.check(path, blob, len(content), went.append)
    assert sum(went) == len(content)
    path.write_bytes(content + b"\n")
    assert not hf_cache.check(path, blob, len(content))
    path.write_bytes(bytes([byte ^ 1 for byte in content]) or b"\0")
    assert not hf_cache.check(path, blob, len(content))


def test_check_in_blocks(tmp_path):
    """More than one block, and a part of one."""
    (tmp_path / "file").write_bytes(b"\0" * 10_000_000)
    went = []
    # What `sha256sum` and `git hash-object` say.
    assert hf_cache.check(
        tmp_path / "file", "f5e02aa71e67f41d79023a128ca35bad86cf7b6656967bfe0884b3a3c4325eaf", 10_000_000, went.append
    )
    assert hf_cache.check(tmp_path / "file", "5630165e4a6c588e6657164f014b0afc169f29e4", 10_000_000)
    assert (len(went), sum(went)) == (3, 10_000_000)


def test_a_git_id_depends_on_the_size(tmp_path):
    (tmp_path / "file").write_bytes(CONTENTS[GIT_HELLO])
    assert not hf_cache.check(tmp_path / "file", GIT_HELLO, 5)


# Publishing.


def shown(cache, commit=COMMIT):
    """The files of the snapshot, as one sees who reads it."""
    folder = pathlib.Path(cache.snapshot(commit))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


ALL_SHOWN = {"config.json": b"hello\n", "model.safetensors": b"a\0b\xff", "original/empty.txt": b""}


def test_publish(filled):
    assert not any(hf_cache.is_linked(filled, COMMIT, file) for file in FILES)
    hf_cache.publish(filled, COMMIT, FILES)
    assert all(hf_cache.is_linked(filled, COMMIT, file) for file in FILES)
    assert shown(filled) == ALL_SHOWN
    assert os.listdir(os.path.join(filled.folder, "snapshots")) == [COMMIT]
    # Once more changes nothing.
    before = os.stat(filled.snapshot(COMMIT))
    hf_cache.publish(filled, COMMIT, FILES)
    assert os.stat(filled.snapshot(COMMIT)) == before


def test_publish_is_one_step(filled):
    """Who sees the snapshot at all sees all of it."""
    files = [{"path": "%d/file" % number, "size": 6, "blob": GIT_HELLO} for number in range(2000)]
    target, done = filled.snapshot(COMMIT), threading.Event()
    counts = set()

    def look():
        while not done.is_set():
            if os.path.isdir(target):
                counts.add(len(os.listdir(target)))
            # Lets the other one go on.
            time.sleep(0)

    thread = threading.Thread(target=look)
    thread.start()
    hf_cache.publish(filled, COMMIT, files)
    while not counts:
        time.sleep(0.001)
    done.set()
    thread.join()
    assert counts == {2000}


def test_publish_that_fails_shows_nothing(filled):
    """The last name cannot be made, since it needs a folder where there is a file."""
    bad = {"path": "config.json/file", "size": 6, "blob": GIT_HELLO}
    with pytest.raises(OSError, match=r"config\.json"):
        hf_cache.publish(filled, COMMIT, [*FILES, bad])
    assert not os.path.lexists(filled.snapshot(COMMIT))
    (left,) = hf_cache.leftovers(filled)
    assert os.path.dirname(left) == os.path.join(filled.folder, "snapshots")
    hf_cache.remove(left)
    hf_cache.publish(filled, COMMIT, FILES)
    assert shown(filled) == ALL_SHOWN
    assert hf_cache.leftovers(filled) == []


@pytest.mark.parametrize(
    ("linked", "left"),
    [
        pytest.param(0, "{snapshot}.{pid}.new/config.json", id="of-a-new-snapshot"),
        pytest.param(1, "{snapshot}/model.safetensors.{pid}.new", id="of-a-snapshot-that-was-there"),
    ],
)
def test_what_was_cut_off_does_not_stand_in_the_way(filled, linked, left):
    """Numbers of processes come again, soon so in a container, and on another node at any time."""
    if linked:
        hf_cache.publish(filled, COMMIT, FILES[:linked])
    path = pathlib.Path(left.format(snapshot=filled.snapshot(COMMIT), pid=os.getpid()))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("../../blobs/other")
    hf_cache.publish(filled, COMMIT, FILES)
    assert shown(filled) == ALL_SHOWN


def test_publish_adds_to_a_snapshot(filled):
    """It has one right file, one that leads elsewhere, one that is no link, and one that nobody asks for."""
    hf_cache.publish(filled, COMMIT, FILES[:1])
    folder = pathlib.Path(filled.snapshot(COMMIT))
    (folder / "model.safetensors").symlink_to("../../blobs/gone")
    (folder / "original").mkdir()
    (folder / "original" / "empty.txt").write_bytes(b"")
    (folder / "other").write_bytes(b"other")
    kept = os.lstat(folder / "config.json")
    hf_cache.publish(filled, COMMIT, FILES)
    assert shown(filled) == ALL_SHOWN | {"other": b"other"}
    assert all(hf_cache.is_linked(filled, COMMIT, file) for file in FILES)
    assert os.lstat(folder / "config.json") == kept


def test_a_cache_can_be_moved(filled, tmp_path):
    hf_cache.publish(filled, COMMIT, FILES)
    shutil.move(filled.cache_dir, tmp_path / "moved")
    moved = hf_cache.Cache(str(tmp_path / "moved"), REPO)
    assert shown(moved) == ALL_SHOWN
    assert all(hf_cache.is_linked(moved, COMMIT, file) for file in FILES)


def note(cache, revision, commit=COMMIT, all_files=None):
    for path, text in hf_cache.missing_notes(cache, REPO, commit, revision, all_files or FILES).items():
        hf_cache.write_atomically(path, text)


@pytest.mark.parametrize("revision", ["main", "refs/pr/7", COMMIT])
def test_huggingface_hub_accepts_it(filled, revision):
    hf_cache.publish(filled, COMMIT, FILES)
    note(filled, revision)
    found = huggingface_hub.snapshot_download(
        REPO, revision=revision, cache_dir=filled.cache_dir, local_files_only=True
    )
    assert found == filled.snapshot(COMMIT)
    path = huggingface_hub.hf_hub_download(
        REPO, "original/empty.txt", revision=revision, cache_dir=filled.cache_dir, local_files_only=True
    )
    assert path == os.path.join(found, "original/empty.txt")

    scan = huggingface_hub.scan_cache_dir(filled.cache_dir)
    assert scan.warnings == []
    (repo,) = scan.repos
    (seen,) = repo.revisions
    assert (repo.repo_id, repo.size_on_disk, seen.commit_hash) == (REPO, 10, COMMIT)
    assert seen.refs == (frozenset() if revision == COMMIT else {revision})
    assert {file.file_name for file in seen.files} == {os.path.basename(file["path"]) for file in FILES}


def test_huggingface_hub_has_nothing_to_add(hub, filled, tmp_path):
    """It takes a snapshot of this collection for one of its own, and fetches none of its files again."""
    hub.put(REPO, {file["path"]: CONTENTS[file["blob"]] for file in FILES})
    commit = hub.commit(REPO)
    hf_cache.publish(filled, commit, FILES)
    options = {"endpoint": hub.url, "token": False, "cache_dir": filled.cache_dir}
    assert huggingface_hub.snapshot_download(REPO, **options) == filled.snapshot(commit)
    assert shown(filled, commit) == ALL_SHOWN
    assert not any("/resolve/" in line["path"] and line["method"] == "GET" for line in hub.lines)


def test_a_snapshot_of_huggingface_hub_is_taken_over(hub, cache):
    """Its files are in place and linked; only their hashes are yet to be checked."""
    hub.put(REPO, {file["path"]: CONTENTS[file["blob"]] for file in FILES})
    commit = hub.commit(REPO)
    huggingface_hub.snapshot_download(REPO, endpoint=hub.url, token=False, cache_dir=cache.cache_dir)
    assert states(cache) == [("unverified", 6), ("unverified", 4), ("unverified", 0)]
    assert all(hf_cache.is_linked(cache, commit, file) for file in FILES)
    assert hf_cache.resolve(cache, "main") == commit


# Accepting what another node has checked.


def journal(cache, writer, blob, **changes):
    """What a node notes whose clock or file system shows times otherwise."""
    look = hf_cache.looks(cache.blob(blob))
    line = json.dumps({"blob": blob} | {key: value + changes.get(key, 0) for key, value in look.items()})
    hf_cache.write_atomically(cache.journal(writer), line + "\n")


SECOND = 10**9


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"mtime_ns": -1, "ctime_ns": -1}, id="rounded-down"),
        pytest.param({"mtime_ns": 1000, "ctime_ns": 1000}, id="rounded-up"),
        pytest.param({"mtime_ns": SECOND // 2, "ctime_ns": SECOND}, id="to-seconds"),
        pytest.param({"ctime_ns": 3600 * SECOND}, id="moved-to-another-server"),
    ],
)
def test_accept(cache, changes):
    put(cache, BYTES)
    journal(cache, "n1", BYTES, **changes)
    seen = hf_cache.survey(cache, [WEIGHTS])
    assert seen[0]["state"] == "unverified"
    hf_cache.accept(cache, "n0", seen)
    assert states(cache, [WEIGHTS]) == [("verified", 4)]
    # Each writes a journal of its own.
    assert sorted(os.listdir(os.path.dirname(cache.journal("n0")))) == ["n0.jsonl", "n1.jsonl"]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"mtime_ns": -3 * SECOND}, id="changed-since"),
        pytest.param({"mtime_ns": 3 * SECOND}, id="changed-back-since"),
        pytest.param({"size": 1}, id="another-size"),
        pytest.param(None, id="never-checked"),
    ],
)
def test_accept_refuses_what_nobody_has_checked(cache, changes):
    put(cache, BYTES)
    if changes:
        journal(cache, "n1", BYTES, **changes)
    with pytest.raises(OneccError) as caught:
        hf_cache.accept(cache, "n0", hf_cache.survey(cache, [WEIGHTS]))
    assert caught.value.where == cache.blob(BYTES)
    assert not os.path.exists(cache.journal("n0"))
    assert states(cache, [WEIGHTS]) == [("unverified", 4)]


def test_accept_notes_nothing_twice(filled):
    before = pathlib.Path(filled.journal("n0")).read_text()
    hf_cache.accept(filled, "n0", hf_cache.survey(filled, FILES))
    assert pathlib.Path(filled.journal("n0")).read_text() == before


# What interrupted runs leave.

NOW = 1_000_000.0
YOUNG, OLD = NOW - 3599, NOW - 3601


@pytest.mark.parametrize(
    ("name", "changed", "is_left"),
    [
        pytest.param("blobs/%s.onecc.incomplete" % BYTES, YOUNG, True, id="ours-is-young"),
        pytest.param("blobs/%s.onecc.incomplete" % GIT_HELLO, OLD, True, id="ours-is-old"),
        pytest.param("blobs/%s.incomplete" % BYTES, OLD, True, id="theirs-is-old"),
        pytest.param("blobs/%s.incomplete" % BYTES, YOUNG, False, id="theirs-is-young"),
        pytest.param("blobs/%s.0a1b2c3d.incomplete" % BYTES, OLD, True, id="theirs-of-a-process-is-old"),
        pytest.param("blobs/%s.0a1b2c3d.incomplete" % GIT_HELLO, YOUNG, False, id="theirs-of-a-process-is-young"),
        pytest.param("blobs/%s" % BYTES, OLD, False, id="blob"),
        pytest.param("blobs/notes.incomplete", OLD, False, id="somebody-elses"),
        pytest.param("snapshots/%s.17.new/config.json" % COMMIT, YOUNG, "snapshots/%s.17.new" % COMMIT, id="half"),
        pytest.param("snapshots/%s/config.json" % COMMIT, OLD, False, id="snapshot"),
        pytest.param("snapshots/%s/17.new" % COMMIT, OLD, False, id="a-file-of-a-snapshot"),
        pytest.param(".onecc/%s.json" % COMMIT, OLD, False, id="note"),
        pytest.param("refs/main", OLD, False, id="ref"),
    ],
)
def test_leftovers(cache, name, changed, is_left):
    path = pathlib.Path(cache.folder, name)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    os.utime(path, (changed, changed))
    left = os.path.join(cache.folder, is_left if isinstance(is_left, str) else name)
    assert hf_cache.leftovers(cache, NOW) == ([left] if is_left else [])
    for found in hf_cache.leftovers(cache, NOW):
        hf_cache.remove(found)
    assert path.exists() is not bool(is_left)


def test_leftovers_of_no_cache(cache):
    assert hf_cache.leftovers(cache) == []


def test_remove_follows_no_link(tmp_path):
    """Neither a link to a folder, nor those in a folder, nor what is gone already."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    for link in (tmp_path / "link", tmp_path / "folder" / "link"):
        link.symlink_to(tmp_path / "kept")
    for name in ("link", "folder", "none"):
        hf_cache.remove(str(tmp_path / name))
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept" / "file").read_bytes() == b"x"


# Notes.


def test_notes(cache):
    """They are missing until they are written, and again once they say something else."""
    assert hf_cache.read_manifest(cache, COMMIT) is None
    assert set(hf_cache.missing_notes(cache, REPO, COMMIT, "main", FILES)) == {
        cache.manifest(COMMIT),
        cache.ref("main"),
    }
    note(cache, "main")
    assert hf_cache.missing_notes(cache, REPO, COMMIT, "main", FILES) == {}
    assert hf_cache.read_manifest(cache, COMMIT) == {"repo": REPO, "commit": COMMIT, "all_files": FILES}

    assert list(hf_cache.missing_notes(cache, REPO, COMMIT, "v1", FILES)) == [cache.ref("v1")]
    assert list(hf_cache.missing_notes(cache, REPO, COMMIT, "main", FILES[:1])) == [cache.manifest(COMMIT)]
    other = COMMIT[::-1]
    assert list(hf_cache.missing_notes(cache, REPO, other, "main", FILES)) == [
        cache.manifest(other),
        cache.ref("main"),
    ]


@pytest.mark.parametrize("revision", [COMMIT, None, ""])
def test_notes_without_a_branch(cache, revision):
    assert list(hf_cache.missing_notes(cache, REPO, COMMIT, revision, FILES)) == [cache.manifest(COMMIT)]


@pytest.mark.parametrize("text", ["", "{", '{"repo": "own', "\0"])
def test_a_torn_manifest(cache, text):
    hf_cache.write_atomically(cache.manifest(COMMIT), text)
    assert hf_cache.read_manifest(cache, COMMIT) is None


@pytest.mark.parametrize(
    ("ref", "revision", "commit"),
    [
        pytest.param(COMMIT, "main", COMMIT, id="branch"),
        pytest.param(COMMIT + "\n", "main", COMMIT, id="with-a-line-end"),
        pytest.param(None, "main", "main", id="not-noted"),
        pytest.param(COMMIT, COMMIT[::-1], COMMIT[::-1], id="commit"),
        pytest.param(COMMIT, "main/sub", "main/sub", id="below-a-branch"),
    ],
)
def test_resolve(cache, ref, revision, commit):
    if ref:
        hf_cache.write_atomically(cache.ref("main"), ref)
    assert hf_cache.resolve(cache, revision) == commit


def test_write_atomically(tmp_path):
    """The old text is there until the new one is, and a writer that cannot go on leaves it."""
    path = tmp_path / "sub" / "note"
    hf_cache.write_atomically(str(path), "one")
    hf_cache.write_atomically(str(path), "two")
    assert path.read_text() == "two"
    assert os.listdir(path.parent) == ["note"]
    with pytest.raises(UnicodeEncodeError):
        hf_cache.write_atomically(str(path), "\ud800")
    assert path.read_text() == "two"


# Storage.


@pytest.mark.parametrize(
    ("path", "why"),
    [
        pytest.param("here", "", id="a-folder"),
        pytest.param("here/not/yet", "", id="one-that-will-be"),
        pytest.param("/proc/none", "No such file or directory", id="a-file-system-that-takes-no-files"),
        pytest.param("file", "Not a directory", id="a-file"),
        pytest.param("file/sub/folder", "Not a directory", id="below-a-file"),
    ],
)
def test_why_not_writable(tmp_path, path, why):
    (tmp_path / "here").mkdir()
    (tmp_path / "file").write_bytes(b"")
    assert hf_cache.why_not_writable(str(tmp_path / path)) == why
    assert sorted(os.listdir(tmp_path)) == ["file", "here"]
    assert os.listdir(tmp_path / "here") == []


@pytest.mark.parametrize(
    ("path", "nearest"),
    [
        pytest.param("/proc", "/proc", id="there"),
        pytest.param("/proc/none/at/all", "/proc", id="not-there"),
        pytest.param("/none", "/", id="below-the-root"),
        pytest.param("none/at/all", ".", id="relative"),
    ],
)
def test_nearest(tmp_path, monkeypatch, path, nearest):
    """A search without an end is interrupted."""
    monkeypatch.chdir(tmp_path)

    def interrupt(*_):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(3)
    try:
        found = hf_cache.nearest(path)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert os.path.samefile(found or ".", nearest)


def test_free_space(tmp_path):
    assert hf_cache.free_space("/proc/none/at/all") == 0
    assert 0 < hf_cache.free_space(str(tmp_path / "none")) <= shutil.disk_usage(tmp_path).total
