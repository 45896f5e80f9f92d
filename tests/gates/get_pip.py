# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for the pip bootstrap script that ansible-test downloads: what it calls pip is uv.

A pip that is unpacked and compiled in each of its environments took a third of the time that ansible-test does.
"""

import pathlib
import sysconfig

PIP = """\
import json
import os
import pathlib
import sys

# The options that ansible-test gives are known to both.
words = ["uv", "pip", *sys.argv[1:2], "--quiet", "--python", sys.executable, *sys.argv[2:]]
os.execvpe("uv", words, {**os.environ, **json.loads(pathlib.Path.home().joinpath("uv.json").read_text())})
"""
# pylint makes millions of small objects and few cycles: looking for those as often as usual is a quarter of its time.
RARELY = "import gc; gc.set_threshold(200000, 20, 100)\n"

site = pathlib.Path(sysconfig.get_path("purelib"))
(site / "pip").mkdir()
(site / "pip/__init__.py").touch()
(site / "pip/__main__.py").write_text(PIP)
(site / "rarely.pth").write_text(RARELY)
