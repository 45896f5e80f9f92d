# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far the start of an engine is, from what vLLM prints."""

from __future__ import annotations

import re

# tqdm's bar, with a bar or, in vLLM's own format for weights, without one.
BAR = r"[^|:]*:\s+(\d+)%(?: Completed )?\|(?:[^|]*\|)?\s*(\d+)/(\d+)"
# What comes after these takes seconds.
SET_UP, AWAITED = "the engine is set up, its API starts", "the first completion is awaited"
# What a line says of the start, as vLLM 0.24 and 0.32 print it: model_loader/weight_utils.py, default_loader.py,
# v1/worker/gpu_model_runner.py, compilation/backends.py, v1/core/kv_cache_utils.py, v1/engine/core.py,
# entrypoints/openai/api_server.py. Uvicorn prints the last one.
STEPS = [
    (re.compile("Loading [a-zA-Z]" + BAR), "loading the weights: %s %% (%s of %s)"),
    (re.compile("Capturing CUDA graphs" + BAR), "capturing CUDA graphs: %s %% (%s of %s)"),
    (re.compile("Starting to load model "), "loading the weights"),
    (re.compile(r"Loading weights took (\d+)[.\d]* seconds"), "a rank has loaded its weights, in %s s"),
    (re.compile("for vLLM's torch.compile|Dynamo bytecode transform|Compiling a graph"), "compiling"),
    (re.compile(r"KV cache size: ([\d,]+) tokens"), "there is room for %s tokens"),
    (re.compile("init engine .* took "), SET_UP),
    (re.compile("Initializing a V1 LLM engine"), "Ray starts the engine's ranks"),
    (re.compile("vLLM API server|non-default args"), "vLLM starts"),
    (re.compile("Application startup complete"), AWAITED),
]


def words_of(text):
    """The last step that is told, in words; empty if none is.

    :param text: the last lines that vLLM has printed since it was started
    """
    # A bar that is kept up to date is one line for whoever wrote it down.
    for line in reversed(text.splitlines()):
        for pattern, words in STEPS:
            if found := pattern.search(line):
                return words % found.groups() if found.groups() else words
    return ""
