#!/usr/bin/python
# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: openai_query
short_description: Asks an OpenAI-compatible endpoint, waits for it, and judges the answer
version_added: 0.1.0
description:
  - Lists the models of an OpenAI-compatible endpoint and, with O(question) or O(messages), asks for one
    chat completion through the C(openai) client.
  - Waits until the endpoint answers, if told to. An endpoint is ready when it has answered what the
    task asks, not when it listens.
requirements:
  - openai >= 3.0 in the Python that runs the module
extends_documentation_fragment:
  - onecc.vllm.read_only
author:
  - The onecc.vllm authors (@onecc)
options:
  base_url:
    description: The endpoint, with its version prefix.
    type: str
    default: http://127.0.0.1:8000/v1
  unix_socket:
    description: A Unix socket to ask through. The host in O(base_url) then counts for nothing.
    type: path
  api_key:
    description: The endpoint's API key, if it asks for one.
    type: str
  api_key_file:
    description: A file on the host that holds the key, in place of O(api_key), so that it does not travel.
    type: path
  validate_certs:
    description: Whether the certificate of an endpoint with TLS must be one that the host trusts, for this name.
    type: bool
    default: true
  model:
    description: The model to ask. The default is the only one that the endpoint serves.
    type: str
  question:
    description: What to ask, as one message of the user.
    type: str
  messages:
    description: A whole conversation to continue, in place of O(question).
    type: list
    elements: dict
    suboptions:
      role:
        description: Who speaks.
        type: str
        required: true
      content:
        description: What is said.
        type: str
        required: true
  max_tokens:
    description: Number of tokens at which the answer is cut.
    type: int
    default: 256
  temperature:
    description: Randomness of the answer. V(0) is greedy.
    type: float
    default: 0
  seed:
    description: Seed of the answer's randomness.
    type: int
  stream:
    description: Ask for the answer in pieces, which also tells the time to the first token.
    type: bool
    default: false
  expect:
    description: A regular expression that must be found in the answer. Fails with the answer if it is not.
    type: str
  request_timeout:
    description: Seconds that one request may take.
    type: int
    default: 60
  wait_timeout:
    description:
      - Seconds to wait until the endpoint answers. With V(0) the module asks once.
      - Only the lack of an answer is waited out; an answer that O(expect) does not fit fails at once.
    type: int
    default: 0
  waited:
    description: Seconds for which somebody has waited before. An error adds them to O(wait_timeout).
    type: int
    default: 0
  watch_url:
    description:
      - Where the program that looks after the engine tells its state. The wait ends early, as a failure,
        when the engine has failed to start three times in a row, or does not know a flag, or nothing answers
        there for half a minute.
    type: str
"""

EXAMPLES = r"""
- name: List the models
  onecc.vllm.openai_query:
    base_url: http://127.0.0.1:8000/v1

- name: Wait up to an hour for the first answer
  onecc.vllm.openai_query:
    question: Where was the 2020 World Series played?
    wait_timeout: 3600
  register: reply

- name: Ask through the endpoint of this host, whose certificate is for another name
  onecc.vllm.openai_query:
    base_url: https://127.0.0.1:8000/v1
    api_key_file: /var/lib/onecc/secrets/api-key
    validate_certs: false
    question: Where was the 2020 World Series played?

- name: Ask the engine itself
  onecc.vllm.openai_query:
    unix_socket: /run/onecc-engine/vllm.sock
    question: Where was the 2020 World Series played?

- name: Judge an answer
  onecc.vllm.openai_query:
    question: What is the capital of France? Answer with one word.
    max_tokens: 8
    expect: (?i)paris
"""

RETURN = r"""
models:
  description: The names of the models the endpoint serves.
  returned: when the endpoint answered
  type: list
  elements: str
  sample: [HuggingFaceTB/SmolLM2-135M-Instruct]
model:
  description: The model that was asked.
  returned: when something was asked
  type: str
  sample: HuggingFaceTB/SmolLM2-135M-Instruct
answer:
  description: The text of the answer.
  returned: when something was asked
  type: str
  sample: The 2020 World Series was played in the United States, specifically in New York City, New York.
finish_reason:
  description: Why the answer ended.
  returned: when something was asked
  type: str
  sample: stop
usage:
  description: Tokens read and written.
  returned: when something was asked
  type: dict
  sample: {completion_tokens: 25, prompt_tokens: 42, total_tokens: 67}
latency_s:
  description: Seconds from the request to the whole answer.
  returned: when something was asked
  type: float
  sample: 1.213
first_token_s:
  description: Seconds from the request to the first piece of the answer.
  returned: when something was asked with O(stream)
  type: float
  sample: 0.094
completion:
  description: The whole answer as data.
  returned: when something was asked without O(stream)
  type: dict
  sample: {id: chatcmpl-a459554fcb648494, model: HuggingFaceTB/SmolLM2-135M-Instruct, object: chat.completion}
completion_text:
  description: The whole answer as the openai client prints it.
  returned: when something was asked without O(stream)
  type: str
  sample: ChatCompletion(id='chatcmpl-a459554fcb648494', choices=[Choice(finish_reason='stop', index=0)])
waited_s:
  description: Seconds from the first attempt to the last answer.
  returned: always
  type: float
  sample: 31.4
"""

import re
import traceback

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.onecc.vllm.plugins.module_utils.chat import ask, choose
from ansible_collections.onecc.vllm.plugins.module_utils.errors import OneccError
from ansible_collections.onecc.vllm.plugins.module_utils.starts import Starts
from ansible_collections.onecc.vllm.plugins.module_utils.waiter import wait_until

try:
    import httpx2
    import openai

    OPENAI_ERROR = None
except ImportError:
    OPENAI_ERROR = traceback.format_exc()


def look(client, params, starts):
    """One attempt: what the endpoint answered, or why it did not."""
    try:
        models = [model.id for model in client.models.list()]
        seen = {"models": models}
        if params["messages"]:
            seen["model"] = choose(models, params["model"], params["base_url"])
            options = {"max_tokens": params["max_tokens"], "temperature": params["temperature"]}
            if params["seed"] is not None:
                options["seed"] = params["seed"]
            seen.update(ask(client, seen["model"], params["messages"], options, params["stream"]))
    except (openai.APIConnectionError, openai.InternalServerError) as error:
        # It may still be starting: worth waiting for, unless it keeps failing.
        return {"no_answer": str(error.__cause__ or error), "hopeless": starts.why_hopeless()}
    except openai.APIError as error:
        wrong = OneccError(
            params["base_url"],
            "an OpenAI-compatible endpoint",
            "another answer (%s)" % error,
            "See which process listens there (ss -tlnp), and correct the address, the key or the question.",
        )
        return {"refused": str(wrong)}
    except OneccError as error:
        return {"refused": str(error)}
    return seen


def is_over(seen):
    """Whether waiting longer makes no sense: it answered, or it never will."""
    return "no_answer" not in seen or bool(seen["hopeless"])


def main():
    module = AnsibleModule(
        argument_spec={
            "base_url": {"type": "str", "default": "http://127.0.0.1:8000/v1"},
            "unix_socket": {"type": "path"},
            "api_key": {"type": "str", "no_log": True},
            "api_key_file": {"type": "path", "no_log": False},
            "validate_certs": {"type": "bool", "default": True},
            "model": {"type": "str"},
            "question": {"type": "str"},
            "messages": {
                "type": "list",
                "elements": "dict",
                "options": {
                    "role": {"type": "str", "required": True},
                    "content": {"type": "str", "required": True},
                },
            },
            # A number of tokens, not a secret.
            "max_tokens": {"type": "int", "default": 256, "no_log": False},
            "temperature": {"type": "float", "default": 0},
            "seed": {"type": "int"},
            "stream": {"type": "bool", "default": False},
            "expect": {"type": "str"},
            "request_timeout": {"type": "int", "default": 60},
            "wait_timeout": {"type": "int", "default": 0},
            "waited": {"type": "int", "default": 0},
            "watch_url": {"type": "str"},
        },
        mutually_exclusive=[("question", "messages"), ("api_key", "api_key_file")],
        supports_check_mode=True,
    )
    params = module.params
    if OPENAI_ERROR:
        module.fail_json(msg=missing_required_lib("openai"), exception=OPENAI_ERROR)
    if params["question"]:
        params["messages"] = [{"role": "user", "content": params["question"]}]
    if params["expect"]:
        if not params["messages"]:
            module.fail_json(msg="expect judges an answer: give a question or messages as well.")
        try:
            re.compile(params["expect"])
        except re.error as error:
            module.fail_json(msg="expect is not a regular expression: %s" % error)

    key = params["api_key"] or "none"
    if params["api_key_file"]:
        try:
            with open(params["api_key_file"], encoding="ascii") as stream:
                key = stream.read().strip()
        except OSError as error:
            module.fail_json(msg="The API key cannot be read: %s" % error)
        module.no_log_values.add(key)

    transport = httpx2.HTTPTransport(uds=params["unix_socket"]) if params["unix_socket"] else None
    # The waiting is done here, in one place.
    client = openai.OpenAI(
        base_url=params["base_url"],
        api_key=key,
        http_client=openai.DefaultHttpxClient(verify=params["validate_certs"], transport=transport),
        timeout=params["request_timeout"],
        max_retries=0,
    )
    starts = Starts(params["watch_url"])
    seen, over, waited = wait_until(lambda: look(client, params, starts), is_over, params["wait_timeout"], interval=0.5)
    result = {"waited_s": round(waited, 1)}
    if "no_answer" in seen:
        wrong = OneccError(
            params["base_url"],
            "a service that keeps running"
            if over
            else "an answer within %d s" % (params["wait_timeout"] + params["waited"]),
            seen["no_answer"] if not over else seen["hopeless"],
            "See the log of the service.",
        )
        module.fail_json(msg=str(wrong), **result)
    if "refused" in seen:
        module.fail_json(msg=seen["refused"], **result)
    result.update(seen)
    if params["expect"] and not re.search(params["expect"], seen["answer"]):
        wrong = OneccError(
            params["base_url"],
            "an answer that fits '%s'" % params["expect"],
            repr(seen["answer"]),
            "Ask otherwise, or look at the model.",
        )
        module.fail_json(msg=str(wrong), **result)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
