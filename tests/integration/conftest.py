# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab made for these tests alone."""

import os
import shutil

import pytest

from lab import SHARED, Lab, make
from lab_hub import ACCOUNTS

# Each goes on where the one before it stopped.
ORDER = [
    "test_main_job",
    "test_preflight_on_lab",
    "test_faults",
    "test_diagnose",
    "test_security",
    "test_teardown",
    "test_model_download",
    "test_venv",
]


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: ORDER.index(item.module.__name__) if item.module.__name__ in ORDER else -1)


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """Two fresh nodes with empty shared storage; taken down afterwards.

    With LAB_KEEP set, the lab that is there is taken as it is and left: for work on a single test.
    """
    # Left by a run that was cut off.
    ACCOUNTS.unlink(missing_ok=True)
    if os.environ.get("LAB_KEEP"):
        yield Lab(int(os.environ.get("LAB_NODES", "2")), tmp_path_factory.mktemp("runner"))
        return
    make("lab-down")
    shutil.rmtree(SHARED, ignore_errors=True)
    make("lab-up", LAB_NODES="2")
    yield Lab(2, tmp_path_factory.mktemp("runner"))
    make("lab-down")
