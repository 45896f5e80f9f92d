# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a model fits a cluster, and how: which GPU holds which bytes, and how many tokens fit beside them.

Follows vLLM 0.32; the file that a rule comes from is named where it is applied. All sizes are bytes.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict

from .errors import OneccError
from .model_shape import DTYPES, PER_LAYER, tensors_from_config, to_json

MIB, GIB = 2**20, 2**30
# Of the memory that nvidia-smi tells, the driver keeps this: 616 MiB on an H200 (nvidia-smi, memory.reserved).
RESERVED = 616 * MIB
# A CUDA context and the workspace of cuBLAS: 620 and 64 MiB on an H200 with CUDA 13 and torch 2.11.
CONTEXT = 684 * MIB
# Buffers of NCCL where there is more than one GPU, and CUDA graphs unless they are off: estimates.
NCCL = 768 * MIB
GRAPHS = 1024 * MIB
# vllm/config/cache.py and vllm/model_executor/layers/vocab_parallel_embedding.py
UTILIZATION, BLOCK_SIZE, VOCAB_PADDING = 0.92, 16, 64
# These models hold the embeddings and the output layer on every stage (vllm/model_executor/models).
EVERY_STAGE = (
    "MixtralForCausalLM",
    "Qwen2MoeForCausalLM",
    "Qwen3MoeForCausalLM",
    "GptOssForCausalLM",
    "Gemma3ForCausalLM",
)
# What sees or hears is no part of a stage: vLLM makes it in every process.
ENCODER = re.compile(r"(^|\.)(vision|visual|audio|multi_modal|mm_|connector|embed_vision|embed_audio)")
EMBEDDING = re.compile(r"(embed_tokens|wte|word_embeddings|embed_in|tok_embeddings)\.")
HEAD = re.compile(r"(^|\.)(lm_head|embed_out|output)\.")
REPLICATED = re.compile(
    r"(q_a_proj|kv_a_proj_with_mqa|mlp\.gate|block_sparse_moe\.gate|feed_forward\.router|mlp\.router|shared_expert_gate"
    r"|indexer)\.|norm|(o_proj|down_proj|dense_4h_to_h|c_proj)\.bias$"
)
LAYOUTS = 8
SETTINGS = (
    "gpu_memory_utilization",
    "max_model_len",
    "max_num_batched_tokens",
    "max_num_seqs",
    "kv_cache_dtype",
    "block_size",
    "enforce_eager",
    "enable_expert_parallel",
    "kv_cache_memory",
    "layer_partition",
)


def gib(size):
    return "%.1f GiB" % (size / GIB)


def ceil_div(number, divisor):
    return -(-number // divisor)


def place(name):
    """Where a tensor belongs: a layer's number, or "every", "embedding", "head" or "last"."""
    if ENCODER.search(name):
        return "every"
    if layer := PER_LAYER.search(name):
        return int(layer.group(1))
    if EMBEDDING.search(name):
        return "embedding"
    return "head" if HEAD.search(name) else "last"


def way(name, shape):
    """How tensor parallelism deals with a tensor of a layer: "replicated", "kv", "qkv", "expert" or "split".

    Rows or columns of the others are split evenly (vllm/model_executor/layers/linear.py), so are those of experts
    without expert parallelism (fused_moe/layer.py); MLA's q_a_proj and kv_a_proj are not (models/deepseek_v2.py).
    """
    if ".experts." in name:
        return "expert"
    if REPLICATED.search(name) or name.endswith("e_score_correction_bias"):
        return "replicated"
    if not shape.kv_lora_rank and re.search(r"\.(k|v)_proj\.", name):
        return "kv"
    return "qkv" if re.search(r"\.(qkv_proj|query_key_value|Wqkv)\.", name) else "split"


def gather(tensors, shape):
    """The bytes of all tensors together: dictionary from place to a dictionary from way to bytes.

    What vLLM does not load is left out: layers for speculative decoding, an output layer that is the embeddings.
    """
    found: dict = defaultdict(lambda: defaultdict(int))
    for tensor in tensors:
        where = place(tensor.name)
        if (isinstance(where, int) and where >= shape.layers) or (where == "head" and shape.tied):
            continue
        if tensor.name.endswith("inv_freq"):
            continue
        size = tensor.bytes
        if tensor.dtype == "F32" and tensor.name.endswith((".weight", ".bias")):
            # Loaded in the model's own type.
            size = size * shape.dtype_bytes // DTYPES["F32"]
        found[where][way(tensor.name, shape) if isinstance(where, int) else "replicated"] += size
    for layer in range(shape.layers if shape.kv_lora_rank else 0):
        # MLA keeps kv_b_proj once more, as the two matrices that it multiplies with when it decodes
        # (vllm/model_executor/layers/attention/mla_attention.py).
        sizes = shape.heads * shape.kv_lora_rank * (shape.qk_nope_head_dim + shape.v_head_dim)
        found[layer]["split"] += sizes * shape.dtype_bytes
    return {where: dict(ways) for where, ways in found.items()}


def on_one(ways, shape, tp, expert_parallel=False):
    """Bytes of a layer on one of tp GPUs."""
    kv = shape.kv_heads
    kv_share = 2 * kv / (shape.heads + 2 * kv)
    shares = {
        "replicated": 1,
        "split": 1 / tp,
        "kv": 1 / min(tp, kv),
        "qkv": (1 - kv_share) / tp + kv_share / min(tp, kv),
        "expert": ceil_div(shape.experts, tp) / shape.experts if expert_parallel and shape.experts else 1 / tp,
    }
    return sum(math.ceil(size * shares[name]) for name, size in ways.items())


def partition(layers, pp, given=""):
    """Layers of each stage as (first, behind the last), as get_pp_indices of vllm/distributed/utils.py has them.

    What remains goes to the last but one and those before it.

    :param given: VLLM_PP_LAYER_PARTITION, such as 31,32,32,31; empty for none
    :raises ValueError: when that does not fit
    """
    if given:
        counts = [int(count) for count in given.split(",")]
        if len(counts) != pp or sum(counts) != layers:
            raise ValueError(given)
    else:
        counts = [layers // pp] * pp
        for stage in range(2, layers % pp + 2):
            counts[-stage] += 1
    starts = [sum(counts[:stage]) for stage in range(pp)]
    return [(start, start + count) for start, count in zip(starts, counts, strict=True)]


def stage_weights(parts, shape, tp, stages, expert_parallel=False):
    """Bytes of weights on each GPU of every stage.

    :param parts: what gather gave
    :param stages: what partition gave
    """
    padded = ceil_div(shape.vocab_size, VOCAB_PADDING) * VOCAB_PADDING
    sizes = {where: parts.get(where, {}).get("replicated", 0) for where in ("embedding", "head", "last", "every")}
    # Tensor parallelism splits the padded vocabulary.
    for where in ("embedding", "head"):
        sizes[where] = math.ceil(sizes[where] * padded / shape.vocab_size / tp)
    found = []
    for stage, (start, end) in enumerate(stages):
        first, last = stage == 0, stage == len(stages) - 1
        every = shape.architecture in EVERY_STAGE
        size = sum(on_one(parts.get(layer, {}), shape, tp, expert_parallel) for layer in range(start, end))
        size += sizes["every"]
        size += sizes["embedding"] if first or every or (last and shape.tied) else 0
        size += sizes["head"] if last or every else 0
        size += sizes["last"] if last else 0
        found.append(size)
    return found


def kv_layer(shape, tp, kv_cache_dtype):
    """Bytes that a token takes in the KV cache of one layer on one of tp GPUs.

    Heads are replicated beyond their number, and MLA's latent vector is on every GPU (vllm/config/model.py:
    get_num_kv_heads, vllm/v1/kv_cache_interface.py: AttentionSpec).
    """
    if kv_cache_dtype.startswith("fp8"):
        size = 1
    else:
        size = 2 if kv_cache_dtype in ("bfloat16", "float16") else shape.dtype_bytes
    if shape.kv_lora_rank:
        return (shape.kv_lora_rank + shape.qk_rope_head_dim) * size
    return 2 * max(1, shape.kv_heads // tp) * shape.head_dim * size


def kv_groups(windows):
    """Layers that share a block table, as _get_kv_cache_groups_uniform_page_size of vllm/v1/core/kv_cache_utils.py.

    :param windows: see Shape
    :return: list of (window, layers)
    """
    kinds = defaultdict(list)
    for layer, window in enumerate(windows):
        kinds[window].append(layer)
    counts = [len(layers) for layers in kinds.values()]
    size = max(counts) if max(counts) < min(counts) * 1.5 else min(counts)
    groups = []
    for window, layers in kinds.items():
        number = ceil_div(len(layers), size)
        groups += [(window, layers[i::number]) for i in range(number)]
    return groups


def blocks_of_sequence(groups, settings, pp):
    """Blocks that a sequence of max_model_len takes in all groups (vllm/v1/kv_cache_interface.py)."""
    longest, block = settings["max_model_len"], settings["block_size"]
    # Batches that are under way hold back what a window has passed: vllm/config/vllm.py, max_concurrent_batches.
    under_way = settings["max_num_batched_tokens"] * (pp if pp > 1 else 2)
    return sum(
        ceil_div(min(window - 1 + under_way, longest), block) + 1 if window else ceil_div(longest, block)
        for window, layers in groups
    )


def overhead(shape, tp, pp, is_last, settings):
    """Bytes beside weights and KV cache on a GPU: an estimate.

    - Activations of one batch of max_num_batched_tokens: four times the hidden state (residual, normed, in and out
      of a layer), queries, keys and values, and three times the intermediate size (gate, up and their product) of
      an MLP or, with experts, of all that a token is sent to, with what each of these returns.
    - Logits of max_num_seqs on the last stage, not at the same time: in the model's type, as float32 and as
      probabilities, for the whole vocabulary.
    - The constants above.
    """
    tokens, size = settings["max_num_batched_tokens"], shape.dtype_bytes
    heads = math.ceil((shape.heads + 2 * shape.kv_heads) * max(shape.head_dim, shape.v_head_dim) / tp)
    mlp = 3 * shape.intermediate_size / tp
    if shape.experts:
        expert = (3 * shape.expert_size / tp + shape.hidden_size) * shape.experts_per_token
        mlp = max(mlp if len(shape.moe_layers) < shape.layers else 0, expert + 3 * shape.shared_size / tp)
    activations = math.ceil(tokens * size * (4 * shape.hidden_size + heads + mlp))
    logits = settings["max_num_seqs"] * shape.vocab_size * (size + 4 + 4) if is_last else 0
    constants = CONTEXT + (NCCL if tp * pp > 1 else 0) + (0 if settings["enforce_eager"] else GRAPHS)
    return max(activations, logits) + constants


def read_number(text, name):
    """A number as vLLM's flags take it: "32k" is 32,000 and "32K" 32,768 (vllm/utils/argparse_utils.py).

    :return: the number, None for none; 1 for what vLLM chooses itself so that it fits, "auto" or -1
    :raises OneccError: for anything else
    """
    if not text:
        return None
    if str(text) in ("auto", "-1"):
        return 1
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kmgt]?)|(\d+)([KMGT])", str(text).strip())
    if not found:
        raise OneccError(name, "a number, such as 32768, 32K or 32k", "'%s'" % text, "Correct it.")
    if found[3]:
        return int(found[3]) * 1024 ** (1 + "KMGT".index(found[4]))
    return int(float(found[1]) * 1000 ** (" kmgt".index(found[2] or " ")))


def resolve(settings, shape, memory):
    """The settings with vLLM's own defaults for those that are none, for its API server on NVIDIA GPUs.

    Defaults: vllm/config/cache.py, vllm/engine/arg_utils.py: get_batch_defaults.
    """
    found = {name: settings.get(name) for name in SETTINGS}
    for name in ("max_model_len", "max_num_batched_tokens", "kv_cache_memory"):
        found[name] = read_number(found[name], name)
    tokens, seqs = (16384, 1024) if memory >= 160 * GIB else (8192, 1024) if memory >= 70 * GIB else (2048, 256)
    defaults = {
        "gpu_memory_utilization": UTILIZATION,
        "max_model_len": shape.max_position_embeddings,
        "max_num_batched_tokens": tokens,
        "kv_cache_dtype": "auto",
        "block_size": BLOCK_SIZE,
    }
    found.update({name: value for name, value in defaults.items() if not found[name]})
    found["max_num_seqs"] = found["max_num_seqs"] or min(seqs, found["max_num_batched_tokens"])
    for name, empty in (("enforce_eager", False), ("enable_expert_parallel", False), ("kv_cache_memory", 0)):
        found[name] = found[name] or empty
    found["layer_partition"] = found["layer_partition"] or ""
    return found


def problem(name, found, expected):
    """One reason against a layout; name is the id of a cause in catalogue.py."""
    return {"id": name, "found": found, "expected": expected}


def divides(shape, tp, settings):
    """What does not divide by tp: list of (found, expected).

    Sources: verify_with_parallel_config of vllm/config/model.py (heads); QKVParallelLinear of
    vllm/model_executor/layers/linear.py (KV heads); vocab_parallel_embedding.py; quantization/utils/fp8_utils.py
    (blocks) and marlin_utils.py (groups).
    """
    found = []

    def check(what, number, unit=1):
        """Each of the GPUs gets a whole number of units."""
        if number and number % (tp * unit):
            expected = "a multiple of %d" % (tp * unit)
            if unit > 1:
                expected += " (%d GPUs, weights of '%s' that share scales)" % (tp, shape.quantization.method)
            found.append((what % number, expected))

    check("%d attention heads", shape.heads)
    if not shape.kv_lora_rank and shape.kv_heads % tp and tp % shape.kv_heads:
        found.append(("%d KV heads" % shape.kv_heads, "a multiple or a divisor of %d" % tp))
    check("a padded vocabulary of %d", ceil_div(shape.vocab_size, VOCAB_PADDING) * VOCAB_PADDING)
    unit, quantization = 1, shape.quantization
    # Those of the other methods are cut anywhere, or were given room to spare.
    if quantization and tp > 1 and quantization.method not in ("bitsandbytes", "mxfp4"):
        unit = max([*quantization.block, quantization.group, 1])
    if len(shape.moe_layers) < shape.layers:
        check("an intermediate size of %d", shape.intermediate_size, unit)
    if not settings["enable_expert_parallel"]:
        check("an intermediate size of experts of %d", shape.expert_size, unit)
    check("an intermediate size of shared experts of %d", shape.shared_size, unit)
    check("an attention output of %d", shape.heads * (shape.v_head_dim or shape.head_dim), unit)
    if quantization and quantization.block and not shape.kv_lora_rank:
        check("keys of %d numbers on all GPUs", max(shape.kv_heads, tp) * shape.head_dim, unit)
    return found


def lay_out(shape, parts, nodes, settings, tp, pp):
    """One layout: what each stage takes, what fits, and what speaks against it.

    :return: dictionary, see the module serving_plan
    """
    total, per_node = sum(node["gpus"] for node in nodes), min((node["gpus"] for node in nodes), default=0)
    memory = min((node["memory_mib"] for node in nodes), default=0) * MIB
    spans = tp > per_node or (pp > 1 and per_node % tp != 0)
    result = {
        "tensor_parallel_size": tp,
        "pipeline_parallel_size": pp,
        "gpus": tp * pp,
        "uses_all": tp * pp == total,
        "spans_nodes": spans,
        "stages": [],
        "tokens": 0,
        "sequences": 0.0,
    }
    problems = []
    if tp * pp > total:
        problems.append(problem("gpu-count", "%d GPUs" % total, "at least %d (%d x %d)" % (tp * pp, tp, pp)))
    problems += [problem("layout", what, expected) for what, expected in divides(shape, tp, settings)]
    stages = []
    if pp > shape.layers:
        problems.append(problem("layout", "%d layers" % shape.layers, "at least one for each of %d stages" % pp))
    else:
        try:
            stages = partition(shape.layers, pp, settings["layer_partition"])
        except ValueError:
            expected = "%d numbers that add up to %d" % (pp, shape.layers)
            problems.append(problem("layout", "the layer partition %s" % settings["layer_partition"], expected))
    if stages:
        problems += fit(result, shape, parts, memory, settings, stages)
    if problems:
        result.update(tokens=0, sequences=0.0)
    return dict(result, feasible=not problems, problems=problems, reason=reason(result, problems))


def fit(result, shape, parts, memory, settings, stages):
    """Fills in the stages of a layout, and the tokens that fit: of the stage where the fewest do.

    Blocks are counted, and one held back, as get_kv_cache_configs of vllm/v1/core/kv_cache_utils.py does, and
    tokens as get_kv_cache_capacity does, so that they are those that vLLM logs as its KV cache size.

    :return: list of problems
    """
    tp, pp = result["tensor_parallel_size"], result["pipeline_parallel_size"]
    per_token, groups = kv_layer(shape, tp, settings["kv_cache_dtype"]), kv_groups(shape.windows)
    in_sequence = blocks_of_sequence(groups, settings, pp)
    problems, blocks = [], []
    weights = stage_weights(parts, shape, tp, stages, settings["enable_expert_parallel"])
    usable = max(memory - RESERVED, 0)
    for number, (start, end) in enumerate(stages):
        beside = overhead(shape, tp, pp, number == pp - 1, settings)
        in_group = max(sum(start <= layer < end for layer in layers) for window, layers in groups)
        block = in_group * per_token * settings["block_size"]
        if settings["kv_cache_memory"]:
            budget, kv_memory = usable, settings["kv_cache_memory"]
            # Memory of 0 is unknown, as on a CPU: there vLLM is given room for the KV cache alone.
            is_over = memory and weights[number] + beside + kv_memory > usable
        else:
            budget = math.ceil(usable * settings["gpu_memory_utilization"])
            kv_memory, is_over = max(budget - weights[number] - beside, 0), False
        one = (in_sequence + 1) * block
        if one > kv_memory or is_over:
            problems.append(does_not_fit(number, pp, weights[number], beside, one, kv_memory, budget, settings))
        if block:
            blocks.append(kv_memory // block)
        result["stages"].append(
            {
                "first_layer": start,
                "layers": end - start,
                "weights": weights[number],
                "overhead": beside,
                "kv_bytes_per_token": (end - start) * per_token,
                "kv_memory": kv_memory,
            }
        )
    sequences = min(blocks) / in_sequence
    result.update(tokens=int(sequences * settings["max_model_len"]), sequences=round(sequences, 2))
    return problems


def does_not_fit(number, pp, weights, beside, one, kv_memory, budget, settings):
    """The problem of a stage that is too large. Numbers are for each of its GPUs."""
    stage = "stage %d of %d: " % (number + 1, pp) if pp > 1 else ""
    found = "%s weights, %s overhead" % (gib(weights), gib(beside))
    if settings["kv_cache_memory"]:
        found += ", %s KV cache as set" % gib(kv_memory)
    longest = settings["max_model_len"]
    needed = weights + beside + max(one, settings["kv_cache_memory"])
    found = "%s%s; with one sequence of %d tokens (%s) %s" % (stage, found, longest, gib(one), gib(needed))
    if settings["kv_cache_memory"] and one > kv_memory:
        return problem("model-fit", found, "a KV cache of at least %s" % gib(one))
    return problem("model-fit", found, "at most %s of each GPU" % gib(budget))


def reason(result, problems):
    """Why a layout is good or not, in one line."""
    if problems:
        more = " (and %d more)" % (len(problems) - 1) if len(problems) > 1 else ""
        return "no: found %s, expected %s%s" % (problems[0]["found"], problems[0]["expected"], more)
    tp, pp, stages = result["tensor_parallel_size"], result["pipeline_parallel_size"], result["stages"]
    words = ["all GPUs" if result["uses_all"] else "%d GPU%s" % (result["gpus"], "s" if result["gpus"] > 1 else "")]
    if result["spans_nodes"]:
        words.append("every layer waits for the network between nodes")
    elif tp > 1:
        words.append("tensor parallel within a node")
    if pp > 1:
        counts = [stage["layers"] for stage in stages]
        words.append("%d stages of %s layers" % (pp, span(counts)))
    return "fits: " + ", ".join(words)


def span(numbers):
    low, high = min(numbers), max(numbers)
    return "%s" % low if low == high else "%s-%s" % (low, high)


def rank(layout):
    """Sorts layouts, best first: those that fit, use all GPUs, keep tensor parallelism in a node, split more there."""
    tp, counts = layout["tensor_parallel_size"], [stage["layers"] for stage in layout["stages"]] or [0]
    return (
        not layout["feasible"],
        # Of what does not fit, that which would with more memory comes first.
        any(one["id"] != "model-fit" for one in layout["problems"]),
        -layout["gpus"],
        layout["spans_nodes"],
        tp if layout["spans_nodes"] else -tp,
        max(counts) - min(counts),
    )


def candidates(nodes, tp=0, pp=0):
    """Layouts to look at, as (tp, pp): whole nodes, or all of them.

    :param tp: the tensor parallel size if that is given, else 0
    :param pp: the pipeline parallel size if that is given, else 0
    """
    counts = [node["gpus"] for node in nodes]
    per_node, total = min(counts, default=0), sum(counts)
    within = [size for size in range(1, per_node + 1) if per_node % size == 0]
    across = [per_node * number for number in range(2, len(nodes) + 1) if len(nodes) % number == 0]
    found = set()
    for size in [tp] if tp else within + across:
        if pp:
            stages = {pp}
        elif size <= per_node:
            whole = {per_node // size * number for number in range(1, len(nodes) + 1)}
            stages = whole | {sum(count // size for count in counts)}
        else:
            stages = set(range(1, total // size + 1)) or {1}
        found |= {(size, number) for number in stages if size * number <= total or (tp and (pp or number == 1))}
    return sorted(found)


def plan(shape, tensors, nodes, settings, tensor_parallel_size=0, pipeline_parallel_size=0):
    """Whether and how a model fits a cluster.

    :param tensors: list of Tensor; empty to derive them from the shape
    :param nodes: list of dictionaries with name, gpus, and memory_mib of the smallest of them
    :param settings: dictionary of what SETTINGS names, as vLLM names them; kv_cache_memory is the bytes of KV cache
        on each GPU in place of what remains, layer_partition is VLLM_PP_LAYER_PARTITION
    :param tensor_parallel_size: 0 to choose the best
    :param pipeline_parallel_size: likewise
    :return: dictionary, see the module serving_plan
    :raises OneccError: when the tensors cannot be derived
    """
    derived = tensors or tensors_from_config(shape)
    parts = gather(derived, shape)
    nodes = [node for node in nodes if node["gpus"]]
    memory = min((node["memory_mib"] for node in nodes), default=0)
    settings = resolve(settings, shape, memory * MIB)

    def lay(sizes):
        return lay_out(shape, parts, nodes, settings, *sizes)

    asked = (tensor_parallel_size or 0, pipeline_parallel_size or 0)
    layouts = sorted((lay(sizes) for sizes in candidates(nodes)), key=rank)
    best = next((layout for layout in layouts if layout["feasible"]), None)
    # With no GPUs at all there is still one layout to say so.
    wanted = sorted((lay(sizes) for sizes in candidates(nodes, *asked) or [tuple(s or 1 for s in asked)]), key=rank)
    chosen = wanted[0] if wanted[0]["feasible"] or all(asked) else None
    layouts = layouts[:LAYOUTS]
    if chosen and chosen not in layouts:
        layouts = [*layouts[: LAYOUTS - 1], chosen]
    return {
        "model": dict(
            to_json(shape),
            parameters=sum(
                tensor.parameters
                for tensor in derived
                if not isinstance(where := place(tensor.name), int) or where < shape.layers
            ),
            weights=sum(tensor.bytes for tensor in derived),
            source="headers" if tensors else "config",
            kv_bytes_per_token=shape.layers * kv_layer(shape, 1, settings["kv_cache_dtype"]),
        ),
        "cluster": {
            "nodes": nodes,
            "gpus": sum(node["gpus"] for node in nodes),
            "gpus_per_node": min((node["gpus"] for node in nodes), default=0),
            "memory_mib": memory,
        },
        "settings": settings,
        "layouts": layouts,
        "best": best,
        "chosen": chosen,
        "problems": wanted[0]["problems"],
    }


def count(number):
    """A number of parameters as people name it."""
    return "%.1f billion" % (number / 1e9) if number >= 1e9 else "%.1f million" % (number / 1e6)


def report(found):
    """A plan as lines that a person reads."""
    model, cluster, settings = found["model"], found["cluster"], found["settings"]
    kept = model["quantization"]
    kind = "%s %d bit" % (kept["method"], kept["bits"]) if kept else model["dtype"]
    lines = [
        "model: %s, %s parameters, %s as %s, up to %d tokens"
        % (
            model["architecture"],
            count(model["parameters"]),
            gib(model["weights"]),
            kind,
            model["max_position_embeddings"],
        ),
        "KV cache: %d B per token for the whole model (%s), sequences of %d tokens"
        % (model["kv_bytes_per_token"], settings["kv_cache_dtype"], settings["max_model_len"]),
        "cluster: %d GPUs on %d node%s, %s each"
        % (cluster["gpus"], len(cluster["nodes"]), "s" if len(cluster["nodes"]) > 1 else "", memory_of(cluster)),
        *("note: %s" % note for note in model["notes"]),
        "",
    ]
    rows = [["TP", "PP", "WEIGHTS/GPU", "KV B/TOKEN/GPU", "TOKENS", "SEQUENCES", "VERDICT"]]
    for layout in found["layouts"]:
        rows.append(
            [
                layout["tensor_parallel_size"],
                layout["pipeline_parallel_size"],
                weights_of(layout),
                max((stage["kv_bytes_per_token"] for stage in layout["stages"]), default="-"),
                layout["tokens"] or "-",
                layout["sequences"] or "-",
                layout["reason"],
            ]
        )
    lines += columns(rows)
    chosen = found["chosen"]
    if not chosen:
        return [*lines, "", "nothing of this serves the model", *map(told, found["problems"])]
    sizes = (chosen["tensor_parallel_size"], chosen["pipeline_parallel_size"])
    lines += ["", "chosen: tensor parallel %d, pipeline parallel %d" % sizes]
    for number, stage in enumerate(chosen["stages"]):
        layers = (stage["first_layer"], stage["first_layer"] + stage["layers"] - 1)
        parts = (gib(stage["weights"]), gib(stage["overhead"]), gib(stage["kv_memory"]), stage["kv_bytes_per_token"])
        lines.append(
            "  stage %d: layers %d-%d, on each GPU %s weights, %s overhead, %s KV cache of %d B per token"
            % (number + 1, *layers, *parts)
        )
    return lines + [told(one) for one in found["problems"]]


def told(one):
    return "problem (%s): found %s, expected %s" % (one["id"], one["found"], one["expected"])


def memory_of(cluster):
    return gib(cluster["memory_mib"] * MIB) if cluster["memory_mib"] else "unknown memory"


def weights_of(layout):
    """Weights of the stages that have the least and the most, in GiB."""
    if not layout["stages"]:
        return "-"
    return span(["%.1f" % (size / GIB) for size in sorted(stage["weights"] for stage in layout["stages"])]) + " GiB"


def columns(rows):
    """Rows as lines of aligned columns."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
