# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The digest of a folder."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleLookupError

from ansible_collections.onecc.vllm.plugins.lookup.tree_digest import LookupModule, tree_digest

TREE = {"a.txt": "one", "sub/b.txt": "two"}


def plant(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return str(folder)


@pytest.mark.parametrize(
    ("other", "same"),
    [
        pytest.param({"sub/b.txt": "two", "a.txt": "one"}, True, id="the-same-made-in-another-order"),
        pytest.param({**TREE, "a.pyc": "x", "sub/__pycache__/b.pyc": "x"}, True, id="byte-compiled"),
        pytest.param({"a.txt": "one", "sub/c.txt": "two"}, False, id="renamed"),
        pytest.param({"a.txt": "one", "b.txt": "two"}, False, id="moved"),
        pytest.param({"a.txt": "two", "sub/b.txt": "one"}, False, id="contents-swapped"),
        pytest.param({"a.txt": "one ", "sub/b.txt": "two"}, False, id="changed"),
        pytest.param({**TREE, "c.txt": ""}, False, id="one-more"),
        pytest.param({"a.txt": "one"}, False, id="one-less"),
    ],
)
def test_two_folders(tmp_path, other, same):
    digests = [tree_digest(plant(tmp_path / "first", TREE)), tree_digest(plant(tmp_path / "second", other))]
    assert (digests[0] == digests[1]) is same


def test_known_digest(tmp_path):
    """Images are named by it: a new digest for the same files makes every cluster build anew."""
    tree = {**{name: name for name in "hagcjbdeif"}, "sub/z": "z"}
    assert tree_digest(plant(tmp_path, tree)) == "56466168d5ab68c04a6d77ba6d13cb7e49df73321c774756bdf194c0651c82d6"


def test_files(tmp_path):
    plant(tmp_path, {"a": "one", "b": "one", "c": "two"})
    a, b, c = LookupModule().run([str(tmp_path / name) for name in "abc"])
    assert a == b != c


def test_lookup_follows_links_and_home(tmp_path, monkeypatch):
    plant(tmp_path / "real", TREE)
    (tmp_path / "link").symlink_to("real")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert LookupModule().run(["~/link"]) == [tree_digest(str(tmp_path / "real"))]


def test_nothing_there(tmp_path):
    with pytest.raises(AnsibleLookupError, match=r"expected a folder or file at .*/none, found nothing"):
        LookupModule().run([str(tmp_path / "none")])
