# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests that no client of good will sends, as bytes, and what sends them."""

import contextlib
import socket
import time

HOST = "198.18.0.10"
PORT = 8000
# What the endpoint refuses, whoever asks.
DENIED = [
    "/tokenize", "/detokenize", "/invocations", "/pause", "/resume", "/update_weights", "/scale_elastic_ep",
    "/is_scaling_elastic_ep", "/collective_rpc", "/sleep", "/wake_up", "/reset_prefix_cache", "/server_info", "/docs",
    "/openapi.json", "/version", "/load", "/ping", "/metrics", "/v1/load_lora_adapter", "/v1/../metrics",
    "/v1/%2e%2e/metrics", "/v1/..%2fmetrics", "//metrics", "/./metrics", "/v1//../metrics", "/metrics/", "/metrics%00",
    "/%6detrics", "/METRICS", "/v1/models/../../metrics", "/ready/../metrics", "/v1/models;/../../metrics",
    "/v1/chat/completions/../../../sleep",
]  # fmt: skip


def request(method, path, body=b"", headers=(), key="none", version="HTTP/1.1"):
    lines = ["%s %s %s" % (method, path, version), "Host: %s" % HOST, "Authorization: Bearer %s" % key, *headers]
    if body:
        lines += ["Content-Type: application/json", "Content-Length: %d" % len(body)]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode("utf-8", "surrogateescape") + body


def exchange(data, timeout=10, pause=0.0, step=0):
    """Sends bytes, in steps if given, and gives the status of the answer; 0 without one."""
    end = time.monotonic() + timeout
    with socket.create_connection((HOST, PORT), timeout=5) as link, contextlib.suppress(OSError):
        for start in range(0, len(data), step or len(data)):
            link.settimeout(max(0.1, end - time.monotonic()))
            link.sendall(data[start : start + (step or len(data))])
            if pause and time.monotonic() + pause > end:
                break
            time.sleep(pause)
        link.settimeout(max(0.1, end - time.monotonic()))
        first = link.recv(4096).split(b" ", 2)
        return int(first[1]) if len(first) > 1 and first[1].isdigit() else 0
    return 0


def kinds(key):
    """One of each kind: name, bytes, and how slowly they are sent."""
    chat = "/v1/chat/completions"
    chunked = ["Transfer-Encoding: chunked", "Content-Type: application/json"]
    good = b'{"model": "m", "messages": [{"role": "user", "content": "a"}], "max_tokens": 1}'
    whole = request("POST", chat, good, key=key)
    return [
        ("oversized body", request("POST", chat, b"[" * 3_000_000, key=key), {}),
        ("claimed size", request("POST", chat, headers=["Content-Length: 99999999999999"], key=key), {}),
        ("negative size", request("POST", chat, headers=["Content-Length: -1"], key=key), {}),
        (
            "two sizes",
            request("POST", chat, headers=["Content-Length: 5", "Content-Length: 6"], key=key) + b"aaaaaa",
            {},
        ),
        ("bad JSON", request("POST", chat, b'{"model": ', key=key), {}),
        ("deep JSON", request("POST", chat, b"[" * 50_000, key=key), {}),
        ("wrong types", request("POST", chat, b'{"model": 1, "messages": {"a": []}}', key=key), {}),
        ("bad unicode", request("POST", chat, b'{"model": "\xff\xfe\xc0\x80"}', key=key), {}),
        ("lone surrogate", request("POST", chat, good.replace(b'"a"', b'"\\ud800"'), key=key), {}),
        ("path tricks", request("GET", "/v1/%2e%2e/%2e%2e/etc/passwd", key=key), {}),
        ("long path", request("GET", "/" + "a" * 100_000, key=key), {}),
        ("header flood", request("GET", "/v1/models", headers=["X-%d: a" % n for n in range(5000)], key=key), {}),
        ("long header", request("GET", "/v1/models", headers=["X-A: " + "a" * 200_000], key=key), {}),
        ("wrong method", request("TRACE", "/v1/models", key=key), {}),
        ("no method", request("\x00\x01", "/v1/models", key=key), {}),
        ("huge chunk", request("POST", chat, headers=chunked, key=key) + b"FFFFFFFFFFFFFFFF\r\na", {"timeout": 3}),
        ("bad chunk", request("POST", chat, headers=chunked, key=key) + b"zz\r\na\r\n0\r\n\r\n", {}),
        ("truncated body", whole[:-10], {"timeout": 3}),
        (
            "slow headers",
            request("GET", "/v1/models", headers=["X-A: " + "a" * 50], key=key),
            {"pause": 0.5, "step": 5},
        ),
        ("slow body", whole, {"pause": 0.5, "step": len(whole) - 20}),
    ]
