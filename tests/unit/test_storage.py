# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast storage is, measured on this host's own file systems."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import pathlib
import resource
import tempfile
import time

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.onecc.vllm.plugins.module_utils import storage
from ansible_collections.onecc.vllm.plugins.modules import storage_rate

CHUNK = storage.CHUNK
MADE = "a file made for it"


@contextlib.contextmanager
def limited(kind, soft):
    """A limit of this process for a while."""
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


def next_descriptor():
    number = os.open(os.devnull, os.O_RDONLY)
    os.close(number)
    return number


def bytes_read():
    """What this process has read so far, from wherever."""
    return int(pathlib.Path("/proc/self/io").read_text().split()[1])


def sparse(path, size):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as stream:
        stream.truncate(size)
    return str(path)


@pytest.fixture(params=["disk", "memory"])
def folder(request, tmp_path, monkeypatch):
    """An empty folder, on a disk and on a file system that has no disk, which may be small."""
    monkeypatch.setattr(storage, "PROBE_SIZE", 3 * CHUNK)
    if request.param == "disk":
        (tmp_path / "shared").mkdir()
        yield tmp_path / "shared"
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        yield pathlib.Path(name)


# Which file.


@pytest.mark.parametrize(
    ("files", "best"),
    [
        pytest.param({}, "", id="nothing"),
        pytest.param({"a.safetensors": 10}, "a.safetensors", id="just-large-enough"),
        pytest.param({"a.safetensors": 9}, "", id="too-small"),
        pytest.param(
            {"a.safetensors": 10, "b/c/d.safetensors": 12, "e.safetensors": 11}, "b/c/d.safetensors", id="most"
        ),
        pytest.param({"a.bin": 99, "b.safetensors.index.json": 99, "a.safetensors": 10}, "a.safetensors", id="weights"),
        pytest.param({"blobs/0a.onecc.incomplete": 99}, "", id="half-a-download"),
    ],
)
def test_largest(tmp_path, files, best):
    for name, size in files.items():
        sparse(tmp_path / name, size)
    assert storage.largest(str(tmp_path), at_least=10) == (str(tmp_path / best) if best else "")


def test_largest_in_a_cache(tmp_path):
    """There the names are links to blobs; one whose blob is not there yet counts for nothing."""
    sparse(tmp_path / "blobs" / "0a", 20)
    snapshot = tmp_path / "snapshots" / "f00d"
    snapshot.mkdir(parents=True)
    (snapshot / "model-00001-of-00002.safetensors").symlink_to("../../blobs/0a")
    (snapshot / "model-00002-of-00002.safetensors").symlink_to("../../blobs/0b")
    assert storage.largest(str(tmp_path), at_least=10) == str(snapshot / "model-00001-of-00002.safetensors")


def test_largest_where_nothing_is(tmp_path):
    assert storage.largest(str(tmp_path / "none")) == ""


def test_what_is_large_enough(tmp_path):
    sparse(tmp_path / "a.safetensors", 256 * 2**20 - 1)
    assert storage.largest(str(tmp_path)) == ""
    sparse(tmp_path / "b.safetensors", 256 * 2**20)
    assert storage.largest(str(tmp_path)) == str(tmp_path / "b.safetensors")


# How it is read.


def is_direct(path):
    file = storage.open_direct(path)
    try:
        return bool(fcntl.fcntl(file, fcntl.F_GETFL) & os.O_DIRECT)
    finally:
        os.close(file)


def can_direct(path):
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECT))
    except OSError:
        return False
    return True


def test_open_direct(folder):
    """Where the file system can."""
    path = sparse(folder / "a", 10)
    assert is_direct(path) == can_direct(path)


def test_open_where_it_cannot_be_direct():
    """The kernel's own files are such a place everywhere, /dev/shm with kernels before 6.6."""
    assert not can_direct("/proc/version")
    assert not is_direct("/proc/version")
    assert storage.read_rate("/proc/version", 0.05) > 0


@pytest.mark.parametrize(
    ("name", "number"),
    [
        pytest.param("none", errno.ENOENT, id="not-there"),
        pytest.param("link", errno.ELOOP, id="loop"),
    ],
)
def test_open_what_cannot_be_opened(tmp_path, name, number):
    (tmp_path / "link").symlink_to("link")
    with pytest.raises(OSError, match=r"Errno %d\b" % number):
        storage.open_direct(str(tmp_path / name))


@pytest.mark.parametrize(
    "size",
    [
        pytest.param(100, id="less-than-a-block"),
        pytest.param(CHUNK, id="one-chunk"),
        pytest.param(CHUNK + 5000, id="a-chunk-and-a-bit"),
        pytest.param(3 * CHUNK, id="three-chunks"),
    ],
)
def test_read_rate(folder, size):
    """All that was read counts, also the last piece of a file, which is then read again from its beginning."""
    path = sparse(folder / "a", size)
    before, begin = bytes_read(), time.monotonic()
    rate = storage.read_rate(path, 0.3)
    took, count = time.monotonic() - begin, bytes_read() - before
    assert took >= 0.3
    assert count > size
    assert rate == pytest.approx(count / took, rel=0.5)


def test_read_rate_of_an_empty_file(tmp_path):
    """There is nothing to wait for."""
    begin = time.monotonic()
    assert storage.read_rate(sparse(tmp_path / "a", 0), 30) == 0
    assert time.monotonic() - begin < 15


def test_read_rate_leaves_nothing_open(tmp_path):
    path, before = sparse(tmp_path / "a", 100), next_descriptor()
    storage.read_rate(path, 0.01)
    assert next_descriptor() == before
    with pytest.raises(IsADirectoryError):
        storage.read_rate(str(tmp_path), 0.01)
    assert next_descriptor() == before


# The file that is made for it.


def test_probe(folder):
    with storage.probe(str(folder), 0.05) as name:
        assert os.path.dirname(name) == str(folder)
        assert os.path.basename(name).startswith(".onecc-rate-")
        size = os.path.getsize(name)
        assert size % CHUNK == 0
        assert 0 < size <= storage.PROBE_SIZE
        # No zeros, which the storage may leave out.
        with open(name, "rb") as stream:
            assert len(set(stream.read(4096))) > 200
    assert list(folder.iterdir()) == []


def test_probe_is_no_larger_than_it_says(folder):
    """However fast the storage is."""
    with storage.probe(str(folder), 60) as name:
        assert os.path.getsize(name) == 3 * CHUNK


def test_probe_is_gone_when_something_fails(folder):
    with pytest.raises(KeyError), storage.probe(str(folder), 0.01):
        raise KeyError
    assert list(folder.iterdir()) == []


def test_measure(folder):
    told = storage.measure(str(folder), None, 0.05)
    assert sorted(told) == ["of", "rate"]
    assert told["rate"] > 0
    assert told["of"] == MADE
    assert list(folder.iterdir()) == []


def test_measure_with_weights(tmp_path):
    """Nothing is written where there is something to read."""
    weights = sparse(tmp_path / "hub" / "model.safetensors", storage.PROBE_SIZE)
    told = storage.measure(str(tmp_path / "not-there"), str(tmp_path / "hub"), 0.05)
    assert told["of"] == weights
    assert told["rate"] > 0


@pytest.mark.parametrize("model", ["hub", "none"])
def test_measure_with_weights_that_are_too_small(tmp_path, model):
    sparse(tmp_path / "hub" / "model.safetensors", 1000)
    assert storage.measure(str(tmp_path), str(tmp_path / model), 0.01)["of"] == MADE
    assert [path.name for path in tmp_path.iterdir()] == ["hub"]


def test_measure_when_reading_fails(folder):
    """The file was made, and cannot be opened again: this process may have one file more."""
    with limited(resource.RLIMIT_NOFILE, next_descriptor() + 1), pytest.raises(OSError, match="Too many open files"):
        storage.measure(str(folder), None, 0.01)
    assert list(folder.iterdir()) == []


def test_measure_when_writing_fails(folder):
    """As with a full disk or a quota: a file may not grow over 1 MiB."""
    with limited(resource.RLIMIT_FSIZE, 2**20), pytest.raises(OSError, match="File too large"):
        storage.measure(str(folder), None, 0.01)
    assert list(folder.iterdir()) == []


# The module.


def run_module(capsys, **params):
    """What the module prints, as data."""
    with patch_module_args(params), pytest.raises(SystemExit):
        storage_rate.main()
    return json.loads(capsys.readouterr().out)


def test_module(tmp_path, capsys):
    told = run_module(capsys, path=str(tmp_path), model=str(tmp_path / "none"), seconds=0.01)
    assert set(yaml.safe_load(storage_rate.RETURN)) == set(told) - {"changed", "invocation"}
    assert (told["changed"], told["of"]) == (False, MADE)
    assert list(tmp_path.iterdir()) == []


def test_module_where_nothing_can_be_made(tmp_path, capsys):
    told = run_module(capsys, path=str(tmp_path / "none"), seconds=0.01)
    assert told["failed"] is True
    assert told["msg"].startswith("%s: cannot be measured: [Errno 2] No such file or directory" % (tmp_path / "none"))
