#!/usr/bin/python
# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: serving_plan
short_description: Tells whether a model fits a cluster, and how to spread it
version_added: 0.1.0
description:
  - Reads a model's C(config.json) and, where there are any, the headers of its safetensors, from a folder or a hub.
    Downloads no weights.
  - Computes for layouts of tensor and pipeline parallelism what each GPU of each stage holds, how many tokens the KV
    cache has room for, and whether heads, layers and quantised weights divide, by the rules of vLLM 0.32.
  - A layout that is impossible is told in RV(problems), with numbers. The module fails only when it cannot read the
    model.
  - What activations, CUDA graphs and NCCL take is estimated.
extends_documentation_fragment:
  - onecc.vllm.hub.endpoint
  - onecc.vllm.read_only
author:
  - The onecc.vllm authors (@onecc)
options:
  folder:
    description: The folder of the model, on the node where this runs. Its C(config.json) is enough.
    type: path
  repo:
    description: The model on a hub, as V(OWNER/NAME). Needs huggingface_hub, which O(folder) does not.
    type: str
  revision:
    description: A branch, tag or commit of O(repo).
    type: str
    default: main
  nodes:
    description: The nodes of the cluster.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Its name.
        type: str
        required: true
      gpus:
        description: How many GPUs it has.
        type: int
        required: true
      memory_mib:
        description:
          - Memory of each of its GPUs in MiB, as C(nvidia-smi) tells it; of the smallest if they differ.
          - V(0) means that it is unknown. Then give O(kv_cache_memory), and nothing else is compared with it.
        type: int
        default: 0
  tensor_parallel_size:
    description: GPUs that share each layer. V(0) chooses.
    type: int
    default: 0
  pipeline_parallel_size:
    description: Stages that the layers are spread over. V(0) chooses.
    type: int
    default: 0
  gpu_memory_utilization:
    description: The part of a GPU's memory that vLLM may use. vLLM's default is 0.92.
    type: float
  max_model_len:
    description: Tokens of the longest sequence; V(32k) and V(32K) as vLLM takes them. The default is all that the model
      can.
    type: str
  max_num_batched_tokens:
    description: Tokens of one step. The default is vLLM's, which goes by the memory of the GPUs.
    type: str
  max_num_seqs:
    description: Sequences of one step. The default is likewise.
    type: int
  kv_cache_dtype:
    description: Type of the KV cache, such as V(fp8). V(auto), the default, is the model's own.
    type: str
  block_size:
    description: Tokens of a block of the KV cache. The default is 16; vLLM on a CPU has 128.
    type: int
  enforce_eager:
    description: Whether vLLM does without CUDA graphs.
    type: bool
    default: false
  enable_expert_parallel:
    description: Whether each GPU holds whole experts, not a part of each.
    type: bool
    default: false
  kv_cache_memory:
    description:
      - Bytes of KV cache on each GPU, in place of what remains of its memory. This is vLLM's
        C(--kv-cache-memory-bytes), and C(VLLM_CPU_KVCACHE_SPACE) on a CPU, in bytes.
    type: str
  layer_partition:
    description: Layers of each stage, as C(VLLM_PP_LAYER_PARTITION) has them.
    type: str
seealso:
  - module: onecc.vllm.hf_model_info
"""

EXAMPLES = r"""
- name: Look how a model would be spread before it is downloaded
  onecc.vllm.serving_plan:
    repo: meta-llama/Llama-3.1-405B-Instruct
    token: "{{ lookup('ansible.builtin.env', 'HF_TOKEN') }}"
    nodes:
      - {name: head, gpus: 8, memory_mib: 81559}
      - {name: worker, gpus: 8, memory_mib: 81559}
  delegate_to: localhost

- name: Look whether a layout fits with shorter sequences
  onecc.vllm.serving_plan:
    folder: /home/ubuntu/shared/models/our-own-70b
    nodes:
      - {name: head, gpus: 4, memory_mib: 46068}
    tensor_parallel_size: 4
    max_model_len: 16384
"""

RETURN = r"""
report:
  description: The plan as lines to read.
  returned: success
  type: list
  elements: str
  sample:
    - "model: LlamaForCausalLM, 405.9 billion parameters, 756.0 GiB as BF16, up to 131072 tokens"
    - "KV cache: 516096 B per token for the whole model (auto), sequences of 131072 tokens"
    - "cluster: 16 GPUs on 2 nodes, 79.6 GiB each"
model:
  description:
    - What the model consists of. Sizes are bytes.
    - C(source) tells whether C(weights) was read from C(headers) or derived from the C(config).
  returned: success
  type: dict
  sample:
    architecture: LlamaForCausalLM
    layers: 126
    heads: 128
    kv_heads: 8
    head_dim: 128
    hidden_size: 16384
    vocab_size: 128256
    max_position_embeddings: 131072
    dtype: BF16
    quantization: null
    parameters: 405853388800
    weights: 811706777600
    source: headers
    kv_bytes_per_token: 516096
cluster:
  description: The nodes that have GPUs, and what all of them have at least.
  returned: success
  type: dict
  sample:
    nodes:
      - {name: head, gpus: 8, memory_mib: 81559}
      - {name: worker, gpus: 8, memory_mib: 81559}
    gpus: 16
    gpus_per_node: 8
    memory_mib: 81559
settings:
  description: The settings that were used, with vLLM's defaults.
  returned: success
  type: dict
  sample:
    gpu_memory_utilization: 0.92
    max_model_len: 131072
    max_num_batched_tokens: 8192
    max_num_seqs: 1024
    kv_cache_dtype: auto
    block_size: 16
    enforce_eager: false
    enable_expert_parallel: false
    kv_cache_memory: 0
    layer_partition: ""
layouts:
  description:
    - Layouts worth considering, best first, at most eight. Sizes are bytes on each GPU of a stage.
    - C(tokens) is what vLLM logs as the size of its KV cache, C(sequences) how many of the longest ones that is; both
      are 0 for a layout that is impossible, for which C(problems) tells why.
  returned: success
  type: list
  elements: dict
  sample:
    - tensor_parallel_size: 8
      pipeline_parallel_size: 2
      gpus: 16
      uses_all: true
      spans_nodes: false
      feasible: true
      tokens: 722800
      sequences: 5.51
      problems: []
      reason: "fits: all GPUs, tensor parallel within a node, 2 stages of 63 layers"
      stages:
        - first_layer: 0
          layers: 63
          weights: 50735284224
          overhead: 4034920448
          kv_bytes_per_token: 32256
          kv_memory: 23314691523
best:
  description: The first of RV(layouts) that is possible, null if none is.
  returned: success
  type: dict
  sample: {tensor_parallel_size: 8, pipeline_parallel_size: 2, feasible: true}
chosen:
  description:
    - The layout that was asked for. With a size left to choose, the best one that is possible, null if none is.
  returned: success
  type: dict
  sample: {tensor_parallel_size: 8, pipeline_parallel_size: 2, feasible: true}
problems:
  description:
    - What makes RV(chosen) impossible; if that is null, the nearest to it.
    - C(id) is V(layout) for what does not divide, V(model-fit) for what is too large, V(gpu-count) for too few GPUs.
  returned: success
  type: list
  elements: dict
  sample:
    - id: model-fit
      found: 94.5 GiB weights, 3.8 GiB overhead; with one sequence of 131072 tokens (7.9 GiB) 106.1 GiB
      expected: at most 72.7 GiB of each GPU
"""

import traceback

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.onecc.vllm.plugins.module_utils.errors import OneccError
from ansible_collections.onecc.vllm.plugins.module_utils.hub import ENDPOINT_OPTIONS
from ansible_collections.onecc.vllm.plugins.module_utils.memory_plan import plan, report
from ansible_collections.onecc.vllm.plugins.module_utils.model_shape import read_config, read_folder, read_hub

try:
    import huggingface_hub

    HUB_ERROR = None
except ImportError:
    HUB_ERROR = traceback.format_exc()

NODE = {
    "name": {"type": "str", "required": True},
    "gpus": {"type": "int", "required": True},
    "memory_mib": {"type": "int", "default": 0},
}


def main():
    module = AnsibleModule(
        argument_spec=dict(
            ENDPOINT_OPTIONS,
            folder={"type": "path"},
            repo={"type": "str"},
            revision={"type": "str", "default": "main"},
            nodes={"type": "list", "elements": "dict", "required": True, "options": NODE},
            tensor_parallel_size={"type": "int", "default": 0},
            pipeline_parallel_size={"type": "int", "default": 0},
            gpu_memory_utilization={"type": "float"},
            max_model_len={"type": "str"},
            # A number of tokens, not a secret.
            max_num_batched_tokens={"type": "str", "no_log": False},
            max_num_seqs={"type": "int"},
            kv_cache_dtype={"type": "str"},
            block_size={"type": "int"},
            enforce_eager={"type": "bool", "default": False},
            enable_expert_parallel={"type": "bool", "default": False},
            kv_cache_memory={"type": "str"},
            layer_partition={"type": "str"},
        ),
        mutually_exclusive=[("folder", "repo")],
        required_one_of=[("folder", "repo")],
        supports_check_mode=True,
    )
    params = module.params
    if params["repo"] and HUB_ERROR:
        module.fail_json(msg=missing_required_lib("huggingface_hub"), exception=HUB_ERROR)
    sizes = params["tensor_parallel_size"], params["pipeline_parallel_size"]
    try:
        config, tensors = read_hub(huggingface_hub, params) if params["repo"] else read_folder(params["folder"])
        result = plan(read_config(config), tensors, params["nodes"], params, *sizes)
    except OneccError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, report=report(result), **result)


if __name__ == "__main__":
    main()
