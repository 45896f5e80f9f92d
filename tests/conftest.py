# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last line of a run says how it went, in words that scripts can read. Short runs of Ansible share its import."""

import pytest

import prepared

FAILED = pytest.StashKey[int]()


@pytest.fixture(scope="session")
def ansible():
    """Runs ansible, ansible-doc, ansible-inventory or ansible-playbook: their words, the environment, the folder."""
    programs = prepared.Prepared()
    yield programs.run
    programs.close()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    # Too little coverage counts as well.
    session.config.stash[FAILED] = session.testsfailed


def pytest_unconfigure(config):
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    # Processes that run tests side by side have none.
    if reporter is not None:
        count = {name: len(reporter.stats.get(name, [])) for name in ("passed", "failed", "error", "skipped")}
        failed = max(count["failed"] + count["error"], config.stash.get(FAILED, 0))
        skipped = ", %d skipped" % count["skipped"] if count["skipped"] else ""
        print("%d passed, %d failed%s" % (count["passed"], failed, skipped))
