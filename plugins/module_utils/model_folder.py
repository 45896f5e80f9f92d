# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder that is said to hold a model."""

from __future__ import annotations

import json
import os

from .errors import OneccError

INDEX = "model.safetensors.index.json"
REMEDY = "Copy the model again, or leave model_download_path empty to have it fetched."


def wrong(path, expected, found):
    return OneccError(path, expected, found, REMEDY)


def read_json(path):
    try:
        with open(path, encoding="utf-8") as stream:
            return json.load(stream)
    except OSError as error:
        raise wrong(path, "a file that can be read", error.strerror) from error
    except ValueError as error:
        raise wrong(path, "JSON", str(error)) from error


def read_header(path):
    """The header of a safetensors file.

    Eight bytes hold the length of the header, which is JSON; the tensors' offsets count from its end
    (https://huggingface.co/docs/safetensors).

    :return: a dictionary from a tensor's name to its dtype, shape and data_offsets; the header's length in bytes
    :raises OneccError: when the file has none
    """
    with open(path, "rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        try:
            if length > os.path.getsize(path):
                raise ValueError("the header ends behind the file's end")
            header = json.loads(stream.read(length))
            tensors = {name: tensor for name, tensor in header.items() if name != "__metadata__"}
            offsets = [offset for tensor in tensors.values() for offset in tensor["data_offsets"][:2]]
            if len(offsets) != 2 * len(tensors) or any(
                not isinstance(offset, int) or isinstance(offset, bool) for offset in offsets
            ):
                raise ValueError("offsets that are no numbers")
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise wrong(path, "safetensors with a header", "none (%s)" % error) from error
    return tensors, length


def expected_size(path):
    """The size that a safetensors file has by its own header, in bytes."""
    tensors, length = read_header(path)
    return 8 + length + max((tensor["data_offsets"][1] for tensor in tensors.values()), default=0)


def indexed(path):
    """The files that an index names."""
    index = read_json(path)
    names = index.get("weight_map", {}) if isinstance(index, dict) else None
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise wrong(path, "a weight_map from tensors to files", "none")
    return sorted(set(names.values()))


def look(path, roots=()):
    """Looks at the folder.

    :param roots: other folders that its links may lead to
    :return: dictionary with folder, weights (number of files), weights_size (bytes)
    :raises OneccError: when something is missing, cut short, or lies elsewhere
    """
    if not os.path.isdir(path):
        raise wrong(path, "a folder with a model", "a file" if os.path.exists(path) else "nothing")
    for name in sorted(os.listdir(path)):
        # Containers mount these folders, and nothing that a link leads to elsewhere.
        real_path = os.path.realpath(os.path.join(path, name))
        if not any(real_path.startswith(os.path.realpath(root) + "/") for root in [path, *roots]):
            raise wrong(os.path.join(path, name), "a file in the folder itself", "a link to %s" % real_path)
    read_json(os.path.join(path, "config.json"))
    index = os.path.join(path, INDEX)
    if os.path.exists(index):
        names = indexed(index)
    else:
        names = sorted(name for name in os.listdir(path) if name.endswith(".safetensors"))
    if not names:
        raise wrong(path, "weights as safetensors", "none")
    size = 0
    for name in names:
        file = os.path.join(path, name)
        if not os.path.isfile(file):
            raise wrong(file, "the file that %s names" % INDEX, "nothing")
        size += (real := os.path.getsize(file))
        if real != (told := expected_size(file)):
            raise wrong(file, "%d bytes, as its header says" % told, "%d" % real)
    return {"folder": os.path.realpath(path), "weights": len(names), "weights_size": size}
