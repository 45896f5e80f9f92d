#!/usr/bin/env python3
# Copyright (c) 2026, the onecc.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deploys from a pipeline with ansible-runner, and tells how it went by its exit status and a summary as JSON.

  0  the model is served: a question was answered
  1  the deployment failed
  2  it was refused: something is wrong with inventory, nodes or model, and nothing was changed
  3  a node could not be reached

Needs: pip install 'ansible>=12' ansible-runner huggingface_hub; ansible-galaxy collection install onecc.vllm
"""

import argparse
import json
import pathlib
import sys
import time

import ansible_runner

SERVED, FAILED, REFUSED, UNREACHABLE = 0, 1, 2, 3
STATUS = {SERVED: "served", FAILED: "failed", REFUSED: "refused", UNREACHABLE: "unreachable"}
ASKED = "onecc.vllm.openai_query"


def line_of(event):
    """What a person who looks at the job's log wants to read of an event, or nothing."""
    kind, data = event["event"], event.get("event_data", {})
    if kind == "playbook_on_play_start":
        return "\n%s" % data["name"]
    if kind == "playbook_on_task_start":
        return "  %s" % data["task"]
    if kind in ("runner_on_failed", "runner_on_unreachable") and not data.get("ignore_errors"):
        return "    %s: %s" % (data["host"], message(data["res"]))
    if kind == "runner_on_ok" and data["res"].get("changed"):
        return "    %s: changed" % data["host"]
    return None


def message(result):
    """The message of a task's result as one line."""
    text = result.get("msg", "")
    return " ".join(map(str, text)) if isinstance(text, list) else str(text)


def summary(events, rc):
    """How a run went.

    :param events: the events of ansible-runner
    :param rc: the exit status of ansible-playbook
    :return: a dictionary for JSON
    """
    results = [(event["event"], event["event_data"]) for event in events if event["event"].startswith("runner_on_")]
    done = [data for kind, data in results if kind == "runner_on_ok"]
    failed = [data for kind, data in results if kind == "runner_on_failed" and not data.get("ignore_errors")]
    unreachable = [data for kind, data in results if kind == "runner_on_unreachable"]
    answers = [data["res"] for data in done if data["task_action"] == ASKED and "answer" in data["res"]]
    # As Ansible counts in the end: a failure that was rescued is none.
    stats = [event["event_data"] for event in events if event["event"] == "playbook_on_stats"]
    hosts = {kind: sorted(stats[-1][kind]) if stats else [] for kind in ("changed", "failures", "dark")}
    if rc == 0 and answers:
        status = SERVED
    elif unreachable:
        status = UNREACHABLE
    elif rc != 0 and not hosts["changed"]:
        status = REFUSED
    else:
        status = FAILED
    reasons = [message(data["res"]) for data in unreachable + failed]
    return {
        "status": STATUS[status],
        "exit_status": status,
        "answer": answers[-1]["answer"] if answers else None,
        "latency_s": answers[-1]["latency_s"] if answers else None,
        "changed": hosts["changed"],
        "failed": hosts["failures"],
        "unreachable": hosts["dark"],
        # The last one: a deployment that fails ends with its cause.
        "reason": reasons[-1] if reasons and status != SERVED else None,
    }


def deploy(inventory, artifacts, playbook="onecc.vllm.deploy", words=()):
    """Runs a playbook and follows it.

    :param inventory: path of the inventory
    :param artifacts: folder for what ansible-runner keeps, made if it is not there
    :param words: further arguments of ansible-playbook
    :return: see summary()
    """
    events = []

    def follow(event):
        events.append(event)
        line = line_of(event)
        if line:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    folder = pathlib.Path(artifacts).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    try:
        run = ansible_runner.run(
            private_data_dir=str(folder),
            playbook=str(playbook),
            inventory=str(pathlib.Path(inventory).resolve()),
            cmdline=" ".join(words) or None,
            event_handler=follow,
            quiet=True,
        )
    finally:
        # ansible-runner notes the whole environment there, and with it the tokens.
        for path in folder.glob("artifacts/*/command"):
            path.unlink()
    return {**summary(events, run.rc), "seconds": round(time.monotonic() - start, 1)}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inventory", required=True)
    parser.add_argument("--artifacts", default="artifacts")
    parser.add_argument("words", nargs="*", help="arguments of ansible-playbook, after --")
    return parser


def main():
    options = arguments().parse_args()
    told = deploy(options.inventory, options.artifacts, words=options.words)
    text = json.dumps(told, indent=2) + "\n"
    pathlib.Path(options.artifacts, "summary.json").write_text(text)
    sys.stdout.write("\n" + text)
    sys.exit(told["exit_status"])


if __name__ == "__main__":
    main()
