#!/usr/bin/env python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings together what run.py needs on a machine without network, and packs it.

Usage: bundle.py [--accelerator gpu|cpu] [--part-bytes N], on Debian 12, where packages can be fetched. Leaves
build/gpu/ACCELERATOR/ (the folder that run.py takes) and build/gpu/parts/partNN, the same as one archive in pieces.
With cpu it is what the rehearsal on a machine without GPUs takes, and nothing is packed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))

import debian

import locks

BUILD = ROOT / "build/gpu"
LAB_CACHE = pathlib.Path(os.environ.get("LAB_CACHE") or pathlib.Path.home() / ".cache/onecc-vllm-lab")
# Python of the machine, and the newest glibc that its wheels may need: Ubuntu 24.04, Debian 12.
PLATFORMS = {"gpu": ("3.12", 35), "cpu": ("3.11", 36)}
# Ansible looks its modules up although nothing runs in containers.
COLLECTIONS = ["community/docker"]
# Loaders that vLLM names as extras and its lock does not hold.
LOADERS = ["runai-model-streamer==0.16.1", "humanize==4.17.0", "instanttensor==0.2.2"]


def say(text: str) -> None:
    print(text, flush=True)


def lock_files(accelerator: str) -> dict[str, str]:
    """The lock files that are installed there, by their names in the bundle."""
    controller = locks.only((ROOT / "requirements/dev.txt").read_text(), locks.CONTROLLER)
    whole = (
        ROOT
        / {"gpu": "roles/env_setup/files/venv-requirements.txt", "cpu": "tests/lab/serving/requirements.txt"}[
            accelerator
        ]
    )
    # What converts SmolLM2, which is smaller as its package has it: with the same versions, where there are two.
    model = (ROOT / "tests/lab/model/requirements.txt").read_text()
    venv = whole.read_text()
    if accelerator == "gpu":
        venv = locks.without(venv, locks.OF_THE_MACHINE)
        model = locks.without(model, locks.OF_THE_MACHINE)
        shared = set(locks.entries(venv)) & set(locks.entries(model))
        model = locks.without(model, list(shared)) + locks.only(venv, list(shared))
    return {
        "venv.txt": venv,
        "model.txt": model,
        "tools.txt": (ROOT / "roles/env_setup/files/tools-requirements.txt").read_text(),
        "controller.txt": controller,
    }


def wheels(accelerator: str, cache: pathlib.Path, folder: pathlib.Path) -> None:
    """Fetches what the lock files name, each once, and lays it beside them."""
    python, newest = PLATFORMS[accelerator]
    platforms = ["manylinux_2_%d_x86_64" % number for number in range(newest, 4, -1)]
    words = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    words += ["--python-version", python, "--find-links", str(cache), "--find-links", str(LAB_CACHE / "wheels")]
    for platform in [*platforms, "manylinux2014_x86_64", "manylinux1_x86_64"]:
        words += ["--platform", platform]
    cache.mkdir(parents=True, exist_ok=True)
    wanted = lock_files(accelerator)
    stamp = cache / "stamp"
    digest = hashlib.sha256(json.dumps([wanted, LOADERS]).encode()).hexdigest()
    if not stamp.exists() or stamp.read_text() != digest:
        # A new folder, which takes from the old one what is still wanted.
        fresh = cache.with_name(cache.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        for name, text in wanted.items():
            say("fetching what %s names" % name)
            (fresh / name).write_text(text)
            run(*words, "--dest", str(fresh), "--require-hashes", "--requirement", str(fresh / name))
        if accelerator == "gpu":
            run(*words, "--dest", str(fresh), *LOADERS)
        (fresh / "stamp").write_text(digest)
        shutil.rmtree(cache)
        fresh.rename(cache)
    (folder / "wheels").mkdir(parents=True)
    (folder / "locks").mkdir()
    for path in cache.glob("*.whl"):
        os.link(path, folder / "wheels" / path.name)
    for name in wanted:
        shutil.copy(cache / name, folder / "locks" / name)


def pack(folder: pathlib.Path, parts: pathlib.Path, size: int) -> None:
    """One archive, the same for the same contents, in pieces."""
    shutil.rmtree(parts, ignore_errors=True)
    parts.mkdir(parents=True)
    archive = parts / "bundle.tar"

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = member.mtime = 0
        member.uname = member.gname = ""
        return member

    with tarfile.open(archive, "w") as packed:
        for path in sorted(folder.rglob("*")):
            packed.add(path, str(path.relative_to(folder)), recursive=False, filter=plain)
    with archive.open("rb") as whole:
        for number in range(-(-archive.stat().st_size // size)):
            (parts / ("part%02d" % number)).write_bytes(whole.read(size))
    archive.unlink()


def pack_folder(target: pathlib.Path, folder: pathlib.Path, *names: str) -> None:
    """An archive that is the same for the same files."""
    plain = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"]
    run("tar", "--create", "--xz", *plain, "--file", str(target), "--directory", str(folder), *names)


def run(*words: str) -> None:
    subprocess.run(words, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--accelerator", choices=PLATFORMS, default="gpu")
    parser.add_argument("--part-bytes", type=int, default=54_000_000)
    options = parser.parse_args()
    folder = BUILD / options.accelerator
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    wheels(options.accelerator, BUILD / "cache/wheels" / options.accelerator, folder)
    say("unpacking Debian's packages")
    debian.unpack(BUILD / "cache/debs", BUILD / "cache/debian")
    pack_folder(folder / "debian.tar.xz", BUILD / "cache/debian", ".")
    say("packing the collections that ours depends on")
    there = next((ROOT / ".venv/lib").glob("python3*")) / "site-packages/ansible_collections"
    pack_folder(folder / "collections.tar.xz", there, *COLLECTIONS)
    files = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    manifest = {"accelerator": options.accelerator, "python": PLATFORMS[options.accelerator][0], "files": files}
    (folder / "bundle.json").write_text(json.dumps(manifest, indent=1) + "\n")
    say("%s: %.0f MB" % (folder, sum((folder / name).stat().st_size for name in files) / 1e6))
    if options.accelerator == "gpu":
        pack(folder, BUILD / "parts", options.part_bytes)
        say("%s: %d parts" % (BUILD / "parts", len(list((BUILD / "parts").iterdir()))))


if __name__ == "__main__":
    main()
