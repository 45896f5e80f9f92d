# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A model hub and a package index for the lab: what the nodes reach over the internet in life.

Speaks as much of the Hugging Face Hub's protocol as huggingface_hub asks for: model info, file
tree, and resolve with ETag, size, commit and ranges, with the hub's own status and error codes.
A model is a folder OWNER/NAME below --models; its one revision is main. A file ``.gated`` in it
makes it gated: its info is public, its files ask for a token named in that file.

The package index is the folder --wheels, offered as plain links (pip's --find-links).

Every request is written to standard output as one JSON line.
"""

import argparse
import functools
import hashlib
import http.server
import json
import pathlib
import re
import sys
import urllib.parse

CHUNK = 1 << 20


@functools.cache
def digest(path: pathlib.Path, size: int, mtime_ns: int, kind: str) -> str:
    """The sha256 of a file, or the id git gives it (kind "git"). Cached by size and time."""
    hasher = hashlib.sha256() if kind == "sha256" else hashlib.sha1(b"blob %d\0" % size)
    with path.open("rb") as stream:
        while block := stream.read(CHUNK):
            hasher.update(block)
    return hasher.hexdigest()


class Model:
    """One model repository: a folder of files."""

    def __init__(self, root: pathlib.Path, repo: str):
        self.repo = repo
        self.folder = root / repo
        self.exists = bool(re.fullmatch(r"[\w.-]+/[\w.-]+", repo)) and self.folder.is_dir()
        gate = self.folder / ".gated"
        self.tokens = gate.read_text().split() if gate.is_file() else None

    def files(self) -> list[dict]:
        entries = []
        for path in sorted(self.folder.rglob("*")):
            if not path.is_file() or path.name == ".gated":
                continue
            stat = path.stat()
            key = (path, stat.st_size, stat.st_mtime_ns)
            entry = {
                "type": "file",
                "path": path.relative_to(self.folder).as_posix(),
                "size": stat.st_size,
                "oid": digest(*key, "git"),
            }
            # The hub keeps large and binary files in LFS; their ETag is the sha256.
            if path.suffix in (".safetensors", ".bin", ".gguf", ".pth"):
                entry["lfs"] = {"oid": digest(*key, "sha256"), "size": stat.st_size, "pointerSize": 134}
            entries.append(entry)
        return entries

    def commit(self) -> str:
        return hashlib.sha1(json.dumps(self.files()).encode()).hexdigest()

    def knows(self, revision: str) -> bool:
        return revision in ("main", self.commit())


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    models: pathlib.Path

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        if path.startswith("/wheels/"):
            return super().do_GET() if self.command == "GET" else super().do_HEAD()
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?/?", path):
            return self.answer_api(*match.groups())
        if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self.answer_file(*match.groups())
        return self.refuse(404, None, "Not found")

    def token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ").strip()

    def find(self, repo: str, revision: str) -> Model | None:
        """The model, or None after an answer that says why not, in the hub's own words."""
        model = Model(self.models, repo)
        if not model.exists:
            if self.token():
                self.refuse(404, "RepoNotFound", "Repository not found")
            else:
                self.refuse(401, None, "Invalid username or password.")
            return None
        if not model.knows(revision):
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return model

    def answer_api(self, repo: str, view: str | None, revision: str | None):
        model = self.find(repo, revision or "main")
        if model is None:
            return
        files = model.files()
        if view == "tree":
            return self.send_json(files)
        siblings = [
            {"rfilename": f["path"], "size": f["size"], "blobId": f["oid"]}
            | ({"lfs": {"sha256": f["lfs"]["oid"], "size": f["size"], "pointerSize": 134}} if "lfs" in f else {})
            for f in files
        ]
        self.send_json(
            {
                "_id": model.commit()[:24],
                "id": repo,
                "modelId": repo,
                "sha": model.commit(),
                "private": False,
                "disabled": False,
                "gated": "manual" if model.tokens is not None else False,
                "tags": [],
                "downloads": 0,
                "likes": 0,
                "siblings": siblings,
            }
        )

    def answer_file(self, repo: str, revision: str, name: str):
        model = self.find(repo, revision)
        if model is None:
            return
        if model.tokens is not None and self.token() not in model.tokens:
            status = 403 if self.token() else 401
            return self.refuse(status, "GatedRepo", f"Access to model {repo} is restricted.")
        entry = next((f for f in model.files() if f["path"] == name), None)
        if entry is None:
            return self.refuse(404, "EntryNotFound", "Entry not found")
        size = entry["size"]
        first, last, status = 0, size - 1, 200
        if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first = int(match[1])
            last = min(int(match[2] or last), last)
            status = 206
            if first > last:
                return self.refuse(416, None, "Range not satisfiable", {"Content-Range": f"bytes */{size}"})
        self.send_response(status)
        self.send_header("X-Repo-Commit", model.commit())
        self.send_header("ETag", '"%s"' % (entry["lfs"]["oid"] if "lfs" in entry else entry["oid"]))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(last - first + 1))
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        if self.command == "HEAD":
            return
        with (model.folder / name).open("rb") as stream:
            stream.seek(first)
            left = last - first + 1
            while left and (block := stream.read(min(CHUNK, left))):
                self.wfile.write(block)
                left -= len(block)

    def send_json(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status: int, code: str | None, message: str, headers: dict | None = None):
        body = json.dumps({"error": message}).encode()
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", message)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_request(self, code="-", size="-"):
        entry = {
            "client": self.client_address[0],
            "method": self.command,
            "path": self.path,
            "range": self.headers.get("Range"),
            "status": int(code),
        }
        print(json.dumps(entry), flush=True)

    def log_message(self, format, *args):
        print(json.dumps({"client": self.client_address[0], "message": format % args}), file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=80)
    parser.add_argument("--models", type=pathlib.Path, required=True)
    parser.add_argument("--root", type=pathlib.Path, required=True, help="folder that holds wheels/")
    options = parser.parse_args()
    Handler.models = options.models
    handler = functools.partial(Handler, directory=str(options.root))
    with http.server.ThreadingHTTPServer(("", options.port), handler) as server:
        server.daemon_threads = True
        server.serve_forever()


if __name__ == "__main__":
    main()
