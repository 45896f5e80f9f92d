# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What both programs stand on: a loop that systemd watches, if it is there, signals, a status, other nodes' status."""

from __future__ import annotations

import datetime
import http.server
import json
import os
import select
import signal
import socket
import socketserver
import sys
import threading
import time
import urllib.request

# Seconds that one request to this program may take, and one to another node's.
SLOW_CLIENT, OTHER_NODE = 5, 3
# Seconds after which an answer says nothing any more.
OLD = 15


def say(text):
    """A line for the journal; supervisord writes it as it is, so that it gets here what the journal would add."""
    if name := os.environ.get("SUPERVISOR_PROCESS_NAME"):
        text = "%s %s %s[%d]: %s" % (clock_time(), os.uname().nodename, name, os.getpid(), text)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def clock_time(seconds=None):
    """A moment as people and the diagnosis read it, in UTC."""
    moment = datetime.datetime.fromtimestamp(time.time() if seconds is None else seconds, datetime.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def tell_systemd(text):
    """sd_notify(3): the unit is up, or still alive."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.connect(address.replace("@", "\0", 1))
            client.send(text.encode())


class Program:
    """A loop until SIGTERM, which stops the container as well. SIGHUP ends the program alone, to be started anew.

    :param interval: seconds between two steps
    """

    def __init__(self, interval):
        self.interval = interval
        self.ending = self.alone = False

    def run(self):
        """Calls step() again and again, and stop() at the end."""
        # A byte comes with each signal. A signal just before a wait for anything else would not end that wait.
        here, there = socket.socketpair()
        there.setblocking(False)
        signal.set_wakeup_fd(there.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self.on_signal)
        signal.signal(signal.SIGHUP, self.on_signal)
        tell_systemd("READY=1")
        while not self.ending:
            self.step()
            tell_systemd("WATCHDOG=1")
            select.select([here], [], [], self.interval)
        if not self.alone:
            self.stop()

    def on_signal(self, number, _frame):
        self.alone = number == signal.SIGHUP
        self.ending = True

    def step(self):
        raise NotImplementedError

    def stop(self):
        raise NotImplementedError


class Status:
    """Answers GET with JSON.

    :param address: to listen on
    :param port: to listen on
    :param answer: function from a path to (status, dictionary)
    """

    def __init__(self, address, port, answer):
        class Handler(http.server.BaseHTTPRequestHandler):
            timeout = SLOW_CLIENT

            def do_GET(self):
                status, body = answer(self.path.partition("?")[0])
                data = json.dumps(body).encode() + b"\n"
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args):
                """Load balancers ask every second."""

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def server_bind(self):
                """Without the look-up of a name, which hangs where there is no name service."""
                socketserver.TCPServer.server_bind(self)
                self.server_name, self.server_port = address, self.socket.getsockname()[1]

            def handle_error(self, request, client_address):
                """Clients that go away are no event."""

        self.server = Server((address, port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def read(url, timeout=OTHER_NODE):
    """What another node's program tells.

    :raise OSError: if it does not answer
    :raise ValueError: if that is no JSON
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=timeout) as stream:
        told = json.load(stream)
    if not isinstance(told, dict):
        raise ValueError("expected a dictionary, found %r" % told)
    return told


class Poll:
    """Asks again and again in a thread of its own, so that what hangs holds up nobody.

    :param ask: function without arguments
    :param pause: function from an answer, None if there was none, to the seconds until the next question
    """

    def __init__(self, ask, pause):
        self.ask, self.pause = ask, pause
        self.told, self.why, self.asked = None, "it was not asked yet", time.monotonic()
        threading.Thread(target=self.loop, daemon=True).start()

    def loop(self):
        while True:
            try:
                told, why = self.ask(), ""
            # A node that is just going down may say anything; this thread must not end.
            except Exception as error:
                told, why = None, str(error) or type(error).__name__
            self.told, self.why, self.asked = told, why, time.monotonic()
            time.sleep(self.pause(told))

    @property
    def answer(self):
        """The last answer, None if there was none or it is old."""
        return self.told if self.age < OLD else None

    @property
    def age(self):
        """Seconds since there was an answer, or the lack of one."""
        return time.monotonic() - self.asked
