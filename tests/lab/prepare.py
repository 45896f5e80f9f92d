# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fills the lab's cache: the wheels of the serving image and of the nodes' tools, and the model.

Usage: prepare.py CACHE UV, with CACHE a folder holding wheels/ and models/, and UV the uv command.
Runs with any Python 3.9 or later; the wheels are those of the nodes (CPython 3.11 on x86-64 Linux).
Does nothing when the cache already matches the lock files.
"""

import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

LAB = pathlib.Path(__file__).resolve().parent
TOOLS = LAB.parent.parent / "roles/env_setup/files/tools-requirements.txt"
LOCKS = [LAB / "serving/requirements.txt", LAB / "model/requirements.txt", TOOLS]
MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
OTHER_MODEL = "lab/another-model"
PYTHON = "3.11"
# pip matches the number in manylinux_2_N exactly; Debian 12 has glibc 2.36.
PLATFORMS = [f"manylinux_2_{n}_x86_64" for n in range(36, 4, -1)] + ["manylinux2014_x86_64", "manylinux1_x86_64"]


def digest(*paths: pathlib.Path) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def pip_download(wheels: pathlib.Path, *what: str) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(wheels)]
    command += ["--only-binary=:all:", "--python-version", PYTHON]
    for platform in PLATFORMS:
        command += ["--platform", platform]
    subprocess.run([*command, *what], check=True)


# uv knows PyTorch's own index of CPU wheels by itself.
PYTORCH = ("--torch-backend", "cpu")


def torch_url(uv: str, requirement: str, index: tuple = PYTORCH) -> str:
    """Where an index, PyTorch's own unless told otherwise, has the wheel."""
    command = [uv, "pip", "compile", "-", "--no-deps", "--format", "pylock.toml", "--no-header", *index]
    command += ["--python-version", PYTHON, "--python-platform", "x86_64-manylinux_2_36"]
    return wheel_url(subprocess.run(command, input=requirement, capture_output=True, text=True, check=True).stdout)


def wheel_url(pylock: str) -> str:
    """The address of the one wheel in a pylock.toml that fits the nodes."""
    urls = re.findall(r'url = "([^"]+)"', pylock)
    tag = PYTHON.replace(".", "")
    return next(url for url in urls if f"cp{tag}-cp{tag}-" in url and "x86_64" in url and "linux" in url)


def fetch_wheels(cache: pathlib.Path, uv: str) -> None:
    wheels = cache / "wheels"
    stamp = cache / "wheels.stamp"
    wanted = digest(*LOCKS)
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    torch = re.search(r"^torch==\S+", LOCKS[0].read_text(), re.MULTILINE)[0]
    try:
        pip_download(wheels, torch)
    except subprocess.CalledProcessError:
        # The CPU build of torch is not on PyPI. Where pip is not set up to find it, PyTorch has it.
        pip_download(wheels, torch_url(uv, torch))
    for lock in LOCKS:
        pip_download(wheels, "--find-links", str(wheels), "--require-hashes", "--requirement", str(lock))
    stamp.write_text(wanted)


def convert_model(cache: pathlib.Path, uv: str) -> None:
    target = cache / "models" / MODEL
    stamp = cache / "model.stamp"
    wanted = digest(LAB / "model/requirements.txt", LAB / "model/convert.py")
    if stamp.is_file() and stamp.read_text() == wanted and target.is_dir():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    # In the model's own parent folder, so that the last step is one rename.
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        python = f"{scratch}/venv/bin/python"
        subprocess.run([uv, "venv", "--quiet", "--python", PYTHON, f"{scratch}/venv"], check=True)
        install = [uv, "pip", "install", "--quiet", "--python", python, "--no-deps", "--no-index", "--require-hashes"]
        install += ["--find-links", str(cache / "wheels"), "--requirement", str(LAB / "model/requirements.txt")]
        subprocess.run(install, check=True)
        subprocess.run([python, str(LAB / "model/convert.py"), f"{scratch}/model"], check=True)
        for path in pathlib.Path(scratch, "model").iterdir():
            path.chmod(0o644)
        shutil.rmtree(target, ignore_errors=True)
        os.rename(f"{scratch}/model", target)
    # The same files under another name: a second model, for whoever wants to change models.
    other = cache / "models" / OTHER_MODEL
    other.parent.mkdir(parents=True, exist_ok=True)
    other.unlink(missing_ok=True)
    other.symlink_to(os.path.relpath(target, other.parent))
    stamp.write_text(wanted)


def main() -> None:
    cache, uv = pathlib.Path(sys.argv[1]), sys.argv[2]
    fetch_wheels(cache, uv)
    convert_model(cache, uv)


if __name__ == "__main__":
    main()
