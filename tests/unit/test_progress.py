# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a download is, in words."""

from __future__ import annotations

import pytest

from ansible_collections.onecc.vllm.plugins.module_utils.progress import SILENCE, WINDOW, Gauge, Watch, clock, human

MB, GB = 1_000_000, 1_000_000_000
START = 1000.0


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (0.4, "0 B"),
        (999, "999 B"),
        (999.4, "999 B"),
        (999.5, "1.0 kB"),
        (1000, "1.0 kB"),
        (1049, "1.0 kB"),
        (99_949, "99.9 kB"),
        (99_950, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (63_705_680, "63.7 MB"),
        (272_606_948, "273 MB"),
        (999.6 * MB, "1.0 GB"),
        (811_706_000_000, "812 GB"),
        (1_200_000_000_000, "1.2 TB"),
        (2_000_000_000_000_000, "2000 TB"),
    ],
    ids=str,
)
def test_human(size, text):
    assert human(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"),
        (0.4, "0:00"),
        (5, "0:05"),
        (59.4, "0:59"),
        (59.6, "1:00"),
        (125, "2:05"),
        (3599.6, "1:00:00"),
        (3725, "1:02:05"),
        (360_000, "100:00:00"),
    ],
    ids=str,
)
def test_clock(seconds, text):
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("grown", "looks", "line", "summary"),
    [
        pytest.param(False, [(0, 0)], "0 B so far  0 B/s", "took 0:20", id="nothing"),
        # Of an archive that is written, with the size that it will have.
        pytest.param(
            False,
            [(0, 2 * GB), (500 * MB, 2 * GB), (1 * GB, 2 * GB)],
            "50 %  1.0 GB of 2.0 GB  100 MB/s  0:10 left",
            "took 0:20 for 1.0 GB, 50.0 MB/s",
            id="share",
        ),
        # Without progress there is no telling when it ends.
        pytest.param(
            False, [(1 * GB, 2 * GB)] * 2, "50 %  1.0 GB of 2.0 GB  0 B/s  waiting", "took 0:20 for 1.0 GB, 50.0 MB/s",
            id="still",
        ),
        # The reader has closed its archive, and what it read is still being unpacked.
        pytest.param(
            False, [(0, GB), (GB, GB), (0, GB)], "99 %  1.0 GB of 1.0 GB  100 MB/s  waiting",
            "took 0:20 for 1.0 GB, 50.0 MB/s", id="closed",
        ),
        # An archive may grow larger than the image says.
        pytest.param(
            False, [(0, GB), (3 * GB, GB)], "99 %  3.0 GB of 1.0 GB  600 MB/s  waiting",
            "took 0:20 for 3.0 GB, 150 MB/s", id="larger",
        ),
        # What is in use on a file system, others' files as well, which may also go.
        pytest.param(
            True, [(70 * GB, 0), (71 * GB, 0), (70.5 * GB, 0)], "1.0 GB so far  100 MB/s",
            "took 0:20 for 1.0 GB, 50.0 MB/s", id="grown",
        ),
    ],
)  # fmt: skip
def test_gauge(grown, looks, line, summary):
    gauge = Gauge(grown)
    for number, (went, total) in enumerate(looks):
        gauge.see(went, total, START + 5 * number)
    assert (gauge.line(), gauge.summary(20)) == (line, summary)


def test_gauge_remembers_the_last_move():
    gauge = Gauge()
    for now, went, moved in [(0, 0, 0), (5, 7, 5), (10, 7, 5), (15, 3, 5), (20, 8, 20)]:
        gauge.see(went, 10, now)
        assert gauge.moved == moved


def test_rate_is_a_recent_one():
    gauge = Gauge()
    for now in range(0, 101, 5):
        # Slow for long, then fast.
        gauge.see(now if now <= 80 else 80 + 1000 * (now - 80), 0, now)
    assert gauge.line() == "20.1 kB so far  1.0 kB/s"


def tell(state="running", fetched=0, total=0, checked=0, check_total=0, beat=None):
    """What a node tells; its heart goes on with what it has done, if nothing else is said."""
    told = {"state": state, "fetched": fetched, "total": total, "checked": checked, "check_total": check_total}
    return told | {"beat": fetched + checked if beat is None else beat}


def watch(looks, nodes=("n0", "n1")):
    """A watch that has looked at these times, counted from the start, and seen this."""
    watch = Watch(list(nodes), START)
    for seconds, told in looks:
        watch.see(told, START + seconds)
    return watch


def steady(rates, seconds, step=2, total=100 * GB, then=()):
    """Looks at nodes with steady rates, one every so many seconds, and more looks."""
    return [
        (now, {node: tell(fetched=rate * now, total=total) for node, rate in rates.items()})
        for now in range(0, seconds + 1, step)
    ] + list(then)


@pytest.mark.parametrize(
    ("looks", "rates"),
    [
        pytest.param([(0, {})], (0, 0), id="nothing-told"),
        pytest.param([(0, {"n0": tell(fetched=5 * MB)})], (0, 0), id="one-look"),
        pytest.param([(4, {"n0": tell(fetched=8 * MB)})], (2 * MB, 0), id="since-the-start"),
        pytest.param([(4, {"n0": tell()}), (4, {"n0": tell(fetched=MB)})], (MB / 4, 0), id="two-looks-at-once"),
        pytest.param(steady({"n0": MB, "n1": 2 * MB}, 4), (MB, 2 * MB), id="short"),
        pytest.param(steady({"n0": MB, "n1": 2 * MB}, 100), (MB, 2 * MB), id="long"),
        pytest.param(
            [(0, {"n0": tell(fetched=0)}), (10, {"n0": tell(fetched=5 * MB, checked=15 * MB)})],
            (2 * MB, 0),
            id="reading-counts-too",
        ),
        # 100 seconds at 9 MB/s, then 16 at 1 MB/s: what was before is forgotten.
        pytest.param(
            steady(
                {"n0": 9 * MB},
                100,
                then=[(100 + more, {"n0": tell(fetched=900 * MB + more * MB)}) for more in range(2, 17, 2)],
            ),
            (MB, 0),
            id="the-last-seconds-count",
        ),
        # The look before the window is the nearest that there is.
        pytest.param(
            [(0, {"n0": tell(fetched=0)}), (60, {"n0": tell(fetched=60 * MB)}), (120, {"n0": tell(fetched=180 * MB)})],
            (2 * MB, 0),
            id="rare-looks",
        ),
        pytest.param(
            [(0, {"n0": tell(fetched=0)}), (10, {"n0": tell(fetched=10 * MB)}), (20, {"n0": tell(fetched=50 * MB)})],
            (2.5 * MB, 0),
            id="not-less-than-the-window",
        ),
        pytest.param(steady({"n0": MB}, 20, then=[(22, {}), (40, {})]), (0, 0), id="nothing-new"),
    ],
)
def test_rate(looks, rates):
    found = watch(looks)
    assert (found.rate(["n0"]), found.rate(["n1"])) == pytest.approx(rates)
    assert found.rate(["n0", "n1"]) == pytest.approx(sum(rates))


def test_looks_are_not_kept_for_ever():
    found = watch(steady({"n0": MB, "n1": MB}, 3600, step=1))
    assert len(found.looks) <= WINDOW + 2


@pytest.mark.parametrize(
    ("looks", "now", "silent", "ended"),
    [
        pytest.param([(0, {})], 0, [], False, id="nothing-told-yet"),
        pytest.param([(0, {})], SILENCE, [], False, id="nothing-told-for-a-while"),
        pytest.param([(0, {})], SILENCE + 1, ["n0", "n1"], True, id="nothing-told-for-long"),
        pytest.param([(0, {"n0": tell(), "n1": tell()})], 5, [], False, id="both-run"),
        pytest.param([(0, {"n0": tell("done"), "n1": tell()})], 5, [], False, id="one-is-done"),
        pytest.param([(0, {"n0": tell("done"), "n1": tell("done")})], 5, [], True, id="both-are-done"),
        pytest.param([(0, {"n0": tell("failed"), "n1": tell("done")})], 5, [], True, id="one-has-failed"),
        pytest.param([(0, {"n0": tell("failed"), "n1": tell()})], 5, [], False, id="the-other-goes-on"),
        pytest.param(
            [(50, {"n0": tell(beat=1), "n1": tell(beat=1)}), (100, {"n0": tell(beat=2), "n1": tell(beat=1)})],
            50 + SILENCE + 1,
            ["n1"],
            False,
            id="one-says-the-same-again-and-again",
        ),
        pytest.param(
            [(50, {"n0": tell(beat=1), "n1": tell(beat=1)}), (100, {"n0": tell(beat=2)})],
            50 + SILENCE + 1,
            ["n1"],
            False,
            id="one-cannot-be-read",
        ),
        pytest.param(
            [(0, {"n1": tell(beat=1)}), (90, {"n1": tell("done", beat=2)})],
            100,
            ["n0"],
            True,
            id="the-other-is-done",
        ),
        pytest.param(
            [(0, {"n0": tell("done"), "n1": tell("failed")})], 10 * SILENCE, [], True, id="who-has-ended-is-not-silent"
        ),
        pytest.param(
            [(0, {}), (90, {"n0": tell(beat=1), "n1": tell(beat=1)})], 91, [], False, id="not-silent-any-more"
        ),
        # It has not moved, but it lives.
        pytest.param(
            [(0, {"n0": tell(beat=1), "n1": tell(beat=1)}), (90, {"n0": tell(beat=2), "n1": tell(beat=2)})],
            91,
            [],
            False,
            id="waiting-is-not-silence",
        ),
    ],
)
def test_silent_and_ended(looks, now, silent, ended):
    found = watch(looks)
    assert (found.silent(START + now), found.ended(START + now)) == (silent, ended)


@pytest.mark.parametrize(
    ("looks", "now", "line"),
    [
        pytest.param(
            [(0, {})], 0, "  0 %  0 B of 0 B  0 B/s  waiting | n0 starting | n1 starting", id="nothing-told-yet"
        ),
        pytest.param(
            [(0, {"n0": tell(total=GB)})],
            0,
            "  0 %  0 B of 1.0 GB  0 B/s  waiting | n0   0 % 0 B/s | n1 starting",
            id="one-has-begun",
        ),
        pytest.param(
            steady({"n0": 10 * MB, "n1": 30 * MB}, 10, total=GB),
            10,
            " 20 %  400 MB of 2.0 GB  40.0 MB/s  0:40 left | n0  10 % 10.0 MB/s | n1  30 % 30.0 MB/s",
            id="both-run",
        ),
        pytest.param(
            [
                (0, {"n0": tell(total=GB, check_total=GB), "n1": tell(total=0, check_total=GB)}),
                (10, {"n0": tell("done", GB, GB, GB, GB), "n1": tell("failed", checked=MB, check_total=GB)}),
            ],
            10,
            " 66 %  2.0 GB of 3.0 GB  200 MB/s  0:05 left | n0 done | n1 failed",
            id="both-have-ended",
        ),
        pytest.param(
            [(0, {"n0": tell(total=GB)}), (10, {"n0": tell(fetched=GB - 1, total=GB)})],
            10,
            " 99 %  1.0 GB of 1.0 GB  100 MB/s  0:00 left | n0  99 % 100 MB/s | n1 starting",
            id="never-100-before-the-end",
        ),
        pytest.param(
            steady({"n0": MB, "n1": MB}, 20, total=GB, then=[(50 * n, {}) for n in (1, 2, 3)]),
            150,
            "  2 %  40.0 MB of 2.0 GB  0 B/s  waiting | n0 silent for 2:10 | n1 silent for 2:10",
            id="both-are-silent",
        ),
        pytest.param(
            steady({"n0": MB, "n1": 0}, 90, total=36_090 * MB),
            90,
            "  0 %  90.0 MB of 72.2 GB  1.0 MB/s  20:01:30 left | n0   0 % 1.0 MB/s | n1 silent for 1:30",
            id="one-is-silent",
        ),
    ],
)
def test_line(looks, now, line):
    assert watch(looks).line(START + now) == line


@pytest.mark.parametrize(
    ("went", "total", "text"),
    [
        (0, 10, "  0 %"),
        (1, 1000, "  0 %"),
        (1, 3, " 33 %"),
        (999, 1000, " 99 %"),
        (9_999_999, 10_000_000, " 99 %"),
        (10, 10, "100 %"),
        (11, 10, "100 %"),
    ],
)
def test_percent(went, total, text):
    assert watch([]).percent(went, total) == text


@pytest.mark.parametrize(
    ("looks", "now", "summary"),
    [
        pytest.param(
            [(30, {"n0": tell("done", fetched=2 * GB), "n1": tell("done", fetched=GB)})],
            30,
            "fetched 3.0 GB in 0:30, 100 MB/s (n0 2.0 GB, n1 1.0 GB)",
            id="fetched",
        ),
        pytest.param(
            [(100, {"n0": tell("done", checked=2 * GB), "n1": tell("done")})],
            100,
            "checked 2.0 GB in 1:40, 20.0 MB/s (n0 2.0 GB, n1 0 B)",
            id="checked",
        ),
        pytest.param(
            [(10, {"n0": tell("done", fetched=GB, checked=2 * GB)})],
            10,
            "fetched 1.0 GB in 0:10, 100 MB/s (n0 1.0 GB, n1 0 B); "
            "checked 2.0 GB in 0:10, 200 MB/s (n0 2.0 GB, n1 0 B)",
            id="both-and-one-node-said-nothing",
        ),
        pytest.param([(61, {"n0": tell("failed"), "n1": tell("failed")})], 61, "nothing fetched in 1:01", id="nothing"),
        pytest.param([(0, {})], 0, "nothing fetched in 0:00", id="no-time"),
    ],
)
def test_summary(looks, now, summary):
    assert watch(looks).summary(START + now) == summary


def test_one_node():
    found = watch(steady({"n0": MB}, 4, total=8 * MB), nodes=["n0"])
    assert found.line(START + 4) == " 50 %  4.0 MB of 8.0 MB  1.0 MB/s  0:04 left | n0  50 % 1.0 MB/s"
