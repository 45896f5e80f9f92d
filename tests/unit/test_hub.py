# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A model on a hub: huggingface_hub against the hub of the lab."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import types

import huggingface_hub
import pytest
from huggingface_hub.utils import filter_repo_objects

from ansible_collections.onecc.vllm.plugins.module_utils.errors import OneccError
from ansible_collections.onecc.vllm.plugins.module_utils.hub import choose, describe, explain, pending, snapshot_path

LAB_HUB = pathlib.Path(__file__).resolve().parents[1] / "lab" / "services" / "hub.py"
OPEN, GATED, TOKEN = "owner/open", "owner/gated", "hf_right"
FILES = {"config.json": b'{"model_type": "llama"}', "model.safetensors": b"\0" * 1000, "original/params.json": b"{}"}
LIST = [{"path": path, "size": len(content)} for path, content in FILES.items()]


@pytest.fixture
def hub(tmp_path, serve):
    """The lab's hub with an open and a gated model."""
    spec = importlib.util.spec_from_file_location("lab_hub", LAB_HUB)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    models = tmp_path / "models"
    for repo in (OPEN, GATED):
        for path, content in FILES.items():
            (models / repo / path).parent.mkdir(parents=True, exist_ok=True)
            (models / repo / path).write_bytes(content)
    (models / GATED / ".gated").write_text(TOKEN)
    url = serve(type("Handler", (module.Handler,), {"models": models}))
    return types.SimpleNamespace(url=url, commit=lambda repo: module.Model(models, repo).commit())


def ask(url, repo=OPEN, revision="main", include=None, exclude=(), token=None):
    api = huggingface_hub.HfApi(endpoint=url, token=token or False)
    params = {"repo": repo, "revision": revision, "include": include, "exclude": list(exclude)}
    return describe(api, huggingface_hub, params)


@pytest.mark.parametrize(
    ("repo", "asked", "files", "left_out_size"),
    [
        pytest.param(OPEN, {}, LIST, 0, id="all"),
        pytest.param(OPEN, {"exclude": ["original/*"]}, LIST[:2], 2, id="excluded"),
        pytest.param(OPEN, {"include": ["*.json"], "exclude": ["original/"]}, LIST[:1], 1002, id="included"),
        pytest.param(OPEN, {"token": "hf_any"}, LIST, 0, id="a-token-nobody-asked-for"),
        pytest.param(GATED, {"token": TOKEN}, LIST, 0, id="gated-with-the-right-token"),
    ],
)
def test_describe(hub, repo, asked, files, left_out_size):
    assert ask(hub.url, repo, **asked) == {
        "commit": hub.commit(repo),
        "files": files,
        "size": sum(file["size"] for file in files),
        "left_out_size": left_out_size,
    }


def test_describe_at_a_commit(hub):
    commit = hub.commit(OPEN)
    assert ask(hub.url, revision=commit)["commit"] == commit


NO_MODEL = (
    "no such model, or none that the token may see. "
    "Check the spelling of the name (OWNER/NAME); a private or gated model needs a token (HF_TOKEN)."
)
RESTRICTED = (
    "that its access is restricted. "
    "Ask for access on the model's page, and give the token of an account that has it (HF_TOKEN)."
)


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        pytest.param({"repo": "owner/none"}, "the model 'owner/none', found " + NO_MODEL, id="no-model"),
        pytest.param(
            {"repo": "owner/none", "token": TOKEN},
            "the model 'owner/none', found " + NO_MODEL,
            id="no-model-with-token",
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
            "files of 'owner/open' that fit the patterns, found none of its 3 files. "
            "Correct the patterns to include and to exclude.",
            id="no-file-fits",
        ),
        pytest.param({"repo": GATED}, "the model 'owner/gated', found " + RESTRICTED, id="gated-without-token"),
        pytest.param(
            {"repo": GATED, "token": "hf_wrong"},
            "the model 'owner/gated', found " + RESTRICTED,
            id="gated-with-the-wrong-token",
        ),
    ],
)
def test_what_the_hub_refuses(hub, asked, text):
    with pytest.raises(OneccError) as caught:
        ask(hub.url, **asked)
    assert str(caught.value) == "%s: expected %s" % (hub.url, text)


@pytest.mark.parametrize(
    ("status", "found"),
    [
        pytest.param(401, "no such model, or none that the token may see", id="401"),
        pytest.param(403, "that the token may not read it", id="403"),
        pytest.param(404, "no such model, or none that the token may see", id="404"),
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


def test_no_hub(nobody):
    with pytest.raises(OneccError, match=r"found no answer \(.*refused.*\)\. Check the network from this host"):
        ask(nobody)


def test_an_error_without_text():
    assert explain(TimeoutError(), OPEN, "main", "http://hub").found == "no answer (TimeoutError)"


@pytest.mark.parametrize(
    ("include", "exclude", "chosen"),
    [
        pytest.param(None, [], "config.json model.safetensors original/a.pth original/sub/b.json", id="all"),
        pytest.param(None, None, "config.json model.safetensors original/a.pth original/sub/b.json", id="no-lists"),
        pytest.param(["*.json"], [], "config.json original/sub/b.json", id="a-star-crosses-slashes"),
        pytest.param(["*.json", "*.pth"], [], "config.json original/a.pth original/sub/b.json", id="either"),
        pytest.param(None, ["original/*"], "config.json model.safetensors", id="not-below"),
        pytest.param(None, ["original/"], "config.json model.safetensors", id="slash-at-the-end"),
        pytest.param(["original/"], [], "original/a.pth original/sub/b.json", id="only-below"),
        pytest.param(["*.json"], ["original/"], "config.json", id="exclude-wins"),
        pytest.param(None, ["original"], "config.json model.safetensors original/a.pth original/sub/b.json", id="name"),
        pytest.param(["CONFIG.json"], [], "", id="case-matters"),
        pytest.param(["model.safetensor?"], [], "model.safetensors", id="question-mark"),
    ],
)
def test_choose_as_huggingface_hub_does(include, exclude, chosen):
    paths = ["config.json", "model.safetensors", "original/a.pth", "original/sub/b.json"]
    assert choose([{"path": path} for path in paths], include, exclude) == [{"path": path} for path in chosen.split()]
    assert list(filter_repo_objects(paths, allow_patterns=include, ignore_patterns=exclude)) == chosen.split()


def test_a_snapshot_is_complete_when_huggingface_hub_says_so(hub, tmp_path):
    model, cache = ask(hub.url, exclude=["original/"]), str(tmp_path / "cache")
    folder = snapshot_path(cache, OPEN, model["commit"])
    assert pending(model["files"], folder) == model["files"]

    path = huggingface_hub.snapshot_download(
        OPEN, revision=model["commit"], cache_dir=cache, ignore_patterns=["original/"], endpoint=hub.url, token=False
    )
    assert path == folder
    assert pending(model["files"], folder) == []

    # The snapshot's files are links to blobs, here one that was cut short and one that is gone.
    with open(os.path.join(folder, "model.safetensors"), "r+b") as stream:
        stream.truncate(999)
    assert pending(model["files"], folder) == [{"path": "model.safetensors", "size": 1000}]
    os.remove(os.path.realpath(os.path.join(folder, "config.json")))
    assert pending(model["files"], folder) == model["files"]


@pytest.mark.parametrize(
    ("repo", "folder"),
    [
        pytest.param("owner/name-1.0", "/cache/models--owner--name-1.0/snapshots/abc", id="owner-and-name"),
        pytest.param("gpt2", "/cache/models--gpt2/snapshots/abc", id="name-alone"),
    ],
)
def test_snapshot_path(repo, folder):
    assert snapshot_path("/cache", repo, "abc") == folder
