# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One node's share of a download, against the hub of the lab and against worse ones."""

from __future__ import annotations

import errno
import http.server
import json
import os
import pathlib
import random
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable

import huggingface_hub
import pytest

from ansible_collections.onecc.vllm.plugins.module_utils import hf_cache
from ansible_collections.onecc.vllm.plugins.module_utils.errors import OneccError
from ansible_collections.onecc.vllm.plugins.module_utils.hf_fetch import Share
from ansible_collections.onecc.vllm.plugins.module_utils.hub import describe

COLLECTIONS = str(pathlib.Path(hf_cache.__file__).parents[5])
REPO = "owner/model"
TOKEN = "hf_good"
WEIGHTS, OTHER, EMPTY = "model-1.safetensors", "model-2.safetensors", "original/empty.txt"
SIZE = 3_000_000
FILES = {
    "config.json": b'{"model_type": "llama"}',
    WEIGHTS: random.Random(1).randbytes(SIZE),
    OTHER: random.Random(2).randbytes(1_200_000),
    EMPTY: b"",
}
TOTAL = sum(map(len, FILES.values()))


class Node:
    """A node with a cache, and a model on a hub to fetch."""

    def __init__(self, hub, cache_dir):
        self.hub, self.cache = hub, hf_cache.Cache(str(cache_dir), REPO)
        hub.put(REPO, FILES)
        self.commit = hub.commit(REPO)
        api = huggingface_hub.HfApi(endpoint=hub.url, token=False)
        params = {"repo": REPO, "revision": "main", "include": [], "exclude": [], "duplicates": False}
        self.files = {file["path"]: file for file in describe(api, huggingface_hub, params)["all_files"]}

    def survey(self, *paths):
        return hf_cache.survey(self.cache, [self.files[path] for path in paths or FILES])

    def share(self, *paths, **changes):
        """A share of these files, or all, as they are now."""
        options = {"endpoint": self.hub.url, "token": False, "transport": "http", "streams": 4, "patience": 60}
        options |= {"commit": self.commit, "files": self.survey(*paths)} | changes
        return Share(cache=self.cache, writer="n0", repo=REPO, **options)

    def run(self, *paths, **changes):
        return self.share(*paths, **changes).run()

    def blob(self, path):
        return pathlib.Path(self.cache.blob(self.files[path]["blob"]))

    def partial(self, path):
        return pathlib.Path(self.cache.partial(self.files[path]["blob"]))

    def put(self, path, content, partial=False):
        """Puts something where a file belongs."""
        os.makedirs(self.cache.blobs, exist_ok=True)
        (self.partial(path) if partial else self.blob(path)).write_bytes(content)

    def pipe(self, path):
        """Puts a pipe where a file belongs, which is read as long as the test likes, and then turns out to be wrong."""
        os.makedirs(self.cache.blobs, exist_ok=True)
        os.mkfifo(self.blob(path))
        return dict(self.files[path], state="unverified", have=self.files[path]["size"])

    def told(self, **wanted):
        """What is told; nothing while it is being written, or not what is wanted."""
        try:
            told = json.loads(hf_cache.read(self.cache.progress("n0")) or "{}")
        except ValueError:
            return {}
        return told if told.items() >= wanted.items() else {}

    def expect_all(self, *paths):
        """These files, or all, are in place, right and noted, and nothing else is."""
        assert {path: self.blob(path).read_bytes() for path in paths or FILES} == {
            path: FILES[path] for path in paths or FILES
        }
        assert {file["state"] for file in self.survey(*paths)} == {"verified"}
        assert sorted(os.listdir(self.cache.blobs)) == sorted(self.files[path]["blob"] for path in paths or FILES)

    def requests(self, path=WEIGHTS, count=1):
        """Ranges that were asked for of a file, with what was sent."""
        return [(line["range"], line["sent"]) for line in self.hub.log(ending="/" + path, count=count)]


@pytest.fixture
def node(hub, tmp_path):
    return Node(hub, tmp_path / "hub")


@pytest.fixture
def start():
    """Starts a share in a thread; gives a function that waits for its end and gives what it raised, as a list."""
    threads = []

    def begin(share, seconds=None):
        errors = []

        def run():
            try:
                share.run()
            except Exception as error:
                errors.append(error)

        thread = threading.Thread(target=run)
        threads.append(thread)
        thread.start()
        # No more than this before the function is given.
        thread.join(seconds or 0)

        def end():
            thread.join(30)
            assert not thread.is_alive()
            return errors

        return end

    yield begin
    for thread in threads:
        thread.join()


def flip(content, at):
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


@pytest.mark.parametrize("streams", [1, 2, 8])
def test_all_files(node, streams):
    found = node.run(streams=streams)
    assert 0 <= found.pop("seconds") < 60
    assert found == {"fetched": TOTAL, "checked": 0, "refetched": []}
    node.expect_all()
    # Each is asked for once; of one without content, its head says all.
    assert {path: node.requests(path, count=bool(content)) for path, content in FILES.items()} == {
        path: [(None, len(content))] if content else [] for path, content in FILES.items()
    }


def test_no_files(node):
    assert node.run(files=[]) | {"seconds": 0} == {"fetched": 0, "checked": 0, "refetched": [], "seconds": 0}
    assert node.told()["state"] == "done"


def test_what_others_may_do_with_files(node):
    """Whoever may look into the cache may read them."""
    before = os.umask(0o022)
    try:
        node.run()
    finally:
        os.umask(before)
    assert {os.stat(node.blob(path)).st_mode & 0o777 for path in FILES} == {0o644}


@pytest.mark.parametrize(
    ("there", "requests"),
    [
        pytest.param(0, [(None, SIZE)], id="an-empty-one"),
        pytest.param(1, [("bytes=1-", SIZE - 1)], id="a-byte"),
        pytest.param(2_500_001, [("bytes=2500001-", 499_999)], id="most"),
        pytest.param(SIZE - 1, [("bytes=2999999-", 1)], id="all-but-a-byte"),
        pytest.param(SIZE, [], id="all"),
    ],
)
def test_goes_on_within_a_file(node, there, requests):
    """Only what is missing is asked for."""
    node.put(WEIGHTS, FILES[WEIGHTS][:there], partial=True)
    found = node.run(WEIGHTS)
    assert (found["fetched"], found["checked"]) == (SIZE - there, 0)
    node.expect_all(WEIGHTS)
    assert node.requests(count=len(requests)) == requests


@pytest.mark.parametrize(
    ("content", "requests"),
    [
        pytest.param(
            flip(FILES[WEIGHTS][:2_000_000], 7), [("bytes=2000000-", 1_000_000), (None, SIZE)], id="wrong-in-the-middle"
        ),
        pytest.param(flip(FILES[WEIGHTS], SIZE - 1), [(None, SIZE)], id="whole-but-wrong"),
        pytest.param(FILES[WEIGHTS] + b"\n", [(None, SIZE)], id="too-long"),
    ],
)
def test_a_wrong_partial_is_thrown_away(node, content, requests):
    """And what is told of it stays consistent."""
    node.put(WEIGHTS, content, partial=True)
    found = node.run(WEIGHTS)
    assert found["refetched"] == []
    node.expect_all(WEIGHTS)
    assert node.requests(count=len(requests)) == requests
    assert node.told()["fetched"] == node.told()["total"] == sum(sent for _range, sent in requests)


class NoRanges(http.server.BaseHTTPRequestHandler):
    """A hub that always sends the whole file, or what else somebody has put there."""

    protocol_version = "HTTP/1.1"
    content: bytes
    ranges: list

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.send_header("ETag", '"0"')
        self.end_headers()

    def do_GET(self):
        self.ranges.append(self.headers["Range"])
        self.do_HEAD()
        self.wfile.write(self.content)

    def log_message(self, *args):
        """Says nothing."""


@pytest.fixture
def no_ranges(serve):
    """Starts such a hub, gives its address and the ranges it was asked for."""

    def start(content):
        ranges = []
        return serve(type("Handler", (NoRanges,), {"content": content, "ranges": ranges})), ranges

    return start


def test_a_server_without_ranges(node, no_ranges):
    """What was there gives way to the whole file, and more is fetched than was missing."""
    url, ranges = no_ranges(FILES[WEIGHTS])
    node.put(WEIGHTS, FILES[WEIGHTS][:2_000_000], partial=True)
    found = node.run(WEIGHTS, endpoint=url)
    assert found["fetched"] == SIZE
    assert ranges == ["bytes=2000000-"]
    node.expect_all(WEIGHTS)
    assert node.told()["total"] == SIZE


def test_a_server_that_sends_too_much(node, no_ranges, start):
    """No amount of trying makes it right, so it comes to an end."""
    url, ranges = no_ranges(FILES[WEIGHTS] + b"\n")
    share = node.share(WEIGHTS, endpoint=url)
    errors = start(share, seconds=6)
    share.stopped.set()
    assert [(type(error), getattr(error, "where", None)) for error in errors()] == [(OneccError, url)]
    assert not node.blob(WEIGHTS).exists()
    assert ranges[0] is None


def test_a_good_file_is_only_read(node):
    node.put(WEIGHTS, FILES[WEIGHTS])
    before = os.stat(node.blob(WEIGHTS))
    found = node.run(WEIGHTS)
    assert (found["fetched"], found["checked"], found["refetched"]) == (0, SIZE, [])
    node.expect_all(WEIGHTS)
    assert os.stat(node.blob(WEIGHTS)).st_ctime_ns == before.st_ctime_ns
    assert not any("/resolve/" in line["path"] for line in node.hub.lines)
    told = node.told()
    assert (told["total"], told["check_total"], told["checked"], told["ready"]) == (0, SIZE, SIZE, 1)


def test_a_file_that_changes_while_it_is_read(node, start):
    """What was read was right; what is there now, nobody has read."""
    errors = start(node.share(files=[node.pipe(WEIGHTS)]))
    with open(node.blob(WEIGHTS), "wb") as stream:
        stream.write(FILES[WEIGHTS])
        node.partial(WEIGHTS).write_bytes(flip(FILES[WEIGHTS], 0))
        os.replace(node.partial(WEIGHTS), node.blob(WEIGHTS))
    assert errors() == []
    assert {file["state"] for file in node.survey(WEIGHTS)} == {"unverified"}


def test_a_corrupt_file_is_fetched_again(node):
    node.put(WEIGHTS, flip(FILES[WEIGHTS], SIZE // 2))
    node.put(OTHER, FILES[OTHER])
    found = node.run(WEIGHTS, OTHER)
    assert (found["fetched"], found["checked"], found["refetched"]) == (SIZE, SIZE + 1_200_000, [WEIGHTS])
    node.expect_all(WEIGHTS, OTHER)
    assert node.requests() == [(None, SIZE)]
    assert node.told()["total"] == SIZE


def test_a_corrupt_file_is_gone_before_the_right_one_is_there(node):
    """Nobody loads it, whatever becomes of the hub."""
    node.put(WEIGHTS, flip(FILES[WEIGHTS], SIZE // 2))
    node.hub.tell(refuse=403)
    with pytest.raises(OneccError):
        node.run(WEIGHTS)
    assert not node.blob(WEIGHTS).exists()


@pytest.mark.parametrize("transport", ["http", "xet"])
def test_a_hub_that_sends_other_bytes(node, transport):
    """Twice is enough; nothing of it is kept."""
    node.hub.tell(flip=WEIGHTS)
    with pytest.raises(OneccError) as caught:
        node.run(WEIGHTS, transport=transport)
    assert str(caught.value) == (
        "%s: expected %s with the hash %s, found other bytes, 2 times. "
        "Something between the hub and this node changes files: try another endpoint (HF_ENDPOINT)."
        % (node.hub.url, WEIGHTS, node.files[WEIGHTS]["blob"])
    )
    assert os.listdir(node.cache.blobs) == []
    assert {file["state"] for file in node.survey(WEIGHTS)} == {"missing"}
    assert node.told()["state"] == "failed"
    if transport == "http":
        assert node.requests(count=2) == [(None, SIZE), (None, SIZE)]
    else:
        assert not any("/resolve/" in line["path"] and line["method"] == "GET" for line in node.hub.lines)


# What passes.


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_refusal_that_passes(node, start, status):
    node.hub.tell(refuse=status)
    errors = start(node.share(WEIGHTS))
    node.hub.log("HEAD", ending=WEIGHTS)
    node.hub.tell()
    assert errors() == []
    node.expect_all(WEIGHTS)
    assert node.requests() == [(None, SIZE)]


class Breaking(NoRanges):
    """A hub whose connections break after a megabyte."""

    def do_GET(self):
        first = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        self.ranges.append(first)
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(self.content) - first))
        self.end_headers()
        self.wfile.write(self.content[first : first + (1 << 20)])
        self.close_connection = True


def test_a_connection_that_breaks(node, serve):
    """Only what had not come is asked for again."""
    ranges = []
    url = serve(type("Handler", (Breaking,), {"content": FILES[WEIGHTS], "ranges": ranges}))
    found = node.run(WEIGHTS, endpoint=url)
    assert (ranges, found["fetched"]) == ([0, 1 << 20, 2 << 20], SIZE)
    node.expect_all(WEIGHTS)


class Resetting(Breaking):
    """A hub that resets the first connection, once two megabytes are on their way and one has arrived."""

    arrived: Callable[[], bool]

    def do_GET(self):
        if self.ranges:
            first = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            self.ranges.append(first)
            self.send_response(206)
            self.send_header("Content-Length", str(len(self.content) - first))
            self.end_headers()
            self.wfile.write(self.content[first:])
            return
        self.ranges.append(0)
        self.do_HEAD()
        self.wfile.write(self.content[: 2 << 20])
        while not self.arrived():
            time.sleep(0.01)
        # It closes without a word, and what is still on its way is lost.
        self.server.shutdown_request = self.server.close_request
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True


def test_a_connection_that_is_reset(node, serve, capsys):
    """huggingface_hub leaves it to its caller to go on after that."""

    def arrived():
        return node.partial(WEIGHTS).stat().st_size >= 1 << 20

    ranges = []
    handler = {"content": FILES[WEIGHTS], "ranges": ranges, "arrived": staticmethod(arrived)}
    found = node.run(WEIGHTS, endpoint=serve(type("Handler", (Resetting,), handler)))
    assert (len(ranges), ranges[1] >> 20 << 20) == (2, ranges[1])
    assert 1 << 20 <= ranges[1] <= 2 << 20
    assert found["fetched"] == SIZE
    assert capsys.readouterr().err.startswith(WEIGHTS + ": ReadError: ")
    node.expect_all(WEIGHTS)


class Front(NoRanges):
    """A hub that sends to a store for files, as hubs do for large ones."""

    store: str
    size: int

    def do_HEAD(self):
        self.send_response(302)
        self.send_header("Location", self.store + urllib.parse.urlsplit(self.path).path)
        self.send_header("X-Linked-Size", str(self.size))
        self.send_header("X-Linked-ETag", '"0"')
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.mark.parametrize(
    "refuse",
    [
        pytest.param(None, id="at-once"),
        pytest.param(403, id="after-its-address-has-expired"),
        pytest.param(500, id="after-trouble"),
    ],
)
def test_a_store(node, serve, start, refuse):
    """It lies elsewhere, never sees the token, and may refuse what the hub is to give anew."""
    store = serve(node.hub.handler, "127.0.0.2")
    front = serve(type("Handler", (Front,), {"store": store, "size": SIZE}))
    node.hub.tell(refuse=refuse)
    errors = start(node.share(WEIGHTS, endpoint=front, token=TOKEN))
    if refuse:
        node.hub.log(ending=WEIGHTS)
        node.hub.tell()
    assert errors() == []
    node.expect_all(WEIGHTS)
    assert [line["authorized"] for line in node.hub.log(ending=WEIGHTS)] == [False] * (2 if refuse else 1)


def test_the_token_goes_to_the_hub(node):
    node.hub.models.joinpath(REPO, ".gated").write_text(TOKEN)
    node.run(WEIGHTS, token=TOKEN)
    assert [line["authorized"] for line in node.hub.log(ending=WEIGHTS)] == [True]
    node.expect_all(WEIGHTS)


# What does not pass.


def test_no_hub(node, nobody):
    with pytest.raises(OneccError) as caught:
        node.run(WEIGHTS, endpoint=nobody, patience=0.5)
    assert str(caught.value).startswith("%s: expected the model '%s', found no answer (" % (nobody, REPO))
    assert "refused" in caught.value.found
    assert caught.value.remedy == (
        "Check the network from this host to the hub, or use another endpoint (HF_ENDPOINT)."
    )
    assert node.told()["state"] == "failed"


@pytest.mark.parametrize(
    "status",
    [
        pytest.param(400, id="400"),
        pytest.param(404, id="404"),
        pytest.param(429, id="429"),
        pytest.param(503, id="503"),
    ],
)
def test_a_refusal_that_lasts(node, status):
    """It is the hub that is named, not the storage."""
    node.hub.tell(refuse=status)
    with pytest.raises(OneccError) as caught:
        node.run(WEIGHTS, patience=0.5)
    assert (caught.value.where, caught.value.expected) == (node.hub.url, "the model 'owner/model'")
    assert node.told()["state"] == "failed"


@pytest.mark.parametrize(
    ("marks", "token", "found"),
    [
        pytest.param({".gated": TOKEN}, False, "that its access is restricted, and no token", id="gated-no-token"),
        pytest.param(
            {".gated": TOKEN},
            "hf_other",
            "that the account of the token has no access to it",
            id="gated-without-access",
        ),
        pytest.param({"../../.accounts": TOKEN}, "hf_other", "that the hub does not know the token", id="unknown"),
        pytest.param({".private": TOKEN}, False, "no such model, or none that the token may see", id="private"),
    ],
)
def test_no_access(node, marks, token, found):
    """Trying again is of no use, so nobody does."""
    for name, text in marks.items():
        node.hub.models.joinpath(REPO, name).write_text(text)
    with pytest.raises(OneccError) as caught:
        node.run(WEIGHTS, token=token)
    assert (caught.value.where, caught.value.found) == (node.hub.url, found)
    assert [line["method"] for line in node.hub.log("HEAD", WEIGHTS)] == ["HEAD"]
    assert node.requests(count=0) == []


@pytest.mark.parametrize(
    ("status", "found"),
    [
        pytest.param(401, "no such model, or none that the token may see", id="401"),
        pytest.param(403, "that the token may not read it", id="403"),
    ],
)
def test_a_refusal_of_the_hub_itself(node, status, found):
    node.hub.tell(refuse=status)
    with pytest.raises(OneccError) as caught:
        node.run(WEIGHTS)
    assert (caught.value.where, caught.value.found) == (node.hub.url, found)
    assert len(node.hub.log("HEAD", WEIGHTS)) == 1


def test_a_commit_that_the_hub_does_not_know(node):
    with pytest.raises(OneccError, match=r"revision '0{40}' of model 'owner/model', found no such revision"):
        node.run(WEIGHTS, commit="0" * 40, patience=2)
    assert len(node.hub.log("HEAD", WEIGHTS)) == 1


def test_patience_begins_with_the_hub(node, start):
    """The time that it takes to read what is there does not count."""
    node.hub.tell(refuse=503)
    errors = start(node.share(files=[node.pipe(WEIGHTS)], patience=2))
    with open(node.blob(WEIGHTS), "wb"):
        time.sleep(2.2)
    node.hub.log("HEAD", WEIGHTS)
    node.hub.tell()
    assert errors() == []
    node.expect_all(WEIGHTS)


# Several streams.


def test_one_error_ends_all_streams(node, start):
    """No stream is waited for, none goes on; what has come stays."""
    lost = dict(node.pipe(OTHER), path="lost.safetensors")
    node.put(WEIGHTS, FILES[WEIGHTS][:1000], partial=True)
    node.hub.tell(stall=True)
    errors = start(node.share(files=[lost, *node.survey(WEIGHTS)]))
    node.hub.log("HEAD", WEIGHTS)
    # It turns out to be wrong, and the hub has no such file.
    node.blob(OTHER).open("wb").close()
    (error,) = errors()
    assert isinstance(error, OneccError)
    assert node.told()["state"] == "failed"
    node.hub.tell()
    assert node.requests()[0][0] == "bytes=1000-"
    assert node.partial(WEIGHTS).read_bytes() == FILES[WEIGHTS][:1000]
    assert os.listdir(node.cache.blobs) == [node.partial(WEIGHTS).name]


class Refusing(NoRanges):
    """A hub that refuses one file for good, and others for the moment."""

    def do_HEAD(self):
        refused = self.path.endswith(WEIGHTS)
        if refused:
            # The others are at it already.
            time.sleep(0.2)
        self.send_response(401 if refused else 500)
        self.send_header("Content-Length", "0")
        self.end_headers()


def test_the_error_that_ends_all_streams_is_told(node, serve):
    """Not that of a stream which it has ended. Which one comes first is a matter of luck: there are several turns."""
    files = [dict(node.survey(OTHER)[0], path="other-%d" % number) for number in range(15)]
    for _turn in range(4):
        with pytest.raises(OneccError, match="found no such model"):
            node.run(files=[*node.survey(WEIGHTS), *files], streams=16, endpoint=serve(Refusing))


# What is told meanwhile.


def test_progress(node, start, until):
    share = node.share(files=[node.pipe(WEIGHTS), *node.survey(OTHER, "config.json")])
    errors = start(share)
    until(lambda: share.ready == 2)
    before = time.monotonic_ns()
    told = until(lambda: node.told(ready=2))
    assert told.pop("beat") <= time.monotonic_ns()
    size = 1_200_000 + 23
    assert told == {
        "node": "n0",
        "state": "running",
        "total": size,
        "fetched": size,
        "check_total": SIZE,
        "checked": 0,
        "files": 3,
        "ready": 2,
        "refetched": [],
        "message": "",
    }
    node.blob(WEIGHTS).open("wb").close()
    assert errors() == []
    told = node.told()
    assert told.pop("beat") > before
    assert told == {
        "node": "n0",
        "state": "done",
        "total": size + SIZE,
        "fetched": size + SIZE,
        "check_total": SIZE,
        "checked": 0,
        "files": 3,
        "ready": 3,
        "refetched": ["model-1.safetensors"],
        "message": "",
    }


def test_progress_that_cannot_be_told_is_no_hindrance(node, capsys):
    hf_cache.write_atomically(os.path.join(node.cache.notes, "progress"), "a file")
    assert node.run(WEIGHTS)["fetched"] == SIZE
    node.expect_all(WEIGHTS)
    assert "progress: [Errno" in capsys.readouterr().err


def test_before_the_start_and_after_the_end(node):
    """What was told by an earlier share can be taken back before the new one runs."""
    node.run(WEIGHTS)
    share = node.share(OTHER)
    share.tell("running")
    assert (node.told()["state"], node.told()["total"], node.told()["ready"]) == ("running", 1_200_000, 0)
    share.run()
    assert (node.told()["state"], node.told()["total"], node.told()["ready"]) == ("done", 1_200_000, 1)
    # Nothing is told after the end, not even by one who was about to.
    share.tell("running")
    assert node.told()["state"] == "done"


def test_another_cluster_is_a_moment_sooner(node, start, until):
    """It writes the same bytes into the same file, and gives it its name."""
    node.hub.tell(stall=True)
    errors = start(node.share(WEIGHTS))
    until(node.partial(WEIGHTS).exists)
    node.partial(WEIGHTS).write_bytes(FILES[WEIGHTS])
    os.replace(node.partial(WEIGHTS), node.blob(WEIGHTS))
    node.hub.tell()
    assert errors() == []
    node.expect_all(WEIGHTS)


# Xet.


def test_xet(node):
    found = node.run(transport="xet")
    node.expect_all()
    assert found["fetched"] == TOTAL
    assert node.told()["total"] == TOTAL
    # Only the small file, which is not in LFS, comes as it is.
    (line,) = node.hub.log(ending="/config.json")
    assert [other for other in node.hub.log() if "/resolve/" in other["path"]] == [line]
    assert sum(line["sent"] for line in node.hub.lines if line["path"].startswith("/xorbs/")) >= SIZE + 1_200_000


def test_xet_leaves_partial_files_to_http(node):
    node.put(WEIGHTS, FILES[WEIGHTS][:2_500_000], partial=True)
    found = node.run(WEIGHTS, OTHER, transport="xet")
    assert found["fetched"] == 500_000 + 1_200_000
    node.expect_all(WEIGHTS, OTHER)
    assert node.requests() == [("bytes=2500000-", 500_000)]
    assert node.requests(OTHER, count=0) == []


def test_xet_where_the_hub_has_none(node):
    node.hub.tell(xet=False)
    node.run(WEIGHTS, transport="xet")
    node.expect_all(WEIGHTS)
    assert node.requests() == [(None, SIZE)]


# Storage.

SCRIPT = """
import json, resource, sys
sys.path.insert(0, sys.argv[1])
from ansible_collections.onecc.vllm.plugins.module_utils import hf_cache, hf_fetch
from ansible_collections.onecc.vllm.plugins.module_utils.errors import OneccError
options = json.loads(sys.argv[2])
if limit := options.pop("limit", None):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
cache = hf_cache.Cache(options.pop("cache_dir"), options["repo"])
try:
    print(json.dumps(hf_fetch.Share(cache=cache, writer="n0", **options).run()))
except OneccError as error:
    print(json.dumps([error.where, error.expected, error.found, error.remedy]))
"""


def script(node, *paths, **changes):
    """The command that runs a share in a process of its own."""
    options = {"endpoint": node.hub.url, "token": False, "transport": "http", "streams": 4, "patience": 60}
    options |= {"cache_dir": node.cache.cache_dir, "repo": REPO, "commit": node.commit, "files": node.survey(*paths)}
    return [sys.executable, "-c", SCRIPT, COLLECTIONS, json.dumps(options | changes)]


def run_apart(node, *paths, environment=None, **changes):
    """Runs such a share; gives its result, or the parts of its error."""
    run = subprocess.run(
        script(node, *paths, **changes),
        env=os.environ | (environment or {}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_storage_that_takes_no_more(node):
    """Here, a limit to the size of files."""
    assert run_apart(node, WEIGHTS, limit=1_500_000) == [
        node.cache.cache_dir,
        "storage that takes " + WEIGHTS,
        "[Errno %d] %s" % (errno.EFBIG, os.strerror(errno.EFBIG)),
        "Check the mount and its permissions on this node.",
    ]
    assert node.told()["state"] == "failed"
    # What did fit is built upon.
    assert node.partial(WEIGHTS).read_bytes() == FILES[WEIGHTS][: node.partial(WEIGHTS).stat().st_size]
    assert node.run(WEIGHTS)["fetched"] < SIZE
    node.expect_all(WEIGHTS)


def test_killed(node, until):
    """What has come by then is not asked for again."""
    node.hub.tell(rate=1_000_000)
    command = script(node, WEIGHTS)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        until(lambda: node.partial(WEIGHTS).exists() and node.partial(WEIGHTS).stat().st_size)
        process.kill()
    node.hub.tell()
    there = node.partial(WEIGHTS).read_bytes()
    assert there == FILES[WEIGHTS][: len(there)]
    assert node.survey(WEIGHTS)[0]["have"] == len(there)
    assert node.run(WEIGHTS)["fetched"] == SIZE - len(there)
    # The hub may notice the end of the first request after that of the second.
    assert ("bytes=%d-" % len(there), SIZE - len(there)) in node.requests(count=2)
    node.expect_all(WEIGHTS)


def test_the_hub_of_huggingface_hub(node):
    """Without an address, it is the one that huggingface_hub goes by, and errors name it."""
    environment = {"HF_ENDPOINT": node.hub.url}
    assert run_apart(node, WEIGHTS, endpoint=None, environment=environment)["fetched"] == SIZE
    node.hub.tell(refuse=403)
    where, _expected, found, _remedy = run_apart(node, OTHER, endpoint=None, patience=2, environment=environment)
    assert (where, found) == (node.hub.url, "that the token may not read it")
    assert len(node.hub.log("HEAD", OTHER)) == 1


@pytest.mark.parametrize(
    ("number", "expected", "found"),
    [
        pytest.param(errno.ENOSPC, "0.0 GB more for this node's share of the model", "no space left (", id="full"),
        pytest.param(errno.EDQUOT, "0.0 GB more for this node's share of the model", "that the quota is", id="quota"),
        pytest.param(errno.EROFS, "storage that takes " + WEIGHTS, "[Errno 30] Read-only file system", id="read-only"),
        pytest.param(errno.ESTALE, "storage that takes " + WEIGHTS, "[Errno 116] Stale file handle", id="stale"),
    ],
)
def test_errors_of_storage(node, number, expected, found):
    error = node.share(WEIGHTS).no_storage(node.files[WEIGHTS], OSError(number, os.strerror(number)))
    assert (error.where, error.expected) == (node.cache.cache_dir, expected)
    assert error.found.startswith(found)


@pytest.mark.parametrize(
    ("error", "number"),
    [
        pytest.param(RuntimeError("Data error: No space left on device"), errno.ENOSPC, id="full-as-xet-says-it"),
        pytest.param(RuntimeError("I/O error (os error 28)"), errno.ENOSPC, id="full-by-number"),
        pytest.param(OSError(errno.EIO, "Input/output error"), errno.EIO, id="storage"),
        pytest.param(RuntimeError("connection reset"), None, id="network"),
        pytest.param(OSError("Consistency check failed"), None, id="too-few-bytes"),
        pytest.param(TimeoutError(), None, id="too-late"),
    ],
)
def test_what_waiting_mends(node, error, number):
    """Given as the number of the error that ends the share, if one does."""
    share, found = node.share(WEIGHTS), None
    try:
        share.judge(error)
    except OSError as raised:
        found = raised.errno
    assert found == number


@pytest.mark.parametrize("mistake", [TypeError, AttributeError, KeyError, ValueError, ImportError, MemoryError])
def test_a_mistake_is_not_waited_out(node, mistake):
    with pytest.raises(mistake):
        node.share(WEIGHTS).judge(mistake("text"))
