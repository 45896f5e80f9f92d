# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lock files made from others: the same versions with the same hashes, of fewer packages."""

from __future__ import annotations

import re

# What the machine's own Python environment has, in most cases as large as everything else together: PyTorch with CUDA,
# and what compiles kernels. vLLM imports some of the others only for models that are not served here.
OF_THE_MACHINE = [
    r"cuda-.*",
    r"flashinfer-cubin",
    r"llvmlite",
    r"mpmath|networkx|sympy",
    r"numba",
    r"numpy",
    r"nvidia-(cublas|cuda|cudnn-cu|cufft|cufile|curand|cusolver|cusparse|cutlass-dsl-libs|nccl|nvjitlink|nvshmem|nvtx|nvvm).*",
    r"opencv-.*",
    r"tilelang",
    r"tokenspeed-.*",
    r"torch|torchaudio|torchvision",
    r"triton",
    r"z3-solver",
]
# Ansible, and what installs, out of the lock file of this repository's own environment.
CONTROLLER = [
    "ansible-core",
    "cffi",
    "cryptography",
    "jinja2",
    "markupsafe",
    "packaging",
    "pip",
    "pycparser",
    "pyyaml",
    "resolvelib",
    "uv",
]


def entries(lock: str) -> dict[str, list[str]]:
    """The entries of a lock file by the names of the packages, one for each version."""
    found: dict[str, list[str]] = {}
    for entry in re.findall(r"^[A-Za-z0-9][^\n]*(?:\n[ \t]+[^\n]*)*", lock, re.MULTILINE):
        found.setdefault(re.split(r"[=\s\[]", entry, maxsplit=1)[0], []).append(entry)
    return found


def without(lock: str, patterns: list[str]) -> str:
    """The entries whose names match none of the patterns."""
    kept = [text for name, texts in entries(lock).items() if not matches(name, patterns) for text in texts]
    return "\n".join(kept) + "\n"


def only(lock: str, patterns: list[str]) -> str:
    """The entries whose names match one of the patterns."""
    kept = [text for name, texts in entries(lock).items() if matches(name, patterns) for text in texts]
    return "\n".join(kept) + "\n"


def matches(name: str, patterns: list[str]) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in patterns)
