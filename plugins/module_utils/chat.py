# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions to an OpenAI-compatible endpoint, through the openai client."""

from __future__ import annotations

import time

from .errors import OneccError


def ask(client, model, messages, options, stream, now=time.monotonic):
    """Asks for one chat completion.

    :param client: an openai.OpenAI
    :param model: the model's name at the endpoint
    :param messages: list of dictionaries with role and content
    :param options: further parameters of the request
    :param stream: whether to ask for the answer in pieces
    :return: dictionary with answer, finish_reason, usage, latency_s, first_token_s (streaming only),
      completion (the whole answer as data) and completion_text (as the client prints it)
    """
    start = now()
    request = dict(options, model=model, messages=messages)
    if not stream:
        completion = client.chat.completions.create(**request)
        latency = now() - start
        choice = completion.choices[0]
        return {
            "answer": choice.message.content or "",
            "finish_reason": choice.finish_reason,
            "usage": completion.usage.model_dump(exclude_none=True) if completion.usage else {},
            "latency_s": round(latency, 3),
            "completion": completion.model_dump(exclude_none=True),
            "completion_text": str(completion),
        }
    first = None
    result: dict = {"answer": "", "finish_reason": None, "usage": {}}
    with client.chat.completions.create(stream=True, stream_options={"include_usage": True}, **request) as chunks:
        for chunk in chunks:
            if chunk.usage:
                result["usage"] = chunk.usage.model_dump(exclude_none=True)
            for choice in chunk.choices:
                if choice.delta.content:
                    first = now() - start if first is None else first
                    result["answer"] += choice.delta.content
                result["finish_reason"] = choice.finish_reason or result["finish_reason"]
    result["latency_s"] = round(now() - start, 3)
    result["first_token_s"] = None if first is None else round(first, 3)
    return result


def choose(models, wanted, where):
    """The model to ask: the wanted one, or the only one.

    :param models: names the endpoint lists
    :param wanted: a name, or empty
    :raises OneccError: when the endpoint does not serve it, or it is not clear which is meant
    """
    if wanted and wanted not in models:
        raise OneccError(
            where, "the model %s" % wanted, ", ".join(models) or "no model", "Name one that the endpoint lists."
        )
    if not wanted and len(models) != 1:
        raise OneccError(where, "one model", ", ".join(models) or "none", "Say which with the option model.")
    return wanted or models[0]
