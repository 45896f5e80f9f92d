# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs Ansible's programs one after the other, each as a process of its own that has imported Ansible already.

Importing takes most of a short run. Each line of the input is a run, see Prepared; the answer is how it ended.
"""

from __future__ import annotations

import importlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import traceback

PROGRAMS = {"ansible": "adhoc", "ansible-doc": "doc", "ansible-inventory": "inventory", "ansible-playbook": "playbook"}
# Variables that only our own plugins and pytest read, by what they begin with.
LATER = ("LAMBDA_", "ONECC_", "PYTEST_")


class Prepared:
    """The other side: run() takes the place of subprocess.run for these programs."""

    def __init__(self):
        self.process = self.read_at_import = None

    def run(self, words, env, cwd):
        # Ansible reads its settings while it is imported, without ANSIBLE_CONFIG also those of the folder.
        read_at_import = {name: env[name] for name in env if not name.startswith(LATER)}
        if "ANSIBLE_CONFIG" not in env:
            read_at_import["the folder"] = str(cwd)
        if read_at_import != self.read_at_import:
            self.close()
            self.process = subprocess.Popen(
                [sys.executable, __file__], env=env, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            self.read_at_import = read_at_import
        with tempfile.TemporaryDirectory(prefix="prepared-") as folder:
            out, err = pathlib.Path(folder, "out"), pathlib.Path(folder, "err")
            told = {"words": words, "env": dict(env), "cwd": str(cwd), "out": str(out), "err": str(err)}
            self.process.stdin.write(json.dumps(told) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
            assert answer, "Ansible could not be imported, see above"
            status = int(answer)
            return subprocess.CompletedProcess(words, status, out.read_text(), err.read_text())

    def close(self):
        if self.process:
            self.process.communicate()
            self.process = self.read_at_import = None


def main():
    for name in PROGRAMS.values():
        importlib.import_module("ansible.cli." + name)
    for line in sys.stdin:
        told = json.loads(line)
        child = os.fork()
        if child == 0:
            run(told)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def run(told):
    status = 1
    signal.alarm(120)
    try:
        for number, path in enumerate([os.devnull, told["out"], told["err"]]):
            opened = os.open(path, os.O_RDWR | os.O_CREAT)
            os.dup2(opened, number)
            os.close(opened)
        os.chdir(told["cwd"])
        os.environ.clear()
        os.environ.update(told["env"])
        sys.argv = told["words"]
        importlib.import_module("ansible.cli." + PROGRAMS[told["words"][0]]).main()
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # What is left to do at the end of a process is for the one that this one was forked from.
        os._exit(status)


if __name__ == "__main__":
    main()
