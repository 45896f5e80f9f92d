# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far the start of an engine is, from what vLLM prints."""

from __future__ import annotations

import pytest

from ansible_collections.onecc.vllm.plugins.module_utils.supervisor.loading import words_of

# Lines of vLLM 0.24 on an H200 and, the second bar, of vLLM 0.32 with CUDA graphs.
ON_GPUS = [
    (
        "INFO 11-28 07:48:47 [api_utils.py:273] non-default args: {'load_format': 'safetensors'}",
        "vLLM starts",
    ),
    (
        "WARNING 11-28 07:48:58 [vllm.py:1062] Enforce eager set, disabling torch.compile and CUDAGraphs. This is",
        "vLLM starts",
    ),
    (
        "(EngineCore pid=269) INFO 11-28 07:48:59 [core.py:114] Initializing a V1 LLM engine (v0.24.0) with config:",
        "Ray starts the engine's ranks",
    ),
    (
        "\rLoading safetensors using Runai Model Streamer:  58% Completed | 170/291 [00:06<00:04, 28.23it/s]",
        "loading the weights: 58 % (170 of 291)",
    ),
    (
        "(EngineCore pid=269) INFO 11-28 07:49:20 [default_loader.py:397] Loading weights took 9.83 seconds",
        "a rank has loaded its weights, in 9 s",
    ),
    (
        "Capturing CUDA graphs (mixed prefill-decode, PIECEWISE):  45%|████▌     | 23/51 [00:01<00:01, 15.87it/s]",
        "capturing CUDA graphs: 45 % (23 of 51)",
    ),
    (
        "Capturing CUDA graphs (decode, FULL):   0%|          | 0/35 [00:00<?, ?it/s]",
        "capturing CUDA graphs: 0 % (0 of 35)",
    ),
    # Where the log is not UTF-8.
    (
        "Capturing CUDA graphs (decode, FULL):  40%|####1     | 14/35 [00:00<00:00, 15.87it/s]",
        "capturing CUDA graphs: 40 % (14 of 35)",
    ),
]


@pytest.mark.parametrize("number", range(len(ON_GPUS)))
def test_on_gpus(number):
    lines = [line for line, _words in ON_GPUS[: number + 1]]
    assert words_of("\n".join(lines)) == ON_GPUS[number][1]


def test_nothing_is_told():
    assert words_of("") == words_of("Triton not available\n") == ""


def test_a_whole_start(capture):
    """Every step that there is, in their order, each until the next is told."""
    lines = capture("logs/healthy_engine.log").splitlines()
    steps = []
    for number in range(1, len(lines)):
        words = words_of("\n".join(lines[:number]))
        if words and words not in steps[-1:]:
            steps.append(words)
    shards = ["loading the weights: %d %% (%d of 5)" % (20 * done, done) for done in (0, 1, 2, 3, 5)]
    assert steps == [
        "vLLM starts",
        "Ray starts the engine's ranks",
        *shards,
        "loading the weights",
        "a rank has loaded its weights, in 0 s",
        "there is room for 93,184 tokens",
        "the engine is set up, its API starts",
        "the first completion is awaited",
    ]
