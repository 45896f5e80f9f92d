# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Documentation of what the modules that talk to a hub have in common."""

    DOCUMENTATION = r"""
requirements:
  - huggingface_hub >= 1.0 in the Python that runs the module
options:
  repo:
    description: The model, as V(OWNER/NAME).
    type: str
    required: true
  revision:
    description: A branch, tag or commit of the model.
    type: str
    default: main
  include:
    description:
      - Patterns of files to take, as huggingface_hub understands them. The default is all files.
    type: list
    elements: str
  exclude:
    description: Patterns of files to leave out. They win over O(include).
    type: list
    elements: str
    default: []
  cache_dir:
    description: The folder of the Hugging Face cache that holds models, C(HF_HOME/hub).
    type: path
    required: true
  endpoint:
    description: Address of the hub. The default is that of huggingface_hub.
    type: str
  token:
    description: A token for gated and private models. Used for requests to the hub and nothing else.
    type: str
"""
