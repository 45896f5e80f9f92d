# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible-test sanity, which takes longest, in a file of its own: files are tested side by side."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(*words, folder=ROOT):
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The collection where ansible-test wants it, with the files that git knows or would add."""
    folder = tmp_path_factory.mktemp("sanity") / "ansible_collections/onecc/vllm"
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0")
    for name in filter(None, listed):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def test_sanity(copy):
    """ansible-test keeps its environments in the home folder: here one below build/, where its pip is uv."""
    assert not list((ROOT / "tests").glob("sanity/ignore*")), "ansible-test sanity is to pass without ignores"
    home = ROOT / "build/ansible-test"
    cache = home / ".ansible/test/cache"
    cache.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ROOT / "tests/gates/get_pip.py", cache / "get_pip_24_2.py")
    # ansible-test passes on little of the environment; uv needs its cache, and maybe certificates or a proxy.
    names = [name for name in os.environ if re.match(r"HOME$|UV_|XDG_|SSL_|.*_proxy$", name, flags=re.IGNORECASE)]
    told = home / "uv.json"
    # An index or a proxy may have a password.
    told.touch(mode=0o600)
    told.write_text(json.dumps({name: os.environ[name] for name in names}))
    version = "%d.%d" % sys.version_info[:2]
    words = ["ansible-test", "sanity", "--venv", "--python", version, "--color", "no"]
    try:
        run("env", "HOME=%s" % home, *words, folder=copy)
    finally:
        told.unlink()
