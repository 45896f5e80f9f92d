#!/usr/bin/env python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unpacks what a bare machine lacks to be a node or a controller: sshd, ssh, nginx, nft and ip, with their libraries.

Usage: debian.py CACHE TARGET, on Debian 12 with apt. Nothing is installed: the packages are unpacked into TARGET, and
the scripts that nodes.py writes run them from there, on any Linux whose glibc is at least as new.
"""

from __future__ import annotations

import pathlib
import re
import shutil
import subprocess
import sys

PROGRAMS = {
    "openssh-server": ["usr/sbin/sshd"],
    "openssh-sftp-server": ["usr/lib/openssh/sftp-server"],
    "openssh-client": ["usr/bin/ssh", "usr/bin/sftp", "usr/bin/ssh-keygen"],
    "nginx": ["usr/sbin/nginx"],
    "nftables": ["usr/sbin/nft"],
    "iproute2": ["bin/ip"],
}
LIBRARIES = [
    "libaudit1",
    "libbpf1",
    "libbsd0",
    "libcap-ng0",
    "libcap2",
    "libcbor0.8",
    "libcom-err2",
    "libcrypt1",
    "libdb5.3",
    "libedit2",
    "libelf1",
    "libfido2-1",
    "libgcrypt20",
    "libgmp10",
    "libgpg-error0",
    "libgssapi-krb5-2",
    "libjansson4",
    "libk5crypto3",
    "libkeyutils1",
    "libkrb5-3",
    "libkrb5support0",
    "liblz4-1",
    "liblzma5",
    "libmd0",
    "libmnl0",
    "libnftables1",
    "libnftnl11",
    "libnsl2",
    "libpam0g",
    "libpcre2-8-0",
    "libselinux1",
    "libssl3",
    "libsystemd0",
    "libtinfo6",
    "libtirpc3",
    "libudev1",
    "libwrap0",
    "libxtables12",
    "libzstd1",
    "zlib1g",
]
# Those of the C library, which every machine has, and may have newer.
GLIBC = {
    "libc.so.6",
    "libm.so.6",
    "libdl.so.2",
    "libpthread.so.0",
    "libresolv.so.2",
    "librt.so.1",
    "ld-linux-x86-64.so.2",
}


def needed(dynamic: str) -> set[str]:
    """The libraries that `readelf --dynamic` names."""
    return set(re.findall(r"\(NEEDED\).*\[(.+?)\]", dynamic))


def lacking(root: pathlib.Path) -> set[str]:
    """Libraries that the programs need, themselves or by others, and that neither the packages nor glibc bring."""
    there = {path.name: path for path in root.rglob("*.so*")}
    todo = [root / program for programs in PROGRAMS.values() for program in programs]
    seen: set[str] = set()
    while todo:
        words = ["readelf", "--dynamic", "--wide", str(todo.pop())]
        names = needed(subprocess.run(words, check=True, capture_output=True, text=True).stdout) - seen - GLIBC
        seen |= names
        todo += [there[name] for name in names if name in there]
    return seen - set(there)


def unpack(cache: pathlib.Path, target: pathlib.Path) -> None:
    packages = [*PROGRAMS, *LIBRARIES]
    cache.mkdir(parents=True, exist_ok=True)
    absent = [name for name in packages if not list(cache.glob(name + "_*.deb"))]
    if absent:
        subprocess.run(["apt-get", "-qq", "download", *absent], cwd=cache, check=True)
    shutil.rmtree(target, ignore_errors=True)
    for name in packages:
        subprocess.run(["dpkg-deb", "--extract", str(next(cache.glob(name + "_*.deb"))), str(target)], check=True)
    for folder in ("usr/share/doc", "usr/share/man", "usr/share/locale"):
        shutil.rmtree(target / folder, ignore_errors=True)
    if lacking(target):
        sys.exit("expected packages with all libraries, found none with %s" % ", ".join(sorted(lacking(target))))


if __name__ == "__main__":
    unpack(pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve())
