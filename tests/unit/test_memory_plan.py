# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a model fits a cluster: published models on clusters of H100s, and the lab's on CPUs."""

from __future__ import annotations

import itertools
import json
import pathlib

import pytest

from ansible_collections.onecc.vllm.plugins.module_utils.catalogue import BY_ID
from ansible_collections.onecc.vllm.plugins.module_utils.errors import OneccError
from ansible_collections.onecc.vllm.plugins.module_utils.memory_plan import (
    GIB,
    LAYOUTS,
    blocks_of_sequence,
    candidates,
    columns,
    gather,
    kv_groups,
    kv_layer,
    overhead,
    partition,
    place,
    plan,
    read_number,
    report,
    resolve,
    stage_weights,
    way,
)
from ansible_collections.onecc.vllm.plugins.module_utils.model_shape import Tensor, read_config, tensors_from_config

CONFIGS = pathlib.Path(__file__).resolve().parent / "data" / "configs"
BIG, MEDIUM, MIXTRAL = "Llama-3.1-405B-Instruct", "Llama-3.1-70B-Instruct", "Mixtral-8x7B-Instruct-v0.1"
QWEN, DEEPSEEK, SMALL = "Qwen3-30B-A3B", "DeepSeek-V3", "SmolLM2-135M-Instruct"
# As nvidia-smi tells it.
H100, L40S = 81559, 46068


def shape_of(name, **change):
    return read_config(json.loads((CONFIGS / name / "config.json").read_text()) | change)


def cluster(*gpus, memory=H100):
    return [{"name": "node%d" % number, "gpus": count, "memory_mib": memory} for number, count in enumerate(gpus)]


def planned(name, nodes, tp=0, pp=0, change=None, **settings):
    return plan(shape_of(name, **(change or {})), [], nodes, settings, tp, pp)


def sizes(layout):
    return layout and (layout["tensor_parallel_size"], layout["pipeline_parallel_size"])


@pytest.mark.parametrize(
    ("name", "tp", "pp", "weights", "per_token"),
    [
        (BIG, 8, 1, 94.5, 64_512),
        (BIG, 16, 1, 47.7, 64_512),
        (BIG, 8, 2, 47.2, 32_256),
        (BIG, 8, 4, 23.8, 16_384),
        (MEDIUM, 8, 1, 16.4, 40_960),
        (QWEN, 4, 1, 14.2, 24_576),
        # Two GPUs share a KV head.
        (QWEN, 8, 1, 7.2, 24_576),
        (MIXTRAL, 8, 1, 10.9, 16_384),
        # The latent vector is not split.
        (DEEPSEEK, 8, 2, 41.0, 35_712),
        (DEEPSEEK, 16, 1, 40.3, 70_272),
    ],
)
def test_what_a_gpu_holds(name, tp, pp, weights, per_token):
    """Weights in GiB and bytes of KV cache for a token, of the stage that has the most."""
    stages = planned(name, cluster(8, 8, 8, 8), tp, pp)["chosen"]["stages"]
    assert max(stage["weights"] for stage in stages) / GIB == pytest.approx(weights, abs=0.06)
    assert max(stage["kv_bytes_per_token"] for stage in stages) == per_token


def test_the_whole_of_it_by_hand():
    """Llama 3.1 405B at 16 GPUs: a sixteenth, but an eighth of keys and values, and all of the norms."""
    keys, norms = 126 * 2 * 1024 * 16384, 253 * 16384
    rest = 405_853_388_800 - keys - norms
    stages = planned(BIG, cluster(8, 8), 16, 1)["chosen"]["stages"]
    assert stages[0]["weights"] == 2 * (rest // 16 + keys // 8 + norms)


@pytest.mark.parametrize(
    ("name", "dtype", "per_token"),
    [
        (BIG, "auto", 516_096),
        (BIG, "fp8", 258_048),
        (BIG, "bfloat16", 516_096),
        (MEDIUM, "auto", 327_680),
        (DEEPSEEK, "auto", 70_272),
        (DEEPSEEK, "fp8_e4m3", 35_136),
        (SMALL, "auto", 23_040),
    ],
)
def test_kv_cache_of_the_whole_model(name, dtype, per_token):
    assert planned(name, cluster(8), kv_cache_dtype=dtype)["model"]["kv_bytes_per_token"] == per_token


@pytest.mark.parametrize(
    ("layers", "stages", "given", "counts"),
    [
        (30, 1, "", [30]),
        (30, 2, "", [15, 15]),
        (30, 3, "", [10, 10, 10]),
        (126, 4, "", [31, 32, 32, 31]),
        (61, 2, "", [31, 30]),
        (61, 4, "", [15, 15, 16, 15]),
        (126, 8, "", [15, 16, 16, 16, 16, 16, 16, 15]),
        (7, 4, "", [2, 2, 2, 1]),
        (32, 4, "7,9,9,7", [7, 9, 9, 7]),
    ],
)
def test_partition(layers, stages, given, counts):
    """As vLLM's get_pp_indices gives them."""
    found = partition(layers, stages, given)
    assert [end - start for start, end in found] == counts
    assert [start for start, end in found] == [0, *(end for start, end in found)][:-1]


@pytest.mark.parametrize("given", ["16,16,1", "16,15", "16,x", "32"])
def test_a_partition_that_does_not_fit(given):
    with pytest.raises(ValueError, match="'x'" if "x" in given else given):
        partition(32, 2, given)


@pytest.mark.parametrize(
    ("stages", "block", "tokens"),
    [(1, 128, 46_592), (2, 128, 93_184), (3, 128, 139_776), (1, 16, 46_592), (2, 16, 93_200), (3, 16, 139_808)],
)
def test_tokens_that_vllm_logs(stages, block, tokens):
    """The lab's model with 1 GiB of KV cache, blocks of 128 tokens as on a CPU and of 16 as on a GPU."""
    found = planned(SMALL, cluster(*[1] * stages, memory=0), 1, stages, kv_cache_memory=GIB, block_size=block)
    assert not found["problems"]
    assert found["chosen"]["tokens"] == tokens


@pytest.mark.parametrize(
    ("longest", "tokens"),
    [
        # 364 blocks of 128 tokens; 64, 8 or 1 in a sequence.
        pytest.param(8192, 46_592, id="whole-blocks"),
        pytest.param(1000, 45_500, id="the-rest-of-a-block-is-lost"),
        pytest.param(100, 36_400, id="less-than-a-block"),
    ],
)
def test_tokens_of_sequences(longest, tokens):
    nodes = cluster(1, memory=0)
    found = planned(SMALL, nodes, kv_cache_memory=GIB, block_size=128, max_model_len=longest)
    assert found["chosen"]["tokens"] == tokens


@pytest.mark.parametrize(
    ("memory", "fits"),
    [pytest.param(65, True, id="and-the-block-that-is-held-back"), pytest.param(64, False, id="but-not-that-block")],
)
def test_one_sequence(memory, fits):
    """A sequence of 8192 tokens takes 64 blocks of 128, each 2,949,120 bytes."""
    settings = {"kv_cache_memory": memory * 128 * 23_040, "block_size": 128}
    found = planned(SMALL, cluster(1, memory=0), 1, 1, **settings)
    assert [problem["id"] for problem in found["problems"]] == ([] if fits else ["model-fit"])


@pytest.mark.parametrize(
    ("name", "nodes", "best"),
    [
        pytest.param(BIG, cluster(8), None, id="405B-on-8"),
        pytest.param(BIG, cluster(8, 8), (8, 2), id="405B-on-16"),
        pytest.param(BIG, cluster(8, 8, 8, 8), (8, 4), id="405B-on-32"),
        pytest.param(MEDIUM, cluster(8), (8, 1), id="70B-on-8"),
        pytest.param(MEDIUM, cluster(4, memory=L40S), (4, 1), id="70B-on-4-small-ones"),
        pytest.param(MEDIUM, cluster(1, 1, 1, 1), (1, 4), id="70B-on-nodes-with-one"),
        pytest.param(MEDIUM, cluster(1), None, id="70B-on-1"),
        pytest.param(MEDIUM, cluster(8, 4), (4, 3), id="nodes-with-unequal-numbers"),
        pytest.param(DEEPSEEK, cluster(8), None, id="deepseek-on-8"),
        pytest.param(DEEPSEEK, cluster(8, memory=143771), (8, 1), id="deepseek-on-8-large-ones"),
        pytest.param(DEEPSEEK, cluster(8, 8), (8, 2), id="deepseek-on-16"),
        pytest.param(SMALL, cluster(1, 1), (1, 2), id="lab"),
        pytest.param(SMALL, cluster(2), (1, 2), id="9-heads-on-2"),
        pytest.param(SMALL, cluster(3), (3, 1), id="9-heads-on-3"),
        pytest.param(MEDIUM, [], None, id="no-nodes"),
        pytest.param(SMALL, cluster(0, 2), (1, 2), id="a-node-without-gpus"),
    ],
)
def test_best(name, nodes, best):
    settings = {"max_model_len": 8192} if nodes and nodes[0]["memory_mib"] == L40S else {}
    found = planned(name, nodes, **settings)
    assert sizes(found["best"]) == sizes(found["chosen"]) == best
    assert bool(found["problems"]) == (best is None)
    assert len(found["layouts"]) <= LAYOUTS
    verdicts = [layout["feasible"] for layout in found["layouts"]]
    assert verdicts == sorted(verdicts, reverse=True)
    assert json.loads(json.dumps(found)) == found


def test_unequal_memory():
    """The smallest GPU decides."""
    nodes = [*cluster(8), *cluster(8, memory=L40S)]
    assert planned(BIG, nodes)["best"] is None
    assert planned(BIG, nodes)["cluster"]["memory_mib"] == L40S


@pytest.mark.parametrize(
    ("tp", "pp", "chosen"),
    [
        pytest.param(0, 0, (8, 2), id="both-auto"),
        pytest.param(16, 1, (16, 1), id="both-given"),
        pytest.param(4, 0, (4, 4), id="stages-auto"),
        pytest.param(0, 2, (8, 2), id="tensor-auto"),
        pytest.param(0, 4, (4, 4), id="tensor-auto-for-4-stages"),
        pytest.param(0, 1, (16, 1), id="tensor-auto-for-1-stage"),
        pytest.param(8, 1, (8, 1), id="given-though-impossible"),
    ],
)
def test_sizes_that_are_given(tp, pp, chosen):
    found = planned(BIG, cluster(8, 8), tp, pp)
    assert sizes(found["chosen"]) == chosen
    assert sizes(found["best"]) == (8, 2)
    assert found["chosen"] in found["layouts"]


@pytest.mark.parametrize(
    ("name", "tp", "pp", "settings", "problems"),
    [
        pytest.param(MEDIUM, 3, 1, {}, [("layout", "64 attention heads", "a multiple of 3"),
                                        ("layout", "8 KV heads", "a multiple or a divisor of 3"),
                                        ("layout", "an intermediate size of 28672", "a multiple of 3"),
                                        ("layout", "an attention output of 8192", "a multiple of 3")], id="heads"),
        pytest.param(SMALL, 9, 1, {}, [("layout", "a padded vocabulary of 49152", "a multiple of 9"),
                                       ("layout", "an intermediate size of 1536", "a multiple of 9")], id="vocabulary"),
        pytest.param(SMALL, 1, 16, {"layer_partition": "30"},
                     [("layout", "the layer partition 30", "16 numbers that add up to 30")], id="partition"),
        pytest.param(SMALL, 1, 2, {"layer_partition": "x,y"},
                     [("layout", "the layer partition x,y", "2 numbers that add up to 30")], id="no-partition"),
        pytest.param(MEDIUM, 8, 3, {}, [("gpu-count", "16 GPUs", "at least 24 (8 x 3)")], id="gpus"),
    ],
)  # fmt: skip
def test_layouts_that_are_impossible(name, tp, pp, settings, problems):
    found = planned(name, cluster(8, 8), tp, pp, **settings)
    assert [tuple(problem.values()) for problem in found["problems"]] == problems
    assert not found["chosen"]["feasible"]
    assert found["chosen"]["tokens"] == 0
    assert all(problem["id"] in BY_ID for problem in found["problems"])


def test_more_stages_than_layers():
    found = planned(SMALL, cluster(*[1] * 32), 1, 32)
    assert found["problems"] == [
        {"id": "layout", "found": "30 layers", "expected": "at least one for each of 32 stages"}
    ]


FP8 = {"quant_method": "fp8", "weight_block_size": [128, 128]}


@pytest.mark.parametrize(
    ("name", "quantization", "tp", "settings", "found"),
    [
        # 768 / 8 = 96, which is no whole block of 128.
        pytest.param(QWEN, FP8, 8, {}, ["an intermediate size of experts of 768"], id="experts-cut-in-blocks"),
        pytest.param(QWEN, FP8, 8, {"enable_expert_parallel": True}, [], id="whole-experts"),
        pytest.param(QWEN, FP8, 2, {}, [], id="whole-blocks"),
        pytest.param(QWEN, None, 8, {}, [], id="not-quantised"),
        pytest.param(MEDIUM, {"quant_method": "awq", "bits": 4, "group_size": 128}, 8, {}, [], id="whole-groups"),
        pytest.param(
            SMALL,
            {"quant_method": "gptq", "bits": 4, "group_size": 128},
            3,
            {},
            ["an attention output of 576"],
            id="groups-cut",
        ),
        pytest.param(SMALL, {"quant_method": "bitsandbytes", "load_in_4bit": True}, 3, {}, [], id="bitsandbytes"),
    ],
)
def test_quantised_weights_that_are_cut(name, quantization, tp, settings, found):
    change = {"quantization_config": quantization}
    problems = planned(name, cluster(8), tp, 1, change, **settings)["problems"]
    assert [problem["found"] for problem in problems] == found


def test_a_refusal_tells_numbers():
    """Needed and available, each in GiB, and which stage."""
    found = planned(BIG, cluster(8), 4, 2)["problems"]
    assert [problem["id"] for problem in found] == ["model-fit", "model-fit"]
    assert found[1]["expected"] == "at most 72.7 GiB of each GPU"
    words = found[1]["found"].split()
    assert words[:5] == ["stage", "2", "of", "2:", "94.5"]
    parts = [float(word.lstrip("(")) for word, unit in itertools.pairwise(words) if unit[:3] == "GiB"]
    # Weights, overhead and one sequence are what it takes.
    assert sum(parts[:3]) == pytest.approx(parts[3], abs=0.2)


def test_memory_for_the_cache_that_is_not_there():
    """--kv-cache-memory-bytes does not mind gpu-memory-utilization, but the GPU's memory has an end."""
    settings = {"max_model_len": 8192, "kv_cache_memory": 20 * GIB}
    assert not planned(BIG, cluster(8, 8), 8, 2, **settings)["problems"]
    settings["kv_cache_memory"] = 40 * GIB
    assert planned(BIG, cluster(8, 8), 8, 2, **settings)["problems"][0]["id"] == "model-fit"


@pytest.mark.parametrize(
    ("change", "more"),
    [
        pytest.param({"gpu_memory_utilization": 0.95}, True, id="utilization"),
        pytest.param({"enforce_eager": True}, True, id="no-graphs"),
        pytest.param({"max_num_batched_tokens": 32768}, False, id="large-batches"),
        pytest.param({"max_num_seqs": 4096}, False, id="many-sequences"),
        pytest.param({"kv_cache_dtype": "fp8"}, True, id="small-cache"),
    ],
)
def test_settings(change, more):
    before, after = (planned(BIG, cluster(8, 8), 8, 2, **settings)["chosen"]["tokens"] for settings in ({}, change))
    assert (after > before) if more else (after < before)


@pytest.mark.parametrize(
    ("gib", "tokens", "sequences"), [(24, 2048, 256), (79, 8192, 1024), (139, 8192, 1024), (180, 16384, 1024)]
)
def test_defaults(gib, tokens, sequences):
    """As vLLM's API server has them for GPUs of that memory."""
    found = resolve({"max_model_len": None}, shape_of(MEDIUM), gib * GIB)
    assert (found["max_num_batched_tokens"], found["max_num_seqs"]) == (tokens, sequences)
    assert (found["gpu_memory_utilization"], found["block_size"]) == (0.92, 16)
    assert found["max_model_len"] == 131072
    assert resolve({"max_num_batched_tokens": 64}, shape_of(MEDIUM), gib * GIB)["max_num_seqs"] == 64


# The shape of Llama 3.1 8B.
EIGHT = {
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "tie_word_embeddings": False,
}


@pytest.mark.parametrize(
    ("change", "tp", "pp", "tokens"),
    [
        (EIGHT, 1, 1, 919_824),
        (EIGHT, 2, 1, 1_961_216),
        (EIGHT, 1, 2, 1_964_816),
        ({}, 1, 1, 5_956_560),
        ({}, 1, 2, 11_937_408),
    ],
    ids=["8B-TP1", "8B-TP2", "8B-PP2", "SmolLM2-TP1", "SmolLM2-PP2"],
)
def test_tokens_that_vllm_logged_on_h200s(change, tp, pp, tokens):
    """vLLM 0.24.0 on two H200s of one host (2026-11-27, driver 580.159.04, torch 2.11.0), PP 2 over Ray with a GPU in
    each of two network namespaces; --max-model-len 8192, the rest as it comes. The plan promises a little less.
    """
    nodes = cluster(*[1] * pp, memory=143771) if tp == 1 else cluster(tp, memory=143771)
    found = planned(SMALL, nodes, tp, pp, change, max_model_len=8192)["chosen"]["tokens"]
    assert 0.95 * tokens < found <= tokens


def test_overhead_is_of_a_sensible_size():
    """Between one and six GiB on a GPU for all of these: more than a context, less than a tenth of an H100."""
    for name in (BIG, MEDIUM, MIXTRAL, QWEN, DEEPSEEK, SMALL):
        shape = shape_of(name)
        assert 1 * GIB < overhead(shape, 8, 2, True, resolve({}, shape, 79 * GIB)) < 6 * GIB


@pytest.mark.parametrize(
    ("name", "where", "how"),
    [
        ("model.embed_tokens.weight", "embedding", None),
        ("language_model.model.embed_tokens.weight", "embedding", None),
        ("lm_head.weight", "head", None),
        ("model.norm.weight", "last", None),
        ("model.layers.7.input_layernorm.weight", 7, "replicated"),
        ("model.layers.7.self_attn.q_proj.weight", 7, "split"),
        ("model.layers.7.self_attn.k_proj.weight", 7, "kv"),
        ("model.layers.7.self_attn.v_proj.bias", 7, "kv"),
        ("model.layers.7.self_attn.qkv_proj.weight", 7, "qkv"),
        ("model.layers.7.self_attn.o_proj.weight", 7, "split"),
        ("model.layers.7.self_attn.o_proj.bias", 7, "replicated"),
        ("model.layers.7.self_attn.q_norm.weight", 7, "replicated"),
        ("model.layers.12.mlp.gate_proj.qweight", 12, "split"),
        ("model.layers.12.mlp.gate.weight", 12, "replicated"),
        ("model.layers.12.mlp.gate.e_score_correction_bias", 12, "replicated"),
        ("model.layers.12.mlp.experts.3.down_proj.weight", 12, "expert"),
        ("model.layers.12.mlp.experts.gate_up_proj_blocks", 12, "expert"),
        ("model.layers.12.block_sparse_moe.experts.3.w1.weight", 12, "expert"),
        ("model.layers.12.block_sparse_moe.gate.weight", 12, "replicated"),
        ("model.layers.12.mlp.shared_experts.up_proj.weight", 12, "split"),
        ("model.layers.12.mlp.shared_expert_gate.weight", 12, "replicated"),
        ("transformer.h.3.attn.c_proj.weight", 3, "split"),
        ("vision_tower.vision_model.encoder.layers.3.mlp.fc1.weight", "every", None),
        ("visual.blocks.3.mlp.gate_proj.weight", "every", None),
        ("multi_modal_projector.linear_1.weight", "every", None),
    ],
)
def test_where_a_tensor_belongs(name, where, how):
    assert place(name) == where
    if how:
        assert way(name, shape_of(QWEN)) == how


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("q_a_proj", "replicated"),
        ("kv_a_proj_with_mqa", "replicated"),
        ("q_b_proj", "split"),
        ("kv_b_proj", "split"),
        ("o_proj", "split"),
    ],
)
def test_latent_attention(name, how):
    assert way("model.layers.0.self_attn.%s.weight" % name, shape_of(DEEPSEEK)) == how


def test_latent_attention_keeps_a_matrix_twice():
    """61 layers of 128 heads, 512 x 256 numbers each, in bfloat16."""
    shape = shape_of(DEEPSEEK)
    tensors = tensors_from_config(shape)
    parts = gather(tensors, shape)
    total = sum(size for ways in parts.values() for size in ways.values())
    assert total - sum(tensor.bytes for tensor in tensors) == 61 * 128 * 512 * 256 * 2


@pytest.mark.parametrize(
    ("tensor", "size"),
    [
        pytest.param(Tensor("model.layers.30.eh_proj.weight", (8,), "BF16", 16, 8), 0, id="speculative-decoding"),
        pytest.param(Tensor("lm_head.weight", (8,), "BF16", 16, 8), 0, id="the-embeddings-once-more"),
        pytest.param(Tensor("model.layers.0.rotary_emb.inv_freq", (8,), "F32", 32, 8), 0, id="computed"),
        pytest.param(Tensor("model.layers.0.mlp.up_proj.weight", (8,), "F32", 32, 8), 16, id="float32-is-cut"),
        pytest.param(Tensor("model.layers.0.mlp.up_proj.weight_scale", (8,), "F32", 32, 0), 32, id="scales-are-not"),
        pytest.param(Tensor("model.layers.0.mlp.up_proj.weight", (8,), "BF16", 16, 8), 16, id="as-it-is"),
    ],
)
def test_what_is_loaded(tensor, size):
    parts = gather([tensor], shape_of(SMALL))
    assert sum(size for ways in parts.values() for size in ways.values()) == size


@pytest.mark.parametrize(
    ("name", "change", "stages", "expected"),
    [
        # Embeddings of 49152 x 576 in bfloat16 on the first stage, tied ones on the last too.
        pytest.param(SMALL, {}, 1, [1], id="tied-once"),
        pytest.param(SMALL, {}, 3, [1, 0, 1], id="tied-on-both-ends"),
        pytest.param(SMALL, {"tie_word_embeddings": False}, 1, [2], id="not-tied"),
        pytest.param(SMALL, {"tie_word_embeddings": False}, 3, [1, 0, 1], id="not-tied-on-both-ends"),
        pytest.param(
            SMALL,
            {"tie_word_embeddings": False, "architectures": ["MixtralForCausalLM"]},
            3,
            [2, 2, 2],
            id="on-every-stage",
        ),
    ],
)
def test_embeddings(name, change, stages, expected):
    shape, size = shape_of(name, **change), 49152 * 576 * 2
    tensors = [tensor for tensor in tensors_from_config(shape) if place(tensor.name) in ("embedding", "head")]
    weights = stage_weights(gather(tensors, shape), shape, 1, partition(30, stages))
    assert weights == [count * size for count in expected]


def test_a_vocabulary_is_padded():
    """32001 words are 32064 rows."""
    shape = shape_of(MIXTRAL, vocab_size=32001)
    tensors = [tensor for tensor in tensors_from_config(shape) if place(tensor.name) == "head"]
    assert stage_weights(gather(tensors, shape), shape, 8, partition(32, 1)) == [32064 * 4096 * 2 // 8]


def test_an_encoder_is_in_every_process():
    shape = shape_of(SMALL)
    parts = gather([Tensor("vision_tower.layers.3.mlp.fc1.weight", (500,), "BF16", 1000, 500)], shape)
    assert stage_weights(parts, shape, 3, partition(30, 2)) == [1000, 1000]


@pytest.mark.parametrize(
    ("tp", "whole", "size"),
    [(8, False, 128 // 8), (8, True, 16), (3, False, 43), (3, True, 43), (96, False, 2), (96, True, 2)],
)
def test_experts(tp, whole, size):
    """128 experts of a byte each, of which a GPU has a part or whole ones."""
    shape = shape_of(QWEN)
    parts = {0: {"expert": 128}}
    assert stage_weights(parts, shape, tp, [(0, 48)], whole) == [size]


@pytest.mark.parametrize(
    ("tp", "size"), [(1, 2 * 8 * 128 * 2), (2, 2 * 4 * 128 * 2), (8, 2 * 128 * 2), (16, 2 * 128 * 2)]
)
def test_kv_layer(tp, size):
    assert kv_layer(shape_of(BIG), tp, "auto") == size


@pytest.mark.parametrize(
    ("windows", "groups"),
    [
        pytest.param((0, 0, 0), [(0, [0, 1, 2])], id="all-alike"),
        pytest.param((9, 9), [(9, [0, 1])], id="all-with-a-window"),
        pytest.param((9, 0, 9, 0), [(9, [0, 2]), (0, [1, 3])], id="in-turn"),
        pytest.param((9, 9, 0, 9, 9, 0), [(9, [0, 3]), (9, [1, 4]), (0, [2, 5])], id="two-to-one"),
        pytest.param((0,) * 13 + (9,) * 12, [(0, list(range(13))), (9, list(range(13, 25)))], id="nearly-alike"),
    ],
)
def test_kv_groups(windows, groups):
    assert kv_groups(windows) == groups


def test_blocks_of_a_sequence():
    """A window holds what it looks back at, two batches that are under way and a block for its start."""
    settings = {"max_model_len": 100_000, "block_size": 16, "max_num_batched_tokens": 2048}
    assert blocks_of_sequence([(0, [0])], settings, 1) == 6250
    assert blocks_of_sequence([(0, [0]), (128, [1])], settings, 1) == 6250 + (127 + 4096 + 15) // 16 + 1
    assert blocks_of_sequence([(128, [1])], settings | {"max_model_len": 160}, 1) == 11


def test_windows_leave_room():
    """Half of the layers look back at 1024 tokens: nearly twice as many long sequences."""
    kinds = ["sliding_attention", "full_attention"] * 40
    whole = planned(MEDIUM, cluster(8))["chosen"]["sequences"]
    found = planned(MEDIUM, cluster(8), change={"layer_types": kinds, "sliding_window": 1024})["chosen"]["sequences"]
    assert 1.7 < found / whole < 2


@pytest.mark.parametrize(
    ("nodes", "asked", "found"),
    [
        pytest.param(cluster(8), (0, 0), [(1, 8), (2, 4), (4, 2), (8, 1)], id="a-node"),
        pytest.param(
            cluster(4, 4),
            (0, 0),
            [(1, 4), (1, 8), (2, 2), (2, 4), (4, 1), (4, 2), (8, 1)],
            id="two-nodes",
        ),
        pytest.param(cluster(1, 1), (0, 0), [(1, 1), (1, 2), (2, 1)], id="nodes-with-one"),
        pytest.param(cluster(4, 2), (0, 0), [(1, 2), (1, 4), (1, 6), (2, 1), (2, 2), (2, 3), (4, 1)], id="unequal"),
        pytest.param(cluster(8), (2, 0), [(2, 4)], id="tensor-given"),
        pytest.param(cluster(8), (0, 2), [(1, 2), (2, 2), (4, 2)], id="stages-given"),
        pytest.param(cluster(8), (16, 0), [(16, 1)], id="tensor-given-too-large"),
        pytest.param(cluster(8), (16, 3), [(16, 3)], id="both-given"),
        pytest.param([], (0, 0), [], id="none"),
    ],
)
def test_candidates(nodes, asked, found):
    assert candidates(nodes, *asked) == found


def test_headers_win():
    """What the weights tell is taken, not what the config lets expect."""
    shape = shape_of(SMALL)
    found = plan(shape, [Tensor("model.layers.0.mlp.up_proj.weight", (8, 8), "BF16", 128, 64)], cluster(1), {})
    assert (found["model"]["source"], found["model"]["weights"], found["model"]["parameters"]) == ("headers", 128, 64)
    assert found["chosen"]["stages"][0]["weights"] == 128
    assert planned(SMALL, cluster(1))["model"]["source"] == "config"


def test_report():
    lines = report(planned(BIG, cluster(8, 8)))
    assert lines[:4] == [
        "model: LlamaForCausalLM, 405.9 billion parameters, 756.0 GiB as BF16, up to 131072 tokens",
        "KV cache: 516096 B per token for the whole model (auto), sequences of 131072 tokens",
        "cluster: 16 GPUs on 2 nodes, 79.6 GiB each",
        "",
    ]
    assert lines[4].split() == ["TP", "PP", "WEIGHTS/GPU", "KV", "B/TOKEN/GPU", "TOKENS", "SEQUENCES", "VERDICT"]
    assert lines[5].split()[:5] == ["8", "2", "47.3", "GiB", "32256"]
    assert lines[5].endswith("fits: all GPUs, tensor parallel within a node, 2 stages of 63 layers")
    verdicts = {line.index("fits: " if "fits: " in line else "no: ") for line in lines[5:13]}
    assert verdicts == {lines[4].index("VERDICT")}
    assert lines[13:15] == ["", "chosen: tensor parallel 8, pipeline parallel 2"]
    assert [line.split(",")[0] for line in lines[15:]] == ["  stage 1: layers 0-62", "  stage 2: layers 63-125"]


@pytest.mark.parametrize(
    ("name", "nodes", "asked", "words"),
    [
        pytest.param(BIG, cluster(8), (0, 0), ["nothing of this serves the model", "problem (model-fit): "], id="none"),
        pytest.param(BIG, cluster(8), (8, 1), ["chosen: tensor parallel 8", "problem (model-fit): "], id="asked-for"),
        pytest.param(BIG, [], (0, 0), ["problem (gpu-count): found 0 GPUs, expected at least 1 (1 x 1)"], id="no-gpus"),
        pytest.param(BIG, [], (0, 2), ["expected at least 2 (1 x 2)"], id="no-gpus-for-2-stages"),
    ],
)
def test_a_report_of_what_is_impossible(name, nodes, asked, words):
    text = "\n".join(report(planned(name, nodes, *asked)))
    for word in words:
        assert word in text


def test_columns():
    assert columns([["a", "b"], [100, 2], ["x", ""]]) == ["a    b", "100  2", "x"]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (None, None),
        ("", None),
        (0, None),
        (8192, 8192),
        ("8192", 8192),
        ("32k", 32000),
        ("25.6k", 25600),
        ("32K", 32768),
        ("1M", 1 << 20),
        ("10G", 10 << 30),
        ("2g", 2 * 10**9),
        ("auto", 1),
        (-1, 1),
    ],
)
def test_read_number(text, number):
    assert read_number(text, "max_model_len") == number


@pytest.mark.parametrize("text", ["many", "1.5K", "-2", "8192 tokens"])
def test_read_what_is_no_number(text):
    with pytest.raises(OneccError, match="max_model_len: expected a number"):
        read_number(text, "max_model_len")
