# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the unit tests share: the collection under its own name, captured output, local HTTP servers, the lab's hub."""

from __future__ import annotations

import contextlib
import http.server
import importlib.util
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import time
import types

import pytest
from ansible.module_utils.testing import patch_module_args

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
COLLECTIONS = REPOSITORY / "build" / "collections"
LINK = COLLECTIONS / "ansible_collections" / "onecc" / "vllm"
if not LINK.exists():
    LINK.parent.mkdir(parents=True, exist_ok=True)
    LINK.symlink_to(REPOSITORY)
sys.path.insert(0, str(COLLECTIONS))

HF_HOME = tempfile.TemporaryDirectory(prefix="hf-home-")


def set_environment(patch):
    """huggingface_hub keeps its files in a folder of the tests and knows nothing of what the caller has set for it.

    The clients under test talk to this host alone, whatever proxy the caller has.
    """
    for name in [name for name in os.environ if name.startswith("HF_")]:
        patch.delenv(name)
    patch.setenv("HF_HOME", HF_HOME.name)
    patch.setenv("NO_PROXY", "127.0.0.1,127.0.0.2")
    patch.setenv("no_proxy", "127.0.0.1,127.0.0.2")


with pytest.MonkeyPatch.context() as context:
    set_environment(context)
    # It reads most of its settings when it is imported.
    import huggingface_hub


def pytest_unconfigure():
    HF_HOME.cleanup()


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    set_environment(monkeypatch)


@pytest.fixture(scope="session")
def capture():
    """Gives a file of data/: its text, or what it holds if it is JSON."""

    def read(name):
        text = (HERE / "data" / name).read_text(encoding="utf-8")
        return json.loads(text) if name.endswith(".json") else text

    return read


@pytest.fixture
def serve():
    """Starts an HTTP server on this host for a handler class, gives its address."""
    with contextlib.ExitStack() as stack:

        def start(handler, host="127.0.0.1"):
            server = stack.enter_context(http.server.ThreadingHTTPServer((host, 0), handler))
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            stack.callback(server.shutdown)
            return "http://%s:%d" % (host, server.server_port)

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


@pytest.fixture
def run_module(tmp_path, capsys):
    """Runs a module on these arguments, in this process; gives what it tells Ansible."""

    def run(module, check_mode=False, **params):
        params |= {"_ansible_check_mode": check_mode, "_ansible_remote_tmp": str(tmp_path)}
        with patch_module_args(params), pytest.raises(SystemExit):
            module.main()
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def run_module_apart(tmp_path):
    """The same in a process of its own, for what goes on in the background or needs another Python.

    :param before: a line of Python that comes first
    """

    def run(name, check_mode=False, before="", **params):
        params |= {"_ansible_check_mode": check_mode, "_ansible_remote_tmp": str(tmp_path)}
        code = (
            "import json, sys\n%s\nfrom ansible.module_utils.testing import patch_module_args\n"
            "from ansible_collections.onecc.vllm.plugins.modules import %s\n"
            "with patch_module_args(json.load(sys.stdin)): %s.main()"
        ) % (before, name, name)
        done = subprocess.run(
            [sys.executable, "-c", code],
            input=json.dumps(params),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.stdout, done.stderr
        return json.loads(done.stdout), done.stdout + done.stderr

    return run


@pytest.fixture(scope="session")
def repository():
    return REPOSITORY


@pytest.fixture
def ansible_inventory(monkeypatch, ansible):
    """Runs ansible-inventory as a user does, with the collections of this checkout; a source that fails ends it."""
    for name in [name for name in os.environ if name.startswith(("ANSIBLE_", "ONECC_", "LAMBDA_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ANSIBLE_CONFIG", str(REPOSITORY / "ansible.cfg"))
    monkeypatch.setenv("ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED", "true")
    monkeypatch.setenv("ANSIBLE_NOCOLOR", "true")

    def start(*paths):
        words = [word for path in paths for word in ("-i", str(path))]
        return ansible(["ansible-inventory", *words, "--list"], os.environ, REPOSITORY)

    return start


@pytest.fixture
def read_inventory(ansible_inventory):
    """What ansible-inventory --list says of these inventories."""

    def read(*paths):
        done = ansible_inventory(*paths)
        assert done.returncode == 0, done.stderr
        # Text that Ansible does not take for a template is wrapped.
        return json.loads(done.stdout, object_hook=lambda found: found.get("__ansible_unsafe", found))

    return read


@pytest.fixture
def refuse_inventory(ansible_inventory):
    """What ansible-inventory says when it cannot read this inventory, in one line."""

    def refuse(path):
        done = ansible_inventory(path)
        assert done.returncode != 0, done.stdout
        return " ".join(done.stderr.split())

    return refuse


@pytest.fixture(scope="session")
def until():
    """Waits until a function gives something true, and gives that. It may take long on a busy machine."""

    def wait(function, seconds=30):
        end = time.monotonic() + seconds
        while not (found := function()):
            assert time.monotonic() < end, "nothing after %d s" % seconds
            time.sleep(0.01)
        return found

    return wait


@pytest.fixture(scope="session")
def lab_hub():
    """The module of the lab's hub, under a name that nothing else has."""
    spec = importlib.util.spec_from_file_location("lab_services_hub", REPOSITORY / "tests/lab/services/hub.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def hub(tmp_path, serve, monkeypatch, until, lab_hub):
    """The lab's hub, empty: put() gives it a model, tell() sets rates and faults, log() tells what was asked."""
    models, settings = tmp_path / "models", tmp_path / "control.json"
    models.mkdir()
    monkeypatch.setattr(sys.modules["settings"], "LOOK", 0)
    lines = []
    attributes = {
        "models": models,
        "control": lab_hub.Control(settings),
        "pacer": lab_hub.Pacer(),
        "write_log": staticmethod(lines.append),
    }
    handler = type("Handler", (lab_hub.Handler,), attributes)

    def put(repo, files):
        for path, content in files.items():
            (models / repo / path).parent.mkdir(parents=True, exist_ok=True)
            (models / repo / path).write_bytes(content)

    def tell(**values):
        new = settings.with_suffix(".new")
        new.write_text(json.dumps(values))
        new.replace(settings)

    def log(method="GET", ending="", count=1):
        """The requests for paths with that ending, at least so many: a line comes a moment after the answer."""

        def find():
            return [line for line in lines if line["method"] == method and line["path"].endswith(ending)]

        until(lambda: len(find()) >= count)
        return find()

    def commit(repo):
        return lab_hub.Model(models, repo).commit()

    yield types.SimpleNamespace(
        url=serve(handler), handler=handler, models=models, put=put, tell=tell, log=log, commit=commit, lines=lines
    )
    # Its connections would be taken for those of a later hub on the same port.
    huggingface_hub.close_session()
