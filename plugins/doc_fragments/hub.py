# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Documentation of what the modules that deal with a model have in common."""

    DOCUMENTATION = r"""
options:
  repo:
    description: The model, as V(OWNER/NAME).
    type: str
    required: true
"""

    PATTERNS = r"""
options:
  include:
    description: Patterns of files to take, as huggingface_hub understands them. None means all files.
    type: list
    elements: str
    default: []
  exclude:
    description: Patterns of files to leave out. They win over O(include).
    type: list
    elements: str
    default: []
  duplicates:
    description: Whether to take C(*.bin) files, PyTorch's own format, also where the chosen files hold safetensors.
    type: bool
    default: false
"""

    ENDPOINT = r"""
requirements:
  - huggingface_hub >= 1.0 in the Python that runs the module
options:
  endpoint:
    description: Address of the hub. The default is that of huggingface_hub.
    type: str
  token:
    description: A token for gated and private models. Used for requests to the hub and nothing else.
    type: str
"""

    CACHE = r"""
options:
  cache_dir:
    description: The folder of the Hugging Face cache that holds models, C(HF_HOME/hub).
    type: path
    required: true
"""
