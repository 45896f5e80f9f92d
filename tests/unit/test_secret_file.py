# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which secret a file gets, who may read it, and that a result tells it to nobody who has not asked."""

from __future__ import annotations

import functools
import os
import stat

import pytest

from ansible_collections.onecc.vllm.plugins.module_utils.errors import OneccError
from ansible_collections.onecc.vllm.plugins.modules import secret_file

OLD, GIVEN = "old-old-old-old-old", "given~given+given/given=="


@pytest.fixture
def run(run_module_apart):
    """The module itself, in a process of its own, as Ansible runs it."""
    return functools.partial(run_module_apart, "secret_file")


@pytest.mark.parametrize(
    ("before", "options", "after", "made"),
    [
        pytest.param(None, {}, None, True, id="missing"),
        pytest.param(OLD + "\n", {}, OLD, False, id="there"),
        pytest.param(OLD, {}, OLD, False, id="there-without-line-feed"),
        pytest.param(OLD, {"value": ""}, OLD, False, id="empty-is-not-given"),
        pytest.param(None, {"value": GIVEN}, GIVEN, False, id="given"),
        pytest.param(OLD, {"value": GIVEN}, GIVEN, False, id="given-instead"),
        pytest.param(OLD, {"rotate": True}, None, True, id="rotate"),
    ],
)
def test_choice(tmp_path, before, options, after, made):
    path = tmp_path / "secret"
    if before is not None:
        path.write_text(before)
    value, new = secret_file.choose(str(path), **options)
    assert new is made
    if after is None:
        assert len(value) == 43
        assert value != secret_file.choose(str(path), **{**options, "rotate": True})[0]
    else:
        assert value == after


def test_prefix_and_size(tmp_path):
    value, _made = secret_file.choose(str(tmp_path / "secret"), prefix="sk-", size=48)
    assert value.startswith("sk-")
    assert len(value) == 3 + 64


@pytest.mark.parametrize(
    "value",
    [
        "short",
        "fifteen-letters",
        "with blank in it....",
        'quote"quote"quote',
        "dollar$dollar$dollar",
        "brace{brace}brace",
        "line-feed-in-the-\nmiddle",
        "line-feed-at-the-end\n",
        "\\Eback-slash-back-slash",
        "ümlaut-ümlaut-ümlaut",
        "x" * 513,
    ],
)
def test_refused_without_telling_it(tmp_path, value):
    with pytest.raises(OneccError) as raised:
        secret_file.choose(str(tmp_path / "secret"), value)
    assert value not in str(raised.value)
    assert "%d long" % len(value) in str(raised.value)


def test_a_file_that_holds_something_else_is_refused(tmp_path):
    path = tmp_path / "secret"
    path.write_text("")
    with pytest.raises(OneccError, match="Remove the file"):
        secret_file.choose(str(path))


def test_files(tmp_path, run):
    """The secret stands in each file, for the owner's eyes; the second time nothing changes."""
    path, other = tmp_path / "secrets/key", tmp_path / "secrets/key.conf"
    options = {"path": str(path), "rendered": [{"path": str(other), "content": '"@VALUE@" 1; # $x @VALUE@\n'}]}
    foreseen, _said = run(check_mode=True, **options)
    assert foreseen == {**foreseen, "changed": True, "created": True, "digest": ""}
    assert not path.parent.exists()
    first, said = run(**options)
    value = path.read_text().strip()
    assert path.read_text() == value + "\n"
    assert other.read_text() == '"%s" 1; # $x %s\n' % (value, value)
    assert first == {**first, "changed": True, "created": True}
    assert len(first["digest"]) == 12
    assert "value" not in first
    assert value not in said
    modes = [stat.S_IMODE(each.stat().st_mode) for each in (path.parent, path, other)]
    assert modes == [0o700, 0o600, 0o600]
    assert sorted(each.name for each in path.parent.iterdir()) == ["key", "key.conf"]
    again, said = run(**options)
    assert again == {**again, "changed": False, "created": False, "digest": first["digest"]}
    assert value not in said
    path.chmod(0o644)
    other.write_text("cut off")
    repaired, said = run(**options)
    assert repaired == {**repaired, "changed": True, "created": False, "digest": first["digest"]}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert value in other.read_text()
    assert run(return_value=True, **options)[0]["value"] == value
    rotated, said = run(rotate=True, **options)
    assert rotated["digest"] != first["digest"]
    assert path.read_text().strip() in other.read_text()
    assert value not in other.read_text()


def test_a_given_one_is_told_nowhere(tmp_path, run):
    path = tmp_path / "key"
    for options in ({}, {"return_value": True}, {"rotate": True}):
        result, said = run(path=str(path), value=GIVEN, **options)
        assert GIVEN not in said
    assert result["failed"] is True
    assert path.read_text() == GIVEN + "\n"


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "key"
    path.write_text(OLD)

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        secret_file.write(str(path), GIVEN)
    assert [each.name for each in tmp_path.iterdir()] == ["key"]
    assert path.read_text() == OLD
