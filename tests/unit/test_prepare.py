# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the lab's torch comes from when pip does not find it: an index that uv knows, then pip by address."""

from __future__ import annotations

import functools
import http.server
import importlib.util
import pathlib
import shutil
import subprocess
import zipfile

import pytest

LAB = pathlib.Path(__file__).resolve().parents[1] / "lab"
TORCH = "torch==2.13.0+cpu"
NAMES = [
    "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_aarch64.whl",
    "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl",
    "torch-2.13.0+cpu-cp311-cp311-win_amd64.whl",
    "torch-2.13.0+cpu-cp312-cp312-manylinux_2_28_x86_64.whl",
]


@pytest.fixture(scope="module")
def prepare():
    spec = importlib.util.spec_from_file_location("prepare", LAB / "prepare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def index(serve, tmp_path):
    """A package index as PyTorch's: wheels of several Pythons and machines, the plus sign written %2B."""
    folder = tmp_path / "simple/torch"
    folder.mkdir(parents=True)
    for name in NAMES:
        with zipfile.ZipFile(folder / name, "w") as wheel:
            info = "torch-2.13.0+cpu.dist-info/"
            wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: torch\nVersion: 2.13.0+cpu\n")
            wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: %s\n" % name[17:-4])
            wheel.writestr(info + "RECORD", "")
    links = "".join('<a href="%s">%s</a>\n' % (name.replace("+", "%2B"), name) for name in NAMES)
    (folder / "index.html").write_text("<!DOCTYPE html><html><body>%s</body></html>" % links)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    return serve(handler) + "/simple"


def test_torch_from_an_index_that_pip_does_not_know(prepare, index, tmp_path):
    uv = shutil.which("uv")
    assert uv, "uv is part of the controller's environment"
    url = prepare.torch_url(uv, TORCH, ("--default-index", index, "--allow-insecure-host", "127.0.0.1"))
    assert url.endswith(NAMES[1].replace("+", "%2B"))
    wheels = tmp_path / "wheels"
    prepare.pip_download(wheels, url)
    assert [path.name for path in wheels.iterdir()] == [NAMES[1]]


def test_uv_knows_pytorchs_own_index(prepare):
    """The option that stands for that index is one that uv has."""
    shown = subprocess.run(["uv", "pip", "compile", "--help"], capture_output=True, text=True, check=True).stdout
    assert prepare.PYTORCH[0] in shown
