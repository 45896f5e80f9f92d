# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes a model of 8B parameters with random weights, of the shape of Llama 3.1 8B, with the tokenizer of another one.

Usage: write_model.py TARGET TOKENIZER, with a Python that has torch and safetensors.
"""

import json
import pathlib
import shutil
import sys

import torch
from safetensors.torch import save_file

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "hidden_act": "silu",
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-05,
    "rope_theta": 500000.0,
    "tie_word_embeddings": False,
    "attention_bias": False,
    "mlp_bias": False,
    "initializer_range": 0.02,
    "vocab_size": 128256,
    "torch_dtype": "bfloat16",
}
LAYERS_OF_A_FILE = 8
# Tokens that the tokenizer knows: the others are never the likeliest.
KNOWN = 49152


def shapes(config):
    """The tensors, file by file."""
    width, inner, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    keys = config["num_key_value_heads"] * config["head_dim"]
    files = [{"model.embed_tokens.weight": (config["vocab_size"], width)}]
    for layer in range(layers):
        if layer % LAYERS_OF_A_FILE == 0 and layer:
            files.append({})
        name = "model.layers.%d." % layer
        files[-1].update(
            {
                name + "self_attn.q_proj.weight": (width, width),
                name + "self_attn.k_proj.weight": (keys, width),
                name + "self_attn.v_proj.weight": (keys, width),
                name + "self_attn.o_proj.weight": (width, width),
                name + "mlp.gate_proj.weight": (inner, width),
                name + "mlp.up_proj.weight": (inner, width),
                name + "mlp.down_proj.weight": (width, inner),
                name + "input_layernorm.weight": (width,),
                name + "post_attention_layernorm.weight": (width,),
            }
        )
    files[-1].update({"model.norm.weight": (width,), "lm_head.weight": (config["vocab_size"], width)})
    return files


def make(name, shape, device):
    if len(shape) == 1:
        return torch.ones(shape, dtype=torch.bfloat16)
    values = torch.randn(shape, dtype=torch.bfloat16, device=device).mul_(CONFIG["initializer_range"])
    if name == "lm_head.weight":
        values[KNOWN:] = 0
    return values.cpu()


def main():
    target, tokenizer = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    target.mkdir(parents=True)
    files = shapes(CONFIG)
    index, size = {}, 0
    for number, tensors in enumerate(files, 1):
        path = "model-%05d-of-%05d.safetensors" % (number, len(files))
        made = {name: make(name, shape, device) for name, shape in tensors.items()}
        save_file(made, target / path, metadata={"format": "pt"})
        index.update(dict.fromkeys(made, path))
        size += sum(each.nbytes for each in made.values())
    (target / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": size}, "weight_map": index}, indent=1) + "\n"
    )
    told = json.loads((tokenizer / "config.json").read_text())
    own = {**CONFIG, **{key: told[key] for key in ("bos_token_id", "eos_token_id") if key in told}}
    (target / "config.json").write_text(json.dumps(own, indent=1) + "\n")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(tokenizer / name, target / name)


if __name__ == "__main__":
    main()
