# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a dictionary of options to a command line."""

from __future__ import annotations

import json


def to_argv(options):
    """Turns options into argv words, in the order given.

    Keys are long option names with or without leading dashes. Underscores become dashes, as vLLM writes
    its flags; what follows a dot is a key within the option's JSON and stays as it is. True gives the
    bare flag, False gives ``--no-flag``, None leaves it out, a list gives the flag once followed by its
    items, a dictionary gives its JSON.

    :param options: dictionary of options
    :return: list of strings
    """
    argv = []
    for name, value in options.items():
        option, dot, key = str(name).lstrip("-").partition(".")
        flag = option.replace("_", "-") + dot + key
        if not flag:
            raise ValueError("an option has no name: %r" % (name,))
        if value is None:
            continue
        if value is True:
            argv.append("--" + flag)
        elif value is False:
            argv.append("--no-" + flag)
        elif isinstance(value, (list, tuple)):
            argv += ["--" + flag, *[str(item) for item in value]]
        elif isinstance(value, dict):
            argv += ["--" + flag, json.dumps(value, sort_keys=True, separators=(",", ":"))]
        else:
            argv += ["--" + flag, str(value)]
    return argv
