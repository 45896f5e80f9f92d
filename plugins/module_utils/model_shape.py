# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a model consists of: its config.json, and its tensors by name, shape and bytes."""

from __future__ import annotations

import functools
import json
import math
import os
import re
import tempfile
import typing
from dataclasses import dataclass

from .errors import OneccError
from .hub import explain
from .model_folder import INDEX, indexed, read_header, read_json

# Bytes of an element, by the names that safetensors has for them and by those of config.json.
DTYPES = {
    **{"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2},
    **{"I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "F4": 0.5},
}
# vLLM loads float32 as bfloat16 (vllm/config/model.py).
MODEL_DTYPES = {"bfloat16": "BF16", "float16": "F16", "half": "F16", "float32": "BF16", "float": "BF16"}
# Architectures of which this knows every tensor.
DENSE = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM", "SmolLM3ForCausalLM")
MOE = ("MixtralForCausalLM", "Qwen3MoeForCausalLM", "DeepseekV2ForCausalLM", "DeepseekV3ForCausalLM")
REMEDY = "Give the model's own config.json, as its authors have published it."
PER_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.")
# What stands beside packed weights and is no parameter of its own.
BESIDE = re.compile(
    r"(scale|scales|scale_inv|_scale_2|zeros|zero_point|g_idx|weight_shape|absmax|quant_map|SCB)$|quant_state"
)
PACKED = re.compile(r"\.(qweight|weight_packed)$|_blocks$")


@dataclass(frozen=True)
class Quantization:
    """How the weights of linear layers are stored.

    :param method: as config.json names it
    :param bits: of one weight
    :param group: weights in a row that share a scale, 0 for a whole row or matrix
    :param block: rows and columns that share a scale, empty if none do
    :param symmetric: whether there are no zero points
    :param skipped: names of modules, or "re:" and a pattern, that stay as they are
    """

    method: str
    bits: int
    group: int = 0
    block: tuple = ()
    symmetric: bool = True
    skipped: tuple = ()


@dataclass(frozen=True)
class Shape:
    """The numbers of a model that decide how much memory it takes. What it does not have is 0 or empty.

    :param dtype: of weights that are not quantised, as safetensors names it
    :param moe_layers: the layers that have experts
    :param shared_size: intermediate size of all shared experts of a layer together
    :param windows: for each layer the tokens that its attention looks back at, 0 for all
    """

    architecture: str
    layers: int
    hidden_size: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab_size: int
    intermediate_size: int
    tied: bool
    max_position_embeddings: int
    dtype: str
    experts: int = 0
    experts_per_token: int = 0
    expert_size: int = 0
    moe_layers: tuple = ()
    shared_size: int = 0
    kv_lora_rank: int = 0
    q_lora_rank: int = 0
    qk_rope_head_dim: int = 0
    qk_nope_head_dim: int = 0
    v_head_dim: int = 0
    quantization: Quantization | None = None
    windows: tuple = ()
    qkv_bias: bool = False
    o_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False
    correction_bias: bool = False
    notes: tuple = ()

    @property
    def dtype_bytes(self):
        return DTYPES[self.dtype]


class Tensor(typing.NamedTuple):
    """:param bytes: what it takes when loaded; :param parameters: weights in it, 0 for scales and the like"""

    name: str
    shape: tuple
    dtype: str
    bytes: int
    parameters: int


def wrong(expected, found, remedy=REMEDY):
    return OneccError("config.json", expected, found, remedy)


def number(config, *names, default=None):
    """The first of these keys that has a value, as a whole number.

    :raises OneccError: when there is none and no default, or it is no number from 0 on
    """
    for name in names:
        value = config.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise wrong("a whole number for '%s'" % name, "%r" % (value,))
        return value
    if default is None:
        raise wrong("the key '%s'" % names[0], "none")
    return default


def positive(config, *names, default=None):
    value = number(config, *names, default=default)
    if not value:
        raise wrong("more than 0 for '%s'" % names[0], "0")
    return value


def read_config(config):
    """A model's config.json as a Shape. Models that see or hear keep that of their language model in text_config.

    :raises OneccError: when a key is missing that it takes
    """
    if not isinstance(config, dict):
        raise wrong("an object", type(config).__name__)
    text = config.get("text_config") or config
    architectures = config.get("architectures") or text.get("architectures")
    if not isinstance(architectures, list) or not architectures:
        raise wrong("the key 'architectures'", "none")
    architecture = str(architectures[0])
    layers = positive(text, "num_hidden_layers", "n_layer")
    hidden, heads = positive(text, "hidden_size", "n_embd"), positive(text, "num_attention_heads", "n_head")
    dtype = str(text.get("torch_dtype") or text.get("dtype") or config.get("torch_dtype") or config.get("dtype"))
    windows, notes = read_windows(text, layers)
    bias = bool(text.get("attention_bias", False))
    return Shape(
        architecture=architecture,
        layers=layers,
        hidden_size=hidden,
        heads=heads,
        kv_heads=positive(text, "num_key_value_heads", "num_kv_heads", default=heads),
        head_dim=number(text, "head_dim", default=0) or hidden // heads,
        vocab_size=positive(text, "vocab_size"),
        intermediate_size=number(text, "intermediate_size", "n_inner", default=4 * hidden),
        tied=bool(text.get("tie_word_embeddings", config.get("tie_word_embeddings", False))),
        max_position_embeddings=context(text),
        dtype=MODEL_DTYPES.get(dtype.replace("torch.", ""), "BF16"),
        quantization=read_quantization(config, text),
        windows=windows,
        qkv_bias=bias or architecture == "Qwen2ForCausalLM",
        o_bias=bias,
        mlp_bias=bool(text.get("mlp_bias", False)),
        qk_norm=architecture.startswith("Qwen3"),
        # DeepSeek-V3 routes with it, DeepSeek-V2 does not have it.
        correction_bias=text.get("topk_method") == "noaux_tc" or architecture == "DeepseekV3ForCausalLM",
        notes=notes,
        **read_experts(text, layers),
        **read_latent(text),
    )


def context(text):
    """Tokens of the longest sequence. Only the older kinds of RoPE scaling multiply it (vllm/config/model.py)."""
    longest = positive(text, "max_position_embeddings", "n_positions", "max_sequence_length", "seq_length")
    scaling = text.get("rope_scaling") or text.get("rope_parameters") or {}
    if scaling.get("rope_type", scaling.get("type")) in ("linear", "dynamic"):
        return int(longest * (scaling.get("factor") or 1))
    return longest


def read_experts(text, layers):
    """The fields of a Shape that tell of experts."""
    count = number(text, "n_routed_experts", "num_local_experts", "num_experts", "moe_num_experts", default=0)
    if not count:
        return {}
    size = positive(text, "moe_intermediate_size", "intermediate_size")
    step = number(text, "decoder_sparse_step", "moe_layer_freq", default=1) or 1
    first, dense = number(text, "first_k_dense_replace", default=0), text.get("mlp_only_layers") or []
    # Qwen counts a step from its end, DeepSeek from its start; both have 1.
    rest = 0 if "moe_layer_freq" in text else step - 1
    return {
        "experts": count,
        "experts_per_token": number(text, "num_experts_per_tok", "experts_per_token", "moe_top_k", default=1),
        "expert_size": size,
        "moe_layers": tuple(i for i in range(first, layers) if i not in dense and i % step == rest),
        "shared_size": number(text, "n_shared_experts", default=0) * size
        or number(text, "shared_expert_intermediate_size", default=0),
    }


def read_latent(text):
    """The fields of a Shape that tell of multi-head latent attention (MLA)."""
    rank = number(text, "kv_lora_rank", default=0)
    if not rank:
        return {}
    names = ("qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim")
    sizes = {name: positive(text, name) for name in names}
    return dict(sizes, kv_lora_rank=rank, q_lora_rank=number(text, "q_lora_rank", default=0))


def read_windows(text, layers):
    """For each layer how far its attention looks back, in tokens, and what should be known of that."""
    window = text.get("sliding_window") if text.get("use_sliding_window", True) else None
    kinds = text.get("layer_types")
    if kinds:
        sizes = {"sliding_attention": window or 0, "chunked_attention": text.get("attention_chunk_size") or 0}
        other = sorted(set(kinds) - set(sizes) - {"full_attention"})
        notes = ("layers of kind %s are counted as full attention, which takes more" % ", ".join(other),)
        return tuple(sizes.get(kind, 0) for kind in kinds[:layers]), notes if other else ()
    pattern = text.get("sliding_window_pattern")
    if window and pattern:
        return tuple(0 if (i + 1) % pattern == 0 else window for i in range(layers)), ()
    return (window or 0,) * layers, ()


def read_quantization(config, text):
    """How the weights are quantised, None if they are not."""
    found = config.get("quantization_config") or text.get("quantization_config") or config.get("compression_config")
    if not found:
        return None
    if not isinstance(found, dict):
        raise wrong("an object for 'quantization_config'", "%r" % (found,))
    method = str(found.get("quant_method", "")).lower()
    skipped = tuple(found.get("modules_to_not_convert") or found.get("ignore") or found.get("exclude_modules") or ())
    if method == "compressed-tensors":
        weights = [*found.get("config_groups", {}).values(), {}][0].get("weights") or {}
        return Quantization(
            method,
            weights.get("num_bits", 8),
            max(weights.get("group_size") or 0, 0),
            tuple(weights.get("block_structure") or ()),
            weights.get("symmetric", True),
            skipped,
        )
    if method == "bitsandbytes":
        return Quantization(method, 4 if found.get("load_in_4bit") else 8, 64, skipped=skipped)
    if method == "mxfp4":
        return Quantization(method, 4, 32, skipped=skipped)
    if method in ("gptq", "awq", "gptq_marlin", "awq_marlin"):
        sizes = {"bits": found.get("w_bit", 4), "group_size": found.get("q_group_size", 128), **found}
        symmetric = bool(found.get("sym", not found.get("zero_point", True)))
        return Quantization(method, sizes["bits"], max(sizes["group_size"], 0), (), symmetric, skipped)
    if method == "modelopt":
        is_fp4 = "FP4" in str(found.get("quant_algo"))
        return Quantization(method, 4 if is_fp4 else 8, 16 if is_fp4 else 0, skipped=skipped)
    return Quantization(method, 8, 0, tuple(found.get("weight_block_size") or ()), skipped=skipped)


def tensors_in_folder(path):
    """The tensors of a folder's safetensors, by their headers; none unless all files are there.

    :raises OneccError: when a header cannot be read
    """
    index = os.path.join(path, INDEX)
    if os.path.exists(index):
        names = indexed(index)
    else:
        names = sorted(name for name in os.listdir(path) if name.endswith(".safetensors"))
    files = [os.path.join(path, name) for name in names]
    if not all(os.path.isfile(file) for file in files):
        return []
    return [to_tensor(name, info, file) for file in files for name, info in read_header(file)[0].items()]


def to_tensor(name, info, where):
    """A tensor of a header: a dictionary with dtype, shape and data_offsets.

    :param where: the file
    """
    shape, dtype, (start, end) = info.get("shape"), info.get("dtype"), info["data_offsets"]
    if not isinstance(shape, (list, tuple)) or dtype not in DTYPES:
        raise OneccError(where, "a shape and a known dtype for '%s'" % name, "%s, %s" % (shape, dtype), REMEDY)
    return Tensor(name, tuple(shape), dtype, end - start, parameters(name, math.prod(shape), dtype))


def parameters(name, count, dtype):
    """The weights that so many elements stand for. Packed ones are taken for four bits each."""
    if BESIDE.search(name):
        return 0
    if PACKED.search(name) or (dtype == "U8" and name.endswith(".weight")):
        return int(count * DTYPES[dtype] * 2)
    return count


def read_folder(path):
    """The config.json of a folder, and the tensors of its weights if they are all there.

    :return: dictionary, list of Tensor
    :raises OneccError: when it cannot be read
    """
    return read_json(os.path.join(path, "config.json")), tensors_in_folder(path)


def read_hub(hub, params):
    """What read_folder gives, of a model on a hub. Reads headers, not weights; leaves nothing in any cache.

    :param hub: the module huggingface_hub
    :param params: dictionary with repo, revision, endpoint and token
    :raises OneccError: when the hub does not answer or refuses
    """
    repo, revision = params["repo"], params["revision"]
    api = hub.HfApi(endpoint=(params["endpoint"] or "").rstrip("/") or None, token=params["token"] or False)
    with tempfile.TemporaryDirectory() as folder:
        # get_safetensors_metadata fetches its index by it too, and would put that into the cache.
        api.hf_hub_download = functools.partial(api.hf_hub_download, local_dir=folder)
        try:
            # Unlike what follows this does not try again for long when nothing answers.
            commit = api.model_info(repo, revision=revision, timeout=20).sha
            config = read_json(api.hf_hub_download(repo, "config.json", revision=commit))
            try:
                found = api.get_safetensors_metadata(repo, revision=commit)
            except hub.errors.NotASafetensorsRepoError:
                return config, []
        except OneccError:
            raise
        except Exception as error:
            # What may come depends on the transport, which changes with huggingface_hub's version.
            raise explain(error, repo, revision, api.endpoint) from error
    return config, [
        to_tensor(name, vars(info), file)
        for file, metadata in sorted(found.files_metadata.items())
        for name, info in metadata.tensors.items()
    ]


def is_skipped(name, patterns):
    """Whether a module stays as it is. transformers looks for parts of a name, compressed-tensors has patterns too."""
    return any(
        re.match(pattern[3:], name) if pattern.startswith("re:") else ".%s." % pattern in ".%s." % name
        for pattern in patterns
    )


def packed(quantization, rows, columns, dtype):
    """What a linear layer's weight becomes.

    Formats: those that the checkpoints of AutoGPTQ, AutoAWQ, compressed-tensors, bitsandbytes and DeepSeek have, as
    vLLM reads them (vllm/model_executor/layers/quantization).

    :return: list of (ending, shape, dtype)
    """
    method, bits = quantization.method, quantization.bits
    groups = math.ceil(columns / quantization.group) if quantization.group else 1
    if method.startswith(("gptq", "awq")):
        by_column = method.startswith("gptq")
        weight = (columns * bits // 32, rows) if by_column else (columns, rows * bits // 32)
        beside = [("qzeros", (groups, rows * bits // 32), "I32"), ("scales", (groups, rows), "F16")]
        return [("qweight", weight, "I32"), *beside] + ([("g_idx", (columns,), "I32")] if by_column else [])
    if method == "bitsandbytes" and bits == 4:
        return [("weight", (rows * columns // 2,), "U8"), ("weight.absmax", (rows * columns // 64,), "U8")]
    if method == "bitsandbytes":
        return [("weight", (rows, columns), "I8"), ("SCB", (rows,), "F32")]
    if bits == 4 and method in ("mxfp4", "modelopt"):
        return [("weight", (rows, columns // 2), "U8"), ("weight_scale", (rows, groups), "U8")]
    if method == "compressed-tensors" and bits < 8:
        zeros = [] if quantization.symmetric else [("weight_zero_point", (rows * bits // 32, groups), "I32")]
        width = math.ceil(columns * bits / 32)
        return [
            ("weight_packed", (rows, width), "I32"),
            ("weight_scale", (rows, groups), dtype),
            ("weight_shape", (2,), "I64"),
            *zeros,
        ]
    if quantization.block:
        high, wide = quantization.block
        scales = (math.ceil(rows / high), math.ceil(columns / wide))
        return [("weight", (rows, columns), "F8_E4M3"), ("weight_scale_inv", scales, "F32")]
    if method in ("compressed-tensors", "fp8", "fbgemm_fp8", "modelopt"):
        return [("weight", (rows, columns), "F8_E4M3"), ("weight_scale", (rows, 1), "F32")]
    raise wrong(
        "a quantisation that is known here",
        "'%s'" % method,
        "Download the model: the headers of its weights tell what its config.json does not.",
    )


def tensors_from_config(shape):
    """The tensors that a model of this shape has, without layers for speculative decoding.

    :return: list of Tensor
    :raises OneccError: for architectures other than those of DENSE and MOE
    """
    if shape.architecture not in DENSE + MOE:
        raise wrong(
            "an architecture of which all tensors are known (%s)" % ", ".join(DENSE + MOE),
            shape.architecture,
            "Download the model, or give its name on a hub: the headers of its weights tell.",
        )
    found = []

    def add(name, size, dtype=shape.dtype, weights=None):
        count = math.prod(size)
        found.append(Tensor(name, size, dtype, int(count * DTYPES[dtype]), count if weights is None else weights))

    def linear(name, rows, columns, bias=False):
        quantization = shape.quantization
        if quantization and not is_skipped(name, quantization.skipped):
            # The first of what a weight becomes holds the weights, the others are scales.
            for position, (ending, size, dtype) in enumerate(packed(quantization, rows, columns, shape.dtype)):
                add("%s.%s" % (name, ending), size, dtype, 0 if position else rows * columns)
        else:
            add(name + ".weight", (rows, columns))
        if bias:
            add(name + ".bias", (rows,))

    hidden, latent = shape.hidden_size, shape.kv_lora_rank

    def mlp(name, size, names=("gate_proj", "up_proj", "down_proj"), bias=False):
        linear("%s.%s" % (name, names[0]), size, hidden, bias)
        linear("%s.%s" % (name, names[1]), size, hidden, bias)
        linear("%s.%s" % (name, names[2]), hidden, size, bias)

    def attention(name):
        queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        linear(name + ".q_proj", queries, hidden, shape.qkv_bias)
        linear(name + ".k_proj", keys, hidden, shape.qkv_bias)
        linear(name + ".v_proj", keys, hidden, shape.qkv_bias)
        linear(name + ".o_proj", hidden, queries, shape.o_bias)
        if shape.qk_norm:
            add(name + ".q_norm.weight", (shape.head_dim,))
            add(name + ".k_norm.weight", (shape.head_dim,))

    def latent_attention(name):
        queries = shape.heads * (shape.qk_nope_head_dim + shape.qk_rope_head_dim)
        if shape.q_lora_rank:
            linear(name + ".q_a_proj", shape.q_lora_rank, hidden)
            add(name + ".q_a_layernorm.weight", (shape.q_lora_rank,))
            linear(name + ".q_b_proj", queries, shape.q_lora_rank)
        else:
            linear(name + ".q_proj", queries, hidden)
        linear(name + ".kv_a_proj_with_mqa", latent + shape.qk_rope_head_dim, hidden)
        add(name + ".kv_a_layernorm.weight", (latent,))
        linear(name + ".kv_b_proj", shape.heads * (shape.qk_nope_head_dim + shape.v_head_dim), latent)
        linear(name + ".o_proj", hidden, shape.heads * shape.v_head_dim)

    def experts(name):
        is_mixtral = shape.architecture == "MixtralForCausalLM"
        block = name + (".block_sparse_moe" if is_mixtral else ".mlp")
        names = ("w1", "w3", "w2") if is_mixtral else ("gate_proj", "up_proj", "down_proj")
        add(block + ".gate.weight", (shape.experts, hidden))
        if shape.correction_bias:
            add(block + ".gate.e_score_correction_bias", (shape.experts,), "F32")
        for expert in range(shape.experts):
            mlp("%s.experts.%d" % (block, expert), shape.expert_size, names)
        if shape.shared_size:
            mlp(block + ".shared_experts", shape.shared_size)

    add("model.embed_tokens.weight", (shape.vocab_size, hidden))
    moe_layers = set(shape.moe_layers)
    for layer in range(shape.layers):
        name = "model.layers.%d" % layer
        (latent_attention if latent else attention)(name + ".self_attn")
        experts(name) if layer in moe_layers else mlp(name + ".mlp", shape.intermediate_size, bias=shape.mlp_bias)
        add(name + ".input_layernorm.weight", (hidden,))
        add(name + ".post_attention_layernorm.weight", (hidden,))
    add("model.norm.weight", (hidden,))
    if not shape.tied:
        add("lm_head.weight", (shape.vocab_size, hidden))
    return found


def to_json(shape):
    """A Shape as a dictionary that JSON can hold, without what it tells layer by layer."""
    left_out = ("windows", "moe_layers")
    fields = {name: getattr(shape, name) for name in shape.__dataclass_fields__ if name not in left_out}
    fields["quantization"] = vars(shape.quantization) if shape.quantization else None
    return json.loads(json.dumps(fields))
