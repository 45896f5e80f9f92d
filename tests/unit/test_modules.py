# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules as Ansible runs them: arguments in, a result out."""

from __future__ import annotations

import json
import os
import pathlib
import random
import shutil
import stat
import tarfile

import pytest

from ansible_collections.onecc.vllm.plugins.module_utils import evidence, hf_cache
from ansible_collections.onecc.vllm.plugins.module_utils.ray_state import VIEWS
from ansible_collections.onecc.vllm.plugins.modules import (
    diagnosis,
    engine_progress,
    evidence_collect,
    hf_model_info,
    hf_progress,
    hf_snapshot,
    hf_snapshot_info,
    image_progress,
    model_folder_info,
    openai_query,
    ray_cluster_info,
    serving_plan,
)

DATA = pathlib.Path(__file__).resolve().parent / "data"
NO_LIBRARY = "sys.modules[%r] = None"

# The download, from the hub to a snapshot

REPO = "owner/model"
FILES = {"config.json": b'{"model_type": "llama"}', "model.safetensors": random.Random(1).randbytes(100_000)}
SIZE = sum(map(len, FILES.values()))


@pytest.fixture
def download(hub, tmp_path, run_module, run_module_apart):
    """Runs the modules of a download on one cache, with what all of them are told."""
    hub.put(REPO, FILES)
    cache_dir, state_dir = str(tmp_path / "hub"), str(tmp_path / "state")
    told = run_module(hf_model_info, repo=REPO, endpoint=hub.url + "/")

    def info(**params):
        return run_module(hf_snapshot_info, repo=REPO, cache_dir=cache_dir, **params)

    def job(state, **params):
        params |= {"repo": REPO, "cache_dir": cache_dir, "state_dir": state_dir, "endpoint": hub.url}
        return run_module_apart("hf_download", state=state, **params)[0]

    def snapshot(**params):
        params = {"commit": told["commit"], "revision": "main", "all_files": told["all_files"], "node": "n0", **params}
        return run_module(hf_snapshot, repo=REPO, cache_dir=cache_dir, **params)

    def progress(*nodes, **params):
        return run_module(hf_progress, repo=REPO, cache_dir=cache_dir, nodes=nodes, **params)

    download = pathlib.Path(cache_dir), told, info, job, snapshot, progress
    yield download
    if os.path.exists(state_dir):
        job("stopped")


def test_download(download, tmp_path):
    """All steps of it, each in check mode first where it changes anything."""
    cache_dir, told, info, job, snapshot, progress = download
    assert told == {**told, "changed": False, "size": SIZE, "left_out_size": 0}
    assert [file["path"] for file in told["files"]] == sorted(FILES)
    assert info(commit=told["commit"]) == {**info(commit=told["commit"]), "known": False}
    options = {"commit": told["commit"], "all_files": told["all_files"], "nodes": ["n0"], "state_dir": str(tmp_path)}
    plan = info(**options)
    assert plan == {**plan, "known": True, "complete": False, "missing_size": SIZE, "running": False}
    work = {"node": "n0", "commit": told["commit"], "files": plan["shares"]["n0"]}
    assert job("started", check_mode=True, **work)["changed"] is True
    assert job("started", check_mode=True, **{**work, "files": []})["changed"] is False
    assert not cache_dir.exists()
    assert snapshot(check_mode=True)["changed"] is True
    assert "2 missing, such as config.json. Fetch them first." in snapshot()["msg"]
    assert job("started", **work)["changed"] is True
    seen = progress("n0", wait=60)
    assert seen["nodes"]["n0"] == {**seen["nodes"]["n0"], "state": "done", "fetched": SIZE}
    done = job("finished")
    assert (done["changed"], done["fetched"]) == (False, SIZE)
    assert job("stopped")["changed"] is False
    left = cache_dir / "models--owner--model/blobs/0.incomplete"
    left.write_text("")
    shown = snapshot()
    assert shown["changed"] is True
    assert {path.name: path.read_bytes() for path in pathlib.Path(shown["folder"]).iterdir()} == FILES
    again = snapshot()
    assert (again["changed"], again["folder"], again["cleaned"]) == (False, shown["folder"], [])
    whole = info(commit=told["commit"])
    assert whole == {**whole, "known": True, "complete": True, "todo": [], "shares": {}}


def test_download_that_was_ended(download):
    assert "none: it was ended from outside" in download[3]("finished")["msg"]


def test_download_that_fails(download):
    _cache, told, _info, job, _snapshot, _progress = download
    file = {**told["files"][0], "state": "missing", "have": 0}
    assert job("started", node="n0", commit="0" * 40, files=[file])["changed"] is True
    done = job("finished")
    assert done["failed"] is True
    assert "0" * 40 in done["msg"]


def test_snapshot_on_storage_that_takes_nothing(download):
    cache_dir, _told, _info, _job, snapshot, _progress = download
    cache = hf_cache.Cache(str(cache_dir), REPO)
    pathlib.Path(cache.folder).mkdir(parents=True)
    pathlib.Path(cache.folder, "refs").write_text("a file")
    assert "expected storage that takes links and notes" in snapshot(exclude=["*"])["msg"]


def test_progress_of_one_that_does_not_tell(download):
    cache_dir, _told, _info, _job, _snapshot, progress = download
    path = pathlib.Path(hf_cache.Cache(str(cache_dir), REPO).progress("n1"))
    path.parent.mkdir(parents=True)
    path.write_text('{"state": "run')
    assert progress("n0", "n1")["nodes"] == {}


def test_a_repository_that_is_not_there(run_module, hub):
    assert "expected" in run_module(hf_model_info, repo="owner/nothing", endpoint=hub.url)["msg"]


@pytest.mark.parametrize(
    ("name", "library", "params"),
    [
        ("hf_model_info", "huggingface_hub", {"repo": REPO}),
        ("openai_query", "openai", {}),
        ("serving_plan", "huggingface_hub", {"repo": REPO, "nodes": []}),
    ],
)
def test_a_library_that_is_missing(run_module_apart, name, library, params):
    """Is named, with the Python that lacks it."""
    told, _said = run_module_apart(name, before=NO_LIBRARY % library, **params)
    assert "Failed to import the required Python library (%s)" % library in told["msg"]


# What a model is, and whether it fits

NODES = [{"name": "node0", "gpus": 8, "memory_mib": 81559}]


def test_plan(run_module, hub):
    """The same from a folder and from a hub."""
    folder = DATA / "configs/Llama-3.1-70B-Instruct"
    hub.put(REPO, {"config.json": (folder / "config.json").read_bytes()})
    plan = run_module(serving_plan, folder=str(folder), nodes=NODES)
    assert plan["changed"] is False
    assert plan["chosen"]["tensor_parallel_size"] * plan["chosen"]["pipeline_parallel_size"] <= 8
    assert any("327680 B per token" in line for line in plan["report"])
    again = run_module(serving_plan, repo=REPO, endpoint=hub.url, nodes=NODES)
    assert (again["chosen"], again["report"]) == (plan["chosen"], plan["report"])


def test_plan_of_nothing(run_module, tmp_path):
    assert "No such file" in run_module(serving_plan, folder=str(tmp_path / "none"), nodes=NODES)["msg"]


def test_model_folder(run_module, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    assert "expected" in run_module(model_folder_info, path=str(folder))["msg"]
    header = json.dumps({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_text("{}")
    told = run_module(model_folder_info, path=str(folder))
    assert told == {**told, "changed": False, "folder": str(folder), "weights": 1}


# Ray's state, and the endpoint

NODE00 = {"name": "node00", "address": "198.18.0.10", "gpus": 1}
NODE01 = {"name": "node01", "address": "198.18.0.11", "gpus": 1}
NODE02 = {"name": "node02", "address": "198.18.0.12", "gpus": 1}


@pytest.fixture
def dashboard(capture, replay):
    answers = capture("ray/serving.json")
    return replay(
        {VIEWS[name]: (200, "application/json", json.dumps(answer).encode()) for name, answer in answers.items()}
    )


def test_ray(run_module, dashboard, tmp_path):
    token = tmp_path / "token"
    token.write_text("good\n")
    told = run_module(ray_cluster_info, url=dashboard.url, token_file=str(token))
    assert (told["cluster"]["nodes_alive"], "missing" in told) == (2, False)
    assert {request["headers"]["Authorization"] for request in dashboard.requests} == {"Bearer good"}
    told = run_module(ray_cluster_info, url=dashboard.url, expected=[NODE00, NODE01])
    assert (told["changed"], told["missing"]) == (False, [])
    told = run_module(ray_cluster_info, url=dashboard.url, expected=[NODE00, NODE01, NODE02])
    assert told["failed"] is True
    assert "expected 3 Ray nodes with 3 GPUs, found 2 with 2 after 0 s: node02 (198.18.0.12)" in told["msg"]


def test_ray_that_cannot_be_asked(run_module, nobody, tmp_path):
    assert "refused" in run_module(ray_cluster_info, url=nobody)["msg"]
    told = run_module(ray_cluster_info, url=nobody, token_file=str(tmp_path / "none"))
    assert "Ray's token cannot be read" in told["msg"]


MODELS = {"object": "list", "data": [{"id": "smol", "object": "model", "created": 1, "owned_by": "vllm"}]}
QUESTION = "Where was the 2020 World Series played?"


@pytest.fixture
def query(run_module, replay, capture):
    """Asks an endpoint that answers what vLLM answered in the lab, or with another status."""

    def ask(status=200, stream=False, **params):
        kind, body = "application/json", json.dumps(capture("openai/chat_completion.json"))
        if stream:
            kind, body = "text/event-stream", capture("openai/chat_stream.sse")
        endpoint = replay(
            {
                "/v1/models": (status, "application/json", json.dumps(MODELS).encode()),
                "/v1/chat/completions": (200, kind, body.encode()),
            }
        )
        told = run_module(openai_query, base_url=endpoint.url + "/v1", stream=stream, **params)
        return told, endpoint.requests

    return ask


def test_a_unix_socket(query, tmp_path):
    """Nobody listens there, though somebody does at the address."""
    told, requests = query(unix_socket=str(tmp_path / "none.sock"))
    assert told["failed"]
    assert "No such file" in told["msg"]
    assert requests == []


def test_models(query):
    told, requests = query()
    assert (told["changed"], told["models"], "answer" in told) == (False, ["smol"], False)
    assert requests[0]["headers"]["Authorization"] == "Bearer none"


@pytest.mark.parametrize("stream", [False, True])
def test_question(query, tmp_path, stream):
    key = tmp_path / "key"
    key.write_text("sk-good-good-good\n")
    told, requests = query(
        stream=stream, question=QUESTION, seed=7, expect="(?i)world series", api_key_file=str(key), max_tokens=25
    )
    assert (told["model"], "World Series" in told["answer"]) == ("smol", True)
    assert told["usage"]["completion_tokens"] == (12 if stream else 25)
    asked = json.loads(requests[1]["body"])
    assert (asked["seed"], asked["messages"]) == (7, [{"role": "user", "content": QUESTION}])
    assert {request["headers"]["Authorization"] for request in requests} == {"Bearer sk-good-good-good"}


@pytest.mark.parametrize(
    ("status", "params", "text"),
    [
        pytest.param(
            200, {"question": QUESTION, "expect": "Paris"}, "expected an answer that fits 'Paris'", id="other"
        ),
        pytest.param(200, {"question": QUESTION, "model": "big"}, "expected the model big, found smol", id="model"),
        pytest.param(200, {"expect": "Paris"}, "give a question or messages as well", id="no-question"),
        pytest.param(200, {"question": QUESTION, "expect": "("}, "expect is not a regular expression", id="pattern"),
        pytest.param(200, {"api_key_file": "/nowhere/key"}, "The API key cannot be read", id="key"),
        pytest.param(401, {}, "found another answer (Error code: 401", id="refused"),
        pytest.param(503, {}, "expected an answer within 0 s", id="starting"),
        pytest.param(503, {"waited": 900}, "expected an answer within 900 s", id="starting-for-long"),
    ],
)
def test_answers_that_will_not_do(query, status, params, text):
    told, _requests = query(status, **params)
    assert told["failed"] is True
    assert text in told["msg"]


def test_an_engine_that_keeps_failing_is_not_waited_for(run_module, replay, nobody):
    status = {"phase": "waiting", "for_s": 1, "failed_starts": 3, "failures": [{"reason": "it ended with status 1"}]}
    watched = replay({"/status": (200, "application/json", json.dumps(status).encode())})
    told = run_module(openai_query, base_url=nobody + "/v1", wait_timeout=600, watch_url=watched.url + "/status")
    assert "expected a service that keeps running, found 3 starts that failed: it ended with status 1" in told["msg"]


# After a failure


def test_evidence(run_module, monkeypatch, tmp_path):
    """Where none of the commands is there, the files of the node are still told; secrets are not."""
    monkeypatch.setenv("PATH", str(tmp_path))
    state = tmp_path / "state"
    (state / "download").mkdir(parents=True)
    (state / "download/log").write_text("token is hunter2-hunter2\n")
    told = run_module(evidence_collect, name="node00", state_dir=str(state), secrets=["hunter2-hunter2"])
    folder = pathlib.Path(told["folder"])
    try:
        assert (told["changed"], told["timed_out"]) == (False, [])
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert told["size"] == pathlib.Path(told["archive"]).stat().st_size
        with tarfile.open(told["archive"]) as archive:
            names = archive.getnames()
            log = archive.extractfile("download/log").read().decode()
        assert evidence.STATE in names
        assert "hunter2" not in log
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def fetched(tmp_path):
    """What two nodes have told, one of them the log of a model that nobody may read."""
    for name, files in {
        "node00": {evidence.ENGINE_LOG: (DATA / "logs/12_gated.log").read_text(), evidence.STATE: "{}"},
        "node01": {evidence.STATE: "{}"},
    }.items():
        with tarfile.open(tmp_path / (name + ".tar.gz"), "w:gz") as archive:
            for path, text in files.items():
                evidence.add_text(archive, path, text)
    return tmp_path


def test_diagnosis(run_module, fetched, tmp_path):
    answers = {"node02": {"unreachable": True, "msg": "no route"}, "node03": {"msg": "sudo wants a password"}}
    options = {
        "folder": str(fetched),
        "nodes": ["node00", "node01", "node02", "node03"],
        "answers": answers,
        "archive_dir": str(tmp_path),
    }
    foreseen = run_module(diagnosis, check_mode=True, **options)
    assert (foreseen["changed"], foreseen["archive"]) == (False, "")
    told = run_module(diagnosis, **options)
    assert told["changed"] is True
    assert (told["first"]["id"], told["first"]["node"]) == (foreseen["first"]["id"], foreseen["first"]["node"])
    assert "node03: nothing could be collected: sudo wants a password" in told["notes"]
    top = pathlib.Path(told["archive"]).name.partition(".")[0]
    with tarfile.open(told["archive"]) as archive:
        names = archive.getnames()
        report = json.load(archive.extractfile(top + "/report.json"))
    assert {"report.json", "report.txt", "node00/" + evidence.ENGINE_LOG} <= {name[len(top) + 1 :] for name in names}
    assert report["first"] == told["first"]
    nowhere = run_module(diagnosis, **{**options, "archive_dir": str(tmp_path / "none")})
    assert (nowhere["changed"], nowhere["first"]) == (False, told["first"])
    assert "Set diagnose_dir to another folder" in nowhere["notes"][-1]


def test_diagnosis_of_what_is_no_archive(run_module, tmp_path):
    (tmp_path / "node00.tar.gz").write_text("nothing")
    assert "an archive of evidence" in run_module(diagnosis, folder=str(tmp_path), nodes=["node00"])["msg"]


# The start of an engine


def test_engine_progress(replay, run_module, nobody):
    told = {"ready": False, "phase": "starting", "reason": "x", "for_s": 1, "failed_starts": 0, "failures": []}
    for changes, words, over in [({}, "x", False), ({"ready": True, "reason": ""}, "completions are answered", True)]:
        body = json.dumps({**told, **changes}).encode()
        url = replay({"/status": (200, "application/json", body)}).url + "/status"
        seen = run_module(engine_progress, url=url, wait=30 if over else 0.6)
        assert (seen["words"], seen["over"], seen["timeout"]) == (words, over, 3600)
        assert (seen["waited_s"] >= 0.6) == (not over)
    seen = run_module(engine_progress, url=nobody)
    assert (seen["words"], seen["over"]) == ("", False)


# The work on an image


@pytest.mark.parametrize(
    ("written", "over"),
    [
        (None, False),
        ("", False),
        # As async_wrapper.py of ansible-core 2.19 writes them.
        ('{"started": true, "finished": false, "ansible_job_id": "j688368066015.2921"}', False),
        ('{"changed": true, "actions": ["Built image onecc/vllm:73432e84e15d from /var/lib/onecc/image"]}', True),
        ('{"failed": true, "msg": "Error building onecc/vllm - code: 1"}', True),
    ],
)
def test_image_progress_ends_with_the_task(run_module, tmp_path, written, over):
    """In time, if it ends while it is watched."""
    job = tmp_path / "j1.2"
    if written is not None:
        job.write_text(written)
    seen = run_module(image_progress, job=str(job), doing="installing", path=str(tmp_path), wait=30 if over else 0.5)
    assert (seen["over"], seen["total"], seen["timeout"], seen["limit"]) == (over, 0, 3600, 86400)
    assert seen["went"] == pytest.approx(shutil.disk_usage(tmp_path).used, rel=0.05)
    assert (seen["waited_s"] >= 0.5) == (not over)


def test_image_progress_of_an_archive(run_module, tmp_path, monkeypatch):
    """One that is written is as large as it is; one that is read, as far as its reader has come."""
    archive, tools = tmp_path / "image.tar", tmp_path / "bin"
    tools.mkdir()
    docker = tools / "docker"
    docker.write_text('#!/bin/sh\ntest "$5" = smol && echo 1000 || { echo "No such image: $5" >&2; exit 1; }\n')
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", "%s:%s" % (tools, os.environ["PATH"]))
    words = {"job": str(tmp_path / "job"), "path": str(archive)}
    for image, total in [("smol", 1000), ("other", 0), ("", 0)]:
        seen = run_module(image_progress, doing="saving", image=image, **words)
        assert (seen["went"], seen["total"]) == (0, total)
    archive.write_bytes(bytes(600))
    assert run_module(image_progress, doing="saving", image="smol", **words)["went"] == 600
    seen = run_module(image_progress, doing="loading", **words)
    assert (seen["went"], seen["total"]) == (0, 600)
    with archive.open("rb", buffering=0) as reader:
        reader.read(250)
        assert run_module(image_progress, doing="loading", **words)["went"] == 250


def test_image_progress_of_what_is_in_use(run_module, tmp_path, monkeypatch):
    """Of each file system once, and of those that are there."""
    words = {"job": str(tmp_path / "job"), "doing": "pulling"}
    monkeypatch.setattr(image_progress, "CONTAINERD", str(tmp_path / "none"))
    assert run_module(image_progress, path=str(tmp_path / "none"), **words)["went"] == 0
    used = shutil.disk_usage(tmp_path).used
    for engine, containerd in [(tmp_path, "none"), (tmp_path, ""), (tmp_path / "none", "")]:
        monkeypatch.setattr(image_progress, "CONTAINERD", str(tmp_path / containerd))
        assert run_module(image_progress, path=str(engine), **words)["went"] == pytest.approx(used, rel=0.05)
