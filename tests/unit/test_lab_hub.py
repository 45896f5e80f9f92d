# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hub of the lab: accounts, rates, faults, its log, and Xet as the real client speaks it."""

from __future__ import annotations

import concurrent.futures
import hashlib
import http.client
import json
import os
import pathlib
import random
import subprocess
import sys
import threading
import time
import types
import urllib.parse

import pytest

SERVICES = pathlib.Path(__file__).resolve().parents[1] / "lab" / "services"
sys.path.insert(0, str(SERVICES))


import settings as lab_settings
import xet

import hub as lab_hub

OPEN, GATED, PRIVATE = "owner/open", "owner/gated", "owner/private"
# Tokens: of an account that may read everything, of one that may not, of none.
GOOD, OTHER, WRONG = "hf_good", "hf_other", "hf_wrong"
WEIGHTS = "model.safetensors"
FILES = {"config.json": b'{"model_type": "llama"}', WEIGHTS: random.Random(1).randbytes(3_000_000)}
MB = 1_000_000


@pytest.fixture
def hub(tmp_path, serve, monkeypatch):
    """A hub with an open, a gated and a private model, whose settings a test can change."""
    models, settings = tmp_path / "models", tmp_path / "control.json"
    for repo in (OPEN, GATED, PRIVATE):
        (models / repo).mkdir(parents=True)
        for path, content in FILES.items():
            (models / repo / path).write_bytes(content)
    (models / GATED / ".gated").write_text(GOOD)
    (models / PRIVATE / ".private").write_text(GOOD)
    (models / ".accounts").write_text(f"{GOOD}\n{OTHER}\n")
    monkeypatch.setattr(lab_settings, "LOOK", 0)
    lines = []
    attributes = {
        "models": models,
        "control": lab_settings.Control(settings),
        "pacer": lab_settings.Pacer(),
        "write_log": staticmethod(lines.append),
    }
    url = serve(type("Handler", (lab_hub.Handler,), attributes))

    def tell(**values):
        settings.with_suffix(".new").write_text(json.dumps(values))
        settings.with_suffix(".new").replace(settings)

    def log(count=1, sent=0):
        """The log, when it has so many lines and bytes: a line comes a moment after the client has its answer."""
        end = time.monotonic() + 5
        while (len(lines) < count or sum(entry["sent"] for entry in lines) < sent) and time.monotonic() < end:
            time.sleep(0.005)
        return lines

    return types.SimpleNamespace(url=url, models=models, tell=tell, log=log)


def connect(hub, path, token=None, span=None, method="GET", client="127.0.0.1"):
    """Asks, and gives connection and response before the body is read."""
    address = urllib.parse.urlsplit(hub.url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=10, source_address=(client, 0))
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    connection.request(method, path, headers=headers | ({"Range": span} if span else {}))
    return connection, connection.getresponse()


def ask(*args, **kwargs):
    connection, response = connect(*args, **kwargs)
    body = response.read()
    connection.close()
    return types.SimpleNamespace(status=response.status, headers=response.headers, body=body)


def api(repo, view=""):
    return f"/api/models/{repo}{view}"


def resolve(repo, name=WEIGHTS):
    return f"/{repo}/resolve/main/{name}"


TOKEN_ROUTE = "/xet-read-token/main"
INVALID = (401, None, "Invalid credentials in Authorization header")
NOBODY = (401, None, "Invalid username or password.")
NO_REPO = (404, "RepoNotFound", "Repository not found")
GATE = "Access to model owner/gated is restricted."


@pytest.mark.parametrize(
    ("path", "token", "answer"),
    [
        pytest.param(api(OPEN), None, None, id="info-without-token"),
        pytest.param(api(OPEN), OTHER, None, id="info-with-an-account"),
        pytest.param(api(OPEN), WRONG, INVALID, id="info-with-no-account"),
        pytest.param(api(OPEN, "/tree/main"), WRONG, INVALID, id="tree-with-no-account"),
        pytest.param(api(OPEN, TOKEN_ROUTE), WRONG, INVALID, id="read-token-with-no-account"),
        pytest.param(resolve(OPEN), WRONG, INVALID, id="file-with-no-account"),
        pytest.param(api("owner/none"), WRONG, INVALID, id="no-repo-with-no-account"),
        pytest.param(api("owner/none"), None, NOBODY, id="no-repo-without-token"),
        pytest.param(api("owner/none"), GOOD, NO_REPO, id="no-repo-with-an-account"),
        pytest.param(api(PRIVATE), None, NOBODY, id="private-without-token"),
        pytest.param(api(PRIVATE), OTHER, NO_REPO, id="private-with-another-account"),
        pytest.param(api(PRIVATE), GOOD, None, id="private-with-its-account"),
        pytest.param(resolve(PRIVATE), None, NOBODY, id="private-file-without-token"),
        pytest.param(resolve(PRIVATE), OTHER, NO_REPO, id="private-file-with-another-account"),
        pytest.param(resolve(PRIVATE), GOOD, None, id="private-file-with-its-account"),
        pytest.param(api(PRIVATE, TOKEN_ROUTE), OTHER, NO_REPO, id="private-read-token-with-another-account"),
        pytest.param(api(PRIVATE, TOKEN_ROUTE), GOOD, None, id="private-read-token-with-its-account"),
        pytest.param(api(GATED), None, None, id="gated-info-without-token"),
        pytest.param(resolve(GATED), None, (401, "GatedRepo", GATE), id="gated-file-without-token"),
        pytest.param(resolve(GATED), OTHER, (403, "GatedRepo", GATE), id="gated-file-with-another-account"),
        pytest.param(resolve(GATED), GOOD, None, id="gated-file-with-its-account"),
        pytest.param(api(GATED, TOKEN_ROUTE), None, (401, "GatedRepo", GATE), id="gated-read-token-without-token"),
        pytest.param(api(GATED, TOKEN_ROUTE), OTHER, (403, "GatedRepo", GATE), id="gated-read-token-with-another"),
        pytest.param(api(GATED, TOKEN_ROUTE), GOOD, None, id="gated-read-token-with-its-account"),
    ],
)
def test_accounts(hub, path, token, answer):
    """An answer: None for what was asked, or status, error code and message."""
    found = ask(hub, path, token)
    if answer is None:
        assert found.status == 200
    else:
        assert (found.status, found.headers["X-Error-Code"], found.headers["X-Error-Message"]) == answer
        assert json.loads(found.body) == {"error": answer[2]}


def test_every_token_is_an_account_where_none_are_listed(hub):
    (hub.models / ".accounts").unlink()
    assert ask(hub, api(OPEN), WRONG).status == 200


def test_marks_are_not_among_the_files(hub):
    for repo in (GATED, PRIVATE):
        info = json.loads(ask(hub, api(repo), GOOD).body)
        assert [file["rfilename"] for file in info["siblings"]] == list(FILES)
        assert (bool(info["gated"]), info["private"]) == (repo == GATED, repo == PRIVATE)


@pytest.mark.parametrize(
    ("span", "status", "first", "last", "content_range"),
    [
        pytest.param(None, 200, 0, 2_999_999, None, id="whole"),
        pytest.param("bytes=0-0", 206, 0, 0, "bytes 0-0/3000000", id="first-byte"),
        pytest.param("bytes=65535-131072", 206, 65535, 131072, "bytes 65535-131072/3000000", id="middle"),
        pytest.param("bytes=2999990-", 206, 2_999_990, 2_999_999, "bytes 2999990-2999999/3000000", id="from"),
        pytest.param("bytes=2999990-9999999", 206, 2_999_990, 2_999_999, "bytes 2999990-2999999/3000000", id="beyond"),
        pytest.param("bytes=3000000-", 416, None, None, "bytes */3000000", id="outside"),
    ],
)
def test_ranges(hub, span, status, first, last, content_range):
    found = ask(hub, resolve(OPEN), span=span)
    assert (found.status, found.headers["Content-Range"]) == (status, content_range)
    if first is not None:
        assert found.body == FILES[WEIGHTS][first : last + 1]


def test_log(hub):
    ask(hub, resolve(OPEN), token=GOOD, span="bytes=10-19")
    ask(hub, resolve(OPEN), method="HEAD", client="127.0.0.2")
    whole, head = hub.log(count=2)
    assert 0 <= whole.pop("seconds") < 5
    assert whole == {
        "client": "127.0.0.1",
        "method": "GET",
        "path": resolve(OPEN),
        "range": "bytes=10-19",
        "status": 206,
        "sent": 10,
        "authorized": True,
    }
    assert (head["client"], head["method"], head["sent"], head["authorized"]) == ("127.0.0.2", "HEAD", 0, False)


def test_the_log_is_lines_of_json(capsys):
    lab_hub.Handler.write_log({"path": "/", "sent": 1})
    assert capsys.readouterr().out == '{"path": "/", "sent": 1}\n'


@pytest.mark.parametrize("faults", [{"rate": MB}, {"stall": True}], ids=["slow", "stalled"])
def test_log_of_a_client_that_breaks_off(hub, faults):
    hub.tell(**faults)
    connection, response = connect(hub, resolve(OPEN))
    response.close()
    connection.close()
    (entry,) = hub.log()
    assert entry["status"] == 200
    assert entry["sent"] < 3_000_000


def xorb_path(hub, repo=OPEN, token=None):
    """Asks for a reconstruction as hf_xet does, gives the address of the weights' only xorb."""
    given = ask(hub, api(repo, TOKEN_ROUTE), token).headers
    assert given["X-Xet-Cas-Url"] == hub.url
    assert int(given["X-Xet-Token-Expiration"]) > time.time()
    file = ask(hub, resolve(repo), token, method="HEAD").headers["X-Xet-Hash"]
    answer = json.loads(ask(hub, f"/v2/reconstructions/{file}", given["X-Xet-Access-Token"]).body)
    ((fetch,),) = answer["xorbs"].values()
    return fetch["url"].removeprefix(hub.url)


@pytest.mark.parametrize("over", ["http", "xet"])
def test_rate_of_each_client(hub, over):
    """Two clients at once, four connections each, 2 MB at 1 MB/s: 2 s, as if each were alone."""
    path = resolve(OPEN) if over == "http" else xorb_path(hub)
    hub.tell(rate=MB)

    def fetch(client, part):
        body = ask(hub, path, span=f"bytes={part * MB // 2}-{(part + 1) * MB // 2 - 1}", client=client).body
        return client, len(body), time.monotonic()

    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(fetch, client, part) for client in ("127.0.0.2", "127.0.0.3") for part in range(4)]
        done = [job.result() for job in jobs]
    for client in ("127.0.0.2", "127.0.0.3"):
        assert sum(count for who, count, _end in done if who == client) == 2 * MB
        ends = [end - start for who, _count, end in done if who == client]
        assert max(ends) == pytest.approx(2, rel=0.15)
        # They take turns.
        assert min(ends) > 1.5


def test_the_api_has_no_rate(hub):
    hub.tell(rate=1)
    assert ask(hub, api(OPEN)).status == 200


@pytest.mark.parametrize("status", [429, 503, 599])
def test_refuse(hub, status):
    paths = [api(OPEN), api(OPEN, "/tree/main"), api(OPEN, TOKEN_ROUTE), resolve(OPEN), resolve("owner/none")]
    hub.tell(refuse=status)
    assert [ask(hub, path).status for path in paths] == [status] * 5
    hub.tell()
    assert [ask(hub, path).status for path in paths] == [200, 200, 200, 200, 401]


def test_stall(hub):
    hub.tell(stall=True)
    connection, response = connect(hub, resolve(OPEN))
    got = threading.Event()
    bodies = []
    threading.Thread(target=lambda: (bodies.append(response.read()), got.set()), daemon=True).start()
    assert not got.wait(0.3)
    assert ask(hub, api(OPEN)).status == 200
    hub.tell(stall=False)
    assert got.wait(5)
    assert bodies == [FILES[WEIGHTS]]
    connection.close()


def test_flip(hub):
    hub.tell(flip=WEIGHTS)
    found, head = ask(hub, resolve(OPEN)), ask(hub, resolve(OPEN), method="HEAD")
    assert differences(found.body, FILES[WEIGHTS]) == [1_500_000]
    assert head.headers["ETag"] == found.headers["ETag"]
    assert ask(hub, resolve(OPEN, "config.json")).body == FILES["config.json"]
    hub.tell()
    again = ask(hub, resolve(OPEN))
    assert (again.body, again.headers["ETag"]) == (FILES[WEIGHTS], found.headers["ETag"])


def differences(one, other):
    assert len(one) == len(other)
    return [at for at, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]


def test_the_control_file(tmp_path, monkeypatch, capsys):
    """It may come late and go; what cannot be understood changes nothing."""
    monkeypatch.setattr(lab_settings, "LOOK", 0)
    path = tmp_path / "control.json"
    told = lab_settings.Control(path)
    assert told.settings() == lab_settings.Settings(rate=None, xet=True, refuse=None, stall=False, flip=None)
    path.write_text('{"rate": 5e6, "xet": false}')
    assert told.settings() == lab_settings.Settings(rate=5e6, xet=False)
    for number, text in enumerate(('{"rate": 5', '{"rtae": 5}', '{"rate": 0}', '{"rate": "5"}', "[]")):
        path.write_text(text + " " * number)
        assert told.settings() == lab_settings.Settings(rate=5e6, xet=False)
        assert str(path) in capsys.readouterr().err
    path.unlink()
    assert told.settings() == lab_settings.Settings()


def test_the_control_file_is_not_looked_at_for_each_piece(tmp_path):
    path = tmp_path / "control.json"
    told = lab_settings.Control(path)
    assert told.settings().rate is None
    path.write_text('{"rate": 5}')
    assert told.settings().rate is None


def test_a_file_is_hashed_once_for_all_who_ask(tmp_path, monkeypatch):
    read, reads = lab_hub.Digests.read, []

    def slow(path, size):
        reads.append(path)
        time.sleep(0.05)
        return read(path, size)

    monkeypatch.setattr(lab_hub.Digests, "read", staticmethod(slow))
    (tmp_path / "file").write_bytes(b"hello\n")
    digests = lab_hub.Digests()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: digests.of(tmp_path / "file", 6, 0), range(8)))
    # The first is what `git hash-object` says.
    assert found == {("ce013625030ba8dba906f756967f9e9ca394464a", hashlib.sha256(b"hello\n").hexdigest())}
    assert len(reads) == 1


def pattern(first, count):
    """Bytes of a file too large for memory: which they are follows from where they are."""
    return bytes((at ^ at >> 8 ^ at >> 16 ^ at >> 24) & 0xFF for at in range(first, first + count))


@pytest.mark.parametrize(
    ("size", "first", "last", "xorbs"),
    [
        pytest.param(1, 0, 0, 1, id="one-byte"),
        pytest.param(xet.CHUNK, 0, xet.CHUNK - 1, 1, id="one-chunk"),
        pytest.param(xet.CHUNK + 1, 0, xet.CHUNK, 1, id="one-chunk-and-a-byte"),
        pytest.param(10 * xet.CHUNK, 3 * xet.CHUNK + 5, 4 * xet.CHUNK, 1, id="inside"),
        pytest.param(3 * xet.XORB, xet.XORB - 7, xet.XORB + 7, 2, id="over-the-edge"),
        pytest.param(2 * xet.XORB, 2 * xet.XORB - 1, 2 * xet.XORB - 1, 1, id="last-byte"),
        pytest.param(2 * xet.XORB + 5, 2 * xet.XORB - 3, 2 * xet.XORB + 4, 2, id="short-last-xorb"),
    ],
)
def test_reconstruction(size, first, last, xorbs):
    """Put together by the protocol's rules, what a reconstruction names is the range that was asked for."""
    answer = xet.reconstruction("ab" * 32, size, first, last, lambda name: f"http://cas/{name}")
    assert len(answer["terms"]) == xorbs
    data = b""
    for term in answer["terms"]:
        (fetch,) = answer["xorbs"][term["hash"]]
        (part,) = fetch["ranges"]
        assert part["chunks"] == term["range"]
        assert fetch["url"] == "http://cas/" + term["hash"]
        xorb = xet.Xorb(size, int(term["hash"][56:], 16))
        assert xorb.size <= 64 << 20
        span = (part["bytes"]["start"], part["bytes"]["end"] - part["bytes"]["start"] + 1)
        chunks = unpack(xorb.read(pattern, *span))
        assert len(chunks) == term["range"]["end"] - term["range"]["start"]
        assert sum(map(len, chunks)) == term["unpacked_length"]
        data += b"".join(chunks)
    data = data[answer["offset_into_first_range"] :][: last - first + 1]
    assert data == pattern(first, last - first + 1)


def unpack(data):
    chunks = []
    while data:
        version, packed, scheme, length = data[0], data[1:4], data[4], data[5:8]
        assert (version, scheme, packed) == (0, 0, length)
        end = 8 + int.from_bytes(length, "little")
        chunks.append(data[8:end])
        data = data[end:]
    return chunks


def test_a_xorb_in_pieces():
    xorb = xet.Xorb(2 * xet.CHUNK + 100, 0)
    whole = xorb.read(pattern, 0, xorb.size)
    assert len(whole) == xorb.size == 2 * xet.CHUNK + 100 + 3 * xet.HEADER
    for step in (65536, 7001):
        assert b"".join(xorb.read(pattern, at, step) for at in range(0, xorb.size, step)) == whole


def test_who_may_read_over_xet(hub, monkeypatch):
    file = ask(hub, resolve(GATED), GOOD, method="HEAD").headers["X-Xet-Hash"]
    gated, plain = (ask(hub, api(repo, TOKEN_ROUTE), GOOD).headers["X-Xet-Access-Token"] for repo in (GATED, OPEN))
    assert ask(hub, f"/v2/reconstructions/{file}").status == 401
    assert ask(hub, f"/v2/reconstructions/{file}", GOOD).status == 401
    assert ask(hub, f"/v2/reconstructions/{file}", gated + "0").status == 401
    assert ask(hub, f"/v2/reconstructions/{file}", gated).status == 200
    assert ask(hub, f"/v2/reconstructions/{'0' * 64}", gated).status == 404
    assert ask(hub, f"/v2/reconstructions/{file}", gated, span="bytes=3000000-").status == 416
    assert ask(hub, f"/v1/reconstructions/{file}", gated).status == 404

    path = xorb_path(hub, GATED, GOOD)
    assert ask(hub, path, span="bytes=0-9").body == xet.header(xet.CHUNK) + FILES[WEIGHTS][:2]
    assert ask(hub, path).status == 403
    assert ask(hub, path.partition("?")[0], span="bytes=0-9").status == 403
    assert ask(hub, path.replace("gated", "private"), span="bytes=0-9").status == 403

    # The file is in the open model as well; what counts is the model that the token was given for.
    assert ask(hub, f"/v2/reconstructions/{file}", plain).status == 200
    monkeypatch.setattr(xet, "VALID", 0)
    late = ask(hub, api(OPEN, TOKEN_ROUTE)).headers["X-Xet-Access-Token"]
    assert ask(hub, f"/v2/reconstructions/{file}", late).status == 401


DOWNLOAD = """
import os, huggingface_hub
print(huggingface_hub.snapshot_download(os.environ["REPO"], token=os.environ.get("TOKEN") or False))
"""
# Small, so that a reconstruction is asked for in ranges, as it is for files of hundreds of megabytes.
SMALL = {"HF_XET_RECONSTRUCTION_MIN_RECONSTRUCTION_FETCH_SIZE": "700kb"}
SMALL |= {"HF_XET_RECONSTRUCTION_MAX_RECONSTRUCTION_FETCH_SIZE": "800kb"}


@pytest.mark.parametrize(
    ("repo", "token", "settings", "environment", "over_xet", "flipped"),
    [
        pytest.param(OPEN, "", {}, {}, True, [], id="xet"),
        pytest.param(OPEN, "", {}, SMALL, True, [], id="xet-in-ranges"),
        pytest.param(GATED, GOOD, {}, {}, True, [], id="xet-gated"),
        pytest.param(OPEN, "", {"flip": WEIGHTS}, {}, True, [1_500_000], id="xet-flipped"),
        pytest.param(OPEN, "", {}, {"HF_HUB_DISABLE_XET": "1"}, False, [], id="client-without-xet"),
        pytest.param(OPEN, "", {"xet": False}, {}, False, [], id="hub-without-xet"),
    ],
)
def test_the_real_client(hub, tmp_path, repo, token, settings, environment, over_xet, flipped):
    hub.tell(**settings)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    known = {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": hub.url, "REPO": repo, "TOKEN": token}
    run = subprocess.run(
        [sys.executable, "-c", DOWNLOAD],
        env=inherited | known | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    snapshot = pathlib.Path(run.stdout.strip())
    assert (snapshot / "config.json").read_bytes() == FILES["config.json"]
    assert differences((snapshot / WEIGHTS).read_bytes(), FILES[WEIGHTS]) == flipped

    log = hub.log(sent=3_000_000)
    sent = {
        "resolve": sum(entry["sent"] for entry in log if entry["path"].endswith("/" + WEIGHTS)),
        "xorbs": sum(entry["sent"] for entry in log if entry["path"].startswith("/xorbs/")),
    }
    if over_xet:
        assert sent["resolve"] == 0
        assert sent["xorbs"] >= 3_000_000
    else:
        assert sent == {"resolve": 3_000_000, "xorbs": 0}
    ranges = [entry for entry in log if entry["path"].startswith("/v2/reconstructions/")]
    assert (len(ranges) > 1) == (environment == SMALL)
    assert all(entry["authorized"] for entry in ranges)


def test_the_package_index(hub, monkeypatch):
    (hub.models / "wheels").mkdir()
    (hub.models / "wheels/a-1-py3-none-any.whl").write_bytes(b"a wheel")
    # Its root is the working directory, unless it is told another.
    monkeypatch.chdir(hub.models)
    connection, response = connect(hub, "/wheels/")
    assert (response.status, b'href="a-1-py3-none-any.whl"' in response.read()) == (200, True)
    connection.close()
    connection, response = connect(hub, "/wheels/a-1-py3-none-any.whl")
    assert (response.status, response.read()) == (200, b"a wheel")
    connection.close()
