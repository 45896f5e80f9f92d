# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the gates share."""

import pytest


def pytest_collection_modifyitems(items):
    """What takes longest comes first, so that the other tests can be done beside it."""
    items.sort(key=lambda item: item.path.name != "test_sanity.py")


@pytest.fixture(scope="module", autouse=True)
def unmeasured():
    """What the gates start is not there to run plugins/, and is faster without being measured."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"):
            patch.delenv(name, raising=False)
        yield
