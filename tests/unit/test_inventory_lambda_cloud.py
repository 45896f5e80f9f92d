# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lambda's instances as inventory: what ansible-inventory makes of answers that a server on this host replays."""

from __future__ import annotations

import http.server
import json

import pytest

from ansible_collections.onecc.vllm.plugins.inventory import lambda_cloud

KEY = "secret_onecc_0123456789"
# In data/lambda: what logs one into JupyterLab on an instance.
JUPYTER = "03b7d30d9d3e4d8fa41657bc0d478c1b"
NODES = ["us-east-2-1cc-node-%d" % number for number in (1, 2, 10)]
DEMAND = ["My-Instance", "pair-11111111", "pair-55555555"]


@pytest.fixture
def api(replay, monkeypatch, capture):
    """The API with one answer: a captured one by its name, or a text."""

    def start(body, status=200, query=""):
        if body.endswith(".json"):
            body = json.dumps(capture("lambda/" + body))
        server = replay({"/api/v1/instances" + query: (status, "application/json", body.encode())})
        monkeypatch.setenv("LAMBDA_API_URL", server.url + "/api/v1/")
        monkeypatch.setenv("LAMBDA_API_KEY", KEY)
        return server

    return start


@pytest.fixture
def write(tmp_path, ansible_inventory):
    """Writes an inventory file, once the environment of the caller is out of the way."""

    def start(options, name="1cc.yml"):
        (tmp_path / name).write_text("plugin: onecc.vllm.lambda_cloud\n" + options)
        return tmp_path / name

    return start


def test_one_request_with_the_key(ansible_inventory, write, api, monkeypatch):
    """The key is in the request's header and in nothing that Ansible says, however much it is asked to say."""
    path = write("")
    server = api("cluster.json")
    monkeypatch.setenv("ANSIBLE_VERBOSITY", "5")
    done = ansible_inventory(path)
    (request,) = server.requests
    assert request["headers"]["Authorization"] == "Bearer " + KEY
    assert done.returncode == 0, done.stderr
    assert KEY not in done.stdout + done.stderr
    assert JUPYTER not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("answer", "options", "groups"),
    [
        ("cluster.json", "", {"head": NODES[:1], "workers": NODES[1:]}),
        ("cluster.json", "head: '*-2'", {"head": [NODES[1]], "workers": [NODES[0], NODES[2]]}),
        ("cluster.json", "hosts: ['!*-2', '*node*']", {"head": NODES[:1], "workers": NODES[2:]}),
        ("cluster.json", "hosts: ['*-head-1']\nmin_gpus: 0", {"head": ["us-east-2-1cc-head-1"]}),
        (
            "cluster.json",
            "hosts: ['*-[12]']\nhead_group: a\nworker_group: b\nkeyed_groups: [{key: lambda_cloud.tags.team}]\n"
            "groups: {many: lambda_cloud.gpus >= 8}",
            {"a": NODES[:1], "b": [NODES[1]], "_serving": NODES[:2], "many": NODES[:2]},
        ),
        ("instances.json", "", {"head": ["192-0-2-23"], "workers": [DEMAND[0], "elsewhere", *DEMAND[1:]]}),
        ("instances.json", "regions: [us-east-2]", {"head": ["elsewhere"]}),
        ("instances.json", "regions: [us-west-1]\nhosts: ['!192*']", {"head": DEMAND[:1], "workers": DEMAND[1:]}),
    ],
)
def test_groups(read_inventory, write, api, answer, options, groups):
    path = write(options)
    api(answer)
    shown = read_inventory(path)
    assert {name: group["hosts"] for name, group in shown.items() if "hosts" in group} == groups


@pytest.mark.parametrize(
    ("answer", "options", "host", "expected"),
    [
        ("instances.json", "", "elsewhere", {"ansible_host": "198.51.100.24"}),
        ("instances.json", "address: private", "elsewhere", {"ansible_host": "10.0.3.1"}),
        ("instances.json", "user: me", "elsewhere", {"ansible_user": "me", "cluster_shared_dir": None}),
        ("instances.json", "hosts: [pair-*]", "pair-11111111", {"cluster_shared_dir": "/lambda/nfs/my-filesystem"}),
        ("instances.json", "hosts: ['192*']", "192-0-2-23", {"cluster_shared_dir": None}),
        (
            "instances.json",
            "hosts: [pair-*]\ncompose: {cluster_shared_dir: cluster_shared_dir ~ '/models'}",
            "pair-11111111",
            {"cluster_shared_dir": "/lambda/nfs/my-filesystem/models"},
        ),
        (
            "instances.json",
            "hosts: [pair-*]\naddress: private\njump: pair-1*",
            "pair-11111111",
            {"ansible_host": "198.51.100.21", "ansible_ssh_common_args": None},
        ),
        (
            "instances.json",
            "hosts: [pair-*]\naddress: private\njump: pair-1*",
            "pair-55555555",
            {"ansible_host": "10.0.2.102", "ansible_ssh_common_args": "-o ProxyJump=ubuntu@198.51.100.21"},
        ),
        (
            "cluster.json",
            "",
            NODES[0],
            {
                "ansible_host": "10.0.1.1",
                "ansible_user": "ubuntu",
                "ansible_ssh_common_args": None,
                "cluster_shared_dir": "/lambda/nfs/shared",
            },
        ),
        (
            "cluster.json",
            "jump: '*-head-*'",
            NODES[0],
            {"ansible_host": "10.0.1.1", "ansible_ssh_common_args": "-o ProxyJump=ubuntu@198.51.100.1"},
        ),
        (
            "cluster.json",
            "",
            NODES[2],
            {
                "lambda_cloud": {
                    "id": "a" * 32,
                    "name": "us-east-2-1cc-node-10",
                    "hostname": None,
                    "ip": None,
                    "private_ip": "10.0.1.10",
                    "status": "active",
                    "region": "us-east-2",
                    "instance_type": "gpu_8x_h100_sxm5gdr",
                    "gpus": 8,
                    "file_system_names": ["shared"],
                    "mount_points": ["/lambda/nfs/shared"],
                    "ssh_key_names": ["my-key"],
                    "tags": {"team": "serving"},
                }
            },
        ),
    ],
)
def test_variables(read_inventory, write, api, answer, options, host, expected):
    path = write(options)
    api(answer)
    variables = read_inventory(path)["_meta"]["hostvars"][host]
    assert {name: variables.get(name) for name in expected} == expected


def test_group_vars_win(read_inventory, write, api, tmp_path):
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/all.yml").write_text("cluster_shared_dir: /other\nansible_user: me\n")
    path = write("")
    api("cluster.json")
    found = read_inventory(path)["_meta"]["hostvars"].values()
    assert {(one["cluster_shared_dir"], one["ansible_user"]) for one in found} == {("/other", "me")}


def test_one_cluster(read_inventory, write, api):
    """Of a 1-Click Cluster by its id the API is asked for that alone."""
    path = write("cluster_id: ddaedf1b7a0e41ac981711504493b242")
    server = api("cluster.json", query="?cluster_id=ddaedf1b7a0e41ac981711504493b242")
    assert read_inventory(path)["head"]["hosts"] == NODES[:1]
    assert len(server.requests) == 1


def test_cache(read_inventory, write, api, tmp_path):
    """The API is asked once; other options need no other answer; what is kept holds no secret."""
    folder = tmp_path / "kept"
    cache = "cache: true\ncache_plugin: ansible.builtin.jsonfile\ncache_connection: %s\n" % folder
    path = write(cache)
    server = api("cluster.json")
    first = read_inventory(path)
    assert read_inventory(path) == first
    assert read_inventory(write(cache + "head: '*-10'"))["head"]["hosts"] == NODES[2:]
    assert len(server.requests) == 1
    (file,) = folder.iterdir()
    assert NODES[0] in file.read_text()
    assert JUPYTER not in file.read_text()
    assert KEY not in file.read_text()


def test_sample(read_inventory, api, repository):
    """inventories/lambda_cloud.onecc.yml does what its comments say."""
    api("cluster.json")
    shown = read_inventory(repository / "inventories/lambda_cloud.onecc.yml")
    assert shown["head"]["hosts"] == NODES[:1]
    assert shown["workers"]["hosts"] == NODES[1:]
    variables = shown["_meta"]["hostvars"][NODES[0]]
    assert variables["cluster_shared_dir"] == "/lambda/nfs/shared"
    assert variables["vllm_serve_args"] == {"max-model-len": 32768}
    assert variables["ansible_ssh_retries"] == 3
    assert variables["ansible_ssh_common_args"] == "-o ProxyJump=ubuntu@198.51.100.1"


@pytest.mark.parametrize(
    ("status", "answer", "options", "expected"),
    [
        (
            401,
            "unauthorized.json",
            "",
            "/api/v1/instances: expected the list of instances, found status 401: API key was invalid, expired, or "
            "deleted. (global/invalid-api-key). Set LAMBDA_API_KEY to a key that is listed at",
        ),
        (403, "inactive.json", "", "status 403: Your account is inactive. (global/account-inactive). See whether"),
        (429, "<html>slow down</html>", "", "found status 429. The API allows one request per second: run it again"),
        (503, json.dumps({"error": {"code": "x", "message": KEY}}), "", "found status 503: *** (x). Check api_url"),
        (200, "<html>hello</html>", "", "expected JSON, found other text, 18 bytes. Check api_url"),
        (200, '{"instances": []}', "", "expected a list of instances in data, found an answer without 'data'."),
        (200, '{"data": [{"id": "a"}]}', "", "found an answer without 'file_system_names'."),
        (200, '{"data": ["a"]}', "", "expected a list of instances in data, found data of another form"),
        (200, "[]", "", "expected a list of instances in data, found data of another form"),
        (200, '{"data": []}', "", "found no instances at all. Change those options, or start instances."),
        (
            200,
            "instances.json",
            "hosts: [gpu*]",
            "expected instances that match hosts, regions, statuses and min_gpus, found 192-0-2-23 (active, us-west-1, "
            "8 GPUs), My-Instance (",
        ),
        (200, "cluster.json", "min_gpus: 16", "us-east-2-1cc-head-1 (active, us-east-2, 0 GPUs)"),
        (200, "cluster.json", "head: node00", "expected the head node00 among the hosts, found us-east-2-1cc-node-1,"),
        (200, "cluster.json", "jump: node00", "public address that matches jump, node00, found us-east-2-1cc-head-1,"),
        (
            200,
            "instances.json",
            "statuses: [booting]",
            "ddddddddeeeeeeeeffffffff00000000: expected a public address, found none. Wait until",
        ),
    ],
)
def test_errors(refuse_inventory, write, api, status, answer, options, expected):
    path = write(options)
    api(answer, status)
    said = refuse_inventory(path)
    assert expected in said
    assert KEY not in said


def test_redirect(refuse_inventory, write, serve, replay, monkeypatch):
    """The key goes to the address that the user has set, not to where an answer leads."""
    path = write("")
    other = replay({"/": (200, "application/json", b'{"data": []}')})

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(302)
            self.send_header("Location", other.url + "/")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            """Says nothing."""

    monkeypatch.setenv("LAMBDA_API_URL", serve(Handler))
    monkeypatch.setenv("LAMBDA_API_KEY", KEY)
    assert "found status 302. Check api_url" in refuse_inventory(path)
    assert not other.requests


def test_nobody_answers(refuse_inventory, write, nobody, monkeypatch):
    path = write("api_url: %s" % nobody)
    monkeypatch.setenv("LAMBDA_API_KEY", KEY)
    said = refuse_inventory(path)
    assert "%s/instances: expected an answer of the Lambda Cloud API, found [Errno 111]" % nobody in said
    assert KEY not in said


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("", "found none. Set LAMBDA_API_KEY"),
        (" \n", "found none. Set LAMBDA_API_KEY"),
        ("not\n" + KEY, "found a text with blanks or special characters. Set LAMBDA_API_KEY"),
    ],
)
def test_no_key(refuse_inventory, write, api, monkeypatch, key, found):
    path = write("")
    server = api("cluster.json")
    monkeypatch.setenv("LAMBDA_API_KEY", key)
    said = refuse_inventory(path)
    assert "expected an API key of Lambda Cloud, " + found in said
    assert KEY not in said
    assert not server.requests


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["n-10", "n-9", "n-1"], ["n-1", "n-9", "n-10"]),
        (["b", "2", "a1", "a"], ["2", "a", "a1", "b"]),
        (["nö2", "n²", "nö10"], ["n²", "nö2", "nö10"]),
    ],
)
def test_order(names, expected):
    assert sorted(names, key=lambda_cloud.in_order) == expected
