# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the unit tests share: the collection under its own name, captured output, a local HTTP server."""

from __future__ import annotations

import contextlib
import http.server
import json
import pathlib
import socket
import sys
import threading
import types

import pytest

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
COLLECTIONS = REPOSITORY / "build" / "collections"
LINK = COLLECTIONS / "ansible_collections" / "onecc" / "vllm"
if not LINK.exists():
    LINK.parent.mkdir(parents=True, exist_ok=True)
    LINK.symlink_to(REPOSITORY)
sys.path.insert(0, str(COLLECTIONS))


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    """The clients under test talk to 127.0.0.1 alone, whatever proxy the caller has."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture(scope="session")
def capture():
    """Gives a file of data/: its text, or what it holds if it is JSON."""

    def read(name):
        text = (HERE / "data" / name).read_text(encoding="utf-8")
        return json.loads(text) if name.endswith(".json") else text

    return read


@pytest.fixture
def serve():
    """Starts an HTTP server on 127.0.0.1 for a handler class, gives its address."""
    with contextlib.ExitStack() as stack:

        def start(handler):
            server = stack.enter_context(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler))
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            stack.callback(server.shutdown)
            return "http://127.0.0.1:%d" % server.server_port

        yield start


@pytest.fixture
def replay(serve):
    """Serves captured answers, a dictionary from path to (status, content type, body), and notes what was asked."""

    def start(answers):
        requests = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                length = int(self.headers.get("Content-Length", 0))
                # self.path would have lost a double slash.
                path = self.requestline.split()[1]
                requests.append({"path": path, "headers": self.headers, "body": self.rfile.read(length)})
                status, kind, body = answers[path]
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *args):
                """Says nothing."""

        return types.SimpleNamespace(url=serve(Handler), requests=requests)

    return start


@pytest.fixture
def nobody():
    """The address of a port of 127.0.0.1 that nothing listens on, and that nothing else can take meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield "http://127.0.0.1:%d" % held.getsockname()[1]
