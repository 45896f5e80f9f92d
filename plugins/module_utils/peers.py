# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether nodes reach each other on the ports that will be used: each listens, each calls all others.

A call asks for the time and sends more than a packet both ways, since links whose MTU is wrong on the way
connect well and then lose what is large.
"""

from __future__ import annotations

import concurrent.futures
import errno
import os
import socket
import socketserver
import struct
import time

# Nothing secret passes: the clock, and zeros.
TIME = struct.Struct("!d")
LOAD = bytes(64 * 1024)
ASK = b"?"


class Answer(socketserver.BaseRequestHandler):
    """Answers a call with the time, then sends back what comes."""

    def handle(self):
        self.request.settimeout(self.server.timeout)
        if read(self.request, len(ASK)) == ASK:
            self.request.sendall(TIME.pack(time.time()))
            self.request.sendall(read(self.request, len(LOAD)))


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    # All nodes of a large cluster call at once.
    request_queue_size = 1024
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A caller that gives up is the caller's to tell of."""


def listen(address, ports, timeout):
    """Listens on those of the ports that are free.

    :param address: the node's own address on the network between the nodes
    :param timeout: seconds that a call may take
    :return: list of servers
    """
    servers = []
    for port in ports:
        try:
            server = Server((address, port), Answer)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            # What is there is called by the others all the same.
            continue
        server.timeout = timeout
        servers.append(server)
    return servers


def answer(servers, seconds):
    """Answers calls for some time."""
    with concurrent.futures.ThreadPoolExecutor(len(servers) or 1) as pool:
        for server in servers:
            pool.submit(server.serve_forever, 0.1)
        # The time is all that ends it: nobody tells a node that the others have called.
        time.sleep(seconds)
        for server in servers:
            server.shutdown()


def read(connection, size):
    """Reads just so many bytes.

    :raises ConnectionError: when the other side ends before that
    """
    parts = []
    while size:
        part = connection.recv(size)
        if not part:
            raise ConnectionError("the connection was closed")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def call(target, source, timeout):
    """Calls one port of another node.

    :param target: dictionary with name, address, port, and talk: whether one of ours answers there; a service
        that runs there already is connected to and no more
    :param source: the own address to call from
    :return: target's name and port with error (empty if it answered), seconds (of the connection) and offset (how many
        seconds the other clock is ahead, None if it was not asked)
    """
    told = {"name": target["name"], "port": target["port"], "error": "", "seconds": None, "offset": None}
    begin = time.monotonic()
    try:
        with socket.create_connection((target["address"], target["port"]), timeout, (source, 0)) as connection:
            told["seconds"] = round(time.monotonic() - begin, 4)
            if target["talk"]:
                sent = time.time()
                connection.sendall(ASK)
                theirs = TIME.unpack(read(connection, TIME.size))[0]
                told["offset"] = round(theirs - (sent + time.time()) / 2, 4)
                connection.sendall(LOAD)
                read(connection, len(LOAD))
    except TimeoutError:
        told["error"] = "no answer within %d s" % timeout if told["offset"] is None else "large packets are lost"
    except OSError as error:
        told["error"] = os.strerror(error.errno) if error.errno else str(error)
    return told


def call_all(targets, source, timeout):
    """Calls all targets at once: a list of what call() tells, in their order."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=64) as pool:
        return list(pool.map(lambda target: call(target, source, timeout), targets))
