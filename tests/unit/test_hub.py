# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A model on a hub: huggingface_hub against the hub of the lab."""

from __future__ import annotations

import json
import pathlib

import huggingface_hub
import pytest
from huggingface_hub.utils import filter_repo_objects

from ansible_collections.onecc.vllm.plugins.module_utils.errors import OneccError
from ansible_collections.onecc.vllm.plugins.module_utils.hub import choose, describe, explain

OPEN, GATED, PRIVATE = "owner/open", "owner/gated", "owner/private"
# Tokens: of an account that may read everything, of one that may not, of none.
GOOD, OTHER, WRONG = "hf_good", "hf_other", "hf_wrong"
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "model.bin": b"\0" * 900,
    "model.safetensors": b"\0" * 1000,
    "original/params.json": b"{}",
}
# What `git hash-object` says of the small files, and `sha256sum` of those in LFS.
BLOBS = {
    "config.json": "230d5f4da0da586aad26ead694ea67cd15bd6df1",
    "model.bin": "fa807c957eafe34b850cb453a096df2e5899f0902a837fccd59f9aafa869fb44",
    "model.safetensors": "541b3e9daa09b20bf85fa273e5cbd3e80185aa4ec298e765db87742b70138a53",
    "original/params.json": "9e26dfeeb6e641a33dae4961196235bdb965b21b",
}
LIST = [{"path": path, "size": len(content), "blob": BLOBS[path]} for path, content in FILES.items()]
CONFIG, BIN, SAFETENSORS, PARAMS = LIST


@pytest.fixture
def models(hub):
    """The hub with an open, a gated and a private model, and two accounts."""
    for repo in (OPEN, GATED, PRIVATE):
        hub.put(repo, FILES)
    (hub.models / GATED / ".gated").write_text(GOOD)
    (hub.models / PRIVATE / ".private").write_text(GOOD)
    (hub.models / ".accounts").write_text(f"{GOOD}\n{OTHER}\n")
    return hub


def ask(url, repo=OPEN, revision="main", include=(), exclude=(), duplicates=False, token=None):
    api = huggingface_hub.HfApi(endpoint=url, token=token or False)
    params = {"repo": repo, "revision": revision, "duplicates": duplicates}
    return describe(api, huggingface_hub, params | {"include": list(include), "exclude": list(exclude)})


@pytest.mark.parametrize(
    ("repo", "asked", "files", "left_out_size"),
    [
        pytest.param(OPEN, {}, [CONFIG, SAFETENSORS, PARAMS], 900, id="no-other-format-of-the-same"),
        pytest.param(OPEN, {"duplicates": True}, LIST, 0, id="all"),
        pytest.param(OPEN, {"exclude": ["original/*"]}, [CONFIG, SAFETENSORS], 902, id="excluded"),
        pytest.param(OPEN, {"exclude": ["*.safetensors"]}, [CONFIG, BIN, PARAMS], 1000, id="the-other-format"),
        pytest.param(OPEN, {"include": ["*.json"], "exclude": ["original/"]}, [CONFIG], 1902, id="included"),
        pytest.param(OPEN, {"token": OTHER}, [CONFIG, SAFETENSORS, PARAMS], 900, id="a-token-nobody-asked-for"),
        pytest.param(GATED, {"token": GOOD}, [CONFIG, SAFETENSORS, PARAMS], 900, id="gated-with-access"),
        pytest.param(PRIVATE, {"token": GOOD}, [CONFIG, SAFETENSORS, PARAMS], 900, id="private-with-access"),
    ],
)
def test_describe(models, repo, asked, files, left_out_size):
    assert ask(models.url, repo, **asked) == {
        "commit": models.commit(repo),
        "all_files": LIST,
        "files": files,
        "size": sum(file["size"] for file in files),
        "left_out_size": left_out_size,
    }


def test_describe_at_a_commit(models):
    commit = models.commit(OPEN)
    assert ask(models.url, revision=commit)["commit"] == commit


def test_blobs_have_the_names_that_huggingface_hub_gives_them(models, tmp_path):
    """In a cache of huggingface_hub's own making."""
    huggingface_hub.snapshot_download(OPEN, endpoint=models.url, token=False, cache_dir=tmp_path / "cache")
    blobs = pathlib.Path(tmp_path / "cache" / "models--owner--open" / "blobs")
    sizes = {path.name: path.stat().st_size for path in blobs.iterdir()}
    assert sizes == {file["blob"]: file["size"] for file in ask(models.url)["all_files"]}


NO_MODEL = (
    "no such model, or none that the token may see. "
    "Check the spelling of the name (OWNER/NAME); a private or gated model needs a token (HF_TOKEN)."
)
NO_TOKEN = (
    "that its access is restricted, and no token. "
    "Ask for access on the model's page, and give the token of an account that has it (HF_TOKEN)."
)
NO_ACCESS = (
    "that the account of the token has no access to it. "
    "Ask for access on the model's page (HUB/owner/gated), and run this again once it is granted."
)
NO_ACCOUNT = (
    "that the hub does not know the token. "
    "Give a token that is valid (HF_TOKEN); tokens end when they expire or are revoked."
)


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        pytest.param({"repo": "owner/none"}, "the model 'owner/none', found " + NO_MODEL, id="no-model"),
        pytest.param(
            {"repo": "owner/none", "token": GOOD},
            "the model 'owner/none', found " + NO_MODEL,
            id="no-model-with-a-token",
        ),
        pytest.param({"repo": "a/b/c"}, "the model 'a/b/c', found " + NO_MODEL, id="not-a-name"),
        pytest.param(
            {"revision": "v9"},
            "revision 'v9' of model 'owner/open', found no such revision. "
            "Give a branch, tag or commit that the model's page lists.",
            id="no-revision",
        ),
        pytest.param(
            {"include": ["*.nothing"]},
            "files of 'owner/open' that fit the patterns, found none of its 4 files. "
            "Correct the patterns to include and to exclude.",
            id="no-file-fits",
        ),
        pytest.param({"repo": GATED}, "the model 'owner/gated', found " + NO_TOKEN, id="gated-without-a-token"),
        pytest.param(
            {"repo": GATED, "token": OTHER},
            "the model 'owner/gated', found " + NO_ACCESS,
            id="gated-without-access",
        ),
        pytest.param({"repo": PRIVATE}, "the model 'owner/private', found " + NO_MODEL, id="private-without-a-token"),
        pytest.param(
            {"repo": PRIVATE, "token": OTHER},
            "the model 'owner/private', found " + NO_MODEL,
            id="private-without-access",
        ),
        pytest.param({"token": WRONG}, "the model 'owner/open', found " + NO_ACCOUNT, id="a-token-of-nobody"),
        pytest.param(
            {"repo": GATED, "token": WRONG},
            "the model 'owner/gated', found " + NO_ACCOUNT,
            id="gated-with-a-token-of-nobody",
        ),
        pytest.param(
            {"repo": PRIVATE, "token": WRONG},
            "the model 'owner/private', found " + NO_ACCOUNT,
            id="private-with-a-token-of-nobody",
        ),
    ],
)
def test_what_the_hub_refuses(models, asked, text):
    with pytest.raises(OneccError) as caught:
        ask(models.url, **asked)
    assert str(caught.value) == "%s: expected %s" % (models.url, text.replace("HUB", models.url))


@pytest.mark.parametrize(
    ("status", "found"),
    [
        pytest.param(401, "no such model, or none that the token may see", id="401"),
        pytest.param(403, "that the token may not read it", id="403"),
        pytest.param(404, "no such model, or none that the token may see", id="404"),
        pytest.param(429, "HTTP status 429", id="429"),
        pytest.param(500, "HTTP status 500", id="500"),
        pytest.param(503, "HTTP status 503", id="503"),
    ],
)
def test_what_another_hub_refuses(replay, status, found):
    """A hub or proxy that says no more than a status."""
    mirror = replay({"/api/models/owner/open/revision/main?blobs=true": (status, "text/plain", b"")})
    with pytest.raises(OneccError) as caught:
        ask(mirror.url)
    assert (caught.value.where, caught.value.found) == (mirror.url, found)


def sibling(path="model.safetensors", **keys):
    return {"rfilename": path, "size": 1000} | keys


@pytest.fixture
def mirror(replay):
    """A hub with one model that has one file, told of in any way."""

    def start(file):
        info = {"_id": "1", "id": OPEN, "sha": "0" * 40, "private": False, "gated": False, "tags": []}
        info |= {"downloads": 0, "likes": 0, "siblings": [file]}
        answer = (200, "application/json", json.dumps(info).encode())
        return replay({"/api/models/owner/open/revision/main?blobs=true": answer}).url

    return start


@pytest.mark.parametrize(
    ("file", "expected", "found"),
    [
        pytest.param(sibling(blobId="541b3e9d"), "a hash for model.safetensors", "'541b3e9d'", id="half-a-hash"),
        pytest.param(sibling(), "a hash for model.safetensors", "none", id="no-hash"),
        pytest.param(sibling(blobId=""), "a hash for model.safetensors", "none", id="an-empty-hash"),
        pytest.param(
            sibling(blobId="../" * 12 + "etc/"), "a hash for model.safetensors", "'%setc/'" % ("../" * 12), id="a-path"
        ),
        pytest.param(
            sibling("../../x", blobId="0" * 40), "files below the model", "one named '../../x'", id="a-file-above"
        ),
        pytest.param(
            sibling("a/../../x", blobId="0" * 40), "files below the model", "one named 'a/../../x'", id="by-a-detour"
        ),
        pytest.param(
            sibling("/etc/x", blobId="0" * 40), "files below the model", "one named '/etc/x'", id="at-the-root"
        ),
    ],
)
def test_a_hub_that_cannot_be_relied_on(mirror, file, expected, found):
    """Names of files and of their blobs become paths, and what has no hash cannot be checked."""
    url = mirror(file)
    with pytest.raises(OneccError) as caught:
        ask(url)
    assert (caught.value.where, caught.value.expected, caught.value.found) == (url, expected, found)


@pytest.mark.parametrize("path", ["..config", "a..b/c..", "sub/.hidden", "a/.../b"])
def test_names_with_dots(mirror, path):
    url = mirror(sibling(path, blobId="0" * 40))
    assert ask(url)["files"] == [{"path": path, "size": 1000, "blob": "0" * 40}]


def test_no_hub(nobody):
    with pytest.raises(OneccError, match=r"found no answer \(.*refused.*\)\. Check the network from this host"):
        ask(nobody)


def test_an_error_without_text():
    assert explain(TimeoutError(), OPEN, "main", "http://hub").found == "no answer (TimeoutError)"


@pytest.mark.parametrize(
    ("include", "exclude", "chosen"),
    [
        pytest.param([], [], "config.json model.safetensors original/a.pth original/sub/b.json", id="all"),
        pytest.param(["*.json"], [], "config.json original/sub/b.json", id="a-star-crosses-slashes"),
        pytest.param(["*.json", "*.pth"], [], "config.json original/a.pth original/sub/b.json", id="either"),
        pytest.param([], ["original/*"], "config.json model.safetensors", id="not-below"),
        pytest.param([], ["original/"], "config.json model.safetensors", id="slash-at-the-end"),
        pytest.param(["original/"], [], "original/a.pth original/sub/b.json", id="only-below"),
        pytest.param(["*.json"], ["original/"], "config.json", id="exclude-wins"),
        pytest.param([], ["original"], "config.json model.safetensors original/a.pth original/sub/b.json", id="name"),
        pytest.param(["CONFIG.json"], [], "", id="case-matters"),
        pytest.param(["model.safetensor?"], [], "model.safetensors", id="question-mark"),
    ],
)
def test_choose_as_huggingface_hub_does(include, exclude, chosen):
    paths = ["config.json", "model.safetensors", "original/a.pth", "original/sub/b.json"]
    found = choose([{"path": path} for path in paths], include, exclude, False)
    assert found == [{"path": path} for path in chosen.split()]
    # To huggingface_hub, an empty list to include is not the same as none.
    assert list(filter_repo_objects(paths, allow_patterns=include or None, ignore_patterns=exclude)) == chosen.split()


@pytest.mark.parametrize(
    ("paths", "exclude", "duplicates", "chosen"),
    [
        pytest.param("a.bin b.safetensors c.json", [], False, "b.safetensors c.json", id="left-out"),
        pytest.param("a.bin b.safetensors c.json", [], True, "a.bin b.safetensors c.json", id="asked-for"),
        pytest.param("a.bin c.json", [], False, "a.bin c.json", id="nothing-else"),
        pytest.param("a.bin b.safetensors", ["*.safetensors"], False, "a.bin", id="the-other-is-excluded"),
        pytest.param("sub/a.bin sub/b.safetensors", [], False, "sub/b.safetensors", id="below"),
        pytest.param("a.bin.json b.safetensors", [], False, "a.bin.json b.safetensors", id="not-at-the-end"),
        pytest.param("a.pth b.safetensors c.gguf", [], False, "a.pth b.safetensors c.gguf", id="other-formats"),
    ],
)
def test_choose_one_format(paths, exclude, duplicates, chosen):
    found = choose([{"path": path} for path in paths.split()], [], exclude, duplicates)
    assert [file["path"] for file in found] == chosen.split()
