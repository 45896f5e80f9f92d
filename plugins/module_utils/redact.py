# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes secrets out of texts that leave a node, and leaves the rest of the line as it was."""

from __future__ import annotations

import json
import re
import urllib.parse

MASK = "[redacted]"

# The words of a name: max_num_batched_tokens, apiKey, HF_TOKEN, x-api-key.
WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
ALWAYS = {"secret", "secrets", "password", "passwords", "passwd", "passphrase", "apikey", "credential", "credentials"}
AT_THE_END = {"token", "key"}
# What the configuration of a tokenizer calls a token is no secret.
SPECIAL_TOKENS = {
    "audio",
    "begin",
    "bos",
    "cls",
    "end",
    "eos",
    "image",
    "mask",
    "pad",
    "sep",
    "special",
    "unk",
    "video",
}
# A count or a switch is no secret, unless it is called a password.
HARMLESS = re.compile(r"(?i)(-?\d{1,9}(\.\d+)?|none|null|true|false|)$")

NAME = r"(?<![\w.-])(?P<name>[A-Za-z][\w.-]{0,80})"
QUOTED = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'"
VALUE = r"(?P<value>" + QUOTED + r"|\[[^\]]*\]|[^\s'\",;&(){}\[\]]+)"
# NAME=VALUE, "NAME": "VALUE", NAME: VALUE.
SETTING = re.compile(NAME + r"(?P<between>[\"']?(?:\s?:\s?|=|\s=\s))" + VALUE)
# A line that is nothing but NAME: VALUE, such as YAML has, may have blanks in the value.
WHOLE_LINE = re.compile(r"^(?P<start>\s*(?:- )?)" + NAME + r"(?P<between>:\s+)(?P<value>\S.*)$")
# --NAME VALUE, and "--NAME", "VALUE" of a list.
FLAG = re.compile(r"--(?P<name>[A-Za-z][\w.-]*)(?P<between>[\"']?,?\s+)" + VALUE)
# --api-key takes several values.
API_KEYS = re.compile(
    r"(?P<flag>--api[-_]key)(?P<between>[=\s]\s*)(?P<values>[^\s'\",]+(?:[ \t]+[^\s'\",-][^\s'\",]*)*)"
)
KNOWN = re.compile(
    r"\bhf_(?=[A-Za-z]*[A-Z0-9])[A-Za-z0-9]{8,}\b|\bhf_[A-Za-z0-9]{20,}\b"
    r"|\b(?:sk|nvapi|glpat)-[\w-]{16,}|\b(?:ghp|gho|ghs|github_pat)_\w{16,}|\bAKIA[A-Z0-9]{16}\b"
)
BEARER = re.compile(r"(?i)\b(?P<kind>bearer)(?P<between>\s+)(?=\S*[\d._~+/=-])[\w.~+/=-]{6,}")
AUTHORIZATION = re.compile(r"(?i)(?P<name>authorization[\"']?\s?[=:]\s?[\"']?(?:basic|bearer|token)\s+)[^\s\"',]+")
URL = re.compile(r"(?P<start>://)(?P<user>[^/\s:@\"']*)(?P<colon>:?)(?P<password>[^/\s\"']*)@")
PRIVATE_KEY = re.compile(r"(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)

# Most lines have none of these, and logs are long.
HINT = re.compile(
    r"(?i)token|secret|pass|key|credential|bearer|authorization|@|hf_|sk-|nvapi-|glpat-|gh[ops]_|github_|AKIA"
)


def is_secret(name, value=""):
    """Whether a setting of this name and value is to be hidden."""
    words = [word.lower() for word in WORDS.findall(name)]
    if not words:
        return False
    if ALWAYS.intersection(words):
        return value.lower() not in ("", "none", "null")
    if HARMLESS.match(value):
        return False
    if words[-1] == "token" and SPECIAL_TOKENS.intersection(words):
        return False
    # HF_TOKEN_2 of an environment; num_key_value_heads and KeyError are something else.
    return words[-1] in AT_THE_END or (name.isupper() and bool(AT_THE_END.intersection(words)))


def hide(pattern, line):
    """A line with the values of settings hidden, in the quotes that they had.

    What is no secret may hold one, such as the list that holds an environment; so it is looked through as well.
    """
    done, place = [], 0
    while match := pattern.search(line, place):
        value = match["value"]
        bare = value.strip("\"'")
        if is_secret(match["name"], bare) and bare != MASK:
            quote = value[0] if value[0] in "\"'" else ""
            done.append(line[place : match.start("value")] + quote + MASK + quote)
            place = match.end()
        else:
            done.append(line[place : match.end("name")])
            place = match.end("name")
    return "".join(done) + line[place:]


def hide_address(match):
    """An address without what stands before its @, except for the name of the user."""
    if match["colon"]:
        return "%s%s:%s@" % (match["start"], match["user"], MASK)
    return "%s%s@" % (match["start"], MASK)


def literals(secrets):
    """Every way in which a secret may be written, longest first."""
    found: set[str] = set()
    for secret in secrets:
        if secret.strip():
            found.update((secret, json.dumps(secret)[1:-1], urllib.parse.quote(secret, safe="")))
    return sorted(found, key=len, reverse=True)


def redact_line(line):
    """One line without what looks like a secret."""
    if not HINT.search(line):
        return line
    line = AUTHORIZATION.sub(lambda m: m["name"] + MASK, line)
    line = BEARER.sub(lambda m: m["kind"] + m["between"] + MASK, line)
    line = URL.sub(hide_address, line)
    line = API_KEYS.sub(lambda m: m["flag"] + m["between"] + MASK, line)
    for pattern in (FLAG, WHOLE_LINE, SETTING):
        line = hide(pattern, line)
    return KNOWN.sub(MASK, line)


def redact(text, secrets=()):
    """A text without secrets: those given, wherever they stand, and what looks like one.

    :param text: lines of a log, of a command's output or of a file
    :param secrets: values to remove
    """
    for secret in literals(secrets):
        text = text.replace(secret, MASK)
    text = PRIVATE_KEY.sub(r"\1" + MASK + r"\2", text)
    return "\n".join(redact_line(line) for line in text.split("\n"))
