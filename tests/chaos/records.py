# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what was seen to a record of a fault, its judgement, and a table. Nothing here looks at the lab."""

import collections
import re

from greedy import TIE
from load import COMPLETE, FAILED, OTHER, RIGHT, WRONG

# Seconds until /ready says so, by kind of fault. A deployment restarts the engine when it wants to.
DETECT = {"process": 20, "silent": 30, "controller": None}
# Times a plain start.
RECOVER = 1.5
# Seconds within which all must be well again, once all nodes are there.
AGAIN = 300

COLUMNS = (
    ("FAULT", 24, "name"),
    ("KIND", 10, "kind"),
    ("DETECT", 7, "detect_s"),
    ("BACK", 7, "back_s"),
    ("RECOVER", 8, "recover_s"),
    ("SERVED", 7, "served_after_s"),
    ("FAILED", 6, "failed_requests"),
    ("WRONG", 5, "wrong_answers"),
    ("RIGHT", 6, "answered"),
    ("AGAIN", 5, "served_again"),
    ("NAMED", 5, "waiting_named"),
    ("LOST", 4, "lost"),
)


def calm(looks, answers, since, enough):
    """Whether /ready said yes and requests were answered, without exception, since a moment."""
    looks = [look for look in looks if look.at >= since]
    answers = [answer for answer in answers if answer.end >= since]
    return (
        bool(looks)
        and all(look.ready for look in looks)
        and len(answers) >= enough
        and all(answer.outcome in COMPLETE for answer in answers)
    )


def first_served(answers, since):
    """The moment of the first complete answer after one, and after the last request that was not answered well.

    An engine that is about to be stopped may still answer for a while; that is no recovery.
    """
    bad = [answer.start for answer in answers if answer.end > since and answer.outcome not in COMPLETE]
    mark = max([since, *bad])
    return min((answer.end for answer in answers if answer.outcome in COMPLETE and answer.end > mark), default=None)


def reasons_in(looks):
    """The distinct reasons in their order. Seconds that count up or down make no new one."""
    return list(dict.fromkeys(re.sub(r"\d+ s\b", "N s", look.reason) for look in looks if look.reason))


def others(answers):
    """The complete answers with a text that the healthy system did not give before, as judge_others() wants them."""
    return [
        {"prompt": answer.prompt, "text": answer.text, "finish_reason": answer.finish_reason}
        for answer in answers
        if answer.outcome == OTHER
    ]


def assess(looks, answers, fault_at, back_at, settled_at, named=None):
    """The measured part of a record. Moments are those of looks and answers.

    :param back_at: when all that the fault took away was there again; fault_at if it took nothing away
    :param settled_at: when all was well again, None if it was not
    :param named: the pattern of a reason that tells what is missing, if there should be one
    """
    end = settled_at or max([fault_at, *[look.at for look in looks], *[answer.end for answer in answers]])
    looks = [look for look in looks if fault_at <= look.at <= end]
    answers = [answer for answer in answers if fault_at <= answer.end <= end]
    count = collections.Counter(answer.outcome for answer in answers)
    detect_at = next((look.at for look in looks if not look.ready), None)
    mark = max(back_at, detect_at or fault_at)
    served_at = first_served(answers, mark) if settled_at else None
    went_on = detect_at is None and not count[FAILED]

    def after(moment, since=fault_at):
        return None if moment is None else round(moment - since, 1)

    return {
        "detect_s": after(detect_at),
        "back_s": after(back_at),
        "recover_s": 0.0 if settled_at and went_on else after(served_at, mark),
        "served_after_s": after(served_at),
        "failed_requests": count[FAILED],
        "wrong_answers": count[WRONG],
        "answered": count[RIGHT],
        "served_again": settled_at is not None,
        "reasons": reasons_in(looks),
        "waiting_named": named and any(re.search(named, look.reason) for look in looks if look.at <= back_at),
        "other_texts": others(answers),
        "wrong": [
            {"prompt": answer.prompt, "text": answer.text, "why": answer.why}
            for answer in answers
            if answer.outcome == WRONG
        ],
        "errors": dict(collections.Counter(answer.why[:200] for answer in answers if answer.outcome == FAILED)),
    }


def judge_others(record, gap):
    """Tells near ties from wrong answers among the complete ones with a text that was not given before.

    :param gap: function from prompt, text and finish_reason to what greedy.gap tells of them, None if nothing answers
    """
    for other in record["other_texts"]:
        other["gap"] = gap(other["prompt"], other["text"], other["finish_reason"])
    record["wrong_answers"] += sum(other["gap"] is None or other["gap"] > TIE for other in record["other_texts"])


def broken(record, plain_start_s=None):
    """A line for each limit that a fault has broken; without a plain start, that of the recovery's time is none."""
    lines = list(record["problems"])
    if not record["served_again"]:
        lines.append("expected all well again within %d s, found it was not" % AGAIN)
    if record["wrong_answers"]:
        told = ["%(why)s: %(text)r" % answer for answer in record["wrong"]]
        told += ["%s nats beside the likeliest: %r" % (other["gap"], other["text"]) for other in record["other_texts"]]
        lines.append("expected no wrong answer, found %d: %s" % (record["wrong_answers"], "; ".join(told)))
    detect, limit = record["detect_s"], DETECT[record["kind"]]
    if limit and detect is not None and detect > limit:
        lines.append("expected /ready to say no within %d s, found %.1f s" % (limit, detect))
    if limit and detect is None and record["failed_requests"]:
        lines.append("expected /ready to say no, found %(failed_requests)d failed requests and it never did" % record)
    recover = record["recover_s"]
    if recover is not None and plain_start_s and recover > RECOVER * plain_start_s:
        most = RECOVER * plain_start_s
        lines.append("expected recovery within %.1f s (%.1f plain starts), found %.1f s" % (most, RECOVER, recover))
    lines += ["expected nothing lost, found %s" % loss for loss in record["lost"]]
    return ["%s: %s" % (record["name"], line) for line in lines]


def lost_in_ray(status, nodes):
    """What `ray status` shows to be lost of a cluster with so many nodes and a GPU on each, a line for each."""
    lines = []
    alive = sum(int(number) for number in re.findall(r"^ (\d+) node_", status.partition("Pending:")[0], re.MULTILINE))
    if alive != nodes:
        lines.append("%d nodes alive in Ray instead of %d" % (alive, nodes))
    found = re.search(r"/([\d.]+) GPU", status)
    gpus = float(found.group(1)) if found else 0
    if gpus != nodes:
        lines.append("%g GPUs in Ray instead of %d" % (gpus, nodes))
    return lines


def lost_containers(before, after, same_ids=True):
    """What containers are gone or made anew. Both: from node to name to ID and time of start."""
    lines = []
    for node, containers in before.items():
        for name, (ident, _started) in containers.items():
            if name not in after[node]:
                lines.append("container %s of %s is gone" % (name, node))
            elif same_ids and after[node][name][0] != ident:
                lines.append("container %s of %s is another one" % (name, node))
    return lines


def cell(value):
    if isinstance(value, bool):
        return "yes" if value else "NO"
    return "-" if value is None else str(len(value) if isinstance(value, list) else value)


def table(records):
    """The records as people read them."""
    lines = ["  ".join(title.ljust(width) for title, width, _key in COLUMNS)]
    for record in records:
        lines.append("  ".join(cell(record[key]).ljust(width) for _title, width, key in COLUMNS))
    return "\n".join(line.rstrip() for line in lines)


def page(result):
    """What build/chaos.json holds, as the page docs/results/faults.md."""
    shown = [column for column in COLUMNS if column[2] not in ("kind", "waiting_named")]
    rows = [[title.lower() for title, _width, _key in shown], ["---"] * len(shown)]
    rows += [[cell(record[key]) for _title, _width, key in shown] for record in result["faults"]]
    versions = ", ".join("%s %s" % item for item in result["versions"].items() if item[0] != "commit")
    requests = result["requests"]
    lines = [
        "# Faults, and how long they took",
        "",
        "Made by `make chaos` on %s at commit `%s`: %s; two nodes on %d cores, SmolLM2-135M, pipeline parallel 2."
        % (result["date"], result["versions"]["commit"], versions, result["cores"]),
        "",
        "- `detect`: seconds until `/ready` says no. `back`: seconds until what was taken away was there again.",
        "- `recover`: seconds from the later of both to the first answer; the limit is %g times a plain start of the"
        % RECOVER,
        "  engine, which took **%s s** in the same run (median of %s)."
        % (result["plain_start_s"], ", ".join("%s" % each for each in result["plain_starts_s"])),
        "- `served`: seconds from the fault to that answer. `failed`, `wrong`, `right`: what clients got meanwhile.",
        "- `again`: served without an operator. `lost`: nodes, GPUs and containers that did not come back.",
        "",
        *["| %s |" % " | ".join(row) for row in rows],
        "",
        "All requests of the run: %(right)d right, %(failed)d failed with an error, %(wrong_answers)d wrong."
        % requests,
    ]
    if requests["other_texts"]:
        lines += [
            "",
            "%d answers were complete, and not word for word what the healthy system gave before:"
            % len(requests["other_texts"]),
            "two words were as good as equally likely there, at most %g nats apart for the engine itself."
            % max(other.get("gap") or 0 for other in requests["other_texts"]),
        ]
    for record in result["faults"]:
        runs = [each for each in record["details"] if isinstance(each, dict)]  # texts are for who reads the JSON
        if runs:
            lines += ["", "`%s`, one line for each time:" % record["name"], ""]
            keys = list(runs[0])
            lines += ["| %s |" % " | ".join(row) for row in (keys, ["---"] * len(keys))]
            lines += ["| %s |" % " | ".join(cell(each[key]) for key in keys) for each in runs]
    lines += ["", "Limits that were not kept:%s" % ("" if result["broken"] else " none.")]
    lines += ["- %s" % line for line in result["broken"]]
    return "\n".join(lines) + "\n"
