# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody can do who has no business here: on the network, on a node, and with a key."""

import base64
import concurrent.futures
import contextlib
import json
import secrets
import tarfile
import threading
import time

import openai
import pytest
import requests

import hostile
from lab import ROOT
from outsider import HERE, handshakes, run_in_image, run_on_node, run_outside

NODES = {"node00": "198.18.0.10", "node01": "198.18.0.11"}
SECRETS = "/var/lib/onecc/secrets"
OPEN = {"198.18.0.10": [22, 8000], "198.18.0.11": [22]}
# What a container that joins another cluster is told, and what Ray says to it.
REFUSALS = ("authentic", "token", "unauthorized")


def write(name, value):
    (ROOT / "build" / name).write_text(json.dumps(value, indent=2) + "\n")


@pytest.fixture(scope="module", autouse=True)
def deployed(lab):
    play = lab.play("deploy")
    assert play.rc == 0, play.why


@contextlib.contextmanager
def asking(lab):
    """Asks all the time; gives the number of answers, and fails if there was anything else."""
    answers, errors, stop = [], [], threading.Event()

    def ask():
        while not stop.is_set():
            try:
                answers.append(lab.ask().choices[0].finish_reason)
            except openai.OpenAIError as error:
                errors.append(repr(error))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answers
    finally:
        stop.set()
        thread.join()
    assert errors == []
    assert answers
    assert set(answers) <= {"stop", "length"}


def test_ports_that_an_outsider_can_reach(lab):
    program = (HERE / "scan.py").read_text()
    seen = json.loads(run_outside(program, "1", "65535", *OPEN))
    # From a node the same program sees what is closed to others.
    peer = {}
    for port in ("6379", "8002"):
        peer[port] = json.loads(run_on_node(lab, "node01", program, port, port, "198.18.0.10"))["198.18.0.10"]
    write("security-scan.json", {"scanned": "TCP 1-65535", "outsider": seen, "from node01": peer})
    assert peer == {"6379": [6379], "8002": [8002]}
    assert seen == OPEN


# Posts a job that would leave a file; prints the status of each address, or the kind of error.
POST = """
import concurrent.futures, json, sys, urllib.error, urllib.request
def post(url):
    body = json.dumps({"entrypoint": "touch /tmp/" + sys.argv[1]}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        return urllib.request.urlopen(request, timeout=5).status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError as error:
        return 0
with concurrent.futures.ThreadPoolExecutor() as pool:
    print(json.dumps(dict(zip(sys.argv[2:], pool.map(post, sys.argv[2:])))))
"""


def places(lab, marker):
    """Where a job has left its file: /tmp of the containers is below the state folder."""
    return [lab.on(node, "find /tmp /var/lib/onecc/tmp -name %s" % marker) for node in lab.nodes]


def test_jobs_without_a_token(lab):
    marker = "onecc-job-%s" % secrets.token_hex(8)
    urls = [
        "http://%s:%d%s" % (address, port, path)
        for address in NODES.values()
        for port in (8265, 52365)
        for path in ("/api/jobs/", "/api/job_agent/jobs/")
    ]
    assert set(json.loads(run_outside(POST, marker, *urls)).values()) == {0}
    peer = json.loads(run_on_node(lab, "node01", POST, marker, *urls))
    assert not [url for url, status in peer.items() if 200 <= status < 300], peer
    assert {status for url, status in peer.items() if ":8265/" in url} == {0}
    # That something was asked at all: loopback of the head, where the dashboard listens, says who may not.
    local = json.loads(run_on_node(lab, "node00", POST, marker, "http://127.0.0.1:8265/api/jobs/"))
    assert set(local.values()) <= {401, 403}, local
    assert places(lab, marker) == ["", ""]


DRIVERS = ["198.18.0.10:6379", "ray://198.18.0.10:10001"]
TOKENS = [None, "wrong"]


def drive(lab, address):
    """A driver without a token: how it ended, what it said, and where its task has left a file."""
    marker = "onecc-driver-%s" % secrets.token_hex(8)
    program = (
        "import pathlib, ray\nray.init(address='%s')\n"
        "ray.get(ray.remote(lambda: pathlib.Path('/tmp/%s').touch()).remote())\nprint('it ran')" % (address, marker)
    )
    name = "try-driver-%d" % DRIVERS.index(address)
    told = run_in_image(lab, "node01", name, ["python3", "-c", program], {"RAY_AUTH_MODE": "disabled"}, 180)
    return (*told, places(lab, marker))


def join(lab, token):
    """A worker with another token than the cluster's: how it ended, what it said, and after how many seconds."""
    argv = ["ray", "start", "--address=198.18.0.10:6379", "--temp-dir=/root/try", "--num-gpus=1", "--block"]
    env = {"RAY_AUTH_MODE": "token", **({"RAY_AUTH_TOKEN": token} if token else {})}
    start = time.monotonic()
    told = run_in_image(lab, "node01", "try-worker", argv, env, 90)
    return (*told, time.monotonic() - start)


@pytest.fixture(scope="module")
def strangers(lab):
    """What came of all who have no token: mostly they wait, and do so side by side, while the service goes on."""
    with asking(lab), concurrent.futures.ThreadPoolExecutor() as pool:
        drivers = pool.map(lambda address: drive(lab, address), DRIVERS)
        workers = pool.submit(lambda: [join(lab, token) for token in TOKENS])
        return {**dict(zip(DRIVERS, drivers, strict=True)), **dict(zip(TOKENS, workers.result(), strict=True))}


@pytest.mark.parametrize("address", DRIVERS)
def test_a_driver_without_a_token(strangers, address):
    status, text, left = strangers[address]
    assert status != 0, text
    assert "it ran" not in text
    assert left == ["", ""]


def expect_refused(lab, status, text, seconds):
    assert status != 0, text
    assert seconds < 60, text
    assert any(word in text.lower() for word in REFUSALS), text
    assert lab.ray_status().count("\n 1 node_") == 2


@pytest.mark.parametrize("token", TOKENS, ids=["none", "wrong"])
def test_a_worker_with_another_token(lab, strangers, token):
    expect_refused(lab, *strangers[token])


def test_rotation(lab):
    """New secrets for everything; the old ones are worth nothing."""
    key, token = lab.key(), lab.on("node01", "cat %s/ray/token" % SECRETS).strip()
    play = lab.play("rotate")
    assert play.rc == 0, play.why
    assert lab.key() != key
    assert "API key, shown this once: %s\n" % lab.key() in play.text
    tokens = {lab.on(node, "cat %s/ray/token" % SECRETS).strip() for node in lab.nodes}
    assert len(tokens) == 1
    assert token not in tokens
    headers = {"Authorization": "Bearer %s" % key}
    assert requests.get("%s/models" % lab.endpoint, headers=headers, timeout=10).status_code == 401
    assert lab.ask().choices[0].finish_reason == "stop"
    with asking(lab):
        told = join(lab, token)
    expect_refused(lab, *told)


# Prints for each port of an address, without and with the certificate of the node it runs on, what the handshake says.
# In TLS 1.3 the server's refusal comes with the first read. HTTP/2 servers speak first.
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_denied_paths_with_a_key(lab, method):
    told = {
        path: hostile.exchange(hostile.request(method, path, b"{}" if method == "POST" else b"", key=lab.key()))
        for path in hostile.DENIED
    }
    assert {path: status for path, status in told.items() if status not in (400, 403, 404, 405)} == {}
    assert hostile.exchange(hostile.request("GET", "/v1/models", key=lab.key())) == 200


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer none"}, {"Authorization": "Basic Og=="}])
def test_models_without_a_key(lab, headers):
    assert requests.get("%s/models" % lab.endpoint, headers=headers, timeout=10).status_code == 401


@pytest.mark.parametrize(("user", "allowed"), [("root", True), ("www-data", True), ("nobody", False)])
def test_the_engine_itself_is_for_root_and_nginx(lab, user, allowed):
    """It asks nobody for a key."""
    ask = 'import socket; socket.socket(socket.AF_UNIX).connect(\\"/run/onecc-engine/vllm.sock\\")'
    command = 'setpriv --reuid=%s --clear-groups python3 -c "%s" 2>&1 && echo connected' % (user, ask)
    answer = lab.on("node00", command, check=False)
    assert ("connected" in answer) is allowed, answer
    assert ("Permission denied" in answer) is not allowed, answer


def memory(lab):
    """Resident bytes of what an attacker can reach: nginx and vLLM's API server."""
    total = {"nginx": 0, "vllm": 0}
    for line in lab.on("node00", "ps -eo rss=,args=").splitlines():
        rss, args = line.split(None, 1)
        if args.startswith("nginx:"):
            total["nginx"] += int(rss)
        elif "vllm serve" in args or "APIServer" in args or "API server" in args:
            total["vllm"] += int(rss)
    assert all(total.values()), total
    return sum(total.values())


def test_hostile_requests(lab):
    kinds = hostile.kinds(lab.key())
    # What is made once and kept is no growth.
    for _name, data, how in kinds:
        hostile.exchange(data, **how)
    before = memory(lab)
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        sent = [(name, pool.submit(hostile.exchange, data, **how)) for _again in range(10) for name, data, how in kinds]
        told = [(name, future.result()) for name, future in sent]
    seconds = time.monotonic() - start
    assert len(told) == 200
    assert seconds < 240
    # Slow ones are good ones, only late; an unknown model is what is wrong with their body.
    late = ("slow headers", "slow body")
    accepted = {(name, status) for name, status in told if 200 <= status < 300 and name not in late}
    assert accepted <= {("lone surrogate", 200)}, accepted
    assert not [(name, status) for name, status in told if status in (500, 502, 504)]
    assert lab.ask().choices[0].finish_reason == "stop"
    after = memory(lab)
    lab.note("hostile_requests", {"seconds": round(seconds), "rss_kib": [before, after]})
    assert after < 1.1 * before


def test_least_privilege(lab):
    for node in lab.nodes:
        listed = json.loads(lab.on(node, "docker inspect $(docker ps --all --quiet --filter name=^onecc-)"))
        assert "onecc-ray" in [entry["Name"].strip("/") for entry in listed]
        for entry in listed:
            host, name = entry["HostConfig"], entry["Name"]
            assert not host["Privileged"], name
            assert any(option.startswith("no-new-privileges") for option in host["SecurityOpt"] or []), name
            assert host["CapDrop"] == ["ALL"], name
            assert not [mount for mount in entry["Mounts"] if "docker.sock" in mount["Source"]], name
            writable = [mount["Source"] for mount in entry["Mounts"] if mount["RW"]]
            assert not [path for path in writable if path.startswith(("/home/ubuntu/shared", SECRETS))], name
        files = lab.on(node, 'find %s -type f -printf "%%m %%U %%p\\n"' % SECRETS).splitlines()
        assert files
        assert not [line for line in files if not line.startswith("600 0 ")]


def others(lab, node):
    """The rules of everybody else, without counters."""
    tables = lab.on(node, "nft --stateless list tables").splitlines()
    lists = [lab.on(node, "nft --stateless list %s" % table) for table in tables if table != "table inet onecc"]
    return tables, lists, lab.on(node, 'iptables-save | grep -v "^#" | sed "s/\\[[0-9:]*\\]//"')


def test_the_firewall_leaves_others_alone(lab):
    before = {node: others(lab, node) for node in lab.nodes}
    for enabled in (False, True):
        play = lab.play("deploy", firewall_enabled=enabled)
        assert play.rc == 0, play.why
        for node in lab.nodes:
            tables, lists, saved = others(lab, node)
            assert ("table inet onecc" in tables) is enabled
            assert (lists, saved) == before[node][1:]
            unit = lab.on(node, "systemctl is-active onecc-firewall", check=False).strip()
            assert (unit == "active") is enabled
        assert lab.ask_until(240).choices[0].finish_reason == "stop"


# Secrets that can be told from all else.
MARKERS = {name: "oneccmarker%s%s" % (name, secrets.token_hex(12)) for name in ("key", "ray")}
MARKERS["hub"] = "hf_oneccmarker%s" % secrets.token_hex(12)
# The last deployment here: with everything that keeps a secret. The one after it, of other tests, takes TLS back.
SECRETIVE = {
    "model_download_token": MARKERS["hub"],
    "endpoint_api_key": MARKERS["key"],
    "cluster_ray_token": MARKERS["ray"],
    "cluster_ray_tls": True,
}


@pytest.fixture(scope="module")
def secretive(lab):
    play = lab.play("deploy", "-vvv", "--diff", **SECRETIVE)
    assert play.rc == 0, play.why
    return play


@pytest.mark.usefixtures("secretive")
def test_ray_with_tls(lab):
    """Nobody without a certificate of the cluster gets a word out of Ray."""
    assert lab.ask().choices[0].finish_reason == "stop"
    assert lab.ray_status().count("\n 1 node_") == 2
    told = handshakes(lab)
    write("security-tls.json", told)
    assert {case for case, what in told.items() if what == "answered"} == {"6379 with", "6380 with"}, told
    # The CA's key is on the head, and in no folder that a container sees.
    where = [lab.on(node, "find %s -name ca.key" % SECRETS).split() for node in lab.nodes]
    assert where == [["%s/ray-tls/ca.key" % SECRETS], []]
    assert len({lab.on(node, "cat %s/ray/tls.key" % SECRETS) for node in lab.nodes}) == 2
    again = lab.play("deploy", **SECRETIVE)
    assert again.rc == 0, again.why
    assert again.changed() == {}


def test_secrets_are_nowhere_else(lab, secretive, tmp_path):
    diagnosis = lab.play("diagnose", diagnose_dir=str(tmp_path))
    assert diagnosis.rc == 0, diagnosis.why
    texts = {"output of deploy": secretive.text.encode(), "output of diagnose": diagnosis.text.encode()}
    with tarfile.open(diagnosis.result("onecc.vllm.diagnosis")["archive"]) as archive:
        texts |= {"archive: %s" % each.name: archive.extractfile(each).read() for each in archive if each.isfile()}
    assert len(texts) > 10
    found = {
        name: [place for place, text in texts.items() if value.encode() in text] for name, value in MARKERS.items()
    }
    coded = [base64.b64encode(value.encode()).decode() for value in MARKERS.values()]
    for node in lab.nodes:
        seen = json.loads(run_on_node(lab, node, (HERE / "hunt.py").read_text(), *coded, timeout=600))
        for name, value in MARKERS.items():
            found[name] += ["%s: %s" % (node, place) for place in seen[value]]
    write("security-hunt.json", found)
    # The hunt sees: each is found where it has to be.
    assert "node00: %s/api-key" % SECRETS in found["key"]
    assert {"%s: %s/ray/token" % (node, SECRETS) for node in lab.nodes} <= set(found["ray"])
    elsewhere = [place for held in found.values() for place in held if ": %s/" % SECRETS not in place]
    assert elsewhere == []
    for node in lab.nodes:
        assert not lab.on(node, "find %s -type f -not -perm 0600" % SECRETS)
