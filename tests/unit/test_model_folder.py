# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder that is said to hold a model: small ones, good and bad."""

from __future__ import annotations

import json
import os

import pytest

from ansible_collections.onecc.vllm.plugins.module_utils.errors import OneccError
from ansible_collections.onecc.vllm.plugins.module_utils.model_folder import INDEX, REMEDY, expected_size, look


def safetensors(*sizes, metadata=False, data=None):
    """A file with tensors of these sizes in bytes."""
    header, end = {"__metadata__": {"format": "pt"}} if metadata else {}, 0
    for number, size in enumerate(sizes):
        header["t%d" % number] = {"dtype": "U8", "shape": [size], "data_offsets": [end, end + size]}
        end += size
    return raw(json.dumps(header).encode(), b"\1" * end if data is None else data)


def raw(header, data=b"", length=None):
    return (len(header) if length is None else length).to_bytes(8, "little") + header + data


def index(*names):
    return json.dumps({"metadata": {}, "weight_map": {"t%d" % number: name for number, name in enumerate(names)}})


CONFIG = {"config.json": '{"model_type": "llama"}'}
ONE = safetensors(10, 20)
PARTS = {"model-1.safetensors": ONE, "model-2.safetensors": safetensors(5)}


@pytest.fixture
def folder(tmp_path):
    """Makes a folder of files, where None is a folder and a path a link to it."""

    def make(files):
        path = tmp_path / "model"
        for name, content in files.items():
            file = path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                file.mkdir()
            elif isinstance(content, os.PathLike):
                file.symlink_to(content)
            else:
                file.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return make


@pytest.mark.parametrize(
    ("files", "weights", "size"),
    [
        pytest.param({"model.safetensors": ONE}, 1, len(ONE), id="one-file"),
        pytest.param(PARTS, 2, sum(map(len, PARTS.values())), id="parts-without-an-index"),
        pytest.param(
            PARTS | {INDEX: index("model-2.safetensors", "model-1.safetensors", "model-1.safetensors")},
            2,
            sum(map(len, PARTS.values())),
            id="parts-with-an-index",
        ),
        pytest.param(
            PARTS | {INDEX: index("model-1.safetensors"), "other.safetensors": b"torn"},
            1,
            len(ONE),
            id="what-the-index-does-not-name-does-not-count",
        ),
        pytest.param(
            {INDEX: index("parts/a.safetensors"), "parts/a.safetensors": ONE}, 1, len(ONE), id="in-a-folder-below"
        ),
        pytest.param({"model.safetensors": ONE, "pytorch_model.bin": b"torn"}, 1, len(ONE), id="other-formats-too"),
        pytest.param({"a.safetensors": safetensors()}, 1, len(safetensors()), id="no-tensors"),
    ],
)
def test_a_good_folder(folder, files, weights, size):
    path = folder(CONFIG | files)
    assert look(path) == {"folder": path, "weights": weights, "weights_size": size}


def test_links(folder, tmp_path):
    """They may lead to other places of the folder, which may be reached by one itself."""
    path = folder(CONFIG | {"parts/1": ONE, "model.safetensors": tmp_path / "model" / "parts" / "1"})
    (tmp_path / "current").symlink_to(path)
    assert look(str(tmp_path / "current")) == {"folder": path, "weights": 1, "weights_size": len(ONE)}


@pytest.mark.parametrize(
    ("roots", "is_good"),
    [
        pytest.param([], False, id="nowhere-else"),
        pytest.param(["blobs"], True, id="there"),
        pytest.param(["none", "link-to-blobs"], True, id="there-by-a-link"),
        pytest.param(["blob"], False, id="a-name-that-begins-so"),
        pytest.param(["."], True, id="above"),
    ],
)
def test_links_that_lead_elsewhere(folder, tmp_path, roots, is_good):
    """What lies there is not seen where only the folder is mounted."""
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "1").write_bytes(ONE)
    (tmp_path / "link-to-blobs").symlink_to(tmp_path / "blobs")
    path = folder(CONFIG | {"model.safetensors": tmp_path / "blobs" / "1"})
    roots = [str(tmp_path / root) for root in roots]
    if is_good:
        assert look(path, roots)["weights"] == 1
        return
    with pytest.raises(OneccError) as caught:
        look(path, roots)
    assert caught.value.where == os.path.join(path, "model.safetensors")
    assert caught.value.found == "a link to %s" % (tmp_path / "blobs" / "1")


BROKEN = json.dumps({"t": {"dtype": "U8", "shape": [1]}}).encode()


@pytest.mark.parametrize(
    ("files", "where", "expected", "found"),
    [
        pytest.param({"config.json": None}, "config.json", "a file that can be read", "Is a directory", id="folder"),
        pytest.param({"a": ""}, "config.json", "a file that can be read", "No such file or directory", id="no-config"),
        pytest.param({"config.json": "{"}, "config.json", "JSON", "Expecting property name", id="torn-config"),
        pytest.param({"config.json": b"\xff"}, "config.json", "JSON", "'utf-8' codec", id="no-text"),
        pytest.param(CONFIG, "", "weights as safetensors", "none", id="no-weights"),
        pytest.param(CONFIG | {"pytorch_model.bin": b"x"}, "", "weights as safetensors", "none", id="another-format"),
        pytest.param(CONFIG | {INDEX: "{"}, INDEX, "JSON", "Expecting property name", id="torn-index"),
        pytest.param(
            CONFIG | PARTS | {INDEX: '{"weight_map": {}}'}, "", "weights as safetensors", "none", id="empty-index"
        ),
        pytest.param(CONFIG | PARTS | {INDEX: "{}"}, "", "weights as safetensors", "none", id="index-without-map"),
        pytest.param(
            CONFIG | PARTS | {INDEX: index("model-1.safetensors", "model-3.safetensors")},
            "model-3.safetensors",
            "the file that %s names" % INDEX,
            "nothing",
            id="a-part-is-missing",
        ),
        pytest.param(
            CONFIG | {"model.safetensors": ONE[:-1]},
            "model.safetensors",
            "%d bytes, as its header says" % len(ONE),
            "%d" % (len(ONE) - 1),
            id="cut-short-by-a-byte",
        ),
        pytest.param(
            CONFIG | {"model.safetensors": ONE + b"\n"},
            "model.safetensors",
            "%d bytes, as its header says" % len(ONE),
            "%d" % (len(ONE) + 1),
            id="too-long",
        ),
        pytest.param(
            CONFIG | PARTS | {INDEX: index(*PARTS), "model-2.safetensors": ONE[:40]},
            "model-2.safetensors",
            "safetensors with a header",
            "none (the header ends behind the file's end)",
            id="cut-short-in-the-header",
        ),
        pytest.param(
            CONFIG | {"model.safetensors": b""}, "model.safetensors", "safetensors with a header", "none (", id="empty"
        ),
        pytest.param(
            CONFIG | {"model.safetensors": b"\1\2"},
            "model.safetensors",
            "safetensors with a header",
            "none (",
            id="two-bytes",
        ),
        pytest.param(
            CONFIG | {"model.safetensors": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"},
            "model.safetensors",
            "safetensors with a header",
            "none (the header ends behind the file's end)",
            id="a-pointer-of-git-lfs",
        ),
        pytest.param(
            CONFIG | {"model.safetensors": b"\0" * 1000},
            "model.safetensors",
            "safetensors with a header",
            "none (",
            id="zeros",
        ),
    ],
)
def test_a_bad_folder(folder, files, where, expected, found):
    path = folder(files)
    with pytest.raises(OneccError) as caught:
        look(path)
    assert caught.value.where == (os.path.join(path, where) if where else path)
    assert (caught.value.expected, caught.value.remedy) == (expected, REMEDY)
    assert caught.value.found.startswith(found)


@pytest.mark.parametrize(
    ("name", "found"), [pytest.param("none", "nothing", id="nothing"), pytest.param("file", "a file", id="a-file")]
)
def test_no_folder(tmp_path, name, found):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OneccError) as caught:
        look(str(tmp_path / name))
    assert (caught.value.expected, caught.value.found) == ("a folder with a model", found)


@pytest.mark.parametrize(
    ("content", "size"),
    [
        pytest.param(safetensors(10, 20), len(safetensors(10, 20)), id="tensors"),
        pytest.param(safetensors(10, metadata=True), len(safetensors(10, metadata=True)), id="with-metadata"),
        pytest.param(safetensors(), 10, id="no-tensors"),
        pytest.param(safetensors(0), len(safetensors(0)), id="a-tensor-without-content"),
        pytest.param(raw(b"{}   "), 13, id="padded-header"),
        pytest.param(raw(b"{}", length=3), 11, id="without-the-end-of-its-header"),
        pytest.param(safetensors(10, 20, data=b""), len(safetensors(10, 20)), id="without-its-data"),
        pytest.param(
            raw(b'{"b": {"data_offsets": [5, 9]}, "a": {"data_offsets": [0, 5]}}', b"\1" * 9), 79, id="in-any-order"
        ),
    ],
)
def test_expected_size(tmp_path, content, size):
    (tmp_path / "file").write_bytes(content)
    assert expected_size(str(tmp_path / "file")) == size


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(raw(b"[]"), id="a-list"),
        pytest.param(raw(b"3"), id="a-number"),
        pytest.param(raw(b"{"), id="torn"),
        pytest.param(raw(b"\xff\xfe{}"), id="no-text"),
        pytest.param(raw(b"{}", length=2**63), id="a-header-of-exabytes"),
        pytest.param(raw(BROKEN), id="no-offsets"),
        pytest.param(raw(b'{"t": 3}'), id="no-tensor"),
        pytest.param(raw(b'{"t": {"data_offsets": null}}'), id="offsets-of-nothing"),
        pytest.param(raw(b'{"t": {"data_offsets": [0]}}'), id="half-of-the-offsets"),
        pytest.param(raw(b'{"t": {"data_offsets": ["0", "9"]}}'), id="offsets-as-text"),
    ],
)
def test_no_safetensors(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(OneccError) as caught:
        expected_size(str(tmp_path / "file"))
    assert caught.value.where == str(tmp_path / "file")
    assert caught.value.expected == "safetensors with a header"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("[]", id="a-list"),
        pytest.param('{"weight_map": ["model.safetensors"]}', id="a-list-of-names"),
        pytest.param('{"weight_map": {"t": 3}}', id="a-number-for-a-name"),
    ],
)
def test_an_index_of_another_kind(folder, content):
    path = folder(CONFIG | {INDEX: content, "model.safetensors": ONE})
    with pytest.raises(OneccError) as caught:
        look(path)
    assert caught.value.where == os.path.join(path, INDEX)
