# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls between two addresses of this host, and services that do not answer as they should."""

from __future__ import annotations

import contextlib
import json
import pathlib
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest
import yaml

from ansible_collections.onecc.vllm.plugins.module_utils import peers
from ansible_collections.onecc.vllm.plugins.modules import peer_check, peer_listener

HERE, THERE = "127.0.0.1", "127.0.0.2"
# An address for documentation, which no host has.
NOWHERE = "192.0.2.77"
SIZE = len(peers.LOAD)


def target(port, address=THERE, talk=True):
    return {"name": "node01", "address": address, "port": port, "talk": talk}


@pytest.fixture
def listening():
    """Listens on some ports, answering at once; gives the numbers of those that were free."""
    with contextlib.ExitStack() as stack:

        def start(ports, timeout=30):
            servers = peers.listen(THERE, ports, timeout)
            for server in servers:
                stack.callback(server.server_close)
                threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
                stack.callback(server.shutdown)
            return [server.server_address[1] for server in servers]

        yield start


@pytest.fixture
def service():
    """Starts a service for a function of one connection; gives its port, and the addresses that have called."""
    with contextlib.ExitStack() as stack:

        def start(handle):
            listener = stack.enter_context(socket.create_server((THERE, 0)))
            callers, threads = [], []

            def accept():
                with contextlib.suppress(OSError):
                    connection, address = listener.accept()
                    callers.append(address[0])
                    with connection:
                        handle(connection)

            threads.append(threading.Thread(target=accept, daemon=True))
            threads[0].start()
            # A thread that still waits for a call ends with its socket.
            stack.callback(threads[0].join)
            stack.callback(listener.shutdown, socket.SHUT_RDWR)
            return listener.getsockname()[1], callers

        yield start


def drain(connection, size):
    while size:
        part = connection.recv(size)
        assert part
        size -= len(part)


def tell(connection, ahead=0.0):
    drain(connection, 1)
    connection.sendall(peers.TIME.pack(time.time() + ahead))


def reset(connection):
    """Ends a connection without saying so properly."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


# Peers that answer.


def test_call(listening):
    (port,) = listening([0])
    told = peers.call(target(port), HERE, 30)
    assert (told["name"], told["port"], told["error"]) == ("node01", port, "")
    assert 0 <= told["seconds"] < 30
    assert abs(told["offset"]) < 1
    assert sorted(told) == ["error", "name", "offset", "port", "seconds"]


def test_call_again_and_again(listening):
    """One listener answers all nodes."""
    (port,) = listening([0])
    told = peers.call_all([target(port)] * 80, HERE, 30)
    assert [one["error"] for one in told] == [""] * 80


def test_call_all_keeps_the_order(listening, nobody):
    ports = listening([0, 0, 0])
    closed = int(nobody.rsplit(":", 1)[1])
    targets = [
        {"name": "a", "address": THERE, "port": ports[2], "talk": True},
        {"name": "b", "address": HERE, "port": closed, "talk": True},
        {"name": "c", "address": THERE, "port": ports[0], "talk": False},
    ]
    told = peers.call_all(targets, HERE, 30)
    assert [(one["name"], one["port"], one["error"]) for one in told] == [
        ("a", ports[2], ""),
        ("b", closed, "Connection refused"),
        ("c", ports[0], ""),
    ]


def test_call_nobody():
    assert peers.call_all([], HERE, 1) == []


@pytest.mark.parametrize("ahead", [0, 3600, -7.25])
def test_the_other_clock(service, ahead):
    def handle(connection):
        tell(connection, ahead)
        drain(connection, SIZE)
        connection.sendall(bytes(SIZE))

    told = peers.call(target(service(handle)[0]), HERE, 30)
    assert told["error"] == ""
    assert told["offset"] == pytest.approx(ahead, abs=1)


@pytest.mark.parametrize("source", [HERE, "127.0.0.3"])
def test_a_service_that_runs_already_is_only_connected_to(service, until, source):
    """From the own address: a node with several networks would else take any."""
    got = []
    port, callers = service(lambda connection: got.append(connection.recv(100)))
    told = peers.call(target(port, talk=False), source, 30)
    assert (told["error"], told["offset"]) == ("", None)
    assert told["seconds"] >= 0
    until(lambda: got)
    assert (got, callers) == ([b""], [source])


# Peers that do not.


def silent(connection):
    connection.recv(1)
    # Until the caller has enough.
    connection.recv(1)


def closes(connection):
    drain(connection, 1)


def resets(connection):
    drain(connection, 1)
    reset(connection)


def half_a_time(connection):
    drain(connection, 1)
    connection.sendall(bytes(4))


def loses_what_comes(connection):
    """As a path with a smaller MTU: what is small passes."""
    tell(connection)
    drain(connection, SIZE)
    connection.recv(1)


def loses_the_second_half(connection):
    tell(connection)
    drain(connection, SIZE)
    connection.sendall(bytes(SIZE // 2))
    connection.recv(1)


def closes_in_the_middle(connection):
    tell(connection)
    drain(connection, SIZE)
    connection.sendall(bytes(SIZE // 2))


@pytest.mark.parametrize(
    ("handle", "error", "asked"),
    [
        pytest.param(silent, "no answer within 1 s", False, id="silent"),
        pytest.param(closes, "the connection was closed", False, id="closes"),
        pytest.param(resets, "Connection reset by peer", False, id="resets"),
        pytest.param(half_a_time, "the connection was closed", False, id="half-a-time"),
        pytest.param(loses_what_comes, "large packets are lost", True, id="large-packets-there"),
        pytest.param(loses_the_second_half, "large packets are lost", True, id="large-packets-back"),
        pytest.param(closes_in_the_middle, "the connection was closed", True, id="closes-in-the-middle"),
    ],
)
def test_a_peer_that_does_not_answer(service, handle, error, asked):
    told = peers.call(target(service(handle)[0]), HERE, 1)
    assert told["error"] == error
    assert (told["offset"] is not None) == asked
    # It was reached.
    assert told["seconds"] is not None


def test_a_port_that_nothing_listens_on(nobody):
    port = int(nobody.rsplit(":", 1)[1])
    told = peers.call(target(port, address=HERE), HERE, 30)
    assert told == {"name": "node01", "port": port, "error": "Connection refused", "seconds": None, "offset": None}


def test_packets_that_are_dropped():
    """As by a firewall: the queue of a listener is full, so the kernel leaves the next one without an answer."""
    with socket.socket() as listener, socket.socket() as first:
        listener.bind((THERE, 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        first.connect((THERE, port))
        told = peers.call(target(port), HERE, 1)
    assert told == {"name": "node01", "port": port, "error": "no answer within 1 s", "seconds": None, "offset": None}


def test_an_address_that_this_node_has_not(service):
    port, _callers = service(closes)
    told = peers.call(target(port), NOWHERE, 1)
    assert (told["error"], told["seconds"]) == ("Cannot assign requested address", None)


# The side that listens.


def test_listen_leaves_out_ports_that_are_taken():
    with socket.create_server((THERE, 0)) as taken, socket.create_server(("0.0.0.0", 0)) as everywhere:
        busy = [taken.getsockname()[1], everywhere.getsockname()[1]]
        servers = peers.listen(THERE, [busy[0], 0, busy[1], 0], 1)
        try:
            ports = [server.server_address[1] for server in servers]
            assert len(ports) == 2
            assert not set(ports) & {0, *busy}
        finally:
            for server in servers:
                server.server_close()


def test_listen_on_an_address_that_this_node_has_not():
    with pytest.raises(OSError, match="Cannot assign requested address"):
        peers.listen(NOWHERE, [0], 1)


def test_many_may_call_at_the_same_moment():
    """All nodes call the head at once. With a full queue the kernel drops a call, and tries again a second later."""
    (server,) = peers.listen(THERE, [0], 30)
    try:
        # Nobody is accepted yet.
        told = peers.call_all([target(server.server_address[1], talk=False)] * 60, HERE, 1)
        assert [one["error"] for one in told] == [""] * 60
    finally:
        server.server_close()


def test_listen_on_nothing():
    assert peers.listen(THERE, [], 1) == []


def test_a_port_can_be_used_again_at_once():
    """Ray comes right after, while connections of ours still linger; so does the next run of ours."""
    port = 0
    for _turn in range(2):
        (server,) = peers.listen(THERE, [port], 1)
        port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        assert peers.call(target(port), HERE, 30)["error"] == ""
        server.shutdown()
        server.server_close()
    with socket.create_server((THERE, port)):
        pass


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="something-else"),
        pytest.param(b"", id="nothing"),
        pytest.param(peers.ASK + bytes(10), id="less-than-all"),
    ],
)
@pytest.mark.parametrize("end", [lambda connection: None, reset], ids=["closed", "reset"])
def test_callers_that_give_up(listening, capfd, said, end):
    """They are no concern of the listener, which goes on and says nothing."""
    (port,) = listening([0])
    with socket.create_connection((THERE, port), 30) as connection:
        connection.sendall(said)
        end(connection)
    assert peers.call(target(port), HERE, 30)["error"] == ""
    assert capfd.readouterr() == ("", "")


def test_nothing_is_told_to_those_who_ask_otherwise(listening):
    (port,) = listening([0])
    with socket.create_connection((THERE, port), 30) as connection:
        connection.sendall(b"!")
        assert connection.recv(100) == b""


def test_a_caller_that_says_nothing_is_left(listening):
    (port,) = listening([0], timeout=0.2)
    with socket.create_connection((THERE, port), 30) as connection:
        assert connection.recv(100) == b""


def test_answer_for_a_while():
    servers = peers.listen(THERE, [0, 0], 1)
    try:
        thread = threading.Thread(target=peers.answer, args=(servers, 1))
        thread.start()
        told = peers.call_all([target(server.server_address[1]) for server in servers], HERE, 30)
        thread.join(30)
        assert [one["error"] for one in told] == ["", ""]
        assert not thread.is_alive()
        assert peers.call(target(servers[0].server_address[1]), HERE, 1)["error"] == "no answer within 1 s"
    finally:
        for server in servers:
            server.server_close()


def test_answer_on_no_port():
    begin = time.monotonic()
    peers.answer([], 0.1)
    assert time.monotonic() - begin >= 0.1


# The modules.

SCRIPT = """
import json, sys
sys.path.insert(0, sys.argv[1])
from ansible.module_utils.testing import patch_module_args
from ansible_collections.onecc.vllm.plugins.modules import peer_check, peer_listener
peer_listener.FOLDER = sys.argv[2]
with patch_module_args(json.loads(sys.argv[4])):
    {"peer_check": peer_check, "peer_listener": peer_listener}[sys.argv[3]].main()
"""


class Modules:
    """Runs modules in processes of their own, as on a node."""

    def __init__(self, folder):
        self.folder = folder

    def run(self, name, **params):
        """What the module printed. It would not return if the listener held its pipes."""
        collections = pathlib.Path(peers.__file__).parents[5]
        command = [sys.executable, "-c", SCRIPT, str(collections), str(self.folder), name, json.dumps(params)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.stderr == ""
        return json.loads(done.stdout)

    def listen(self, ports, seconds=60):
        return self.run("peer_listener", address=THERE, ports=ports, seconds=seconds)

    def call(self, ports, listening, timeout=30):
        peer = {"name": "node01", "address": THERE, "ports": ports, "listening": listening}
        return self.run("peer_check", address=HERE, peers=[peer], timeout=timeout)

    def stop(self):
        return self.run("peer_listener", state="stopped")


@pytest.fixture
def modules(tmp_path):
    modules = Modules(tmp_path / "onecc-peers")
    yield modules
    modules.stop()


@pytest.fixture
def free_ports():
    """Two ports that were free a moment ago."""
    with socket.create_server((THERE, 0)) as one, socket.create_server((THERE, 0)) as two:
        ports = [one.getsockname()[1], two.getsockname()[1]]
    return ports


def documented(module, told):
    return set(yaml.safe_load(module.RETURN)) == set(told) - {"changed", "invocation"}


def test_the_modules(modules, free_ports):
    with socket.create_server((THERE, 0)) as service:
        taken = service.getsockname()[1]
        told = modules.listen([*free_ports, taken])
        assert (told["changed"], told["ports"]) == (False, free_ports)
        assert documented(peer_listener, told)
        told = modules.call([*free_ports, taken], told["ports"])
    assert told["changed"] is False
    assert documented(peer_check, told)
    assert [(call["port"], call["error"]) for call in told["calls"]] == [(port, "") for port in [*free_ports, taken]]
    assert [call["offset"] is None for call in told["calls"]] == [False, False, True]
    assert modules.stop()["changed"] is False
    assert not modules.folder.exists()
    assert [call["error"] for call in modules.call(free_ports, free_ports)["calls"]] == ["Connection refused"] * 2


def test_a_listener_that_was_left_over_gives_way(modules, free_ports):
    """An earlier run was cut off: its ports are the new one's."""
    assert modules.listen(free_ports)["ports"] == free_ports
    assert modules.listen(free_ports)["ports"] == free_ports
    assert [call["error"] for call in modules.call(free_ports, free_ports)["calls"]] == ["", ""]


def test_a_listener_ends_by_itself(modules, free_ports, until):
    modules.listen(free_ports[:1], seconds=1)
    until(lambda: peers.call(target(free_ports[0]), HERE, 1)["error"] == "Connection refused")


def test_stop_where_nothing_listens(modules):
    assert modules.stop()["changed"] is False
    assert not modules.folder.exists()


def test_a_listener_with_an_address_that_this_node_has_not(modules, free_ports):
    told = modules.run("peer_listener", address=NOWHERE, ports=free_ports)
    assert told["failed"] is True
    assert told["msg"].startswith(NOWHERE + ": cannot listen: ")
    assert "Cannot assign requested address" in told["msg"]


def test_a_listener_needs_an_address(modules):
    told = modules.run("peer_listener", ports=[1])
    assert (told["failed"], told["msg"]) == (True, "state is started but all of the following are missing: address")
