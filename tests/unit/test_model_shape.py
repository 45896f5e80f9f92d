# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a model consists of: configs of published models, headers of safetensors, quantised weights."""

from __future__ import annotations

import json
import os
import pathlib

import huggingface_hub
import pytest

from ansible_collections.onecc.vllm.plugins.module_utils.errors import OneccError
from ansible_collections.onecc.vllm.plugins.module_utils.model_folder import INDEX
from ansible_collections.onecc.vllm.plugins.module_utils.model_shape import (
    Quantization,
    is_skipped,
    packed,
    parameters,
    read_config,
    read_folder,
    read_hub,
    tensors_from_config,
    to_json,
)

CONFIGS = pathlib.Path(__file__).resolve().parent / "data" / "configs"
SMALL = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 256,
    "intermediate_size": 512,
    "max_position_embeddings": 1024,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "torch_dtype": "bfloat16",
    "vocab_size": 1000,
}
# Of SMALL: a layer's matrices, its two norms; the last norm and the two matrices of the vocabulary.
LINEAR = 2 * 256 * 256 + 2 * 128 * 256 + 3 * 256 * 512
REST = 2 * 2 * 256 + 256 + 2 * 1000 * 256


def config(name):
    return json.loads((CONFIGS / name / "config.json").read_text())


def header(tensors):
    """The start of a safetensors file that holds these tensors."""
    found, end = {"__metadata__": {"format": "pt"}}, 0
    for tensor in tensors:
        offsets = [end, end + tensor.bytes]
        found[tensor.name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": offsets}
        end += tensor.bytes
    text = json.dumps(found).encode()
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("Llama-3.1-405B-Instruct", 405_853_388_800),
        ("Llama-3.1-70B-Instruct", 70_553_706_496),
        ("Mixtral-8x7B-Instruct-v0.1", 46_702_792_704),
        ("Qwen3-30B-A3B", 30_532_122_624),
        ("DeepSeek-V3", 671_026_419_200),
        ("SmolLM2-135M-Instruct", 134_515_008),
    ],
)
def test_published_parameter_counts(name, count):
    assert sum(tensor.parameters for tensor in tensors_from_config(read_config(config(name)))) == count


def test_fp8_blocks_add_scales():
    """DeepSeek-V3: a byte for a weight in a linear layer, two for the others, four for each block's scale."""
    tensors = tensors_from_config(read_config(config("DeepSeek-V3")))
    of = {kind: sum(t.bytes for t in tensors if t.dtype == kind) for kind in ("F8_E4M3", "F32", "BF16")}
    plain = 2 * 129280 * 7168 + 58 * 256 * 7168 + 61 * (2 * 7168 + 1536 + 512) + 7168
    bias = 58 * 256
    assert of["BF16"] == 2 * plain
    assert of["F8_E4M3"] == 671_026_419_200 - plain - bias
    # All but kv_a_proj's 576 rows are whole blocks, and those take a fifth row of scales.
    assert of["F32"] == 4 * bias + 4 * (of["F8_E4M3"] + 61 * 64 * 7168) // 128**2


@pytest.mark.parametrize(
    ("quantization", "size"),
    [
        pytest.param(Quantization("fp8", 8, block=(128, 128)), 256 * 512 + 4 * 2 * 4, id="fp8-blocks"),
        pytest.param(Quantization("fp8", 8, block=(100, 100)), 256 * 512 + 4 * 3 * 6, id="fp8-blocks-begun"),
        pytest.param(Quantization("fp8", 8), 256 * 512 + 4 * 256, id="fp8-rows"),
        pytest.param(Quantization("compressed-tensors", 8), 256 * 512 + 4 * 256, id="compressed-fp8"),
        pytest.param(
            Quantization("gptq", 4, 128), 256 * 512 // 2 + 4 * 256 // 2 + 4 * 256 * 2 + 4 * 512, id="gptq-with-g_idx"
        ),
        pytest.param(Quantization("awq", 4, 128), 256 * 512 // 2 + 4 * 256 // 2 + 4 * 256 * 2, id="awq"),
        pytest.param(Quantization("compressed-tensors", 4, 128), 256 * 512 // 2 + 4 * 256 * 2 + 16, id="w4a16"),
        pytest.param(
            Quantization("compressed-tensors", 4, 128, symmetric=False),
            256 * 512 // 2 + 4 * 256 * 2 + 16 + 4 * 256 // 2,
            id="w4a16-with-zeros",
        ),
        pytest.param(Quantization("bitsandbytes", 4, 64), 256 * 512 // 2 + 256 * 512 // 64, id="bitsandbytes-4"),
        pytest.param(Quantization("bitsandbytes", 8, 64), 256 * 512 + 4 * 256, id="bitsandbytes-8"),
        pytest.param(Quantization("mxfp4", 4, 32), 256 * 512 // 2 + 256 * 512 // 32, id="mxfp4"),
    ],
)
def test_packed(quantization, size):
    """Bytes of a matrix of 256 rows and 512 columns."""
    width = {"F8_E4M3": 1, "I8": 1, "U8": 1, "BF16": 2, "F16": 2, "F32": 4, "I32": 4, "I64": 8}
    total = 0
    for ending, shape, dtype in packed(quantization, 256, 512, "BF16"):
        count = 1
        for number in shape:
            count *= number
        total += count * width[dtype]
        assert ending
    assert total == size


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(None, None, id="none"),
        pytest.param(
            {"quant_method": "fp8", "weight_block_size": [128, 128], "modules_to_not_convert": ["lm_head"]},
            Quantization("fp8", 8, 0, (128, 128), True, ("lm_head",)),
            id="fp8",
        ),
        pytest.param(
            {"quant_method": "gptq", "bits": 4, "group_size": 128, "sym": True, "desc_act": False},
            Quantization("gptq", 4, 128),
            id="gptq",
        ),
        pytest.param(
            {"quant_method": "gptq", "bits": 8, "group_size": -1, "sym": False},
            Quantization("gptq", 8, 0, symmetric=False),
            id="gptq-whole-rows",
        ),
        pytest.param(
            {"quant_method": "awq", "bits": 4, "group_size": 64, "zero_point": True, "version": "gemm"},
            Quantization("awq", 4, 64, symmetric=False),
            id="awq",
        ),
        pytest.param(
            {
                "quant_method": "compressed-tensors",
                "format": "pack-quantized",
                "ignore": ["lm_head"],
                "config_groups": {"group_0": {"weights": {"num_bits": 4, "group_size": 128, "symmetric": True}}},
            },
            Quantization("compressed-tensors", 4, 128, skipped=("lm_head",)),
            id="w4a16",
        ),
        pytest.param(
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": {"num_bits": 8, "group_size": None, "type": "float"}}},
            },
            Quantization("compressed-tensors", 8),
            id="compressed-fp8",
        ),
        pytest.param(
            {"quant_method": "bitsandbytes", "load_in_4bit": True}, Quantization("bitsandbytes", 4, 64), id="nf4"
        ),
        pytest.param(
            {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn"]},
            Quantization("mxfp4", 4, 32, skipped=("model.layers.*.self_attn",)),
            id="mxfp4",
        ),
    ],
)
def test_quantization(found, expected):
    assert read_config(SMALL | {"quantization_config": found}).quantization == expected


@pytest.mark.parametrize(
    ("skipped", "count"),
    [
        pytest.param([], 2 * LINEAR, id="all"),
        pytest.param(["lm_head"], 2 * LINEAR, id="what-is-never-quantised"),
        pytest.param(["mlp"], 2 * (LINEAR - 3 * 256 * 512), id="a-part-of-the-name"),
        pytest.param(["re:.*layers\\.0\\..*"], LINEAR, id="a-pattern"),
        pytest.param(["model.layers.1.self_attn.q_proj"], 2 * LINEAR - 256 * 256, id="one-module"),
    ],
)
def test_modules_that_stay_as_they_are(skipped, count):
    quantization = {"quant_method": "fp8", "modules_to_not_convert": skipped}
    tensors = tensors_from_config(read_config(SMALL | {"quantization_config": quantization}))
    assert sum(tensor.bytes for tensor in tensors if tensor.dtype == "F8_E4M3") == count
    assert sum(tensor.parameters for tensor in tensors) == 2 * LINEAR + 2 * 2 * 256 + 256 + 2 * 1000 * 256


def test_a_skipped_name_is_no_beginning():
    assert is_skipped("model.layers.1.mlp", ["layers.1"])
    assert not is_skipped("model.layers.10.mlp", ["layers.1"])
    assert not is_skipped("model.layers.1.mlp.gate_proj", ["gate"])


@pytest.mark.parametrize(
    ("name", "count", "dtype", "weights"),
    [
        ("model.layers.0.mlp.up_proj.weight", 10, "BF16", 10),
        ("model.layers.0.mlp.up_proj.weight", 10, "F8_E4M3", 10),
        ("model.layers.0.mlp.up_proj.weight_scale_inv", 10, "F32", 0),
        ("model.layers.0.mlp.up_proj.input_scale", 1, "F32", 0),
        ("model.layers.0.mlp.up_proj.qweight", 10, "I32", 80),
        ("model.layers.0.mlp.up_proj.qzeros", 10, "I32", 0),
        ("model.layers.0.mlp.up_proj.g_idx", 10, "I32", 0),
        ("model.layers.0.mlp.up_proj.weight_packed", 10, "I32", 80),
        ("model.layers.0.mlp.up_proj.weight_shape", 2, "I64", 0),
        ("model.layers.0.mlp.up_proj.weight", 10, "U8", 20),
        ("model.layers.0.mlp.up_proj.weight.quant_state.bitsandbytes__nf4", 10, "U8", 0),
        ("model.layers.0.mlp.experts.gate_up_proj_blocks", 10, "U8", 20),
        ("model.layers.0.mlp.experts.gate_up_proj_scales", 10, "U8", 0),
    ],
)
def test_parameters(name, count, dtype, weights):
    assert parameters(name, count, dtype) == weights


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        pytest.param({}, {"head_dim": 64, "kv_heads": 2, "dtype": "BF16", "tied": False, "experts": 0}, id="plain"),
        pytest.param({"head_dim": 128}, {"head_dim": 128}, id="heads-of-their-own-size"),
        pytest.param({"head_dim": None}, {"head_dim": 64}, id="head_dim-null"),
        pytest.param({"num_key_value_heads": None}, {"kv_heads": 4}, id="as-many-kv-heads"),
        pytest.param({"torch_dtype": None, "dtype": "float16"}, {"dtype": "F16"}, id="dtype-under-its-new-name"),
        pytest.param({"torch_dtype": "float32"}, {"dtype": "BF16"}, id="float32-is-loaded-as-bfloat16"),
        pytest.param({"tie_word_embeddings": True}, {"tied": True}, id="tied"),
        pytest.param(
            {"rope_scaling": {"rope_type": "linear", "factor": 4.0}}, {"max_position_embeddings": 4096}, id="linear"
        ),
        pytest.param(
            {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, {"max_position_embeddings": 1024}, id="llama3"
        ),
        pytest.param(
            {"rope_scaling": {"type": "yarn", "factor": 40}}, {"max_position_embeddings": 1024}, id="yarn-is-in-it"
        ),
        pytest.param({"sliding_window": 100}, {"windows": (100, 100)}, id="every-layer-has-a-window"),
        pytest.param(
            {"sliding_window": 100, "use_sliding_window": False}, {"windows": (0, 0)}, id="a-window-that-is-off"
        ),
        pytest.param(
            {"sliding_window": 100, "layer_types": ["sliding_attention", "full_attention"]},
            {"windows": (100, 0), "notes": ()},
            id="some-layers-have-a-window",
        ),
        pytest.param({"sliding_window": 100, "sliding_window_pattern": 2}, {"windows": (100, 0)}, id="gemma"),
        pytest.param(
            {"layer_types": ["linear_attention", "full_attention"]},
            {
                "windows": (0, 0),
                "notes": ("layers of kind linear_attention are counted as full attention, which takes more",),
            },
            id="layers-without-a-cache",
        ),
        pytest.param(
            {"num_experts": 8, "moe_intermediate_size": 64, "decoder_sparse_step": 2, "num_hidden_layers": 5},
            {"moe_layers": (1, 3), "expert_size": 64},
            id="experts-in-every-second-layer",
        ),
        pytest.param(
            {"num_experts": 8, "moe_intermediate_size": 64, "mlp_only_layers": [0]},
            {"moe_layers": (1,)},
            id="layers-without-experts",
        ),
        pytest.param(
            {"n_routed_experts": 8, "moe_intermediate_size": 64, "first_k_dense_replace": 1, "n_shared_experts": 2},
            {"moe_layers": (1,), "shared_size": 128},
            id="shared-experts",
        ),
    ],
)
def test_read_config(change, fields):
    shape = read_config(SMALL | change)
    assert {name: getattr(shape, name) for name in fields} == fields


def test_a_model_that_sees():
    """It keeps its language model's config apart, and its own architecture above."""
    text = {name: value for name, value in SMALL.items() if name not in ("architectures", "torch_dtype")}
    whole = {"architectures": ["SeesForConditionalGeneration"], "dtype": "float16", "text_config": text}
    shape = read_config(whole | {"vision_config": {"hidden_size": 1}})
    assert (shape.architecture, shape.hidden_size, shape.dtype) == ("SeesForConditionalGeneration", 256, "F16")
    with pytest.raises(OneccError) as caught:
        tensors_from_config(shape)
    assert caught.value.found == "SeesForConditionalGeneration"


@pytest.mark.parametrize(
    ("change", "expected", "found"),
    [
        pytest.param({"num_hidden_layers": None}, "the key 'num_hidden_layers'", "none", id="no-layers"),
        pytest.param({"architectures": []}, "the key 'architectures'", "none", id="no-architecture"),
        pytest.param({"vocab_size": "big"}, "a whole number for 'vocab_size'", "'big'", id="text"),
        pytest.param({"hidden_size": 0}, "more than 0 for 'hidden_size'", "0", id="zero"),
        pytest.param({"hidden_size": True}, "a whole number for 'hidden_size'", "True", id="no-number"),
        pytest.param({"max_position_embeddings": None}, "the key 'max_position_embeddings'", "none", id="no-length"),
        pytest.param({"kv_lora_rank": 8}, "the key 'qk_rope_head_dim'", "none", id="half-of-mla"),
        pytest.param({"quantization_config": "fp8"}, "an object for 'quantization_config'", "'fp8'", id="no-object"),
    ],
)
def test_a_config_that_lacks_something(change, expected, found):
    with pytest.raises(OneccError) as caught:
        read_config(SMALL | change)
    assert (caught.value.where, caught.value.expected, caught.value.found) == ("config.json", expected, found)


def test_an_unknown_quantisation():
    """Only the headers could tell what it takes."""
    shape = read_config(SMALL | {"quantization_config": {"quant_method": "new"}})
    with pytest.raises(OneccError) as caught:
        tensors_from_config(shape)
    assert caught.value.found == "'new'"


@pytest.fixture
def folder(tmp_path):
    """A folder with SMALL and its weights in two files."""
    tensors = tensors_from_config(read_config(SMALL))
    files = {"model-1.safetensors": tensors[:9], "model-2.safetensors": tensors[9:]}
    for name, part in files.items():
        (tmp_path / name).write_bytes(header(part))
    weight_map = {tensor.name: name for name, part in files.items() for tensor in part}
    (tmp_path / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    return tmp_path


@pytest.mark.parametrize(
    ("gone", "count"),
    [
        pytest.param([], 2 * LINEAR + REST, id="whole"),
        pytest.param([INDEX], 2 * LINEAR + REST, id="without-an-index"),
        pytest.param(["model-2.safetensors"], 0, id="not-all-there"),
        pytest.param([INDEX, "model-1.safetensors", "model-2.safetensors"], 0, id="config-alone"),
    ],
)
def test_a_folder(folder, gone, count):
    for name in gone:
        os.remove(folder / name)
    found, tensors = read_folder(str(folder))
    assert found == SMALL
    assert sum(tensor.parameters for tensor in tensors) == count
    if count:
        assert sorted(tensors) == sorted(tensors_from_config(read_config(SMALL)))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        pytest.param("config.json", b"{", "JSON", id="torn-config"),
        pytest.param("model-1.safetensors", b"", "safetensors with a header", id="empty-weights"),
        pytest.param(
            "model-1.safetensors",
            (23).to_bytes(8, "little") + b'{"a":{"data_offsets": [0,1]}}',
            "safetensors with a header",
            id="torn-header",
        ),
        pytest.param(
            "model-1.safetensors",
            (30).to_bytes(8, "little") + b'{"a": {"data_offsets": [0,1]}}',
            "a shape and a known dtype for 'a'",
            id="half-of-a-header",
        ),
    ],
)
def test_a_folder_that_cannot_be_read(folder, name, content, expected):
    (folder / name).write_bytes(content)
    with pytest.raises(OneccError) as caught:
        read_folder(str(folder))
    assert (caught.value.where, caught.value.expected) == (str(folder / name), expected)


def ask(url, revision="main", repo="owner/model"):
    return read_hub(huggingface_hub, {"repo": repo, "revision": revision, "endpoint": url, "token": None})


def test_a_hub(hub, folder):
    """The same as of the folder, by requests for parts of files, and nothing is left in the cache."""
    hub.put("owner/model", {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()})
    assert ask(hub.url) == read_folder(str(folder))
    assert not list(pathlib.Path(os.environ["HF_HOME"]).rglob("models--owner--model"))
    assert all(line["range"] for line in hub.log(ending=".safetensors"))


def test_a_hub_with_one_file(hub, folder):
    tensors = tensors_from_config(read_config(SMALL))
    files = {"config.json": json.dumps(SMALL).encode(), "model.safetensors": header(tensors)}
    hub.put("owner/model", files)
    assert ask(hub.url) == (SMALL, tensors)


def test_a_hub_without_safetensors(hub):
    hub.put("owner/model", {"config.json": json.dumps(SMALL).encode(), "pytorch_model.bin": b"\0"})
    assert ask(hub.url) == (SMALL, [])


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param({"repo": "owner/none"}, "the model 'owner/none'", id="no-model"),
        pytest.param({"revision": "none"}, "revision 'none' of model 'owner/model'", id="no-revision"),
    ],
)
def test_a_hub_that_refuses(hub, asked, expected):
    hub.put("owner/model", {"config.json": b"{}"})
    with pytest.raises(OneccError) as caught:
        ask(hub.url, **asked)
    assert caught.value.expected == expected


def test_no_hub(nobody):
    with pytest.raises(OneccError) as caught:
        ask(nobody)
    assert caught.value.where == nobody


def test_to_json():
    """It is plain, and small for a model of many layers."""
    found = to_json(read_config(config("DeepSeek-V3")))
    assert json.loads(json.dumps(found)) == found
    assert found["quantization"] == {
        "method": "fp8",
        "bits": 8,
        "group": 0,
        "block": [128, 128],
        "symmetric": True,
        "skipped": [],
    }
    assert "windows" not in found
