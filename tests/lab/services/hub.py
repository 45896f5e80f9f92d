# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A model hub and a package index for the lab: what the nodes reach over the internet in life.

Speaks as much of the Hugging Face Hub's protocol as huggingface_hub and hf_xet ask for: model info,
file tree, and resolve with ETag, size, commit and ranges, with the hub's own status and error codes;
and for large files Xet: read tokens, reconstructions, xorbs (xet.py).
A model is a folder OWNER/NAME below --models; its one revision is main. Files that are none of it:

.gated     in a model: its info is public, its files ask for a token named here.
.private   in a model: only those see it whose token is named here.
.accounts  beside the owners: all tokens there are; any other is refused. Without it every token is good.

The package index is the folder --wheels, offered as plain links (pip's --find-links).

The file --control sets how fast models' bytes go to each client, and faults (settings.py).

Every request is written to standard output as one JSON line when it is over.
"""

import argparse
import contextlib
import functools
import hashlib
import http.client
import http.server
import json
import os
import pathlib
import re
import socket
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable

# The modules beside this one are found by who loads this file by its path, too.
HERE = str(pathlib.Path(__file__).resolve().parent)
if HERE not in sys.path:
    sys.path.insert(0, HERE)

import xet
from settings import Control, Pacer, piece

BLOCK = 1 << 20
MARKS = (".gated", ".private")
# Seconds between two looks while bodies are to stall.
STALL = 0.1


class Digests:
    """The hashes of files, remembered by size and time of change."""

    def __init__(self):
        self.known = {}
        self.lock = threading.Lock()

    def of(self, path: pathlib.Path, size: int, mtime_ns: int) -> tuple[str, str]:
        """The id git gives a file, and its sha256. The lock: nobody hashes what another is about to know."""
        key = (path, size, mtime_ns)
        if key not in self.known:
            with self.lock:
                if key not in self.known:
                    self.known[key] = self.read(path, size)
        return self.known[key]

    @staticmethod
    def read(path: pathlib.Path, size: int) -> tuple[str, str]:
        git, sha256 = hashlib.sha1(b"blob %d\0" % size), hashlib.sha256()
        with path.open("rb") as stream:
            while block := stream.read(BLOCK):
                git.update(block)
                sha256.update(block)
        return git.hexdigest(), sha256.hexdigest()


DIGESTS = Digests()


def words(path: pathlib.Path) -> list[str] | None:
    """The words of a file of tokens, None if there is no such file."""
    return path.read_text().split() if path.is_file() else None


class Model:
    """One model repository: a folder of files, as it is at the time of one request."""

    def __init__(self, root: pathlib.Path, repo: str):
        self.repo = repo
        self.folder = root / repo
        self.exists = bool(re.fullmatch(r"[\w.-]+/[\w.-]+", repo)) and self.folder.is_dir()
        self.tokens = words(self.folder / ".gated")
        self.viewers = words(self.folder / ".private")

    @functools.cached_property
    def files(self) -> list[dict]:
        entries = []
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            if name in MARKS or not path.is_file():
                continue
            stat = path.stat()
            git, sha256 = DIGESTS.of(path, stat.st_size, stat.st_mtime_ns)
            entry = {"type": "file", "path": name, "size": stat.st_size, "oid": git}
            # The hub keeps large and binary files in LFS; their ETag is the sha256.
            if path.suffix in (".safetensors", ".bin", ".gguf", ".pth"):
                entry["lfs"] = {"oid": sha256, "size": stat.st_size, "pointerSize": 134}
            entries.append(entry)
        return entries

    def commit(self) -> str:
        return hashlib.sha1(json.dumps(self.files).encode()).hexdigest()

    def knows(self, revision: str) -> bool:
        return revision in ("main", self.commit())

    def find(self, test: Callable[[dict], bool]) -> dict | None:
        return next((entry for entry in self.files if test(entry)), None)


def xet_hash(entry: dict) -> str | None:
    """The Xet hash of a file of a model, None if it is not kept in Xet: not in LFS, or empty."""
    return xet.file_hash(entry["lfs"]["oid"]) if "lfs" in entry and entry["size"] else None


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    models: pathlib.Path
    control = Control()
    pacer = Pacer()

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        if path.startswith("/wheels/"):
            return super().do_GET() if self.command == "GET" else super().do_HEAD()
        if match := re.fullmatch(r"/v2/reconstructions/([0-9a-f]{64})", path):
            return self.answer_reconstruction(match[1])
        if match := re.fullmatch(r"/xorbs/default/([0-9a-f]{64})", path):
            return self.answer_xorb(match[1])
        api = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree|xet-read-token)/([^/]+))?/?", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if not (api or file):
            return self.refuse(404, None, "Not found")
        if status := self.control.settings().refuse:
            return self.refuse(status, None, http.client.responses.get(status, "Refused"))
        return self.answer_api(*api.groups()) if api else self.answer_file(*file.groups())

    def bearer(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ").strip()

    def base(self) -> str:
        """This hub's address as the client calls it."""
        return "http://" + self.headers.get("Host", "")

    def find(self, repo: str, revision: str) -> Model | None:
        """The model, or None after an answer that says why not, in the hub's own words."""
        token, accounts = self.bearer(), words(self.models / ".accounts")
        if token and accounts is not None and token not in accounts:
            self.refuse(401, None, "Invalid credentials in Authorization header")
            return None
        model = Model(self.models, repo)
        if not model.exists or (model.viewers is not None and token not in model.viewers):
            if token:
                self.refuse(404, "RepoNotFound", "Repository not found")
            else:
                self.refuse(401, None, "Invalid username or password.")
            return None
        if not model.knows(revision):
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return model

    def may_read(self, model: Model) -> bool:
        """Whether the client may read the model's files; if not, it has been told so."""
        if model.tokens is None or self.bearer() in model.tokens:
            return True
        self.refuse(403 if self.bearer() else 401, "GatedRepo", f"Access to model {model.repo} is restricted.")
        return False

    def answer_api(self, repo: str, view: str | None, revision: str | None):
        model = self.find(repo, revision or "main")
        if model is None:
            return
        if view == "xet-read-token":
            return self.answer_read_token(model)
        if view == "tree":
            return self.send_json([f | self.xet_key(f) for f in model.files])
        siblings = [
            {"rfilename": f["path"], "size": f["size"], "blobId": f["oid"]}
            | ({"lfs": {"sha256": f["lfs"]["oid"], "size": f["size"], "pointerSize": 134}} if "lfs" in f else {})
            for f in model.files
        ]
        self.send_json(
            {
                "_id": model.commit()[:24],
                "id": repo,
                "modelId": repo,
                "sha": model.commit(),
                "private": model.viewers is not None,
                "disabled": False,
                "gated": "manual" if model.tokens is not None else False,
                "tags": [],
                "downloads": 0,
                "likes": 0,
                "siblings": siblings,
            }
        )

    def xet_key(self, entry: dict) -> dict:
        """What the tree says of Xet. huggingface_hub goes by it and asks resolve nothing about such a file."""
        found = xet_hash(entry) if self.control.settings().xet else None
        return {"xetHash": found} if found else {}

    def answer_file(self, repo: str, revision: str, name: str):
        model = self.find(repo, revision)
        if model is None or not self.may_read(model):
            return
        entry = model.find(lambda f: f["path"] == name)
        if entry is None:
            return self.refuse(404, "EntryNotFound", "Entry not found")
        headers = {
            "X-Repo-Commit": model.commit(),
            "ETag": '"%s"' % (entry["lfs"]["oid"] if "lfs" in entry else entry["oid"]),
        }
        for found in self.xet_key(entry).values():
            headers["X-Xet-Hash"] = found
            headers["Link"] = (
                f'<{self.base()}/api/models/{repo}/xet-read-token/{model.commit()}>; rel="xet-auth", '
                f'<{self.base()}/v2/reconstructions/{found}>; rel="xet-reconstruction-info"'
            )
        with self.content(model, entry) as read:
            self.send_range(read, entry["size"], headers)

    def answer_read_token(self, model: Model):
        """Gives leave to ask for reconstructions of this repository's files."""
        if not self.may_read(model):
            return
        token, end = xet.ticket(model.repo, "cas")
        self.send_json(
            {"casUrl": self.base(), "accessToken": token, "exp": end},
            {"X-Xet-Cas-Url": self.base(), "X-Xet-Access-Token": token, "X-Xet-Token-Expiration": str(end)},
        )

    def answer_reconstruction(self, wanted: str):
        """Says where the parts of a file are. The addresses that it gives hold without a token, for a while."""
        repo = xet.ticket_repo(self.bearer(), "cas")
        if repo is None:
            return self.refuse(401, None, "Unauthorized")
        entry = Model(self.models, repo).find(lambda f: xet_hash(f) == wanted)
        if entry is None:
            return self.refuse(404, None, "File not found")
        span = self.span(entry["size"])
        if span is None:
            return

        def address(xorb: str) -> str:
            query = urllib.parse.urlencode({"ticket": xet.ticket(repo, xorb)[0]})
            return f"{self.base()}/xorbs/default/{xorb}?{query}"

        self.send_json(xet.reconstruction(wanted, entry["size"], *span[:2], address))

    def answer_xorb(self, wanted: str):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        repo = xet.ticket_repo(query.get("ticket", [""])[0], wanted)
        # The protocol: an address is good for the range that it came with, so who asks for no range is refused.
        if repo is None or "Range" not in self.headers:
            return self.refuse(403, None, "Forbidden")
        model = Model(self.models, repo)
        entry = model.find(lambda f: (xet_hash(f) or "").startswith(wanted[:56]))
        if entry is None:
            return self.refuse(404, None, "Xorb not found")
        xorb = xet.Xorb(entry["size"], int(wanted[56:], 16))
        with self.content(model, entry) as read:
            self.send_range(functools.partial(xorb.read, read), xorb.size, {})

    @contextlib.contextmanager
    def content(self, model: Model, entry: dict):
        """Gives a function that reads a file: (position, number of bytes) -> bytes, with the byte flipped if told."""
        flipped = entry["size"] // 2 if self.control.settings().flip == entry["path"] else -1
        with (model.folder / entry["path"]).open("rb") as stream:

            def read(first: int, count: int) -> bytes:
                block = os.pread(stream.fileno(), count, first)
                if first <= flipped < first + len(block):
                    block = bytearray(block)
                    block[flipped - first] ^= 0xFF
                return block

            yield read

    def span(self, size: int) -> tuple[int, int, bool] | None:
        """The first and last byte asked for of so many and whether it is a range, or None after an answer."""
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not match:
            return 0, size - 1, False
        first, last = int(match[1]), min(int(match[2] or size), size - 1)
        if first > last:
            self.refuse(416, None, "Range not satisfiable", {"Content-Range": f"bytes */{size}"})
            return None
        return first, last, True

    def send_range(self, read: xet.Read, size: int, headers: dict):
        """Answers with that range of bytes which the client asks for."""
        span = self.span(size)
        if span is None:
            return
        first, last, partial = span
        headers = headers | {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
        if partial:
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        self.send_headers(206 if partial else 200, last - first + 1, headers)
        if self.command != "HEAD":
            self.send_body(read, first, last - first + 1)

    def send_body(self, read: xet.Read, first: int, left: int):
        """Sends bytes of a model's file at the client's rate."""
        while left:
            rate = self.control.settings().rate
            count = min(piece(rate), left)
            if rate is not None:
                self.pacer.wait(self.client_address[0], count, rate)
            self.stall()
            block = read(first, count)
            if not block:
                # The file is shorter than it was.
                self.close_connection = True
                return
            self.write(block)
            first += len(block)
            left -= len(block)

    def stall(self):
        """Waits while bodies are to stall, unless the client goes away."""
        while self.control.settings().stall:
            time.sleep(STALL)
            with contextlib.suppress(BlockingIOError):
                if not self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                    raise ConnectionAbortedError

    def write(self, data: bytes):
        """Sends bytes of a body, counting what went out even if the client breaks off."""
        view = memoryview(data)
        while view:
            count = self.connection.send(view)
            self.sent += count
            view = view[count:]

    def copyfile(self, source, outputfile):
        """Sends a wheel or a list of them."""
        while block := source.read(BLOCK):
            self.write(block)

    def send_json(self, value, headers: dict | None = None, status: int = 200):
        body = json.dumps(value).encode()
        self.send_headers(status, len(body), {"Content-Type": "application/json; charset=utf-8"} | (headers or {}))
        if self.command != "HEAD":
            self.write(body)

    def refuse(self, status: int, code: str | None, message: str, headers: dict | None = None):
        code_header = {"X-Error-Code": code} if code else {}
        self.send_json({"error": message}, code_header | {"X-Error-Message": message} | (headers or {}), status)

    def send_headers(self, status: int, length: int, headers: dict):
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def send_error(self, code, message=None, explain=None):
        """What http.server refuses. The connection closes: there may be a body that nobody reads."""
        self.refuse(code, None, message or http.client.responses[code], {"Connection": "close"})

    def handle_one_request(self):
        self.headers, self.path, self.status, self.sent = {}, "", None, 0
        self.started = time.monotonic()
        try:
            super().handle_one_request()
        except ConnectionError:
            # The client broke off.
            self.close_connection = True
        if self.status is not None:
            self.log_end()

    def parse_request(self):
        # Before this, the connection may have been idle for long.
        self.started = time.monotonic()
        return super().parse_request()

    def log_request(self, code="-", size="-"):
        self.status = int(code)

    def log_end(self):
        entry = {
            "client": self.client_address[0],
            "method": self.command,
            "path": self.path,
            "range": self.headers.get("Range"),
            "status": self.status,
            "sent": self.sent,
            "seconds": round(time.monotonic() - self.started, 4),
            "authorized": "Authorization" in self.headers,
        }
        self.write_log(entry)

    @staticmethod
    def write_log(entry: dict):
        # One write, as many threads come here.
        print(json.dumps(entry) + "\n", end="", flush=True)

    def log_message(self, format, *args):
        print(json.dumps({"client": self.client_address[0], "message": format % args}), file=sys.stderr)


class Server(http.server.ThreadingHTTPServer):
    # Many clients with many connections each come at once.
    request_queue_size = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=80)
    parser.add_argument("--models", type=pathlib.Path, required=True)
    parser.add_argument("--root", type=pathlib.Path, required=True, help="folder that holds wheels/")
    parser.add_argument("--control", type=pathlib.Path, help="file of settings (JSON); may come later and change")
    options = parser.parse_args()
    Handler.models = options.models
    Handler.control = Control(options.control)
    handler = functools.partial(Handler, directory=str(options.root))
    with Server(("", options.port), handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
