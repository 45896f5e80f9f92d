# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From options to a command line."""

from __future__ import annotations

import pytest

from ansible_collections.onecc.vllm.plugins.module_utils.argv import to_argv


@pytest.mark.parametrize(
    ("options", "argv"),
    [
        pytest.param({}, [], id="nothing"),
        pytest.param({"dtype": "bfloat16"}, ["--dtype", "bfloat16"], id="text"),
        pytest.param({"revision": ""}, ["--revision", ""], id="empty-text-stays"),
        pytest.param({"download_dir": "/a folder"}, ["--download-dir", "/a folder"], id="one-word-with-a-blank"),
        pytest.param({"port": 8000}, ["--port", "8000"], id="integer"),
        pytest.param({"swap_space": 0}, ["--swap-space", "0"], id="zero-is-not-false"),
        pytest.param({"max_num_seqs": 1}, ["--max-num-seqs", "1"], id="one-is-not-true"),
        pytest.param({"gpu_memory_utilization": 0.9}, ["--gpu-memory-utilization", "0.9"], id="float"),
        pytest.param({"enforce_eager": True}, ["--enforce-eager"], id="true"),
        pytest.param({"enable_prefix_caching": False}, ["--no-enable-prefix-caching"], id="false"),
        pytest.param({"quantization": None}, [], id="none"),
        pytest.param({"allowed_origins": ["a", 2]}, ["--allowed-origins", "a", "2"], id="list"),
        pytest.param({"middleware": ("a", "b")}, ["--middleware", "a", "b"], id="tuple"),
        pytest.param(
            {"override": {"b": [1, None], "a": {"x_y": True}}},
            ["--override", '{"a":{"x_y":true},"b":[1,null]}'],
            id="dictionary-is-json-and-keeps-its-underscores",
        ),
        pytest.param({"--tensor-parallel-size": 8}, ["--tensor-parallel-size", "8"], id="dashes-given"),
        pytest.param(
            {"hf_overrides.rope_scaling.rope_type": "yarn"},
            ["--hf-overrides.rope_scaling.rope_type", "yarn"],
            id="keys-behind-a-dot-stay",
        ),
        pytest.param({"--max_model_len": 8}, ["--max-model-len", "8"], id="dashes-and-underscores"),
        pytest.param({"b": 1, "a": True, "c": None, "d": 2}, ["--b", "1", "--a", "--d", "2"], id="order-as-given"),
    ],
)
def test_to_argv(options, argv):
    assert to_argv(options) == argv


@pytest.mark.parametrize("name", ["", "--"])
@pytest.mark.parametrize("value", [1, None])
def test_an_option_without_a_name(name, value):
    with pytest.raises(ValueError, match="an option has no name: '%s'" % name):
        to_argv({name: value})
