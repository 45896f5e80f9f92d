# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is taken out of texts that leave a node, and what is not. The secrets are made up."""

from __future__ import annotations

import pytest

from ansible_collections.onecc.vllm.plugins.module_utils.redact import is_secret, redact

# In two parts, so that nobody takes them for real ones.
HF = "hf_" + "aBcDeFgHiJkLmNoPqRsTuVwXyZ01234567"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param("401 for %s at hub" % HF, "401 for [redacted] at hub", id="hub-token"),
        pytest.param("(%s)" % ("hf_" + "abcdefghij1"), "([redacted])", id="short-hub-token"),
        pytest.param("sk-" + "a" * 24, "[redacted]", id="api-token"),
        pytest.param("HF_TOKEN=%s next=1" % HF, "HF_TOKEN=[redacted] next=1", id="variable"),
        pytest.param("export HF_TOKEN='a b'", "export HF_TOKEN='[redacted]'", id="variable-in-quotes"),
        pytest.param(
            '"Env": ["AWS_SECRET_ACCESS_KEY=a/b+c"]', '"Env": ["AWS_SECRET_ACCESS_KEY=[redacted]"]', id="in-list"
        ),
        pytest.param("VLLM_API_KEY=abc;HOME=/root", "VLLM_API_KEY=[redacted];HOME=/root", id="two-variables"),
        pytest.param("SECRET_2=17", "SECRET_2=[redacted]", id="password-of-digits"),
        pytest.param("TOKEN_A=x1", "TOKEN_A=[redacted]", id="token-in-the-middle"),
        pytest.param("--api-key abc --port 8000", "--api-key [redacted] --port 8000", id="flag"),
        pytest.param("--api-key=abc --port 8000", "--api-key=[redacted] --port 8000", id="flag-with-equals"),
        pytest.param("--api-key a1 b2 --port 8000", "--api-key [redacted] --port 8000", id="flag-with-two"),
        pytest.param("--hf-token abc serve", "--hf-token [redacted] serve", id="another-flag"),
        pytest.param("['serve', '--api-key', 'abc']", "['serve', '--api-key', '[redacted]']", id="flag-in-list"),
        pytest.param("{'api_key': ['k1', 'k2'], 'port': 1}", "{'api_key': [redacted], 'port': 1}", id="vllm-arguments"),
        pytest.param('{"apiKey": "abc", "b": 2}', '{"apiKey": "[redacted]", "b": 2}', id="json"),
        pytest.param('{"password":"a\\"b"}', '{"password":"[redacted]"}', id="json-with-quote"),
        pytest.param("  db_password: two words", "  db_password: [redacted]", id="yaml"),
        pytest.param("- token: abc", "- token: [redacted]", id="yaml-list"),
        pytest.param("INFO: apiKey=abc, b=2", "INFO: apiKey=[redacted], b=2", id="after-a-colon"),
        pytest.param("Authorization: Bearer a.b-c", "Authorization: Bearer [redacted]", id="bearer"),
        pytest.param("-H 'authorization: Basic dTpw'", "-H 'authorization: Basic [redacted]'", id="basic"),
        pytest.param("got bearer eyJhbGciOi.x", "got bearer [redacted]", id="bearer-alone"),
        pytest.param("X-Api-Key: abcdef", "X-Api-Key: [redacted]", id="header"),
        pytest.param("http://me:p%40ss@proxy:3128/", "http://me:[redacted]@proxy:3128/", id="proxy"),
        pytest.param("git clone https://abc@host/x", "git clone https://[redacted]@host/x", id="user-alone"),
    ],
)
def test_secrets_go_and_the_line_stays(line, expected):
    assert redact(line) == expected
    assert redact(expected) == expected


@pytest.mark.parametrize(
    "line",
    [
        "Chunked prefill is enabled with max_num_batched_tokens=8192.",
        "tokenizer='/models/a', tokenizer_mode=auto, skip_tokenizer_init=False, tokenizer_revision=None",
        "num_key_value_heads=8, eos_token='</s>', pad_token_id: 2, prompt_token_ids: [1, 2, 3]",
        "KeyError: 'bundles'",
        "Avg prompt throughput: 102.5 tokens/s, Avg generation throughput: 0.1 tokens/s",
        "HF_TOKEN= and HF_TOKEN=None and token=null and use_auth_token=True",
        "hf_xet hf_transfer hf_overrides={} hf_quantization",
        "WARNING Token authentication is disabled for this Ray cluster.",
        "monkey=banana keyboard: us keys=12",
        "the bearer of tokens, a basic idea",
        "Failed to get file list for '/home/a/.cache/hub/models--a--b/snapshots/c1899de2'",
        "distributed_init_method=tcp://198.18.0.10:35891 backend=gloo",
        "http://127.0.0.1:8265 and user@host and http://host/a@b",
        "Version mismatch: The cluster was started with:",
        "[Errno 98] error while attempting to bind on address ('0.0.0.0', 8000): address already in use",
    ],
)
def test_what_is_no_secret_stays(line):
    assert redact(line) == line


@pytest.mark.parametrize(
    ("text", "secrets", "expected"),
    [
        pytest.param("a letmein b", ["letmein"], "a [redacted] b", id="anywhere"),
        pytest.param("xletmeiny", ["letmein"], "x[redacted]y", id="within-a-word"),
        pytest.param('{"a": "q\\"r"}', ['q"r'], '{"a": "[redacted]"}', id="as-json"),
        pytest.param("?t=a%2Fb%20c", ["a/b c"], "?t=[redacted]", id="as-address"),
        pytest.param("abc abcdef", ["abc", "abcdef"], "[redacted] [redacted]", id="one-begins-another"),
        pytest.param("a b", ["", " "], "a b", id="nothing-given"),
    ],
)
def test_given_secrets(text, secrets, expected):
    assert redact(text, secrets) == expected


def test_lines_stay_lines():
    """Also those of a private key, whole or cut off."""
    key = "-----BEGIN RSA %s KEY-----\nMIIE\nabc\n-----END RSA %s KEY-----" % ("PRIVATE", "PRIVATE")
    assert redact("a\n%s\nb\n" % key) == "a\n%s[redacted]%s\nb\n" % (key.splitlines()[0], key.splitlines()[-1])
    assert redact("a\n" + "\n".join(key.splitlines()[:2])) == "a\n%s[redacted]" % key.splitlines()[0]
    assert redact("one\n\ntoken=x\n") == "one\n\ntoken=[redacted]\n"


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("HF_TOKEN", "abc", True),
        ("RAY_AUTH_TOKEN_PATH", "/a", True),
        ("apiKey", "abc", True),
        ("ssh-private-key", "abc", True),
        ("passwd", "1", True),
        ("max_tokens", "abc", False),
        ("key_cache", "abc", False),
        ("KeyError", "abc", False),
        ("bos_token", "<s>", False),
        ("token", "12", False),
        ("PASSWORD", "none", False),
        ("_", "abc", False),
    ],
)
def test_is_secret(name, value, secret):
    assert is_secret(name, value) is secret
